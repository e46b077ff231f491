// A point in time after which an operation gives up.
#pragma once

#include <chrono>

namespace mizzen {

// A deadline on the steady clock, so that changes of the wall clock do not move it. A value; cheap
// to copy. Passing a deadline down (rather than a timeout) keeps the total bounded over retries.
class deadline {
 public:
  using clock = std::chrono::steady_clock;

  // Never expires.
  constexpr deadline() noexcept = default;

  // Expires at the given time.
  constexpr explicit deadline(clock::time_point at) noexcept : at_(at) {}

  // Never expires; reads better at a call site than deadline{}.
  static constexpr deadline never() noexcept { return {}; }

  // Expires after the given duration from now; saturates to never() instead of overflowing.
  static deadline after(std::chrono::nanoseconds duration) noexcept;

  constexpr bool is_never() const noexcept { return at_ == clock::time_point::max(); }
  constexpr clock::time_point time_point() const noexcept { return at_; }
  bool expired() const noexcept;

  // Time left, zero when expired, nanoseconds::max() for never().
  std::chrono::nanoseconds remaining() const noexcept;

  // The earlier one wins.
  friend constexpr deadline earlier(deadline a, deadline b) noexcept {
    return a.at_ < b.at_ ? a : b;
  }
  friend constexpr auto operator<=>(deadline, deadline) noexcept = default;

 private:
  clock::time_point at_ = clock::time_point::max();
};

}  // namespace mizzen
