// WebSocket client (RFC 6455).
#pragma once

#include <mizzen/core/cancellation.hpp>
#include <mizzen/core/error.hpp>
#include <mizzen/http/message.hpp>

#include <boost/asio/awaitable.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mizzen::http {

class client;
namespace detail {
class websocket_connection;
}

struct websocket_options {
  // Offered in this order; the server may take one. One that was not offered is refused.
  std::vector<std::string> subprotocols = {};

  // Stops the connection from any thread, or at a deadline, also long after it was made.
  mizzen::cancellation cancel = {};

  // The longest time without a byte from the server while a read waits; zero: no limit. A quiet
  // peer is kept apart from a lost one by ping_interval, whose answers are bytes.
  std::chrono::milliseconds silence{0};

  // Pings are sent this often while the connection is open; zero: none.
  std::chrono::milliseconds ping_interval{0};

  // The largest message that is accepted, all of its fragments together (bytes).
  std::size_t max_message = std::size_t{16} << 20;
};

enum class websocket_kind : std::uint8_t { text, binary };

struct websocket_message {
  websocket_kind kind = websocket_kind::binary;
  std::string_view data = {};
};

// The server did not switch protocols: its answer, whole, so that the caller can read why or fall
// back. Codes: unauthenticated (401), permission_denied (403), not_found (404), resource_exhausted
// (429), unavailable (5xx), failed_precondition for anything else.
class upgrade_refused : public error {
 public:
  upgrade_refused(std::string_view subject, response answer);
  const response& answer() const noexcept { return *answer_; }

 private:
  std::shared_ptr<const response> answer_;
};

// An open WebSocket. Made by client::upgrade. Pings are answered and the closing handshake is done
// within read(), so that somebody has to be reading.
//
// One coroutine reads while others write; the writes go out one after the other. close() and
// abort() may be called from any thread. Move only; destroying it frees the socket at once.
class websocket {
 public:
  // Empty: good for nothing but to be assigned to.
  websocket() noexcept;
  websocket(websocket&&) noexcept;
  websocket& operator=(websocket&&) noexcept;
  ~websocket();

  // The one that the server took, or empty.
  const std::string& subprotocol() const noexcept;

  // The next message, put together from its fragments; nothing once either side has closed the
  // connection in good order. The data is valid until the next read and as long as the websocket
  // is. Errors: unavailable (cut off without a close frame), data_loss (the peer breaks the
  // protocol), resource_exhausted (a message beyond max_message), deadline_exceeded, cancelled.
  // After one, and after a cancellation, the connection is closed.
  boost::asio::awaitable<std::optional<websocket_message>> read();

  // Sends one message: first and rest behind one another, so that a framing protocol need not put
  // them together. Both must live until it returns. Waits until the system took it all, which is
  // the back-pressure. Errors as for read, and failed_precondition after a close.
  boost::asio::awaitable<void> write(websocket_kind kind, std::string_view first,
                                     std::string_view rest = {});

  // Says goodbye; the read that is pending, or the next one, sees the peer's answer and gives
  // nothing. reason: at most 123 bytes of UTF-8.
  boost::asio::awaitable<void> close(std::uint16_t code = 1000, std::string reason = {});

  // Frees the socket at once; what is pending throws error(cancelled).
  void abort() noexcept;

  // What the peer said when it closed: 1005 if it named no code, 0 while it has not closed.
  std::uint16_t close_code() const noexcept;
  const std::string& close_reason() const noexcept;

 private:
  friend client;
  explicit websocket(std::shared_ptr<detail::websocket_connection> over) noexcept;
  std::shared_ptr<detail::websocket_connection> connection_;
};

}  // namespace mizzen::http
