// Half-width floats in vectors of AVX-512: as many as a vector has floats. Included by
// isa_avx512_half.cpp only.
#pragma once

#include "inference/cpu/kernels/simd_avx512.hpp"

namespace {

inline vec load_float16(const void* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(static_cast<const __m256i*>(p)));
}
inline void store_float16(void* p, vec x) {
  _mm256_storeu_si256(static_cast<__m256i*>(p), _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
}
// Halves as the lower half of each lane, and back.
inline ivec load_low_halves(const void* p) {
  return _mm512_cvtepu16_epi32(_mm256_loadu_si256(static_cast<const __m256i*>(p)));
}
inline void store_low_halves(void* p, ivec x) {
  _mm256_storeu_si256(static_cast<__m256i*>(p), _mm512_cvtepi32_epi16(x));
}
inline ivec iselect(mask m, ivec yes, ivec no) { return _mm512_mask_blend_epi32(m, no, yes); }

}  // namespace
