// Half-width floats on any processor. See half_avx512.hpp.
#pragma once

#include "inference/cpu/kernels/elements.hpp"
#include "inference/cpu/kernels/simd_generic.hpp"

namespace {

namespace cpu = mizzen::inference::detail::cpu;

inline vec load_float16(const void* p) {
  const auto* halves = static_cast<const mizzen::inference::float16*>(p);
  vec x;
  for (int i = 0; i < lanes; ++i) x[i] = cpu::to_float(halves[i]);
  return x;
}
inline void store_float16(void* p, vec x) {
  auto* halves = static_cast<mizzen::inference::float16*>(p);
  for (int i = 0; i < lanes; ++i) halves[i] = cpu::to_float16(x[i]);
}
inline ivec load_low_halves(const void* p) {
  std::uint16_t bits[lanes];
  std::memcpy(bits, p, sizeof bits);
  return ivec{bits[0], bits[1], bits[2], bits[3]};
}
inline void store_low_halves(void* p, ivec x) {
  std::uint16_t bits[lanes];
  for (int i = 0; i < lanes; ++i) bits[i] = static_cast<std::uint16_t>(x[i] & 0xFFFF);
  std::memcpy(p, bits, sizeof bits);
}
inline ivec iselect(mask m, ivec yes, ivec no) { return m != 0 ? yes : no; }

}  // namespace
