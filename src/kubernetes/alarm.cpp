#include <mizzen/kubernetes/detail/alarm.hpp>

#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>

#include <atomic>
#include <mutex>
#include <utility>

namespace mizzen::kubernetes::detail {
namespace asio = boost::asio;

struct alarm::state : std::enable_shared_from_this<alarm::state> {
  state(asio::any_io_executor executor, std::function<void()> call)
      : strand(asio::make_strand(std::move(executor))), timer(strand), ring(std::move(call)) {}

  // On the strand.
  void wait(std::chrono::steady_clock::time_point when) {
    if (stopped || when >= pending) return;
    pending = when;
    timer.expires_at(when);  // cancels the wait for a later time
    timer.async_wait([weak = weak_from_this()](const boost::system::error_code& ec) {
      const auto self = weak.lock();
      if (ec || !self || self->stopped) return;
      self->pending = std::chrono::steady_clock::time_point::max();
      self->armed = self->pending;
      self->ring();
    });
  }

  asio::strand<asio::any_io_executor> strand;
  asio::steady_timer timer;
  std::function<void()> ring;
  std::chrono::steady_clock::time_point pending = std::chrono::steady_clock::time_point::max();
  // The earliest time that was asked for; saves posting what is no news.
  std::atomic<std::chrono::steady_clock::time_point> armed =
      std::chrono::steady_clock::time_point::max();
  bool stopped = false;
};

alarm::alarm(asio::any_io_executor executor, std::function<void()> ring)
    : state_(std::make_shared<state>(std::move(executor), std::move(ring))) {}

alarm::~alarm() {
  asio::post(state_->strand, [self = state_] {
    self->stopped = true;
    self->timer.cancel();
  });
}

void alarm::set(std::chrono::steady_clock::time_point when) {
  auto now_armed = state_->armed.load();
  do {
    if (when >= now_armed) return;
  } while (!state_->armed.compare_exchange_weak(now_armed, when));
  asio::post(state_->strand, [self = state_, when] { self->wait(when); });
}

// The callback refers to what its owner holds: the lock makes sure that it is not called once the
// owner is on its way out.
struct deadline_alarm::state {
  explicit state(const asio::any_io_executor& executor, std::function<void()> call)
      : strand(asio::make_strand(executor)), timer(strand), ring(std::move(call)) {}

  asio::strand<asio::any_io_executor> strand;
  asio::steady_timer timer;  // on the strand
  std::mutex mutex;
  std::function<void()> ring;
};

deadline_alarm::deadline_alarm(const asio::any_io_executor& executor, deadline at,
                               std::function<void()> ring)
    : state_(std::make_shared<state>(executor, std::move(ring))) {
  if (at.is_never()) return;
  asio::post(state_->strand, [self = state_, at] {
    self->timer.expires_at(at.time_point());
    self->timer.async_wait([self](const boost::system::error_code& ec) {
      const std::lock_guard lock(self->mutex);
      if (!ec && self->ring) self->ring();
    });
  });
}

deadline_alarm::~deadline_alarm() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->ring = nullptr;
  }
  asio::post(state_->strand, [self = state_] { self->timer.cancel(); });
}

}  // namespace mizzen::kubernetes::detail
