// What the byte kernels for AVX-512 do beside products, with VNNI or without. dot_avx2.hpp has the
// same for AVX2.
#pragma once

#include "inference/cpu/kernels/simd_avx512.hpp"

namespace {

inline ivec nearest_int(vec x) { return to_int(x); }
inline ivec load_unsigned(const std::uint8_t* p) {
  return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
inline void store_bytes(std::uint8_t* p, ivec x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(x));
}
inline ivec load_bytes(const std::uint8_t* p) { return _mm512_loadu_si512(p); }
inline ivec load_bytes(const std::uint8_t* p, std::size_t n) {
  return _mm512_maskz_loadu_epi8((std::uint64_t{1} << n) - 1, p);
}
inline ivec zip_bytes_low(ivec a, ivec b) { return _mm512_unpacklo_epi8(a, b); }
inline ivec zip_bytes_high(ivec a, ivec b) { return _mm512_unpackhi_epi8(a, b); }
inline ivec zip_pairs_low(ivec a, ivec b) { return _mm512_unpacklo_epi16(a, b); }
inline ivec zip_pairs_high(ivec a, ivec b) { return _mm512_unpackhi_epi16(a, b); }
inline void store_joined(std::uint8_t* p, const ivec (&x)[4], std::size_t n) {
  const __m512i bytes =
      _mm512_packus_epi16(_mm512_packs_epi32(x[0], x[1]), _mm512_packs_epi32(x[2], x[3]));
  if (n == 64) {
    _mm512_storeu_si512(p, bytes);
  } else {
    _mm512_mask_storeu_epi8(p, (std::uint64_t{1} << n) - 1, bytes);
  }
}

}  // namespace
