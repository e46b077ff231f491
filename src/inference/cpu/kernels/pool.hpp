// Pooling over windows in up to two spatial dimensions.
#pragma once

#include "inference/cpu/kernels/kernel_table.hpp"
#include "inference/cpu/kernels/window.hpp"
#include "inference/cpu/thread_pool.hpp"

#include <cstddef>
#include <cstdint>

namespace mizzen::inference::detail::cpu {

// x is [planes, in.height, in.width], y [planes, out.height, out.width]. A window wholly inside the
// padding gives -infinity. indices, where wanted (ONNX MaxPool's second output), gets the position
// of each maximum in the whole of x; column_major numbers positions inside a plane by columns.
void max_pool(const kernel_table& kernels, thread_pool& pool, const window_2d& window,
              std::size_t planes, const float* x, float* y, std::int64_t* indices = nullptr,
              bool column_major = false);

// The mean over the elements of each window that lie inside the input or, with count_padding,
// inside the input and its padding (which counts as zeros).
void average_pool(const kernel_table& kernels, thread_pool& pool, const window_2d& window,
                  std::size_t planes, const float* x, float* y, bool count_padding);

}  // namespace mizzen::inference::detail::cpu
