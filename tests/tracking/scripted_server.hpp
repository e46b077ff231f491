// A server that answers each request with the next of the raw texts it was given.
#pragma once

#include <arpa/inet.h>
#include <sys/socket.h>

#include <cstdlib>
#include <deque>
#include <mutex>
#include <poll.h>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

namespace mizzen::tracking {

// A whole answer that closes the connection.
inline std::string http_answer(int status, std::string_view body, std::string_view headers = {},
                               std::string_view type = "application/json") {
  return "HTTP/1.1 " + std::to_string(status) + " X\r\nContent-Type: " + std::string(type) +
         "\r\nContent-Length: " + std::to_string(body.size()) + "\r\nConnection: close\r\n" +
         std::string(headers) + "\r\n" + std::string(body);
}

// One connection per request. An empty text closes the connection without an answer; "silence"
// keeps it open without one. When none is left, the last one is repeated.
class scripted_server {
 public:
  static constexpr std::string_view silence = "silence";

  explicit scripted_server(std::vector<std::string> answers)
      : answers_(answers.begin(), answers.end()) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* plain = reinterpret_cast<sockaddr*>(&address);
    if (listener_ < 0 || ::bind(listener_, plain, size) != 0 || ::listen(listener_, 16) != 0 ||
        ::getsockname(listener_, plain, &size) != 0 || ::pipe(wake_) != 0) {
      throw std::runtime_error("no loopback socket");
    }
    url_ = "http://127.0.0.1:" + std::to_string(ntohs(address.sin_port));
    worker_ = std::thread([this] { serve(); });
  }
  ~scripted_server() {
    ::close(wake_[1]);
    worker_.join();
    ::close(wake_[0]);
    ::close(listener_);
  }
  scripted_server(const scripted_server&) = delete;
  scripted_server& operator=(const scripted_server&) = delete;

  const std::string& url() const noexcept { return url_; }

  // What comes next, instead of what is left.
  void answer(std::vector<std::string> answers) {
    const std::scoped_lock lock(mutex_);
    answers_.assign(answers.begin(), answers.end());
  }

  // Head and body of each request so far.
  std::vector<std::string> requests() const {
    const std::scoped_lock lock(mutex_);
    return requests_;
  }

 private:
  // False when the server is to end.
  bool readable(int socket) const {
    pollfd both[2] = {{socket, POLLIN, 0}, {wake_[0], POLLIN | POLLHUP, 0}};
    while (::poll(both, 2, -1) < 0) {
    }
    return both[1].revents == 0;
  }

  void serve() {
    std::vector<int> silent;
    while (readable(listener_)) {
      const int peer = ::accept(listener_, nullptr, nullptr);
      if (peer < 0) continue;
      if (read_request(peer)) {
        const std::string answer = next();
        if (answer == silence) {
          silent.push_back(peer);
          continue;
        }
        send_all(peer, answer);
      }
      ::close(peer);
    }
    for (const int peer : silent) ::close(peer);
  }

  bool read_request(int peer) {
    std::string text;
    std::size_t wanted = std::string::npos;
    while (text.size() < wanted) {
      if (!readable(peer)) return false;
      char piece[65536];
      const ssize_t got = ::recv(peer, piece, sizeof piece, 0);
      if (got <= 0) return false;
      text.append(piece, static_cast<std::size_t>(got));
      const auto head = text.find("\r\n\r\n");
      if (wanted == std::string::npos && head != std::string::npos) {
        const auto length = text.find("Content-Length: ");
        wanted = head + 4 + (length < head ? std::strtoul(&text[length + 16], nullptr, 10) : 0);
      }
    }
    const std::scoped_lock lock(mutex_);
    requests_.push_back(text);
    return true;
  }

  std::string next() {
    const std::scoped_lock lock(mutex_);
    std::string answer = answers_.front();
    if (answers_.size() > 1) answers_.pop_front();
    return answer;
  }

  static void send_all(int peer, std::string_view text) {
    while (!text.empty()) {
      const ssize_t sent = ::send(peer, text.data(), text.size(), MSG_NOSIGNAL);
      if (sent <= 0) return;
      text.remove_prefix(static_cast<std::size_t>(sent));
    }
    // A reset would take the answer with it.
    ::shutdown(peer, SHUT_WR);
  }

  int listener_ = -1;
  int wake_[2] = {-1, -1};
  std::string url_;
  mutable std::mutex mutex_;
  std::deque<std::string> answers_;
  std::vector<std::string> requests_;
  std::thread worker_;
};

}  // namespace mizzen::tracking
