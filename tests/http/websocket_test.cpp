// Against Beast's WebSocket server, and against scripts for what a sound server never does.
#include "loopback.hpp"
#include "scripted.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/http/client.hpp>
#include <mizzen/http/server.hpp>

#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/websocket/stream.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/sha.h>

#include <atomic>
#include <future>
#include <map>
#include <optional>

namespace mizzen::http {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
using namespace std::chrono_literals;
using namespace std::string_literals;
using test::failure_of;
using test::raw_listener;
using test::raw_socket;
using test::scripted_server;
using testing::HasSubstr;
using beast_socket = beast::websocket::stream<asio::ip::tcp::socket>;

// Serves one connection, on a thread of its own.
class beast_server {
 public:
  explicit beast_server(std::function<void(beast_socket&)> serve)
      : acceptor_(context_, {asio::ip::address_v4::loopback(), 0}),
        thread_([this, serve = std::move(serve)] {
          beast_socket peer(acceptor_.accept());
          beast::flat_buffer buffer;
          beast::http::request<beast::http::string_body> asked;
          beast::http::read(peer.next_layer(), buffer, asked);
          peer.set_option(beast::websocket::stream_base::decorator(
              [&](beast::websocket::response_type& answer) {
                const std::string offered(asked["Sec-WebSocket-Protocol"]);
                if (offered.find("b.test") != std::string::npos) {
                  answer.set("Sec-WebSocket-Protocol", "b.test");
                }
              }));
          peer.accept(asked);
          try {
            serve(peer);
          } catch (const boost::system::system_error& e) {
            ended_ = e.code();
          }
        }) {}
  ~beast_server() { join(); }
  void join() {
    if (thread_.joinable()) thread_.join();
  }
  std::string url() const {
    return "ws://127.0.0.1:" + std::to_string(acceptor_.local_endpoint().port()) + "/chat";
  }
  // Valid after join().
  boost::system::error_code ended() const { return ended_; }

 private:
  asio::io_context context_;
  asio::ip::tcp::acceptor acceptor_;
  boost::system::error_code ended_;
  std::thread thread_;
};

void echo(beast_socket& peer) {
  for (;;) {
    beast::flat_buffer buffer;
    peer.read(buffer);
    peer.binary(peer.got_binary());
    peer.write(buffer.data());
  }
}

// Answers the handshake in a script.
std::string handshake_answer(const std::string& asked, const std::string& more = "") {
  const std::string name = "Sec-WebSocket-Key: ";
  const auto at = asked.find(name) + name.size();
  const std::string text =
      asked.substr(at, asked.find('\r', at) - at) + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  unsigned char digest[SHA_DIGEST_LENGTH];
  SHA1(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest);
  unsigned char accept[40];
  EVP_EncodeBlock(accept, digest, sizeof digest);
  return "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: keep-alive, "
         "Upgrade\r\nSec-WebSocket-Accept: " +
         std::string(reinterpret_cast<const char*>(accept)) + "\r\n" + more + "\r\n";
}

class WebsocketTest : public testing::Test {
 protected:
  websocket open(const std::string& url, websocket_options options = {}) {
    request what{.url = url};
    return loop.run(c.upgrade(std::move(what), std::move(options)));
  }
  // "text:..." or "binary:...", "closed" at the end.
  std::string read(websocket& from) {
    const std::optional<websocket_message> message = loop.run(from.read());
    if (!message) return "closed";
    return (message->kind == websocket_kind::text ? "text:" : "binary:") +
           std::string(message->data);
  }
  void write(websocket& to, websocket_kind kind, std::string_view first,
             std::string_view rest = {}) {
    asio::co_spawn(loop.executor(), to.write(kind, first, rest), asio::use_future).get();
  }
  void close(websocket& which, std::uint16_t code = 1000, std::string reason = {}) {
    asio::co_spawn(loop.executor(), which.close(code, std::move(reason)), asio::use_future).get();
  }

