// Convolution in one or two spatial dimensions (one is a height of 1), over [batch, channels,
// height, width], with weights that only a run knows. conv_channels_last.hpp has the fast ones.
#pragma once

#include "inference/cpu/kernels/gemm.hpp"
#include "inference/cpu/kernels/window.hpp"

#include <cstddef>

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

// Floats of scratch memory that conv() needs with so many threads.
std::size_t conv_scratch(const kernel_table& kernels, unsigned threads);

// x is [batch, in_channels, in height, in width], y [batch, out_channels, out height, out width];
// they must not overlap. weights are [out_channels, in_channels / groups, kernel height, kernel
// width], bias [out_channels] or null. scratch holds conv_scratch(kernels, pool.size()) floats.
void conv(const kernel_table& kernels, thread_pool& pool, const conv_shape& shape,
          const float* weights, const float* bias, const float* x, float* y, float* scratch);

}  // namespace mizzen::inference::detail::cpu
