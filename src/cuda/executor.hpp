// A part that can run: its schedule with memory.
#pragma once

#include "cuda/gpu.hpp"
#include "cuda/lower.hpp"
#include "cuda/weights.hpp"

#include <mizzen/core/error.hpp>

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

namespace mizzen::cuda {

// Where an input or output of a run is: null for an output that nobody wants.
struct binding {
  void* data = nullptr;
  bool on_device = false;
};

// Immutable but for its stock of contexts; run() may be called from several threads at once.
//
// Memory of the device is used where it is if it is aligned to 256 bytes, as all that the steps
// were prepared for is; else it is copied. The second run of a context with the same pointers is
// recorded, later ones replay it; the recordings of a few sets of pointers are kept.
class executor {
 public:
  // Throws error(resource_exhausted) where the arena is larger than the limit (0: none).
  executor(gpu& on, weight_store& weights, lowered what, std::size_t memory_limit);
  executor(const executor&) = delete;
  executor& operator=(const executor&) = delete;
  ~executor();

  // Dense memory, in the order of the part's inputs and outputs. The run comes after what is in the
  // stream (null: none), what is put into it later after the run. Returns when it is done; with a
  // stream, and nothing on the host, at once. Throws error(out_of_range) for an index outside what
  // it is an index into: those on the device are looked at there, where the nearest one within is
  // taken, and told when the run is done or, where it is not waited for, by a later run.
  void run(std::span<const binding> inputs, std::span<const binding> outputs, void* stream) const;

  std::size_t arena_bytes() const noexcept { return arena_bytes_; }
  const schedule& plan() const noexcept { return what_.plan; }

 private:
  struct context;
  struct guard;

  void place();
  void check_indices(std::span<const binding> inputs) const;
  const guard& guard_of_indices() const;
  std::unique_ptr<context> take(void* stream) const;
  void give_back(std::unique_ptr<context> c) const;
  void bind(context& c, std::span<const binding> inputs, std::span<const binding> outputs) const;
  void enqueue(context& c) const;
  void do_work(context& c) const;
  std::optional<error> told(context& c) const;
  std::size_t input_buffer(std::size_t input) const;

  gpu& on_;
  lowered what_;
  std::unique_ptr<const program> program_;
  std::vector<std::size_t> offsets_;  // by buffer, in the arena
  std::size_t arena_bytes_ = 0;
  std::size_t staging_bytes_ = 0;
  std::vector<std::size_t> staging_;  // by buffer: of inputs and outputs
  weight_store::held weights_;

  mutable std::mutex mutex_;
  mutable std::unique_ptr<const guard> guard_;  // null until indices on the device are met
  mutable std::size_t contexts_ = 0;            // all that there are
  mutable std::vector<std::unique_ptr<context>> idle_;
};

}  // namespace mizzen::cuda
