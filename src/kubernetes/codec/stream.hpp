// What the list and the watch decoder share: bytes that wait for the rest of their value.
#pragma once

#include <mizzen/kubernetes/list_decoder.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mizzen::kubernetes::detail {

// Bytes that have come and are not used up. Views into it live until the next append().
class byte_queue {
 public:
  void append(std::string_view piece) {
    if (begin_ == data_.size() || begin_ > data_.size() / 2) {
      data_.erase(0, begin_);
      begin_ = 0;
    }
    data_ += piece;
  }
  std::string_view view() const noexcept { return std::string_view(data_).substr(begin_); }
  void consume(std::size_t count) noexcept { begin_ += count; }
  bool empty() const noexcept { return begin_ == data_.size(); }

 private:
  std::string data_;
  std::size_t begin_ = 0;
};

// Finds the end of a JSON value that arrives in pieces, each byte looked at once. Whether the value
// is well formed is for its reader to say.
class json_scanner {
 public:
  // The size of the value at the front of the text, or nothing if its end has not come. Called
  // again with more of the same text it goes on where it stopped. A number, true, false or null
  // ends where something else follows.
  std::optional<std::size_t> size(std::string_view text);
  // The next value is another one.
  void reset() noexcept { *this = json_scanner(); }
  // Nested deeper than is read.
  bool too_deep() const noexcept { return too_deep_; }
  std::size_t scanned() const noexcept { return at_; }

 private:
  std::size_t at_ = 0;
  std::size_t string_ = 0;  // where the string began that at_ is in
  int depth_ = 0;
  bool in_string_ = false;
  bool too_deep_ = false;
};

// Passes white space.
void skip_space(byte_queue& bytes) noexcept;

// A varint at the front of the text and how many bytes it takes; nothing if its end has not come.
// Throws error(data_loss) for more than ten bytes.
struct sized_varint {
  std::uint64_t value = 0;
  std::size_t size = 0;
};
std::optional<sized_varint> front_varint(std::string_view text, std::string_view subject);

[[noreturn]] void throw_damaged(std::string_view subject, std::string_view message);
[[noreturn]] void throw_too_large(std::string_view subject, std::size_t limit);

}  // namespace mizzen::kubernetes::detail
