#include "http/body.hpp"

#include "gzip.hpp"

#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <string_view>

namespace mizzen::http::detail {
namespace {

struct outcome {
  std::string body;
  bool done = false;
  bool failed = false;
  std::size_t left_over = 0;
  bool operator==(const outcome&) const = default;
};

outcome decode(framing how, std::uint64_t length, std::string_view text, std::size_t piece) {
  body_decoder decoder(how, length);
  outcome result;
  std::size_t at = 0;
  while (at < text.size() && !decoder.done() && !decoder.failure()) {
    std::string buffer(text.substr(at, piece));
    const auto made = decoder.decode(buffer.data(), buffer.size());
    result.body += made.payload;
    at += made.used;
  }
  result.done = decoder.done();
  result.failed = decoder.failure() != nullptr;
  result.left_over = text.size() - at;
  return result;
}

outcome chunked(std::string_view text) {
  const outcome whole = decode(framing::chunked, 0, text, 1000);
  for (std::size_t piece = 1; piece < text.size(); ++piece) {
    const outcome cut = decode(framing::chunked, 0, text, piece);
    EXPECT_EQ(cut.done, whole.done) << text << " in pieces of " << piece;
    EXPECT_EQ(cut.failed, whole.failed) << text << " in pieces of " << piece;
    EXPECT_EQ(cut.body, whole.body) << text << " in pieces of " << piece;
  }
  return whole;
}

TEST(BodyDecoder, Chunks) {
  EXPECT_EQ(chunked("5\r\nhello\r\n1;a=\"b\"\r\n \r\n005 \r\nworld\r\n0\r\n\r\n"),
            (outcome{"hello world", true, false, 0}));
  EXPECT_EQ(chunked("A\r\n0123456789\r\na\r\n0123456789\r\n0\r\nX: y\r\nZ:\r\n\r\nHTTP"),
            (outcome{"01234567890123456789", true, false, 4}));
  EXPECT_EQ(chunked("0\r\n\r\n"), (outcome{"", true, false, 0}));
  EXPECT_EQ(chunked("5\r\nhel"), (outcome{"hel", false, false, 0}));
}

TEST(BodyDecoder, WhatIsNotChunks) {
  for (const char* text : {"\r\n", "x\r\n", "-1\r\n", "5\nhello", "5\r\nhello0\r\n\r\n",
                           "5\r\nhello\n0\r\n\r\n", "1000000000000000\r\n", "5;x\nhello", "0\r\n\n",
                           "0\r\nX: y\n\r\n", "5\rhello", "0\r\n\rx"}) {
    EXPECT_TRUE(chunked(text).failed) << text;
  }
  const std::string endless(20'000, 'x');
  EXPECT_TRUE(decode(framing::chunked, 0, "1;" + endless, 1000).failed);
  EXPECT_TRUE(decode(framing::chunked, 0, "0\r\n" + endless, 1000).failed);
}

TEST(BodyDecoder, LengthsAndEnds) {
  EXPECT_EQ(decode(framing::length, 5, "hello world", 3), (outcome{"hello", true, false, 6}));
  EXPECT_EQ(decode(framing::length, 0, "x", 3), (outcome{"", true, false, 1}));
  EXPECT_EQ(decode(framing::none, 0, "x", 3), (outcome{"", true, false, 1}));
  EXPECT_EQ(decode(framing::until_end, 0, "hello", 3), (outcome{"hello", false, false, 0}));
  body_decoder until_end(framing::until_end, 0);
  until_end.put_eof();
  EXPECT_TRUE(until_end.done());
  body_decoder cut(framing::length, 5);
  cut.put_eof();
  EXPECT_TRUE(cut.failure());
}

std::string unzip(std::string_view data, std::size_t piece, bool* complete = nullptr) {
  gunzip machine;
  std::string out;
  for (std::size_t at = 0; at < data.size(); at += piece) {
    const std::string part(data.substr(at, piece));
    machine.put(part);
    for (;;) {
      const std::string_view more = machine.next();
      if (more.empty()) break;
      out += more;
    }
  }
  if (complete) *complete = machine.complete();
  return out;
}

TEST(Gunzip, AnyCutsAndSeveralMembers) {
  std::string text;
  for (int i = 0; i < 50'000; ++i) text += std::to_string(i) + ",";
  const std::string data = test::gzip(text) + test::gzip("") + test::gzip("the end");
  for (const std::size_t piece : {std::size_t{1}, std::size_t{7}, std::size_t{4096}, data.size()}) {
    bool complete = false;
    EXPECT_EQ(unzip(data, piece, &complete), text + "the end") << piece;
    EXPECT_TRUE(complete);
    unzip(std::string_view(data).substr(0, data.size() - 1), piece, &complete);
    EXPECT_FALSE(complete);
  }
}

TEST(Gunzip, WhatIsNotGzipOrDamaged) {
  EXPECT_THROW(unzip("hello, world", 100), std::runtime_error);
  std::string data = test::gzip(std::string(1000, 'x'));
  data[data.size() - 6] = static_cast<char>(data[data.size() - 6] ^ 1);  // its checksum
  EXPECT_THROW(unzip(data, 100), std::runtime_error);
}

}  // namespace
}  // namespace mizzen::http::detail
