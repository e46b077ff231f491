// Softmax and the normalisations.
#pragma once

#include "inference/cpu/kernels/kernel_table.hpp"
#include "inference/cpu/thread_pool.hpp"

#include <cstddef>

namespace mizzen::inference::detail::cpu {

// Over the middle dimension of x, which is [outer, n, inner]; y may be x.
void softmax(const kernel_table& kernels, thread_pool& pool, const float* x, float* y,
             std::size_t outer, std::size_t n, std::size_t inner, bool logarithm);

struct layer_norm_options {
  const float* gamma = nullptr;  // [n] or null
  const float* beta = nullptr;   // [n] or null
  float epsilon = 0;
  bool centre = true;                  // false: RMS norm
  float* mean = nullptr;               // [rows] or null
  float* inverse_deviation = nullptr;  // [rows] or null
};

// Each of the rows of n elements by itself; y may be x.
void layer_norm(const kernel_table& kernels, thread_pool& pool, const float* x, float* y,
                std::size_t rows, std::size_t n, const layer_norm_options& options);

// y = x * scale[channel] + shift[channel], x being [batch, channels, inner]; y may be x.
void scale_channels(const kernel_table& kernels, thread_pool& pool, const float* x, float* y,
                    std::size_t batch, std::size_t channels, std::size_t inner, const float* scale,
                    const float* shift);

// Each channel of each image to mean 0 and variance 1 over its inner elements, then scaled and
// shifted (ONNX InstanceNormalization); y may be x.
void instance_norm(const kernel_table& kernels, thread_pool& pool, const float* x, float* y,
                   std::size_t batch, std::size_t channels, std::size_t inner, const float* scale,
                   const float* shift, float epsilon);

}  // namespace mizzen::inference::detail::cpu
