// Transposing matrices that lie in memory.
#pragma once

#include <algorithm>
#include <cstddef>

namespace mizzen::inference::detail {

// to[c][r] = from[r][c]. In blocks, so that what is read and written of one stays in L1.
template <class T>
void transpose(const T* from, std::size_t rows, std::size_t columns, T* to) {
  constexpr std::size_t step = 64 / sizeof(T);
  for (std::size_t first = 0; first < columns; first += step) {
    const std::size_t last = std::min(first + step, columns);
    for (std::size_t top = 0; top < rows; top += step) {
      const std::size_t bottom = std::min(top + step, rows);
      for (std::size_t r = top; r < bottom; ++r) {
        for (std::size_t c = first; c < last; ++c) to[c * rows + r] = from[r * columns + c];
      }
    }
  }
}

}  // namespace mizzen::inference::detail
