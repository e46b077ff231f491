// A part that can run: its schedule with memory.
#pragma once

#include "cuda/gpu.hpp"
#include "cuda/lower.hpp"

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

namespace mizzen::cuda {

// Memory of a gpu, freed with this.
class device_memory {
 public:
  device_memory(gpu& on, std::size_t bytes, bool host = false)
      : on_(on), host_(host), at_(host ? on.allocate_host(bytes) : on.allocate(bytes)) {}
  device_memory(const device_memory&) = delete;
  device_memory& operator=(const device_memory&) = delete;
  ~device_memory() { host_ ? on_.release_host(at_) : on_.release(at_); }
  std::byte* get() const noexcept { return static_cast<std::byte*>(at_); }

 private:
  gpu& on_;
  bool host_;
  void* at_;
};

// Constants of the model that are on the gpu, once for all parts and shapes that use them while any
// does. Thread safe.
class constant_store {
 public:
  explicit constant_store(gpu& on) : on_(on) {}
  std::shared_ptr<const device_memory> get(const void* data, std::size_t bytes, queue& q);

 private:
  gpu& on_;
  std::mutex mutex_;
  std::map<const void*, std::weak_ptr<const device_memory>> held_;
};

// Immutable but for its stock of contexts; run() may be called from several threads at once.
class executor {
 public:
  // Throws error(resource_exhausted) where the arena is larger than the limit (0: none).
  executor(gpu& on, constant_store& constants, lowered what, std::size_t memory_limit);
  executor(const executor&) = delete;
  executor& operator=(const executor&) = delete;
  ~executor();

  // Host memory, dense, in the order of the part's inputs and outputs; null for an output that
  // nobody wants. Throws error(out_of_range) for an index outside what it is an index into.
  void run(std::span<void* const> inputs, std::span<void* const> outputs) const;

  std::size_t arena_bytes() const noexcept { return arena_bytes_; }
  const schedule& plan() const noexcept { return what_.plan; }

 private:
  struct context;

  void place();
  void set_up();
  void check_indices(std::span<void* const> inputs) const;
  std::unique_ptr<context> make_context() const;
  void enqueue(context& c) const;

  gpu& on_;
  lowered what_;
  std::unique_ptr<const program> program_;
  std::vector<std::size_t> offsets_;  // by buffer, in the arena
  std::size_t arena_bytes_ = 0;
  std::size_t staging_bytes_ = 0;
  std::vector<std::size_t> staging_;  // by buffer: of inputs and outputs
  std::vector<void*> fixed_;  // by buffer: constants and what setup made; null: in the arena
  std::vector<std::shared_ptr<const device_memory>> constants_;
  std::unique_ptr<device_memory> made_;

  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<context>> idle_;
};

}  // namespace mizzen::cuda
