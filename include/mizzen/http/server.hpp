// HTTP/1.1 server: bounded in every direction, drains gracefully.
#pragma once

#include <mizzen/core/deadline.hpp>
#include <mizzen/core/log.hpp>
#include <mizzen/http/message.hpp>
#include <mizzen/http/tls.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace mizzen::http {

struct server_options {
  // An address ("127.0.0.1", "::1", "0.0.0.0") or a name that resolves to one. Loopback by default:
  // being reachable from outside is a decision.
  std::string host = "127.0.0.1";
  // 0 takes a free port; server::port() tells which.
  std::uint16_t port = 0;

  tls_server_options tls = {};

  // A larger header is answered with 431, a larger body with 413 (bytes).
  std::size_t max_header = std::size_t{16} << 10;
  std::size_t max_body = std::size_t{8} << 20;

  // Connections beyond this are answered with 503 and closed.
  std::size_t max_connections = 1024;

  // The TLS handshake and a whole header must arrive within header_timeout, a whole body within
  // body_timeout, and a response must be taken within write_timeout; the connection is closed
  // otherwise, so that a slow client holds a connection only so long. idle_timeout: between two
  // requests.
  std::chrono::milliseconds header_timeout{10'000};
  std::chrono::milliseconds body_timeout{60'000};
  std::chrono::milliseconds write_timeout{60'000};
  std::chrono::milliseconds idle_timeout{75'000};

  // Makes the answer to what never reaches the handler (400, 413, 431, 501, 503, 505) and to a
  // handler that failed (500): the status, and why. Plain text by default. Must not throw or block.
  std::function<response(int status, std::string_view why)> refusal = {};

  // Warnings for failed handlers, debug records for refused requests.
  logger log = {};
};

// Answers one request. It runs on a strand of its connection, so it must not block: work that takes
// long goes elsewhere and is awaited. When the client goes away meanwhile, the operation that it
// awaits is cancelled (terminal cancellation). An exception is answered with 500 and logged.
using handler = std::function<boost::asio::awaitable<response>(request)>;

// Serves from construction to drain or destruction. HTTP/1.1 with keep-alive, pipelining (answers
// in order), chunked request bodies and Expect: 100-continue. What is not HTTP is answered with 400
// and the connection closed.
//
// Thread safe. No threads of its own: the work is done by whoever runs the executor, which must
// outlive the server. Handlers in flight keep the handler object alive beyond the server; what the
// handler refers to must live until the executor has stopped.
class server {
 public:
  // Binds and listens; throws error(unavailable) that names host and port, or invalid_argument for
  // unusable TLS material.
  server(boost::asio::any_io_executor executor, server_options options, http::handler answers);
  server(server&&) noexcept;
  server& operator=(server&&) noexcept;
  // Closes everything at once, as stop() does.
  ~server();

  // The port that it listens on.
  std::uint16_t port() const noexcept;

  // "http://127.0.0.1:41234", or https.
  const std::string& url() const noexcept;

  // Open connections now.
  std::size_t connections() const noexcept;

  // Stops accepting, closes idle connections, and lets requests in flight finish (each answer says
  // Connection: close). Returns true when all are done, false when the deadline passed first: what
  // was left is closed then.
  boost::asio::awaitable<bool> drain(deadline until);

  // Closes everything at once; requests in flight are cancelled.
  void stop() noexcept;

 private:
  struct impl;
  std::shared_ptr<impl> impl_;
};

}  // namespace mizzen::http
