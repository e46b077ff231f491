// Convolutions of bytes, and what stands between them. Included by vector_int8.inc.hpp.
#pragma once

#include "inference/cpu/kernels/int8_table.hpp"

#if defined(__clang__)
#define MIZZEN_UNROLL_DOTS _Pragma("unroll")
#else
#define MIZZEN_UNROLL_DOTS _Pragma("GCC unroll 16")
#endif

namespace {

using mizzen::inference::detail::cpu::int8_depthwise;
using mizzen::inference::detail::cpu::int8_output;
using mizzen::inference::detail::cpu::int8_pair;
using mizzen::inference::detail::cpu::int8_pixels;

constexpr std::size_t dot_columns = static_cast<std::size_t>(lanes) * dot_vectors;

inline ivec load_ints(const std::int32_t* p) {
  ivec x;
  __builtin_memcpy(&x, p, sizeof x);
  return x;
}

// To bytes: what int8_output says, from the vector of columns on.
class to_bytes {
 public:
  explicit to_bytes(const int8_output& o)
      : low_(splat(o.low)), high_(splat(o.high)), zero_(isplat(o.zero)) {}

  ivec operator()(vec x) const { return iadd(nearest_int(min(max(x, low_), high_)), zero_); }
  ivec operator()(ivec sum, vec factor) const { return (*this)(mul(to_float(sum), factor)); }

 private:
  vec low_, high_;
  ivec zero_;
};

// The same by four vectors, which join_bytes() puts beside each other: the bounds are then asked
// for once for all of them.
class to_joined_bytes {
 public:
  explicit to_joined_bytes(const int8_output& o)
      : bounds_(o.zero, static_cast<std::int32_t>(o.low) + o.zero,
                static_cast<std::int32_t>(o.high) + o.zero) {}

  // What is beyond 16 bits stays beyond the bounds, and is a number of 32 bits; NaN is the least.
  static ivec rounded(ivec sum, vec factor) {
    return nearest_int(min(splat(65536.0F), mul(to_float(sum), factor)));
  }
  ivec operator()(const ivec (&x)[4]) const { return join_bytes(x, bounds_); }

