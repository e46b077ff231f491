// A server whose every byte is the test's, on a thread of its own.
#pragma once

#include "loopback.hpp"

#include <mizzen/core/error.hpp>

#include <functional>
#include <string>
#include <thread>
#include <utility>

namespace mizzen::http::test {

class scripted_server {
 public:
  explicit scripted_server(std::function<void(raw_listener&)> script)
      : thread_([this, script = std::move(script)] { script(listener_); }) {}
  ~scripted_server() { thread_.join(); }
  std::string url() const { return listener_.url(); }
  std::uint16_t port() const { return listener_.port(); }

 private:
  raw_listener listener_;
  std::thread thread_;
};

template <typename Call>
error failure_of(Call call) {
  try {
    call();
  } catch (const error& e) {
    return e;
  }
  return error(errc::internal, "test", "nothing was thrown");
}

}  // namespace mizzen::http::test
