// As dot_generic.hpp for AVX-512 with VNNI: one instruction.
#pragma once

#include "inference/cpu/kernels/bytes_avx512.hpp"

namespace {

constexpr int dot_rows = 14;
constexpr int dot_vectors = 2;

using dot_sum = ivec;
using dot_left = ivec;
using dot_right = ivec;

inline ivec imul(ivec a, ivec b) { return _mm512_mullo_epi32(a, b); }
inline dot_sum dot_zero() { return _mm512_setzero_si512(); }
inline dot_sum dot_start(ivec x) { return x; }
inline dot_right load_dot(const std::int8_t* p) { return _mm512_loadu_si512(p); }
inline dot_left splat_dot(const std::uint8_t* p) {
  std::int32_t four;
  __builtin_memcpy(&four, p, sizeof four);
  return _mm512_set1_epi32(four);
}
inline void dot_step(dot_sum& sum, dot_left a, dot_right b) {
  sum = _mm512_dpbusd_epi32(sum, a, b);
}
inline ivec dot_total(dot_sum sum) { return sum; }
inline ivec dot_quads(ivec sum, ivec a, const std::int8_t* b) {
  return _mm512_dpbusd_epi32(sum, a, _mm512_loadu_si512(b));
}

}  // namespace
