#include "loopback.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/http/client.hpp>
#include <mizzen/http/server.hpp>

#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <thread>

namespace mizzen::http {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using test::eventually;
using test::raw_socket;
using testing::HasSubstr;
using testing::StartsWith;

// Answers with method, target and body.
asio::awaitable<response> echo(request what) {
  co_return make_response(200, "text/plain", what.method + " " + what.url + " " + what.body);
}

std::string post(std::string_view path, std::string_view body, std::string_view more = "") {
  return "POST " + std::string(path) +
         " HTTP/1.1\r\nHost: h\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" +
         std::string(more) + "\r\n" + std::string(body);
}
constexpr std::string_view get_close = "GET /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

// A gate that handlers wait at.
struct gate {
  explicit gate(const asio::any_io_executor& on)
      : executor(on), timer(on, std::chrono::steady_clock::time_point::max()) {}
  asio::awaitable<response> pass(request) {
    ++waiting;
    try {
      boost::system::error_code ec;
      co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ec));
      co_await asio::this_coro::executor;
    } catch (...) {
      ++cancelled;
      throw;
    }
    if ((co_await asio::this_coro::cancellation_state).cancelled() !=
        asio::cancellation_type::none) {
      ++cancelled;
      throw std::runtime_error("cancelled");
    }
    co_return make_response(200, "text/plain", "through");
  }
  void open() {
    asio::post(executor, [this] { timer.cancel(); });
  }
  asio::any_io_executor executor;
  asio::steady_timer timer;
  std::atomic<int> waiting = 0;
  std::atomic<int> cancelled = 0;
};

class ServerTest : public testing::Test {
 protected:
  server start(server_options options = {}, handler answers = echo) {
    return server(loop.executor(), std::move(options), std::move(answers));
  }
  test::event_loop loop;
};

TEST_F(ServerTest, AnswersAndKeepsAlive) {
  const server s = start();
  EXPECT_NE(s.port(), 0);
  EXPECT_EQ(s.url(), "http://127.0.0.1:" + std::to_string(s.port()));
  raw_socket c = raw_socket::connect(s.port());
  for (int i = 0; i < 3; ++i) {
    c.forget();
    ASSERT_TRUE(c.send(post("/a?b", "body" + std::to_string(i))));
    const std::string answer = c.read_until("body" + std::to_string(i));
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK\r\n"));
    EXPECT_THAT(answer, HasSubstr("\r\nContent-Length: 15\r\n"));
    EXPECT_THAT(answer, HasSubstr("\r\nDate: "));
    EXPECT_THAT(answer, HasSubstr("\r\n\r\nPOST /a?b body"));
  }
  EXPECT_EQ(s.connections(), 1U);
}

TEST_F(ServerTest, PipelinedRequestsAreAnsweredInOrder) {
  const server s = start();
  raw_socket c = raw_socket::connect(s.port());
  std::string many;
  for (int i = 0; i < 100; ++i) many += post("/" + std::to_string(i), "b");
  many += get_close;
  ASSERT_TRUE(c.send(many));
  const std::string answers = c.read_all();
  std::size_t at = 0;
  for (int i = 0; i < 100; ++i) {
    at = answers.find("POST /" + std::to_string(i) + " b", at);
    ASSERT_NE(at, std::string::npos) << i;
  }
  EXPECT_NE(answers.find("GET /x", at), std::string::npos);
  EXPECT_THAT(answers, HasSubstr("\r\nConnection: close\r\n"));
}

TEST_F(ServerTest, ARequestInSinglePieces) {
  const server s = start();
  raw_socket c = raw_socket::connect(s.port());
  for (const char byte : post("/slow", "hello", "Connection: close\r\n")) {
    ASSERT_TRUE(c.send({&byte, 1}));
  }
  EXPECT_THAT(c.read_all(), testing::EndsWith("POST /slow hello"));
}

