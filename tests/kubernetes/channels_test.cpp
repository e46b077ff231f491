#include "kubernetes/channels.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/kubernetes/attach.hpp>
#include <mizzen/kubernetes/exec.hpp>
#include <mizzen/kubernetes/logs.hpp>

#include <gmock/gmock.h>

#include <deque>
#include <string>
#include <string_view>
#include <utility>

namespace mizzen::kubernetes {
namespace {

using namespace std::string_literals;
using detail::parse_end_of_process;
using detail::port_channels;
using event = detail::port_channels::event;
using testing::HasSubstr;

TEST(Channels, AMessageIsAChannelAndWhatGoesThroughIt) {
  EXPECT_FALSE(detail::parse_channel_message(""));
  const auto parsed = detail::parse_channel_message("\x01out");
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->channel, detail::channel::from_stdout);
  EXPECT_EQ(parsed->data, "out");
  EXPECT_EQ(detail::parse_channel_message("\x03")->data, "");
  EXPECT_EQ(detail::resize_text(123, 45), R"({"Width":123,"Height":45})");
}

TEST(Channels, HowAProgramEnded) {
  for (const char* text :
       {R"({"metadata":{},"status":"Success"})",
        R"({"kind":"Status","apiVersion":"v1","metadata":{},"status":"Success"})"}) {
    const auto good = parse_end_of_process(text);
    ASSERT_TRUE(good.exit) << text;
    EXPECT_EQ(good.exit->code, 0);
    EXPECT_FALSE(good.failure);
  }
  const auto bad = parse_end_of_process(
      R"({"metadata":{},"status":"Failure","message":"ended with 42","reason":"NonZeroExitCode",)"
      R"("details":{"causes":[{"reason":"Other","message":"1"},{"reason":"ExitCode","message":"42"}]}})");
  ASSERT_TRUE(bad.exit);
  EXPECT_EQ(bad.exit->code, 42);
  EXPECT_EQ(bad.exit->message, "ended with 42");
}

TEST(Channels, WhatNeverRan) {
  const auto failed = parse_end_of_process(
      R"({"status":"Failure","message":"no such container","reason":"InternalError","code":500})");
  EXPECT_FALSE(failed.exit);
  ASSERT_TRUE(failed.failure);
  EXPECT_EQ(failed.failure->message, "no such container");
  for (
      const std::string& text :
      {""s, "oops"s, "[]"s, "{}"s, R"({"kind":"Pod"})"s,
       R"({"status":"Failure","reason":"NonZeroExitCode"})"s,
       R"({"status":"Failure","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"x"}]}})"s,
       std::string(max_status_size + 1, ' ')}) {
    const auto end = parse_end_of_process(text);
    EXPECT_FALSE(end.exit) << text.substr(0, 100);
    EXPECT_TRUE(end.failure) << text.substr(0, 100);
  }
}

TEST(Channels, PortsAreAnnouncedOnBothChannelsInAnyCuts) {
  // What the channels give out is a view into the frame.
  std::deque<std::string> frames;
  const auto frame = [&](std::string text) -> std::string_view {
    return frames.emplace_back(std::move(text));
  };
  port_channels channels(0x1234);
  EXPECT_EQ(channels.put(""), event::nothing);
  EXPECT_EQ(channels.put(frame("\x00\x34\x12"s)), event::nothing);
  EXPECT_EQ(channels.put(frame("\x01\x34"s)), event::nothing);
  EXPECT_EQ(channels.put(frame("\x01\x12"s)), event::nothing);
  EXPECT_EQ(channels.put(frame("\x00hello"s)), event::data);
  EXPECT_EQ(channels.text(), "hello");
  EXPECT_EQ(channels.put(frame("\x00"s)), event::nothing);
  EXPECT_EQ(channels.put(frame("\x01refused"s)), event::failed);
  EXPECT_EQ(channels.text(), "refused");
  port_channels at_once(0x1234);
  EXPECT_EQ(at_once.put(frame("\x00\x34\x12hi"s)), event::data);
  EXPECT_EQ(at_once.text(), "hi");
  port_channels other(80);
  EXPECT_EQ(other.put(frame("\x00\x51\x00"s)), event::failed);
  EXPECT_THAT(std::string(other.text()), HasSubstr("port 81 instead of 80"));
  EXPECT_EQ(port_channels(80).put("\x02x"), event::failed);
}

TEST(Channels, Urls) {
  EXPECT_EQ(exec_url("a", "b", {.command = {"sh", "-c", "echo $A & b"}, .container = "main"}),
            "/api/v1/namespaces/a/pods/b/exec?command=sh&command=-c&command=echo%20%24A%20%26%20b"
            "&container=main&stdout=true&stderr=true");
  EXPECT_EQ(attach_url("a", "b", {.stdin_ = true, .tty = true}),
            "/api/v1/namespaces/a/pods/b/attach?stdin=true&stdout=true&tty=true");
  EXPECT_EQ(log_url("a", "b"), "/api/v1/namespaces/a/pods/b/log");
  EXPECT_EQ(log_url("a", "b/c",
                    {.container = "main",
                     .follow = true,
                     .previous = true,
                     .timestamps = true,
                     .since_time = std::chrono::system_clock::time_point{},
                     .tail_lines = 3,
                     .limit_bytes = 9}),
            "/api/v1/namespaces/a/pods/b%2Fc/log?container=main&follow=true&previous=true"
            "&timestamps=true&sinceTime=1970-01-01T00%3A00%3A00.000Z&tailLines=3&limitBytes=9");
  const auto subject = [](auto call) {
    try {
      call();
    } catch (const error& e) {
      EXPECT_EQ(e.code(), errc::invalid_argument);
      return e.subject();
    }
    return "nothing was thrown"s;
  };
  EXPECT_EQ(subject([] { exec_url("a", "b", {}); }), "exec_options.command");
  EXPECT_EQ(subject([] { exec_url("", "b", {.command = {"x"}}); }), "namespace");
  EXPECT_EQ(subject([] { exec_url("a", "", {.command = {"x"}}); }), "pod");
  EXPECT_EQ(subject([] { attach_url("a", "b", {.stdout_ = false, .stderr_ = false}); }),
            "exec_options");
  EXPECT_EQ(
      subject([] { log_url("a", "b", {.since = std::chrono::seconds(1), .since_time = {{}}}); }),
      "log_options.since");
  EXPECT_EQ(subject([] { log_url("a", "b", {.tail_lines = -1}); }), "log_options.tail_lines");
}

}  // namespace
}  // namespace mizzen::kubernetes
