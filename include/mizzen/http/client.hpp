// HTTP/1.1 client: keep-alive pool, TLS, a deadline on everything.
#pragma once

#include <mizzen/core/cancellation.hpp>
#include <mizzen/core/log.hpp>
#include <mizzen/http/message.hpp>
#include <mizzen/http/retry.hpp>
#include <mizzen/http/stream.hpp>
#include <mizzen/http/tls.hpp>
#include <mizzen/http/transfer.hpp>
#include <mizzen/http/websocket.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

namespace mizzen::http {

struct client_options {
  tls_client_options tls = {};

  // Through which every connection goes; empty: none. No environment variable is read.
  //   http://[user:password@]host[:port]      CONNECT for https, absolute form for http
  //   https://...                             the same, with TLS to the proxy
  //   socks5://... , socks5h://...            names are resolved here, or by the proxy
  std::string proxy = {};

  // From name resolution to the end of the TLS handshake.
  std::chrono::milliseconds connect_timeout{10'000};

  // A whole request, connecting and retrying included, unless send_options brings an earlier
  // deadline; for a stream or WebSocket, until its head is there. Zero: no limit of the client's
  // own.
  std::chrono::milliseconds timeout{30'000};

  // Asks for gzip and decodes it, in requests that do not bring an Accept-Encoding themselves.
  // Costs the server and the client CPU: worth it on a slow network only.
  bool gzip = false;

  // The system probes a connection that was quiet this long, and gives it up after three probes
  // without an answer; zero: never. In whole seconds.
  std::chrono::seconds tcp_keep_alive{30};

  // The largest body that send accepts (decoded), and the largest header (bytes).
  std::size_t max_body = std::size_t{64} << 20;
  std::size_t max_header = std::size_t{64} << 10;

  // Idle connections that are kept per origin, and for how long.
  std::size_t max_idle = 8;
  std::chrono::milliseconds idle_timeout{30'000};

  // Sent with each request that does not have the field itself.
  http::headers default_headers = {{"User-Agent", "mizzen"}};

  logger log = {};
};

struct send_options {
  // Stops the request from any thread, or at a deadline. Asio's per-operation cancellation
  // (bind_cancellation_slot, operator||) works as well.
  mizzen::cancellation cancel = {};

  // The longest time without a byte from the server while one is waited for, or without it taking
  // one of `source`: what tells a half-open connection from a slow one. Zero: no limit.
  std::chrono::milliseconds silence{0};

  // Sent as the body, piece by piece, instead of request::body.
  std::shared_ptr<body_source> source = nullptr;

  // Gets the body of an answer of 2xx, without a limit to its size; not for client::open.
  std::shared_ptr<body_sink> sink = nullptr;

  // Told after each piece of either. Called as they are.
  std::function<void(const transfer_progress&)> progress = {};
};

// What client::send, open and upgrade throw, but for upgrade_refused.
class request_error : public error {
 public:
  request_error(const error& what, bool was_sent) : error(what), was_sent_(was_sent) {}

  // False: not one byte of the request has left, so that it can be sent again whatever its method.
  bool was_sent() const noexcept { return was_sent_; }

 private:
  bool was_sent_;
};

// Sends requests over pooled connections. Every status is a response, not an error; redirects are
// not followed.
//
// Errors, each a request_error naming method and URL:
//   invalid_argument   the URL, method or scheme is not one that can be sent
//   unavailable        name not resolved, refused, reset, or closed before the answer was whole
//   deadline_exceeded  the deadline or a timeout passed
//   cancelled          by the caller
//   unauthenticated    the server's certificate did not verify, TLS failed, or the proxy wants
//                      a (different) user and password
//   resource_exhausted the answer is larger than max_header or max_body
//   data_loss          the answer is not HTTP
//
// A request on a pooled connection that the server had closed meanwhile is sent once more on a new
// one if its method is safe (GET, HEAD, OPTIONS, TRACE) and nothing of an answer was read; anything
// else is up to the caller, because it may have been carried out.
//
// Thread safe: requests may be sent from any thread at once. No threads of its own: the work is
// done by whoever runs the executor (and by Asio's resolver thread). Requests in flight keep what
// they need alive, so the client may be destroyed before they end.
class client {
 public:
  explicit client(boost::asio::any_io_executor executor, client_options options = client_options());
  client(client&&) noexcept;
  client& operator=(client&&) noexcept;
  ~client();

  boost::asio::awaitable<response> send(request what, send_options options = send_options());

  // The same, but the body is read by the caller as it arrives, without a limit to its size. The
  // cancellation and `silence` hold for the whole life of the stream, client_options::timeout until
  // its head is there.
  boost::asio::awaitable<response_stream> open(request what, send_options options = send_options());

  // Sends a GET until the answer's body is whole and gives it the file's name: the file appears
  // whole or not at all. An attempt goes on where the last one broke off, if the server can do that
  // (see resumable_sink). Returns the last answer, without its body; for one that is not 2xx with
  // it, and the file is as it was. options.sink must be empty; client_options::timeout holds for
  // each attempt and is better 0, with options.silence. Errors as for send, and file_sink's.
  boost::asio::awaitable<response> download(request what, std::filesystem::path file,
                                            send_options options = send_options(),
                                            retry_policy policy = retry_policy());

  // Opens a WebSocket; the URL's scheme is http or https (ws and wss as well), the method GET.
  // Throws upgrade_refused when the server answers anything but 101.
  boost::asio::awaitable<websocket> upgrade(request what,
                                            websocket_options options = websocket_options());

  // Idle connections now in the pool.
  std::size_t idle_connections() const;

  // Closes idle connections.
  void close_idle();

 private:
  struct impl;
  std::shared_ptr<impl> impl_;
};

// The same for programs without an event loop: send blocks the calling thread, which does the work
// itself. Thread safe, but one request at a time: threads that shall not wait for each other have a
// client each.
class blocking_client {
 public:
  explicit blocking_client(client_options options = client_options());
  blocking_client(blocking_client&&) noexcept;
  blocking_client& operator=(blocking_client&&) noexcept;
  ~blocking_client();

  // Errors as for client::send.
  response send(request what, send_options options = send_options());

  // As client::download.
  response download(request what, std::filesystem::path file, send_options options = send_options(),
                    retry_policy policy = retry_policy());

  response get(std::string url, send_options options = send_options());
  response post(std::string url, std::string_view content_type, std::string body,
                send_options options = send_options());

 private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

}  // namespace mizzen::http
