// The inner loops on small integers, as a table of functions like kernel_table: apart from it
// because some processors of one level multiply bytes four at a time (AVX-512 VNNI) and others not.
#pragma once

#include "inference/cpu/isa.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace mizzen::inference::detail::cpu {

// One tile of a product of bytes with small integers, summed in 32 bits (which wrap around), made
// floats again:
//   C[r, c] = (sum over k of (A[r, k] - a_zero) (B[k, c] - b_zero[c])) a_scale b_scale[c]
//             + bias[c] + residual[r, c]
struct int8_tile {
  std::size_t rows = 0;     // 1 … int8_table::tile_rows
  std::size_t columns = 0;  // 1 … int8_table::tile_columns
  std::size_t quads = 0;    // of four k each
  const std::uint8_t* a = nullptr;
  std::size_t a_row = 0;
  const std::int8_t* b = nullptr;  // [quads][tile_columns][4]
  std::int32_t a_zero = 0;
  float a_scale = 1;
  const float* b_scale = nullptr;
  // Per column: the sum over k of B - b_zero.
  const std::int32_t* b_sums = nullptr;
  // Null where all are 0; then also row_sums: per row, the sum over k of A.
  const std::int32_t* b_zero = nullptr;
  const std::int32_t* row_sums = nullptr;
  float* c = nullptr;
  std::size_t c_row = 0;
  const float* bias = nullptr;      // per column; or null
  const float* residual = nullptr;  // laid out as C; or null
  // Where not null, the sums themselves go there, laid out as C would be, and C is not written.
  std::int32_t* sums = nullptr;
};

// What becomes of sums of products: y = table[clamp(round((sum + shift) factor) + zero)].
struct int8_output {
  const float* factor = nullptr;        // per column, padded to whole tiles
  const std::int32_t* shift = nullptr;  // likewise
  float low = 0;                        // bounds of y, less the zero
  float high = 0;
  std::int32_t zero = 0;
};

// One tile of a convolution: each row is a pixel of the output.
struct int8_pixels {
  std::size_t rows = 0;     // 1 … int8_table::tile_rows
  std::size_t columns = 0;  // 1 … int8_table::tile_columns
  std::size_t taps = 0;
  std::size_t quads = 0;                   // of each tap
  const std::uint8_t* const* a = nullptr;  // [rows][taps]: 4 quads bytes each
  // [taps][quads][tile_columns in the order of int8_table::pixel_place][4]
  const std::int8_t* b = nullptr;
  int8_output out;  // in that order
  std::uint8_t* y = nullptr;
  std::size_t y_row = 0;
};

// A depthwise convolution: pixels of the output, of as many channels as a vector has bytes.
struct int8_depthwise {
  std::size_t pixels = 0;
  std::size_t channels = 0;                // 1 … int8_table::depthwise_channels
  std::size_t fours = 0;                   // of taps
  std::size_t first = 0;                   // channel, from the addresses on
  const std::uint8_t* const* a = nullptr;  // [pixels][4 fours]
  // [fours][depthwise_channels in the order of int8_table::depthwise_place][4]
  const std::int8_t* b = nullptr;
  int8_output out;  // in that order
  std::uint8_t* y = nullptr;
  std::size_t y_row = 0;
};

// y = clamp(round(v) + zero), v being (a - a_zero) a_factor + (b - b_zero) b_factor or, as a
// product, (a - a_zero) (b - b_zero) a_factor.
struct int8_pair {
  bool product = false;
  std::int32_t a_zero = 0;
  std::int32_t b_zero = 0;
  float a_factor = 1;
  float b_factor = 1;
  int8_output out;  // without factor and shift
};

// y = table[x], the table having 256 entries. y may be x.
using look_up_function = void (*)(const std::uint8_t* table, const std::uint8_t* x, std::size_t n,
                                  std::uint8_t* y);

struct int8_table {
  std::string_view name;
  std::size_t tile_rows;
  std::size_t tile_columns;
  void (*tile)(const int8_tile& t);
  // y = clamp(round(x / scale) + zero, 0, 255), half to even; returns the sum of y.
  std::int32_t (*quantise)(const float* x, std::size_t n, float scale, float zero, std::uint8_t* y);
  // y = (x - zero) scale.
  void (*dequantise)(const std::uint8_t* x, std::size_t n, float zero, float scale, float* y);
  // Takes 128 off or adds it, in bits: numbers of int8 become those of uint8 that are 128 greater,
  // and back. y may be x.
  void (*flip)(const std::uint8_t* x, std::size_t n, std::uint8_t* y);
  void (*pixels)(const int8_pixels& t);
  bool joins_rows;
  void (*depthwise)(const int8_depthwise& t);
  std::size_t depthwise_channels;
  look_up_function look_up;
  // A step is 0 (the same element all along) or 1. y may be a or b.
  void (*combine)(const int8_pair& p, const std::uint8_t* a, std::size_t a_step,
                  const std::uint8_t* b, std::size_t b_step, std::size_t n, std::uint8_t* y);
  // y = max(x, y).
  void (*greatest)(const std::uint8_t* x, std::size_t n, std::uint8_t* y);

  // Where int8_pixels has a column of a panel with so many of them.
  std::size_t pixel_place(std::size_t column, std::size_t columns) const noexcept {
    const std::size_t lanes = tile_columns / 2;
    if (!joins_rows || columns <= lanes) return column;
    return column % 8 / 4 * lanes + column / 8 * 4 + column % 4;
  }
  // Where int8_depthwise has a channel.
  std::size_t depthwise_place(std::size_t channel) const noexcept {
    const std::size_t lanes = depthwise_channels / 4;
    return channel % 16 / 4 * lanes + channel / 16 * 4 + channel % 4;
  }
};

// The fastest one for this processor, and all that it can run.
const int8_table& best_int8() noexcept;
std::span<const int8_table* const> int8_tables() noexcept;

}  // namespace mizzen::inference::detail::cpu
