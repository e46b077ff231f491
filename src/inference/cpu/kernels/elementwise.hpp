// Element-wise functions of whole tensors, with broadcasting.
#pragma once

#include "inference/cpu/kernels/broadcast.hpp"
#include "inference/cpu/kernels/kernel_table.hpp"
#include "inference/cpu/thread_pool.hpp"

#include <cstddef>
#include <cstdint>
#include <span>

namespace mizzen::inference::detail::cpu {

// A run on the calling thread; y may be x. Unlike kernel_table::unary it has every unary_op.
void unary_run(const kernel_table& kernels, const activation& f, const float* x, float* y,
               std::size_t n);

// y may be x.
void unary(const kernel_table& kernels, thread_pool& pool, const activation& f, const float* x,
           float* y, std::size_t n);

// y = op(a, b), broadcast. T is float, double, int8 … int64 or uint8 … uint64. Integer arithmetic
// wraps around; mod has the sign of the divisor, fmod that of the dividend. y may be a or b where
// that has the output's shape. Throws error(invalid_argument) for an integer divided by zero.
template <typename T>
void binary(const kernel_table& kernels, thread_pool& pool, binary_op op, const T* a,
            std::span<const std::int64_t> a_shape, const T* b,
            std::span<const std::int64_t> b_shape, T* y, std::span<const std::int64_t> y_shape);

// y = a ^ b where the exponent has a type of its own (ONNX Pow).
template <typename T, typename E>
void power(const kernel_table& kernels, thread_pool& pool, const T* a,
           std::span<const std::int64_t> a_shape, const E* b, std::span<const std::int64_t> b_shape,
           T* y, std::span<const std::int64_t> y_shape);

}  // namespace mizzen::inference::detail::cpu
