// HTTP/1.1 messages from bytes, without I/O.
#pragma once

#include "http/body.hpp"

#include <mizzen/http/message.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

namespace mizzen::http::detail {

// Why a message was refused, and the status with which a server says so.
struct parse_failure {
  int status;
  std::string message;
};

struct parser_limits {
  std::size_t max_header;
  std::size_t max_body;
};

// Reads one message. Bytes go in through put() in any cuts; what it leaves must be given again with
// more behind it. Memory is bounded by the limits and by what really arrived, not by what a length
// field claims.
template <bool is_request>
class message_parser {
 public:
  using message = std::conditional_t<is_request, request, response>;

  explicit message_parser(parser_limits limits);
  ~message_parser();

  // Takes from the front of data what it can and returns how many bytes that was. No more is taken
  // once the message is done or has failed.
  std::size_t put(std::string_view data);

  // The connection ended. A message whose end is the end of the connection is done by this, any
  // other one has failed.
  void put_eof();

  // For the answer to HEAD: there is no body, whatever the header says. Before the first put().
  void expect_no_body();

  // Done with the header: the body is somebody else's. Before the first put().
  void stop_after_header();

  bool started() const noexcept;  // a byte was taken
  bool header_done() const noexcept;
  bool done() const noexcept;
  // The body ends with the connection.
  bool ends_with_connection() const noexcept;
  const std::optional<parse_failure>& failure() const noexcept;

  // Valid once header_done().
  framing body_framing() const noexcept;
  std::uint64_t content_length() const noexcept;  // 0 unless framing::length
  bool keep_alive() const noexcept;
  bool is_http_1_1() const noexcept;
  bool expects_continue() const noexcept;
  const message& get() const noexcept;

  message take();  // once done()

 private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

using request_parser = message_parser<true>;
using response_parser = message_parser<false>;

extern template class message_parser<true>;
extern template class message_parser<false>;

}  // namespace mizzen::http::detail