 private:
  byte_bounds bounds_;
};

inline void store_some(std::uint8_t* y, ivec x, std::size_t n) {
  if (n >= static_cast<std::size_t>(lanes)) return store_bytes(y, x);
  std::uint8_t part[lanes];
  store_bytes(part, x);
  __builtin_memcpy(y, part, n);
}

// Rows from Row on, by two. A template rather than a loop: sums that a loop looks up by a number
// that is not constant from the start do not stay in registers.
template <int Row, int Rows>
inline __attribute__((always_inline)) void store_joined(const int8_pixels& t,
                                                        const to_joined_bytes& finish, vec left,
                                                        vec right, const dot_sum (&sum)[Rows][2]) {
  constexpr int next = Row + 1 < Rows ? Row + 1 : Row;
  const ivec x[4] = {finish.rounded(dot_total(sum[Row][0]), left),
                     finish.rounded(dot_total(sum[Row][1]), right),
                     finish.rounded(dot_total(sum[next][0]), left),
                     finish.rounded(dot_total(sum[next][1]), right)};
  store_two_rows(t.y + Row * t.y_row, t.y + next * t.y_row, finish(x), t.columns);
  if constexpr (next + 1 < Rows) store_joined<next + 1>(t, finish, left, right, sum);
}

template <int Rows, int Vectors>
void convolve_pixels(const int8_pixels& t) {
  dot_sum sum[Rows][Vectors];
  MIZZEN_UNROLL_DOTS for (int v = 0; v < Vectors; ++v) {
    const dot_sum start = dot_start(load_ints(t.out.shift + v * lanes));
    MIZZEN_UNROLL_DOTS for (int r = 0; r < Rows; ++r) sum[r][v] = start;
  }
  const std::int8_t* b = t.b;
  for (std::size_t tap = 0; tap < t.taps; ++tap) {
    const std::uint8_t* a[Rows];
    MIZZEN_UNROLL_DOTS for (int r = 0; r < Rows; ++r) {
      a[r] = t.a[static_cast<std::size_t>(r) * t.taps + tap];
    }
    for (std::size_t k = 0; k < 4 * t.quads; k += 4) {
      dot_right right[Vectors];
      MIZZEN_UNROLL_DOTS for (int v = 0; v < Vectors; ++v) right[v] = load_dot(b + v * lanes * 4);
      MIZZEN_UNROLL_DOTS for (int r = 0; r < Rows; ++r) {
        const dot_left left = splat_dot(a[r] + k);
        MIZZEN_UNROLL_DOTS for (int v = 0; v < Vectors; ++v) dot_step(sum[r][v], left, right[v]);
      }
      b += dot_columns * 4;
    }
  }
  if constexpr (joins_rows && Vectors == 2) {
    store_joined<0>(t, to_joined_bytes(t.out), load(t.out.factor), load(t.out.factor + lanes), sum);
  } else {
    const to_bytes finish(t.out);
    MIZZEN_UNROLL_DOTS for (int v = 0; v < Vectors; ++v) {
      const std::size_t first = static_cast<std::size_t>(v) * lanes;
      if (first >= t.columns) continue;
      const vec factor = load(t.out.factor + first);
      MIZZEN_UNROLL_DOTS for (int r = 0; r < Rows; ++r) {
        store_some(t.y + static_cast<std::size_t>(r) * t.y_row + first,
                   finish(dot_total(sum[r][v]), factor), t.columns - first);
      }
    }
  }
}

template <int Rows>
void convolve_pixels_of(const int8_pixels& t) {
  if (t.rows == Rows) {
    if (dot_vectors > 1 && t.columns <= static_cast<std::size_t>(lanes)) {
      return convolve_pixels<Rows, 1>(t);
    }
    return convolve_pixels<Rows, dot_vectors>(t);
  }
  if constexpr (Rows > 1) convolve_pixels_of<Rows - 1>(t);
}

// Four taps of a channel stand side by side after two rounds of zips, and are one lane's.
template <int Pixels, bool Whole>
void convolve_depthwise_pixels(const int8_depthwise& t, std::size_t pixel) {
  ivec sum[Pixels][4];
  MIZZEN_UNROLL_DOTS for (int p = 0; p < Pixels; ++p) {
    MIZZEN_UNROLL_DOTS for (int j = 0; j < 4; ++j) sum[p][j] = load_ints(t.out.shift + j * lanes);
  }
  const std::uint8_t* const* a = t.a + pixel * t.fours * 4;
  const std::int8_t* b = t.b;
  for (std::size_t four = 0; four < t.fours; ++four, a += 4, b += lanes * 16) {
    MIZZEN_UNROLL_DOTS for (int p = 0; p < Pixels; ++p) {
      ivec x[4];
      MIZZEN_UNROLL_DOTS for (int k = 0; k < 4; ++k) {
        const std::uint8_t* const from =
            a[static_cast<std::size_t>(p) * t.fours * 4 + static_cast<std::size_t>(k)] + t.first;
        x[k] = Whole ? load_bytes(from) : load_bytes(from, t.channels);
      }
      const ivec first_low = zip_bytes_low(x[0], x[1]);
      const ivec first_high = zip_bytes_high(x[0], x[1]);
      const ivec second_low = zip_bytes_low(x[2], x[3]);
      const ivec second_high = zip_bytes_high(x[2], x[3]);
      sum[p][0] = dot_quads(sum[p][0], zip_pairs_low(first_low, second_low), b);
      sum[p][1] = dot_quads(sum[p][1], zip_pairs_high(first_low, second_low), b + lanes * 4);
      sum[p][2] = dot_quads(sum[p][2], zip_pairs_low(first_high, second_high), b + lanes * 8);
      sum[p][3] = dot_quads(sum[p][3], zip_pairs_high(first_high, second_high), b + lanes * 12);
    }
  }
  const to_joined_bytes finish(t.out);
  MIZZEN_UNROLL_DOTS for (int p = 0; p < Pixels; ++p) {
    ivec y[4];
    MIZZEN_UNROLL_DOTS for (int j = 0; j < 4; ++j) {
      y[j] = finish.rounded(sum[p][j], load(t.out.factor + j * lanes));
    }
    store_bytes(t.y + (pixel + static_cast<std::size_t>(p)) * t.y_row, finish(y), t.channels);
  }
}

template <bool Whole>
void convolve_depthwise_all(const int8_depthwise& t) {
  constexpr int at_once = lanes >= 16 ? 4 : 1;
  std::size_t p = 0;
  for (; p + at_once <= t.pixels; p += at_once) convolve_depthwise_pixels<at_once, Whole>(t, p);
  for (; p < t.pixels; ++p) convolve_depthwise_pixels<1, Whole>(t, p);
}

void convolve_depthwise(const int8_depthwise& t) {
  if (t.channels == static_cast<std::size_t>(lanes) * 4) {
    convolve_depthwise_all<true>(t);
  } else {
    convolve_depthwise_all<false>(t);
  }
}

void combine(const int8_pair& p, const std::uint8_t* a, std::size_t a_step, const std::uint8_t* b,
             std::size_t b_step, std::size_t n, std::uint8_t* y) {
  const ivec a_zero = isplat(p.a_zero);
  const ivec b_zero = isplat(p.b_zero);
  const vec a_factor = splat(p.a_factor);
  const vec b_factor = splat(p.b_factor);
  const to_bytes finish(p.out);
  const auto step = [&](ivec x, ivec z) {
    const vec left = to_float(isub(x, a_zero));
    const vec right = to_float(isub(z, b_zero));
    return finish(p.product ? mul(mul(left, right), a_factor)
                            : fma(left, a_factor, mul(right, b_factor)));
  };
  std::uint8_t left[lanes] = {};
  std::uint8_t right[lanes] = {};
  if (n != 0) {
    __builtin_memset(left, a[0], sizeof left);
    __builtin_memset(right, b[0], sizeof right);
  }
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    store_bytes(y + i, step(load_unsigned(a_step != 0 ? a + i : left),
                            load_unsigned(b_step != 0 ? b + i : right)));
  }
  if (i == n) return;
  if (a_step != 0) __builtin_memcpy(left, a + i, n - i);
  if (b_step != 0) __builtin_memcpy(right, b + i, n - i);
  store_some(y + i, step(load_unsigned(left), load_unsigned(right)), n - i);
}

}  // namespace
