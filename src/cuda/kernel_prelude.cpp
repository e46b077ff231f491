// What every generated kernel begins with. MIZZEN_EMULATED: compiled for the processor, by tests.
#include "cuda/kernel_text.hpp"

namespace mizzen::cuda {

std::string_view prelude() {
  return R"(
struct half_t { unsigned short bits; };
struct bfloat_t { unsigned short bits; };
struct byte_t { unsigned char v; __device__ operator int() const { return v; } };
struct e4m3_t { unsigned char bits; };
struct e5m2_t { unsigned char bits; };
template <class T, int N> struct alignas(sizeof(T) * N) pack { T at[N]; };

#ifndef MIZZEN_EMULATED
#undef INFINITY
#define INFINITY __int_as_float(0x7f800000)
__device__ __forceinline__ float half_to_float(unsigned short h) {
  float f;
  asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(h));
  return f;
}
__device__ __forceinline__ unsigned short float_to_half(float f) {
  unsigned short h;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(f));
  return h;
}
__device__ __forceinline__ float bits_to_float(unsigned b) { return __uint_as_float(b); }
__device__ __forceinline__ unsigned float_to_bits(float f) { return __float_as_uint(f); }
#endif

__device__ __forceinline__ float to_float(float v) { return v; }
__device__ __forceinline__ float to_float(half_t v) { return half_to_float(v.bits); }
__device__ __forceinline__ float to_float(bfloat_t v) { return bits_to_float((unsigned)v.bits << 16); }
__device__ __forceinline__ float to_float(unsigned char v) { return (float)v; }
__device__ __forceinline__ float to_float(signed char v) { return (float)v; }
__device__ __forceinline__ float to_float(byte_t v) { return (float)v.v; }
__device__ __forceinline__ float to_float(e4m3_t v) {
  const unsigned m = v.bits & 127u;
  // The exponents of the two lie 120 apart; the smallest numbers come out right as well.
  const float a = m == 127u ? bits_to_float(0x7fc00000u) : bits_to_float(m << 20) * 1.329227995784916e36f;
  return (v.bits & 128u) != 0u ? -a : a;
}
__device__ __forceinline__ float to_float(e5m2_t v) { return half_to_float((unsigned short)(v.bits << 8)); }
__device__ __forceinline__ float to_float(int v) { return (float)v; }
__device__ __forceinline__ float to_float(long long v) { return (float)v; }

__device__ __forceinline__ void put(float* p, float v) { *p = v; }
__device__ __forceinline__ void put(half_t* p, float v) { p->bits = float_to_half(v); }
__device__ __forceinline__ void put(bfloat_t* p, float v) {
  unsigned b = float_to_bits(v);
  p->bits = (unsigned short)(v != v ? 0x7fc0u : (b + 0x7fffu + ((b >> 16) & 1u)) >> 16);
}
__device__ __forceinline__ void put(unsigned char* p, float v) { *p = v != 0.0f; }
__device__ __forceinline__ void put(int* p, long long v) { *p = (int)v; }
__device__ __forceinline__ void put(long long* p, long long v) { *p = v; }
// Towards zero; what does not fit becomes the nearest that does, and NaN 0.
__device__ __forceinline__ void put(signed char* p, float v) {
  *p = (signed char)(v != v ? 0 : (int)fminf(fmaxf(v, -128.0f), 127.0f));
}
__device__ __forceinline__ void put(byte_t* p, float v) {
  p->v = (unsigned char)(v != v ? 0 : (int)fminf(fmaxf(v, 0.0f), 255.0f));
}
// To nearest, ties to even; what is too large becomes the largest.
__device__ __forceinline__ void put(e4m3_t* p, float v) {
  const unsigned b = float_to_bits(v), a = b & 0x7fffffffu;
  unsigned r;
  if (a > 0x7f800000u) r = 127u;
  else if (a >= 0x43e00000u) r = 126u;
  else if (a >= 0x3c800000u) r = ((a + 0x7ffffu + ((a >> 20) & 1u)) >> 20) - 960u;
  else r = (unsigned)(int)rintf(bits_to_float(a) * 512.0f);
  p->bits = (unsigned char)(r | ((b >> 24) & 128u));
}
__device__ __forceinline__ void put(e5m2_t* p, float v) {
  const unsigned b = float_to_bits(v), a = b & 0x7fffffffu;
  unsigned r;
  if (a > 0x7f800000u) r = 127u;
  else if (a >= 0x47600000u) r = 123u;
  else if (a >= 0x38800000u) r = ((a + 0xfffffu + ((a >> 21) & 1u)) >> 21) - 448u;
  else r = (unsigned)(int)rintf(bits_to_float(a) * 65536.0f);
  p->bits = (unsigned char)(r | ((b >> 24) & 128u));
}

