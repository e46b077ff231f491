// Internal: timers that may be set and destroyed from any thread.
#pragma once

#include <mizzen/core/deadline.hpp>

#include <boost/asio/any_io_executor.hpp>

#include <chrono>
#include <functional>
#include <memory>

namespace mizzen::kubernetes::detail {

// Calls back at a time that can be moved; on the executor.
class alarm {
 public:
  alarm(boost::asio::any_io_executor executor, std::function<void()> ring);
  alarm(const alarm&) = delete;
  alarm& operator=(const alarm&) = delete;
  ~alarm();
  // Rings at that time, if that is earlier than what was set and has not rung. Thread safe.
  void set(std::chrono::steady_clock::time_point when);

 private:
  struct state;
  std::shared_ptr<state> state_;
};

// Calls back at a deadline unless it is destroyed first.
class deadline_alarm {
 public:
  deadline_alarm(const boost::asio::any_io_executor& executor, deadline at,
                 std::function<void()> ring);
  deadline_alarm(const deadline_alarm&) = delete;
  deadline_alarm& operator=(const deadline_alarm&) = delete;
  ~deadline_alarm();

 private:
  struct state;
  std::shared_ptr<state> state_;
};

}  // namespace mizzen::kubernetes::detail
