// As dot_generic.hpp for AVX2: widened to 16 bits, because the instruction that multiplies bytes
// saturates their sums.
#pragma once

#include "inference/cpu/kernels/simd_avx2.hpp"

namespace {

constexpr int dot_rows = 5;
constexpr int dot_vectors = 1;

struct dot_sum {
  ivec low, high;  // of each column two sums; columns 0 … 3 and 4 … 7
};
using dot_left = ivec;
struct dot_right {
  ivec low, high;
};

inline ivec imul(ivec a, ivec b) { return _mm256_mullo_epi32(a, b); }
inline dot_sum dot_zero() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
inline dot_sum dot_start(ivec x) {
  // Each column's number is one of its two sums.
  return {_mm256_cvtepu32_epi64(_mm256_castsi256_si128(x)),
          _mm256_cvtepu32_epi64(_mm256_extracti128_si256(x, 1))};
}
inline dot_right load_dot(const std::int8_t* p) {
  const auto half = [](const std::int8_t* from) {
    return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
  };
  return {half(p), half(p + 16)};
}
inline dot_left splat_dot(const std::uint8_t* p) {
  std::int32_t four;
  __builtin_memcpy(&four, p, sizeof four);
  return _mm256_broadcastq_epi64(_mm_cvtepu8_epi16(_mm_cvtsi32_si128(four)));
}
inline void dot_step(dot_sum& sum, dot_left a, const dot_right& b) {
  sum.low = _mm256_add_epi32(sum.low, _mm256_madd_epi16(a, b.low));
  sum.high = _mm256_add_epi32(sum.high, _mm256_madd_epi16(a, b.high));
}
inline ivec dot_total(const dot_sum& sum) {
  // Columns 0 1 4 5 and 2 3 6 7, put in order.
  return _mm256_permute4x64_epi64(_mm256_hadd_epi32(sum.low, sum.high), 0xD8);
}
// Rounds to even; of numbers within the range of int32.
inline ivec nearest_int(vec x) { return to_int(x); }
// As many bytes as there are lanes, each made a number of 32 bits.
inline ivec load_unsigned(const std::uint8_t* p) {
  return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
}
inline void store_bytes(std::uint8_t* p, ivec x) {
  const __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packus_epi16(words, words));
}

// Four bytes of each lane times four small integers, added to the lane's sum.
inline ivec dot_quads(ivec sum, ivec a, const std::int8_t* b) {
  const __m256i right = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(b));
  const __m256i even = _mm256_srai_epi16(_mm256_slli_epi16(right, 8), 8);
  const __m256i odd = _mm256_srai_epi16(right, 8);
  const __m256i a_even = _mm256_and_si256(a, _mm256_set1_epi16(0xFF));
  const __m256i a_odd = _mm256_srli_epi16(a, 8);
  return _mm256_add_epi32(
      sum, _mm256_add_epi32(_mm256_madd_epi16(a_even, even), _mm256_madd_epi16(a_odd, odd)));
}
// All bytes of a vector; of the second only the first n, the others 0.
inline ivec load_bytes(const std::uint8_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
inline ivec load_bytes(const std::uint8_t* p, std::size_t n) {
  std::uint8_t part[32] = {};
  __builtin_memcpy(part, p, n);
  return load_bytes(part);
}
// Within each quarter (of 16 bytes) the bytes or pairs of bytes of two vectors, in turn.
inline ivec zip_bytes_low(ivec a, ivec b) { return _mm256_unpacklo_epi8(a, b); }
inline ivec zip_bytes_high(ivec a, ivec b) { return _mm256_unpackhi_epi8(a, b); }
inline ivec zip_pairs_low(ivec a, ivec b) { return _mm256_unpacklo_epi16(a, b); }
inline ivec zip_pairs_high(ivec a, ivec b) { return _mm256_unpackhi_epi16(a, b); }
// The inverse: clamp(x + zero, low, high) of four vectors, each with four numbers of each 16 bytes.
// The bounds lie in [0, 255].
struct byte_bounds {
  byte_bounds(std::int32_t zero, std::int32_t low, std::int32_t high)
      : zero_of_pairs(_mm256_set1_epi16(static_cast<short>(zero))),
        low_bytes(_mm256_set1_epi8(static_cast<char>(low))),
        high_bytes(_mm256_set1_epi8(static_cast<char>(high))) {}
  ivec zero_of_pairs, low_bytes, high_bytes;
};
inline ivec join_bytes(const ivec (&x)[4], const byte_bounds& b) {
  const auto pairs = [&](ivec low, ivec high) {
    return _mm256_adds_epi16(_mm256_packs_epi32(low, high), b.zero_of_pairs);
  };
  const __m256i bytes = _mm256_packus_epi16(pairs(x[0], x[1]), pairs(x[2], x[3]));
  return _mm256_min_epu8(_mm256_max_epu8(bytes, b.low_bytes), b.high_bytes);
}
inline void store_bytes(std::uint8_t* p, ivec bytes, std::size_t n) {
  if (n == 32) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), bytes);
  } else {
    __builtin_memcpy(p, &bytes, n);
  }
}
// Whether two rows of a tile of two vectors are joined at once.
constexpr bool joins_rows = false;
inline void store_two_rows(std::uint8_t*, std::uint8_t*, ivec, std::size_t) {}

}  // namespace
