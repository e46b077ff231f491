#include <kubernetes/codec/text.hpp>

#include <array>

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

void append_utf8(std::string& out, std::uint32_t code_point) {
  const auto put = [&out](std::uint32_t byte) { out += static_cast<char>(byte); };
  if (code_point < 0x80) {
    put(code_point);
  } else if (code_point < 0x800) {
    put(0xC0 | (code_point >> 6));
    put(0x80 | (code_point & 0x3F));
  } else if (code_point < 0x10000) {
    put(0xE0 | (code_point >> 12));
    put(0x80 | ((code_point >> 6) & 0x3F));
    put(0x80 | (code_point & 0x3F));
  } else {
    put(0xF0 | (code_point >> 18));
    put(0x80 | ((code_point >> 12) & 0x3F));
    put(0x80 | ((code_point >> 6) & 0x3F));
    put(0x80 | (code_point & 0x3F));
  }
}

namespace {

constexpr std::string_view alphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

constexpr std::array<std::uint8_t, 256> base64_values = [] {
  std::array<std::uint8_t, 256> values{};
  values.fill(0xFF);
  for (std::size_t i = 0; i < alphabet.size(); ++i) {
    values[static_cast<unsigned char>(alphabet[i])] = static_cast<std::uint8_t>(i);
  }
  return values;
}();

}  // namespace

bool decode_base64(std::string_view text, std::string& out) {
  if (text.size() % 4 != 0) return false;
  std::size_t padding = 0;
  while (padding < 2 && padding < text.size() && text[text.size() - 1 - padding] == '=') ++padding;
  out.clear();
  out.reserve(text.size() / 4 * 3);
  for (std::size_t at = 0; at < text.size(); at += 4) {
    const std::size_t digits = at + 4 == text.size() ? 4 - padding : 4;
    std::uint32_t bits = 0;
    for (std::size_t i = 0; i < 4; ++i) {
      const std::uint8_t value =
          i < digits ? base64_values[static_cast<unsigned char>(text[at + i])] : std::uint8_t{0};
      if (value == 0xFF) return false;
      bits = (bits << 6) | value;
    }
    for (std::size_t i = 0; i + 1 < digits; ++i) {
      out += static_cast<char>((bits >> (16 - 8 * i)) & 0xFF);
    }
  }
  return true;
}

void encode_base64(std::string_view data, std::string& out) {
  const auto byte = [data](std::size_t i) {
    return i < data.size() ? static_cast<std::uint32_t>(static_cast<unsigned char>(data[i])) : 0U;
  };
  for (std::size_t at = 0; at < data.size(); at += 3) {
    const std::uint32_t bits = (byte(at) << 16) | (byte(at + 1) << 8) | byte(at + 2);
    for (std::size_t i = 0; i < 4; ++i) {
      out += at + i <= data.size() ? alphabet[(bits >> (18 - 6 * i)) & 0x3F] : '=';
    }
  }
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