template <class T, class I> __device__ __forceinline__ float read(const T* p, I i) { return to_float(p[i]); }
template <class T, class I> __device__ __forceinline__ long long whole(const T* p, I i) { return (long long)p[i]; }

// Towards zero; what does not fit saturates, and NaN becomes 0.
__device__ __forceinline__ long long to_int32(float v) {
  return v != v ? 0 : v <= -2147483648.0f ? -2147483647 - 1 : v >= 2147483648.0f ? 2147483647 : (int)v;
}
__device__ __forceinline__ long long to_int64(float v) {
  return v != v ? 0ll
         : v <= -9223372036854775808.0f ? -9223372036854775807ll - 1
         : v >= 9223372036854775808.0f ? 9223372036854775807ll : (long long)v;
}
// With the sign of the divisor.
__device__ __forceinline__ long long modulo(long long a, long long b) {
  if (b == 0 || b == -1) return 0;
  const long long rest = a % b;
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

// As a narrower type has it.
template <class T> __device__ __forceinline__ float rounded_to(float v) {
  T narrow;
  put(&narrow, v);
  return to_float(narrow);
}
// To whole numbers in [low, high], ties to even; NaN becomes the least.
__device__ __forceinline__ float quantised(float v, float zero, float low, float high) {
  return fminf(fmaxf(rintf(v) + zero, low), high);
}

// NaN goes through, as in ONNX.
__device__ __forceinline__ float larger(float a, float b) { return a != a || a > b ? a : b; }
__device__ __forceinline__ float smaller(float a, float b) { return a != a || a < b ? a : b; }
__device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }
__device__ __forceinline__ float softplus(float x) { return x > 20.0f ? x : log1pf(expf(x)); }
__device__ __forceinline__ float sign(float x) { return x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : x; }
__device__ __forceinline__ float gelu_erf(float x) { return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f)); }
__device__ __forceinline__ float gelu_tanh(float x) {
  return 0.5f * x * (1.0f + tanhf(0.7978845608028654f * (x + 0.044715f * x * x * x)));
}

struct plus { __device__ float operator()(float a, float b) const { return a + b; } };
struct times { __device__ float operator()(float a, float b) const { return a * b; } };
struct greater { __device__ float operator()(float a, float b) const { return larger(a, b); } };
struct lesser { __device__ float operator()(float a, float b) const { return smaller(a, b); } };

template <class Op> __device__ __forceinline__ float over_warp(float v, Op op) {
  for (int lane = 16; lane > 0; lane >>= 1) v = op(v, __shfl_xor_sync(0xffffffffu, v, lane));
  return v;
}
// The sum over lanes that are least, 2 * least, … apart, below most; both are powers of two.
__device__ __forceinline__ float over_lanes(float v, int least, int most) {
  for (int lane = most / 2; lane >= least; lane >>= 1) v += __shfl_xor_sync(0xffffffffu, v, lane);
  return v;
}
// Over 256 threads; partial holds 8 numbers. Each thread gets the result.
template <class Op> __device__ __forceinline__ float over_block(float v, Op op, float* partial) {
  v = over_warp(v, op);
  __syncthreads();
  if ((threadIdx.x & 31u) == 0u) partial[threadIdx.x >> 5] = v;
  __syncthreads();
  v = partial[0];
  for (int i = 1; i < 8; ++i) v = op(v, partial[i]);
  return v;
}
)";
}

}  // namespace mizzen::cuda