  test::event_loop loop;
  client c{loop.executor()};
};

TEST_F(WebsocketTest, EchoAndSubprotocol) {
  beast_server s(echo);
  websocket socket = open(s.url(), {.subprotocols = {"a.test", "b.test"}});
  EXPECT_EQ(socket.subprotocol(), "b.test");
  write(socket, websocket_kind::text, "hello ", "world");
  EXPECT_EQ(read(socket), "text:hello world");
  for (const std::size_t size : {0UL, 125UL, 126UL, 65'535UL, 65'536UL, 3'000'000UL}) {
    std::string text;
    for (std::size_t i = 0; i < size; ++i) text += static_cast<char>(i * 7);
    write(socket, websocket_kind::binary, text);
    EXPECT_EQ(read(socket), "binary:" + text);
  }
  EXPECT_EQ(socket.close_code(), 0);
  close(socket, 3001, "done");
  EXPECT_EQ(read(socket), "closed");
  EXPECT_EQ(socket.close_code(), 3001);
  EXPECT_EQ(read(socket), "closed");
  EXPECT_EQ(failure_of([&] { write(socket, websocket_kind::text, "x"); }).code(),
            errc::failed_precondition);
  close(socket);
  s.join();
  EXPECT_EQ(s.ended(), beast::websocket::error::closed);
}

TEST_F(WebsocketTest, PingsAndFragmentsOfThePeer) {
  std::promise<std::string> ponged;
  beast_server s([&](beast_socket& peer) {
    peer.control_callback([&](beast::websocket::frame_type kind, beast::string_view payload) {
      if (kind == beast::websocket::frame_type::pong) ponged.set_value(std::string(payload));
    });
    peer.ping("are you there");
    peer.write_some(false, asio::buffer("one "s));
    peer.write_some(false, asio::buffer("two "s));
    peer.write_some(true, asio::buffer("three"s));
    beast::flat_buffer buffer;
    peer.read(buffer);
    peer.close({static_cast<beast::websocket::close_code>(4000), "enough"});
  });
  websocket socket = open(s.url());
  EXPECT_EQ(socket.subprotocol(), "");
  EXPECT_EQ(read(socket), "text:one two three");
  write(socket, websocket_kind::text, "go on");
  EXPECT_EQ(ponged.get_future().get(), "are you there");
  EXPECT_EQ(read(socket), "closed");
  EXPECT_EQ(socket.close_code(), 4000);
  EXPECT_EQ(socket.close_reason(), "enough");
}

TEST_F(WebsocketTest, OneReadsWhileOthersWrite) {
  beast_server s(echo);
  websocket socket = open(s.url());
  constexpr int each = 200;
  const auto write_some = [](websocket& to, char mark) -> asio::awaitable<void> {
    const std::string text(5000, mark);
    for (int i = 0; i < each; ++i) co_await to.write(websocket_kind::binary, text);
  };
  std::vector<std::future<void>> writers;
  for (const char mark : {'a', 'b', 'c'}) {
    writers.push_back(asio::co_spawn(loop.executor(), write_some(socket, mark), asio::use_future));
  }
  std::map<char, int> count;
  for (int i = 0; i < 3 * each; ++i) {
    const std::string text = read(socket);
    ASSERT_EQ(text, "binary:" + std::string(5000, text.back()));
    ++count[text.back()];
  }
  for (auto& writer : writers) writer.get();
  EXPECT_EQ(count, (std::map<char, int>{{'a', each}, {'b', each}, {'c', each}}));
}

TEST_F(WebsocketTest, OwnPingsKeepAQuietConnection) {
  std::promise<void> enough;
  std::atomic<int> pings = 0;
  beast_server s([&](beast_socket& peer) {
    peer.control_callback([&](beast::websocket::frame_type kind, beast::string_view) {
      if (kind == beast::websocket::frame_type::ping && ++pings == 5) enough.set_value();
    });
    echo(peer);
  });
  websocket socket = open(s.url(), {.silence = 10s, .ping_interval = 5ms});
  auto pending = asio::co_spawn(loop.executor(), socket.read(), asio::use_future);
  enough.get_future().wait();
  close(socket);
  EXPECT_FALSE(pending.get());
}

TEST_F(WebsocketTest, RefusedWithTheWholeAnswer) {
  server s(loop.executor(), {}, [](request what) -> asio::awaitable<response> {
    response answer = make_response(what.url == "/forbidden" ? 403 : 400, "application/json",
                                    R"({"kind":"Status"})");
    answer.headers.add("X-Upgrade", std::string(what.headers.value("Upgrade")));
    co_return answer;
  });
  try {
    open(s.url() + "/forbidden");
    FAIL();
  } catch (const upgrade_refused& e) {
    EXPECT_EQ(e.code(), errc::permission_denied);
    EXPECT_EQ(e.answer().status, 403);
    EXPECT_EQ(e.answer().body, R"({"kind":"Status"})");
    EXPECT_EQ(e.answer().headers.value("X-Upgrade"), "websocket");
    EXPECT_THAT(e.what(), HasSubstr("GET " + s.url() + "/forbidden"));
  }
  EXPECT_EQ(failure_of([&] { open(s.url()); }).code(), errc::invalid_argument);
  EXPECT_EQ(c.idle_connections(), 1U);
  EXPECT_EQ(s.connections(), 1U);
  request post{.method = "POST", .url = s.url()};
  EXPECT_EQ(failure_of([&] { loop.run(c.upgrade(std::move(post))); }).code(),
            errc::invalid_argument);
}

TEST_F(WebsocketTest, HandshakesThatDoNotFit) {
  const auto code = [&](auto answer) {
    scripted_server s([&](raw_listener& listener) {
      raw_socket peer = listener.accept();
      peer.send(answer(peer.read_until("\r\n\r\n")));
      peer.read_all();
    });
    return failure_of([&] { open(s.url(), {.subprotocols = {"a"}}); }).code();
  };
  const auto with = [](const std::string& more) {
    return [more](const std::string& asked) { return handshake_answer(asked, more); };
  };
  EXPECT_EQ(code(with("Sec-WebSocket-Protocol: b\r\n")), errc::data_loss);
  EXPECT_EQ(code(with("Sec-WebSocket-Extensions: permessage-deflate\r\n")), errc::data_loss);
  EXPECT_EQ(
      code([](const std::string&) { return handshake_answer("Sec-WebSocket-Key: another\r\n"); }),
      errc::data_loss);
  EXPECT_EQ(code([](const std::string&) {
              return "HTTP/1.1 101 Switching Protocols\r\nUpgrade: SPDY/3.1\r\nConnection: "
                     "Upgrade\r\n\r\n"s;
            }),
            errc::data_loss);
}

TEST_F(WebsocketTest, WhatAPeerMayBreak) {
  const auto failure_with = [&](const std::string& bytes, websocket_options options = {}) {
    scripted_server s([&](raw_listener& listener) {
      raw_socket peer = listener.accept();
      peer.send(handshake_answer(peer.read_until("\r\n\r\n")) + bytes);
      peer.finish_sending();
      peer.read_all();
    });
    websocket socket = open(s.url(), std::move(options));
    const error e = failure_of([&] {
      while (read(socket) != "closed") continue;
    });
    EXPECT_EQ(failure_of([&] { read(socket); }).code(), e.code());
    EXPECT_EQ(failure_of([&] { write(socket, websocket_kind::text, "x"); }).code(), e.code());
    return e.code();
  };
  EXPECT_EQ(failure_with(""), errc::unavailable);
  EXPECT_EQ(failure_with("\x82\x05hel"), errc::unavailable);
  EXPECT_EQ(failure_with("\x82\x02hi\xff\x01"), errc::data_loss);
  EXPECT_EQ(failure_with("\x82\x05hello", {.max_message = 4}), errc::resource_exhausted);
}

TEST_F(WebsocketTest, SilenceDeadlineAndAbortFreeTheSocket) {
  std::atomic<int> gone = 0;
  scripted_server s([&](raw_listener& listener) {
    for (int i = 0; i < 5; ++i) {
      raw_socket peer = listener.accept();
      peer.send(handshake_answer(peer.read_until("\r\n\r\n")));
      peer.read_all();
      ++gone;
    }
  });
  websocket silent = open(s.url(), {.silence = 50ms});
  const error e = failure_of([&] { read(silent); });
  EXPECT_EQ(e.code(), errc::deadline_exceeded);
  EXPECT_THAT(e.what(), HasSubstr("silent for 50 ms"));
  websocket late = open(s.url(), {.cancel = {{}, deadline::after(500ms)}});
  EXPECT_EQ(failure_of([&] { read(late); }).code(), errc::deadline_exceeded);
  std::stop_source source;
  websocket stopped = open(s.url(), {.cancel = {source.get_token(), {}}});
  auto pending = asio::co_spawn(loop.executor(), stopped.read(), asio::use_future);
  source.request_stop();
  EXPECT_EQ(failure_of([&] { pending.get(); }).code(), errc::cancelled);
  websocket aborted = open(s.url());
  auto waiting = asio::co_spawn(loop.executor(), aborted.read(), asio::use_future);
  aborted.abort();
  EXPECT_EQ(failure_of([&] { waiting.get(); }).code(), errc::cancelled);
  {
    const websocket dropped = open(s.url());
  }
  EXPECT_TRUE(test::eventually([&] { return gone == 5; }));
}

TEST_F(WebsocketTest, ACloseThatNobodyAnswersInFrames) {
  scripted_server s([&](raw_listener& listener) {
    raw_socket peer = listener.accept();
    peer.send(handshake_answer(peer.read_until("\r\n\r\n")));
    peer.forget();
    peer.read_at_least(6);
  });
  websocket socket = open(s.url());
  close(socket);
  EXPECT_EQ(read(socket), "closed");
  EXPECT_EQ(socket.close_code(), 0);
}

// A message and the end in one piece, while the peer leaves a large write of ours where it is.
TEST_F(WebsocketTest, APeerEndsThatHasStoppedReading) {
  std::promise<void> done;
  scripted_server s([&](raw_listener& listener) {
    raw_socket peer = listener.accept();
    peer.send(handshake_answer(peer.read_until("\r\n\r\n")));
    peer.read_at_least(1);  // the write has begun
    peer.send("\x82\x04last\x88\x02\x03\xe8"s);
    done.get_future().wait();
  });
  websocket socket = open(s.url());
  const std::string large(std::size_t{64} << 20, 'x');
  auto writing = asio::co_spawn(loop.executor(), socket.write(websocket_kind::binary, large),
                                asio::use_future);
  EXPECT_EQ(read(socket), "binary:last");
  EXPECT_EQ(read(socket), "closed");
  EXPECT_EQ(socket.close_code(), 1000);
  EXPECT_NE(failure_of([&] { writing.get(); }).code(), errc::internal);
  done.set_value();
}

TEST_F(WebsocketTest, WhatCannotBeSaidAtTheEnd) {
  beast_server s(echo);
  websocket socket = open(s.url());
  for (const int code : {0, 999, 1005, 1006, 1015, 5000}) {
    EXPECT_EQ(failure_of([&] { close(socket, static_cast<std::uint16_t>(code)); }).code(),
              errc::invalid_argument)
        << code;
  }
  EXPECT_EQ(failure_of([&] { close(socket, 1000, std::string(124, 'x')); }).code(),
            errc::invalid_argument);
  EXPECT_EQ(failure_of([&] { close(socket, 1000, "\xff"); }).code(), errc::invalid_argument);
  write(socket, websocket_kind::text, "still open");
  EXPECT_EQ(read(socket), "text:still open");
}

}  // namespace
}  // namespace mizzen::http
