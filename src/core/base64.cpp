#include "core/base64.hpp"

#include <array>
#include <cstdint>

namespace mizzen::detail {
namespace {

constexpr std::string_view standard =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::string_view url_safe =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

constexpr std::array<std::int8_t, 256> values_of(std::string_view alphabet) {
  std::array<std::int8_t, 256> table{};
  table.fill(-1);
  for (std::size_t i = 0; i < alphabet.size(); ++i) {
    table[static_cast<unsigned char>(alphabet[i])] = static_cast<std::int8_t>(i);
  }
  return table;
}
constexpr auto standard_values = values_of(standard);
constexpr auto url_values = values_of(url_safe);

// Digits without padding; false for a foreign character or bits that stand for no byte.
bool decode_digits(std::string_view digits, const std::array<std::int8_t, 256>& values,
                   bool skip_breaks, std::string& into) {
  std::uint32_t bits = 0;
  int held = 0;
  std::size_t count = 0;
  for (const char c : digits) {
    if (skip_breaks && (c == '\n' || c == '\r')) continue;
    const int value = values[static_cast<unsigned char>(c)];
    if (value < 0) return false;
    bits = (bits << 6 | static_cast<std::uint32_t>(value)) & 0xffffu;
    held += 6;
    ++count;
    if (held >= 8) {
      held -= 8;
      into.push_back(static_cast<char>(bits >> held & 0xffu));
    }
  }
  return count % 4 != 1;
}

}  // namespace

std::string base64_encode(std::string_view bytes) {
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t bits = 0;
    for (std::size_t j = 0; j < 3; ++j) {
      const auto byte = i + j < bytes.size() ? static_cast<unsigned char>(bytes[i + j]) : 0u;
      bits = bits << 8 | byte;
    }
    for (std::size_t j = 0; j < 4; ++j) {
      text.push_back(i + j > bytes.size() ? '=' : standard[bits >> (18 - 6 * j) & 63]);
    }
  }
  return text;
}

std::optional<std::string> base64_decode(std::string_view text) {
  std::size_t padding = 0;
  std::size_t digits = 0;
  std::size_t end = 0;  // behind the last digit
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\n' || text[i] == '\r') continue;
    if (text[i] == '=') {
      ++padding;
    } else if (padding > 0) {
      return std::nullopt;
    } else {
      ++digits;
      end = i + 1;
    }
  }
  if (padding > 2 || (digits + padding) % 4 != 0) return std::nullopt;
  std::string bytes;
  bytes.reserve(digits / 4 * 3 + 3);
  if (!decode_digits(text.substr(0, end), standard_values, true, bytes)) return std::nullopt;
  return bytes;
}

std::optional<std::string> base64url_decode(std::string_view text) {
  while (text.ends_with('=')) text.remove_suffix(1);
  std::string bytes;
  bytes.reserve(text.size() / 4 * 3 + 3);
  if (!decode_digits(text, url_values, false, bytes)) return std::nullopt;
  return bytes;
}

}  // namespace mizzen::detail
