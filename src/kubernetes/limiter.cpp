#include "kubernetes/limiter.hpp"

#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <cmath>
#include <deque>
#include <mutex>
#include <optional>

namespace mizzen::kubernetes::detail {
namespace {

namespace asio = boost::asio;
using clock = std::chrono::steady_clock;
using strand = asio::strand<asio::any_io_executor>;

// Waits on a strand until a time, or until somebody on the strand cancels the timer. The token is
// heard from any thread.
asio::awaitable<void> wait_on_strand(strand on, std::shared_ptr<asio::steady_timer> timer,
                                     cancellation cancel, std::string subject) {
  co_await asio::this_coro::throw_if_cancelled(false);
  const std::stop_callback stop(cancel.token,
                                [on, timer] { asio::post(on, [timer] { timer->cancel(); }); });
  boost::system::error_code ec;
  if (!cancel.token.stop_requested()) {
    co_await timer->async_wait(asio::redirect_error(asio::use_awaitable, ec));
  }
  const asio::cancellation_state state = co_await asio::this_coro::cancellation_state;
  if (state.cancelled() != asio::cancellation_type::none) {
    throw error(errc::cancelled, subject, "cancelled by the caller");
  }
  cancel.check(subject);
}

}  // namespace

asio::awaitable<void> sleep(asio::any_io_executor executor, std::chrono::nanoseconds time,
                            cancellation cancel, std::string subject) {
  const strand on = asio::make_strand(executor);
  const auto timer = std::make_shared<asio::steady_timer>(on);
  const auto end = std::chrono::time_point_cast<clock::duration>(clock::now() + time);
  timer->expires_at(std::min(end, cancel.deadline.time_point()));
  auto wait = wait_on_strand(on, timer, std::move(cancel), std::move(subject));
  co_await asio::co_spawn(on, std::move(wait), asio::use_awaitable);
}

std::chrono::nanoseconds token_bucket::take(time_point now) {
  if (last_ != time_point{} && now > last_) {
    const std::chrono::duration<double> passed = now - last_;
    tokens_ = std::min(burst_, tokens_ + passed.count() * rate_);
  }
  last_ = std::max(last_, now);
  tokens_ -= 1;
  if (tokens_ >= 0) return {};
  const double seconds = std::min(-tokens_ / rate_, 1e9);
  return std::chrono::nanoseconds(static_cast<std::int64_t>(std::ceil(seconds * 1e9)));
}

struct limiter::impl {
  struct waiter {
    explicit waiter(const strand& on) : timer(on) {}
    asio::steady_timer timer;
    bool granted = false;
  };

  impl(const asio::any_io_executor& of, std::size_t max, double qps, int burst)
      : on(asio::make_strand(of)), executor(of), free(max), limited(max != 0) {
    if (qps > 0) bucket.emplace(qps, std::max(burst, 1));
  }

  // On the strand.
  static asio::awaitable<void> wait_for_turn(std::shared_ptr<impl> self, cancellation cancel,
                                             std::string subject) {
    if (self->free > 0) {
      --self->free;
      co_return;
    }
    const auto me = std::make_shared<waiter>(self->on);
    me->timer.expires_at(cancel.deadline.time_point());
    self->queue.push_back(me);
    const std::shared_ptr<asio::steady_timer> timer(me, &me->timer);
    std::exception_ptr failed;
    try {
      co_await wait_on_strand(self->on, timer, cancel, subject);
    } catch (...) {
      failed = std::current_exception();
    }
    if (failed) {
      // The turn may have come at the same moment.
      if (me->granted) self->pass_on();
      std::erase(self->queue, me);
      std::rethrow_exception(failed);
    }
  }

  // On the strand.
  void pass_on() {
    if (queue.empty()) {
      ++free;
      return;
    }
    queue.front()->granted = true;
    queue.front()->timer.cancel();
    queue.pop_front();
  }

  strand on;
  asio::any_io_executor executor;
  std::size_t free;  // on the strand
  const bool limited;
  std::deque<std::shared_ptr<waiter>> queue;  // on the strand

  std::mutex mutex;  // guards the bucket
  std::optional<token_bucket> bucket;
};

limiter::limiter(asio::any_io_executor executor, std::size_t max_in_flight, double qps, int burst)
    : impl_(std::make_shared<impl>(executor, max_in_flight, qps, burst)) {}

limiter::~limiter() = default;

asio::awaitable<limiter::turn> limiter::enter(std::shared_ptr<limiter> self, cancellation cancel,
                                              std::string subject) {
  impl& state = *self->impl_;
  if (state.bucket) {
    std::chrono::nanoseconds wait{};
    {
      const std::lock_guard lock(state.mutex);
      wait = state.bucket->take(clock::now());
      if (wait > cancel.deadline.remaining()) {
        state.bucket->give_back();
        throw error(errc::deadline_exceeded, subject,
                    "client_options.qps would let it go only after its deadline");
      }
    }
    if (wait.count() > 0) co_await sleep(state.executor, wait, cancel, subject);
  }
  if (!state.limited) co_return turn();
  auto waiting = impl::wait_for_turn(self->impl_, std::move(cancel), std::move(subject));
  co_await asio::co_spawn(state.on, std::move(waiting), asio::use_awaitable);
  co_return turn(self);
}

void limiter::leave() noexcept {
  try {
    asio::post(impl_->on, [state = impl_] { state->pass_on(); });
  } catch (...) {
    // Without memory the turn is lost; the others still go on.
    return;
  }
}

}  // namespace mizzen::kubernetes::detail
