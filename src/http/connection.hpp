// One connection to an origin, straight or through a proxy, and the pool in which it rests.
#pragma once

#include "http/destination.hpp"
#include "http/proxy.hpp"
#include "http/transport.hpp"
#include "http/watchdog.hpp"

#include <mizzen/core/deadline.hpp>
#include <mizzen/core/error.hpp>
#include <mizzen/http/client.hpp>

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mizzen::http::detail {

using strand = asio::strand<asio::any_io_executor>;

// What every connection of a client is made with.
struct connection_settings {
  explicit connection_settings(const client_options& with)
      : options(with), tls(with.tls), through(read_proxy(with.proxy)) {}

  client_options options;
  tls_context tls;
  std::optional<proxy> through;

 private:
  static std::optional<proxy> read_proxy(const std::string& url) {
    if (url.empty()) return std::nullopt;
    return parse_proxy(url);
  }
};

// Everything happens on its strand, but while it rests in the pool.
class connection : public std::enable_shared_from_this<connection> {
 public:
  explicit connection(strand on) : executor(std::move(on)), guard(executor), resolved_(executor) {}

  // Resolves, connects, goes through the proxy and does the TLS handshake. tunnel: a plain origin,
  // too, is reached through a tunnel of the proxy's. Throws error with the subject.
  asio::awaitable<void> connect(std::shared_ptr<const connection_settings> with, destination to,
                                std::string subject, deadline until, bool tunnel);

  bool is_connected() const noexcept { return stream != nullptr; }

  // Frees the socket; what is pending ends with operation_aborted. Called by the watchdog and by
  // whoever cancels.
  void close();
  bool is_closed() const noexcept { return closed_; }

  // False if the server has closed it, or has said something unasked.
  bool is_quiet();

  // What was read and not used yet. use() takes from its front.
  char* unread() noexcept { return bytes_.get() + begin_; }
  std::size_t unread_size() const noexcept { return end_ - begin_; }
  std::string_view unread_text() const noexcept { return {bytes_.get() + begin_, end_ - begin_}; }
  void use(std::size_t count) noexcept { begin_ += count; }

  // Reads more behind what is unread, which moves; the room grows with what arrives. The number of
  // new bytes; an error goes to ec.
  asio::awaitable<std::size_t> fill(error_code& ec);

  // Gives the memory of a rest back.
  void trim() noexcept;

  strand executor;
  std::unique_ptr<transport> stream;
  watchdog<connection> guard;
  // The number of the exchange that it works for now, 0 for none, so that a late cancellation does
  // not hit the next one. No address: the next one may live where the last one did.
  std::uint64_t working_for = 0;
  bool cancelled = false;
  std::chrono::steady_clock::time_point idle_since;

 private:
  asio::awaitable<std::vector<tcp::endpoint>> resolve(std::string host, std::string port,
                                                      std::string subject);
  asio::awaitable<void> connect_tcp(std::string host, std::string port, std::string subject,
                                    std::chrono::seconds keep_alive);
  asio::awaitable<void> start_tls(const tls_context& context, std::string name, bool verify,
                                  std::string subject);
  asio::awaitable<void> open_tunnel(const proxy& through, const destination& to,
                                    std::string subject);
  asio::awaitable<void> open_socks(const proxy& through, const destination& to,
                                   std::string subject);

  tcp::socket* connecting_ = nullptr;
  asio::steady_timer resolved_;
  std::unique_ptr<char[]> bytes_;
  std::size_t capacity_ = 0;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  bool closed_ = false;
};
using connection_ptr = std::shared_ptr<connection>;

// Idle connections per origin. Thread safe.
class connection_pool {
 public:
  connection_pool(std::size_t max_idle, std::chrono::milliseconds idle_timeout)
      : max_idle_(max_idle), idle_timeout_(idle_timeout) {}
  ~connection_pool() { clear(); }
  connection_pool(const connection_pool&) = delete;
  connection_pool& operator=(const connection_pool&) = delete;

  connection_ptr take(const std::string& origin);  // or null
  void put(const std::string& origin, connection_ptr via);
  std::size_t size() const;
  void clear();

 private:
  const std::size_t max_idle_;
  const std::chrono::milliseconds idle_timeout_;
  mutable std::mutex mutex_;
  std::map<std::string, std::vector<connection_ptr>> idle_;
};

}  // namespace mizzen::http::detail
