#include "loopback.hpp"
#include "scripted.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/http/client.hpp>
#include <mizzen/http/server.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace mizzen::http {
namespace {

namespace asio = boost::asio;
namespace fs = std::filesystem;
using namespace std::chrono_literals;
using test::failure_of;
using test::raw_listener;
using test::raw_socket;
using test::scripted_server;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

// Bytes without end, or as many as wanted, that remembers how it was asked.
class counted_source : public body_source {
 public:
  counted_source(std::uint64_t bytes, bool announced) : bytes_(bytes), announced_(announced) {}
  std::optional<std::uint64_t> size() const override {
    return announced_ ? std::optional(bytes_) : std::nullopt;
  }
  void rewind() override {
    ++rewinds;
    done = 0;
  }
  std::size_t read(std::span<char> room) override {
    largest_room = std::max(largest_room, room.size());
    const auto count =
        static_cast<std::size_t>(std::min<std::uint64_t>(room.size(), bytes_ - done));
    for (std::size_t i = 0; i < count; ++i) room[i] = static_cast<char>('a' + (done + i) % 26);
    done += count;
    return count;
  }

  std::uint64_t done = 0;
  std::size_t largest_room = 0;
  int rewinds = 0;

 private:
  std::uint64_t bytes_;
  bool announced_;
};

class memory_sink final : public resumable_sink {
 public:
  std::string text;

 private:
  void restart(const response&) override { text.clear(); }
  void append(std::string_view piece) override { text += piece; }
};

class TransferTest : public testing::Test {
 protected:
  TransferTest() {
    std::string pattern = (fs::temp_directory_path() / "mizzen-transfer-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no temporary folder");
    folder = pattern;
  }
  ~TransferTest() override { fs::remove_all(folder); }

