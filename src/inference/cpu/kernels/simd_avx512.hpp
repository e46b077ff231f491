// The vector abstraction for AVX-512: 16 floats. Included by isa_avx512.cpp only; everything is in
// an unnamed namespace so that no code made with these compiler flags is shared with other files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <immintrin.h>

namespace {

using vec = __m512;
using ivec = __m512i;
using mask = __mmask16;

constexpr int lanes = 16;
constexpr int tile_rows = 14;
constexpr int tile_vectors = 2;

inline mask first_lanes(std::size_t n) {
  return n >= 16 ? mask{0xFFFF} : static_cast<mask>((1U << n) - 1U);
}
inline vec zero() { return _mm512_setzero_ps(); }
inline vec splat(float x) { return _mm512_set1_ps(x); }
inline vec load(const float* p) { return _mm512_loadu_ps(p); }
inline vec load(const float* p, mask m) { return _mm512_maskz_loadu_ps(m, p); }
// Has a value loaded once, where the compiler would rather load it again for each use.
inline void keep(vec& x) { __asm__("" : "+v"(x)); }
inline void store(float* p, vec x) { _mm512_storeu_ps(p, x); }
inline void store(float* p, vec x, mask m) { _mm512_mask_storeu_ps(p, m, x); }
inline vec add(vec a, vec b) { return _mm512_add_ps(a, b); }
inline vec sub(vec a, vec b) { return _mm512_sub_ps(a, b); }
inline vec mul(vec a, vec b) { return _mm512_mul_ps(a, b); }
inline vec div(vec a, vec b) { return _mm512_div_ps(a, b); }
inline vec fma(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }
// Of the first half_lanes alone: processors that make two narrow operations of a wide one take half
// as long for it.
constexpr int half_lanes = 8;
inline vec fma_half(vec a, vec b, vec c) {
  return _mm512_castps256_ps512(_mm256_fmadd_ps(
      _mm512_castps512_ps256(a), _mm512_castps512_ps256(b), _mm512_castps512_ps256(c)));
}
// Of a NaN and a number both give b, so that a value in the second place keeps its NaN.
inline vec min(vec a, vec b) { return _mm512_min_ps(a, b); }
inline vec max(vec a, vec b) { return _mm512_max_ps(a, b); }
inline vec sqrt(vec a) { return _mm512_sqrt_ps(a); }
inline vec abs(vec a) { return _mm512_abs_ps(a); }
inline vec copysign(vec magnitude, vec sign) {
  return _mm512_castsi512_ps(_mm512_ternarylogic_epi32(_mm512_set1_epi32(INT32_MIN),
                                                       _mm512_castps_si512(sign),
                                                       _mm512_castps_si512(magnitude), 0xCA));
}
inline vec round_even(vec a) { return _mm512_roundscale_ps(a, 0x08); }
inline vec floor(vec a) { return _mm512_roundscale_ps(a, 0x09); }
inline vec ceil(vec a) { return _mm512_roundscale_ps(a, 0x0A); }
inline mask less(vec a, vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
inline mask equal(vec a, vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
inline mask is_nan(vec a) { return _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q); }
inline vec select(mask m, vec yes, vec no) { return _mm512_mask_blend_ps(m, no, yes); }
inline ivec to_int(vec a) { return _mm512_cvtps_epi32(a); }
inline vec to_float(ivec a) { return _mm512_cvtepi32_ps(a); }
inline ivec isplat(std::int32_t x) { return _mm512_set1_epi32(x); }
inline ivec iadd(ivec a, ivec b) { return _mm512_add_epi32(a, b); }
inline ivec isub(ivec a, ivec b) { return _mm512_sub_epi32(a, b); }
inline ivec iand(ivec a, ivec b) { return _mm512_and_si512(a, b); }
template <int N>
inline ivec shift_left(ivec a) {
  return _mm512_slli_epi32(a, N);
}
template <int N>
inline ivec shift_right(ivec a) {
  return _mm512_srai_epi32(a, N);
}
inline ivec bits(vec a) { return _mm512_castps_si512(a); }
inline vec from_bits(ivec a) { return _mm512_castsi512_ps(a); }

// Rows become columns.
inline void transpose(vec (&x)[lanes]) {
  vec y[lanes];
  // Pairs of rows, then of pairs, within each quarter of a vector …
  for (int i = 0; i < lanes; i += 2) {
    y[i] = _mm512_unpacklo_ps(x[i], x[i + 1]);
    y[i + 1] = _mm512_unpackhi_ps(x[i], x[i + 1]);
  }
  const auto join = [](vec a, vec b, bool high) {
    const __m512d c = _mm512_castps_pd(a);
    const __m512d d = _mm512_castps_pd(b);
    return _mm512_castpd_ps(high ? _mm512_unpackhi_pd(c, d) : _mm512_unpacklo_pd(c, d));
  };
  for (int i = 0; i < lanes; i += 4) {
    x[i] = join(y[i], y[i + 2], false);
    x[i + 1] = join(y[i], y[i + 2], true);
    x[i + 2] = join(y[i + 1], y[i + 3], false);
    x[i + 3] = join(y[i + 1], y[i + 3], true);
  }
  // … then the quarters: x[4 g + c] holds column 4 q + c of the rows 4 g … in its quarter q.
  for (int c = 0; c < 4; ++c) {
    const vec a = _mm512_shuffle_f32x4(x[c], x[c + 4], 0x88);
    const vec b = _mm512_shuffle_f32x4(x[c], x[c + 4], 0xDD);
    const vec d = _mm512_shuffle_f32x4(x[c + 8], x[c + 12], 0x88);
    const vec e = _mm512_shuffle_f32x4(x[c + 8], x[c + 12], 0xDD);
    y[c] = _mm512_shuffle_f32x4(a, d, 0x88);
    y[c + 8] = _mm512_shuffle_f32x4(a, d, 0xDD);
    y[c + 4] = _mm512_shuffle_f32x4(b, e, 0x88);
    y[c + 12] = _mm512_shuffle_f32x4(b, e, 0xDD);
  }
  for (int i = 0; i < lanes; ++i) x[i] = y[i];
}

}  // namespace
