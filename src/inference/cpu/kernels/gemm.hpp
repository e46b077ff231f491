// Products of float matrices of any strides, with packed operands, batches and a fused epilogue.
#pragma once

#include "inference/cpu/kernels/aligned_buffer.hpp"
#include "inference/cpu/kernels/kernel_table.hpp"
#include "inference/cpu/thread_pool.hpp"

#include <cstddef>

namespace mizzen::inference::detail::cpu {

// A matrix anywhere in memory; strides in elements, of any sign.
struct matrix_view {
  const float* data = nullptr;
  std::ptrdiff_t row = 0;
  std::ptrdiff_t column = 1;
};

// A left operand rearranged into panels of adjacent rows: [panel][depth][panel_rows].
struct packed_rows {
  packed_rows() = default;
  packed_rows(const kernel_table& kernels, matrix_view a, std::size_t rows, std::size_t depth);
  std::size_t panel_rows = 0;
  std::size_t depth = 0;
  aligned_floats data;
};

// A right operand rearranged into panels of adjacent columns: [panel][depth][panel_columns].
struct packed_columns {
  packed_columns() = default;
  packed_columns(const kernel_table& kernels, matrix_view b, std::size_t depth,
                 std::size_t columns);
  std::size_t panel_columns = 0;
  std::size_t depth = 0;
  aligned_floats data;
};

// The operands of one product of a batch. A packed form, where given, stands for the matrix.
struct gemm_operands {
  matrix_view a;
  const packed_rows* a_packed = nullptr;
  matrix_view b;
  const packed_columns* b_packed = nullptr;
  float* c = nullptr;
  std::ptrdiff_t c_row = 0;
  // C = clamp(A B + column_bias + row_bias + residual); each may be null.
  const float* column_bias = nullptr;
  const float* row_bias = nullptr;
  const float* residual = nullptr;  // strides of c
};

struct gemm_problem {
  std::size_t batch = 1;
  std::size_t rows = 0;
  std::size_t columns = 0;
  std::size_t depth = 0;
  bool clamp = false;
  float low = 0;
  float high = 0;

  const void* context = nullptr;  // of the functions below
  // Gives the operands of product i.
  gemm_operands (*operands)(const void* context, std::size_t i) = nullptr;
  // Where B is not a matrix in memory (a convolution's windows): writes rows [k, k + depth) of
  // columns [n, n + columns) of product i to to[d * width + c], and zeros for columns up to width.
  void (*pack_b)(const void* context, std::size_t i, std::size_t k, std::size_t depth,
                 std::size_t n, std::size_t columns, std::size_t width, float* to) = nullptr;
  // Called for every finished run of C once, while it is in cache: post-ops beyond the clamp.
  void (*finish)(const void* context, std::size_t i, std::size_t row, std::size_t column, float* c,
                 std::size_t n) = nullptr;
};

// Floats of scratch memory that gemm() needs with so many threads; independent of the problem's
// batch, and bounded whatever its sizes.
std::size_t gemm_scratch(const kernel_table& kernels, unsigned threads);

// Computes all products. scratch holds gemm_scratch(kernels, pool.size()) floats. C must not
// overlap A or B. Allocates nothing.
void gemm(const kernel_table& kernels, thread_pool& pool, const gemm_problem& problem,
          float* scratch);

// dst[d * width + l] = src[l * lane + d * depth_stride] for l < count, 0 up to width. The building
// block of packing, for callers with a pack_b of their own.
void pack_panel(const float* src, std::ptrdiff_t lane, std::ptrdiff_t depth_stride,
                std::size_t count, std::size_t width, std::size_t depth, float* dst);

}  // namespace mizzen::inference::detail::cpu
