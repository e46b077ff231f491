#include "http/websocket_frames.hpp"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

namespace mizzen::http::detail {
namespace {

using namespace std::string_literals;
using event = websocket_inbound::event;

struct seen {
  event what;
  std::string payload;
  bool operator==(const seen&) const = default;
};

std::vector<seen> run(std::string_view bytes, std::size_t piece, std::size_t max = 1000) {
  websocket_inbound machine(max);
  std::vector<seen> all;
  for (std::size_t at = 0; at < bytes.size(); at += piece) {
    const std::string part(bytes.substr(at, piece));
    std::string_view data = part;
    for (;;) {
      const event what = machine.next(data);
      if (what == event::need_more) break;
      all.push_back({what, std::string(machine.payload())});
      if (what == event::failed) return all;
    }
    EXPECT_TRUE(data.empty());
  }
  return all;
}

// A frame as a server sends it.
std::string frame(unsigned first, std::string_view payload) {
  std::string made(1, static_cast<char>(first));
  if (payload.size() < 126) {
    made += static_cast<char>(payload.size());
  } else if (payload.size() < 65'536) {
    made += '\x7e';
    made += static_cast<char>(payload.size() >> 8);
    made += static_cast<char>(payload.size());
  } else {
    made += '\x7f';
    for (int i = 7; i >= 0; --i) made += static_cast<char>(payload.size() >> (8 * i));
  }
  return made.append(payload);
}

TEST(WebsocketFrames, MessagesFragmentsAndControlsInAnyCuts) {
  const std::string large(300, 'l');
  const std::string bytes = frame(0x81, "text") + frame(0x82, "") + frame(0x02, "a") +
                            frame(0x89, "ping") + frame(0x00, "b") + frame(0x8a, "") +
                            frame(0x80, "c") + frame(0x82, large) + frame(0x01, "") +
                            frame(0x80, "") +
                            frame(0x88,
                                  "\x03\xe8"
                                  "bye");
  const std::vector<seen> expected = {
      {event::text, "text"},  {event::binary, ""},    {event::ping, "ping"}, {event::pong, ""},
      {event::binary, "abc"}, {event::binary, large}, {event::text, ""},     {event::close, "bye"}};
  for (std::size_t piece = 1; piece <= bytes.size(); ++piece) {
    ASSERT_EQ(run(bytes, piece), expected) << piece;
  }
}

TEST(WebsocketFrames, LargeLengths) {
  const std::string large(70'000, 'x');
  EXPECT_EQ(run(frame(0x82, large), 4096, 70'000), (std::vector<seen>{{event::binary, large}}));
  EXPECT_EQ(run(frame(0x82, large), 4096, 69'999).front().what, event::failed);
  const std::string half(500, 'x');
  EXPECT_EQ(run(frame(0x02, half) + frame(0x80, half), 4096, 999).back().what, event::failed);
}

std::uint16_t failure(std::string_view bytes) {
  websocket_inbound machine(1000);
  std::string_view data = bytes;
  event what = event::need_more;
  do {
    what = machine.next(data);
  } while (what != event::failed && what != event::need_more);
  EXPECT_EQ(what == event::failed, machine.failure() != nullptr);
  return what == event::failed ? machine.close_code() : std::uint16_t{0};
}

TEST(WebsocketFrames, WhatBreaksTheProtocol) {
  EXPECT_EQ(failure(frame(0xc2, "x")), 1002);  // reserved bits
  EXPECT_EQ(failure(frame(0x83, "x")), 1002);  // unknown kinds
  EXPECT_EQ(failure(frame(0x8b, "x")), 1002);
  EXPECT_EQ(failure("\x82\x81mmmmx"), 1002);           // masked
  EXPECT_EQ(failure("\x82\x7e\x00\x05hello"s), 1002);  // not the shortest length
  EXPECT_EQ(failure("\x82\x7f\x00\x00\x00\x00\x00\x00\x00\x05"s), 1002);
  EXPECT_EQ(failure("\x82\x7f\x80\x00\x00\x00\x00\x00\x00\x05"s), 1002);
  EXPECT_EQ(failure(frame(0x09, "x")), 1002);                     // a ping in pieces
  EXPECT_EQ(failure(frame(0x89, std::string(126, 'x'))), 1002);   // a ping too long
  EXPECT_EQ(failure(frame(0x80, "x")), 1002);                     // nothing to continue
  EXPECT_EQ(failure(frame(0x02, "x") + frame(0x82, "x")), 1002);  // a message within another
  EXPECT_EQ(failure(frame(0x88, "x")), 1002);                     // half a close code
  EXPECT_EQ(failure(frame(0x88, "\x03\xed")), 1002);              // 1005 is not for the wire
  EXPECT_EQ(failure(frame(0x88, "\x03\xe8\xff")), 1007);
  EXPECT_EQ(failure(frame(0x81, "\xc0\x80")), 1007);
  EXPECT_EQ(failure(frame(0x82, std::string(1001, 'x'))), 1009);
}

TEST(WebsocketFrames, CloseWithoutACode) {
  websocket_inbound machine(10);
  const std::string bytes = frame(0x88, "");
  std::string_view data = bytes;
  EXPECT_EQ(machine.next(data), event::close);
  EXPECT_EQ(machine.close_code(), 1005);
}

TEST(WebsocketFrames, Utf8) {
  for (const char* good :
       {"", "a", "\xc2\x80", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xf4\x8f\xbf\xbf"}) {
    EXPECT_TRUE(is_utf8(good));
  }
  for (const char* bad : {"\x80", "\xc2", "\xc0\x80", "\xe0\x80\x80", "\xed\xa0\x80",
                          "\xf4\x90\x80\x80", "\xff", "\xe2\x82", "a\xc2z"}) {
    EXPECT_FALSE(is_utf8(bad));
  }
}

TEST(WebsocketFrames, WrittenFramesAreMasked) {
  const std::array<char, 4> mask = {'\x37', '\xfa', '\x21', '\x3d'};
  std::string out;
  append_frame(out, opcode::text, mask, "Hello");  // the example of RFC 6455, section 5.7
  EXPECT_EQ(out, "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"s);
  for (const std::size_t size : {0UL, 1UL, 125UL, 126UL, 65'535UL, 65'536UL, 100'003UL}) {
    for (const std::size_t cut : {std::size_t{0}, size / 3, size}) {
      std::string text;
      for (std::size_t i = 0; i < size; ++i) text += static_cast<char>(i * 31);
      std::string made;
      append_frame(made, opcode::binary, mask, text.substr(0, cut), text.substr(cut));
      const std::size_t head = size < 126 ? 6 : size < 65'536 ? 8 : 14;
      ASSERT_EQ(made.size(), head + size);
      for (std::size_t i = 0; i < size; ++i) made[head + i] ^= mask[i % 4];
      EXPECT_EQ(made.substr(head), text);
      EXPECT_EQ(run(frame(0x82, text), 5000, size), (std::vector<seen>{{event::binary, text}}));
    }
  }
}

}  // namespace
}  // namespace mizzen::http::detail
