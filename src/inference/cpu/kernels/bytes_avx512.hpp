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
struct byte_bounds {
  byte_bounds(std::int32_t zero, std::int32_t low, std::int32_t high)
      : zero_of_pairs(_mm512_set1_epi16(static_cast<short>(zero))),
        low_bytes(_mm512_set1_epi8(static_cast<char>(low))),
        high_bytes(_mm512_set1_epi8(static_cast<char>(high))) {}
  ivec zero_of_pairs, low_bytes, high_bytes;
};
inline ivec join_bytes(const ivec (&x)[4], const byte_bounds& b) {
  const auto pairs = [&](ivec low, ivec high) {
    return _mm512_adds_epi16(_mm512_packs_epi32(low, high), b.zero_of_pairs);
  };
  const __m512i bytes = _mm512_packus_epi16(pairs(x[0], x[1]), pairs(x[2], x[3]));
  return _mm512_min_epu8(_mm512_max_epu8(bytes, b.low_bytes), b.high_bytes);
}
inline void store_bytes(std::uint8_t* p, ivec bytes, std::size_t n) {
  if (n == 64) {
    _mm512_storeu_si512(p, bytes);
  } else {
    _mm512_mask_storeu_epi8(p, (std::uint64_t{1} << n) - 1, bytes);
  }
}
// Two rows of two vectors are joined at once.
constexpr bool joins_rows = true;
inline void store_two_rows(std::uint8_t* first, std::uint8_t* second, ivec bytes, std::size_t n) {
  const __m512i in_order =
      _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7), bytes);
  const __m256i low = _mm512_castsi512_si256(in_order);
  const __m256i high = _mm512_extracti64x4_epi64(in_order, 1);
  if (n == 32) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(first), low);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(second), high);
  } else {
    const auto some = static_cast<__mmask32>((std::uint32_t{1} << n) - 1);
    _mm256_mask_storeu_epi8(first, some, low);
    _mm256_mask_storeu_epi8(second, some, high);
  }
}

}  // namespace
