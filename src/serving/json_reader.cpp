#include "serving/json_reader.hpp"

#include "core/utf8.hpp"

#include <algorithm>

namespace mizzen::serving::detail {
namespace {

constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }

}  // namespace

json_reader::nesting::nesting(json_reader& reader, std::string_view subject) : in(reader) {
  if (in.depth_ >= in.max_depth_) {
    in.fail(subject, "nested deeper than " + std::to_string(in.max_depth_) + " levels");
  }
  ++in.depth_;
}

char json_reader::peek() noexcept {
  while (at_ < text_.size()) {
    const char c = text_[at_];
    if (c != ' ' && c != '\n' && c != '\r' && c != '\t') return c;
    ++at_;
  }
  return '\0';
}

bool json_reader::take(char c) noexcept {
  if (peek() != c || at_ >= text_.size()) return false;
  ++at_;
  return true;
}

void json_reader::expect(char c, std::string_view subject, std::string_view what) {
  if (!take(c)) fail(subject, "expected " + std::string(what));
}

void json_reader::fail(std::string_view subject, std::string_view message) const {
  const bool at_end = at_ >= text_.size();
  throw error(
      errc::invalid_argument, subject.empty() ? "request" : subject,
      std::string(message) + (at_end ? " at the end of the JSON text"
                                     : " at byte " + std::to_string(at_) + " of the JSON text"));
}

std::string json_reader::string(std::string_view subject, std::size_t longest) {
  expect('"', subject, "a string");
  std::string result;
  for (;;) {
    const std::size_t from = at_;
    while (at_ < text_.size() && text_[at_] != '"' && text_[at_] != '\\' &&
           static_cast<unsigned char>(text_[at_]) >= 0x20) {
      ++at_;
    }
    const std::string_view piece = text_.substr(from, at_ - from);
    if (!is_utf8(piece)) fail(subject, "a string that is not UTF-8 (send it in binary)");
    if (piece.size() > longest - std::min(longest, result.size())) {
      fail(subject, "longer than " + std::to_string(longest) + " bytes");
    }
    result += piece;
    if (at_ >= text_.size()) fail(subject, "a string without an end");
    const char c = text_[at_++];
    if (c == '"') return result;
    if (c != '\\') fail(subject, "a control character in a string");
    append_escape(result, subject);
    if (result.size() > longest) fail(subject, "longer than " + std::to_string(longest) + " bytes");
  }
}

void json_reader::append_escape(std::string& to, std::string_view subject) {
  const char c = at_ < text_.size() ? text_[at_++] : '\0';
  switch (c) {
    case '"':
    case '\\':
    case '/':
      to += c;
      return;
    case 'b':
      to += '\b';
      return;
    case 'f':
      to += '\f';
      return;
    case 'n':
      to += '\n';
      return;
    case 'r':
      to += '\r';
      return;
    case 't':
      to += '\t';
      return;
    case 'u':
      break;
    default:
      fail(subject, "an unknown escape in a string");
  }
  unsigned code = hex4(subject);
  if (code >= 0xdc00 && code < 0xe000) fail(subject, "half a surrogate pair in a string");
  if (code >= 0xd800 && code < 0xdc00) {
    if (text_.substr(at_, 2) != "\\u") fail(subject, "half a surrogate pair in a string");
    at_ += 2;
    const unsigned low = hex4(subject);
    if (low < 0xdc00 || low > 0xdfff) fail(subject, "half a surrogate pair in a string");
    code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
  }
  mizzen::detail::append_utf8(to, code);
}

unsigned json_reader::hex4(std::string_view subject) {
  unsigned code = 0;
  for (int i = 0; i < 4; ++i) {
    const char c = at_ < text_.size() ? text_[at_++] : '\0';
    const char lower = static_cast<char>(c | 0x20);
    if (is_digit(c)) {
      code = code * 16 + static_cast<unsigned>(c - '0');
    } else if (lower >= 'a' && lower <= 'f') {
      code = code * 16 + static_cast<unsigned>(lower - 'a' + 10);
    } else {
      fail(subject, "\\u must be followed by four hexadecimal digits");
    }
  }
  return code;
}

