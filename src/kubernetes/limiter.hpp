// How many calls, and how fast: a token bucket without a clock, and a queue of turns.
#pragma once

#include <mizzen/core/cancellation.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>

namespace mizzen::kubernetes::detail {

// Waits on the executor. Throws error(cancelled) or error(deadline_exceeded) naming the subject.
// Asio's cancellation ends it with error(cancelled) as well.
boost::asio::awaitable<void> sleep(boost::asio::any_io_executor executor,
                                   std::chrono::nanoseconds time, cancellation cancel,
                                   std::string subject);

// `rate` tokens per second on average, `burst` at once. Not thread safe.
class token_bucket {
 public:
  using time_point = std::chrono::steady_clock::time_point;

  // rate: above zero. burst: at least 1.
  token_bucket(double rate, int burst) : rate_(rate), burst_(burst), tokens_(burst) {}

  // Takes a token, one of the future if need be; how long until that one is there.
  std::chrono::nanoseconds take(time_point now);

  // Gives back a token that was taken and not used.
  void give_back() { tokens_ += 1; }

 private:
  double rate_;
  double burst_;
  double tokens_;
  time_point last_{};
};

// Lets calls in one after the other, in their order. Thread safe.
class limiter : public std::enable_shared_from_this<limiter> {
 public:
  // A call that was let in, until it is destroyed.
  class turn {
   public:
    turn() = default;
    explicit turn(std::shared_ptr<limiter> of) : of_(std::move(of)) {}
    turn(turn&&) noexcept = default;
    turn& operator=(turn&&) noexcept = delete;
    ~turn() {
      if (of_) of_->leave();
    }

   private:
    std::shared_ptr<limiter> of_;
  };

  // max_in_flight, qps: zero for no limit.
  limiter(boost::asio::any_io_executor executor, std::size_t max_in_flight, double qps, int burst);
  ~limiter();

  // Throws error(cancelled) or error(deadline_exceeded) naming the subject; the latter at once
  // where the deadline comes before the token.
  static boost::asio::awaitable<turn> enter(std::shared_ptr<limiter> self, cancellation cancel,
                                            std::string subject);

 private:
  void leave() noexcept;

  struct impl;
  std::shared_ptr<impl> impl_;
};

}  // namespace mizzen::kubernetes::detail
