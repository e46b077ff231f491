// The inner loops on half-width floats, as a table of functions like kernel_table.
#pragma once

#include "inference/cpu/isa.hpp"

#include <mizzen/inference/tensor.hpp>

#include <cstddef>
#include <span>
#include <string_view>

namespace mizzen::inference::detail::cpu {

// One tile of a product of bfloat16, summed as floats:
//   C[r, c] = sum over k of A[r, k] B[k, c] + bias[c] + residual[r, c]
// The sum is that of the processor's instruction: of pairs of adjacent k, what is denormal being 0.
struct bf16_tile {
  std::size_t rows = 0;     // 1 … half_table::tile_rows
  std::size_t columns = 0;  // 1 … bf16_columns
  std::size_t depth = 0;    // a multiple of half_table::depth_step
  const bfloat16* a = nullptr;
  std::size_t a_row = 0;
  const bfloat16* b = nullptr;  // [depth / 2][bf16_columns][2]
  float* c = nullptr;
  std::size_t c_row = 0;
  const float* bias = nullptr;      // these may be null
  const float* residual = nullptr;  // laid out as C
};
inline constexpr std::size_t bf16_columns = 32;

struct half_table {
  std::string_view name;
  // To the narrower type they round to nearest, ties to even; a NaN stays one.
  void (*from_float16)(const float16* x, std::size_t n, float* y);
  void (*to_float16)(const float* x, std::size_t n, float16* y);
  void (*from_bfloat16)(const bfloat16* x, std::size_t n, float* y);
  void (*to_bfloat16)(const float* x, std::size_t n, bfloat16* y);
  // Products of bfloat16 in so many rows at once; null where the processor has none of its own, and
  // those of floats are better.
  void (*multiply)(const bf16_tile& tile) = nullptr;
  std::size_t tile_rows = 0;
  std::size_t depth_step = 2;
};

// The fastest one for this processor, and all that it can run.
const half_table& best_halves() noexcept;
std::span<const half_table* const> half_tables() noexcept;

// The code for AMX over tiles in plain C++, slow: to be tested where there is no AMX.
const half_table& emulated_amx() noexcept;

inline void widen(const float16* x, std::size_t n, float* y) {
  best_halves().from_float16(x, n, y);
}
inline void widen(const bfloat16* x, std::size_t n, float* y) {
  best_halves().from_bfloat16(x, n, y);
}
inline void narrow_floats(const float* x, std::size_t n, float16* y) {
  best_halves().to_float16(x, n, y);
}
inline void narrow_floats(const float* x, std::size_t n, bfloat16* y) {
  best_halves().to_bfloat16(x, n, y);
}

}  // namespace mizzen::inference::detail::cpu
