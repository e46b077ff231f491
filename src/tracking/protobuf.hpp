// The wire format of protobuf (protobuf.dev/programming-guides/encoding), as far as it is used
// here.
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

namespace mizzen::tracking::detail {

enum class wire_type : unsigned { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

inline void put_varint(std::string& to, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) to += static_cast<char>((value & 0x7f) | 0x80);
  to += static_cast<char>(value);
}
inline void put_key(std::string& to, unsigned field, wire_type type) {
  put_varint(to, field << 3 | static_cast<unsigned>(type));
}
// The bytes of a number in memory: those of little-endian machines are the format's.
template <typename T>
  requires std::is_arithmetic_v<T>
void put_raw(std::string& to, T value) {
  char raw[sizeof value];
  std::memcpy(raw, &value, sizeof value);
  to.append(raw, sizeof value);
}
inline void put_varint_field(std::string& to, unsigned field, std::uint64_t value) {
  put_key(to, field, wire_type::varint);
  put_varint(to, value);
}
template <typename T>
  requires std::is_arithmetic_v<T>
void put_fixed_field(std::string& to, unsigned field, T value) {
  static_assert(sizeof value == 8 || sizeof value == 4);
  put_key(to, field, sizeof value == 8 ? wire_type::fixed64 : wire_type::fixed32);
  put_raw(to, value);
}
// A string, bytes or a message.
inline void put_bytes_field(std::string& to, unsigned field, std::string_view value) {
  put_key(to, field, wire_type::bytes);
  put_varint(to, value.size());
  to += value;
}

// Takes a message apart, field by field. Reads nothing beyond its end, whatever it is.
class message_reader {
 public:
  struct field {
    unsigned number = 0;
    wire_type type = wire_type::varint;
    std::uint64_t number_value = 0;  // of a varint or a fixed one
    std::string_view bytes = {};
  };

  explicit message_reader(std::string_view message) noexcept : left_(message) {}
  // Nothing at the end, or where it is damaged.
  std::optional<field> next() noexcept {
    if (left_.empty()) return std::nullopt;
    damaged_ = true;
    field found;
    std::uint64_t key = 0;
    if (!take_varint(key) || key >> 3 == 0 || key >> 3 > 0x1fffffff) return std::nullopt;
    found.number = static_cast<unsigned>(key >> 3);
    found.type = static_cast<wire_type>(key & 7);
    switch (found.type) {
      case wire_type::varint:
        if (!take_varint(found.number_value)) return std::nullopt;
        break;
      case wire_type::fixed64:
      case wire_type::fixed32: {
        const std::size_t size = found.type == wire_type::fixed64 ? 8 : 4;
        if (left_.size() < size) return std::nullopt;
        std::memcpy(&found.number_value, left_.data(), size);
        left_.remove_prefix(size);
        break;
      }
      case wire_type::bytes: {
        std::uint64_t size = 0;
        if (!take_varint(size) || size > left_.size()) return std::nullopt;
        found.bytes = left_.substr(0, static_cast<std::size_t>(size));
        left_.remove_prefix(static_cast<std::size_t>(size));
        break;
      }
      default:
        return std::nullopt;
    }
    damaged_ = false;
    return found;
  }
  // Whether it ended before its end.
  bool is_damaged() const noexcept { return damaged_; }

 private:
  bool take_varint(std::uint64_t& value) noexcept {
    value = 0;
    for (unsigned shift = 0; shift < 64 && !left_.empty(); shift += 7) {
      const auto byte = static_cast<unsigned char>(left_.front());
      left_.remove_prefix(1);
      value |= std::uint64_t{byte & 0x7fU} << shift;
      if (byte < 0x80) return true;
    }
    return false;
  }

  std::string_view left_;
  bool damaged_ = false;
};

}  // namespace mizzen::tracking::detail
