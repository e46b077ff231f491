// Transposed convolution (the gradient of a convolution with respect to its input) in one or two
// spatial dimensions, in the plain layout.
#pragma once

#include "inference/cpu/kernels/conv.hpp"

#include <cstddef>
#include <vector>

namespace mizzen::inference::detail::cpu {

// shape.window is that of the convolution it transposes: its outputs are the input here, its inputs
// the output. shape.in_channels and out_channels are those of this operator.
//
// weights: [in_channels, out_channels / groups, kernel height, kernel width]. They are the
// transposed left operands of the products, used in place.
std::size_t conv_transpose_scratch(const kernel_table& kernels, const conv_shape& shape,
                                   unsigned threads);

// x is [batch, in_channels, window.height.out, window.width.out], y [batch, out_channels,
// window.height.in, window.width.in]; bias [out_channels] or null. scratch holds
// conv_transpose_scratch(kernels, shape, pool.size()) floats.
void conv_transpose(const kernel_table& kernels, thread_pool& pool, const conv_shape& shape,
                    const float* weights, const float* x, const float* bias, float* y,
                    float* scratch);

}  // namespace mizzen::inference::detail::cpu
