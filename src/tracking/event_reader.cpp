#include "tracking/event_reader.hpp"

#include "tracking/event_file.hpp"

#include <mizzen/core/error.hpp>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <system_error>
#include <utility>

namespace mizzen::tracking::detail {
namespace {

[[noreturn]] void refuse(const char* why) { throw error(errc::data_loss, "event", why); }

template <typename T>
T fixed(std::string_view bytes) {
  T value{};
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

// One field of a message.
struct field {
  std::uint32_t number = 0;
  std::uint32_t type = 0;       // wire type
  std::uint64_t integer = 0;    // of a varint
  std::string_view bytes = {};  // of the other types
};

std::uint64_t take_varint(std::string_view& from) {
  std::uint64_t value = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    if (from.empty()) refuse("it ends within a number");
    const auto byte = static_cast<unsigned char>(from.front());
    from.remove_prefix(1);
    value |= static_cast<std::uint64_t>(byte & 0x7fU) << shift;
    if (byte < 0x80) return value;
  }
  refuse("a number has more than ten bytes");
}

std::string_view take(std::string_view& from, std::uint64_t size) {
  if (size > from.size()) refuse("a field is longer than the message around it");
  const std::string_view taken = from.substr(0, size);
  from.remove_prefix(size);
  return taken;
}

template <typename Visit>
void visit_fields(std::string_view message, Visit&& visit) {
  while (!message.empty()) {
    const std::uint64_t key = take_varint(message);
    field one{.number = static_cast<std::uint32_t>(key >> 3U),
              .type = static_cast<std::uint32_t>(key & 7U)};
    if (key >> 35U != 0 || one.number == 0) refuse("a field has no number");
    switch (one.type) {
      case 0:
        one.integer = take_varint(message);
        break;
      case 1:
        one.bytes = take(message, 8);
        break;
      case 2:
        one.bytes = take(message, take_varint(message));
        break;
      case 5:
        one.bytes = take(message, 4);
        break;
      default:
        refuse("a field has a type that protobuf no longer has");
    }
    visit(std::as_const(one));
  }
}

double half(std::uint16_t bits) {
  const double sign = (bits & 0x8000U) != 0 ? -1 : 1;
  const unsigned exponent = bits >> 10U & 0x1fU;
  const double fraction = bits & 0x3ffU;
  if (exponent == 0x1f) {
    return fraction == 0 ? sign * std::numeric_limits<double>::infinity()
                         : std::numeric_limits<double>::quiet_NaN();
  }
  if (exponent == 0) return sign * std::ldexp(fraction, -24);
  return sign * std::ldexp(fraction + 1024, static_cast<int>(exponent) - 25);
}

double brain_float(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16U);
}

// DataType of tensorflow/core/framework/types.proto.
enum data_type : std::uint64_t {
  type_float = 1,
  type_double = 2,
  type_int32 = 3,
  type_uint8 = 4,
  type_int16 = 5,
  type_int8 = 6,
  type_int64 = 9,
  type_bool = 10,
  type_bfloat16 = 14,
  type_uint16 = 17,
  type_half = 19,
  type_uint32 = 22,
  type_uint64 = 23,
};

// The first element of TensorProto::tensor_content.
std::optional<double> from_content(std::uint64_t type, std::string_view bytes) {
  const auto as = [&]<typename T>(T) -> std::optional<double> {
    if (bytes.size() != sizeof(T)) return std::nullopt;
    return static_cast<double>(fixed<T>(bytes));
  };
  switch (type) {
    case type_float:
      return as(float{});
    case type_double:
      return as(double{});
    case type_int32:
      return as(std::int32_t{});
    case type_uint8:
      return as(std::uint8_t{});
    case type_int16:
      return as(std::int16_t{});
    case type_int8:
      return as(std::int8_t{});
    case type_int64:
      return as(std::int64_t{});
    case type_bool:
      return as(std::uint8_t{});
    case type_uint16:
      return as(std::uint16_t{});
    case type_uint32:
      return as(std::uint32_t{});
    case type_uint64:
      return as(std::uint64_t{});
    case type_half:
      return bytes.size() == 2 ? std::optional(half(fixed<std::uint16_t>(bytes))) : std::nullopt;
    case type_bfloat16:
      return bytes.size() == 2 ? std::optional(brain_float(fixed<std::uint16_t>(bytes)))
                               : std::nullopt;
    default:
      return std::nullopt;
  }
}

// The number of a tensor of one element, of whatever rank.
std::optional<double> tensor_number(std::string_view message) {
  std::uint64_t type = 0;
  bool is_one = true;
  std::size_t values = 0;
  std::optional<double> number;
  std::string_view content;
  const auto found = [&](double value) {
    number = value;
    ++values;
  };
  // A list of numbers: packed, or one of them.
  const auto reals = [&]<typename T>(const field& one, T) {
    std::string_view rest = one.bytes;
    if (rest.size() == sizeof(T)) return found(static_cast<double>(fixed<T>(rest)));
    values += rest.size() / sizeof(T);
  };
  const auto integers = [&](const field& one, auto&& convert) {
    if (one.type == 0) return found(convert(one.integer));
    std::string_view rest = one.bytes;
    while (!rest.empty() && values < 2) found(convert(take_varint(rest)));
  };
  const auto is_signed = [](std::uint64_t value) {
    return static_cast<double>(static_cast<std::int64_t>(value));
  };
  const auto is_unsigned = [](std::uint64_t value) { return static_cast<double>(value); };
  visit_fields(message, [&](const field& one) {
    switch (one.number) {
      case 1:
        type = one.integer;
        break;
      case 2:
        visit_fields(one.bytes, [&](const field& dimension) {
          if (dimension.number != 2 || dimension.type != 2) return;
          std::uint64_t size = 0;
          visit_fields(dimension.bytes, [&](const field& part) {
            if (part.number == 1) size = part.integer;
          });
          is_one = is_one && size == 1;
        });
        break;
      case 4:
        content = one.bytes;
        break;
      case 5:
        reals(one, float{});
        break;
      case 6:
        reals(one, double{});
        break;
      case 7:
        integers(one, is_signed);
        break;
      case 10:
        integers(one, is_signed);
        break;
      case 11:
        integers(one, is_unsigned);
        break;
      case 13:
        integers(one, [&](std::uint64_t bits) {
          const auto low = static_cast<std::uint16_t>(bits);
          return type == type_bfloat16 ? brain_float(low) : half(low);
        });
        break;
      case 16:
        integers(one, is_unsigned);
        break;
      case 17:
        integers(one, is_unsigned);
        break;
      default:
        break;
    }
  });
  if (!is_one) return std::nullopt;
  if (!content.empty()) return from_content(type, content);
  if (values == 1) return number;
  return std::nullopt;
}

event_value read_value(std::string_view message) {
  event_value value;
  visit_fields(message, [&](const field& one) {
    switch (one.number) {
      case 1:
        value.tag = one.bytes;
        break;
      case 2:
        if (one.type == 5) value.number = static_cast<double>(fixed<float>(one.bytes));
        break;
      case 3:
      case 5:
        value.kind = "histogram";
        break;
      case 4:
        value.kind = "image";
        break;
      case 6:
        value.kind = "audio";
        break;
      case 8:
        value.number = tensor_number(one.bytes);
        value.kind = "tensor";
        break;
      case 9:  // SummaryMetadata.plugin_data.plugin_name
        visit_fields(one.bytes, [&](const field& data) {
          if (data.number != 1 || data.type != 2) return;
          visit_fields(data.bytes, [&](const field& name) {
            if (name.number == 1) value.plugin = name.bytes;
          });
        });
        break;
      default:
        break;
    }
  });
  if (value.number) value.kind = {};
  return value;
}

}  // namespace

