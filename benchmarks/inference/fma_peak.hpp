// What the processor can do at most: floating-point operations per second of one thread that only
// multiplies and adds in registers.
#pragma once

#include "inference/cpu/isa.hpp"

#include <algorithm>
#include <ctime>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace mizzen::benchmarks {

#if defined(__x86_64__)
// Sixteen independent chains hide the latency of FMA on every processor so far.
__attribute__((target("avx512f"))) inline double fma_avx512(long rounds) {
  __m512 sum[16];
  for (auto& s : sum) s = _mm512_set1_ps(1.0F);
  const __m512 a = _mm512_set1_ps(0.999F);
  const __m512 b = _mm512_set1_ps(0.001F);
  for (long i = 0; i < rounds; ++i) {
#pragma GCC unroll 16
    for (auto& s : sum) s = _mm512_fmadd_ps(s, a, b);
  }
  float out[16];
  __m512 total = sum[0];
  for (int i = 1; i < 16; ++i) total = _mm512_add_ps(total, sum[i]);
  _mm512_storeu_ps(out, total);
  return static_cast<double>(out[0]);
}

__attribute__((target("avx2,fma"))) inline double fma_avx2(long rounds) {
  __m256 sum[12];
  for (auto& s : sum) s = _mm256_set1_ps(1.0F);
  const __m256 a = _mm256_set1_ps(0.999F);
  const __m256 b = _mm256_set1_ps(0.001F);
  for (long i = 0; i < rounds; ++i) {
#pragma GCC unroll 12
    for (auto& s : sum) s = _mm256_fmadd_ps(s, a, b);
  }
  float out[8];
  __m256 total = sum[0];
  for (int i = 1; i < 12; ++i) total = _mm256_add_ps(total, sum[i]);
  _mm256_storeu_ps(out, total);
  return static_cast<double>(out[0]);
}
#endif

// Processor time of this thread, so that a busy machine does not lower the figure.
inline double thread_seconds() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// The best of a few tries; 0 where there is no such loop for the level.
inline double fma_peak(inference::detail::cpu::isa level) {
  double best = 0;
#if defined(__x86_64__)
  using inference::detail::cpu::isa;
  if (level == isa::generic) return 0;
  constexpr long rounds = 4'000'000;
  for (int attempt = 0; attempt < 7; ++attempt) {
    const double start = thread_seconds();
    volatile double sink = level == isa::avx512 ? fma_avx512(rounds) : fma_avx2(rounds);
    static_cast<void>(sink);
    const double time = thread_seconds() - start;
    const double operations = static_cast<double>(rounds) * (level == isa::avx512 ? 512 : 192);
    best = std::max(best, operations / time);
  }
#else
  static_cast<void>(level);
#endif
  return best;
}

}  // namespace mizzen::benchmarks
