#include "http/parser.hpp"
#include "http/transport.hpp"
#include "http/watchdog.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/http/server.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <ctime>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <utility>
#include <vector>

namespace mizzen::http {
namespace {

using namespace detail;
using namespace std::chrono_literals;
using strand = asio::strand<asio::any_io_executor>;

// IMF-fixdate (RFC 9110, section 5.6.7); made once a second and thread.
std::string_view http_date() {
  thread_local std::time_t made_at = 0;
  thread_local std::array<char, 32> text{};
  thread_local std::size_t size = 0;
  const std::time_t now = std::time(nullptr);
  if (now != made_at) {
    std::tm utc{};
    gmtime_r(&now, &utc);
    constexpr std::array days = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    constexpr std::array months = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                   "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    const int written =
        std::snprintf(text.data(), text.size(), "%s, %02d %s %04d %02d:%02d:%02d GMT",
                      days[static_cast<std::size_t>(utc.tm_wday)], utc.tm_mday,
                      months[static_cast<std::size_t>(utc.tm_mon)], utc.tm_year + 1900, utc.tm_hour,
                      utc.tm_min, utc.tm_sec);
    size = static_cast<std::size_t>(written);
    made_at = now;
  }
  return {text.data(), size};
}

void append_number(std::string& to, std::size_t number) {
  std::array<char, 24> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
  to.append(digits.data(), end);
}

bool may_have_body(int status) noexcept { return status >= 200 && status != 204 && status != 304; }

std::string response_head(const response& what, bool keep_alive, bool http_1_0) {
  std::string head;
  head.reserve(256);
  head += "HTTP/1.1 ";
  append_number(head, static_cast<std::size_t>(what.status));
  head.append(" ").append(reason_phrase(what.status)).append("\r\n");
  if (!what.headers.contains("Date")) head.append("Date: ").append(http_date()).append("\r\n");
  for (const field& each : what.headers) {
    head.append(each.name).append(": ").append(each.value).append("\r\n");
  }
  if (may_have_body(what.status)) {
    head += "Content-Length: ";
    append_number(head, what.body.size());
    head += "\r\n";
  }
  if (!keep_alive) {
    head += "Connection: close\r\n";
  } else if (http_1_0) {
    head += "Connection: keep-alive\r\n";
  }
  head += "\r\n";
  return head;
}

response refusal(const server_options& options, int status, std::string_view why) {
  if (options.refusal) return options.refusal(status, why);
  return make_response(status, "text/plain; charset=utf-8", std::string(why) + "\n");
}

// One client. Everything but `busy` happens on its strand.
struct connection {
  explicit connection(strand on) : executor(std::move(on)), guard(executor) {}

  void close() { stream->close(); }

  strand executor;
  std::unique_ptr<transport> stream;
  boost::beast::flat_buffer buffer;
  watchdog<connection> guard;
  asio::cancellation_signal cancel;
  // Between two requests, with nothing of the next one read.
  bool idle = false;
  bool in_handler = false;
  bool gone = false;  // the client, or the server's wish to answer it
  std::uint64_t requests = 0;
};
using connection_ptr = std::shared_ptr<connection>;

}  // namespace

struct server::impl : std::enable_shared_from_this<server::impl> {
  impl(const asio::any_io_executor& on, server_options with, http::handler answers)
      : executor(on),
        options(std::move(with)),
        handler(std::move(answers)),
        accepting(asio::make_strand(on)),
        acceptor(accepting),
        retry(accepting),
        ended(accepting) {
    if (!handler) throw error(errc::invalid_argument, "handler", "a server needs a handler");
    if (options.tls.enabled()) tls.emplace(options.tls);
    listen();
  }

