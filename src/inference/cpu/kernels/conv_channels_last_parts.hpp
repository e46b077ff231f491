// The methods that conv_channels_last() chooses from, and what they share.
#pragma once

#include "inference/cpu/kernels/conv_channels_last.hpp"
#include "inference/cpu/kernels/divide_up.hpp"

#include <algorithm>
#include <cstddef>

namespace mizzen::inference::detail::cpu {

// Rows of a tile, so that `rows` are cut into as few tiles as possible, of about equal height.
inline std::size_t balanced_tile(const kernel_table& kernels, std::size_t rows) {
  const std::size_t tiles = divide_up(rows, static_cast<std::size_t>(kernels.tile_rows));
  return tiles == 0 ? 1 : divide_up(rows, tiles);
}

// Floats that hold so many addresses.
constexpr std::size_t floats_of_addresses(std::size_t count) {
  return round_up(count * sizeof(const float*), 64) / sizeof(float);
}

inline constexpr std::size_t line_floats = 16;  // of a cache line

// Has a panel of weights of so many floats (or nothing, where it is null) fetched while that many
// calls of the kernel use the one before; each advances the address.
inline void fetch_next(conv_tile& tile, const float* panel, std::size_t floats, std::size_t calls) {
  tile.prefetch = panel;
  tile.prefetch_lines = panel == nullptr ? 0 : divide_up(floats / line_floats, calls);
}

struct channels_last_call {
  const kernel_table& kernels;
  thread_pool& pool;
  const channels_last_shape& shape;
  const channels_last_weights& weights;
  const float* x;
  float* y;
  const channels_last_epilogue& epilogue;
  float* scratch;

  void finish(std::size_t at, std::size_t n) const {
    if (epilogue.finish != nullptr) epilogue.finish(epilogue.context, at, y + at, n);
  }
};

std::size_t conv_winograd_scratch(const channels_last_shape& shape, unsigned threads);
void conv_winograd(const channels_last_call& call);
void pack_winograd(const channels_last_shape& shape, const float* weights,
                   std::size_t panel_columns, std::size_t row, float* to);

void conv_depthwise(const channels_last_call& call);

}  // namespace mizzen::inference::detail::cpu
