// Bounds what a connection does in time.
#pragma once

#include "http/transport.hpp"

#include <mizzen/core/deadline.hpp>

#include <boost/asio/steady_timer.hpp>

#include <memory>
#include <utility>

namespace mizzen::http::detail {

// Closes the connection when a deadline passes. Lives in its Owner, whose method close() it calls;
// everything happens on the owner's strand. Moving the deadline further away costs no timer
// operation: the pending wait looks at it when it ends.
template <typename Owner>
class watchdog {
 public:
  explicit watchdog(const asio::any_io_executor& executor) : timer_(executor) {}

  // From now on the deadline is this one.
  void watch(const std::shared_ptr<Owner>& owner, deadline until) {
    until_ = until;
    if (until_ < pending_) wait(owner);
  }

  // No deadline, and nothing left pending on the executor.
  void rest() {
    until_ = deadline::never();
    pending_ = deadline::never();
    timer_.cancel();
  }

  // True once it has closed the connection.
  bool barked() const noexcept { return barked_; }

 private:
  void wait(const std::shared_ptr<Owner>& owner) {
    pending_ = until_;
    timer_.expires_at(pending_.time_point());
    timer_.async_wait([this, owner](const error_code& ec) {
      if (ec) return;
      pending_ = deadline::never();
      if (until_.is_never()) return;
      if (!until_.expired()) return wait(owner);
      barked_ = true;
      owner->close();
    });
  }

  asio::steady_timer timer_;
  deadline until_;
  deadline pending_;
  bool barked_ = false;
};

}  // namespace mizzen::http::detail
