// The threads that one session computes with.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <type_traits>

namespace mizzen::inference::detail {

// A fixed set of threads that sleep until parallel_for has work for them; only between the calls of
// one series do they stay awake for a moment, as waking takes longer than many a node. The calling
// thread always takes part, so a pool of size 1 owns no thread at all. Several threads may call
// parallel_for at once; each call returns when its own work is done.
class thread_pool {
 public:
  // While one lives, calls of parallel_for are expected to follow each other closely.
  class series {
   public:
    explicit series(thread_pool& pool) noexcept;
    ~series();
    series(const series&) = delete;
    series& operator=(const series&) = delete;

   private:
    thread_pool& pool_;
  };

  // threads counts the caller; 0 means available_cpus(). If the system refuses a thread the pool
  // makes do with those it has. Inside a series a thread without work looks for it for so long
  // (yielding to whoever else wants its processor) before it sleeps; 0 lets it sleep at once.
  explicit thread_pool(unsigned threads = 0, std::chrono::microseconds stay_awake = {});
  ~thread_pool();
  thread_pool(const thread_pool&) = delete;
  thread_pool& operator=(const thread_pool&) = delete;

  // Threads that may take part in one parallel_for, the caller included; at least 1.
  unsigned size() const noexcept { return size_; }

  // Calls fn(begin, end) or fn(begin, end, slot) until [0, count) is covered, in pieces of at least
  // grain indices (but the last). slot < size() is different for threads inside the same call, so
  // it may index scratch memory. Allocates nothing. Of the exceptions thrown by fn the first one is
  // rethrown here, once no thread is inside fn any more; pieces not yet begun are then skipped.
  // Called from inside fn of the same pool, it runs inline with slot 0.
  template <typename Fn>
  void parallel_for(std::size_t count, std::size_t grain, Fn&& fn) {
    using function = std::remove_reference_t<Fn>;
    const range_function call = [](void* context, std::size_t begin, std::size_t end,
                                   unsigned slot) {
      auto& f = *static_cast<function*>(context);
      if constexpr (std::is_invocable_v<function&, std::size_t, std::size_t, unsigned>) {
        f(begin, end, slot);
      } else {
        static_cast<void>(slot);
        f(begin, end);
      }
    };
    run(count, grain, call,
        const_cast<void*>(static_cast<const volatile void*>(std::addressof(fn))));
  }

 private:
  using range_function = void (*)(void* context, std::size_t begin, std::size_t end, unsigned slot);
  struct job;
  struct worker;
  struct shared_state;

  void run(std::size_t count, std::size_t grain, range_function call, void* context);
  void work(worker& self) noexcept;
  void take_part(job& work, unsigned slot) noexcept;

  unsigned size_ = 1;
  std::chrono::microseconds stay_awake_;
  std::unique_ptr<shared_state> state_;
};

}  // namespace mizzen::inference::detail
