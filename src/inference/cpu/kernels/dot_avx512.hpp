// As dot_avx2.hpp for AVX-512 without VNNI.
#pragma once

#include "inference/cpu/kernels/bytes_avx512.hpp"

namespace {

constexpr int dot_rows = 6;
constexpr int dot_vectors = 2;

struct dot_sum {
  ivec low, high;  // of each column two sums; columns 0 … 7 and 8 … 15
};
using dot_left = ivec;
struct dot_right {
  ivec low, high;
};

inline ivec imul(ivec a, ivec b) { return _mm512_mullo_epi32(a, b); }
inline dot_sum dot_zero() { return {_mm512_setzero_si512(), _mm512_setzero_si512()}; }
inline dot_sum dot_start(ivec x) {
  return {_mm512_cvtepu32_epi64(_mm512_castsi512_si256(x)),
          _mm512_cvtepu32_epi64(_mm512_extracti64x4_epi64(x, 1))};
}
inline dot_right load_dot(const std::int8_t* p) {
  const auto half = [](const std::int8_t* from) {
    return _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
  };
  return {half(p), half(p + 32)};
}
inline dot_left splat_dot(const std::uint8_t* p) {
  std::int32_t four;
  __builtin_memcpy(&four, p, sizeof four);
  return _mm512_broadcastq_epi64(_mm_cvtepu8_epi16(_mm_cvtsi32_si128(four)));
}
inline void dot_step(dot_sum& sum, dot_left a, const dot_right& b) {
  sum.low = _mm512_add_epi32(sum.low, _mm512_madd_epi16(a, b.low));
  sum.high = _mm512_add_epi32(sum.high, _mm512_madd_epi16(a, b.high));
}
inline ivec dot_total(const dot_sum& sum) {
  const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  const __m512i odd = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
  return _mm512_add_epi32(_mm512_permutex2var_epi32(sum.low, even, sum.high),
                          _mm512_permutex2var_epi32(sum.low, odd, sum.high));
}
inline ivec dot_quads(ivec sum, ivec a, const std::int8_t* b) {
  const __m512i right = _mm512_loadu_si512(b);
  const __m512i even = _mm512_srai_epi16(_mm512_slli_epi16(right, 8), 8);
  const __m512i odd = _mm512_srai_epi16(right, 8);
  const __m512i a_even = _mm512_and_si512(a, _mm512_set1_epi16(0xFF));
  const __m512i a_odd = _mm512_srli_epi16(a, 8);
  return _mm512_add_epi32(
      sum, _mm512_add_epi32(_mm512_madd_epi16(a_even, even), _mm512_madd_epi16(a_odd, odd)));
}

}  // namespace
