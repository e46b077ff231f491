#include "serving/tensor_codec.hpp"

#include <mizzen/core/checked.hpp>
#include <mizzen/core/error.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <concepts>
#include <cstring>
#include <limits>
#include <span>
#include <system_error>
#include <type_traits>
#include <utility>

namespace mizzen::serving::detail {

using inference::element_type;
using inference::shape_type;

static_assert(std::endian::native == std::endian::little,
              "the binary extension is little-endian, and so is what is copied here");

float half_to_float(std::uint16_t bits) noexcept {
  const std::uint32_t sign = (bits & 0x8000U) << 16;
  const std::uint32_t exponent = (bits >> 10) & 0x1f;
  const std::uint32_t mantissa = bits & 0x3ff;
  if (exponent == 0x1f) return std::bit_cast<float>(sign | 0x7f800000U | (mantissa << 13));
  if (exponent != 0) {
    return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
  }
  const float magnitude = static_cast<float>(mantissa) * 0x1p-24F;
  return sign ? -magnitude : magnitude;
}

std::uint16_t float_to_half(float value) noexcept {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000U);
  const float magnitude = std::fabs(value);
  if (std::isnan(value)) return sign | 0x7e00U;
  if (magnitude >= 65520.0F) return sign | 0x7c00U;
  if (magnitude < 0x1p-14F) {
    // Subnormal: a multiple of 2^-24, and the addition rounds to it.
    const float rounded = magnitude + 0.5F;
    return static_cast<std::uint16_t>(
        sign | (std::bit_cast<std::uint32_t>(rounded) - std::bit_cast<std::uint32_t>(0.5F)));
  }
  std::uint32_t magnitude_bits = bits & 0x7fffffffU;
  magnitude_bits += 0xfffU + ((magnitude_bits >> 13) & 1U);
  return static_cast<std::uint16_t>(sign | ((magnitude_bits >> 13) - (112U << 10)));
}

