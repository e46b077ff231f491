#include "http/parser.hpp"

#include <mizzen/core/error.hpp>

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/basic_parser.hpp>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <utility>

namespace mizzen::http::detail {
namespace beast = boost::beast;
using beast_error = beast::http::error;

template <bool is_request>
struct message_parser<is_request>::impl final : beast::http::basic_parser<is_request> {
  // A Content-Length is believed up to here; a longer body grows as it arrives.
  static constexpr std::uint64_t believed_length = std::uint64_t{1} << 20;

  explicit impl(parser_limits within) : limits(within) {
    this->eager(true);
    this->header_limit(static_cast<std::uint32_t>(
        std::min<std::size_t>(limits.max_header, std::numeric_limits<std::uint32_t>::max() / 2)));
    this->body_limit(limits.max_body);
  }

  void fail(int status, std::string text) {
    if (!failure) failure = parse_failure{status, std::move(text)};
  }

  void fail(beast::error_code ec) {
    if (ec == beast_error::header_limit) {
      fail(431, "the header is larger than " + std::to_string(limits.max_header) + " bytes");
    } else if (ec == beast_error::body_limit) {
      fail(413, "the body is larger than " + std::to_string(limits.max_body) + " bytes");
    } else if (ec == beast_error::bad_version) {
      fail(505, "only HTTP/1.0 and HTTP/1.1 are spoken here");
    } else {
      fail(400, "not HTTP: " + ec.message());
    }
  }

  void on_request_impl(beast::http::verb, beast::string_view method, beast::string_view target,
                       int version, beast::error_code&) override {
    if constexpr (is_request) {
      what.method.assign(method.data(), method.size());
      what.url.assign(target.data(), target.size());
      http_1_1 = version >= 11;
    }
  }

  void on_response_impl(int status, beast::string_view, int version, beast::error_code&) override {
    if constexpr (!is_request) {
      what.status = status;
      http_1_1 = version >= 11;
    }
  }

  void on_field_impl(beast::http::field known, beast::string_view name, beast::string_view value,
                     beast::error_code& ec) override {
    if (header_is_done) return;  // a trailer
    // Beast ignores a coding that it does not know, which would take the body for the next message.
    if (known == beast::http::field::transfer_encoding &&
        !beast::iequals(value, beast::string_view("chunked"))) {
      fail(501, "Transfer-Encoding: only chunked is understood");
      ec = beast_error::bad_transfer_encoding;
      return;
    }
    try {
      what.headers.add(std::string(name.data(), name.size()),
                       std::string(value.data(), value.size()));
    } catch (const error& e) {
      fail(400, e.what());
      ec = beast_error::bad_value;
    }
  }

  void on_header_impl(beast::error_code& ec) override {
    header_is_done = true;
    if constexpr (is_request) {
      // RFC 9112, section 3.2.
      const std::size_t hosts = what.headers.values("Host").size();
      if (hosts > 1 || (hosts == 0 && http_1_1)) {
        fail(400, "the request must have one Host field");
        ec = beast_error::bad_field;
      }
    }
  }

  void on_body_init_impl(const boost::optional<std::uint64_t>& length,
                         beast::error_code&) override {
    if (length) what.body.reserve(static_cast<std::size_t>(std::min(*length, believed_length)));
  }

  std::size_t on_body_impl(beast::string_view body, beast::error_code&) override {
    what.body.append(body.data(), body.size());
    return body.size();
  }

  void on_chunk_header_impl(std::uint64_t, beast::string_view, beast::error_code&) override {}

  std::size_t on_chunk_body_impl(std::uint64_t, beast::string_view body,
                                 beast::error_code&) override {
    what.body.append(body.data(), body.size());
    return body.size();
  }

  void on_finish_impl(beast::error_code&) override {}

  parser_limits limits;
  message what;
  bool http_1_1 = false;
  bool header_is_done = false;
  bool head_only = false;
  std::optional<parse_failure> failure;
};

template <bool is_request>
message_parser<is_request>::message_parser(parser_limits limits)
    : impl_(std::make_unique<impl>(limits)) {}

template <bool is_request>
message_parser<is_request>::~message_parser() = default;

template <bool is_request>
std::size_t message_parser<is_request>::put(std::string_view data) {
  if (data.empty() || impl_->failure || impl_->is_done()) return 0;
  if (impl_->head_only && impl_->is_header_done()) return 0;
  // Beast asserts five bytes when it looks at a last chunk for the second time. Less than those of
  // "0\r\n\r\n" never ends a chunked body, so waiting for them loses nothing.
  if (impl_->is_header_done() && impl_->chunked() && data.size() < 5 && data.front() == '0')
    return 0;
  beast::error_code ec;
  const std::size_t taken = impl_->put(boost::asio::buffer(data.data(), data.size()), ec);
  if (ec && ec != beast_error::need_more) {
    impl_->fail(ec);
  } else if (ec == beast_error::need_more && taken == 0 && data.size() > impl_->limits.max_header) {
    // The line of a chunk, or trailers, without an end.
    impl_->fail(400, "a chunk's header or the trailers are larger than " +
                         std::to_string(impl_->limits.max_header) + " bytes");
  }
  return taken;
}

template <bool is_request>
void message_parser<is_request>::put_eof() {
  if (impl_->failure || impl_->is_done()) return;
  if (!impl_->got_some()) return impl_->fail(400, "the connection ended before a message");
  beast::error_code ec;
  impl_->put_eof(ec);
  if (ec) impl_->fail(ec);
}

template <bool is_request>
void message_parser<is_request>::expect_no_body() {
  impl_->skip(true);
}

template <bool is_request>
void message_parser<is_request>::stop_after_header() {
  impl_->eager(false);
  impl_->head_only = true;
}

template <bool is_request>
framing message_parser<is_request>::body_framing() const noexcept {
  if (impl_->is_done()) return framing::none;  // HEAD, 204, 304, Content-Length: 0 …
  if (impl_->chunked()) return framing::chunked;
  return impl_->content_length() ? framing::length : framing::until_end;
}

template <bool is_request>
std::uint64_t message_parser<is_request>::content_length() const noexcept {
  return body_framing() == framing::length ? impl_->content_length().value() : 0;
}

template <bool is_request>
bool message_parser<is_request>::started() const noexcept {
  return impl_->got_some();
}
template <bool is_request>
bool message_parser<is_request>::header_done() const noexcept {
  return impl_->is_header_done();
}
template <bool is_request>
bool message_parser<is_request>::done() const noexcept {
  return !impl_->failure && (impl_->head_only ? impl_->is_header_done() : impl_->is_done());
}
template <bool is_request>
bool message_parser<is_request>::ends_with_connection() const noexcept {
  return impl_->is_header_done() && impl_->need_eof();
}
template <bool is_request>
const std::optional<parse_failure>& message_parser<is_request>::failure() const noexcept {
  return impl_->failure;
}
template <bool is_request>
bool message_parser<is_request>::keep_alive() const noexcept {
  return impl_->keep_alive();
}
template <bool is_request>
bool message_parser<is_request>::is_http_1_1() const noexcept {
  return impl_->http_1_1;
}
template <bool is_request>
bool message_parser<is_request>::expects_continue() const noexcept {
  return impl_->what.headers.has_token("Expect", "100-continue");
}
template <bool is_request>
auto message_parser<is_request>::get() const noexcept -> const message& {
  return impl_->what;
}
template <bool is_request>
auto message_parser<is_request>::take() -> message {
  return std::move(impl_->what);
}

template class message_parser<true>;
template class message_parser<false>;

}  // namespace mizzen::http::detail
