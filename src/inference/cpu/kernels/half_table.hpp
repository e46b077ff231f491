// The inner loops on half-width floats, as a table of functions like kernel_table.
#pragma once

#include "inference/cpu/isa.hpp"

#include <mizzen/inference/tensor.hpp>

#include <cstddef>
#include <span>
#include <string_view>

namespace mizzen::inference::detail::cpu {

struct half_table {
  std::string_view name;
  // To the narrower type they round to nearest, ties to even; a NaN stays one.
  void (*from_float16)(const float16* x, std::size_t n, float* y);
  void (*to_float16)(const float* x, std::size_t n, float16* y);
  void (*from_bfloat16)(const bfloat16* x, std::size_t n, float* y);
  void (*to_bfloat16)(const float* x, std::size_t n, bfloat16* y);
};

// The fastest one for this processor, and all that it can run.
const half_table& best_halves() noexcept;
std::span<const half_table* const> half_tables() noexcept;

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