std::string_view json_reader::number(std::string_view subject) {
  const char first = peek();
  if (first != '-' && !is_digit(first)) fail(subject, "expected a number");
  const std::size_t from = at_;
  const auto digits = [this] {
    const std::size_t before = at_;
    while (at_ < text_.size() && is_digit(text_[at_])) ++at_;
    return at_ > before;
  };
  const auto is_next = [this](char c) { return at_ < text_.size() && text_[at_] == c; };
  if (is_next('-')) ++at_;
  bool good = true;
  if (is_next('0')) {
    ++at_;
  } else {
    good = digits();
  }
  if (is_next('.')) {
    ++at_;
    good = digits() && good;
  }
  if (is_next('e') || is_next('E')) {
    ++at_;
    if (is_next('+') || is_next('-')) ++at_;
    good = digits() && good;
  }
  if (!good || (at_ < text_.size() && is_digit(text_[at_]))) fail(subject, "not a number");
  return text_.substr(from, at_ - from);
}

bool json_reader::take_word(std::string_view word) noexcept {
  if (text_.substr(at_, word.size()) != word) return false;
  at_ += word.size();
  return true;
}

bool json_reader::boolean(std::string_view subject) {
  peek();
  if (take_word("true")) return true;
  if (take_word("false")) return false;
  fail(subject, "expected true or false");
}

std::string_view json_reader::skip(std::string_view subject) {
  const char first = peek();
  const std::size_t from = at_;
  if (first == '{') {
    object(subject, [&](const std::string&) { skip(subject); });
  } else if (first == '[') {
    array(subject, [&](std::size_t) { skip(subject); });
  } else if (first == '"') {
    string(subject, text_.size());
  } else if (first == '-' || is_digit(first)) {
    number(subject);
  } else if (!take_word("true") && !take_word("false") && !take_word("null")) {
    fail(subject, "expected a JSON value");
  }
  return text_.substr(from, at_ - from);
}

void json_reader::end() {
  peek();
  if (at_ < text_.size()) fail("", "something follows the JSON object");
}

bool is_utf8(std::string_view text) noexcept {
  std::size_t at = 0;
  while (at < text.size()) {
    const auto byte = [&](std::size_t i) -> unsigned {
      return i < text.size() ? static_cast<unsigned char>(text[i]) : 0;
    };
    const unsigned lead = byte(at);
    if (lead < 0x80) {
      ++at;
      continue;
    }
    const std::size_t more = lead >= 0xc2 && lead < 0xe0   ? 1
                             : lead >= 0xe0 && lead < 0xf0 ? 2
                             : lead >= 0xf0 && lead < 0xf5 ? 3
                                                           : 0;
    if (more == 0) return false;
    for (std::size_t i = 1; i <= more; ++i) {
      if ((byte(at + i) & 0xc0) != 0x80) return false;
    }
    const unsigned second = byte(at + 1);
    // Overlong forms, surrogates, and what lies beyond U+10FFFF.
    if ((lead == 0xe0 && second < 0xa0) || (lead == 0xed && second >= 0xa0) ||
        (lead == 0xf0 && second < 0x90) || (lead == 0xf4 && second >= 0x90)) {
      return false;
    }
    at += more + 1;
  }
  return true;
}

void append_json_string(std::string& to, std::string_view text) {
  constexpr std::string_view digits = "0123456789abcdef";
  to += '"';
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      to += '\\';
      to += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      to += "\\u00";
      to += digits[static_cast<unsigned char>(c) >> 4];
      to += digits[static_cast<unsigned char>(c) & 15];
    } else {
      to += c;
    }
  }
  to += '"';
}

}  // namespace mizzen::serving::detail
