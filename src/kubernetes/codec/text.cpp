#include <kubernetes/codec/text.hpp>

namespace mizzen::kubernetes::detail {

std::size_t utf8_size(const char* at, const char* end) noexcept {
  const auto byte = [at](std::size_t i) { return static_cast<unsigned char>(at[i]); };
  const auto left = static_cast<std::size_t>(end - at);
  const auto follows = [&](std::size_t i) { return (byte(i) & 0xC0) == 0x80; };
  const unsigned char first = byte(0);
  if (first < 0xC2) return 0;
  if (first < 0xE0) return left >= 2 && follows(1) ? 2 : 0;
  if (first < 0xF0) {
    if (left < 3 || !follows(1) || !follows(2)) return 0;
    if (first == 0xE0 && byte(1) < 0xA0) return 0;   // overlong
    if (first == 0xED && byte(1) >= 0xA0) return 0;  // a surrogate
    return 3;
  }
  if (first > 0xF4 || left < 4 || !follows(1) || !follows(2) || !follows(3)) return 0;
  if (first == 0xF0 && byte(1) < 0x90) return 0;   // overlong
  if (first == 0xF4 && byte(1) >= 0x90) return 0;  // beyond U+10FFFF
  return 4;
}

bool append_json_string(std::string_view text, std::string& out) {
  const char* at = text.data();
  const char* const end = at + text.size();
  out += '"';
  while (true) {
    const char* const plain = skip_plain(at, end);
    out.append(at, plain);
    at = plain;
    if (at == end) break;
    const char c = *at;
    if (static_cast<unsigned char>(c) >= 0x80) {
      const std::size_t size = utf8_size(at, end);
      if (size == 0) return false;
      out.append(at, size);
      at += size;
      continue;
    }
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default: {
        constexpr std::string_view hex = "0123456789abcdef";
        const auto value = static_cast<unsigned char>(c);
        out += "\\u00";
        out += hex[value >> 4];
        out += hex[value & 0xF];
      }
    }
    ++at;
  }
  out += '"';
  return true;
}

}  // namespace mizzen::kubernetes::detail
