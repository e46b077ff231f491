// The seam between schedules and what runs them: an NVIDIA GPU, or the processor in tests.
#pragma once

#include "cuda/schedule.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
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

// Work that a queue recorded, to be done again; of this queue.
class recording {
 public:
  recording() = default;
  recording(const recording&) = delete;
  recording& operator=(const recording&) = delete;
  virtual ~recording() = default;
};

// An order of work, filled by one thread at a time. What is put into it is done later.
class queue {
 public:
  queue() = default;
  queue(const queue&) = delete;
  queue& operator=(const queue&) = delete;
  virtual ~queue() = default;

  virtual void upload(void* device, const void* host, std::size_t bytes) = 0;
  virtual void download(void* host, const void* device, std::size_t bytes) = 0;
  // Within the device.
  virtual void copy(void* to, const void* from, std::size_t bytes) = 0;
  // Step i of a program (of its setup steps, or of the others); memory[b] is where buffer b lies,
  // and workspace what program_bytes() asked for.
  virtual void run(const program& p, bool setup, std::size_t i, std::span<void* const> memory,
                   void* workspace) = 0;
  // What work() puts into the queue is recorded rather than done. Null where that is not to be had.
  virtual std::unique_ptr<recording> record(const std::function<void()>& work) = 0;
  virtual void replay(const recording& r) = 0;
  // What is put in from here on comes after what is in the stream of the application now. Throws
  // error(failed_precondition) for a stream that is being captured.
  virtual void follow(void* stream) = 0;
  // What is put into the stream from here on comes after what is in here now.
  virtual void precede(void* stream) = 0;
  // Whether all is done.
  virtual bool idle() = 0;
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
