#include "http/websocket_frames.hpp"

#include <algorithm>
#include <cstring>

namespace mizzen::http::detail {
namespace {

constexpr bool is_control(opcode kind) { return static_cast<unsigned>(kind) >= 8; }

void append_masked(std::string& out, std::string_view data, std::array<char, 4> mask,
                   std::size_t phase) {
  const std::size_t from = out.size();
  out.append(data);
  char* const bytes = out.data() + from;
  std::array<char, 8> wide{};
  for (std::size_t i = 0; i < wide.size(); ++i) wide[i] = mask[(phase + i) % 4];
  std::uint64_t key = 0;
  std::memcpy(&key, wide.data(), sizeof key);
  std::size_t at = 0;
  for (; at + sizeof key <= data.size(); at += sizeof key) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes + at, sizeof word);
    word ^= key;
    std::memcpy(bytes + at, &word, sizeof word);
  }
  for (; at < data.size(); ++at) bytes[at] = static_cast<char>(bytes[at] ^ wide[at % 8]);
}

// RFC 6455, section 7.4: what may stand in a close frame.
bool is_close_code(unsigned code) {
  if (code >= 3000 && code <= 4999) return true;
  return code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006;
}

}  // namespace

void append_frame(std::string& out, opcode kind, std::array<char, 4> mask, std::string_view first,
                  std::string_view rest) {
  const std::uint64_t size = first.size() + rest.size();
  out.reserve(out.size() + 14 + size);
  out.push_back(static_cast<char>(0x80U | static_cast<unsigned>(kind)));
  const auto append_size = [&](unsigned mark, int bytes) {
    out.push_back(static_cast<char>(0x80U | mark));
    for (int i = bytes - 1; i >= 0; --i) out.push_back(static_cast<char>(size >> (8 * i)));
  };
  if (size < 126) {
    append_size(static_cast<unsigned>(size), 0);
  } else if (size < 65'536) {
    append_size(126, 2);
  } else {
    append_size(127, 8);
  }
  out.append(mask.data(), mask.size());
  append_masked(out, first, mask, 0);
  append_masked(out, rest, mask, first.size());
}

std::string close_payload(std::uint16_t code, std::string_view reason) {
  std::string made;
  if (code == 0) return made;
  made.push_back(static_cast<char>(code >> 8));
  made.push_back(static_cast<char>(code & 0xff));
  return made.append(reason);
}

bool is_utf8(std::string_view text) noexcept {
  const auto* at = reinterpret_cast<const unsigned char*>(text.data());
  const auto* const end = at + text.size();
  while (at < end) {
    if (*at < 0x80) {
      ++at;
      continue;
    }
    int more = 0;
    unsigned least = 0;
    unsigned value = 0;
    if ((*at & 0xe0) == 0xc0) {
      more = 1;
      least = 0x80;
      value = *at & 0x1fU;
    } else if ((*at & 0xf0) == 0xe0) {
      more = 2;
      least = 0x800;
      value = *at & 0x0fU;
    } else if ((*at & 0xf8) == 0xf0) {
      more = 3;
      least = 0x10000;
      value = *at & 0x07U;
    } else {
      return false;
    }
    ++at;
    for (; more > 0; --more, ++at) {
      if (at == end || (*at & 0xc0) != 0x80) return false;
      value = value << 6 | (*at & 0x3fU);
    }
    if (value < least || value > 0x10ffff || (value >= 0xd800 && value < 0xe000)) return false;
  }
  return true;
}

websocket_inbound::event websocket_inbound::fail(std::uint16_t code, const char* why) noexcept {
  code_ = code;
  failure_ = why;
  return event::failed;
}

// False: more is needed.
bool websocket_inbound::read_header(std::string_view& data) {
  const auto wanted = [this]() -> std::size_t {
    if (header_size_ < 2) return 2;
    const unsigned size = header_[1] & 0x7fU;
    return size == 126 ? 4 : size == 127 ? 10 : 2;
  };
  while (header_size_ < wanted()) {
    if (data.empty()) return false;
    header_[header_size_++] = static_cast<unsigned char>(data.front());
    data.remove_prefix(1);
  }
  return true;
}

