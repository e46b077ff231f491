// The wire format of protobuf: varints, tags, length-delimited fields. Bounded and allocation free.
#pragma once

#include <kubernetes/codec/schema.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace mizzen::kubernetes::detail {

enum class wire : std::uint8_t { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

struct tag {
  std::uint32_t number = 0;
  detail::wire wire = wire::varint;
};

// Reads one message. Damage is error(data_loss) whose subject is the place.
class wire_reader {
 public:
  explicit wire_reader(std::string_view message)
      : at_(message.data()), end_(message.data() + message.size()) {}

  bool done() const noexcept { return at_ == end_; }
  const char* position() const noexcept { return at_; }

  std::uint64_t varint(const place& where) {
    if (at_ != end_ && static_cast<unsigned char>(*at_) < 0x80) {
      return static_cast<unsigned char>(*at_++);
    }
    return long_varint(where);
  }
  detail::tag tag(const place& where) {
    const std::uint64_t value = varint(where);
    const std::uint64_t number = value >> 3;
    const auto kind = static_cast<detail::wire>(value & 7);
    const bool known = kind == wire::varint || kind == wire::fixed64 || kind == wire::bytes ||
                       kind == wire::fixed32;
    if (number == 0 || number > 536'870'911 || !known) fail(where, "this is no field of protobuf");
    return {static_cast<std::uint32_t>(number), kind};
  }
  std::string_view bytes(const place& where) {
    const std::uint64_t size = varint(where);
    if (size > static_cast<std::uint64_t>(end_ - at_)) fail(where, "the message is cut short");
    const std::string_view taken(at_, static_cast<std::size_t>(size));
    at_ += size;
    return taken;
  }
  std::uint64_t fixed64(const place& where);
  // Takes these bytes if they are next.
  bool take(std::string_view next) noexcept {
    if (!std::string_view(at_, static_cast<std::size_t>(end_ - at_)).starts_with(next))
      return false;
    at_ += next.size();
    return true;
  }
  // Passes the value of a field.
  void skip(detail::wire kind, const place& where);

  // How many length-delimited fields with the tag that ends at `first` follow one another from
  // here. The tag's own bytes are [first, first + size).
  std::size_t count_same(const char* first, std::size_t size) const noexcept;

  [[noreturn]] static void fail(const place& where, std::string_view message);

 private:
  std::uint64_t long_varint(const place& where);

  const char* at_;
  const char* end_;
};

inline void append_varint(std::string& out, std::uint64_t value) {
  while (value >= 0x80) {
    out += static_cast<char>(value | 0x80);
    value >>= 7;
  }
  out += static_cast<char>(value);
}
inline void append_tag(std::string& out, std::uint32_t number, wire kind) {
  append_varint(out, std::uint64_t{number} << 3 | static_cast<std::uint64_t>(kind));
}
inline void append_bytes(std::string& out, std::uint32_t number, std::string_view value) {
  append_tag(out, number, wire::bytes);
  append_varint(out, value.size());
  out += value;
}

// Puts the length before what `write` appends.
template <typename Write>
void append_nested(std::string& out, std::uint32_t number, Write write) {
  append_tag(out, number, wire::bytes);
  const std::size_t at = out.size();
  out += '\0';
  write();
  std::uint64_t size = out.size() - at - 1;
  if (size < 0x80) {
    out[at] = static_cast<char>(size);
    return;
  }
  std::string length;
  append_varint(length, size);
  out.replace(at, 1, length);
}

}  // namespace mizzen::kubernetes::detail
