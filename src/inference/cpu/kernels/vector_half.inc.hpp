// The inner loops on half-width floats, once per instruction set: included by the isa_*_half.cpp
// files behind the half_*.hpp of their processor.
#pragma once

#include "inference/cpu/kernels/half_table.hpp"

#include <cstring>

namespace {

using mizzen::inference::bfloat16;
using mizzen::inference::float16;

inline vec load_bfloat16(const void* p) { return from_bits(shift_left<16>(load_low_halves(p))); }

inline void store_bfloat16(void* p, vec x) {
  const ivec upper = shift_right<16>(bits(x));
  const ivec even = iand(upper, isplat(1));
  const ivec rounded = shift_right<16>(iadd(bits(x), iadd(even, isplat(0x7FFF))));
  // A NaN whose upper half is that of an infinity becomes a quiet one: what the odd bits hold gets
  // lost.
  const ivec quiet = iadd(iand(upper, isplat(0xFFBF)), isplat(0x40));
  store_low_halves(p, iselect(is_nan(x), quiet, rounded));
}

// Calls step(x, y) for whole vectors; the rest goes by way of arrays that hold one.
template <class From, class To, class Step>
inline void convert(const From* x, std::size_t n, To* y, Step step) {
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes) step(x + i, y + i);
  if (i == n) return;
  From from[lanes] = {};
  To to[lanes];
  std::memcpy(from, x + i, (n - i) * sizeof(From));
  step(from, to);
  std::memcpy(y + i, to, (n - i) * sizeof(To));
}

void from_float16(const float16* x, std::size_t n, float* y) {
  convert(x, n, y, [](const float16* from, float* to) { store(to, load_float16(from)); });
}
void to_float16(const float* x, std::size_t n, float16* y) {
  convert(x, n, y, [](const float* from, float16* to) { store_float16(to, load(from)); });
}
void from_bfloat16(const bfloat16* x, std::size_t n, float* y) {
  convert(x, n, y, [](const bfloat16* from, float* to) { store(to, load_bfloat16(from)); });
}
void to_bfloat16(const float* x, std::size_t n, bfloat16* y) {
  convert(x, n, y, [](const float* from, bfloat16* to) { store_bfloat16(to, load(from)); });
}

constexpr mizzen::inference::detail::cpu::half_table make_half_table(std::string_view name) {
  return {name, from_float16, to_float16, from_bfloat16, to_bfloat16};
}

}  // namespace
