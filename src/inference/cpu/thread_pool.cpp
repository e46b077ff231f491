#include "inference/cpu/thread_pool.hpp"

#include "inference/cpu/thread_placement.hpp"

#include <mizzen/core/cpu.hpp>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace mizzen::inference::detail {
namespace {

// Tells the processor that this is a loop that waits.
inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// The pool whose work this thread is inside of, to run nested calls inline.
thread_local const thread_pool* inside = nullptr;

// Waits for a condition without sleeping, for so long at most.
template <class Condition>
void look_for(std::chrono::microseconds most, const Condition& met) {
  constexpr int looks = 64;  // between readings of the clock
  const auto end = std::chrono::steady_clock::now() + most;
  while (std::chrono::steady_clock::now() < end) {
    for (int i = 0; i < looks; ++i) {
      if (met()) return;
      relax();
    }
    std::this_thread::yield();
  }
}

}  // namespace

// One call of parallel_for. Lives on its caller's stack, linked into the pool's list while it has
// pieces left to hand out.
struct thread_pool::job {
  job(range_function f, void* c, std::size_t n, std::size_t p, unsigned threads) noexcept
      : call(f), context(c), count(n), least(p), share(std::size_t{2} * threads) {}

  // Pieces get smaller towards the end: that evens out unequal speeds, and few are enough.
  bool take(std::size_t& begin, std::size_t& end) noexcept {
    begin = next.load(std::memory_order_relaxed);
    do {
      if (begin >= count) return false;
      const std::size_t left = count - begin;
      end = begin + std::min(left, std::max(least, left / share));
    } while (!next.compare_exchange_weak(begin, end, std::memory_order_relaxed));
    return true;
  }

  range_function call;
  void* context;
  std::size_t count;
  std::size_t least;  // indices of a piece, but for the last
  std::size_t share;
  std::atomic<std::size_t> next{0};

  // Guarded by the pool's mutex.
  unsigned helpers_wanted = 0;
  unsigned slots = 1;  // the caller has slot 0
  // Workers inside. Changed under the mutex alone, read without it as a hint.
  std::atomic<unsigned> helpers{0};
  std::exception_ptr failure;
  std::condition_variable finished;
  job* next_job = nullptr;
};

struct thread_pool::worker {
  std::thread thread;
  // Guarded by the pool's mutex.
  enum { sleeping, looking, working } does = looking;
  thread_placement placement;
};

struct thread_pool::shared_state {
  std::mutex mutex;
  std::condition_variable wake;
  job* first = nullptr;
  unsigned looking = 0;  // workers that need no waking
  bool stopping = false;
  std::vector<worker> workers;

  // Hints, read without the mutex.
  std::atomic<bool> has_work{false};  // first != nullptr
  std::atomic<unsigned> series{0};

  void link(job& added) noexcept {
    job** end = &first;
    while (*end != nullptr) end = &(*end)->next_job;
    *end = &added;
    has_work.store(true, std::memory_order_relaxed);
  }

  // Workers that wait make room for their caller.
  void leave(int processor) noexcept {
    for (worker& w : workers) {
      const bool in_the_way = w.does == worker::looking && w.placement.processor() == processor;
      if (w.does == worker::sleeping || in_the_way) w.placement.avoid(processor);
    }
  }

  void unlink(const job& done) noexcept {
    for (job** link = &first; *link != nullptr; link = &(*link)->next_job) {
      if (*link == &done) {
        *link = done.next_job;
        has_work.store(first != nullptr, std::memory_order_relaxed);
        return;
      }
    }
  }
};

thread_pool::series::series(thread_pool& pool) noexcept : pool_(pool) {
  pool_.state_->series.fetch_add(1, std::memory_order_relaxed);
}
thread_pool::series::~series() { pool_.state_->series.fetch_sub(1, std::memory_order_relaxed); }

thread_pool::thread_pool(unsigned threads, std::chrono::microseconds stay_awake)
    : stay_awake_(stay_awake), state_(std::make_unique<shared_state>()) {
  if (threads == 0) threads = available_cpus();
  state_->workers = std::vector<worker>(threads - 1);
  try {
    for (worker& w : state_->workers) {
      w.thread = std::thread([this, &w] { work(w); });
      ++size_;
    }
  } catch (const std::system_error&) {  // NOLINT(bugprone-empty-catch)
    // Fewer threads are slower, not wrong.
  }
}

thread_pool::~thread_pool() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->stopping = true;
  }
  state_->wake.notify_all();
  for (worker& w : state_->workers) {
    if (w.thread.joinable()) w.thread.join();
  }
}

void thread_pool::take_part(job& work, unsigned slot) noexcept {
  const thread_pool* const outer = std::exchange(inside, this);
  try {
    for (std::size_t begin = 0, end = 0; work.take(begin, end);) {
      work.call(work.context, begin, end, slot);
    }
  } catch (...) {
    work.next.store(work.count, std::memory_order_relaxed);
    const std::lock_guard lock(state_->mutex);
    if (!work.failure) work.failure = std::current_exception();
  }
  inside = outer;
}

void thread_pool::work(worker& self) noexcept {
  std::unique_lock lock(state_->mutex);
  self.placement.arrive();
  const auto in_series = [this] { return state_->series.load(std::memory_order_relaxed) != 0; };
  bool has_looked = true;
  for (;;) {
    if (!has_looked && state_->first == nullptr && in_series() && stay_awake_.count() > 0) {
      ++state_->looking;
      lock.unlock();
      look_for(stay_awake_,
               [&] { return state_->has_work.load(std::memory_order_relaxed) || !in_series(); });
      lock.lock();
      --state_->looking;
      has_looked = true;
      continue;
    }
    self.does = worker::sleeping;
    state_->wake.wait(lock, [this] { return state_->stopping || state_->first != nullptr; });
    if (state_->first == nullptr) return;
    job& current = *state_->first;
    const unsigned slot = current.slots++;
    self.does = worker::working;
    self.placement.settle();
    ++current.helpers;
    if (--current.helpers_wanted == 0) state_->unlink(current);
    lock.unlock();
    take_part(current, slot);
    lock.lock();
    // Under the lock: the caller may destroy the job as soon as it sees zero.
    if (--current.helpers == 0) current.finished.notify_one();
    self.does = worker::looking;
    self.placement.arrive();
    has_looked = false;
  }
}

void thread_pool::run(std::size_t count, std::size_t grain, range_function call, void* context) {
  if (count == 0) return;
  grain = std::max<std::size_t>(grain, 1);
  const std::size_t most = (count - 1) / grain + 1;
  if (size_ == 1 || most == 1 || inside == this) {
    call(context, 0, count, 0);
    return;
  }
  job work(call, context, count, std::max(grain, count / (std::size_t{16} * size_)), size_);
  const unsigned wanted = static_cast<unsigned>(std::min<std::size_t>(most, size_) - 1);
  work.helpers_wanted = wanted;
  unsigned awake = 0;
  {
    const std::lock_guard lock(state_->mutex);
    state_->link(work);
    state_->leave(current_processor());
    awake = state_->looking;
  }
  for (unsigned i = awake; i < wanted; ++i) state_->wake.notify_one();
  take_part(work, 0);
  const auto all_out = [&] { return work.helpers.load(std::memory_order_relaxed) == 0; };
  std::unique_lock lock(state_->mutex);
  state_->unlink(work);
  if (!all_out()) {
    lock.unlock();
    look_for(stay_awake_, all_out);
    lock.lock();
    work.finished.wait(lock, all_out);
  }
  if (work.failure) std::rethrow_exception(work.failure);
}

}  // namespace mizzen::inference::detail
