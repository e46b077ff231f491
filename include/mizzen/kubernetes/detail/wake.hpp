// Internal: lets coroutines wait for a condition that other threads make true.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

#include <functional>
#include <memory>
#include <string_view>

namespace mizzen::kubernetes::detail {

// A condition variable for coroutines. A handle; copies share. Thread safe.
class wake {
 public:
  explicit wake(boost::asio::any_io_executor executor);

  // Returns when ready() is true: asked now and after each notify(), from any thread of the
  // executor, so it takes whatever lock guards its state. Throws error(cancelled), with the
  // subject, when the coroutine is cancelled.
  boost::asio::awaitable<void> until(std::function<bool()> ready, std::string_view subject) const;

  // Asks all that wait. To be called after the state has changed, and after its lock was given up.
  void notify() const;

 private:
  struct state;
  std::shared_ptr<state> state_;
};

}  // namespace mizzen::kubernetes::detail
