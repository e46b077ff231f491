// The seam between schedules and what runs them: an NVIDIA GPU, or the processor in tests.
#pragma once

#include "cuda/schedule.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace mizzen::cuda {

// The steps of one schedule, made ready. Immutable; of one gpu.
class program {
 public:
  program() = default;
  program(const program&) = delete;
  program& operator=(const program&) = delete;
  virtual ~program() = default;
};

// One run at a time: an order of work, and what of it was recorded.
class queue {
 public:
  queue() = default;
  queue(const queue&) = delete;
  queue& operator=(const queue&) = delete;
  virtual ~queue() = default;

  virtual void upload(void* device, const void* host, std::size_t bytes) = 0;
  virtual void download(void* host, const void* device, std::size_t bytes) = 0;
  // Step i of a program (of its setup steps, or of the others); memory[b] is where buffer b lies,
  // and workspace what program_bytes() asked for.
  virtual void run(const program& p, bool setup, std::size_t i, std::span<void* const> memory,
                   void* workspace) = 0;
  // Between them work is recorded rather than done, to be done again by replay(). False where that
  // is not to be had: then nothing has been recorded.
  virtual bool begin_recording() = 0;
  virtual void end_recording() = 0;
  virtual void replay() = 0;
  // Until all is done.
  virtual void wait() = 0;
};

// Thread safe.
class gpu {
 public:
  gpu() = default;
  gpu(const gpu&) = delete;
  gpu& operator=(const gpu&) = delete;
  virtual ~gpu() = default;

  // 90: compute capability 9.0.
  virtual int capability() const noexcept = 0;
  // Whether prepare() takes such a step.
  virtual bool takes(const attention_step& s) = 0;

  // Throws error(resource_exhausted).
  virtual void* allocate(std::size_t bytes) = 0;
  virtual void release(void* memory) noexcept = 0;
  // Pinned memory of the host.
  virtual void* allocate_host(std::size_t bytes) = 0;
  virtual void release_host(void* memory) noexcept = 0;

  virtual std::unique_ptr<queue> make_queue() = 0;
  // Compiles kernels and chooses algorithms.
  virtual std::unique_ptr<program> prepare(const schedule& s) = 0;
  // Memory that steps of the program may use while they run.
  virtual std::size_t workspace_bytes(const program& p) const = 0;
};

// The module text of a schedule's kernels: the prelude and each kernel once, under a name that
// follows from its text. names[i] is that of the i-th kernel step, setup steps first.
struct module_text {
  std::string source;
  std::vector<std::string> names;
};
module_text make_module(const schedule& s);

}  // namespace mizzen::cuda
