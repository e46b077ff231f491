#include "gzip.hpp"
#include "loopback.hpp"
#include "scripted.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/http/client.hpp>
#include <mizzen/http/server.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/post.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <optional>

namespace mizzen::http {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using test::failure_of;
using test::raw_listener;
using test::raw_socket;
using test::scripted_server;
using testing::HasSubstr;

constexpr std::string_view chunked_head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

class StreamTest : public testing::Test {
 protected:
  response_stream open(client& c, const std::string& url, send_options options = {}) {
    request what{.url = url};
    return loop.run(c.open(std::move(what), std::move(options)));
  }
  std::string read(response_stream& from) { return std::string(loop.run(from.read())); }
  std::string read_rest(response_stream& from) {
    return loop.run(from.read_all(std::size_t{1} << 30));
  }

  test::event_loop loop;
};

TEST_F(StreamTest, PiecesAsTheyArriveAndTheConnectionAgain) {
  std::promise<void> first_was_read;
  scripted_server s([&](raw_listener& listener) {
    raw_socket c = listener.accept();
    c.read_until("\r\n\r\n");
    c.send(chunked_head);
    c.send("5\r\nhello\r\n");
    first_was_read.get_future().wait();
    c.send("6\r\n world\r\n0\r\n\r\n");
    c.forget();
    c.read_until("\r\n\r\n");
    c.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nagain");
  });
  client c(loop.executor());
  response_stream answer = open(c, s.url());
  EXPECT_EQ(answer.head().status, 200);
  EXPECT_TRUE(answer.head().headers.contains("Transfer-Encoding"));
  EXPECT_EQ(read(answer), "hello");
  first_was_read.set_value();
  EXPECT_EQ(read(answer), " world");
  EXPECT_EQ(c.idle_connections(), 0U);
  EXPECT_EQ(read(answer), "");
  EXPECT_EQ(c.idle_connections(), 1U);
  EXPECT_EQ(read(answer), "");
  request again{.url = s.url()};
  EXPECT_EQ(loop.run(c.send(std::move(again))).body, "again");
}

asio::awaitable<std::size_t> read_one_after_the_other(client& c, std::string url, int times) {
  std::size_t total = 0;
  for (int i = 0; i < times; ++i) {
    request what{.url = url};
    response_stream body = co_await c.open(std::move(what));
    for (;;) {
      const std::string_view piece = co_await body.read();
      if (piece.empty()) break;
      total += piece.size();
    }
  }
  co_return total;
}

// The next exchange often lives at the address of the last one, whose end is still on its way.
TEST_F(StreamTest, TheEndOfOneDoesNotHitTheNext) {
  server s(loop.executor(), {}, [](request) -> asio::awaitable<response> {
    co_return make_response(200, "text/plain", std::string(100'000, 'x'));
  });
  client c(loop.executor());
  EXPECT_EQ(loop.run(read_one_after_the_other(c, s.url(), 50)), 5'000'000U);
}

TEST_F(StreamTest, NoBody) {
  server echoing(loop.executor(), {}, [](request what) -> asio::awaitable<response> {
    co_return make_response(what.url == "/none" ? 204 : 200, "text/plain", "");
  });
  client c(loop.executor());
  for (const char* path : {"/none", "/empty"}) {
    response_stream answer = open(c, echoing.url() + path);
    EXPECT_EQ(read(answer), "");
    EXPECT_EQ(c.idle_connections(), 1U);
  }
}

TEST_F(StreamTest, OfAnySizeAndNotReadAheadOfTheCaller) {
  constexpr std::size_t size = std::size_t{192} << 20;
  std::atomic<std::size_t> sent = 0;
  scripted_server s([&](raw_listener& listener) {
    raw_socket c = listener.accept();
    c.read_until("\r\n\r\n");
    c.send("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(size) + "\r\n\r\n");
    const std::string block(std::size_t{1} << 20, 'x');
    while (sent < size && c.send(block)) sent += block.size();
  });
  client c(loop.executor(), {.max_body = 100});
  response_stream answer = open(c, s.url());
  // The sender stands still once the socket's buffers are full.
  std::size_t before = 0;
  EXPECT_TRUE(test::eventually([&] {
    std::this_thread::sleep_for(100ms);
    return std::exchange(before, sent.load()) == sent && sent > 0;
  }));
  EXPECT_LT(sent, size / 2);
  std::size_t received = 0;
  std::size_t largest = 0;
  for (;;) {
    const std::string_view piece = loop.run(answer.read());
    if (piece.empty()) break;
    received += piece.size();
    largest = std::max(largest, piece.size());
  }
  EXPECT_EQ(received, size);
  EXPECT_GE(largest, std::size_t{64} << 10);
}

TEST_F(StreamTest, ReadAllHasALimit) {
  server s(loop.executor(), {}, [](request) -> asio::awaitable<response> {
    co_return make_response(200, "text/plain", std::string(1000, 'x'));
  });
  client c(loop.executor());
  response_stream fits = open(c, s.url());
  EXPECT_EQ(loop.run(fits.read_all(1000)).size(), 1000U);
  response_stream large = open(c, s.url());
  EXPECT_EQ(failure_of([&] { loop.run(large.read_all(999)); }).code(), errc::resource_exhausted);
}

TEST_F(StreamTest, CutOffAndDamaged) {
  const auto failure_with = [&](std::string_view answer) {
    scripted_server s([&](raw_listener& listener) {
      raw_socket c = listener.accept();
      c.read_until("\r\n\r\n");
      c.send(answer);
    });
    client c(loop.executor());
    response_stream stream = open(c, s.url());
    const error e = failure_of([&] { read_rest(stream); });
    EXPECT_THAT(e.what(), HasSubstr("GET " + s.url()));
    EXPECT_EQ(failure_of([&] { read(stream); }).code(), errc::failed_precondition);
    EXPECT_EQ(c.idle_connections(), 0U);
    return e.code();
  };
  const std::string head(chunked_head);
  EXPECT_EQ(failure_with(head), errc::unavailable);
  EXPECT_EQ(failure_with(head + "5\r\nhel"), errc::unavailable);
  EXPECT_EQ(failure_with(head + "5\r\nhello\r\n"), errc::unavailable);
  EXPECT_EQ(failure_with(head + "5\r\nhello!!"), errc::data_loss);
  EXPECT_EQ(failure_with("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel"), errc::unavailable);
}

TEST_F(StreamTest, SilenceIsNoticedAndTheTimeoutEndsWithTheHead) {
  std::promise<void> done;
  std::promise<void> timeout_passed;
  scripted_server s([&](raw_listener& listener) {
    raw_socket a = listener.accept();
    a.read_until("\r\n\r\n");
    a.send(chunked_head);
    a.send("5\r\nhello\r\n");
    timeout_passed.get_future().wait();
    a.send("5\r\nhello\r\n");
    raw_socket b = listener.accept();  // never answers
    done.get_future().wait();
  });
  client c(loop.executor(), {.timeout = 2s});
  response_stream answer = open(c, s.url(), {.silence = 3s});
  EXPECT_EQ(read(answer), "hello");
  std::this_thread::sleep_for(2100ms);
  timeout_passed.set_value();
  EXPECT_EQ(read(answer), "hello");
  const error silent = failure_of([&] { read(answer); });
  EXPECT_EQ(silent.code(), errc::deadline_exceeded);
  EXPECT_THAT(silent.what(), HasSubstr("silent for 3000 ms"));
  request what{.url = s.url()};
  send_options options{.silence = 50ms};
  const error never = failure_of([&] { loop.run(c.send(std::move(what), std::move(options))); });
  EXPECT_EQ(never.code(), errc::deadline_exceeded);
  EXPECT_THAT(never.what(), HasSubstr("silent for 50 ms"));
  done.set_value();
}

TEST_F(StreamTest, EveryWayToStopFreesTheSocket) {
  std::atomic<int> gone = 0;
  scripted_server s([&](raw_listener& listener) {
    for (int i = 0; i < 5; ++i) {
      raw_socket c = listener.accept();
      c.read_until("\r\n\r\n");
      c.send(chunked_head);
      c.send("5\r\nhello\r\n");
      c.read_all();  // until the client closes
      ++gone;
    }
  });
  client c(loop.executor());
  const auto wait_for_read = [&](response_stream& stream, auto stop) {
    auto pending = asio::co_spawn(loop.executor(), stream.read(), asio::use_future);
    EXPECT_EQ(pending.wait_for(10ms), std::future_status::timeout);
    stop();
    return failure_of([&] { pending.get(); }).code();
  };
  {  // by token
    std::stop_source source;
    response_stream stream = open(c, s.url(), {.cancel = {source.get_token(), {}}});
    EXPECT_EQ(read(stream), "hello");
    EXPECT_EQ(wait_for_read(stream, [&] { source.request_stop(); }), errc::cancelled);
    EXPECT_TRUE(test::eventually([&] { return gone == 1; }));
  }
  {  // by close()
    response_stream stream = open(c, s.url());
    EXPECT_EQ(read(stream), "hello");
    EXPECT_EQ(wait_for_read(stream, [&] { stream.close(); }), errc::cancelled);
    EXPECT_TRUE(test::eventually([&] { return gone == 2; }));
    EXPECT_EQ(failure_of([&] { read(stream); }).code(), errc::cancelled);
  }
  {  // by slot
    response_stream stream = open(c, s.url());
    EXPECT_EQ(read(stream), "hello");
    asio::cancellation_signal signal;
    std::promise<errc> result;
    asio::co_spawn(loop.executor(), stream.read(),
                   asio::bind_cancellation_slot(
                       signal.slot(), [&](const std::exception_ptr& failed, std::string_view) {
                         result.set_value(failure_of([&] {
                                            if (failed) std::rethrow_exception(failed);
                                          }).code());
                       }));
    asio::post(loop.executor(), [&] { signal.emit(asio::cancellation_type::terminal); });
    EXPECT_EQ(result.get_future().get(), errc::cancelled);
    EXPECT_TRUE(test::eventually([&] { return gone == 3; }));
  }
  {  // by its deadline
    response_stream stream = open(c, s.url(), {.cancel = {{}, deadline::after(200ms)}});
    EXPECT_EQ(failure_of([&] { read_rest(stream); }).code(), errc::deadline_exceeded);
    EXPECT_TRUE(test::eventually([&] { return gone == 4; }));
  }
  {  // by its end, with nothing pending
    const response_stream stream = open(c, s.url());
  }
  EXPECT_TRUE(test::eventually([&] { return gone == 5; }));
  EXPECT_EQ(c.idle_connections(), 0U);
}

TEST_F(StreamTest, AnEventLoopEndsWhenItsStreamDoes) {
  server s(loop.executor(), {}, [](request) -> asio::awaitable<response> {
    co_return make_response(200, "text/plain", "x");
  });
  asio::io_context context;
  client c(context.get_executor());
  request what{.url = s.url()};
  send_options options{.silence = 60s};
  auto opened =
      asio::co_spawn(context, c.open(std::move(what), std::move(options)), asio::use_future);
  context.run();
  std::optional<response_stream> stream(opened.get());
  stream.reset();
  context.restart();
  context.run();
}

class GzipTest : public StreamTest {
 protected:
  server zipping{loop.executor(), {}, [](request what) -> asio::awaitable<response> {
                   const bool asked = what.headers.value("Accept-Encoding") == "gzip";
                   std::string body(std::size_t{4} << 20, 'x');
                   response answer =
                       make_response(200, "text/plain", asked ? test::gzip(body) : std::move(body));
                   if (asked) answer.headers.add("Content-Encoding", "gzip");
                   if (what.url == "/odd") answer.headers.set("Content-Encoding", "br");
                   if (what.url == "/cut") answer.body.pop_back();
                   if (what.url == "/plain") answer.body = "plain";
                   co_return answer;
                 }};
};

TEST_F(GzipTest, OnlyWhenAskedFor) {
  client plain(loop.executor());
  client zipped(loop.executor(), {.gzip = true});
  for (client* c : {&plain, &zipped}) {
    request what{.url = zipping.url() + "/x"};
    const response answer = loop.run(c->send(std::move(what)));
    EXPECT_EQ(answer.body, std::string(std::size_t{4} << 20, 'x'));
    EXPECT_FALSE(answer.headers.contains("Content-Encoding"));
    response_stream stream = open(*c, zipping.url() + "/x");
    EXPECT_EQ(read_rest(stream).size(), std::size_t{4} << 20);
    EXPECT_EQ(c->idle_connections(), 1U);
  }
  request own{.url = zipping.url(), .headers = {{"Accept-Encoding", "gzip"}}};
  const response raw = loop.run(zipped.send(std::move(own)));
  EXPECT_EQ(raw.headers.value("Content-Encoding"), "gzip");
  EXPECT_LT(raw.body.size(), 100'000U);
}

TEST_F(GzipTest, BombsAndDamage) {
  client c(loop.executor(), {.gzip = true, .max_body = 1'000'000});
  const auto code = [&](const char* path) {
    request what{.url = zipping.url() + path};
    return failure_of([&] { loop.run(c.send(std::move(what))); }).code();
  };
  EXPECT_EQ(code("/x"), errc::resource_exhausted);
  EXPECT_EQ(code("/odd"), errc::unimplemented);
  EXPECT_EQ(code("/plain"), errc::data_loss);
  response_stream cut = open(c, zipping.url() + "/cut");
  EXPECT_EQ(failure_of([&] { read_rest(cut); }).code(), errc::data_loss);
  EXPECT_EQ(c.idle_connections(), 0U);
}

}  // namespace
}  // namespace mizzen::http
