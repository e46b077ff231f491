// exp, log, tanh, erf and what is made of them, on vectors. Included after a simd_*.hpp.
//
// The polynomials are minimax fits (Lawson's weighted least squares on Chebyshev nodes) of relative
// error below 6e-9, so that rounding dominates: a few ulp each, checked in tests.
#pragma once

namespace {

constexpr float infinity = __builtin_huge_valf();

template <int N>
inline vec polynomial(vec x, const float (&coefficients)[N]) {
  vec r = splat(coefficients[0]);
#if defined(__clang__)
#pragma unroll
#else
#pragma GCC unroll 16
#endif
  for (int i = 1; i < N; ++i) r = fma(r, x, splat(coefficients[i]));
  return r;
}

// (e^r - 1 - r) / r^2 for |r| <= ln(2) / 2
inline vec exp_tail(vec r) {
  return polynomial(r, {0.00139506254F, 0.00836898107F, 0.0416662022F, 0.166665182F, 0.5F});
}

inline vec exp(vec x) {
  // Beyond these the result is 0 or infinity; NaN stays, being the second operand.
  const vec bounded = min(splat(89.0F), max(splat(-104.0F), x));
  const vec n = round_even(mul(bounded, splat(1.44269504F)));
  // ln 2 in two parts, so that n times the first is exact.
  vec r = fma(n, splat(-0.693359375F), bounded);
  r = fma(n, splat(2.12194440e-4F), r);
  const vec y = add(fma(mul(r, r), exp_tail(r), r), splat(1.0F));
  // 2^n in two factors: n goes beyond what one exponent field holds on either side.
  const ivec whole = to_int(n);
  const ivec half = shift_right<1>(whole);
  const vec first = from_bits(shift_left<23>(iadd(half, isplat(127))));
  const vec second = from_bits(shift_left<23>(iadd(isub(whole, half), isplat(127))));
  return mul(mul(y, first), second);
}

inline vec expm1(vec x) {
  const vec near = fma(mul(x, x), exp_tail(x), x);
  return select(less(abs(x), splat(0.34F)), near, sub(exp(x), splat(1.0F)));
}

inline vec log(vec x) {
  const mask tiny = less(x, splat(1.17549435e-38F));
  const vec scaled = select(tiny, mul(x, splat(8388608.0F)), x);
  // Mantissa in [sqrt(1/2), sqrt(2)): 0x3F3504F3 is sqrt(1/2).
  const ivec shifted = isub(bits(scaled), isplat(0x3F3504F3));
  const ivec exponent = shift_right<23>(shifted);
  const vec m = from_bits(iadd(iand(shifted, isplat(0x007FFFFF)), isplat(0x3F3504F3)));
  const vec f = sub(m, splat(1.0F));
  const vec e = sub(to_float(exponent), select(tiny, splat(23.0F), zero()));
  vec y = polynomial(f, {-0.0786003172F, 0.128826082F, -0.131290287F, 0.14181073F, -0.166245162F,
                         0.200022906F, -0.250008106F, 0.333333164F});
  const vec square = mul(f, f);
  y = mul(y, mul(square, f));
  y = fma(e, splat(-2.12194440e-4F), y);
  y = fma(square, splat(-0.5F), y);
  y = add(y, f);
  y = fma(e, splat(0.693359375F), y);
  y = select(equal(x, splat(infinity)), x, y);
  y = select(equal(x, zero()), splat(-infinity), y);
  const mask negative = less(x, zero());
  y = select(negative, splat(__builtin_nanf("")), y);
  return select(is_nan(x), x, y);
}

inline vec tanh(vec x) {
  const vec a = abs(x);
  const vec z = mul(x, x);
  const vec p =
      polynomial(z, {-0.00571654318F, 0.0206501652F, -0.0537433773F, 0.133314893F, -0.333332837F});
  const vec near = fma(mul(p, z), x, x);
  const vec e = exp(add(a, a));
  const vec far = sub(splat(1.0F), div(splat(2.0F), add(e, splat(1.0F))));
  return select(less(a, splat(0.625F)), near, copysign(far, x));
}

inline vec sigmoid(vec x) { return div(splat(1.0F), add(splat(1.0F), exp(sub(zero(), x)))); }

inline vec erf(vec x) {
  const vec a = abs(x);
  const vec z = mul(x, x);
  const vec near = mul(x, polynomial(z, {7.88913894e-05F, -0.000802087481F, 0.00518954312F,
                                         -0.0268544517F, 0.112836003F, -0.37612626F, 1.12837911F}));
  // 1 - e^(-p(a)): p fits -log(erfc(a)) on [0.95, 4]; from 4 on erf is 1 in float.
  const vec t = min(splat(4.0F), a);
  const vec p = polynomial(t, {-0.000191524872F, 0.00299974647F, -0.0220528301F, 0.103568643F,
                               0.637598038F, 1.12742734F, 0.000256143394F});
  const vec far = sub(splat(1.0F), exp(sub(zero(), p)));
  return select(less(a, splat(1.0F)), near, copysign(far, x));
}

// x (1 + erf(x / sqrt 2)) / 2, off by less than 2.5e-7 |x|. erf as a quotient of polynomials of
// x^2, each of its own scale: 2.5e-8 off before rounding. Source: a weighted least squares fit
// (Lawson).
inline vec gelu(vec x) {
  // From here on erf is -1 to all digits of a float, and 1.
  const vec bound = splat(5.6F);
  const vec t = min(bound, max(sub(zero(), bound), x));
  const vec u = mul(t, t);
  const vec p = polynomial(u, {2.19499903e-08F, 6.28754242e-06F, 1.71599910e-04F, 4.69344202e-03F,
                               3.42126191e-02F, 3.98942262e-01F});
  const vec q = polynomial(u, {1.16930903e-06F, 7.40893011e-05F, 1.90078816e-03F, 2.88364794e-02F,
                               2.52424598e-01F, 1.0F});
  const vec y = mul(x, add(splat(0.5F), div(mul(t, p), q)));
  return select(less(x, sub(zero(), bound)), zero(), y);
}

// x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2 as x sigmoid of twice that.
inline vec gelu_tanh(vec x) {
  const vec inner = fma(splat(0.0713548163F), mul(x, x), splat(1.59576912F));
  return mul(x, sigmoid(mul(x, inner)));
}

// log(1 + e^x), with the rounding of 1 + e taken back so that it keeps its relative accuracy.
inline vec softplus(vec x) {
  const vec one = splat(1.0F);
  const vec e = exp(sub(zero(), abs(x)));
  const vec u = add(one, e);
  const vec d = sub(u, one);
  const vec l = select(equal(d, zero()), e, mul(log(u), div(e, d)));
  return add(max(zero(), x), l);
}

inline vec clamp(vec x, vec low, vec high) { return min(high, max(low, x)); }
// gain * x * clamp(alpha x + beta, 0, 1) + shift
inline vec hard_swish(vec x, vec alpha, vec beta, vec gain, vec shift) {
  return fma(mul(x, clamp(fma(alpha, x, beta), zero(), splat(1.0F))), gain, shift);
}

// NaN if either is.
inline vec sticky_max(vec a, vec b) { return select(is_nan(a), a, max(a, b)); }
inline vec sticky_min(vec a, vec b) { return select(is_nan(a), a, min(a, b)); }

}  // namespace