  void listen() {
    const std::string where = options.host + ":" + std::to_string(options.port);
    const auto fail = [&](const error_code& ec) {
      throw error(errc::unavailable, where, "cannot listen: " + ec.message());
    };
    error_code ec;
    tcp::endpoint endpoint;
    const asio::ip::address address = asio::ip::make_address(options.host, ec);
    if (!ec) {
      endpoint = {address, options.port};
    } else {
      tcp::resolver resolver(executor);
      const auto found =
          resolver.resolve(options.host, std::to_string(options.port), tcp::resolver::passive, ec);
      if (ec || found.empty()) fail(ec);
      endpoint = *found.begin();
    }
    acceptor.open(endpoint.protocol(), ec);
    if (!ec) acceptor.set_option(tcp::acceptor::reuse_address(true), ec);
    if (!ec) acceptor.bind(endpoint, ec);
    if (!ec) acceptor.listen(asio::socket_base::max_listen_connections, ec);
    if (ec) fail(ec);
    port = acceptor.local_endpoint().port();
    const bool literal_v6 =
        endpoint.address().is_v6() && options.host.find(':') != std::string::npos;
    url = (tls ? "https://" : "http://") + (literal_v6 ? "[" + options.host + "]" : options.host) +
          ":" + std::to_string(port);
  }

  static asio::awaitable<void> accept(std::shared_ptr<impl> self) {
    while (self->acceptor.is_open()) {
      error_code ec;
      connection_ptr client = std::make_shared<connection>(asio::make_strand(self->executor));
      tcp::socket socket(client->executor);
      co_await self->acceptor.async_accept(socket, asio::redirect_error(asio::use_awaitable, ec));
      if (ec == asio::error::operation_aborted || !self->acceptor.is_open()) break;
      if (ec == asio::error::connection_aborted) continue;
      if (ec) {
        // Out of file descriptors or memory: others must end first.
        self->options.log.log(log_level::warning, "http", "cannot accept a connection",
                              {{"reason", ec.message()}});
        self->retry.expires_after(100ms);
        co_await self->retry.async_wait(asio::redirect_error(asio::use_awaitable, ec));
        continue;
      }
      self->welcome(client, std::move(socket));
    }
  }

  void welcome(const connection_ptr& client, tcp::socket socket) {
    error_code ignored;
    socket.set_option(tcp::no_delay(true), ignored);
    bool room = false;
    {
      const std::lock_guard lock(mutex);
      room = clients.size() < options.max_connections && !draining;
      if (room) clients.insert(client);
    }
    if (!room) {
      options.log.log(log_level::warning, "http", "too many connections",
                      {{"max_connections", options.max_connections}});
      if (!tls) refuse(options, socket);
      return;
    }
    client->stream = tls ? make_tls_server_transport(std::move(socket), *tls)
                         : make_plain_transport(std::move(socket));
    asio::co_spawn(client->executor, serve(shared_from_this(), client),
                   asio::bind_cancellation_slot(
                       client->cancel.slot(),
                       [self = shared_from_this(), client](const std::exception_ptr& failure) {
                         self->leave(client, failure);
                       }));
  }

  // Best effort: a fresh socket has room for this much.
  static void refuse(const server_options& options, tcp::socket& socket) {
    response answer = refusal(options, 503, "too many connections");
    answer.headers.add("Retry-After", "1");
    const std::string text = response_head(answer, false, false) + answer.body;
    error_code ignored;
    socket.non_blocking(true, ignored);
    socket.write_some(asio::buffer(text), ignored);
    socket.shutdown(tcp::socket::shutdown_send, ignored);
  }

  void leave(const connection_ptr& client, const std::exception_ptr& failure) {
    client->guard.rest();
    client->stream->close();
    if (failure && !client->gone) {
      options.log.log(log_level::warning, "http", "a connection ended with an error",
                      {{"reason", describe(failure)}});
    }
    bool last = false;
    {
      const std::lock_guard lock(mutex);
      clients.erase(client);
      last = clients.empty() && draining;
    }
    if (last) asio::post(accepting, [self = shared_from_this()] { self->ended.cancel(); });
  }

  static asio::awaitable<void> serve(std::shared_ptr<impl> self, connection_ptr client) {
    error_code ec;
    client->guard.watch(client, deadline::after(self->options.header_timeout));
    co_await client->stream->handshake(ec);
    bool more = !ec;
    while (more) more = co_await serve_one(self, client);
  }

