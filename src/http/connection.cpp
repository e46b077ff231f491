#include "http/connection.hpp"

#include "http/parser.hpp"

#include <boost/asio/connect.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <netinet/tcp.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <poll.h>
#include <utility>

namespace mizzen::http::detail {
namespace {

using clock = std::chrono::steady_clock;

// A watch that is quiet needs little room, a list of 50 MB wants few system calls.
constexpr std::size_t first_room = std::size_t{16} << 10;
constexpr std::size_t most_room = std::size_t{256} << 10;

[[noreturn]] void fail(std::string_view subject, std::string_view doing, std::string_view why) {
  throw error(errc::unavailable, subject, std::string(doing) + ": " + std::string(why));
}

std::uint16_t parse_port(const std::string& text, std::string_view subject) {
  std::uint16_t port = 0;
  const char* const end = text.data() + text.size();
  const auto number = std::from_chars(text.data(), end, port);
  if (number.ec != std::errc() || number.ptr != end || port == 0) {
    throw error(errc::invalid_argument, subject, "the port must be from 1 to 65535");
  }
  return port;
}

void set_options(tcp::socket& socket, std::chrono::seconds keep_alive) {
  error_code ignored;
  socket.set_option(tcp::no_delay(true), ignored);
  if (keep_alive.count() <= 0) return;
  using probe_idle = asio::detail::socket_option::integer<IPPROTO_TCP, TCP_KEEPIDLE>;
  using probe_interval = asio::detail::socket_option::integer<IPPROTO_TCP, TCP_KEEPINTVL>;
  using probe_count = asio::detail::socket_option::integer<IPPROTO_TCP, TCP_KEEPCNT>;
  const auto seconds = static_cast<int>(std::min<std::int64_t>(keep_alive.count(), 32'767));
  socket.set_option(asio::socket_base::keep_alive(true), ignored);
  socket.set_option(probe_idle(seconds), ignored);
  socket.set_option(probe_interval(std::max(seconds / 3, 1)), ignored);
  socket.set_option(probe_count(3), ignored);
}

}  // namespace

void connection::close() {
  closed_ = true;
  resolved_.cancel();
  if (stream) stream->close();
  if (connecting_) {
    error_code ignored;
    connecting_->close(ignored);
  }
}

bool connection::is_quiet() {
  pollfd descriptor{stream->socket().native_handle(), POLLIN, 0};
  return ::poll(&descriptor, 1, 0) == 0;
}

asio::awaitable<std::size_t> connection::fill(error_code& ec) {
  if (begin_ == end_) begin_ = end_ = 0;
  if (begin_ > 0) {
    std::memmove(bytes_.get(), unread(), unread_size());
    end_ -= begin_;
    begin_ = 0;
  }
  if (end_ == capacity_) {
    const std::size_t wider = std::max(first_room, capacity_ * 2);
    auto room = std::make_unique_for_overwrite<char[]>(wider);
    if (end_ > 0) std::memcpy(room.get(), bytes_.get(), end_);
    bytes_ = std::move(room);
    capacity_ = wider;
  }
  const asio::mutable_buffer room = asio::buffer(bytes_.get() + end_, capacity_ - end_);
  const std::size_t count = co_await stream->read_some(room, ec);
  end_ += count;
  if (begin_ == 0 && count == capacity_ && capacity_ < most_room) {
    // More is waiting: next time there is more room.
    auto wide = std::make_unique_for_overwrite<char[]>(capacity_ * 2);
    std::memcpy(wide.get(), bytes_.get(), count);
    bytes_ = std::move(wide);
    capacity_ *= 2;
  }
  co_return count;
}

void connection::trim() noexcept {
  if (unread_size() > 0) return;
  bytes_.reset();
  capacity_ = begin_ = end_ = 0;
}

asio::awaitable<void> connection::connect(std::shared_ptr<const connection_settings> with,
                                          destination to, std::string subject, deadline until,
                                          bool tunnel) {
  const auto self = shared_from_this();
  guard.watch(self, earlier(until, deadline::after(with->options.connect_timeout)));
  parse_port(to.port, subject);
  const tls_client_options& tls = with->options.tls;
  if (!with->through) {
    co_await connect_tcp(to.host, to.port, subject, with->options.tcp_keep_alive);
  } else {
    const proxy& through = *with->through;
    co_await connect_tcp(through.host, through.port, subject, with->options.tcp_keep_alive);
    if (through.kind == proxy::scheme::https) {
      co_await start_tls(with->tls, through.host, tls.verify, subject);
    }
    if (through.is_socks()) {
      co_await open_socks(through, to, subject);
    } else if (to.tls || tunnel) {
      co_await open_tunnel(through, to, subject);
    }
  }
  if (!to.tls) co_return;
  co_await start_tls(with->tls, tls.server_name.empty() ? to.host : tls.server_name, tls.verify,
                     subject);
}

asio::awaitable<void> connection::connect_tcp(std::string host, std::string port,
                                              std::string subject,
                                              std::chrono::seconds keep_alive) {
  const std::vector<tcp::endpoint> endpoints = co_await resolve(host, port, subject);
  tcp::socket socket(executor);
  error_code ec = asio::error::host_not_found;
  connecting_ = &socket;
  for (const tcp::endpoint& endpoint : endpoints) {
    if (closed_) break;
    error_code ignored;
    socket.close(ignored);
    co_await socket.async_connect(endpoint, asio::redirect_error(asio::use_awaitable, ec));
    if (!ec) break;
  }
  connecting_ = nullptr;
  if (ec || closed_) fail(subject, "cannot connect to " + host + ":" + port, ec.message());
  set_options(socket, keep_alive);
  stream = make_plain_transport(std::move(socket));
}

asio::awaitable<void> connection::start_tls(const tls_context& context, std::string name,
                                            bool verify, std::string subject) {
  stream = make_tls_client_transport(std::move(stream), context, name, verify);
  error_code ec;
  co_await stream->handshake(ec);
  if (ec && is_tls_error(ec)) {
    throw error(errc::unauthenticated, subject,
                "TLS with '" + name + "' failed: " + stream->explain(ec));
  }
  if (ec) fail(subject, "TLS handshake", stream->explain(ec));
}

// Asio's resolver cannot be interrupted, so it is left behind when the deadline passes.
asio::awaitable<std::vector<tcp::endpoint>> connection::resolve(std::string host, std::string port,
                                                                std::string subject) {
  error_code ec;
  const auto address = asio::ip::make_address(host, ec);
  const std::uint16_t number = parse_port(port, subject);
  if (!ec) co_return std::vector<tcp::endpoint>{tcp::endpoint(address, number)};

  struct lookup {
    explicit lookup(const strand& on) : resolver(on) {}
    tcp::resolver resolver;
    bool done = false;
    error_code ec;
    std::vector<tcp::endpoint> endpoints;
  };
  const auto state = std::make_shared<lookup>(executor);
  state->resolver.async_resolve(
      host, port,
      [state, self = shared_from_this()](const error_code& result,
                                         const tcp::resolver::results_type& found) {
        state->done = true;
        state->ec = result;
        for (const auto& entry : found) {
          state->endpoints.push_back(entry.endpoint());
        }
        self->resolved_.cancel();
      });
  while (!state->done && !closed_) {
    resolved_.expires_at(clock::time_point::max());
    co_await resolved_.async_wait(asio::redirect_error(asio::use_awaitable, ec));
  }
  if (!state->done) fail(subject, "cannot resolve " + host, "gave up");
  if (state->ec) fail(subject, "cannot resolve " + host, state->ec.message());
  co_return std::move(state->endpoints);
}

asio::awaitable<void> connection::open_tunnel(const proxy& through, const destination& to,
                                              std::string subject) {
  const std::string where = "the proxy " + through.host + ":" + through.port;
  const std::string head = connect_head(through, to.host, to.port);
  const std::array<asio::const_buffer, 1> out = {asio::buffer(head)};
  error_code ec;
  co_await stream->write(out, ec);
  if (ec) fail(subject, where, stream->explain(ec));
  for (;;) {
    response_parser parser({std::size_t{64} << 10, 0});
    parser.stop_after_header();
    // An answer of 2xx to CONNECT has no body, whatever its header says.
    parser.expect_no_body();
    while (!parser.done()) {
      co_await fill(ec);
      use(parser.put(unread_text()));
      if (parser.failure()) {
        throw error(errc::data_loss, subject, where + ": " + parser.failure()->message);
      }
      if (ec && !parser.done()) fail(subject, where, stream->explain(ec));
    }
    const int status = parser.get().status;
    if (status < 200) continue;
    if (status == 407) {
      throw error(errc::unauthenticated, subject,
                  where + (through.has_login ? " refused the user or password (407)"
                                             : " wants a user and password (407)"));
    }
    if (status >= 300) {
      fail(subject, where + " refused the tunnel to " + to.host + ":" + to.port,
           std::to_string(status) + " " + std::string(reason_phrase(status)));
    }
    if (unread_size() > 0) fail(subject, where, "it spoke before it was spoken to");
    co_return;
  }
}

asio::awaitable<void> connection::open_socks(const proxy& through, const destination& to,
                                             std::string subject) {
  const std::string where = "the proxy " + through.host + ":" + through.port;
  std::string host = to.host;
  if (through.kind == proxy::scheme::socks5) {
    const std::vector<tcp::endpoint> found = co_await resolve(to.host, to.port, subject);
    if (found.empty()) fail(subject, "cannot resolve " + to.host, "no address");
    host = found.front().address().to_string();
  }
  socks5 machine(through, host, parse_port(to.port, subject));
  std::string input;
  error_code ec;
  while (!machine.done()) {
    const std::string output = machine.output();
    const std::array<asio::const_buffer, 1> out = {asio::buffer(output)};
    if (!output.empty()) co_await stream->write(out, ec);
    if (ec) fail(subject, where, stream->explain(ec));
    input.resize(machine.wanted());
    for (std::size_t have = 0; have < input.size();) {
      have +=
          co_await stream->read_some(asio::buffer(input.data() + have, input.size() - have), ec);
      if (ec) fail(subject, where, stream->explain(ec));
    }
    machine.put(input);
    if (machine.failure()) {
      throw error(machine.is_login_refused() ? errc::unauthenticated : errc::unavailable, subject,
                  where + " and " + to.host + ":" + to.port + ": " + *machine.failure());
    }
  }
}

connection_ptr connection_pool::take(const std::string& origin) {
  const std::lock_guard lock(mutex_);
  const auto found = idle_.find(origin);
  if (found == idle_.end()) return nullptr;
  connection_ptr taken;
  while (!taken && !found->second.empty()) {
    connection_ptr last = std::move(found->second.back());
    found->second.pop_back();
    const bool fresh = clock::now() - last->idle_since < idle_timeout_;
    if (fresh && last->is_quiet()) {
      taken = std::move(last);
    } else {
      asio::post(last->executor, [last] { last->close(); });
    }
  }
  if (found->second.empty()) idle_.erase(found);
  return taken;
}

void connection_pool::put(const std::string& origin, connection_ptr via) {
  via->idle_since = clock::now();
  const std::lock_guard lock(mutex_);
  std::vector<connection_ptr>& idle = idle_[origin];
  idle.push_back(std::move(via));
  // The oldest go: those that are too many, and those that nobody has used for too long.
  while (!idle.empty() &&
         (idle.size() > max_idle_ || clock::now() - idle.front()->idle_since >= idle_timeout_)) {
    asio::post(idle.front()->executor, [old = idle.front()] { old->close(); });
    idle.erase(idle.begin());
  }
  if (idle.empty()) idle_.erase(origin);
}

std::size_t connection_pool::size() const {
  const std::lock_guard lock(mutex_);
  std::size_t count = 0;
  for (const auto& [origin, idle] : idle_) count += idle.size();
  return count;
}

void connection_pool::clear() {
  const std::lock_guard lock(mutex_);
  for (auto& [origin, idle] : idle_) {
    for (connection_ptr& via : idle) {
      asio::post(via->executor, [via] { via->close(); });
    }
  }
  idle_.clear();
}

}  // namespace mizzen::http::detail
