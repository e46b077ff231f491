// Tiles of products of bytes on vectors. Included after a simd_*.hpp and a dot_*.hpp, once per
// instruction set.
#pragma once

#include "inference/cpu/kernels/int8_table.hpp"
#include "inference/cpu/kernels/vector_int8_conv.inc.hpp"

namespace {

using mizzen::inference::detail::cpu::int8_table;
using mizzen::inference::detail::cpu::int8_tile;

// The last vector of columns reads and writes only what is there.
template <int Rows>
void multiply_bytes(const int8_tile& t) {
  dot_sum sum[Rows][dot_vectors];
  MIZZEN_UNROLL_DOTS for (int r = 0; r < Rows; ++r) {
    MIZZEN_UNROLL_DOTS for (int v = 0; v < dot_vectors; ++v) sum[r][v] = dot_zero();
  }
  const std::uint8_t* a = t.a;
  const std::int8_t* b = t.b;
  for (std::size_t k = 0; k < t.quads; ++k) {
    dot_right right[dot_vectors];
    MIZZEN_UNROLL_DOTS for (int v = 0; v < dot_vectors; ++v) {
      right[v] = load_dot(b + v * lanes * 4);
    }
    MIZZEN_UNROLL_DOTS for (int r = 0; r < Rows; ++r) {
      const dot_left left = splat_dot(a + static_cast<std::size_t>(r) * t.a_row);
      MIZZEN_UNROLL_DOTS for (int v = 0; v < dot_vectors; ++v) dot_step(sum[r][v], left, right[v]);
    }
    a += 4;
    b += dot_columns * 4;
  }

  const vec a_scale = splat(t.a_scale);
  const ivec a_zero = isplat(t.a_zero);
  MIZZEN_UNROLL_DOTS for (int v = 0; v < dot_vectors; ++v) {
    const std::size_t first = static_cast<std::size_t>(v) * lanes;
    if (first >= t.columns) continue;
    const bool partial = t.columns - first < lanes;
    const mask last = first_lanes(t.columns - first);
    const auto read = [&](const float* p) {
      return partial ? load(p + first, last) : load(p + first);
    };
    // These are padded to whole tiles.
    const vec scale = mul(a_scale, load(t.b_scale + first));
    const ivec shift = imul(a_zero, load_ints(t.b_sums + first));
    const vec bias = t.bias == nullptr ? zero() : read(t.bias);
    MIZZEN_UNROLL_DOTS for (int r = 0; r < Rows; ++r) {
      ivec x = isub(dot_total(sum[r][v]), shift);
      if (t.b_zero != nullptr) {
        x = isub(x, imul(isplat(t.row_sums[r]), load_ints(t.b_zero + first)));
      }
      const std::size_t at = static_cast<std::size_t>(r) * t.c_row;
      if (t.sums != nullptr) {
        store(reinterpret_cast<float*>(t.sums + at + first), from_bits(x), last);
        continue;
      }
      vec y = fma(to_float(x), scale, bias);
      if (t.residual != nullptr) y = add(y, read(t.residual + at));
      if (partial) {
        store(t.c + at + first, y, last);
      } else {
        store(t.c + at + first, y);
      }
    }
  }
}

template <int Rows>
void multiply_bytes_of(const int8_tile& t) {
  if (t.rows == Rows) return multiply_bytes<Rows>(t);
  if constexpr (Rows > 1) multiply_bytes_of<Rows - 1>(t);
}

std::int32_t quantise(const float* x, std::size_t n, float scale, float zero_point,
                      std::uint8_t* y) {
  const vec s = splat(scale);
  const vec z = splat(zero_point);
  ivec total = isplat(0);
  const auto step = [&](vec v) {
    // NaN becomes 0: of a NaN and a number the functions give the second.
    const vec q = min(max(add(round_even(div(v, s)), z), zero()), splat(255.0F));
    return to_int(q);
  };
  const auto keep = [&](ivec q, std::uint8_t* to, std::size_t count) {
    std::int32_t numbers[lanes];
    __builtin_memcpy(numbers, &q, sizeof numbers);
    for (std::size_t i = 0; i < count; ++i) to[i] = static_cast<std::uint8_t>(numbers[i]);
  };
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const ivec q = step(load(x + i));
    total = iadd(total, q);
    store_bytes(y + i, q);
  }
  std::int32_t sums[lanes];
  __builtin_memcpy(sums, &total, sizeof sums);
  std::int32_t sum = 0;
  for (const std::int32_t part : sums) sum += part;
  if (i < n) {
    const ivec q = step(load(x + i, first_lanes(n - i)));
    keep(q, y + i, n - i);
    for (std::size_t j = i; j < n; ++j) sum += y[j];
  }
  return sum;
}

void dequantise(const std::uint8_t* x, std::size_t n, float zero_point, float scale, float* y) {
  const vec s = splat(scale);
  const vec z = splat(zero_point);
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    store(y + i, mul(sub(to_float(load_unsigned(x + i)), z), s));
  }
  for (; i < n; ++i) y[i] = (static_cast<float>(x[i]) - zero_point) * scale;
}

void flip(const std::uint8_t* x, std::size_t n, std::uint8_t* y) {
  for (std::size_t i = 0; i < n; ++i) y[i] = static_cast<std::uint8_t>(x[i] ^ 0x80U);
}

void look_up(const std::uint8_t* table, const std::uint8_t* x, std::size_t n, std::uint8_t* y) {
  for (std::size_t i = 0; i < n; ++i) y[i] = table[x[i]];
}

void greatest(const std::uint8_t* x, std::size_t n, std::uint8_t* y) {
  for (std::size_t i = 0; i < n; ++i) y[i] = x[i] < y[i] ? y[i] : x[i];
}

constexpr int8_table make_int8_table(std::string_view name) {
  int8_table t{};
  t.name = name;
  t.tile_rows = static_cast<std::size_t>(dot_rows);
  t.tile_columns = dot_columns;
  t.tile = multiply_bytes_of<dot_rows>;
  t.quantise = quantise;
  t.dequantise = dequantise;
  t.flip = flip;
  t.pixels = convolve_pixels_of<dot_rows>;
  t.joins_rows = joins_rows && dot_vectors == 2;
  t.depthwise = convolve_depthwise;
  t.depthwise_channels = static_cast<std::size_t>(lanes) * 4;
  t.look_up = look_up;
  t.combine = combine;
  t.greatest = greatest;
  return t;
}

}  // namespace
