// What tiles_amx.hpp does, in plain C++: by it the code around the tiles is tested on processors
// without AMX. It touches no memory that the instructions would not.
#pragma once

#include "inference/cpu/kernels/elements.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace {

class tile_registers {
 public:
  explicit tile_registers(std::size_t rows)
      : rows_{std::min<std::size_t>(rows, 16), rows - std::min<std::size_t>(rows, 16)} {}

  template <int Row, int Column>
  void zero_sum() {
    std::memset(sums_[Row][Column], 0, sizeof sums_[Row][Column]);
  }
  template <int Row>
  void load_left(const void* p, std::size_t stride) {
    load(left_[Row], rows_[Row], p, stride);
  }
  template <int Column>
  void load_right(const void* p, std::size_t stride) {
    load(right_[Column], 16, p, stride);
  }
  template <int Row, int Column>
  void multiply_bf16() {
    for (std::size_t m = 0; m < rows_[Row]; ++m) {
      for (std::size_t k = 0; k < 16; ++k) {
        for (std::size_t n = 0; n < 16; ++n) {
          for (std::size_t i = 0; i < 2; ++i) {
            sums_[Row][Column][m][n] +=
                half(left_[Row][m], 2 * k + i) * half(right_[Column][k], 2 * n + i);
          }
        }
      }
    }
  }
  template <int Row, int Column>
  void store_sum(void* p, std::size_t stride) {
    for (std::size_t m = 0; m < rows_[Row]; ++m) {
      std::memcpy(static_cast<char*>(p) + m * stride, sums_[Row][Column][m], 64);
    }
  }

 private:
  using registers = std::uint8_t[16][64];

  static void load(registers& to, std::size_t rows, const void* p, std::size_t stride) {
    for (std::size_t r = 0; r < rows; ++r) {
      std::memcpy(to[r], static_cast<const char*>(p) + r * stride, 64);
    }
  }
  static float half(const std::uint8_t* row, std::size_t i) {
    mizzen::inference::bfloat16 v;
    std::memcpy(&v, row + 2 * i, sizeof v);
    return mizzen::inference::detail::cpu::to_float(v);
  }

  std::size_t rows_[2];
  registers left_[2] = {};
  registers right_[2] = {};
  float sums_[2][2][16][16] = {};
};

}  // namespace
