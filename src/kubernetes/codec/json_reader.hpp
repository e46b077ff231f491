// A pull reader for one complete JSON text.
#pragma once

#include <kubernetes/codec/schema.hpp>

#include <cstdint>
#include <string>
#include <string_view>

namespace mizzen::kubernetes::detail {

// RFC 8259, strictly. Whatever is wrong is error(invalid_argument) whose subject is the place.
class json_reader {
 public:
  explicit json_reader(std::string_view text)
      : begin_(text.data()), at_(text.data()), end_(text.data() + text.size()) {}

  // The next character that is not white space, or 0 at the end; not taken.
  char peek() noexcept {
    while (at_ != end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\r' || *at_ == '\t')) ++at_;
    return at_ == end_ ? '\0' : *at_;
  }
  bool take(char c) noexcept {
    if (peek() != c || at_ == end_) return false;
    ++at_;
    return true;
  }
  void expect(char c, const place& where, std::string_view what) {
    if (!take(c)) fail_expected(where, what);
  }
  // Takes null if that is next.
  bool take_null(const place& where) {
    if (peek() != 'n') return false;
    literal("null", where);
    return true;
  }

  // A string. The view is into the text where that holds no escapes, else into `scratch`.
  std::string_view string(const place& where, std::string& scratch) {
    expect('"', where, "a string");
    const char* const start = at_;
    at_ = skip_plain_utf8(at_, where);
    if (at_ != end_ && *at_ == '"') return {start, static_cast<std::size_t>(at_++ - start)};
    return escaped_string(start, where, scratch);
  }

  bool boolean(const place& where);
  std::int64_t integer(const place& where, std::int64_t least, std::int64_t greatest);
  double number(const place& where);
  // The text of a number of any size.
  std::string_view number_text(const place& where);
  // Takes any value and returns its text: well formed, not nested deeper than `levels`.
  std::string_view skip(const place& where, int levels);
  // Fails unless nothing but white space is left.
  void end(const place& where);

  [[noreturn]] void fail(const place& where, std::string_view message) const;

 private:
  void literal(std::string_view word, const place& where);
  const char* skip_plain_utf8(const char* at, const place& where) const;
  std::string_view escaped_string(const char* start, const place& where, std::string& scratch);
  std::uint32_t hex4(const place& where);
  void skip_value(const place& where, int levels);
  [[noreturn]] void fail_expected(const place& where, std::string_view what);

  const char* begin_;
  const char* at_;
  const char* end_;
  std::string scratch_;  // of skipped strings
};

}  // namespace mizzen::kubernetes::detail
