// The functions of kernel_table on vectors. Included after a simd_*.hpp, once per instruction set.
#pragma once

#include "inference/cpu/kernels/kernel_table.hpp"
#include "inference/cpu/kernels/vector_conv.inc.hpp"
#include "inference/cpu/kernels/vector_gemm.inc.hpp"
#include "inference/cpu/kernels/vector_math.inc.hpp"
#include "inference/cpu/kernels/vector_recurrent.inc.hpp"

namespace {

using namespace mizzen::inference::detail::cpu;

// y[i] = f(x[i]) by whole vectors, then the rest with a mask.
template <typename F>
inline void map(const float* x, float* y, std::size_t n, F f) {
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes) store(y + i, f(load(x + i)));
  if (i < n) {
    const mask m = first_lanes(n - i);
    store(y + i, f(load(x + i, m)), m);
  }
}

void unary(const activation& g, const float* x, float* y, std::size_t n) {
  const vec alpha = splat(g.alpha);
  const vec beta = splat(g.beta);
  const vec one = splat(1.0F);
  switch (g.op) {
    case unary_op::identity:
      return map(x, y, n, [](vec v) { return v; });
    case unary_op::abs:
      return map(x, y, n, [](vec v) { return abs(v); });
    case unary_op::negative:
      return map(x, y, n, [](vec v) { return from_bits(iadd(bits(v), isplat(INT32_MIN))); });
    case unary_op::exp:
      return map(x, y, n, [](vec v) { return exp(v); });
    case unary_op::log:
      return map(x, y, n, [](vec v) { return log(v); });
    case unary_op::sqrt:
      return map(x, y, n, [](vec v) { return sqrt(v); });
    case unary_op::reciprocal:
      return map(x, y, n, [=](vec v) { return div(one, v); });
    case unary_op::floor:
      return map(x, y, n, [](vec v) { return floor(v); });
    case unary_op::ceil:
      return map(x, y, n, [](vec v) { return ceil(v); });
    case unary_op::round:
      return map(x, y, n, [](vec v) { return round_even(v); });
    case unary_op::sign:
      return map(x, y, n, [=](vec v) { return select(less(zero(), abs(v)), copysign(one, v), v); });
    case unary_op::erf:
      return map(x, y, n, [](vec v) { return erf(v); });
    case unary_op::tanh:
      return map(x, y, n, [](vec v) { return tanh(v); });
    case unary_op::sigmoid:
      return map(x, y, n, [](vec v) { return sigmoid(v); });
    case unary_op::softplus:
      return map(x, y, n, [](vec v) { return softplus(v); });
    case unary_op::softsign:
      return map(x, y, n, [=](vec v) { return div(v, add(one, abs(v))); });
    case unary_op::relu:
      return map(x, y, n, [](vec v) { return max(zero(), v); });
    case unary_op::leaky_relu:
      return map(x, y, n, [=](vec v) { return select(less(v, zero()), mul(alpha, v), v); });
    case unary_op::elu:
      return map(x, y, n, [=](vec v) { return select(less(v, zero()), mul(alpha, expm1(v)), v); });
    case unary_op::celu:
      return map(x, y, n, [=](vec v) {
        return select(less(v, zero()), mul(alpha, expm1(div(v, alpha))), v);
      });
    case unary_op::scale:
      return map(x, y, n, [=](vec v) { return fma(alpha, v, beta); });
    case unary_op::selu:
      return map(x, y, n, [=](vec v) {
        return mul(beta, select(less(v, zero()), mul(alpha, expm1(v)), v));
      });
    case unary_op::thresholded_relu:
      return map(x, y, n,
                 [=](vec v) { return select(less(alpha, v), v, select(is_nan(v), v, zero())); });
    case unary_op::clip:
      return map(x, y, n, [=](vec v) { return clamp(v, alpha, beta); });
    case unary_op::gelu:
      return map(x, y, n, [](vec v) { return gelu(v); });
    case unary_op::gelu_tanh:
      return map(x, y, n, [](vec v) { return gelu_tanh(v); });
    case unary_op::hard_sigmoid:
      return map(x, y, n, [=](vec v) { return clamp(fma(alpha, v, beta), zero(), one); });
    case unary_op::hard_swish:
      return map(x, y, n, [=, gain = splat(g.gain), shift = splat(g.shift)](vec v) {
        return hard_swish(v, alpha, beta, gain, shift);
      });
    case unary_op::swish:
      return map(x, y, n, [=](vec v) { return mul(v, sigmoid(mul(alpha, v))); });
    case unary_op::mish:
      return map(x, y, n, [=](vec v) {
        // With e = e^x, tanh(log(1 + e)) = (e^2 + 2 e) / (e^2 + 2 e + 2), and 1 where e is large.
        const vec e = exp(min(splat(20.0F), v));
        const vec p = mul(e, add(e, splat(2.0F)));
        return mul(v, div(p, add(p, splat(2.0F))));
      });
    default:
      return;
  }
}

