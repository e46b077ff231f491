// What networks of convolutions do between them, over pictures whose channels lie last: [batch,
// depth, height, width, channels].
#pragma once

#include "inference/cpu/kernels/kernel_table.hpp"
#include "inference/cpu/kernels/window.hpp"
#include "inference/cpu/thread_pool.hpp"

#include <cstddef>

namespace mizzen::inference::detail::cpu {

// The maximum of each window; one wholly inside the padding gives -infinity.
void max_pool_channels_last(const kernel_table& kernels, thread_pool& pool, const window_3d& window,
                            std::size_t batch, std::size_t channels, const float* x, float* y);

// The mean over the elements of each window that lie inside the input or, with count_padding,
// inside the input and its padding (which counts as zeros).
void average_pool_channels_last(const kernel_table& kernels, thread_pool& pool,
                                const window_3d& window, std::size_t batch, std::size_t channels,
                                const float* x, float* y, bool count_padding);

// Floats of scratch memory that instance_norm_channels_last() needs.
std::size_t instance_norm_channels_last_scratch(std::size_t channels);

// y = (x - mean) / sqrt(variance + epsilon) gamma + beta, mean and variance over the pixels of each
// channel of each image. Called once for every finished run of y, finish() gets n floats that begin
// at y[at]; it may be null. x may be y.
void instance_norm_channels_last(const kernel_table& kernels, thread_pool& pool, std::size_t batch,
                                 std::size_t pixels, std::size_t channels, const float* x,
                                 const float* gamma, const float* beta, float epsilon, float* y,
                                 void (*finish)(const void* context, std::size_t at, float* y,
                                                std::size_t n),
                                 const void* context, float* scratch);

}  // namespace mizzen::inference::detail::cpu
