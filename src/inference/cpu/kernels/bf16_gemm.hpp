// Products of floats, rounded to bfloat16 as they come, with constant bfloat16, summed as floats.
#pragma once

#include "inference/cpu/kernels/aligned_buffer.hpp"
#include "inference/cpu/kernels/gemm.hpp"
#include "inference/cpu/kernels/half_table.hpp"
#include "inference/cpu/thread_pool.hpp"

#include <cstddef>

namespace mizzen::inference::detail::cpu {

// The right operand, rounded and packed: [panel][depth / 2][bf16_columns][2].
class bf16_weights {
 public:
  // The table must have products; it is kept.
  bf16_weights(const half_table& table, matrix_view b, std::size_t depth, std::size_t columns);

  const half_table& table() const noexcept { return *table_; }
  std::size_t depth() const noexcept { return depth_; }
  std::size_t columns() const noexcept { return columns_; }
  // Up to a multiple of the table's step, with zeros.
  std::size_t padded_depth() const noexcept;
  const bfloat16* panel(std::size_t column) const noexcept {
    return reinterpret_cast<const bfloat16*>(data_.data()) + column * padded_depth();
  }

 private:
  const half_table* table_;
  std::size_t depth_, columns_;
  aligned_floats data_;  // two in each
};

struct bf16_problem {
  std::size_t rows = 0;
  const float* a = nullptr;  // [rows, depth]
  float* c = nullptr;        // [rows, columns]
  // C = A B + bias + residual; each may be null.
  const float* bias = nullptr;
  const float* residual = nullptr;
  const void* context = nullptr;
  // Called for every finished run of C once, while it is in cache.
  void (*finish)(const void* context, std::size_t row, std::size_t column, float* c,
                 std::size_t n) = nullptr;
};

// Bytes of scratch memory that multiply_bf16() needs.
std::size_t bf16_scratch(const bf16_weights& weights, std::size_t rows) noexcept;

// Allocates nothing.
void multiply_bf16(thread_pool& pool, const bf16_weights& weights, const bf16_problem& problem,
                   std::byte* scratch);

}  // namespace mizzen::inference::detail::cpu
