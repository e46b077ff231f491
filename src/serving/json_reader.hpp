// A pull parser for JSON text in memory. The protocol's requests are read with it rather than into
// a document, so that a million numbers go straight into their tensor and nothing is allocated that
// the text does not hold.
#pragma once

#include <mizzen/core/error.hpp>

#include <cstddef>
#include <string>
#include <string_view>

namespace mizzen::serving::detail {

// RFC 8259, strictly. Whatever is wrong is error(invalid_argument) whose subject is the field and
// whose message says where in the text.
class json_reader {
 public:
  json_reader(std::string_view text, std::size_t max_depth) : text_(text), max_depth_(max_depth) {}

  // The next character that is not white space, or 0 at the end; not taken.
  char peek() noexcept;

  // Takes the character if it is the next one.
  bool take(char c) noexcept;

  void expect(char c, std::string_view subject, std::string_view what);

  // Calls each(key) for each member; it must take the value.
  template <typename Each>
  void object(std::string_view subject, Each each) {
    expect('{', subject, "an object");
    const nesting level(*this, subject);
    if (take('}')) return;
    do {
      if (peek() != '"') fail(subject, "expected the name of a member");
      const std::string key = string(subject, text_.size());
      expect(':', subject, "':'");
      each(key);
    } while (take(','));
    expect('}', subject, "',' or '}'");
  }

  // Calls each(index) for each element; it must take the value.
  template <typename Each>
  void array(std::string_view subject, Each each) {
    expect('[', subject, "an array");
    const nesting level(*this, subject);
    if (take(']')) return;
    std::size_t index = 0;
    do each(index++);
    while (take(','));
    expect(']', subject, "',' or ']'");
  }

  // A string of at most `longest` bytes, unescaped; valid UTF-8.
  std::string string(std::string_view subject, std::size_t longest);

  // The text of a number; it has the form of one, whatever its size.
  std::string_view number(std::string_view subject);

  bool boolean(std::string_view subject);

  // Takes any value and returns its text; it is well formed.
  std::string_view skip(std::string_view subject);

  // Fails unless nothing but white space is left.
  void end();

  std::size_t position() const noexcept { return at_; }
  void seek(std::size_t position) noexcept { at_ = position; }
  std::size_t left() const noexcept { return text_.size() - at_; }

  [[noreturn]] void fail(std::string_view subject, std::string_view message) const;

 private:
  // A level of nesting, refused when there are too many.
  struct nesting {
    nesting(json_reader& reader, std::string_view subject);
    ~nesting() { --in.depth_; }
    nesting(const nesting&) = delete;
    nesting& operator=(const nesting&) = delete;
    json_reader& in;
  };

  bool take_word(std::string_view word) noexcept;
  void append_escape(std::string& to, std::string_view subject);
  unsigned hex4(std::string_view subject);

  std::string_view text_;
  std::size_t max_depth_;
  std::size_t at_ = 0;
  std::size_t depth_ = 0;
};

// RFC 3629.
bool is_utf8(std::string_view text) noexcept;

// Appends the text as a JSON string with its quotes; it must be UTF-8.
void append_json_string(std::string& to, std::string_view text);

}  // namespace mizzen::serving::detail