template <typename F>
inline void map2(const float* a, int a_step, const float* b, int b_step, float* y, std::size_t n,
                 F f) {
  if (a_step == 0) {
    const vec left = splat(*a);
    if (b_step == 0) {
      const vec right = splat(*b);
      return map(y, y, n, [=](vec) { return f(left, right); });
    }
    return map(b, y, n, [=](vec v) { return f(left, v); });
  }
  if (b_step == 0) {
    const vec right = splat(*b);
    return map(a, y, n, [=](vec v) { return f(v, right); });
  }
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes) store(y + i, f(load(a + i), load(b + i)));
  if (i < n) {
    const mask m = first_lanes(n - i);
    store(y + i, f(load(a + i, m), load(b + i, m)), m);
  }
}

void binary(binary_op op, const float* a, int a_step, const float* b, int b_step, float* y,
            std::size_t n) {
  switch (op) {
    case binary_op::add:
      return map2(a, a_step, b, b_step, y, n, [](vec l, vec r) { return add(l, r); });
    case binary_op::sub:
      return map2(a, a_step, b, b_step, y, n, [](vec l, vec r) { return sub(l, r); });
    case binary_op::mul:
      return map2(a, a_step, b, b_step, y, n, [](vec l, vec r) { return mul(l, r); });
    case binary_op::div:
      return map2(a, a_step, b, b_step, y, n, [](vec l, vec r) { return div(l, r); });
    case binary_op::min:
      return map2(a, a_step, b, b_step, y, n, [](vec l, vec r) { return sticky_min(l, r); });
    case binary_op::max:
      return map2(a, a_step, b, b_step, y, n, [](vec l, vec r) { return sticky_max(l, r); });
    default:
      return;
  }
}

void scale_shift(const float* x, const float* scale, const float* shift, int step, float* y,
                 std::size_t n) {
  if (step == 0) {
    const vec s = splat(*scale);
    const vec b = splat(*shift);
    return map(x, y, n, [=](vec v) { return fma(v, s, b); });
  }
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    store(y + i, fma(load(x + i), load(scale + i), load(shift + i)));
  }
  if (i < n) {
    const mask m = first_lanes(n - i);
    store(y + i, fma(load(x + i, m), load(scale + i, m), load(shift + i, m)), m);
  }
}

// Folds n floats with four independent chains; lanes beyond n keep the neutral value.
template <typename Take, typename Join>
inline vec fold(const float* x, std::size_t n, vec neutral, Take take, Join join) {
  vec r0 = neutral;
  vec r1 = neutral;
  vec r2 = neutral;
  vec r3 = neutral;
  std::size_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    r0 = take(r0, load(x + i));
    r1 = take(r1, load(x + i + lanes));
    r2 = take(r2, load(x + i + 2 * lanes));
    r3 = take(r3, load(x + i + 3 * lanes));
  }
  for (; i + lanes <= n; i += lanes) r0 = take(r0, load(x + i));
  if (i < n) {
    const mask m = first_lanes(n - i);
    r1 = select(m, take(r1, load(x + i, m)), r1);
  }
  return join(join(r0, r1), join(r2, r3));
}

