// A part of a graph where its device cannot compute it: on the processor.
#pragma once

#include "inference/device/kernel.hpp"
#include "inference/dynamic/operation.hpp"

#include <mizzen/core/error.hpp>

#include <atomic>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

namespace mizzen::inference::detail {

class executable;

// Compiled when it is first needed, for all shapes; its weights are then held for the processor as
// well as for the device. Thread safe.
class part_on_host {
 public:
  // The node is a DevicePart; settings.on is the processor.
  part_on_host(const node& n, compile_settings settings);
  part_on_host(const part_on_host&) = delete;
  part_on_host& operator=(const part_on_host&) = delete;
  ~part_on_host();

  // Says in the log why the device does not compute the part, the first time.
  void warn(const error& reason) const;

  // As executable::run().
  std::vector<item> run(std::span<const item> inputs, const run_state& state,
                        std::span<tensor* const> into = {}) const;

  // A run with memory of its own, into the outputs of the context.
  void run(const run_context& context) const;

  void release_memory() const noexcept;

 private:
  const executable& compiled() const;

  const std::string name_;
  const std::shared_ptr<const graph> body_;
  const compile_settings settings_;
  mutable std::atomic<bool> warned_ = false;
  mutable std::mutex mutex_;
  mutable std::unique_ptr<const executable> compiled_;
};

}  // namespace mizzen::inference::detail
