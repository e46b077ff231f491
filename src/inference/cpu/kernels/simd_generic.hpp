// The vector abstraction with the vector extension of GCC and Clang: 4 floats, any processor.
// Included by isa_generic.cpp only; see simd_avx512.hpp for what the functions mean.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace {

using vec = float __attribute__((vector_size(16)));
using ivec = std::int32_t __attribute__((vector_size(16)));
using mask = ivec;

constexpr int lanes = 4;
constexpr int tile_rows = 6;
constexpr int tile_vectors = 2;

inline mask first_lanes(std::size_t n) {
  const std::int32_t count = n >= 4 ? 4 : static_cast<std::int32_t>(n);
  return ivec{0, 1, 2, 3} < ivec{count, count, count, count};
}
inline vec zero() { return vec{}; }
inline vec splat(float x) { return vec{x, x, x, x}; }
inline vec load(const float* p) {
  vec x;
  std::memcpy(&x, p, sizeof x);
  return x;
}
inline vec load(const float* p, mask m) {
  vec x{};
  for (int i = 0; i < lanes; ++i) {
    if (m[i] != 0) x[i] = p[i];
  }
  return x;
}
inline void keep(vec& /*x*/) {}
inline void store(float* p, vec x) { std::memcpy(p, &x, sizeof x); }
inline void store(float* p, vec x, mask m) {
  for (int i = 0; i < lanes; ++i) {
    if (m[i] != 0) p[i] = x[i];
  }
}
inline vec add(vec a, vec b) { return a + b; }
inline vec sub(vec a, vec b) { return a - b; }
inline vec mul(vec a, vec b) { return a * b; }
inline vec div(vec a, vec b) { return a / b; }
inline vec fma(vec a, vec b, vec c) { return a * b + c; }
constexpr int half_lanes = lanes;
inline vec fma_half(vec a, vec b, vec c) { return fma(a, b, c); }
inline vec min(vec a, vec b) { return a < b ? a : b; }
inline vec max(vec a, vec b) { return a > b ? a : b; }
inline ivec bits(vec a) {
  ivec x;
  std::memcpy(&x, &a, sizeof x);
  return x;
}
inline vec from_bits(ivec a) {
  vec x;
  std::memcpy(&x, &a, sizeof x);
  return x;
}
inline vec sqrt(vec a) {
  for (int i = 0; i < lanes; ++i) a[i] = __builtin_sqrtf(a[i]);
  return a;
}
inline vec abs(vec a) { return from_bits(bits(a) & INT32_MAX); }
inline vec copysign(vec magnitude, vec sign) {
  return from_bits((bits(sign) & INT32_MIN) | (bits(magnitude) & INT32_MAX));
}
inline vec round_even(vec a) {
  for (int i = 0; i < lanes; ++i) a[i] = __builtin_nearbyintf(a[i]);
  return a;
}
inline vec floor(vec a) {
  for (int i = 0; i < lanes; ++i) a[i] = __builtin_floorf(a[i]);
  return a;
}
inline vec ceil(vec a) {
  for (int i = 0; i < lanes; ++i) a[i] = __builtin_ceilf(a[i]);
  return a;
}
inline mask less(vec a, vec b) { return a < b; }
inline mask equal(vec a, vec b) { return a == b; }
inline mask is_nan(vec a) { return a != a; }
inline vec select(mask m, vec yes, vec no) { return m != 0 ? yes : no; }
// Of values already rounded and within the range of int32.
inline ivec to_int(vec a) { return __builtin_convertvector(a, ivec); }
inline vec to_float(ivec a) { return __builtin_convertvector(a, vec); }
inline ivec isplat(std::int32_t x) { return ivec{x, x, x, x}; }
// Unsigned, so that wrapping around is defined.
using uvec = std::uint32_t __attribute__((vector_size(16)));
inline ivec iadd(ivec a, ivec b) {
  return __builtin_convertvector(
      __builtin_convertvector(a, uvec) + __builtin_convertvector(b, uvec), ivec);
}
inline ivec isub(ivec a, ivec b) {
  return __builtin_convertvector(
      __builtin_convertvector(a, uvec) - __builtin_convertvector(b, uvec), ivec);
}
inline ivec iand(ivec a, ivec b) { return a & b; }
inline void transpose(vec (&x)[lanes]) {
  for (int i = 0; i < lanes; ++i) {
    for (int j = 0; j < i; ++j) {
      const float kept = x[i][j];
      x[i][j] = x[j][i];
      x[j][i] = kept;
    }
  }
}
template <int N>
inline ivec shift_left(ivec a) {
  return a << N;
}
template <int N>
inline ivec shift_right(ivec a) {
  return a >> N;
}

}  // namespace
