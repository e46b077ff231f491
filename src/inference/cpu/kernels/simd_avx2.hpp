// The vector abstraction for AVX2 with FMA: 8 floats. Included by isa_avx2.cpp only; see
// simd_avx512.hpp for what the functions mean.
#pragma once

#include <cstddef>
#include <cstdint>
#include <immintrin.h>

namespace {

using vec = __m256;
using ivec = __m256i;
using mask = __m256;

constexpr int lanes = 8;
constexpr int tile_rows = 6;
constexpr int tile_vectors = 2;

inline mask first_lanes(std::size_t n) {
  const __m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const int count = n >= 8 ? 8 : static_cast<int>(n);
  return _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32(count), index));
}
inline vec zero() { return _mm256_setzero_ps(); }
inline vec splat(float x) { return _mm256_set1_ps(x); }
inline vec load(const float* p) { return _mm256_loadu_ps(p); }
inline vec load(const float* p, mask m) { return _mm256_maskload_ps(p, _mm256_castps_si256(m)); }
inline void keep(vec& x) { __asm__("" : "+x"(x)); }
inline void store(float* p, vec x) { _mm256_storeu_ps(p, x); }
inline void store(float* p, vec x, mask m) { _mm256_maskstore_ps(p, _mm256_castps_si256(m), x); }
inline vec add(vec a, vec b) { return _mm256_add_ps(a, b); }
inline vec sub(vec a, vec b) { return _mm256_sub_ps(a, b); }
inline vec mul(vec a, vec b) { return _mm256_mul_ps(a, b); }
inline vec div(vec a, vec b) { return _mm256_div_ps(a, b); }
inline vec fma(vec a, vec b, vec c) { return _mm256_fmadd_ps(a, b, c); }
constexpr int half_lanes = lanes;
inline vec fma_half(vec a, vec b, vec c) { return fma(a, b, c); }
inline vec min(vec a, vec b) { return _mm256_min_ps(a, b); }
inline vec max(vec a, vec b) { return _mm256_max_ps(a, b); }
inline vec sqrt(vec a) { return _mm256_sqrt_ps(a); }
inline vec abs(vec a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0F), a); }
inline vec copysign(vec magnitude, vec sign) {
  const __m256 bit = _mm256_set1_ps(-0.0F);
  return _mm256_or_ps(_mm256_and_ps(bit, sign), _mm256_andnot_ps(bit, magnitude));
}
inline vec round_even(vec a) { return _mm256_round_ps(a, 0x08); }
inline vec floor(vec a) { return _mm256_round_ps(a, 0x09); }
inline vec ceil(vec a) { return _mm256_round_ps(a, 0x0A); }
inline mask less(vec a, vec b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
inline mask equal(vec a, vec b) { return _mm256_cmp_ps(a, b, _CMP_EQ_OQ); }
inline mask is_nan(vec a) { return _mm256_cmp_ps(a, a, _CMP_UNORD_Q); }
inline vec select(mask m, vec yes, vec no) { return _mm256_blendv_ps(no, yes, m); }
inline ivec to_int(vec a) { return _mm256_cvtps_epi32(a); }
inline vec to_float(ivec a) { return _mm256_cvtepi32_ps(a); }
inline ivec isplat(std::int32_t x) { return _mm256_set1_epi32(x); }
inline ivec iadd(ivec a, ivec b) { return _mm256_add_epi32(a, b); }
inline ivec isub(ivec a, ivec b) { return _mm256_sub_epi32(a, b); }
inline ivec iand(ivec a, ivec b) { return _mm256_and_si256(a, b); }
template <int N>
inline ivec shift_left(ivec a) {
  return _mm256_slli_epi32(a, N);
}
template <int N>
inline ivec shift_right(ivec a) {
  return _mm256_srai_epi32(a, N);
}
inline ivec bits(vec a) { return _mm256_castps_si256(a); }
inline vec from_bits(ivec a) { return _mm256_castsi256_ps(a); }

inline void transpose(vec (&x)[lanes]) {
  vec y[lanes];
  for (int i = 0; i < lanes; i += 2) {
    y[i] = _mm256_unpacklo_ps(x[i], x[i + 1]);
    y[i + 1] = _mm256_unpackhi_ps(x[i], x[i + 1]);
  }
  for (int i = 0; i < lanes; i += 4) {
    x[i] = _mm256_shuffle_ps(y[i], y[i + 2], 0x44);
    x[i + 1] = _mm256_shuffle_ps(y[i], y[i + 2], 0xEE);
    x[i + 2] = _mm256_shuffle_ps(y[i + 1], y[i + 3], 0x44);
    x[i + 3] = _mm256_shuffle_ps(y[i + 1], y[i + 3], 0xEE);
  }
  for (int c = 0; c < 4; ++c) {
    y[c] = _mm256_permute2f128_ps(x[c], x[c + 4], 0x20);
    y[c + 4] = _mm256_permute2f128_ps(x[c], x[c + 4], 0x31);
  }
  for (int i = 0; i < lanes; ++i) x[i] = y[i];
}

}  // namespace
