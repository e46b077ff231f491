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

  // run is where y[at] lies.
  void finish(std::size_t at, float* run, std::size_t n) const {
    if (epilogue.finish != nullptr) epilogue.finish(epilogue.context, at, run, n);
  }
};

std::size_t conv_winograd_scratch(const channels_last_shape& shape, unsigned threads);
void conv_winograd(const channels_last_call& call);
void pack_winograd(const channels_last_shape& shape, const float* weights,
                   std::size_t panel_columns, std::size_t row, float* to);

void conv_depthwise(const channels_last_call& call);

// A picture as the direct method reads it: where its lines and pixels lie, and the window over it.
struct picture {
  const float* data;
  std::size_t pixel;  // floats from one to the next
  std::size_t line;
  std::size_t slice;
  std::size_t image;
  window_3d window;
  std::size_t depth;  // adjacent floats at each tap
};

// Of a call by one of the methods direct, lines and planes. The latter two keep it in this scratch
// memory, with its padding and a line's taps adjacent.
std::size_t picture_scratch(const channels_last_shape& shape, conv_method method);
picture picture_of(const channels_last_call& call, float* scratch);

// The parts of conv_strip(): a piece of one convolution at a time.

// Channels of an output.
struct channel_range {
  std::size_t first;
  std::size_t end;
};

// Channels, from a tile on, of pixels [first, last) of a convolution of one group over a picture:
// those from pixel `at` of the output on, which lies at y.
std::size_t conv_pixels_scratch(const kernel_table& kernels, const channels_last_shape& shape);
void conv_pixels(const channels_last_call& call, const picture& x, std::size_t first,
                 std::size_t last, std::size_t at, channel_range channels, float* y,
                 float* scratch);

// Lines of a picture of which only the last few are kept, line i at i modulo their number.
struct line_ring {
  const float* data = nullptr;  // null: call.x holds all lines
  std::size_t lines = 0;
};

// Channels of one line of the output of a depthwise convolution, which lies at y, over a picture
// without depth where it is kept in a ring.
std::size_t conv_depthwise_scratch(const channels_last_shape& shape);
void conv_depthwise_line(const channels_last_call& call, std::size_t line, channel_range channels,
                         const line_ring& ring, float* y, float* scratch);

}  // namespace mizzen::inference::detail::cpu
