#include "core/utf8.hpp"

#include <mizzen/core/error.hpp>

#include <kubernetes/codec/json_reader.hpp>
#include <kubernetes/codec/text.hpp>

#include <charconv>
#include <limits>

namespace mizzen::kubernetes::detail {

void json_reader::fail(const place& where, std::string_view message) const {
  throw error(errc::invalid_argument, where.to_string(),
              std::string(message) + " (byte " + std::to_string(at_ - begin_) + " of the JSON)");
}

void json_reader::fail_expected(const place& where, std::string_view what) {
  std::string message = "expected " + std::string(what) + ", found ";
  switch (peek()) {
    case '\0':
      message += at_ == end_ ? "the end of the text" : "a zero byte";
      break;
    case '"':
      message += "a string";
      break;
    case '{':
      message += "an object";
      break;
    case '[':
      message += "an array";
      break;
    case 't':
    case 'f':
      message += "a boolean";
      break;
    case 'n':
      message += "null";
      break;
    default:
      if (*at_ == '-' || (*at_ >= '0' && *at_ <= '9')) {
        message += "a number";
      } else if (*at_ > ' ' && *at_ <= '~') {
        message += std::string("'") + *at_ + '\'';
      } else {
        message += "something else";
      }
  }
  fail(where, message);
}

void json_reader::literal(std::string_view word, const place& where) {
  if (!std::string_view(at_, static_cast<std::size_t>(end_ - at_)).starts_with(word)) {
    fail(where, "this is no JSON value");
  }
  at_ += word.size();
}

const char* json_reader::skip_plain_utf8(const char* at, const place& where) const {
  while (true) {
    at = skip_plain(at, end_);
    if (at == end_ || static_cast<unsigned char>(*at) < 0x80) return at;
    const std::size_t size = utf8_size(at, end_);
    if (size == 0) fail(where, "the text is not UTF-8");
    at += size;
  }
}

std::uint32_t json_reader::hex4(const place& where) {
  std::uint32_t value = 0;
  if (end_ - at_ < 4) fail(where, "the string does not end");
  const auto [stop, problem] = std::from_chars(at_, at_ + 4, value, 16);
  if (problem != std::errc{} || stop != at_ + 4) {
    fail(where, "\\u must be followed by four hexadecimal digits");
  }
  at_ += 4;
  return value;
}

std::string_view json_reader::escaped_string(const char* start, const place& where,
                                             std::string& scratch) {
  scratch.assign(start, at_);
  while (true) {
    if (at_ == end_) fail(where, "the string does not end");
    const char c = *at_;
    if (c == '"') break;
    if (c != '\\') fail(where, "a control character in a string must be escaped");
    if (++at_ == end_) fail(where, "the string does not end");
    switch (*at_++) {
      case '"':
        scratch += '"';
        break;
      case '\\':
        scratch += '\\';
        break;
      case '/':
        scratch += '/';
        break;
      case 'b':
        scratch += '\b';
        break;
      case 'f':
        scratch += '\f';
        break;
      case 'n':
        scratch += '\n';
        break;
      case 'r':
        scratch += '\r';
        break;
      case 't':
        scratch += '\t';
        break;
      case 'u': {
        std::uint32_t code = hex4(where);
        if (code >= 0xD800 && code < 0xE000) {
          const bool pair = code < 0xDC00 && end_ - at_ >= 2 && at_[0] == '\\' && at_[1] == 'u';
          if (!pair) fail(where, "half of a surrogate pair");
          at_ += 2;
          const std::uint32_t low = hex4(where);
          if (low < 0xDC00 || low >= 0xE000) fail(where, "half of a surrogate pair");
          code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
        }
        mizzen::detail::append_utf8(scratch, code);
        break;
      }
      default:
        fail(where, "no such escape in a string");
    }
    const char* const plain = skip_plain_utf8(at_, where);
    scratch.append(at_, plain);
    at_ = plain;
  }
  ++at_;
  return scratch;
}

bool json_reader::boolean(const place& where) {
  switch (peek()) {
    case 't':
      literal("true", where);
      return true;
    case 'f':
      literal("false", where);
      return false;
    default:
      fail_expected(where, "true or false");
  }
}

std::string_view json_reader::number_text(const place& where) {
  peek();
  const char* const start = at_;
  const auto digits = [this] {
    const char* const first = at_;
    while (at_ != end_ && *at_ >= '0' && *at_ <= '9') ++at_;
    return at_ != first;
  };
  if (at_ != end_ && *at_ == '-') ++at_;
  const bool zero = at_ != end_ && *at_ == '0';
  if (!digits()) {
    at_ = start;
    fail_expected(where, "a number");
  }
  if (zero && at_ - start > (*start == '-' ? 2 : 1)) {
    fail(where, "a number must not begin with a zero");
  }
  if (at_ != end_ && *at_ == '.') {
    ++at_;
    if (!digits()) fail(where, "a digit must follow the point");
  }
  if (at_ != end_ && (*at_ == 'e' || *at_ == 'E')) {
    ++at_;
    if (at_ != end_ && (*at_ == '+' || *at_ == '-')) ++at_;
    if (!digits()) fail(where, "an exponent must have digits");
  }
  return {start, static_cast<std::size_t>(at_ - start)};
}

std::int64_t json_reader::integer(const place& where, std::int64_t least, std::int64_t greatest) {
  const char next = peek();
  if (next != '-' && (next < '0' || next > '9')) fail_expected(where, "an integer");
  const std::string_view text = number_text(where);
  std::int64_t value = 0;
  const auto [stop, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem == std::errc::result_out_of_range || value < least || value > greatest) {
    fail(where, "the number " + std::string(text.substr(0, 40)) + " does not fit its type");
  }
  if (stop != text.data() + text.size()) {
    fail(where, "expected an integer, found " + std::string(text.substr(0, 40)));
  }
  return value;
}

double json_reader::number(const place& where) {
  const std::string_view text = number_text(where);
  double value = 0;
  const auto [stop, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc{} || stop != text.data() + text.size()) {
    fail(where, "the number " + std::string(text.substr(0, 40)) + " does not fit a double");
  }
  return value;
}

void json_reader::skip_value(const place& where, int levels) {
  switch (peek()) {
    case '"':
      string(where, scratch_);
      return;
    case 't':
      literal("true", where);
      return;
    case 'f':
      literal("false", where);
      return;
    case 'n':
      literal("null", where);
      return;
    case '{':
    case '[':
      break;
    default:
      number_text(where);
      return;
  }
  if (levels <= 0) fail(where, "the nesting is too deep");
  if (take('[')) {
    if (take(']')) return;
    do skip_value(where, levels - 1);
    while (take(','));
    expect(']', where, "',' or ']'");
    return;
  }
  take('{');
  if (take('}')) return;
  do {
    if (peek() != '"') fail_expected(where, "the name of a member");
    string(where, scratch_);
    expect(':', where, "':'");
    skip_value(where, levels - 1);
  } while (take(','));
  expect('}', where, "',' or '}'");
}

std::string_view json_reader::skip(const place& where, int levels) {
  peek();
  const char* const start = at_;
  skip_value(where, levels);
  return {start, static_cast<std::size_t>(at_ - start)};
}

void json_reader::end(const place& where) {
  peek();
  if (at_ != end_) fail(where, "something follows the JSON value");
}

}  // namespace mizzen::kubernetes::detail
