// Weights that several sessions hold together.
#pragma once

#include <cstddef>
#include <memory>

namespace mizzen::inference {

namespace detail {
class shared_weights;
}

// Given to several sessions (session_options::weights), it lets them hold equal weights once: two
// sessions of one file, or models that have layers in common (a decoder with and without its past).
// What is equal is told by content, so that the models need not come from one file; what kernels
// made of the weights when they packed them is shared too. Weights live as long as a session that
// uses them: the cache itself keeps nothing alive.
//
//   auto weights = std::make_shared<weight_cache>();
//   auto a = session::load("decoder.onnx", {.weights = weights});
//   auto b = session::load("decoder_with_past.onnx", {.weights = weights});
//
// Loading takes a little longer, because the weights are read once more (some 3 GB/s). Thread safe.
class weight_cache {
 public:
  weight_cache();
  weight_cache(const weight_cache&) = delete;
  weight_cache& operator=(const weight_cache&) = delete;
  ~weight_cache();

  // How many distinct weights sessions hold now.
  std::size_t size() const;
  // How often a session found what it needed, since the cache was made.
  std::size_t hits() const;

 private:
  friend class detail::shared_weights;
  struct impl;
  std::unique_ptr<impl> impl_;
};

}  // namespace mizzen::inference
