#include <mizzen/core/error.hpp>
#include <mizzen/kubernetes/detail/wake.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <atomic>
#include <string>
#include <utility>

namespace mizzen::kubernetes::detail {
namespace asio = boost::asio;

struct wake::state {
  explicit state(asio::any_io_executor executor)
      : strand(asio::make_strand(std::move(executor))),
        timer(strand, asio::steady_timer::time_point::max()) {}

  asio::strand<asio::any_io_executor> strand;
  asio::steady_timer timer;  // never runs out; cancelled to wake everyone. On the strand.
  std::atomic<int> waiting = 0;
};

namespace {

// On the strand: between ready() and the wait nothing else runs there, so no notify() is missed.
template <class State>
asio::awaitable<void> wait_on(std::shared_ptr<State> self, std::function<bool()> ready,
                              std::string subject) {
  co_await asio::this_coro::throw_if_cancelled(false);
  const asio::cancellation_state cancelled = co_await asio::this_coro::cancellation_state;
  struct counted {
    explicit counted(std::atomic<int>& n) : count(n) { ++count; }
    ~counted() { --count; }
    counted(const counted&) = delete;
    counted& operator=(const counted&) = delete;
    std::atomic<int>& count;
  } guard{self->waiting};
  while (!ready()) {
    if (cancelled.cancelled() != asio::cancellation_type::none) {
      throw error(errc::cancelled, subject, "cancelled while waiting");
    }
    boost::system::error_code woken;
    co_await self->timer.async_wait(asio::redirect_error(asio::use_awaitable, woken));
  }
}

}  // namespace

wake::wake(asio::any_io_executor executor) : state_(std::make_shared<state>(std::move(executor))) {}

asio::awaitable<void> wake::until(std::function<bool()> ready, std::string_view subject) const {
  const std::shared_ptr<state> self = state_;
  std::string name(subject);
  co_await asio::co_spawn(self->strand, wait_on(self, std::move(ready), std::move(name)),
                          asio::use_awaitable);
}

void wake::notify() const {
  // A waiter counts itself before it asks ready(): whoever is not counted yet sees the new state.
  if (state_->waiting.load() == 0) return;
  asio::post(state_->strand, [self = state_] { self->timer.cancel(); });
}

}  // namespace mizzen::kubernetes::detail
