// Products of four bytes with four small integers, summed: included by isa_generic.cpp after
// simd_generic.hpp.
#pragma once

#include "inference/cpu/kernels/simd_generic.hpp"

namespace {

constexpr int dot_rows = 2;
constexpr int dot_vectors = 1;

using dot_sum = ivec;
struct dot_left {
  std::int32_t of[4];
};
struct dot_right {
  ivec of[4];  // the k-th of each column
};

inline ivec imul(ivec a, ivec b) {
  return __builtin_convertvector(
      __builtin_convertvector(a, uvec) * __builtin_convertvector(b, uvec), ivec);
}
inline dot_sum dot_zero() { return ivec{}; }
// A sum that begins with x.
inline dot_sum dot_start(ivec x) { return x; }
inline dot_right load_dot(const std::int8_t* p) {
  dot_right r{};
  for (int k = 0; k < 4; ++k) r.of[k] = ivec{p[k], p[4 + k], p[8 + k], p[12 + k]};
  return r;
}
inline dot_left splat_dot(const std::uint8_t* p) { return {{p[0], p[1], p[2], p[3]}}; }
inline void dot_step(dot_sum& sum, const dot_left& a, const dot_right& b) {
  for (int k = 0; k < 4; ++k) sum = iadd(sum, imul(isplat(a.of[k]), b.of[k]));
}
inline ivec dot_total(dot_sum sum) { return sum; }
inline ivec nearest_int(vec x) { return to_int(round_even(x)); }
inline ivec load_unsigned(const std::uint8_t* p) { return ivec{p[0], p[1], p[2], p[3]}; }
inline void store_bytes(std::uint8_t* p, ivec x) {
  for (int i = 0; i < lanes; ++i) p[i] = static_cast<std::uint8_t>(x[i]);
}

using byte_vec = std::uint8_t __attribute__((vector_size(16)));
using pair_vec = std::uint16_t __attribute__((vector_size(16)));
template <class To, class From>
inline To same_bits(From x) {
  To y;
  std::memcpy(&y, &x, sizeof y);
  return y;
}
inline ivec dot_quads(ivec sum, ivec a, const std::int8_t* b) {
  const auto left = same_bits<byte_vec>(a);
  for (int i = 0; i < lanes; ++i) {
    std::int32_t four = 0;
    for (int k = 0; k < 4; ++k) four += static_cast<std::int32_t>(left[4 * i + k]) * b[4 * i + k];
    sum = iadd(sum, i == 0   ? ivec{four}
                    : i == 1 ? ivec{0, four}
                    : i == 2 ? ivec{0, 0, four}
                             : ivec{0, 0, 0, four});
  }
  return sum;
}
inline ivec load_bytes(const std::uint8_t* p, std::size_t n) {
  ivec x{};
  std::memcpy(&x, p, n);
  return x;
}
inline ivec load_bytes(const std::uint8_t* p) { return load_bytes(p, sizeof(ivec)); }
template <class Part, int First>
inline ivec zip(ivec a, ivec b) {
  const Part x = same_bits<Part>(a);
  const Part y = same_bits<Part>(b);
  Part z{};
  constexpr int half = static_cast<int>(sizeof(ivec) / sizeof(x[0])) / 2;
  for (int i = 0; i < half; ++i) {
    z[2 * i] = x[First * half + i];
    z[2 * i + 1] = y[First * half + i];
  }
  return same_bits<ivec>(z);
}
inline ivec zip_bytes_low(ivec a, ivec b) { return zip<byte_vec, 0>(a, b); }
inline ivec zip_bytes_high(ivec a, ivec b) { return zip<byte_vec, 1>(a, b); }
inline ivec zip_pairs_low(ivec a, ivec b) { return zip<pair_vec, 0>(a, b); }
inline ivec zip_pairs_high(ivec a, ivec b) { return zip<pair_vec, 1>(a, b); }
struct byte_bounds {
  std::int32_t zero, low, high;
};
inline ivec join_bytes(const ivec (&x)[4], const byte_bounds& b) {
  byte_vec bytes{};
  for (int i = 0; i < 16; ++i) {
    // The sum is made where it cannot overflow.
    const std::int64_t y = std::int64_t{x[i / 4][i % 4]} + b.zero;
    bytes[i] = static_cast<std::uint8_t>(y < b.low ? b.low : y > b.high ? b.high : y);
  }
  return same_bits<ivec>(bytes);
}
inline void store_bytes(std::uint8_t* p, ivec bytes, std::size_t n) { std::memcpy(p, &bytes, n); }
constexpr bool joins_rows = false;
inline void store_two_rows(std::uint8_t*, std::uint8_t*, ivec, std::size_t) {}

}  // namespace
