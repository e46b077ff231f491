// Products of four bytes with four small integers, summed: included by isa_generic.cpp after
// simd_generic.hpp.
#pragma once

#include "inference/cpu/kernels/simd_generic.hpp"

namespace {

constexpr int dot_rows = 2;
constexpr int dot_vectors = 1;

using dot_sum = ivec;
struct dot_left {
  std::int32_t of[4];
};
struct dot_right {
  ivec of[4];  // the k-th of each column
};

inline ivec imul(ivec a, ivec b) {
  return __builtin_convertvector(
      __builtin_convertvector(a, uvec) * __builtin_convertvector(b, uvec), ivec);
}
inline dot_sum dot_zero() { return ivec{}; }
inline dot_right load_dot(const std::int8_t* p) {
  dot_right r{};
  for (int k = 0; k < 4; ++k) r.of[k] = ivec{p[k], p[4 + k], p[8 + k], p[12 + k]};
  return r;
}
inline dot_left splat_dot(const std::uint8_t* p) { return {{p[0], p[1], p[2], p[3]}}; }
inline void dot_step(dot_sum& sum, const dot_left& a, const dot_right& b) {
  for (int k = 0; k < 4; ++k) sum = iadd(sum, imul(isplat(a.of[k]), b.of[k]));
}
inline ivec dot_total(dot_sum sum) { return sum; }
inline ivec load_unsigned(const std::uint8_t* p) { return ivec{p[0], p[1], p[2], p[3]}; }
inline void store_bytes(std::uint8_t* p, ivec x) {
  for (int i = 0; i < lanes; ++i) p[i] = static_cast<std::uint8_t>(x[i]);
}

}  // namespace