template <typename Join>
inline float fold_lanes(vec x, Join join) {
  float lane[lanes];
  store(lane, x);
  for (int width = lanes / 2; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) lane[i] = join(lane[i], lane[i + width]);
  }
  return lane[0];
}

inline float sum_lanes(vec x) {
  return fold_lanes(x, [](float a, float b) { return a + b; });
}
inline float max_lanes(vec x) {
  return fold_lanes(x, [](float a, float b) { return a > b || a != a ? a : b; });
}

float reduce(reduce_op op, const float* x, std::size_t n) {
  const auto plus = [](vec a, vec b) { return add(a, b); };
  switch (op) {
    case reduce_op::sum:
      return sum_lanes(fold(x, n, zero(), plus, plus));
    case reduce_op::sum_abs:
      return sum_lanes(fold(x, n, zero(), [](vec a, vec b) { return add(a, abs(b)); }, plus));
    case reduce_op::sum_square:
      return sum_lanes(fold(x, n, zero(), [](vec a, vec b) { return fma(b, b, a); }, plus));
    case reduce_op::product: {
      const auto times = [](vec a, vec b) { return mul(a, b); };
      return fold_lanes(fold(x, n, splat(1.0F), times, times),
                        [](float a, float b) { return a * b; });
    }
    case reduce_op::max: {
      const auto larger = [](vec a, vec b) { return sticky_max(a, b); };
      return max_lanes(fold(x, n, splat(-infinity), larger, larger));
    }
    case reduce_op::min: {
      const auto smaller = [](vec a, vec b) { return sticky_min(a, b); };
      return fold_lanes(fold(x, n, splat(infinity), smaller, smaller),
                        [](float a, float b) { return a < b || a != a ? a : b; });
    }
  }
  return 0;
}

void accumulate(reduce_op op, const float* x, float* total, std::size_t n) {
  const auto with = [&](auto f) { map2(total, 1, x, 1, total, n, f); };
  switch (op) {
    case reduce_op::sum:
      return with([](vec t, vec v) { return add(t, v); });
    case reduce_op::sum_abs:
      return with([](vec t, vec v) { return add(t, abs(v)); });
    case reduce_op::sum_square:
      return with([](vec t, vec v) { return fma(v, v, t); });
    case reduce_op::product:
      return with([](vec t, vec v) { return mul(t, v); });
    case reduce_op::max:
      return with([](vec t, vec v) { return sticky_max(t, v); });
    case reduce_op::min:
      return with([](vec t, vec v) { return sticky_min(t, v); });
  }
}

float exp_sum(const float* x, float shift, std::size_t n) {
  const vec s = splat(shift);
  vec total = zero();
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    total = add(total, exp(sub(load(x + i), s)));
  }
  if (i < n) {
    const mask m = first_lanes(n - i);
    total = add(total, select(m, exp(sub(load(x + i, m), s)), zero()));
  }
  return sum_lanes(total);
}

// exp for x <= 0, with 0 for what is too small to matter beside e^0.
inline vec exp_below_zero(vec x) {
  const mask tiny = less(x, splat(-87.0F));
  const vec bounded = max(splat(-87.0F), x);
  const vec n = round_even(mul(bounded, splat(1.44269504F)));
  vec r = fma(n, splat(-0.693359375F), bounded);
  r = fma(n, splat(2.12194440e-4F), r);
  const vec y = add(fma(mul(r, r), exp_tail(r), r), splat(1.0F));
  const vec power = from_bits(shift_left<23>(iadd(to_int(n), isplat(127))));
  return select(tiny, zero(), mul(y, power));
}

// e^(x - greatest), which is stored; returns the sum of it.
inline vec exp_row(const float* x, vec greatest, float* y, std::size_t n) {
  vec total = zero();
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const vec e = exp_below_zero(sub(load(x + i), greatest));
    store(y + i, e);
    total = add(total, e);
  }
  if (i < n) {
    const mask m = first_lanes(n - i);
    const vec e = exp_below_zero(sub(load(x + i, m), greatest));
    store(y + i, e, m);
    total = add(total, select(m, e, zero()));
  }
  return total;
}

