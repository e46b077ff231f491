// The tile registers of AMX: two of left operands, two of right ones and the four sums of their
// products. Included by isa_amx_half.cpp only. tiles_emulated.hpp does the same in plain C++.
#pragma once

#include <cstddef>
#include <cstdint>
#include <immintrin.h>

namespace {

// Source: Intel SDM volume 1, 18.3 (LDTILECFG).
struct alignas(64) tile_palette {
  std::uint8_t palette = 1;
  std::uint8_t start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t row_bytes[16] = {};
  std::uint8_t rows[16] = {};
};

class tile_registers {
 public:
  // Left operands of so many rows in all, at most 32.
  explicit tile_registers(std::size_t rows) {
    tile_palette p;
    for (int t = 0; t < 8; ++t) {
      const bool second = t == 2 || t == 3 || t == 5;
      const std::size_t here = second ? rows - (rows < 16 ? rows : 16) : rows < 16 ? rows : 16;
      p.rows[t] = static_cast<std::uint8_t>(t >= 6 ? 16 : here);
      p.row_bytes[t] = p.rows[t] == 0 ? 0 : 64;
    }
    // The instructions are not known to read memory.
    __asm__ volatile("" ::: "memory");
    _tile_loadconfig(&p);
  }
  tile_registers(const tile_registers&) = delete;
  tile_registers& operator=(const tile_registers&) = delete;
  ~tile_registers() { _tile_release(); }

  template <int Row, int Column>
  void zero_sum() {
    if constexpr (Row == 0 && Column == 0) _tile_zero(0);
    if constexpr (Row == 0 && Column == 1) _tile_zero(1);
    if constexpr (Row == 1 && Column == 0) _tile_zero(2);
    if constexpr (Row == 1 && Column == 1) _tile_zero(3);
  }
  // Rows of 64 bytes, `stride` bytes apart.
  template <int Row>
  void load_left(const void* p, std::size_t stride) {
    if constexpr (Row == 0) _tile_loadd(4, p, stride);
    if constexpr (Row == 1) _tile_loadd(5, p, stride);
  }
  template <int Column>
  void load_right(const void* p, std::size_t stride) {
    if constexpr (Column == 0) _tile_loadd(6, p, stride);
    if constexpr (Column == 1) _tile_loadd(7, p, stride);
  }
  // sum[m, n] += over 16 pairs k: left[m, k] right[k, n]
  template <int Row, int Column>
  void multiply_bf16() {
    if constexpr (Row == 0 && Column == 0) _tile_dpbf16ps(0, 4, 6);
    if constexpr (Row == 0 && Column == 1) _tile_dpbf16ps(1, 4, 7);
    if constexpr (Row == 1 && Column == 0) _tile_dpbf16ps(2, 5, 6);
    if constexpr (Row == 1 && Column == 1) _tile_dpbf16ps(3, 5, 7);
  }
  template <int Row, int Column>
  void store_sum(void* p, std::size_t stride) {
    if constexpr (Row == 0 && Column == 0) _tile_stored(0, p, stride);
    if constexpr (Row == 0 && Column == 1) _tile_stored(1, p, stride);
    if constexpr (Row == 1 && Column == 0) _tile_stored(2, p, stride);
    if constexpr (Row == 1 && Column == 1) _tile_stored(3, p, stride);
    __asm__ volatile("" ::: "memory");
  }
};

}  // namespace
