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

#include <future>
#include <thread>

namespace mizzen::http {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using test::failure_of;
using test::raw_listener;
using test::raw_socket;
using test::scripted_server;
using testing::HasSubstr;

asio::awaitable<response> echo(request what) {
  response answer =
      make_response(200, "text/plain", what.method + " " + what.url + " " + what.body);
  answer.headers.add("X-Agent", std::string(what.headers.value("User-Agent")));
  answer.headers.add("X-Host", std::string(what.headers.value("Host")));
  co_return answer;
}

constexpr std::string_view ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

class ClientTest : public testing::Test {
 protected:
  test::event_loop loop;
  server echoing{loop.executor(), {}, echo};
};

TEST_F(ClientTest, SendsAndReusesConnections) {
  client c(loop.executor());
  for (int i = 0; i < 5; ++i) {
    request what{.method = "PUT", .url = echoing.url() + "/a?b=c#f", .headers = {}, .body = "x"};
    const response answer = loop.run(c.send(std::move(what)));
    EXPECT_EQ(answer.status, 200);
    EXPECT_TRUE(answer.ok());
    EXPECT_EQ(answer.body, "PUT /a?b=c x");
    EXPECT_EQ(answer.headers.value("x-agent"), "mizzen");
    EXPECT_EQ(answer.headers.value("x-host"), "127.0.0.1:" + std::to_string(echoing.port()));
    EXPECT_EQ(c.idle_connections(), 1U);
  }
  EXPECT_EQ(echoing.connections(), 1U);
  c.close_idle();
  EXPECT_EQ(c.idle_connections(), 0U);
  EXPECT_TRUE(test::eventually([&] { return echoing.connections() == 0; }));
}

TEST_F(ClientTest, NameInsteadOfAddress) {
  client c(loop.executor());
  request what{.url = "http://localhost:" + std::to_string(echoing.port())};
  EXPECT_EQ(loop.run(c.send(std::move(what))).body, "GET / ");
}

TEST_F(ClientTest, BlockingTwin) {
  blocking_client c;
  EXPECT_EQ(c.get(echoing.url() + "/g").body, "GET /g ");
  EXPECT_EQ(c.post(echoing.url() + "/p", "text/plain", "body").body, "POST /p body");
  const response head = c.send({.method = "HEAD", .url = echoing.url()});
  EXPECT_EQ(head.body, "");
  EXPECT_EQ(head.headers.value("Content-Length"), "7");
  EXPECT_EQ(c.get(echoing.url() + "/again").body, "GET /again ");
  EXPECT_EQ(echoing.connections(), 1U);
}

TEST_F(ClientTest, WhatCannotBeSentNamesTheRequest) {
  blocking_client c;
  const auto code = [&](request what) {
    const error e = failure_of([&] { c.send(std::move(what)); });
    EXPECT_EQ(e.code(), errc::invalid_argument) << e.what();
    return std::string(e.what());
  };
  EXPECT_THAT(code({.url = "/relative"}), HasSubstr("GET /relative: not an absolute URL"));
  EXPECT_THAT(code({.url = "ftp://h/"}), HasSubstr("scheme"));
  EXPECT_THAT(code({.url = "http:///x"}), HasSubstr("host"));
  EXPECT_THAT(code({.url = "http://u:p@h/"}), HasSubstr("Authorization"));
  EXPECT_THAT(code({.url = "http://127.0.0.1:99999/"}), HasSubstr("port"));
  EXPECT_THAT(code({.url = "http://h/a b"}), HasSubstr("not an absolute URL"));
  EXPECT_THAT(code({.url = "http://h/\r\nX: 1"}), HasSubstr("not an absolute URL"));
  EXPECT_THAT(code({.method = "GET / HTTP/1.1\r\n", .url = "http://h/"}), HasSubstr("method"));
  EXPECT_THAT(code({.url = "http://h/", .headers = {{"Content-Length", "3"}}}),
              HasSubstr("Content-Length"));
}

TEST_F(ClientTest, RefusedAndUnknown) {
  blocking_client c;
  std::uint16_t port = 0;
  {
    port = raw_listener().port();
  }
  const std::string url = "http://127.0.0.1:" + std::to_string(port) + "/x";
  const error refused = failure_of([&] { c.get(url); });
  EXPECT_EQ(refused.code(), errc::unavailable);
  EXPECT_EQ(refused.subject(), "GET " + url);
  EXPECT_THAT(refused.message(), HasSubstr("cannot connect"));
  const error unknown = failure_of([&] { c.get("http://no-such-host.invalid/"); });
  EXPECT_EQ(unknown.code(), errc::unavailable);
  EXPECT_THAT(unknown.message(), HasSubstr("cannot resolve no-such-host.invalid"));
}

TEST_F(ClientTest, AStaleConnectionIsReplacedForSafeMethodsOnly) {
  // Answers once per connection, then closes after it has seen the next request.
  scripted_server s([](raw_listener& listener) {
    for (int i = 0; i < 3; ++i) {
      raw_socket c = listener.accept();
      c.read_until("\r\n\r\n");
      c.forget();
      c.send(ok);
      if (i < 2) c.read_until("\r\n\r\n");
    }
  });
  blocking_client c;
  EXPECT_EQ(c.get(s.url()).body, "ok");
  EXPECT_EQ(c.get(s.url()).body, "ok");  // the first connection dies under it
  const error e = failure_of([&] { c.post(s.url(), "text/plain", ""); });
  EXPECT_EQ(e.code(), errc::unavailable) << e.what();
  EXPECT_EQ(c.get(s.url()).body, "ok");
}

TEST_F(ClientTest, TheConnectionThatReplacesAStaleOneIsKept) {
  // The first connection is reset while the second request is being written.
  scripted_server s([](raw_listener& listener) {
    {
      raw_socket c = listener.accept();
      c.read_until("\r\n\r\n");
      c.forget();
      c.send(ok);
      c.read_until("\r\n\r\n");
    }
    raw_socket c = listener.accept();
    c.read_until("the end");
    c.forget();
    c.send(ok);
    c.read_until("\r\n\r\n");  // a third would not be accepted
    c.send(ok);
  });
  client_options settings;
  settings.timeout = 20s;
  blocking_client c(settings);
  EXPECT_EQ(c.get(s.url()).body, "ok");
  // More than the kernel takes, so that the write is under way when the reset comes.
  EXPECT_EQ(
      c.send({.method = "GET", .url = s.url(), .body = std::string(16U << 20, 'x') + "the end"})
          .body,
      "ok");
  EXPECT_EQ(c.get(s.url()).body, "ok");
}

TEST_F(ClientTest, AConnectionThatWasClosedWhileIdleIsNotUsed) {
  std::promise<void> closed;
  scripted_server s([&](raw_listener& listener) {
    {
      raw_socket c = listener.accept();
      c.read_until("\r\n\r\n");
      c.send(ok);
    }
    closed.set_value();
    raw_socket c = listener.accept();
    c.read_until("\r\n\r\n");
    c.send(ok);
  });
  blocking_client c;
  EXPECT_EQ(c.get(s.url()).body, "ok");
  closed.get_future().wait();
  EXPECT_EQ(c.post(s.url(), "text/plain", "").body, "ok");
}

TEST_F(ClientTest, BrokenAnswers) {
  const auto failure_with = [](std::string_view answer) {
    scripted_server s([&](raw_listener& listener) {
      raw_socket c = listener.accept();
      c.read_until("\r\n\r\n");
      c.send(answer);
    });
    blocking_client c({.max_body = 100, .max_header = 1000});
    return failure_of([&] { c.get(s.url()); });
  };
  EXPECT_EQ(failure_with("").code(), errc::unavailable);
  EXPECT_EQ(failure_with("HTTP/1.1 200 OK\r\nContent-Le").code(), errc::unavailable);
  EXPECT_THAT(failure_with("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf").what(),
              HasSubstr("cut off"));
  EXPECT_EQ(failure_with("garbage\r\n\r\n").code(), errc::data_loss);
  EXPECT_EQ(failure_with("HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n").code(),
            errc::resource_exhausted);
  EXPECT_EQ(failure_with("HTTP/1.1 200 OK\r\n\r\n" + std::string(200, 'x')).code(),
            errc::resource_exhausted);
  EXPECT_EQ(failure_with("HTTP/1.1 200 OK\r\nX: " + std::string(2000, 'x')).code(),
            errc::resource_exhausted);
}

TEST_F(ClientTest, InterimAnswersAndBodiesToTheEnd) {
  scripted_server s([](raw_listener& listener) {
    raw_socket c = listener.accept();
    c.read_until("\r\n\r\n");
    c.send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n");
    c.send("HTTP/1.1 200 OK\r\n\r\nto the end");
  });
  blocking_client c;
  EXPECT_EQ(c.get(s.url()).body, "to the end");
}

TEST_F(ClientTest, DeadlineAndTimeouts) {
  std::promise<void> done;
  scripted_server s([&, until = done.get_future().share()](raw_listener& listener) {
    raw_socket a = listener.accept();
    raw_socket b = listener.accept();
    b.read_until("\r\n\r\n");
    b.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
    until.wait();
  });
  blocking_client c;
  const auto send = [&](mizzen::cancellation cancel) {
    return failure_of([&] { c.get(s.url(), {.cancel = std::move(cancel)}); });
  };
  const error silent = send({{}, deadline::after(30ms)});
  EXPECT_EQ(silent.code(), errc::deadline_exceeded);
  EXPECT_THAT(silent.what(), HasSubstr("GET " + s.url()));
  EXPECT_THAT(silent.what(), HasSubstr("waiting for the answer"));
  blocking_client impatient({.timeout = 30ms});
  EXPECT_EQ(failure_of([&] { impatient.get(s.url()); }).code(), errc::deadline_exceeded);
  EXPECT_EQ(send({{}, deadline::after(-1s)}).code(), errc::deadline_exceeded);
  done.set_value();
}

TEST_F(ClientTest, CancelledByTokenAndBySlot) {
  std::promise<void> done;
  std::atomic<int> accepted = 0;
  scripted_server s([&, until = done.get_future().share()](raw_listener& listener) {
    raw_socket a = listener.accept();
    a.read_until("\r\n\r\n");
    ++accepted;
    raw_socket b = listener.accept();
    b.read_until("\r\n\r\n");
    ++accepted;
    until.wait();
  });
  client c(loop.executor());
  std::stop_source source;
  request first{.url = s.url()};
  send_options options{.cancel = {source.get_token(), {}}};
  auto by_token = asio::co_spawn(loop.executor(), c.send(std::move(first), std::move(options)),
                                 asio::use_future);
  ASSERT_TRUE(test::eventually([&] { return accepted == 1; }));
  source.request_stop();
  EXPECT_EQ(failure_of([&] { by_token.get(); }).code(), errc::cancelled);

  asio::cancellation_signal signal;
  std::promise<errc> by_slot;
  request second{.url = s.url()};
  asio::co_spawn(loop.executor(), c.send(std::move(second)),
                 asio::bind_cancellation_slot(
                     signal.slot(), [&](const std::exception_ptr& failure, const response&) {
                       by_slot.set_value(failure_of([&] {
                                           if (failure) std::rethrow_exception(failure);
                                         }).code());
                     }));
  ASSERT_TRUE(test::eventually([&] { return accepted == 2; }));
  asio::post(loop.executor(), [&] { signal.emit(asio::cancellation_type::terminal); });
  EXPECT_EQ(by_slot.get_future().get(), errc::cancelled);
  EXPECT_EQ(c.idle_connections(), 0U);
  done.set_value();
}

TEST_F(ClientTest, AnEventLoopEndsWhenItsRequestsDo) {
  // Idle connections in the pool must not keep the caller's loop running.
  asio::io_context context;
  client c(context.get_executor());
  request what{.url = echoing.url()};
  auto answer = asio::co_spawn(context, c.send(std::move(what)), asio::use_future);
  context.run();
  EXPECT_EQ(answer.get().status, 200);
  EXPECT_EQ(c.idle_connections(), 1U);
}

TEST_F(ClientTest, PoolIsBounded) {
  client c(loop.executor(), {.max_idle = 2});
  std::vector<std::future<response>> answers;
  for (int i = 0; i < 8; ++i) {
    request what{.url = echoing.url()};
    answers.push_back(asio::co_spawn(loop.executor(), c.send(std::move(what)), asio::use_future));
  }
  for (auto& each : answers) EXPECT_EQ(each.get().status, 200);
  EXPECT_LE(c.idle_connections(), 2U);
}

}  // namespace
}  // namespace mizzen::http
