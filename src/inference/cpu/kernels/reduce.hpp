// Reductions over any axes of a tensor.
#pragma once

#include "inference/cpu/kernels/kernel_table.hpp"
#include "inference/cpu/thread_pool.hpp"

#include <cstddef>
#include <cstdint>
#include <span>

namespace mizzen::inference::detail::cpu {

enum class reduction { sum, mean, max, min, product, l1, l2, sum_square, log_sum, log_sum_exp };

// y[kept indices] = the reduction of x over the other axes. reduced has one flag per dimension of
// shape. Of no elements a sum is 0, a product 1, a mean NaN (0 for integers), the max and min the
// least and greatest of the type. T is float, double, int32 or int64; log_sum_exp and l2 of
// integers are cut to integers. x and y must not overlap.
template <typename T>
void reduce(const kernel_table& kernels, thread_pool& pool, reduction kind, const T* x,
            std::span<const std::int64_t> shape, std::span<const bool> reduced, T* y);

}  // namespace mizzen::inference::detail::cpu