  // Reads and answers one request; false when it was the last one of the connection.
  static asio::awaitable<bool> serve_one(std::shared_ptr<impl> self, connection_ptr client) {
    const server_options& options = self->options;
    const parser_limits limits{options.max_header, options.max_body};
    request_parser parser(limits);
    if (!co_await read_request(self, client, parser)) co_return false;
    if (parser.failure()) {
      options.log.log(
          log_level::debug, "http", "request refused",
          {{"status", parser.failure()->status}, {"reason", parser.failure()->message}});
      const response answer = refusal(options, parser.failure()->status, parser.failure()->message);
      co_await write_response(self, client, answer, false, false, false);
      co_await linger(client);
      co_return false;
    }

    request what = parser.take();
    const bool head = what.method == "HEAD";
    const bool http_1_0 = !parser.is_http_1_1();
    bool keep_alive = parser.keep_alive();
    response answer = co_await call_handler(self, client, std::move(what));
    if (answer.headers.has_token("Connection", "close") || self->draining) keep_alive = false;
    answer.headers.erase("Connection");
    answer.headers.erase("Content-Length");
    answer.headers.erase("Transfer-Encoding");
    if (!co_await write_response(self, client, answer, head, keep_alive, http_1_0)) {
      co_return false;
    }
    if (!keep_alive) co_await linger(client);
    co_return keep_alive;
  }

  // False if the connection ended before a request was whole.
  static asio::awaitable<bool> read_request(std::shared_ptr<impl> self, connection_ptr client,
                                            request_parser& parser) {
    const server_options& options = self->options;
    bool sent_continue = false;
    bool reads_body = false;
    if (client->buffer.size() > 0 || client->requests == 0) {
      client->guard.watch(client, deadline::after(options.header_timeout));
    } else {
      client->guard.watch(client, deadline::after(options.idle_timeout));
    }
    for (;;) {
      const auto data = client->buffer.data();
      client->buffer.consume(parser.put({static_cast<const char*>(data.data()), data.size()}));
      if (parser.done() || parser.failure()) break;
      if (parser.header_done() && !reads_body) {
        reads_body = true;
        client->guard.watch(client, deadline::after(options.body_timeout));
      }
      if (parser.header_done() && parser.expects_continue() && !sent_continue) {
        sent_continue = true;
        constexpr std::string_view text = "HTTP/1.1 100 Continue\r\n\r\n";
        const asio::const_buffer interim(text.data(), text.size());
        error_code ec;
        co_await client->stream->write({&interim, 1}, ec);
        if (ec) co_return false;
        continue;
      }
      client->idle = !parser.started() && client->buffer.size() == 0 && client->requests > 0;
      if (client->idle && self->draining) co_return false;
      error_code ec;
      const asio::mutable_buffer room = client->buffer.prepare(reads_body ? 65536 : 4096);
      const std::size_t count = co_await client->stream->read_some(room, ec);
      if (client->idle) {
        client->idle = false;
        client->guard.watch(client, deadline::after(options.header_timeout));
      }
      if (ec) co_return false;
      client->buffer.commit(count);
    }
    ++client->requests;
    co_return true;
  }

  static asio::awaitable<response> call_handler(std::shared_ptr<impl> self, connection_ptr client,
                                                request what) {
    // How long the handler takes is its own business.
    client->guard.watch(client, deadline::never());
    const std::string method = what.method;
    const std::string path(url_path(what.url));
    watch_for_end(client);
    client->in_handler = true;
    response answer;
    try {
      answer = co_await self->handler(std::move(what));
      client->in_handler = false;
    } catch (...) {
      client->in_handler = false;
      const std::exception_ptr failure = std::current_exception();
      if (client->gone) throw;
      self->options.log.log(log_level::error, "http", "the handler of a request failed",
                            {{"method", method}, {"path", path}, {"reason", describe(failure)}});
      answer = refusal(self->options, 500, "internal server error");
    }
    if (answer.status < 200 || answer.status > 999) {
      self->options.log.log(log_level::error, "http", "the handler gave an impossible status",
                            {{"method", method}, {"path", path}, {"status", answer.status}});
      answer = refusal(self->options, 500, "internal server error");
    }
    co_return answer;
  }