event_record read_event(std::string_view message) {
  event_record event;
  visit_fields(message, [&](const field& one) {
    switch (one.number) {
      case 1:
        if (one.type == 1) event.wall_time = fixed<double>(one.bytes);
        break;
      case 2:
        event.step = static_cast<std::int64_t>(one.integer);
        break;
      case 5:
        visit_fields(one.bytes, [&](const field& value) {
          if (value.number == 1 && value.type == 2) event.values.push_back(read_value(value.bytes));
        });
        break;
      default:
        break;
    }
  });
  return event;
}

event_file_reader::event_file_reader(const std::filesystem::path& path)
    : path_(path), file_(path, std::ios::binary) {
  std::error_code failed;
  size_ = std::filesystem::file_size(path, failed);
  if (!file_ || failed) {
    throw error(errc::permission_denied, "event file '" + path.string() + "'", "it cannot be read");
  }
}

std::optional<event_record> event_file_reader::next() {
  const auto damaged = [&](std::uint64_t at, const std::string& why) {
    return error(errc::data_loss, "event file '" + path_.string() + "'",
                 "the event at byte " + std::to_string(at) + " is damaged: " + why);
  };
  while (!lost_) {
    char head[event_frame_head];
    if (size_ - at_ < sizeof head || !file_.read(head, sizeof head)) return std::nullopt;
    const std::uint64_t begin = at_;
    const auto length = read_event_length({head, sizeof head});
    if (!length) {
      lost_ = true;
      throw damaged(begin, "its length is not what its checksum says; what is behind it is lost");
    }
    const std::uint64_t rest = size_ - begin - sizeof head;
    if (rest < event_frame_tail || *length > rest - event_frame_tail) return std::nullopt;
    at_ += sizeof head + *length + event_frame_tail;
    if (*length > largest) {
      ++passed_over_;
      file_.seekg(static_cast<std::streamoff>(at_));
      continue;
    }
    message_.resize(*length + event_frame_tail);
    if (!file_.read(message_.data(), static_cast<std::streamsize>(message_.size()))) {
      return std::nullopt;
    }
    const std::string_view message(message_.data(), *length);
    if (!check_event(message, std::string_view(message_).substr(*length))) {
      throw damaged(begin, "it is not what its checksum says");
    }
    try {
      return read_event(message);
    } catch (const error& e) {
      throw damaged(begin, e.message());
    }
  }
  return std::nullopt;
}

}  // namespace mizzen::tracking::detail
