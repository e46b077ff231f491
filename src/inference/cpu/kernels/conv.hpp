// Convolution in one or two spatial dimensions (one is a height of 1), over [batch,
// channels, height, width]. conv_channels_last.hpp has the faster ones; these take weights that
// only a run knows.
#pragma once

#include "inference/cpu/kernels/gemm.hpp"
#include "inference/cpu/kernels/window.hpp"

#include <cstddef>
#include <vector>

namespace mizzen::inference::detail::cpu {

struct conv_shape {
  std::size_t batch = 1;
  std::size_t in_channels = 1;
  std::size_t out_channels = 1;
  std::size_t groups = 1;
  window_2d window;

  std::size_t in_per_group() const noexcept { return in_channels / groups; }
  std::size_t out_per_group() const noexcept { return out_channels / groups; }
};

// What is done to the sums before they are stored: y = finish(clamp(sum + bias + residual)).
struct conv_epilogue {
  const float* bias = nullptr;      // [out_channels]
  const float* residual = nullptr;  // laid out as y
  bool clamp = false;
  float low = 0;
  float high = 0;
  // Called once for every finished run of y, while it is in cache: n pixels of one channel,
  // beginning at the given pixel.
  void (*finish)(const void* context, std::size_t image, std::size_t channel, std::size_t pixel,
                 float* y, std::size_t n) = nullptr;
  const void* context = nullptr;
};

// Weights [out_channels, in_channels / groups, kernel height, kernel width], rearranged once or
// used as they are.
class conv_weights {
 public:
  conv_weights() = default;
  // Of shape, the channels, groups and kernel sizes are used.
  conv_weights(const kernel_table& kernels, const conv_shape& shape, const float* weights);

  // Uses the caller's memory, for weights known only at run time.
  static conv_weights view(const float* weights) noexcept;

  // Group g as the left operand of a product: packed, or in place.
  const packed_rows* packed(std::size_t g) const noexcept {
    return groups_.empty() ? nullptr : &groups_[g];
  }
  // Null where packed.
  const float* plain() const noexcept { return plain_; }

 private:
  aligned_floats rows_;
  const float* plain_ = nullptr;
  std::vector<packed_rows> groups_;
};

// Floats of scratch memory that conv() needs for this shape with so many threads.
std::size_t conv_scratch(const kernel_table& kernels, const conv_shape& shape, unsigned threads);

// x is [batch, in_channels, in height, in width], y [batch, out_channels, out height, out width];
// they must not overlap. scratch holds conv_scratch(kernels, shape, pool.size()) floats.
void conv(const kernel_table& kernels, thread_pool& pool, const conv_shape& shape,
          const conv_weights& weights, const float* x, float* y, const conv_epilogue& epilogue,
          float* scratch);

}  // namespace mizzen::inference::detail::cpu
