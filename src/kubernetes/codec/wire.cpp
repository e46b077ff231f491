#include <mizzen/core/error.hpp>

#include <kubernetes/codec/wire.hpp>

#include <bit>
#include <cstring>

namespace mizzen::kubernetes::detail {

void wire_reader::fail(const place& where, std::string_view message) {
  throw error(errc::data_loss, where.to_string(), message);
}

std::uint64_t wire_reader::long_varint(const place& where) {
  std::uint64_t value = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    if (at_ == end_) fail(where, "the message is cut short");
    const auto byte = static_cast<unsigned char>(*at_++);
    if (shift == 63 && byte > 1) break;
    value |= std::uint64_t{byte & 0x7FU} << shift;
    if (byte < 0x80) return value;
  }
  fail(where, "a number is longer than 64 bits");
}

std::uint64_t wire_reader::fixed64(const place& where) {
  if (end_ - at_ < 8) fail(where, "the message is cut short");
  std::uint64_t value = 0;
  for (unsigned i = 0; i < 8; ++i) {
    value |= std::uint64_t{static_cast<unsigned char>(at_[i])} << (8 * i);
  }
  at_ += 8;
  return value;
}

void wire_reader::skip(detail::wire kind, const place& where) {
  switch (kind) {
    case wire::varint:
      varint(where);
      return;
    case wire::fixed64:
      fixed64(where);
      return;
    case wire::bytes:
      bytes(where);
      return;
    case wire::fixed32:
      if (end_ - at_ < 4) fail(where, "the message is cut short");
      at_ += 4;
      return;
  }
}

std::size_t wire_reader::count_same(const char* first, std::size_t size) const noexcept {
  std::size_t count = 0;
  const char* at = at_;
  while (static_cast<std::size_t>(end_ - at) > size && std::memcmp(at, first, size) == 0) {
    at += size;
    std::uint64_t length = 0;
    unsigned shift = 0;
    while (at != end_ && static_cast<unsigned char>(*at) >= 0x80 && shift < 28) {
      length |= std::uint64_t{static_cast<unsigned char>(*at++) & 0x7FU} << shift;
      shift += 7;
    }
    if (at == end_) break;
    length |= std::uint64_t{static_cast<unsigned char>(*at++) & 0x7FU} << shift;
    if (length > static_cast<std::uint64_t>(end_ - at)) break;
    at += length;
    ++count;
  }
  return count;
}

}  // namespace mizzen::kubernetes::detail