float bfloat16_to_float(std::uint16_t bits) noexcept {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

std::uint16_t float_to_bfloat16(float value) noexcept {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if (std::isnan(value)) return static_cast<std::uint16_t>((bits >> 16) | 0x40U);
  return static_cast<std::uint16_t>((bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16);
}

namespace {

[[noreturn]] void refuse(const std::string& subject, const std::string& message) {
  throw error(errc::invalid_argument, subject, message);
}

// Calls visit with a value of the C++ type of the elements.
template <typename Visit>
void with_element(element_type type, const std::string& subject, Visit visit) {
  switch (type) {
    case element_type::boolean:
      return visit(bool{});
    case element_type::uint8:
      return visit(std::uint8_t{});
    case element_type::uint16:
      return visit(std::uint16_t{});
    case element_type::uint32:
      return visit(std::uint32_t{});
    case element_type::uint64:
      return visit(std::uint64_t{});
    case element_type::int8:
      return visit(std::int8_t{});
    case element_type::int16:
      return visit(std::int16_t{});
    case element_type::int32:
      return visit(std::int32_t{});
    case element_type::int64:
      return visit(std::int64_t{});
    case element_type::float16:
      return visit(inference::float16{});
    case element_type::bfloat16:
      return visit(inference::bfloat16{});
    case element_type::float32:
      return visit(float{});
    case element_type::float64:
      return visit(double{});
    case element_type::string:
      return visit(std::string{});
    default:
      break;
  }
  refuse(subject, "the protocol has no datatype for " + std::string(to_string(type)));
}

// Too small a number is zero, too large a one is an error.
template <std::floating_point T>
T parse_floating(std::string_view text, const std::string& subject) {
  T value{};
  const char* const end = text.data() + text.size();
  if (std::from_chars(text.data(), end, value).ec == std::errc()) return value;
  long double wide = 0;
  const auto result = std::from_chars(text.data(), end, wide);
  if (result.ec == std::errc() && std::fabs(wide) < 1) return T{0};
  refuse(subject, std::string(text.substr(0, 64)) + " is beyond the range of its datatype");
}

template <std::integral T>
T parse_integral(std::string_view text, const std::string& subject) {
  T value{};
  const char* const end = text.data() + text.size();
  const auto result = std::from_chars(text.data(), end, value);
  if (result.ec == std::errc() && result.ptr == end) return value;
  refuse(subject, std::string(text.substr(0, 64)) + " is not an integer from " +
                      std::to_string(std::numeric_limits<T>::min()) + " to " +
                      std::to_string(std::numeric_limits<T>::max()));
}

template <typename T>
void read_element(json_reader& reader, T& into, const std::string& subject) {
  if constexpr (std::same_as<T, bool>) {
    into = reader.boolean(subject);
  } else if constexpr (std::same_as<T, std::string>) {
    into = reader.string(subject, reader.left());
  } else if constexpr (std::same_as<T, inference::float16>) {
    const auto value = parse_floating<float>(reader.number(subject), subject);
    into.bits = float_to_half(value);
    if ((into.bits & 0x7fffU) == 0x7c00U) {
      refuse(subject, std::to_string(value) + " is beyond the range of its datatype");
    }
  } else if constexpr (std::same_as<T, inference::bfloat16>) {
    into.bits = float_to_bfloat16(parse_floating<float>(reader.number(subject), subject));
    if ((into.bits & 0x7fffU) == 0x7f80U) refuse(subject, "beyond the range of its datatype");
  } else if constexpr (std::floating_point<T>) {
    into = parse_floating<T>(reader.number(subject), subject);
  } else {
    into = parse_integral<T>(reader.number(subject), subject);
  }
}

std::string expected_count(std::size_t count, const shape_type& shape) {
  return "expected " + std::to_string(count) + " elements for shape " + inference::to_string(shape);
}

template <typename T>
class data_reader {
 public:
  data_reader(json_reader& reader, std::span<T> into, const shape_type& shape,
              const std::string& subject)
      : reader_(reader), into_(into), shape_(shape), subject_(subject) {}

  void flat() {
    reader_.array(subject_, [&](std::size_t) { one(); });
    if (filled_ != into_.size()) too_few(into_.size(), filled_);
  }

  void nested(std::size_t level) {
    const auto wanted = static_cast<std::size_t>(shape_[level]);
    std::size_t found = 0;
    reader_.array(subject_, [&](std::size_t) {
      if (++found > wanted) too_many();
      if (level + 1 < shape_.size()) {
        nested(level + 1);
      } else {
        one();
      }
    });
    if (found != wanted) {
      refuse(subject_, "expected " + std::to_string(wanted) + " entries at nesting level " +
                           std::to_string(level) + " for shape " + inference::to_string(shape_) +
                           ", found " + std::to_string(found));
    }
  }

 private:
  void one() {
    if (filled_ == into_.size()) too_many();
    read_element(reader_, into_[filled_++], subject_);
  }
  [[noreturn]] void too_many() {
    refuse(subject_, expected_count(into_.size(), shape_) + ", found more, or another nesting");
  }
  [[noreturn]] void too_few(std::size_t wanted, std::size_t found) {
    refuse(subject_, expected_count(wanted, shape_) + ", found " + std::to_string(found));
  }

  json_reader& reader_;
  std::span<T> into_;
  const shape_type& shape_;
  const std::string& subject_;
  std::size_t filled_ = 0;
};

// True if the array that the reader stands before has an array as its first element.
bool starts_nested(json_reader& reader) {
  const std::size_t start = reader.position();
  const bool nested = reader.take('[') && reader.peek() == '[';
  reader.seek(start);
  return nested;
}

}  // namespace

tensor read_json_data(json_reader& reader, element_type type, shape_type shape,
                      const std::string& subject) {
  const std::size_t count = checked_element_count(shape, subject);
  // An element takes two characters at least, its comma or bracket included: what the shape claims
  // is not believed before the text can hold it.
  if (count > reader.left() / 2) {
    refuse(subject, expected_count(count, shape) + ", but the request is too short for so many");
  }
  const bool nested = shape.size() > 1 && starts_nested(reader);
  tensor result(type, std::move(shape));
  with_element(type, subject, [&]<typename T>(T) {
    data_reader<T> data(reader, result.data<T>(), result.shape(), subject);
    if (nested) {
      data.nested(0);
    } else {
      data.flat();
    }
  });
  return result;
}

tensor read_binary_data(std::string_view bytes, element_type type, shape_type shape,
                        const std::string& subject) {
  const std::size_t count = checked_element_count(shape, subject);
  if (type != element_type::string) {
    const std::size_t wanted = checked_mul(count, inference::bit_width(type) / 8, subject);
    if (bytes.size() != wanted) {
      refuse(subject, expected_count(count, shape) + ", that is " + std::to_string(wanted) +
                          " bytes, found " + std::to_string(bytes.size()));
    }
    // Any other byte in a C++ bool is undefined behaviour.
    if (type == element_type::boolean &&
        std::ranges::any_of(bytes, [](char c) { return c != 0 && c != 1; })) {
      refuse(subject, "a byte of BOOL data must be 0 or 1");
    }
    tensor result(type, std::move(shape));
    if (wanted > 0) std::memcpy(result.mutable_bytes().data(), bytes.data(), wanted);
    return result;
  }
  if (count > bytes.size() / 4) {
    refuse(subject, expected_count(count, shape) + ", but " + std::to_string(bytes.size()) +
                        " bytes hold fewer (four for each length)");
  }
  tensor result(type, std::move(shape));
  for (std::string& each : result.data<std::string>()) {
    std::uint32_t size = 0;
    if (bytes.size() < 4) refuse(subject, "the binary data ends within the length of an element");
    std::memcpy(&size, bytes.data(), 4);
    bytes.remove_prefix(4);
    if (bytes.size() < size) refuse(subject, "the binary data ends within an element");
    each.assign(bytes.substr(0, size));
    bytes.remove_prefix(size);
  }
  if (!bytes.empty()) {
    refuse(subject, expected_count(count, result.shape()) + ", but " +
                        std::to_string(bytes.size()) + " bytes are left over");
  }
  return result;
}

void append_json_data(std::string& to, const tensor& value, const std::string& subject) {
  const auto append_number = [&to](auto number) {
    std::array<char, 40> digits{};
    to.append(digits.data(),
              std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr);
  };
  const auto append_floating = [&](auto number) {
    if (!std::isfinite(number)) {
      refuse(subject,
             "holds a not-a-number or infinity, which JSON cannot say: ask for it with "
             "\"binary_data\": true");
    }
    append_number(number);
  };
  to += '[';
  with_element(value.type(), subject, [&]<typename T>(T) {
    bool first = true;
    for (const T& each : value.data<T>()) {
      if (!first) to += ',';
      first = false;
      if constexpr (std::same_as<T, bool>) {
        to += each ? "true" : "false";
      } else if constexpr (std::same_as<T, std::string>) {
        if (!is_utf8(each)) {
          refuse(subject,
                 "holds bytes that are not UTF-8, which JSON cannot say: ask for it with "
                 "\"binary_data\": true");
        }
        append_json_string(to, each);
      } else if constexpr (std::same_as<T, inference::float16>) {
        append_floating(half_to_float(each.bits));
      } else if constexpr (std::same_as<T, inference::bfloat16>) {
        append_floating(bfloat16_to_float(each.bits));
      } else if constexpr (std::floating_point<T>) {
        append_floating(each);
      } else {
        append_number(each);
      }
    }
  });
  to += ']';
}

std::size_t binary_size(const tensor& value) {
  if (value.type() != element_type::string) return value.bytes().size();
  std::size_t size = 0;
  for (const std::string& each : value.data<std::string>()) size += 4 + each.size();
  return size;
}

void append_binary_data(std::string& to, const tensor& value) {
  if (value.type() != element_type::string) {
    const std::span<const std::byte> bytes = value.bytes();
    to.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return;
  }
  for (const std::string& each : value.data<std::string>()) {
    const auto size = narrow<std::uint32_t>(each.size(), "the length of a BYTES element");
    std::array<char, 4> length{};
    std::memcpy(length.data(), &size, length.size());
    to.append(length.data(), length.size()).append(each);
  }
}

}  // namespace mizzen::serving::detail
