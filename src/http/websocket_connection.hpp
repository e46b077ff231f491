// A WebSocket over the connection of an exchange.
#pragma once

#include "http/exchange.hpp"
#include "http/websocket_frames.hpp"

#include <mizzen/http/websocket.hpp>

#include <boost/asio/steady_timer.hpp>

#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace mizzen::http::detail {

// Everything happens on the strand of its connection, but for what says otherwise.
class websocket_connection : public std::enable_shared_from_this<websocket_connection> {
 public:
  // From any thread.
  static asio::awaitable<std::shared_ptr<websocket_connection>> open(
      std::shared_ptr<client_core> core, request what, websocket_options options);

  websocket_connection(std::shared_ptr<exchange> work, websocket_options options);

  // From any thread.
  static asio::awaitable<std::optional<websocket_message>> read(
      std::shared_ptr<websocket_connection> self);
  static asio::awaitable<void> write(std::shared_ptr<websocket_connection> self,
                                     websocket_kind kind, std::string_view first,
                                     std::string_view rest);
  static asio::awaitable<void> close(std::shared_ptr<websocket_connection> self, std::uint16_t code,
                                     std::string reason);
  void abort() noexcept { work_->abandon(); }

  const std::string& subprotocol() const noexcept { return subprotocol_; }
  std::uint16_t close_code() const noexcept { return close_code_; }
  const std::string& close_reason() const noexcept { return close_reason_; }

 private:
  template <typename Result>
  static asio::awaitable<Result> run(std::shared_ptr<websocket_connection> self,
                                     asio::awaitable<Result> work);
  template <typename Result>
  static asio::awaitable<Result> guarded(std::shared_ptr<websocket_connection> self,
                                         asio::awaitable<Result> work);
  static asio::awaitable<std::optional<websocket_message>> read_message(
      std::shared_ptr<websocket_connection> self);
  static asio::awaitable<bool> write_frame(std::shared_ptr<websocket_connection> self, opcode kind,
                                           std::string_view first, std::string_view rest);
  static asio::awaitable<bool> write_close(std::shared_ptr<websocket_connection> self,
                                           std::uint16_t code, std::string reason);
  static asio::awaitable<void> write_controls(std::shared_ptr<websocket_connection> self);
  static asio::awaitable<bool> start(std::shared_ptr<websocket_connection> self);
  // False: nothing may be sent any more. last: a close frame.
  asio::awaitable<bool> send(std::string frames, bool last);
  void send_control(std::string frame);
  void answer_ping(std::string_view payload);
  void beat();
  asio::awaitable<void> end_well();
  void fall_silent();
  void check_open() const;

  std::shared_ptr<exchange> work_;
  websocket_options options_;
  std::string subprotocol_;
  websocket_inbound inbound_;
  asio::steady_timer heart_;
  // Writes go one after the other: who comes while one is on its way waits on the timer.
  asio::steady_timer turn_;
  bool writing_ = false;
  std::string controls_;  // pings and pongs that wait for their turn
  bool sending_controls_ = false;
  bool close_sent_ = false;
  bool ended_ = false;
  std::optional<error> failure_;
  std::uint16_t close_code_ = 0;
  std::string close_reason_;
};

}  // namespace mizzen::http::detail
