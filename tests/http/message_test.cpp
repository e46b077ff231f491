#include <mizzen/core/error.hpp>
#include <mizzen/http/message.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mizzen::http {
namespace {

using testing::ElementsAre;

template <typename Call>
std::string refusal(Call call) {
  try {
    call();
  } catch (const error& e) {
    EXPECT_EQ(e.code(), errc::invalid_argument);
    return e.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

TEST(Headers, NamesIgnoreCaseAndOrderIsKept) {
  headers h = {{"Accept", "a"}, {"X-One", "1"}, {"ACCEPT", "b"}};
  EXPECT_EQ(h.value("accept"), "a");
  EXPECT_THAT(h.values("Accept"), ElementsAre("a", "b"));
  EXPECT_EQ(h.value("missing", "fallback"), "fallback");
  EXPECT_EQ(h.find("missing"), nullptr);
  h.set("accept", "c");
  std::string all;
  for (const field& each : h) all += each.name + "=" + each.value + ";";
  EXPECT_EQ(all, "accept=c;X-One=1;");
  EXPECT_EQ(h.erase("x-ONE"), 1U);
  EXPECT_EQ(h.size(), 1U);
}

TEST(Headers, TokensOfLists) {
  const headers h = {{"Connection", "keep-alive ,\tUpgrade"}, {"connection", "x"}};
  EXPECT_TRUE(h.has_token("Connection", "upgrade"));
  EXPECT_TRUE(h.has_token("Connection", "KEEP-ALIVE"));
  EXPECT_TRUE(h.has_token("Connection", "x"));
  EXPECT_FALSE(h.has_token("Connection", "keep"));
  EXPECT_FALSE(headers().has_token("Connection", "close"));
}

TEST(Headers, WhatWouldSmuggleAnotherHeaderIsRefused) {
  headers h;
  EXPECT_THAT(refusal([&] { h.add("X", "a\r\nEvil: 1"); }), testing::HasSubstr("header 'X'"));
  EXPECT_THAT(refusal([&] { h.set("X", std::string("a\0b", 3)); }), testing::HasSubstr("control"));
  EXPECT_THAT(refusal([&] { h.add("X Y", "a"); }), testing::HasSubstr("header 'X Y'"));
  refusal([&] { h.add("", "a"); });
  refusal([&] { h.add("X:", "a"); });
  h.add("X", "\xc3\xa4 tab\there");
  EXPECT_EQ(h.size(), 1U);
}

TEST(Url, PathAndQuery) {
  EXPECT_EQ(url_path("/a/b?x=1#f"), "/a/b");
  EXPECT_EQ(url_path("http://h:1/a?x"), "/a");
  EXPECT_EQ(url_path("http://h"), "/");
  EXPECT_EQ(url_path("/go?to=http://x/y"), "/go");
  EXPECT_EQ(url_query("/a?x=1&y=2#f"), "x=1&y=2");
  EXPECT_EQ(url_query("/a#f?x"), "");
}

TEST(Url, SegmentsAreDecodedOneByOne) {
  EXPECT_THAT(path_segments("/v2/models/a%2Fb/"), ElementsAre("v2", "models", "a/b", ""));
  EXPECT_THAT(path_segments("/"), ElementsAre(""));
  EXPECT_THAT(refusal([] { path_segments("/a%2"); }), testing::HasSubstr("hexadecimal"));
  EXPECT_THAT(refusal([] { percent_decode("%zz"); }), testing::HasSubstr("hexadecimal"));
  std::string all;
  for (int c = 0; c < 256; ++c) all += static_cast<char>(c);
  EXPECT_EQ(percent_decode(percent_encode(all)), all);
  EXPECT_EQ(percent_encode("a b/c~"), "a%20b%2Fc~");
}

}  // namespace
}  // namespace mizzen::http