void softmax(const float* x, float* y, std::size_t n) {
  const vec greatest = splat(reduce(reduce_op::max, x, n));
  const vec scale = splat(1.0F / sum_lanes(exp_row(x, greatest, y, n)));
  map(y, y, n, [=](vec v) { return mul(v, scale); });
}

void exp_rows(float* x, std::size_t row, std::size_t rows, std::size_t n, float* inverse) {
  const auto larger = [](vec a, vec b) { return sticky_max(a, b); };
  for (std::size_t first = 0; first < rows; first += lanes) {
    const std::size_t here = rows - first < lanes ? rows - first : lanes;
    float* const begin = x + first * row;
    // The lanes of so many rows at once are joined by turning them into each other.
    vec block[lanes];
    for (std::size_t r = 0; r < lanes; ++r) {
      block[r] = r < here ? fold(begin + r * row, n, splat(-infinity), larger, larger) : zero();
    }
    transpose(block);
    for (int i = 1; i < lanes; ++i) block[0] = sticky_max(block[0], block[i]);
    float greatest[lanes];
    store(greatest, block[0]);
    for (std::size_t r = 0; r < here; ++r) {
      float* const at = begin + r * row;
      block[r] = exp_row(at, splat(greatest[r]), at, n);
    }
    for (std::size_t r = here; r < lanes; ++r) block[r] = zero();
    transpose(block);
    for (int i = 1; i < lanes; ++i) block[0] = add(block[0], block[i]);
    store(inverse + first, div(splat(1.0F), block[0]), first_lanes(here));
  }
}

void log_softmax(const float* x, float* y, std::size_t n) {
  const float largest = reduce(reduce_op::max, x, n);
  const float total = exp_sum(x, largest, n);
  const vec shift = splat(largest);
  const vec log_total = log(splat(total));
  map(x, y, n, [=](vec v) { return sub(sub(v, shift), log_total); });
}

void layer_norm(const float* x, const float* gamma, const float* beta, float* y, std::size_t n,
                float epsilon, bool centre, float* mean, float* inverse_deviation) {
  const float count = static_cast<float>(n);
  const float average = centre ? reduce(reduce_op::sum, x, n) / count : 0.0F;
  const vec m = splat(average);
  const auto plus = [](vec a, vec b) { return add(a, b); };
  const float variance = sum_lanes(fold(
                             x, n, zero(),
                             [=](vec total, vec v) {
                               const vec d = sub(v, m);
                               return fma(d, d, total);
                             },
                             plus)) /
                         count;
  const float scale = 1.0F / __builtin_sqrtf(variance + epsilon);
  if (mean != nullptr) *mean = average;
  if (inverse_deviation != nullptr) *inverse_deviation = scale;
  const vec s = splat(scale);
  std::size_t i = 0;
  const auto step = [&](vec v, auto read) {
    vec r = mul(sub(v, m), s);
    if (gamma != nullptr) r = mul(r, read(gamma + i));
    return beta != nullptr ? add(r, read(beta + i)) : r;
  };
  for (; i + lanes <= n; i += lanes) {
    store(y + i, step(load(x + i), [](const float* p) { return load(p); }));
  }
  if (i < n) {
    const mask last = first_lanes(n - i);
    store(y + i, step(load(x + i, last), [=](const float* p) { return load(p, last); }), last);
  }
}

constexpr kernel_table make_table(isa level) {
  kernel_table t{};
  t.level = level;
  t.lanes = lanes;
  t.tile_rows = tile_rows;
  t.tile_vectors = tile_vectors;
  t.gemm = gemm;
  t.pack_rows = pack_rows;
  t.unary = unary;
  t.binary = binary;
  t.scale_shift = scale_shift;
  t.reduce = reduce;
  t.accumulate = accumulate;
  t.exp_sum = exp_sum;
  t.softmax = softmax;
  t.log_softmax = log_softmax;
  t.exp_rows = exp_rows;
  t.layer_norm = layer_norm;
  t.conv = conv;
  t.depthwise = depthwise;
  t.winograd_input = winograd_input;
  t.winograd_output = winograd_output;
  t.lstm = lstm;
  t.gru = gru;
  return t;
}

}  // namespace