  // Cancels the handler when the client goes away under it.
  static void watch_for_end(const connection_ptr& client) {
    if (client->buffer.size() > 0) return;  // the next request is there already
    client->stream->socket().async_wait(
        tcp::socket::wait_read, [client, request = client->requests](const error_code& ec) {
          if (ec || !client->in_handler || client->requests != request) return;
          char byte = 0;
          const auto seen =
              ::recv(client->stream->socket().native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
          const bool waits =
              seen < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
          if (seen > 0 || waits) return;
          client->gone = true;
          client->cancel.emit(asio::cancellation_type::terminal);
        });
  }

  static asio::awaitable<bool> write_response(std::shared_ptr<impl> self, connection_ptr client,
                                              const response& answer, bool head, bool keep_alive,
                                              bool http_1_0) {
    client->guard.watch(client, deadline::after(self->options.write_timeout));
    const std::string text = response_head(answer, keep_alive, http_1_0);
    const bool with_body = !head && may_have_body(answer.status);
    const std::array<asio::const_buffer, 2> buffers = {
        asio::buffer(text), with_body ? asio::buffer(answer.body) : asio::const_buffer()};
    error_code ec;
    co_await client->stream->write(buffers, ec);
    co_return !ec;
  }

  // Closing with unread data makes the kernel reset the connection, which can take the answer from
  // the client before it has read it; so what it still sends is read for a moment.
  static asio::awaitable<void> linger(connection_ptr client) {
    client->guard.watch(client, deadline::after(2s));
    error_code ec;
    co_await client->stream->shutdown(ec);
    std::array<char, 4096> sink{};
    std::size_t left = std::size_t{4} << 20;
    while (!ec && left > 0) {
      const asio::mutable_buffer room = asio::buffer(sink);
      const std::size_t count = co_await client->stream->socket().async_read_some(
          room, asio::redirect_error(asio::use_awaitable, ec));
      left -= std::min(left, count);
    }
  }

  std::vector<connection_ptr> present() {
    const std::lock_guard lock(mutex);
    return {clients.begin(), clients.end()};
  }

  void stop_accepting() {
    {
      const std::lock_guard lock(mutex);
      draining = true;
    }
    asio::post(accepting, [self = shared_from_this()] {
      error_code ignored;
      self->acceptor.close(ignored);
      self->retry.cancel();
    });
  }

  void close_all() {
    for (const connection_ptr& client : present()) {
      asio::post(client->executor, [client] {
        client->gone = true;
        client->cancel.emit(asio::cancellation_type::terminal);
        client->stream->close();
      });
    }
  }

  static asio::awaitable<bool> drain(std::shared_ptr<impl> self, deadline until) {
    self->stop_accepting();
    for (const connection_ptr& client : self->present()) {
      // Only the read is cancelled: if a request has come in meanwhile it is answered.
      asio::post(client->executor, [client] {
        error_code ignored;
        if (client->idle) client->stream->socket().cancel(ignored);
      });
    }
    while (!self->present().empty() && !until.expired()) {
      error_code ignored;
      self->ended.expires_at(until.time_point());
      co_await self->ended.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    }
    const bool done = self->present().empty();
    if (!done) self->close_all();
    co_return done;
  }

  asio::any_io_executor executor;
  server_options options;
  http::handler handler;
  std::optional<tls_context> tls;
  strand accepting;  // of acceptor, retry and ended
  tcp::acceptor acceptor;
  asio::steady_timer retry;
  asio::steady_timer ended;
  std::uint16_t port = 0;
  std::string url;
  std::atomic<bool> draining = false;
  std::mutex mutex;  // of clients
  std::set<connection_ptr> clients;
};

server::server(asio::any_io_executor executor, server_options options, http::handler answers)
    : impl_(std::make_shared<impl>(executor, std::move(options), std::move(answers))) {
  asio::co_spawn(impl_->accepting, impl::accept(impl_), [](const std::exception_ptr&) {});
}

server::server(server&&) noexcept = default;

server& server::operator=(server&& other) noexcept {
  if (this != &other) {
    stop();
    impl_ = std::move(other.impl_);
  }
  return *this;
}

server::~server() { stop(); }

std::uint16_t server::port() const noexcept { return impl_->port; }

const std::string& server::url() const noexcept { return impl_->url; }

std::size_t server::connections() const noexcept {
  const std::lock_guard lock(impl_->mutex);
  return impl_->clients.size();
}

asio::awaitable<bool> server::drain(deadline until) {
  auto work = impl::drain(impl_, until);
  co_return co_await asio::co_spawn(impl_->accepting, std::move(work), asio::use_awaitable);
}

void server::stop() noexcept {
  if (!impl_) return;
  impl_->stop_accepting();
  impl_->close_all();
}

}  // namespace mizzen::http
