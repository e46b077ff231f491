// Text helpers of the codecs: runs of plain characters, UTF-8, strings of JSON.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace mizzen::kubernetes::detail {

// The first byte in [at, end) that a JSON string cannot take as it is - a quote, a backslash, a
// control character - or that begins a character beyond ASCII; end if there is none. Looks at eight
// bytes at a time.
inline const char* skip_plain(const char* at, const char* end) noexcept {
  constexpr std::uint64_t ones = 0x0101010101010101u;
  constexpr std::uint64_t high = 0x8080808080808080u;
  while (end - at >= 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, at, 8);
    const std::uint64_t quotes = word ^ (ones * '"');
    const std::uint64_t slashes = word ^ (ones * '\\');
    // A byte below n borrows; one at or above 0x80 is found by itself.
    const std::uint64_t found =
        ((word - ones * 0x20) | (quotes - ones) | (slashes - ones) | word) & high;
    if (found != 0) break;
    at += 8;
  }
  while (at != end) {
    const auto c = static_cast<unsigned char>(*at);
    if (c < 0x20 || c >= 0x80 || c == '"' || c == '\\') break;
    ++at;
  }
  return at;
}

// The length of the UTF-8 character that begins at `at` (a byte of 0x80 or above), or 0 if it is
// not well formed.
std::size_t utf8_size(const char* at, const char* end) noexcept;

// Appends a JSON string, quotes included. False, and nothing useful appended, if it is not UTF-8.
bool append_json_string(std::string_view text, std::string& out);

}  // namespace mizzen::kubernetes::detail
