// A connection to one cluster as one user: credentials, retries, limits and warnings on every call.
#pragma once

#include <mizzen/core/cancellation.hpp>
#include <mizzen/core/log.hpp>
#include <mizzen/http/client.hpp>
#include <mizzen/http/message.hpp>
#include <mizzen/http/retry.hpp>
#include <mizzen/http/stream.hpp>
#include <mizzen/http/websocket.hpp>
#include <mizzen/kubernetes/auth.hpp>
#include <mizzen/kubernetes/config.hpp>
#include <mizzen/kubernetes/status.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace mizzen::kubernetes {

// How objects travel. Protobuf is smaller and quicker, and there for built-in kinds only.
enum class encoding : std::uint8_t {
  automatic,  // protobuf for generated kinds that have it, else JSON
  json,
  protobuf,  // the same as automatic, but for a kind without protobuf it is an error
};

// A warning that the server sent along with its answer (RFC 9110's Warning, code 299): a deprecated
// API, an unknown field, a risky name.
struct warning {
  std::string text = {};
  std::string agent = {};    // usually "-"
  std::string request = {};  // "POST /api/v1/namespaces/a/pods"
};

// The warnings among the fields "Warning" of an answer: those of code 299 (what client-go takes
// from them); a damaged one is skipped.
std::vector<warning> parse_warnings(const http::headers& headers);

struct client_options {
  // One call, retries and credentials included; for a stream or WebSocket, until its head is there.
  // Zero: no limit but the caller's.
  std::chrono::milliseconds timeout{30'000};

  // When to send again. 429, and 5xx with Retry-After, for every verb: the server did not carry it
  // out. Other 5xx and broken connections for GET only. max_attempts = 1 turns it off.
  http::retry_policy retry = {};

  // Who owns the fields that this client writes; in api<K> each call can name another one. Empty:
  // the name of this program's file.
  std::string field_manager = {};

  // Empty: "<program>/mizzen (linux/amd64) kubernetes/<version of Mizzen>".
  std::string user_agent = {};

  // Hears each warning of the server. Without one, each text goes to the log once per client. Must
  // not throw or block; may be called from any thread.
  std::function<void(const warning&)> on_warning = {};

  // Calls at once; others wait their turn. Streams and WebSockets count until their head is there.
  // Zero: no limit.
  std::size_t max_in_flight = 0;

  // Calls per second on average, and how many may come at once before that holds. Zero: no limit,
  // since the server's own priority and fairness does better.
  double qps = 0;
  int burst = 10;

  // How objects travel where the call does not say.
  kubernetes::encoding encoding = encoding::automatic;

  // The largest answer that is held whole (bytes).
  std::size_t max_body = std::size_t{512} << 20;

  // Asks for compressed answers, which large lists then are. Worth its CPU on a slow network only.
  bool gzip = false;

  // Idle connections that are kept.
  std::size_t max_idle = 16;

  authenticator_options auth = {};
  logger log = {};
};

struct call_options {
  // Stops the call from any thread or at a deadline; for streams also later.
  mizzen::cancellation cancel = {};

  // The longest time without a byte from the server; zero: no limit.
  std::chrono::milliseconds silence{0};

  // False sends once.
  bool retry = true;
};

// A handle, cheap to copy; copies share connections, credentials and limits, and keep them alive.
// Thread safe. Everything runs on the given executor; no threads of its own.
//
// Errors of every call:
//   status_error       the server (or a proxy before it) answered anything but 2xx
//   unauthenticated    no usable credential, or TLS failed; see authenticator
//   unavailable, deadline_exceeded, cancelled, resource_exhausted, data_loss   as http::client
class client {
 public:
  // Reads the files of certificates. Throws error(invalid_argument) naming the field for a config
  // or options that cannot work.
  client(boost::asio::any_io_executor executor, config from,
         client_options options = client_options());

  // With config::from_environment().
  static client from_environment(boost::asio::any_io_executor executor,
                                 client_options options = client_options());

  // Sends a request; its URL is a path below the server's ("/api/v1/pods?limit=5"), any prefix of
  // the server's URL is put before it. Adds credentials, User-Agent and Accept: application/json
  // unless they are there.
  boost::asio::awaitable<http::response> send(http::request what,
                                              call_options options = call_options()) const;

  // The same for an answer that is read as it arrives. Retried only until the head is there.
  boost::asio::awaitable<http::response_stream> open(http::request what,
                                                     call_options options = call_options()) const;

  // A WebSocket (exec, attach, port-forward). websocket_options::cancel holds for its whole life.
  // An answer other than 101 is a status_error.
  boost::asio::awaitable<http::websocket> upgrade(
      http::request what, http::websocket_options options = http::websocket_options()) const;

  const kubernetes::config& config() const noexcept;
  const client_options& options() const noexcept;
  const boost::asio::any_io_executor& executor() const noexcept;

  // Where operations go that name no namespace.
  const std::string& default_namespace() const noexcept { return config().default_namespace; }
  // client_options::field_manager, or what stands in for it.
  const std::string& field_manager() const noexcept;

  // Closes idle connections.
  void close_idle() const;

 private:
  struct impl;
  std::shared_ptr<impl> impl_;
};

// For programs without an event loop: owns one, and run() works it until the coroutine is done.
//
//   blocking k8s;
//   auto pods = k8s.run(api<core_v1::pod>(k8s.client()).list());
//
// Not thread safe: one run() at a time. A coroutine that is not awaited by run() only advances
// while some run() is at work.
//
// What was made with its client or executor (an api, an informer, a stream …) should not outlive
// it. It may, and can be destroyed then, but does nothing any more: what it waited for was dropped
// with the loop, and what it starts is never run.
class blocking {
 public:
  // With config::from_environment().
  explicit blocking(client_options options = client_options());
  explicit blocking(config from, client_options options = client_options());
  blocking(blocking&&) noexcept;
  blocking& operator=(blocking&&) noexcept;
  ~blocking();

  const kubernetes::client& client() const noexcept;
  boost::asio::any_io_executor executor() const noexcept;

  // What the coroutine returns, or throws.
  template <class T>
  T run(boost::asio::awaitable<T> what) {
    if constexpr (std::is_void_v<T>) {
      run_erased(std::move(what));
    } else {
      std::optional<T> result;
      run_erased(store(std::move(what), result));
      return std::move(*result);
    }
  }

 private:
  template <class T>
  static boost::asio::awaitable<void> store(boost::asio::awaitable<T> what, std::optional<T>& to) {
    to.emplace(co_await std::move(what));
  }
  void run_erased(boost::asio::awaitable<void> what);

  struct impl;
  std::unique_ptr<impl> impl_;
};

}  // namespace mizzen::kubernetes
