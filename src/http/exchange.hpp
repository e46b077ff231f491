// One request over one connection, up to the head of its answer and then through its body.
#pragma once

#include "http/body.hpp"
#include "http/connection.hpp"
#include "http/destination.hpp"

#include <mizzen/http/client.hpp>

#include <boost/asio/awaitable.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>

namespace mizzen::http::detail {

// What a client and what it handed out share.
struct client_core {
  client_core(asio::any_io_executor on, const client_options& with)
      : executor(std::move(on)),
        settings(std::make_shared<connection_settings>(with)),
        pool(with.max_idle, with.idle_timeout) {}

  const client_options& options() const noexcept { return settings->options; }

  asio::any_io_executor executor;
  std::shared_ptr<const connection_settings> settings;
  connection_pool pool;
  std::atomic<std::uint64_t> exchanges = 0;  // so far
};

// How the bytes of an answer's body become text.
struct body_reader {
  body_decoder decoder;
  std::unique_ptr<gunzip> unzip;  // or null
};

// A request on its way. What throws throws request_error, and has closed the connection by then.
class exchange : public std::enable_shared_from_this<exchange> {
 public:
  exchange(std::shared_ptr<client_core> core, request what, send_options options);
  ~exchange();

  // Sends these fields too, and takes 101 for an answer.
  void ask_to_upgrade(const headers& with);

  // begin() reads the body, too, which may be max_size bytes large.
  void want_whole(std::size_t max_size) { whole_ = max_size; }

  // Takes or makes a connection, sends the request and reads the head of its answer; once more on
  // a new connection when the one from the pool turns out to be stale.
  static asio::awaitable<void> begin(std::shared_ptr<exchange> self);

  // From now on only the cancellation bounds it in time. After begin().
  void lift_timeout() noexcept { until_ = options_.cancel.deadline; }

  // The next piece of the body, empty at its end: the connection is back in the pool then.
  static asio::awaitable<std::string_view> read(std::shared_ptr<exchange> self);

  // What is left of the body, which may be max_size bytes large.
  static asio::awaitable<std::string> read_all(std::shared_ptr<exchange> self,
                                               std::size_t max_size);

  // From any thread, after begin(): frees the connection; what is pending throws error(cancelled).
  void abandon() noexcept;

  response& answer() noexcept { return answer_; }
  const std::string& subject() const noexcept { return subject_; }

  // The rest is for a WebSocket over the same connection, on its strand.
  const connection_ptr& via() const noexcept { return via_; }
  void now_doing(std::string_view what) noexcept { doing_ = what; }
  // The time until which a wait that begins now may last.
  deadline patience() const noexcept;
  // Closes, and says what to throw for a failure once it is known why the connection was closed.
  request_error settle(const error& failure, bool cancelled_here);

 private:
  // Runs a step on the strand of the connection.
  template <typename Result>
  static asio::awaitable<Result> run(std::shared_ptr<exchange> self,
                                     asio::awaitable<Result> (exchange::*step)());
  template <typename Result>
  static asio::awaitable<Result> guarded(std::shared_ptr<exchange> self,
                                         asio::awaitable<Result> (exchange::*step)());
  void listen_for_stop();
  asio::awaitable<bool> send_and_read_head();
  asio::awaitable<void> write();
  asio::awaitable<void> write_pieces(error_code& ec);
  asio::awaitable<void> read_head();
  asio::awaitable<std::string_view> next_piece();
  asio::awaitable<std::string> collect();
  asio::awaitable<void> pour();
  asio::awaitable<std::size_t> fill(error_code& ec);
  void decode_as_said(body_decoder decoder);
  void finish();
  void use_new_connection();
  [[noreturn]] void fail(std::string_view doing, std::string_view why) const;

  std::shared_ptr<client_core> core_;
  const std::uint64_t number_ = ++core_->exchanges;
  request what_;
  send_options options_;
  std::string subject_;
  destination to_;
  headers extra_;
  std::string head_;
  body_size body_size_;
  transfer_progress progress_;
  deadline until_;
  std::optional<std::size_t> whole_;
  bool wants_upgrade_ = false;
  bool asked_for_gzip_ = false;

  connection_ptr via_;
  std::optional<std::stop_callback<std::function<void()>>> on_stop_;
  std::string_view doing_ = "connecting";
  bool reused_ = false;
  bool sent_ = false;
  bool answer_started_ = false;
  bool reusable_ = true;
  bool failed_ = false;
  response answer_;
  std::optional<body_reader> body_;  // until its end
};

}  // namespace mizzen::http::detail
