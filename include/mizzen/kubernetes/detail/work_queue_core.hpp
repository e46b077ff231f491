// Internal: the rules of work_queue, without a clock or threads.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <deque>
#include <functional>
#include <optional>
#include <queue>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

namespace mizzen::kubernetes {

// How long work_queue::add_rate_limited waits: the longer of the item's own delay, doubled with
// each failure, and the wait for a token of the whole queue's bucket.
struct rate_limit {
  std::chrono::milliseconds first_delay{5};
  std::chrono::milliseconds last_delay{1'000'000};
  double per_second = 10;  // refill of the bucket; 0: no bucket
  double burst = 100;      // its size
};

namespace detail {

// Tokens that flow in at a rate; taking one that is not there yet says how long to wait for it.
class token_bucket {
 public:
  using time_point = std::chrono::steady_clock::time_point;

  explicit token_bucket(const rate_limit& limit)
      : per_second_(limit.per_second), burst_(limit.burst), tokens_(limit.burst) {}

  std::chrono::nanoseconds take(time_point now) {
    if (per_second_ <= 0) return {};
    if (last_ && now > *last_) {
      tokens_ = std::min(
          burst_, tokens_ + per_second_ * std::chrono::duration<double>(now - *last_).count());
    }
    if (!last_ || now > *last_) last_ = now;
    tokens_ -= 1;
    if (tokens_ >= 0) return {};
    return std::chrono::nanoseconds(static_cast<std::int64_t>(-tokens_ / per_second_ * 1e9));
  }

 private:
  double per_second_, burst_, tokens_;
  std::optional<time_point> last_;
};

// The delay of the n-th failure (from 0): first doubled n times, at most last.
inline std::chrono::nanoseconds delay_of_failure(const rate_limit& limit, std::size_t n) {
  const double delay = std::ldexp(static_cast<double>(limit.first_delay.count()),
                                  static_cast<int>(std::min<std::size_t>(n, 1000)));
  return delay >= static_cast<double>(limit.last_delay.count())
             ? limit.last_delay
             : std::chrono::milliseconds(static_cast<std::int64_t>(delay));
}

template <class T, class Hash = std::hash<T>>
class work_queue_core {
 public:
  using time_point = std::chrono::steady_clock::time_point;

  explicit work_queue_core(const rate_limit& limit) : limit_(limit), bucket_(limit) {}

  void add(const T& item) {
    if (shutting_down_ || !dirty_.insert(item).second) return;
    if (!processing_.contains(item)) ready_.push_back(item);
  }

  void add_at(const T& item, time_point when) {
    if (shutting_down_) return;
    const auto [at, fresh] = delayed_.emplace(item, when);
    if (!fresh) {
      if (at->second <= when) return;
      at->second = when;
    }
    due_.push({when, item});
  }

  void add_rate_limited(const T& item, time_point now) {
    if (shutting_down_) return;
    const std::chrono::nanoseconds own = delay_of_failure(limit_, failures_[item]++);
    const std::chrono::nanoseconds wait = std::max(own, bucket_.take(now));
    if (wait.count() <= 0) {
      add(item);
    } else {
      add_at(item, now + wait);
    }
  }

  void forget(const T& item) { failures_.erase(item); }

  std::size_t failures(const T& item) const {
    const auto found = failures_.find(item);
    return found == failures_.end() ? 0 : found->second;
  }

  // When advance() has something to do next.
  std::optional<time_point> next_due() {
    skip_stale();
    if (due_.empty()) return std::nullopt;
    return due_.top().when;
  }

  // Adds what is due.
  void advance(time_point now) {
    for (skip_stale(); !due_.empty() && due_.top().when <= now; skip_stale()) {
      const T item = due_.top().item;
      due_.pop();
      delayed_.erase(item);
      add(item);
    }
  }

  std::optional<T> take() {
    if (ready_.empty()) return std::nullopt;
    T item = std::move(ready_.front());
    ready_.pop_front();
    dirty_.erase(item);
    processing_.insert(item);
    return item;
  }

  void done(const T& item) {
    if (processing_.erase(item) == 0) return;
    if (dirty_.contains(item)) ready_.push_back(item);
  }

  void shut_down() {
    shutting_down_ = true;
    delayed_.clear();
    due_ = {};
  }

  // A get() need not wait: there is an item, or there will be none.
  bool can_take() const { return !ready_.empty() || exhausted(); }
  // No item will come any more. One that is worked on and was added again still will.
  bool exhausted() const { return shutting_down_ && ready_.empty() && dirty_.empty(); }
  // The same, and all work is done.
  bool drained() const { return exhausted() && processing_.empty(); }
  std::size_t size() const { return ready_.size(); }

 private:
  struct due {
    time_point when;
    T item;
    bool operator<(const due& other) const { return when > other.when; }  // the earliest on top
  };

  // An item that was moved to an earlier time has left its old entry behind.
  void skip_stale() {
    while (!due_.empty()) {
      const auto found = delayed_.find(due_.top().item);
      if (found != delayed_.end() && found->second == due_.top().when) return;
      due_.pop();
    }
  }

  rate_limit limit_;
  token_bucket bucket_;
  bool shutting_down_ = false;
  std::deque<T> ready_;                     // in dirty_, not in processing_
  std::unordered_set<T, Hash> dirty_;       // to be worked on
  std::unordered_set<T, Hash> processing_;  // with a worker
  std::unordered_map<T, time_point, Hash> delayed_;
  std::priority_queue<due> due_;
  std::unordered_map<T, std::size_t, Hash> failures_;
};

}  // namespace detail
}  // namespace mizzen::kubernetes
