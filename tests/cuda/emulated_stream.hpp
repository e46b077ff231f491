// Memory and streams of the emulated GPUs.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <utility>

namespace mizzen::cuda {

// All of it in the whole process: a kernel's place in the grid is global to its library, and
// streams wait for each other.
inline std::recursive_mutex running;

// Addresses of a device's memory are no addresses of the host: a host that reads or writes through
// one crashes. The upper 16 bits say whose it is.
constexpr std::uintptr_t tag_of(std::uint32_t device) {
  return (std::uintptr_t{0x4d00} + device) << 48U;
}

inline void* tagged(void* at, std::uint32_t device) {
  return reinterpret_cast<void*>(reinterpret_cast<std::uintptr_t>(at) | tag_of(device));
}

inline void* untagged(const void* at, std::uint32_t device) {
  const auto address = reinterpret_cast<std::uintptr_t>(at);
  if (address >> 48U != tag_of(device) >> 48U) {
    std::fprintf(stderr, "emulated gpu %u: %p is no memory of it\n", device, at);
    std::abort();
  }
  return reinterpret_cast<void*>(address & ~(std::uintptr_t{0xffff} << 48U));
}

// Filled with NaN: what is read before it is written shows.
inline void* new_memory(std::size_t bytes) {
  void* at = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  std::memset(at, 0xff, bytes);
  return at;
}

// Work that is done when somebody waits for it, in order.
class stream {
 public:
  explicit stream(std::uint32_t of) : device(of) {
    const std::lock_guard lock(running);
    streams().insert(this);
  }
  stream(const stream&) = delete;
  stream& operator=(const stream&) = delete;
  ~stream() {
    const std::lock_guard lock(running);
    wait();
    streams().erase(this);
  }

  using job = std::function<void()>;
  void add(job j) {
    const std::lock_guard lock(running);
    jobs_.push_back(std::move(j));
    ++added_;
  }
  bool idle() const {
    const std::lock_guard lock(running);
    return jobs_.empty();
  }
  void wait() {
    const std::lock_guard lock(running);
    wait_for(added_);
  }
  // What is put in from here on comes after what is in the other one now.
  void follow(stream& other) {
    const std::lock_guard lock(running);
    add([&other, until = other.added_] {
      if (streams().contains(&other)) other.wait_for(until);
    });
  }
  // Of a handle: 1 is the device's default stream, as in CUDA.
  static stream& at(void* handle, std::uint32_t device) {
    if (handle != reinterpret_cast<void*>(std::uintptr_t{1})) return *static_cast<stream*>(handle);
    static auto& defaults = *new std::map<std::uint32_t, stream*>;
    const std::lock_guard lock(running);
    stream*& made = defaults[device];
    if (made == nullptr) made = new stream(device);
    return *made;
  }
  static void wait_for_all(std::uint32_t device) {
    const std::lock_guard lock(running);
    const std::set<stream*> all = streams();
    for (stream* s : all) {
      if (s->device == device) s->wait();
    }
  }

  const std::uint32_t device;

 private:
  void wait_for(std::uint64_t until) {
    while (done_ < until && !jobs_.empty()) {
      const job next = std::move(jobs_.front());
      jobs_.pop_front();
      ++done_;
      next();
    }
  }
  static std::set<stream*>& streams() {
    static auto& all = *new std::set<stream*>;
    return all;
  }

  std::deque<job> jobs_;
  std::uint64_t added_ = 0, done_ = 0;
};

}  // namespace mizzen::cuda
