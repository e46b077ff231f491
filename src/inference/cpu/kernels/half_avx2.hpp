// Half-width floats in vectors of AVX2. See half_avx512.hpp.
#pragma once

#include "inference/cpu/kernels/simd_avx2.hpp"

namespace {

inline vec load_float16(const void* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(static_cast<const __m128i*>(p)));
}
inline void store_float16(void* p, vec x) {
  _mm_storeu_si128(static_cast<__m128i*>(p), _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
}
inline ivec load_low_halves(const void* p) {
  return _mm256_cvtepu16_epi32(_mm_loadu_si128(static_cast<const __m128i*>(p)));
}
inline void store_low_halves(void* p, ivec x) {
  const __m256i low = _mm256_and_si256(x, _mm256_set1_epi32(0xFFFF));
  const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(low, low), 0x08);
  _mm_storeu_si128(static_cast<__m128i*>(p), _mm256_castsi256_si128(packed));
}
inline ivec iselect(mask m, ivec yes, ivec no) {
  return _mm256_blendv_epi8(no, yes, _mm256_castps_si256(m));
}

}  // namespace
