// Keeps a thread that waits for work off the processor of the thread that has some.
//
// Seen on a virtual machine (Linux 6.18, two processors; perf sched): a thread is woken where the
// one that wakes it runs, though another processor is idle, perhaps because that one looks as if
// the host had taken it away. Caller and worker then take turns, for milliseconds each.
#pragma once

#if defined(__linux__)
#include <pthread.h>
#include <sched.h>
#endif

namespace mizzen::inference::detail {

#if defined(__linux__)

// The processor this thread runs on; -1 if the system does not say.
inline int current_processor() noexcept { return sched_getcpu(); }

// Of one worker. Not thread safe: the pool's mutex guards it. What the system refuses is left as it
// is, which is slower, not wrong.
class thread_placement {
 public:
  // By the worker: this is where it runs.
  void arrive() noexcept {
    thread_ = pthread_self();
    processor_ = current_processor();
  }

  // Where it last arrived.
  int processor() const noexcept { return processor_; }

  // By another thread while the worker waits: it goes on, or wakes up, on any processor that it may
  // run on but this one, if there is one.
  void avoid(int processor) noexcept {
    if (processor < 0 || processor >= CPU_SETSIZE || processor == avoided_) return;
    if (avoided_ < 0 && pthread_getaffinity_np(thread_, sizeof allowed_, &allowed_) != 0) return;
    cpu_set_t others = allowed_;
    CPU_CLR(static_cast<std::size_t>(processor), &others);
    if (CPU_COUNT(&others) == 0) return;
    if (pthread_setaffinity_np(thread_, sizeof others, &others) == 0) avoided_ = processor;
  }

  // By the worker once it is awake: it may run anywhere again.
  void settle() noexcept {
    if (avoided_ < 0) return;
    avoided_ = -1;
    pthread_setaffinity_np(thread_, sizeof allowed_, &allowed_);
  }

 private:
  pthread_t thread_{};
  int processor_ = -1;
  int avoided_ = -1;     // -1: none
  cpu_set_t allowed_{};  // if one is avoided: where the thread may run otherwise
};

#else

inline int current_processor() noexcept { return -1; }

class thread_placement {
 public:
  void arrive() noexcept {}
  void avoid(int) noexcept {}
  void settle() noexcept {}
};

#endif

}  // namespace mizzen::inference::detail
