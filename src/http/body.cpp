#include "http/body.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <new>
#include <stdexcept>
#include <zlib.h>

namespace mizzen::http::detail {
namespace {

// What may stand between two pieces of a chunked body: extensions and trailers are skipped.
constexpr std::size_t max_line_bytes = std::size_t{16} << 10;

int hex_value(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

body_decoder::body_decoder(framing how, std::uint64_t length) noexcept
    : how_(how), state_(state::raw), left_(length) {
  if (how == framing::none || (how == framing::length && length == 0)) state_ = state::done;
  if (how == framing::chunked) {
    state_ = state::size;
    left_ = 0;
  }
  if (how == framing::until_end) left_ = std::numeric_limits<std::uint64_t>::max();
}

void body_decoder::fail(const char* why) noexcept { failure_ = why; }

body_decoder::progress body_decoder::decode(char* data, std::size_t size) noexcept {
  char* payload = data;
  std::size_t payload_size = 0;
  std::size_t at = 0;
  while (at < size && state_ != state::done && !failure_) {
    if (state_ != state::raw && state_ != state::data) {
      line(data[at++]);
      continue;
    }
    const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(left_, size - at));
    if (payload_size == 0) {
      payload = data + at;
    } else {
      std::memmove(payload + payload_size, data + at, count);
    }
    payload_size += count;
    at += count;
    if (how_ == framing::until_end) continue;
    left_ -= count;
    if (left_ == 0) state_ = state_ == state::raw ? state::done : state::data_cr;
  }
  return {{payload, payload_size}, at};
}

// One byte of what stands around the chunks (RFC 9112, section 7.1).
void body_decoder::line(char c) noexcept {
  if (++line_bytes_ > max_line_bytes) return fail("a chunk's header or the trailers are too large");
  switch (state_) {
    case state::size: {
      const int digit = hex_value(c);
      if (digit >= 0) {
        if (++digits_ > 15) return fail("a chunk's size is too large");
        left_ = left_ * 16 + static_cast<unsigned>(digit);
        return;
      }
      if (digits_ == 0) return fail("a chunk without a size");
      if (c == '\r') {
        state_ = state::size_lf;
      } else if (c == ';' || c == ' ' || c == '\t') {
        state_ = state::extension;
      } else {
        fail("a chunk's size is not a hexadecimal number");
      }
      return;
    }
    case state::extension:
      if (c == '\r') state_ = state::size_lf;
      if (c == '\n') fail("a chunk's header ends without a carriage return");
      return;
    case state::size_lf:
      if (c != '\n') return fail("a chunk's header ends without a line feed");
      digits_ = 0;
      state_ = left_ > 0 ? state::data : state::trailer_start;
      // The trailers are bounded together, each chunk's header alone.
      line_bytes_ = 0;
      return;
    case state::data_cr:
      if (c != '\r') return fail("a chunk is longer than its size");
      state_ = state::data_lf;
      return;
    case state::data_lf:
      if (c != '\n') return fail("a chunk is longer than its size");
      state_ = state::size;
      line_bytes_ = 0;
      return;
    case state::trailer_start:
      state_ = c == '\r' ? state::last_lf : state::trailer;
      if (c == '\n') fail("a trailer ends without a carriage return");
      return;
    case state::trailer:
      if (c == '\r') state_ = state::trailer_lf;
      if (c == '\n') fail("a trailer ends without a carriage return");
      return;
    case state::trailer_lf:
      if (c != '\n') return fail("a trailer ends without a line feed");
      state_ = state::trailer_start;
      return;
    case state::last_lf:
      if (c != '\n') return fail("the body ends without a line feed");
      state_ = state::done;
      return;
    case state::raw:
    case state::data:
    case state::done:
      return;
  }
}

void body_decoder::put_eof() noexcept {
  if (done() || failure_) return;
  if (how_ == framing::until_end) {
    state_ = state::done;
  } else {
    fail("the body is cut off");
  }
}

struct gunzip::impl {
  z_stream zlib = {};
  bool at_end = false;  // of a member
  bool started = false;
  std::array<char, std::size_t{64} << 10> out;
};

gunzip::gunzip() : impl_(std::make_unique<impl>()) {
  constexpr int only_gzip = 16;
  if (inflateInit2(&impl_->zlib, MAX_WBITS + only_gzip) != Z_OK) throw std::bad_alloc();
}

gunzip::~gunzip() { inflateEnd(&impl_->zlib); }

void gunzip::put(std::string_view data) noexcept {
  // zlib's pointer to its input is not const.
  impl_->zlib.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(data.data()));
  impl_->zlib.avail_in = static_cast<uInt>(data.size());
}

std::string_view gunzip::next() {
  z_stream& z = impl_->zlib;
  for (;;) {
    if (z.avail_in == 0 && !impl_->started) return {};
    if (impl_->at_end) {
      if (z.avail_in == 0) return {};
      inflateReset(&z);
      impl_->at_end = false;
    }
    impl_->started = true;
    z.next_out = reinterpret_cast<Bytef*>(impl_->out.data());
    z.avail_out = static_cast<uInt>(impl_->out.size());
    const int result = inflate(&z, Z_NO_FLUSH);
    if (result == Z_STREAM_END) impl_->at_end = true;
    if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR) {
      throw std::runtime_error(z.msg ? z.msg : "not gzip");
    }
    const std::size_t made = impl_->out.size() - z.avail_out;
    if (made > 0) return {impl_->out.data(), made};
    if (result == Z_BUF_ERROR || z.avail_in == 0) return {};
  }
}

bool gunzip::complete() const noexcept { return impl_->at_end; }

}  // namespace mizzen::http::detail
