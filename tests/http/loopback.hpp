// What tests of clients and servers share: an event loop on threads, and raw sockets on loopback.
#pragma once

#include <mizzen/http/server.hpp>

#include <arpa/inet.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>
#include <netinet/in.h>
#include <sys/socket.h>

#include <chrono>
#include <cstdint>
#include <poll.h>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

namespace mizzen::http::test {

// An io_context that runs until the end of the test.
class event_loop {
 public:
  explicit event_loop(int threads = 1) : work_(context_.get_executor()) {
    for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { context_.run(); });
  }
  ~event_loop() {
    work_.reset();
    context_.stop();
    for (std::thread& each : threads_) each.join();
  }
  boost::asio::io_context::executor_type executor() { return context_.get_executor(); }

  // Runs a coroutine to its end and gives its result.
  template <typename T>
  T run(boost::asio::awaitable<T> what) {
    return boost::asio::co_spawn(context_, std::move(what), boost::asio::use_future).get();
  }

 private:
  boost::asio::io_context context_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
  std::vector<std::thread> threads_;
};

// A plain blocking socket. Reads give up after 30 s, so that a hang is a failure of its test.
class raw_socket {
 public:
  explicit raw_socket(int fd) : fd_(fd) {}
  static raw_socket connect(std::uint16_t port) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) {
      ::close(fd);
      throw std::runtime_error("cannot connect to port " + std::to_string(port));
    }
    return raw_socket(fd);
  }
  raw_socket(raw_socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  raw_socket& operator=(raw_socket&&) = delete;
  ~raw_socket() { close(); }

  void close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }
  // Closes so that the peer sees a reset.
  void reset() {
    const linger now{1, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close();
  }
  void finish_sending() { ::shutdown(fd_, SHUT_WR); }

  bool send(std::string_view text) {
    while (!text.empty()) {
      const auto sent = ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      text.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
  }

  // Reads until the text holds `until`, or to the end of the connection.
  std::string read_until(std::string_view until) {
    while (until.empty() || received_.find(until) == std::string::npos) {
      if (!read_more()) break;
    }
    return received_;
  }
  std::string read_all() { return read_until(""); }

  // The next `count` bytes with what came before them.
  std::string read_at_least(std::size_t count) {
    while (received_.size() < count && read_more()) continue;
    return received_;
  }
  void forget() { received_.clear(); }

 private:
  bool read_more() {
    pollfd descriptor{fd_, POLLIN, 0};
    if (::poll(&descriptor, 1, 30'000) != 1) throw std::runtime_error("nothing to read for 30 s");
    char buffer[4096];
    const auto count = ::recv(fd_, buffer, sizeof buffer, 0);
    if (count <= 0) return false;
    received_.append(buffer, static_cast<std::size_t>(count));
    return true;
  }

  int fd_;
  std::string received_;
};

// Listens on a free port of loopback and hands out what connects: a server whose every byte is the
// test's.
class raw_listener {
 public:
  raw_listener() : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    if (::bind(fd_, reinterpret_cast<const sockaddr*>(&at), size) != 0 || ::listen(fd_, 16) != 0 ||
        ::getsockname(fd_, reinterpret_cast<sockaddr*>(&at), &size) != 0) {
      throw std::runtime_error("cannot listen");
    }
    port_ = ntohs(at.sin_port);
  }
  ~raw_listener() { ::close(fd_); }
  raw_listener(const raw_listener&) = delete;
  raw_listener& operator=(const raw_listener&) = delete;

  std::uint16_t port() const { return port_; }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }
  raw_socket accept() {
    pollfd descriptor{fd_, POLLIN, 0};
    if (::poll(&descriptor, 1, 30'000) != 1) throw std::runtime_error("nobody connected for 30 s");
    return raw_socket(::accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC));
  }

 private:
  int fd_;
  std::uint16_t port_ = 0;
};

// Waits for a condition that another thread brings about; false after 30 s.
template <typename Condition>
bool eventually(Condition condition) {
  for (int i = 0; i < 6000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return false;
}

}  // namespace mizzen::http::test