websocket_inbound::event websocket_inbound::check_header() {
  final_ = (header_[0] & 0x80U) != 0;
  const unsigned code = header_[0] & 0x0fU;
  if ((header_[0] & 0x70U) != 0) return fail(1002, "a frame with reserved bits set");
  if ((code > 2 && code < 8) || code > 10) return fail(1002, "a frame of an unknown kind");
  if ((header_[1] & 0x80U) != 0) return fail(1002, "a masked frame from a server");
  kind_ = static_cast<opcode>(code);
  left_ = header_[1] & 0x7fU;
  if (left_ >= 126) {
    const std::uint64_t least = left_ == 126 ? 126 : 65'536;
    left_ = 0;
    for (std::size_t i = 2; i < header_size_; ++i) left_ = left_ << 8 | header_[i];
    if (left_ < least || left_ >> 63 != 0)
      return fail(1002, "a length in more bytes than it needs");
  }
  if (is_control(kind_)) {
    if (!final_ || left_ > 125) return fail(1002, "a control frame that is too long or in pieces");
    control_.clear();
    return event::need_more;
  }
  if ((kind_ == opcode::continuation) != in_message_) {
    return fail(1002, in_message_ ? "a message within another" : "a fragment without a message");
  }
  if (left_ > max_message_ - message_.size()) return fail(1009, "a message that is too large");
  if (kind_ != opcode::continuation) message_kind_ = kind_;
  in_message_ = true;
  return event::need_more;
}

websocket_inbound::event websocket_inbound::next(std::string_view& data) {
  if (failure_) return event::failed;
  if (handed_out_) {
    handed_out_ = false;
    message_.clear();
    // One large message does not hold its memory for good.
    constexpr std::size_t kept = std::size_t{1} << 20;
    if (message_.capacity() > kept) message_.shrink_to_fit();
  }
  payload_ = {};
  for (;;) {
    if (!in_payload_) {
      if (!read_header(data)) return event::need_more;
      if (check_header() == event::failed) return event::failed;
      header_size_ = 0;
      in_payload_ = true;
    }
    const bool control = is_control(kind_);
    const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(left_, data.size()));
    const std::string_view piece = data.substr(0, count);
    data.remove_prefix(count);
    left_ -= count;
    if (left_ == 0 && final_ && !control && message_.empty()) {
      in_payload_ = false;
      return finish_message(piece);
    }
    (control ? control_ : message_).append(piece);
    if (left_ > 0) return event::need_more;
    in_payload_ = false;
    if (control) return finish_control();
    if (final_) {
      handed_out_ = true;
      return finish_message(message_);
    }
  }
}

websocket_inbound::event websocket_inbound::finish_message(std::string_view whole) {
  in_message_ = false;
  payload_ = whole;
  if (message_kind_ == opcode::binary) return event::binary;
  return is_utf8(whole) ? event::text : fail(1007, "a text that is not UTF-8");
}

websocket_inbound::event websocket_inbound::finish_control() {
  payload_ = control_;
  if (kind_ == opcode::ping) return event::ping;
  if (kind_ == opcode::pong) return event::pong;
  code_ = 1005;
  if (control_.empty()) return event::close;
  if (control_.size() == 1) return fail(1002, "a close frame with half a code");
  const auto high = static_cast<unsigned char>(control_[0]);
  const auto low = static_cast<unsigned char>(control_[1]);
  const unsigned code = (static_cast<unsigned>(high) << 8) | low;
  payload_.remove_prefix(2);
  if (!is_close_code(code)) return fail(1002, "a close frame with a code that must not be sent");
  if (!is_utf8(payload_)) return fail(1007, "a close reason that is not UTF-8");
  code_ = static_cast<std::uint16_t>(code);
  return event::close;
}

}  // namespace mizzen::http::detail
