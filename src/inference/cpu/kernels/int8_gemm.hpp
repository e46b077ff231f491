// Products of floats, quantised as they come (ONNX DynamicQuantizeLinear), with constant small
// integers.
#pragma once

#include "inference/cpu/kernels/int8_table.hpp"
#include "inference/cpu/kernels/kernel_table.hpp"
#include "inference/cpu/thread_pool.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace mizzen::inference::detail::cpu {

// How DynamicQuantizeLinear-11 maps floats to bytes.
struct byte_range {
  float scale = 1;
  float zero = 0;  // a whole number in [0, 255]
};
byte_range range_of(const kernel_table& kernels, const float* x, std::size_t n) noexcept;

// The right operand, packed: [panel][quad][tile_columns][4].
class int8_weights {
 public:
  // b [depth, columns] of int8, or of uint8 that have had 128 taken off, as their zeros. scales and
  // zeros hold one number, or one for each column.
  int8_weights(const int8_table& table, const std::int8_t* b, std::size_t depth,
               std::size_t columns, const std::vector<float>& scales,
               const std::vector<std::int32_t>& zeros);

  const int8_table& table() const noexcept { return *table_; }
  std::size_t depth() const noexcept { return depth_; }
  std::size_t columns() const noexcept { return columns_; }
  std::size_t quads() const noexcept { return (depth_ + 3) / 4; }

 private:
  friend class int8_product;
  const int8_table* table_;
  std::size_t depth_, columns_;
  std::vector<std::int8_t> data_;
  std::vector<float> scales_;        // per column, padded to whole panels
  std::vector<std::int32_t> sums_;   // likewise: of B less its zero
  std::vector<std::int32_t> zeros_;  // likewise; empty where all are 0
};

struct int8_problem {
  std::size_t rows = 0;
  const float* a = nullptr;  // [rows, depth]
  float* c = nullptr;        // [rows, columns]
  const float* bias = nullptr;
  const float* residual = nullptr;
  const void* context = nullptr;
  // Called for every finished run of C once, while it is in cache.
  void (*finish)(const void* context, std::size_t row, std::size_t column, float* c,
                 std::size_t n) = nullptr;
};

// Bytes of the left operand in place of floats, and the sums of products in place of what they
// stand for.
struct integer_problem {
  std::size_t rows = 0;
  const std::uint8_t* a = nullptr;  // [rows, depth]
  bool is_signed = false;           // they are int8
  std::int32_t a_zero = 0;
  std::int32_t* y = nullptr;  // [rows, columns]: of (A - its zero) (B - its zeros), wrapped around
};

// Bytes of scratch memory that multiply_int8() and multiply_integers() need.
std::size_t int8_scratch(const int8_weights& weights, std::size_t rows) noexcept;

// C = A B + bias + residual. Allocates nothing.
void multiply_int8(const kernel_table& kernels, thread_pool& pool, const int8_weights& weights,
                   const int8_problem& problem, std::byte* scratch);
void multiply_integers(thread_pool& pool, const int8_weights& weights,
                       const integer_problem& problem, std::byte* scratch);

}  // namespace mizzen::inference::detail::cpu
