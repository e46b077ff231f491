// What runs read and no run changes: the constants of a model, and what setup steps make of them.
#pragma once

#include "cuda/gpu.hpp"

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <string>
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

// Weights are on the gpu once for all parts and shapes that use them, while any does. What only
// setup steps read goes when they are done. Thread safe.
class weight_store {
 public:
  explicit weight_store(gpu& on) : on_(on) {}
  weight_store(const weight_store&) = delete;
  weight_store& operator=(const weight_store&) = delete;

  // Of the buffers that are constant or made by setup, those that the steps read.
  using held = std::map<std::size_t, std::shared_ptr<const device_memory>>;

  // Uploads and makes what is not there yet. The constants must live as long as what is returned.
  held hold(const schedule& s, const program& p);

 private:
  using entries = std::map<std::string, std::weak_ptr<const device_memory>, std::less<>>;

  gpu& on_;
  std::mutex mutex_;
  entries known_;  // by what they were made from
};

}  // namespace mizzen::cuda
