// Products of bfloat16 on tile registers: included behind a half_*.hpp and one of tiles_*.hpp.
#pragma once

#include "inference/cpu/kernels/vector_half.inc.hpp"

namespace {

using mizzen::inference::detail::cpu::bf16_columns;
using mizzen::inference::detail::cpu::bf16_tile;
using mizzen::inference::detail::cpu::half_table;

constexpr std::size_t tile_side = 16;
constexpr std::size_t tile_depth = 32;  // of bfloat16

template <bool TwoRows, bool TwoColumns>
void sum_tiles(const bf16_tile& t, float (&sums)[2 * tile_side][bf16_columns]) {
  tile_registers tiles(t.rows);
  tiles.template zero_sum<0, 0>();
  if constexpr (TwoColumns) tiles.template zero_sum<0, 1>();
  if constexpr (TwoRows) tiles.template zero_sum<1, 0>();
  if constexpr (TwoRows && TwoColumns) tiles.template zero_sum<1, 1>();
  const std::size_t a_stride = t.a_row * sizeof(bfloat16);
  constexpr std::size_t b_stride = bf16_columns * 2 * sizeof(bfloat16);
  for (std::size_t k = 0; k < t.depth; k += tile_depth) {
    const bfloat16* const a = t.a + k;
    const bfloat16* const b = t.b + k * bf16_columns;
    tiles.template load_left<0>(a, a_stride);
    tiles.template load_right<0>(b, b_stride);
    tiles.template multiply_bf16<0, 0>();
    if constexpr (TwoColumns) {
      tiles.template load_right<1>(b + 2 * tile_side, b_stride);
      tiles.template multiply_bf16<0, 1>();
    }
    if constexpr (TwoRows) {
      tiles.template load_left<1>(a + tile_side * t.a_row, a_stride);
      tiles.template multiply_bf16<1, 0>();
    }
    if constexpr (TwoRows && TwoColumns) tiles.template multiply_bf16<1, 1>();
  }
  constexpr std::size_t stride = sizeof sums[0];
  tiles.template store_sum<0, 0>(&sums[0][0], stride);
  if constexpr (TwoColumns) tiles.template store_sum<0, 1>(&sums[0][tile_side], stride);
  if constexpr (TwoRows) tiles.template store_sum<1, 0>(&sums[tile_side][0], stride);
  if constexpr (TwoRows && TwoColumns) {
    tiles.template store_sum<1, 1>(&sums[tile_side][tile_side], stride);
  }
}

void multiply_by_tiles(const bf16_tile& t) {
  alignas(64) float sums[2 * tile_side][bf16_columns];
  const bool two_columns = t.columns > tile_side;
  if (t.rows > tile_side) {
    two_columns ? sum_tiles<true, true>(t, sums) : sum_tiles<true, false>(t, sums);
  } else {
    two_columns ? sum_tiles<false, true>(t, sums) : sum_tiles<false, false>(t, sums);
  }
  for (std::size_t r = 0; r < t.rows; ++r) {
    for (std::size_t n = 0; n < t.columns; n += lanes) {
      const mask some = first_lanes(t.columns - n);
      vec x = load(sums[r] + n);
      if (t.bias != nullptr) x = add(x, load(t.bias + n, some));
      if (t.residual != nullptr) x = add(x, load(t.residual + r * t.c_row + n, some));
      store(t.c + r * t.c_row + n, x, some);
    }
  }
}

constexpr half_table make_tile_table(std::string_view name) {
  half_table table = make_half_table(name);
  table.multiply = multiply_by_tiles;
  table.tile_rows = 2 * tile_side;
  table.depth_step = tile_depth;
  return table;
}

}  // namespace
