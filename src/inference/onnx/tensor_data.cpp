#include "inference/onnx/tensor_data.hpp"

#include "inference/graph/constant_memory.hpp"
#include "inference/onnx/external_file.hpp"

#include <mizzen/core/checked.hpp>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <limits>
#include <string>
#include <unistd.h>

namespace mizzen::inference::detail {
namespace {

std::uint64_t parse_number(std::string_view text, std::string_view subject, std::string_view key) {
  std::uint64_t value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc{} || end != text.data() + text.size()) {
    throw error(errc::invalid_argument, subject,
                "external_data '" + std::string(key) + "' is not a number");
  }
  return value;
}

struct external_part {
  std::string_view location;
  std::uint64_t offset = 0;
  external_file from;                // open where it is to be read
  std::shared_ptr<file_memory> map;  // null where it is to be read
};

// Where so many bytes of external data lie: checked against what the file really has, so that a
// claim of terabytes fails before memory is taken.
external_part find_external(const tensor_proto& proto, std::size_t bytes, std::string_view subject,
                            tensor_source& source) {
  if (!source.folder) {
    throw error(errc::unimplemented, subject,
                "external data needs a model that is loaded from a file");
  }
  std::uint64_t length = bytes;
  external_part part;
  for (const auto& [key, value] : proto.external_data) {
    if (key == "location") part.location = value;
    if (key == "offset") part.offset = parse_number(value, subject, key);
    if (key == "length") length = parse_number(value, subject, key);
  }
  if (length != bytes) {
    throw error(errc::invalid_argument, subject,
                "external data of " + std::to_string(length) + " bytes where the shape takes " +
                    std::to_string(bytes));
  }
  const auto known = source.external.find(part.location);
  if (known != source.external.end()) {
    part.map = known->second;
  } else {
    part.from = open_below(*source.folder, part.location, subject);
    if (source.map_external) {
      part.map =
          file_memory::map(part.from.file.get(), static_cast<std::size_t>(part.from.size), subject);
      source.external.emplace(part.location, part.map);
    }
  }
  const std::uint64_t size = part.map ? part.map->bytes().size() : part.from.size;
  if (part.offset > size || length > size - part.offset) {
    throw error(errc::data_loss, subject,
                "external data ends at byte " + std::to_string(size) + ", before the tensor does");
  }
  return part;
}

void read_external(const external_part& part, std::span<std::byte> into, std::string_view subject) {
  if (part.map) {
    const auto from = part.map->bytes().subspan(static_cast<std::size_t>(part.offset), into.size());
    std::ranges::copy(from, into.begin());
    return;
  }
  std::size_t done = 0;
  while (done < into.size()) {
    const ssize_t got = ::pread(part.from.file.get(), into.data() + done, into.size() - done,
                                static_cast<off_t>(part.offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) throw error(errc::data_loss, subject, "external data cannot be read to its end");
    done += static_cast<std::size_t>(got);
  }
}

template <class T, class From>
void convert(const std::vector<From>& from, tensor& into, std::string_view subject) {
  const auto out = into.data<T>();
  for (std::size_t i = 0; i < out.size(); ++i) {
    if constexpr (std::integral<From> && std::integral<T> && sizeof(T) < sizeof(From)) {
      if (std::same_as<T, bool> ? (from[i] < 0 || from[i] > 1)
                                : (from[i] < static_cast<From>(std::numeric_limits<T>::min()) ||
                                   from[i] > static_cast<From>(std::numeric_limits<T>::max()))) {
        throw error(errc::invalid_argument, subject,
                    "element " + std::to_string(i) + " does not fit its type");
      }
    }
    out[i] = static_cast<T>(from[i]);
  }
}

void convert_bits(const std::vector<std::int32_t>& from, std::span<std::byte> into) {
  const std::size_t width = from.empty() ? 0 : into.size() / from.size();
  for (std::size_t i = 0; i < from.size(); ++i) {
    std::memcpy(into.data() + i * width, &from[i], width);
  }
}

// The typed list that ONNX assigns to a data type. Source: onnx.proto3, TensorProto.
void read_typed(const tensor_proto& proto, tensor& out, std::string_view subject) {
  const auto check = [&](std::size_t have, std::size_t want) {
    if (have != want) {
      throw error(errc::invalid_argument, subject,
                  "shape " + to_string(out.shape()) + " takes " + std::to_string(want) +
                      " values, but " + std::to_string(have) + " are stored");
    }
  };
  switch (out.type()) {
    case element_type::float32:
      check(proto.float_data.size(), out.size());
      return convert<float>(proto.float_data, out, subject);
    case element_type::float64:
      check(proto.double_data.size(), out.size());
      return convert<double>(proto.double_data, out, subject);
    case element_type::int64:
      check(proto.int64_data.size(), out.size());
      return convert<std::int64_t>(proto.int64_data, out, subject);
    case element_type::uint64:
      check(proto.uint64_data.size(), out.size());
      return convert<std::uint64_t>(proto.uint64_data, out, subject);
    case element_type::uint32:
      check(proto.uint64_data.size(), out.size());
      return convert<std::uint32_t>(proto.uint64_data, out, subject);
    case element_type::string:
      check(proto.string_data.size(), out.size());
      for (std::size_t i = 0; i < out.size(); ++i) {
        out.data<std::string>()[i] = proto.string_data[i];
      }
      return;
    default:
      break;
  }
  const std::size_t bits = bit_width(out.type());
  check(proto.int32_data.size(), bits < 8 ? out.bytes().size() : out.size());
  switch (out.type()) {
    case element_type::int32:
      return convert<std::int32_t>(proto.int32_data, out, subject);
    case element_type::int16:
      return convert<std::int16_t>(proto.int32_data, out, subject);
    case element_type::int8:
      return convert<std::int8_t>(proto.int32_data, out, subject);
    case element_type::uint16:
      return convert<std::uint16_t>(proto.int32_data, out, subject);
    case element_type::uint8:
      return convert<std::uint8_t>(proto.int32_data, out, subject);
    case element_type::boolean:
      return convert<bool>(proto.int32_data, out, subject);
    default:
      break;
  }
  if (bits > 16) {
    throw error(errc::unimplemented, subject,
                "values of type " + std::string(to_string(out.type())) + " outside raw_data");
  }
  convert_bits(proto.int32_data, out.mutable_bytes());
}

// Number of values stored in the typed lists, whichever is used.
std::size_t typed_count(const tensor_proto& p) {
  return p.float_data.size() + p.double_data.size() + p.int32_data.size() + p.int64_data.size() +
         p.uint64_data.size() + p.string_data.size();
}

}  // namespace

void tensor_source::seal() const {
  if (file) file->seal();
  for (const auto& [location, mapped] : external) mapped->seal();
}

tensor make_tensor(const tensor_proto& proto, std::string_view subject, tensor_source& source) {
  const auto type = static_cast<element_type>(proto.data_type);
  if (to_string(type) == "undefined") {
    throw error(errc::invalid_argument, subject,
                "unknown data_type " + std::to_string(proto.data_type));
  }
  if (proto.segmented) throw error(errc::unimplemented, subject, "segmented tensors");
  const std::size_t count = checked_element_count(proto.dims, subject);
  const bool is_string = type == element_type::string;
  const std::size_t size =
      is_string ? checked_mul(count, sizeof(std::string), subject) : byte_size(type, count);
  // The data must be there before memory is taken for it.
  external_part external;
  if (proto.external) {
    if (is_string) throw error(errc::invalid_argument, subject, "strings in external data");
    external = find_external(proto, size, subject, source);
  } else if (proto.raw_data) {
    if (is_string) throw error(errc::invalid_argument, subject, "strings in raw_data");
    if (proto.raw_data->size() != size) {
      throw error(errc::invalid_argument, subject,
                  "shape " + to_string(proto.dims) + " takes " + std::to_string(size) +
                      " bytes, but raw_data has " + std::to_string(proto.raw_data->size()));
    }
  } else if (typed_count(proto) < count / 4) {
    // 2-bit types pack four values into one; exact counts are checked below.
    throw error(errc::invalid_argument, subject,
                "shape " + to_string(proto.dims) + " takes " + std::to_string(count) +
                    " values, but " + std::to_string(typed_count(proto)) + " are stored");
  }
  if (size > source.budget) {
    throw error(errc::resource_exhausted, subject,
                "the model's constants take more than the memory limit: raise "
                "session_options.memory_limit");
  }
  source.budget -= size;

  // Booleans are tidied below, and small ones are not worth the bookkeeping.
  constexpr std::size_t least_shared = 4096;
  const std::size_t bits = is_string ? 0 : bit_width(type);
  if (size >= least_shared && bits <= 64 && type != element_type::boolean) {
    const std::size_t alignment = std::min<std::size_t>(std::max<std::size_t>(bits / 8, 1), 8);
    file_memory::part p;
    if (external.map) {
      p = external.map->share(
          external.map->bytes().subspan(static_cast<std::size_t>(external.offset), size),
          alignment);
    } else if (source.file && proto.raw_data && !proto.external &&
               source.file->holds(*proto.raw_data)) {
      p = source.file->share(*proto.raw_data, alignment);
    }
    if (p.bytes.data() != nullptr) return tensor::view(type, p.bytes, proto.dims, p.keep_alive);
  }
  tensor out = make_constant(type, proto.dims);
  if (proto.external) {
    read_external(external, out.mutable_bytes(), subject);
  } else if (proto.raw_data) {
    if (size != 0) std::memcpy(out.mutable_bytes().data(), proto.raw_data->data(), size);
  } else {
    read_typed(proto, out, subject);
  }
  if (type == element_type::boolean && (proto.external || proto.raw_data)) {
    for (std::byte& b : out.mutable_bytes()) b = b == std::byte{0} ? b : std::byte{1};
  }
  return out;
}

}  // namespace mizzen::inference::detail
