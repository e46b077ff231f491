// The inner loops on small integers, as a table of functions like kernel_table: apart from it
// because some processors of one level multiply bytes four at a time (AVX-512 VNNI) and others not.
#pragma once

#include "inference/cpu/isa.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace mizzen::inference::detail::cpu {

// One tile of a product of bytes with small integers, summed in 32 bits (which wrap around), made
// floats again:
//   C[r, c] = (sum over k of (A[r, k] - a_zero) (B[k, c] - b_zero[c])) a_scale b_scale[c]
//             + bias[c] + residual[r, c]
struct int8_tile {
  std::size_t rows = 0;     // 1 … int8_table::tile_rows
  std::size_t columns = 0;  // 1 … int8_table::tile_columns
  std::size_t quads = 0;    // of four k each
  const std::uint8_t* a = nullptr;
  std::size_t a_row = 0;
  const std::int8_t* b = nullptr;  // [quads][tile_columns][4]
  std::int32_t a_zero = 0;
  float a_scale = 1;
  const float* b_scale = nullptr;
  // Per column: the sum over k of B - b_zero.
  const std::int32_t* b_sums = nullptr;
  // Null where all are 0; then also row_sums: per row, the sum over k of A.
  const std::int32_t* b_zero = nullptr;
  const std::int32_t* row_sums = nullptr;
  float* c = nullptr;
  std::size_t c_row = 0;
  const float* bias = nullptr;      // per column; or null
  const float* residual = nullptr;  // laid out as C; or null
};

struct int8_table {
  std::string_view name;
  std::size_t tile_rows;
  std::size_t tile_columns;
  void (*tile)(const int8_tile& t);
  // y = clamp(round(x / scale) + zero, 0, 255), half to even; returns the sum of y.
  std::int32_t (*quantise)(const float* x, std::size_t n, float scale, float zero, std::uint8_t* y);
  // y = (x - zero) scale.
  void (*dequantise)(const std::uint8_t* x, std::size_t n, float zero, float scale, float* y);
  // Takes 128 off or adds it, in bits: numbers of int8 become those of uint8 that are 128 greater,
  // and back. y may be x.
  void (*flip)(const std::uint8_t* x, std::size_t n, std::uint8_t* y);
};

// The fastest one for this processor, and all that it can run.
const int8_table& best_int8() noexcept;
std::span<const int8_table* const> int8_tables() noexcept;

}  // namespace mizzen::inference::detail::cpu