  response put(const std::string& url, send_options options) {
    request what{.method = "PUT", .url = url};
    return loop.run(c.send(std::move(what), std::move(options)));
  }
  response download(const std::string& url, send_options options = {}) {
    return loop.run(c.download({.url = url}, file, std::move(options), quickly));
  }
  fs::path write(const std::string& name, std::string_view text) {
    std::ofstream(folder / name, std::ios::binary) << text;
    return folder / name;
  }
  static std::string read(const fs::path& from) {
    std::ifstream in(from, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  std::vector<std::string> names() const {
    std::vector<std::string> found;
    for (const auto& each : fs::directory_iterator(folder)) {
      found.push_back(each.path().filename().string());
    }
    std::ranges::sort(found);
    return found;
  }

  test::event_loop loop;
  client c{loop.executor(), {.timeout = 0ms}};
  fs::path folder;
  fs::path file = fs::path(folder / "got");
  retry_policy quickly{.max_attempts = 4, .first_wait = 1ms, .max_wait = 1ms};
};

asio::awaitable<response> say_what_came(request what) {
  co_return make_response(200, "text/plain", what.body);
}

TEST_F(TransferTest, APartOfAFile) {
  server s(loop.executor(), {}, say_what_came);
  const fs::path local = write("sent", "0123456789");
  EXPECT_EQ(put(s.url(), {.source = file_body(local)}).body, "0123456789");
  EXPECT_EQ(put(s.url(), {.source = file_body(local, 4)}).body, "456789");
  EXPECT_EQ(put(s.url(), {.source = file_body(local, 4, 2)}).body, "45");
  EXPECT_EQ(put(s.url(), {.source = file_body(local, 10)}).body, "");
  EXPECT_EQ(c.idle_connections(), 1U);
}

TEST_F(TransferTest, AFileThatIsNone) {
  EXPECT_EQ(failure_of([&] { file_body(folder / "none"); }).code(), errc::not_found);
  EXPECT_EQ(failure_of([&] { file_body(folder); }).code(), errc::failed_precondition);
  const fs::path local = write("sent", "0123456789");
  EXPECT_EQ(failure_of([&] { file_body(local, 11); }).code(), errc::out_of_range);
  EXPECT_EQ(failure_of([&] { file_body(local, 5, 6); }).code(), errc::out_of_range);
  EXPECT_EQ(failure_of([&] { file_body(local, 5, ~std::uint64_t{0}); }).code(), errc::out_of_range);
}

TEST_F(TransferTest, AFileThatBecameShorter) {
  server s(loop.executor(), {}, say_what_came);
  const auto body = file_body(write("sent", "0123456789"));
  fs::resize_file(folder / "sent", 3);
  const error failure = failure_of([&] { put(s.url(), {.source = body}); });
  EXPECT_EQ(failure.code(), errc::failed_precondition);
  EXPECT_THAT(failure.message(), HasSubstr("7 bytes before"));
  EXPECT_EQ(c.idle_connections(), 0U);
}

TEST_F(TransferTest, ManyBytesInSmallPieces) {
  constexpr std::uint64_t size = std::uint64_t{96} << 20;
  std::uint64_t arrived = 0;
  scripted_server s([&](raw_listener& listener) {
    raw_socket peer = listener.accept();
    const std::string head = peer.read_until("\r\n\r\n");
    EXPECT_THAT(head, HasSubstr("Content-Length: " + std::to_string(size) + "\r\n"));
    arrived = head.size() - head.find("\r\n\r\n") - 4;
    while (arrived < size) {
      peer.forget();
      arrived += peer.read_at_least(1).size();
    }
    peer.send("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n");
  });
  const auto source = std::make_shared<counted_source>(size, true);
  std::uint64_t told = 0;
  const response answer = put(s.url(), {.source = source, .progress = [&](const auto& progress) {
                                          EXPECT_GT(progress.sent, told);
                                          told = progress.sent;
                                        }});
  EXPECT_EQ(answer.status, 201);
  EXPECT_EQ(told, size);
  EXPECT_EQ(source->rewinds, 1);
  EXPECT_LE(source->largest_room, std::size_t{1} << 20);
}

TEST_F(TransferTest, OfUnknownSizeInChunks) {
  server s(loop.executor(), {}, say_what_came);
  for (const std::size_t size : std::initializer_list<std::size_t>{0, 1, 1'000'000}) {
    const auto source = std::make_shared<counted_source>(size, false);
    const std::string body = put(s.url(), {.source = source}).body;
    ASSERT_EQ(body.size(), size);
    for (std::size_t i = 0; i < size; i += 997) ASSERT_EQ(body[i], static_cast<char>('a' + i % 26));
  }
  EXPECT_EQ(c.idle_connections(), 1U);
}

TEST_F(TransferTest, EitherABodyOrASource) {
  request what{.method = "PUT", .url = "http://127.0.0.1:1/", .body = "x"};
  const auto source = std::make_shared<counted_source>(1, true);
  const error failure = failure_of([&] { loop.run(c.send(std::move(what), {.source = source})); });
  EXPECT_EQ(failure.code(), errc::invalid_argument);
}

TEST_F(TransferTest, WhatTheSourceThrowsEndsTheRequest) {
  struct broken_source final : counted_source {
    broken_source() : counted_source(10, true) {}
    std::size_t read(std::span<char>) override { throw std::out_of_range("broken"); }
  };
  server s(loop.executor(), {}, say_what_came);
  EXPECT_THROW(put(s.url(), {.source = std::make_shared<broken_source>()}), std::out_of_range);
  EXPECT_EQ(c.idle_connections(), 0U);
  EXPECT_EQ(put(s.url(), {.source = std::make_shared<counted_source>(3, true)}).body, "abc");
}

TEST_F(TransferTest, AServerThatTakesNothing) {
  std::atomic<bool> over = false;
  scripted_server s([&](raw_listener& listener) {
    raw_socket peer = listener.accept();
    peer.read_until("\r\n\r\n");
    EXPECT_TRUE(test::eventually([&] { return over.load(); }));
  });
  const auto source = std::make_shared<counted_source>(std::uint64_t{1} << 40, true);
  const error failure = failure_of([&] { put(s.url(), {.silence = 200ms, .source = source}); });
  over = true;
  EXPECT_EQ(failure.code(), errc::deadline_exceeded);
  EXPECT_THAT(failure.message(), HasSubstr("while sending"));
}

TEST_F(TransferTest, AnAnswerBeforeEverythingWasSent) {
  scripted_server s([](raw_listener& listener) {
    raw_socket peer = listener.accept();
    peer.read_until("\r\n\r\n");
    peer.send("HTTP/1.1 413 X\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig");
  });
  const auto source = std::make_shared<counted_source>(std::uint64_t{1} << 40, true);
  const response answer = put(s.url(), {.source = source});
  EXPECT_EQ(answer.status, 413);
  EXPECT_EQ(answer.body, "big");
}

TEST_F(TransferTest, CancelledWhileItIsSent) {
  std::atomic<bool> over = false;
  scripted_server s([&](raw_listener& listener) {
    raw_socket peer = listener.accept();
    EXPECT_TRUE(test::eventually([&] { return over.load(); }));
  });
  std::stop_source stop;
  send_options options{.source = std::make_shared<counted_source>(std::uint64_t{1} << 40, true)};
  options.cancel.token = stop.get_token();
  options.progress = [&](const transfer_progress&) { stop.request_stop(); };
  const error failure = failure_of([&] { put(s.url(), options); });
  over = true;
  EXPECT_EQ(failure.code(), errc::cancelled);
}

TEST_F(TransferTest, ASinkGetsWhatIsWanted) {
  server s(loop.executor(), {}, [](request what) -> asio::awaitable<response> {
    co_return make_response(what.url == "/there" ? 200 : 404, "text/plain", std::string(1000, 'x'));
  });
  const auto sink = std::make_shared<memory_sink>();
  std::uint64_t told = 0;
  send_options options{.sink = sink};
  options.progress = [&](const transfer_progress& progress) { told = progress.received; };
  client small(loop.executor(), {.max_body = 1000});
  const response good = loop.run(small.send({.url = s.url() + "/there"}, options));
  EXPECT_EQ(good.body, "");
  EXPECT_EQ(sink->text, std::string(1000, 'x'));
  EXPECT_EQ(sink->received(), 1000U);
  EXPECT_EQ(told, 1000U);
  const response bad = loop.run(small.send({.url = s.url() + "/none"}, options));
  EXPECT_EQ(bad.body.size(), 1000U);
  EXPECT_EQ(sink->received(), 1000U);
}

// --- downloads -----------------------------------------------------------------------------------

TEST_F(TransferTest, DownloadsAFile) {
  server s(loop.executor(), {}, [](request) -> asio::awaitable<response> {
    co_return make_response(200, "text/plain", "new");
  });
  file = folder / "a" / "b" / "got";
  EXPECT_EQ(download(s.url()).status, 200);
  EXPECT_EQ(read(file), "new");
  blocking_client blocking({.timeout = 0ms});
  EXPECT_EQ(blocking.download({.url = s.url()}, folder / "other").status, 200);
  EXPECT_EQ(read(folder / "other"), "new");
}

TEST_F(TransferTest, ARefusalLeavesTheFileAsItWas) {
  server s(loop.executor(), {}, [](request) -> asio::awaitable<response> {
    co_return make_response(404, "text/plain", "none here");
  });
  file = write("got", "old");
  const response answer = download(s.url());
  EXPECT_EQ(answer.status, 404);
  EXPECT_EQ(answer.body, "none here");
  EXPECT_EQ(read(file), "old");
  EXPECT_THAT(names(), ElementsAre("got"));
}

TEST_F(TransferTest, GoesOnWhereItBrokeOff) {
  std::vector<std::string> asked;
  scripted_server s([&](raw_listener& listener) {
    const auto answer = [&](std::string_view text) {
      raw_socket peer = listener.accept();
      asked.push_back(peer.read_until("\r\n\r\n"));
      peer.send(text);
    };
    answer("HTTP/1.1 200 OK\r\nETag: \"a\"\r\nContent-Length: 10\r\n\r\n0123");
    answer("HTTP/1.1 503 X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    answer(
        "HTTP/1.1 206 OK\r\nETag: \"a\"\r\nContent-Range: bytes 4-9/10\r\nContent-Length: 6\r\n\r\n"
        "456");
    answer("HTTP/1.1 206 OK\r\nContent-Range: bytes 7-9/10\r\nContent-Length: 3\r\n\r\n789");
  });
  file = folder / "got";
  EXPECT_EQ(download(s.url()).status, 206);
  EXPECT_EQ(read(file), "0123456789");
  EXPECT_THAT(names(), ElementsAre("got"));
  EXPECT_THAT(asked[0], Not(HasSubstr("Range:")));
  EXPECT_THAT(asked[1], HasSubstr("Range: bytes=4-\r\nIf-Range: \"a\"\r\n"));
  EXPECT_THAT(asked[2], HasSubstr("Range: bytes=4-\r\nIf-Range: \"a\"\r\n"));
  EXPECT_THAT(asked[3], HasSubstr("Range: bytes=7-\r\nIf-Range: \"a\"\r\n"));
}

TEST_F(TransferTest, BeginsAnewWhereItMust) {
  // The thing has changed; there is no strong validator; the rest is refused.
  const std::vector<std::vector<std::string>> cases = {
      {"HTTP/1.1 200 OK\r\nETag: \"a\"\r\nContent-Length: 5\r\n\r\nold",
       "HTTP/1.1 200 OK\r\nETag: \"b\"\r\nContent-Length: 3\r\n\r\nnew"},
      {"HTTP/1.1 200 OK\r\nETag: W/\"a\"\r\nContent-Length: 5\r\n\r\nold",
       "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnew"},
      {"HTTP/1.1 200 OK\r\nETag: \"a\"\r\nContent-Length: 5\r\n\r\nold",
       "HTTP/1.1 416 X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
       "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnew"},
  };
  file = folder / "got";
  for (const auto& answers : cases) {
    std::string last;
    scripted_server s([&](raw_listener& listener) {
      for (const std::string& each : answers) {
        raw_socket peer = listener.accept();
        last = peer.read_until("\r\n\r\n");
        peer.send(each);
      }
    });
    EXPECT_EQ(download(s.url()).status, 200);
    EXPECT_EQ(read(file), "new");
    EXPECT_EQ(last.find("Range:") == std::string::npos, &answers != &cases[0]);
    c.close_idle();
  }
}

TEST_F(TransferTest, RefusesAPartThatItDidNotAskFor) {
  for (const char* range : {"bytes 0-9/10", "bytes 5-9/10", "bytes 4-8/10", "bytes 4-3/10",
                            "bytes 4-9/9", "bytes 4-99999999999999999999/*", "4-9/10", ""}) {
    scripted_server s([&](raw_listener& listener) {
      raw_socket first = listener.accept();
      first.read_until("\r\n\r\n");
      first.send("HTTP/1.1 200 OK\r\nETag: \"a\"\r\nContent-Length: 10\r\n\r\n0123");
      first.close();
      raw_socket second = listener.accept();
      second.read_until("\r\n\r\n");
      second.send("HTTP/1.1 206 OK\r\nContent-Length: 6\r\nContent-Range: " + std::string(range) +
                  "\r\n\r\n456789");
    });
    file = folder / "got";
    EXPECT_EQ(failure_of([&] { download(s.url()); }).code(), errc::data_loss) << range;
    EXPECT_THAT(names(), ElementsAre());
  }
}

TEST_F(TransferTest, GivesUpAndTidiesUp) {
  std::atomic<int> asked = 0;
  scripted_server s([&](raw_listener& listener) {
    for (int i = 0; i < quickly.max_attempts; ++i) {
      raw_socket peer = listener.accept();
      peer.read_until("\r\n\r\n");
      ++asked;
      peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123");
    }
  });
  file = folder / "got";
  EXPECT_EQ(failure_of([&] { download(s.url()); }).code(), errc::unavailable);
  EXPECT_EQ(asked, quickly.max_attempts);
  EXPECT_THAT(names(), ElementsAre());
}

TEST_F(TransferTest, CancelledWhileItWaitsForAnotherAttempt) {
  std::stop_source stop;
  scripted_server s([&](raw_listener& listener) {
    raw_socket peer = listener.accept();
    peer.read_until("\r\n\r\n");
    peer.send("HTTP/1.1 503 X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    peer.close();
    stop.request_stop();
  });
  quickly.first_wait = quickly.max_wait = 1h;
  send_options options;
  options.cancel.token = stop.get_token();
  file = folder / "got";
  EXPECT_EQ(failure_of([&] { download(s.url(), options); }).code(), errc::cancelled);
  EXPECT_THAT(names(), ElementsAre());
}

TEST_F(TransferTest, WhereNothingCanBeWritten) {
  write("in-the-way", "");
  file = folder / "in-the-way" / "got";
  EXPECT_EQ(failure_of([&] { download("http://127.0.0.1:1/"); }).code(), errc::failed_precondition);
}

}  // namespace
}  // namespace mizzen::http