TEST_F(ServerTest, ChunkedBodyHeadAndOldVersion) {
  const server s = start();
  raw_socket chunked = raw_socket::connect(s.port());
  chunked.send(
      "PUT /c HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
      "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
  EXPECT_THAT(chunked.read_all(), testing::EndsWith("PUT /c abcde"));

  raw_socket head = raw_socket::connect(s.port());
  head.send("HEAD /h HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  const std::string answer = head.read_all();
  EXPECT_THAT(answer, HasSubstr("Content-Length: 8\r\n"));
  EXPECT_THAT(answer, testing::EndsWith("\r\n\r\n"));

  raw_socket old = raw_socket::connect(s.port());
  old.send("GET /o HTTP/1.0\r\n\r\n");
  EXPECT_THAT(old.read_all(), testing::EndsWith("GET /o "));
}

TEST_F(ServerTest, Continue) {
  const server s = start();
  raw_socket c = raw_socket::connect(s.port());
  c.send("POST /e HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(c.read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  c.send("ok");
  EXPECT_THAT(c.read_until("POST /e ok"), HasSubstr("HTTP/1.1 200 OK"));
}

TEST_F(ServerTest, WhatIsWrongIsToldAndTheServerGoesOn) {
  const server s = start({.max_header = 1024, .max_body = 2048});
  const auto answer_to = [&](std::string_view text) {
    raw_socket c = raw_socket::connect(s.port());
    c.send(text);
    return c.read_all();
  };
  EXPECT_THAT(answer_to("garbage\r\n\r\n"), StartsWith("HTTP/1.1 400 "));
  EXPECT_THAT(answer_to(std::string(100, '\0')), StartsWith("HTTP/1.1 400 "));
  EXPECT_THAT(answer_to("GET / HTTP/1.1\r\n\r\n"), StartsWith("HTTP/1.1 400 "));
  EXPECT_THAT(answer_to("GET / HTTP/3.0\r\nHost: h\r\n\r\n"), StartsWith("HTTP/1.1 505 "));
  EXPECT_THAT(answer_to("GET / HTTP/1.1\r\nX: " + std::string(100'000, 'x')),
              StartsWith("HTTP/1.1 431 "));
  EXPECT_THAT(answer_to(post("/", std::string(100'000, 'x'))), StartsWith("HTTP/1.1 413 "));
  EXPECT_THAT(answer_to("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999\r\n\r\n"),
              AllOf(StartsWith("HTTP/1.1 413 "), HasSubstr("Connection: close")));
  // A request before the broken one still has its answer.
  EXPECT_THAT(answer_to(post("/first", "1") + "junk\r\n\r\n"),
              AllOf(HasSubstr("POST /first 1"), HasSubstr("HTTP/1.1 400 ")));
  EXPECT_THAT(answer_to(get_close), HasSubstr("GET /x"));
}

TEST_F(ServerTest, ClientsThatGoAwayLeaveNothingBehind) {
  const server s = start();
  for (int i = 0; i < 20; ++i) {
    raw_socket half = raw_socket::connect(s.port());
    half.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nhalf");
    if (i % 2) half.reset();
    raw_socket nothing = raw_socket::connect(s.port());
    if (i % 2) nothing.reset();
    raw_socket unread = raw_socket::connect(s.port());
    unread.send(post("/", "b"));
    unread.reset();
  }
  EXPECT_TRUE(eventually([&] { return s.connections() == 0; }));
  raw_socket c = raw_socket::connect(s.port());
  c.send(get_close);
  EXPECT_THAT(c.read_all(), HasSubstr("GET /x"));
}

TEST_F(ServerTest, SlowClientsAreCutOff) {
  const server s = start({.header_timeout = 50ms, .body_timeout = 50ms, .idle_timeout = 50ms});
  raw_socket silent = raw_socket::connect(s.port());
  raw_socket header = raw_socket::connect(s.port());
  header.send("GET / HT");
  raw_socket body = raw_socket::connect(s.port());
  body.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nab");
  raw_socket idle = raw_socket::connect(s.port());
  idle.send(post("/", "b"));
  EXPECT_EQ(silent.read_all(), "");
  EXPECT_EQ(header.read_all(), "");
  EXPECT_EQ(body.read_all(), "");
  EXPECT_THAT(idle.read_all(), HasSubstr("POST / b"));
}

TEST_F(ServerTest, AClientThatTakesNoAnswerIsCutOff) {
  const server s = start({.write_timeout = 50ms}, [](request) -> asio::awaitable<response> {
    co_return make_response(200, "text/plain", std::string(std::size_t{64} << 20, 'x'));
  });
  raw_socket c = raw_socket::connect(s.port());
  c.send(get_close);
  EXPECT_TRUE(eventually([&] { return s.connections() == 0; }));
}

TEST_F(ServerTest, TooManyConnections) {
  const server s = start({.max_connections = 2});
  raw_socket a = raw_socket::connect(s.port());
  raw_socket b = raw_socket::connect(s.port());
  ASSERT_TRUE(eventually([&] { return s.connections() == 2; }));
  raw_socket c = raw_socket::connect(s.port());
  EXPECT_THAT(c.read_all(), AllOf(StartsWith("HTTP/1.1 503 "), HasSubstr("Retry-After: ")));
  a.close();
  ASSERT_TRUE(eventually([&] { return s.connections() == 1; }));
  raw_socket d = raw_socket::connect(s.port());
  d.send(get_close);
  EXPECT_THAT(d.read_all(), HasSubstr("GET /x"));
}

TEST_F(ServerTest, AFailingHandlerIs500AndALogRecord) {
  std::mutex mutex;
  std::string logged;
  const logger log([&](const log_record& record) {
    const std::lock_guard lock(mutex);
    logged += record.message;
    for (const log_field& f : record.fields) logged += " " + f.value.dump();
  });
  const server s = start({.log = log}, [](request what) -> asio::awaitable<response> {
    if (what.url == "/odd") throw 42;
    if (what.url == "/status") co_return response{.status = 7, .headers = {}, .body = {}};
    throw std::runtime_error("secret of the house");
  });
  raw_socket c = raw_socket::connect(s.port());
  c.send(post("/one", "") + post("/odd", "") + post("/status", "") + std::string(get_close));
  const std::string answers = c.read_all();
  std::size_t count = 0;
  for (auto at = answers.find("HTTP/1.1 500 "); at != std::string::npos;
       at = answers.find("HTTP/1.1 500 ", at + 1)) {
    ++count;
  }
  EXPECT_EQ(count, 4U);
  EXPECT_THAT(answers, testing::Not(HasSubstr("secret")));
  const std::lock_guard lock(mutex);
  EXPECT_THAT(logged, AllOf(HasSubstr("secret of the house"), HasSubstr("\"/one\"")));
}

TEST_F(ServerTest, TheHandlerIsCancelledWhenTheClientGoesAway) {
  gate g(loop.executor());
  const server s = start({}, [&g](request what) { return g.pass(std::move(what)); });
  raw_socket c = raw_socket::connect(s.port());
  c.send(post("/", ""));
  ASSERT_TRUE(eventually([&] { return g.waiting == 1; }));
  c.close();
  EXPECT_TRUE(eventually([&] { return g.cancelled == 1 && s.connections() == 0; }));
}

TEST_F(ServerTest, DrainLetsWhatIsInFlightFinish) {
  gate g(loop.executor());
  server s = start({}, [&g](request what) { return g.pass(std::move(what)); });
  raw_socket busy = raw_socket::connect(s.port());
  busy.send(post("/", ""));
  raw_socket idle = raw_socket::connect(s.port());
  ASSERT_TRUE(eventually([&] { return g.waiting == 1 && s.connections() == 2; }));
  idle.send(post("/", ""));
  ASSERT_TRUE(eventually([&] { return g.waiting == 2; }));
  g.open();
  idle.read_until("through");
  busy.read_until("through");
  idle.forget();
  busy.forget();
  busy.send(post("/", ""));
  ASSERT_TRUE(eventually([&] { return g.waiting == 3; }));

  auto drained = asio::co_spawn(loop.executor(), s.drain(deadline::after(60s)), asio::use_future);
  EXPECT_EQ(idle.read_all(), "");  // closed at once
  EXPECT_THROW(raw_socket::connect(s.port()), std::runtime_error);
  EXPECT_EQ(drained.wait_for(0s), std::future_status::timeout);
  g.open();
  EXPECT_THAT(busy.read_all(), AllOf(HasSubstr("through"), HasSubstr("Connection: close")));
  EXPECT_TRUE(drained.get());
}

TEST_F(ServerTest, DrainGivesUpAtItsDeadline) {
  gate g(loop.executor());
  server s = start({}, [&g](request what) { return g.pass(std::move(what)); });
  raw_socket c = raw_socket::connect(s.port());
  c.send(post("/", ""));
  ASSERT_TRUE(eventually([&] { return g.waiting == 1; }));
  EXPECT_FALSE(loop.run(s.drain(deadline::after(20ms))));
  EXPECT_EQ(c.read_all(), "");
  EXPECT_TRUE(eventually([&] { return g.cancelled == 1 && s.connections() == 0; }));
}

TEST_F(ServerTest, APortThatIsTakenIsAnErrorThatNamesIt) {
  const server s = start();
  try {
    const server other = start({.port = s.port()});
    ADD_FAILURE();
  } catch (const error& e) {
    EXPECT_EQ(e.code(), errc::unavailable);
    EXPECT_THAT(e.what(), HasSubstr("127.0.0.1:" + std::to_string(s.port())));
  }
}

TEST(ServerThreads, ManyClientsOverSeveralThreads) {
  test::event_loop loop(3);
  std::atomic<int> handled = 0;
  server s(loop.executor(), {}, [&](request what) -> asio::awaitable<response> {
    ++handled;
    co_return make_response(200, "text/plain", std::move(what.body));
  });
  client shared(loop.executor(), {.max_idle = 4});
  std::vector<std::thread> threads;
  std::atomic<int> right = 0;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 100; ++i) {
        const std::string body = std::to_string(t) + ":" + std::to_string(i);
        request what{.method = "POST", .url = s.url() + "/", .headers = {}, .body = body};
        if (loop.run(shared.send(std::move(what))).body == body) ++right;
      }
    });
  }
  for (std::thread& each : threads) each.join();
  EXPECT_EQ(right, 400);
  EXPECT_EQ(handled, 400);
  EXPECT_TRUE(loop.run(s.drain(deadline::after(60s))));
}

}  // namespace
}  // namespace mizzen::http
