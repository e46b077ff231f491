// The body of an answer from its bytes, without I/O and without copying it together.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace mizzen::http::detail {

enum class framing : std::uint8_t { none, length, chunked, until_end };

// Takes a body out of the bytes it is framed in. Needs a few bytes of memory, whatever comes.
class body_decoder {
 public:
  body_decoder(framing how, std::uint64_t length) noexcept;

  struct progress {
    std::string_view payload;  // somewhere in what was given
    std::size_t used;          // less than all of it only when the body ends there
  };
  // Decodes in place: what lies between pieces of the body is overwritten. Everything is used,
  // until done() or a failure.
  progress decode(char* data, std::size_t size) noexcept;

  // The connection ended.
  void put_eof() noexcept;

  bool done() const noexcept { return state_ == state::done; }
  // What a Content-Length claims is still to come; 0 for other framings.
  std::uint64_t claimed() const noexcept { return how_ == framing::length ? left_ : 0; }
  // Why the body is not one; null while it is.
  const char* failure() const noexcept { return failure_; }

 private:
  enum class state : std::uint8_t {
    raw,
    size,
    extension,
    size_lf,
    data,
    data_cr,
    data_lf,
    trailer_start,
    trailer,
    trailer_lf,
    last_lf,
    done
  };

  void line(char c) noexcept;
  void fail(const char* why) noexcept;

  framing how_;
  state state_;
  std::uint64_t left_;
  std::uint8_t digits_ = 0;
  std::size_t line_bytes_ = 0;
  const char* failure_ = nullptr;
};

// gzip, one or several members (RFC 1952). Hands out at most one buffer at a time, so a small
// input that grows without end takes no memory.
class gunzip {
 public:
  gunzip();
  ~gunzip();

  // The next input; must stay there until next() has given everything of it.
  void put(std::string_view data) noexcept;

  // The next piece, valid until the next call; empty when more input is needed. Throws
  // std::runtime_error for what is not gzip.
  std::string_view next();

  // Whether the input so far ends where a member ends.
  bool complete() const noexcept;

 private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

}  // namespace mizzen::http::detail
