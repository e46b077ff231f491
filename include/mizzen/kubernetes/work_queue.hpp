// The queue of a controller: each item once, never two workers on one item, retries with backoff.
#pragma once

#include <mizzen/core/deadline.hpp>
#include <mizzen/kubernetes/detail/alarm.hpp>
#include <mizzen/kubernetes/detail/wake.hpp>
#include <mizzen/kubernetes/detail/work_queue_core.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

namespace mizzen::kubernetes {

// An item that is added twice before a worker takes it is there once; one that is added while a
// worker has it comes again when that worker is done(). FIFO otherwise. T needs std::hash (or Hash)
// and ==; it is usually a namespace and a name.
//
//   while (auto key = co_await queue.get()) {
//     try { co_await reconcile(*key); queue.forget(*key); }
//     catch (const mizzen::error&) { queue.add_rate_limited(*key); }
//     queue.done(*key);
//   }
//
// Thread safe; delays run on the executor. Memory is bounded by the number of distinct items.
// Source: client-go util/workqueue.
template <class T, class Hash = std::hash<T>>
class work_queue {
 public:
  explicit work_queue(boost::asio::any_io_executor executor, rate_limit limit = {})
      : state_(std::make_shared<state>(executor, limit)) {
    // Weak: an alarm that is set does not keep the queue.
    state_->alarm =
        std::make_unique<detail::alarm>(executor, [weak = std::weak_ptr<state>(state_)] {
          if (const auto self = weak.lock()) self->ring();
        });
  }

  // Adds it now. Does nothing after shut_down().
  void add(const T& item) {
    state_->change([&](auto& queue) { queue.add(item); });
  }

  // Adds it after the delay; of several delays for one item the earliest counts.
  void add_after(const T& item, std::chrono::nanoseconds delay) {
    if (delay.count() <= 0) return add(item);
    state_->change([&](auto& queue) { queue.add_at(item, deadline::after(delay).time_point()); });
  }

  // Adds it after the delay that rate_limit gives for one more failure of it.
  void add_rate_limited(const T& item) {
    state_->change([&](auto& queue) { queue.add_rate_limited(item, clock::now()); });
  }

  // Its next failure is the first.
  void forget(const T& item) {
    const std::lock_guard lock(state_->mutex);
    state_->core.forget(item);
  }

  // Failures since the last forget().
  std::size_t failures(const T& item) const {
    const std::lock_guard lock(state_->mutex);
    return state_->core.failures(item);
  }

  // The next item, for this caller alone until done(item); nullopt when the queue is shut down and
  // empty. Throws error(cancelled) when the coroutine is cancelled. Any number of callers.
  boost::asio::awaitable<std::optional<T>> get() { return get(state_); }

  // Must follow get(), whether or not the work was a success.
  void done(const T& item) {
    state_->change([&](auto& queue) { queue.done(item); });
  }

  // Items that wait for a worker; those with a delay are not counted.
  std::size_t size() const {
    const std::lock_guard lock(state_->mutex);
    return state_->core.size();
  }

  // No more adds; what has a delay is dropped. Workers get what is queued, then nullopt.
  void shut_down() {
    state_->change([](auto& queue) { queue.shut_down(); });
  }

  // The same, and waits until every item that was taken is done.
  boost::asio::awaitable<void> drain() {
    shut_down();
    return drained(state_);
  }

 private:
  using clock = std::chrono::steady_clock;

  struct state {
    state(const boost::asio::any_io_executor& executor, const rate_limit& limit)
        : core(limit), woken(executor) {}

    template <class F>
    void change(F&& what) {
      std::optional<clock::time_point> due;
      {
        const std::lock_guard lock(mutex);
        what(core);
        due = core.next_due();
      }
      if (due) alarm->set(*due);
      woken.notify();
    }

    void ring() {
      change([](auto& queue) { queue.advance(clock::now()); });
    }

    mutable std::mutex mutex;
    detail::work_queue_core<T, Hash> core;
    detail::wake woken;
    std::unique_ptr<detail::alarm> alarm;
  };

  static boost::asio::awaitable<std::optional<T>> get(std::shared_ptr<state> self) {
    for (;;) {
      {
        const std::lock_guard lock(self->mutex);
        if (std::optional<T> item = self->core.take()) co_return item;
        if (self->core.exhausted()) co_return std::nullopt;
      }
      std::function<bool()> ready = [raw = self.get()] {
        const std::lock_guard lock(raw->mutex);
        return raw->core.can_take();
      };
      co_await self->woken.until(std::move(ready), "work_queue.get");
    }
  }

  static boost::asio::awaitable<void> drained(std::shared_ptr<state> self) {
    std::function<bool()> ready = [raw = self.get()] {
      const std::lock_guard lock(raw->mutex);
      return raw->core.drained();
    };
    co_await self->woken.until(std::move(ready), "work_queue.drain");
  }

  std::shared_ptr<state> state_;
};

}  // namespace mizzen::kubernetes
