#include "http/parser.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace mizzen::http::detail {
namespace {

constexpr parser_limits limits{.max_header = 1024, .max_body = 4096};

// Feeds text in pieces of the given size, as a connection does; returns what was left over.
template <typename Parser>
std::string feed(Parser& parser, std::string_view text, std::size_t piece) {
  std::string buffer;
  for (std::size_t at = 0; at < text.size() && !parser.done() && !parser.failure(); at += piece) {
    buffer += text.substr(at, piece);
    for (;;) {
      const std::size_t taken = parser.put(buffer);
      buffer.erase(0, taken);
      if (taken == 0 || parser.done() || parser.failure()) break;
    }
    if (parser.done()) buffer += text.substr(std::min(at + piece, text.size()));
  }
  return buffer;
}

int status_of(std::string_view text) {
  request_parser parser(limits);
  feed(parser, text, 7);
  return parser.failure() ? parser.failure()->status : parser.done() ? 200 : 0;
}

TEST(RequestParser, AnyCutsGiveTheSameMessage) {
  constexpr std::string_view text =
      "POST /a?b=c HTTP/1.1\r\nHost: h\r\nX: 1\r\nx: 2\r\nTransfer-Encoding: chunked\r\n\r\n"
      "5;ext=1\r\nhello\r\n6\r\n world\r\n0\r\nTrailer: t\r\n\r\nGET / HTTP/1.1\r\n";
  for (std::size_t piece = 1; piece <= text.size(); ++piece) {
    request_parser parser(limits);
    const std::string rest = feed(parser, text, piece);
    ASSERT_TRUE(parser.done()) << piece;
    EXPECT_EQ(rest, "GET / HTTP/1.1\r\n") << piece;
    EXPECT_TRUE(parser.keep_alive());
    const request got = parser.take();
    EXPECT_EQ(got.method, "POST");
    EXPECT_EQ(got.url, "/a?b=c");
    EXPECT_EQ(got.body, "hello world");
    EXPECT_EQ(got.headers.values("x").size(), 2U);
    EXPECT_FALSE(got.headers.contains("Trailer"));
  }
}

TEST(RequestParser, ConnectionHeaderDecidesKeepAlive) {
  for (const auto& [text, keep] :
       {std::pair{"GET / HTTP/1.1\r\nHost: h\r\n\r\n", true},
        {"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", false},
        {"GET / HTTP/1.0\r\n\r\n", false},
        {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true}}) {
    request_parser parser(limits);
    feed(parser, text, 1000);
    ASSERT_TRUE(parser.done()) << text;
    EXPECT_EQ(parser.keep_alive(), keep) << text;
  }
}

TEST(RequestParser, WhatCouldBeReadTwoWaysIsRefused) {
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\nHost: h\r\n\r\n"), 200);
  // Both lengths: a proxy before us may believe the other one.
  EXPECT_EQ(status_of("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n"
                      "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            400);
  EXPECT_EQ(status_of("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n"
                      "Content-Length: 3\r\n\r\n0\r\n\r\n"),
            400);
  EXPECT_EQ(status_of("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 4\r\n"
                      "\r\nabc"),
            400);
  EXPECT_EQ(status_of("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -3\r\n\r\nabc"), 400);
  EXPECT_EQ(status_of("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\nabc"), 501);
  EXPECT_EQ(status_of("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, gzip\r\n\r\n"),
            501);
  EXPECT_EQ(status_of("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding : chunked\r\n\r\n"), 400);
  EXPECT_EQ(status_of("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
            400);
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\n\r\n"), 400);
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"), 400);
  EXPECT_EQ(status_of("GET / HTTP/2.0\r\nHost: a\r\n\r\n"), 505);
  EXPECT_EQ(status_of("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 and more"), 400);
  EXPECT_EQ(status_of("GET\r\n\r\n"), 400);
}

TEST(RequestParser, Limits) {
  EXPECT_EQ(status_of("GET /" + std::string(2000, 'a') + " HTTP/1.1\r\nHost: h\r\n\r\n"), 431);
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\nHost: h\r\nX: " + std::string(2000, 'a') + "\r\n\r\n"),
            431);
  EXPECT_EQ(status_of("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4097\r\n\r\n"), 413);
  EXPECT_EQ(status_of("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1073741824\r\n\r\n"), 413);
  EXPECT_EQ(status_of("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1001\r\n" +
                      std::string(4097, 'a')),
            413);
  // An endless chunk header must not be kept waiting for its end.
  EXPECT_EQ(status_of("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1;" +
                      std::string(8000, 'a')),
            400);
  EXPECT_EQ(status_of("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4096\r\n\r\n" +
                      std::string(4096, 'a')),
            200);
}

TEST(RequestParser, ALengthThatIsOnlyClaimedTakesNoMemory) {
  request_parser parser({.max_header = 1024, .max_body = std::size_t{1} << 40});
  parser.put("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1073741824\r\n\r\nabc");
  ASSERT_TRUE(parser.header_done());
  EXPECT_FALSE(parser.done());
  parser.put("abc");
  EXPECT_LE(parser.get().body.capacity(), std::size_t{2} << 20);
}

TEST(ResponseParser, BodyUntilTheConnectionEnds) {
  response_parser parser(limits);
  feed(parser, "HTTP/1.1 200 OK\r\nX: 1\r\n\r\nsome text", 5);
  EXPECT_FALSE(parser.done());
  EXPECT_TRUE(parser.ends_with_connection());
  parser.put_eof();
  ASSERT_TRUE(parser.done());
  EXPECT_FALSE(parser.keep_alive());
  EXPECT_EQ(parser.take().body, "some text");
}

// "0\r\n" and then a single byte: Beast asserts that there are more.
TEST(RequestParser, AnEmptyChunkedBodyMayComeByteByByte) {
  for (const std::string_view end : {"\r\n", "Trailer: t\r\n\r\n"}) {
    const std::string text =
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + std::string(end);
    for (std::size_t piece = 1; piece <= text.size(); ++piece) {
      request_parser parser(limits);
      EXPECT_EQ(feed(parser, text, piece), "") << piece;
      ASSERT_TRUE(parser.done()) << piece;
      EXPECT_EQ(parser.take().body, "");
    }
  }
}

TEST(ResponseParser, ACutBodyIsNotAWholeOne) {
  response_parser parser(limits);
  feed(parser, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nsome", 5);
  EXPECT_FALSE(parser.ends_with_connection());
  parser.put_eof();
  EXPECT_FALSE(parser.done());
  EXPECT_TRUE(parser.failure().has_value());
}

TEST(ResponseParser, NothingAtAllIsAFailure) {
  response_parser parser(limits);
  parser.put_eof();
  EXPECT_FALSE(parser.done());
  EXPECT_TRUE(parser.failure().has_value());
}

TEST(ResponseParser, HeadHasNoBody) {
  response_parser parser(limits);
  parser.expect_no_body();
  parser.put("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n");
  ASSERT_TRUE(parser.done());
  EXPECT_TRUE(parser.keep_alive());
}

}  // namespace
}  // namespace mizzen::http::detail
