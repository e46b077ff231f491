// The windows of the tests of convolutions.
#pragma once

#include "inference/cpu/kernels/window.hpp"

#include <cstddef>

namespace mizzen::inference::detail::cpu {

// An axis with its number of outputs.
inline window_axis axis(std::size_t in, std::size_t kernel = 1, std::size_t stride = 1,
                        std::size_t pad_begin = 0, std::size_t pad_end = 0,
                        std::size_t dilation = 1) {
  window_axis a;
  a.in = in;
  a.kernel = kernel;
  a.stride = stride;
  a.dilation = dilation;
  a.pad_begin = pad_begin;
  a.pad_end = pad_end;
  a.out = (in + pad_begin + pad_end - dilation * (kernel - 1) - 1) / stride + 1;
  return a;
}

}  // namespace mizzen::inference::detail::cpu
