// The frames of a WebSocket connection (RFC 6455, section 5), without I/O.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace mizzen::http::detail {

enum class opcode : std::uint8_t {
  continuation = 0,
  text = 1,
  binary = 2,
  close = 8,
  ping = 9,
  pong = 10
};

// Appends one whole message as a masked frame, as a client sends it: first and rest behind one
// another.
void append_frame(std::string& out, opcode kind, std::array<char, 4> mask, std::string_view first,
                  std::string_view rest = {});

// The payload of a close frame; code 0 stands for an empty one.
std::string close_payload(std::uint16_t code, std::string_view reason);

bool is_utf8(std::string_view text) noexcept;

// The client's side of what arrives. Bounded by max_message and by what really arrived.
class websocket_inbound {
 public:
  explicit websocket_inbound(std::size_t max_message) : max_message_(max_message) {}

  enum class event : std::uint8_t { need_more, text, binary, ping, pong, close, failed };

  // Takes from the front of data, all of it or up to the end of one message or control frame. What
  // payload() then shows lies in data or in here, until the next call.
  event next(std::string_view& data);

  std::string_view payload() const noexcept { return payload_; }

  // After close: 1005 if the peer named none.
  std::uint16_t close_code() const noexcept { return code_; }
  std::string_view close_reason() const noexcept { return payload_; }

  // After failed: why, and the code to close with (1002, 1007, 1009).
  const char* failure() const noexcept { return failure_; }

 private:
  event fail(std::uint16_t code, const char* why) noexcept;
  bool read_header(std::string_view& data);
  event check_header();
  event finish_message(std::string_view whole);
  event finish_control();

  std::size_t max_message_;
  // The frame that is being read.
  std::array<unsigned char, 10> header_ = {};
  std::size_t header_size_ = 0;
  bool in_payload_ = false;
  bool final_ = false;
  opcode kind_ = opcode::continuation;
  std::uint64_t left_ = 0;
  // The message that its fragments make.
  bool in_message_ = false;
  opcode message_kind_ = opcode::binary;
  std::string message_;
  std::string control_;
  bool handed_out_ = false;  // message_, which is emptied by the next call

  std::string_view payload_;
  std::uint16_t code_ = 0;
  const char* failure_ = nullptr;
};

}  // namespace mizzen::http::detail
