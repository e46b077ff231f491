// The register-tiled matrix kernel on vectors. Included after a simd_*.hpp.
#pragma once

#include "inference/cpu/kernels/kernel_table.hpp"
#include "inference/cpu/kernels/vector_math.inc.hpp"

#if defined(__clang__)
#define MIZZEN_UNROLL _Pragma("unroll")
#else
#define MIZZEN_UNROLL _Pragma("GCC unroll 16")
#endif

namespace {

using mizzen::inference::detail::cpu::gemm_tile;

// Rows x Vectors accumulators, Chains of them to hide the latency of FMA where the tile is small.
// UnitRow: A's rows are adjacent (packed or transposed), which makes their offsets constants.
template <int Rows, int Vectors, bool UnitRow>
void multiply_tile(const gemm_tile& t) {
  constexpr int chains = Rows == 1 ? 4 : Rows <= 3 ? 2 : 1;
  const std::ptrdiff_t row = UnitRow ? 1 : t.a_row;
  const std::ptrdiff_t a_depth = t.a_depth;
  const std::ptrdiff_t b_depth = t.b_depth;

  vec sum[chains][Rows][Vectors];
  MIZZEN_UNROLL for (int u = 0; u < chains; ++u) {
    MIZZEN_UNROLL for (int r = 0; r < Rows; ++r) {
      MIZZEN_UNROLL for (int v = 0; v < Vectors; ++v) sum[u][r][v] = zero();
    }
  }
  const float* a = t.a;
  const float* b = t.b;
  std::size_t k = t.depth;
  if constexpr (chains > 1) {
    for (; k >= chains; k -= chains) {
      MIZZEN_UNROLL for (int u = 0; u < chains; ++u) {
        MIZZEN_UNROLL for (int v = 0; v < Vectors; ++v) {
          const vec right = load(b + v * lanes);
          MIZZEN_UNROLL for (int r = 0; r < Rows; ++r) {
            sum[u][r][v] = fma(splat(a[r * row]), right, sum[u][r][v]);
          }
        }
        a += a_depth;
        b += b_depth;
      }
    }
  }
  const auto step = [&]() __attribute__((always_inline)) {
    vec right[Vectors];
    MIZZEN_UNROLL for (int v = 0; v < Vectors; ++v) right[v] = load(b + v * lanes);
    MIZZEN_UNROLL for (int r = 0; r < Rows; ++r) {
      const vec left = splat(a[r * row]);
      MIZZEN_UNROLL for (int v = 0; v < Vectors; ++v) {
        sum[0][r][v] = fma(left, right[v], sum[0][r][v]);
      }
    }
    a += a_depth;
    b += b_depth;
  };
  if constexpr (Rows > tile_rows / 2 && Vectors == tile_vectors && UnitRow) {
    // A line at a time, so that the fetches never queue up.
    const float* soon = t.prefetch;
    const std::size_t rest = k > t.prefetch_lines ? k - t.prefetch_lines : 0;
    for (; k != rest; --k) {
      __builtin_prefetch(soon, 0, 2);
      soon += 16;
      step();
    }
  }
  for (; k != 0; --k) step();
  if constexpr (chains > 1) {
    MIZZEN_UNROLL for (int u = 1; u < chains; ++u) {
      MIZZEN_UNROLL for (int r = 0; r < Rows; ++r) {
        MIZZEN_UNROLL for (int v = 0; v < Vectors; ++v) {
          sum[0][r][v] = add(sum[0][r][v], sum[u][r][v]);
        }
      }
    }
  }

  const mask last = first_lanes(t.columns - (Vectors - 1) * lanes);
  const vec low = splat(t.low);
  const vec high = splat(t.high);
  MIZZEN_UNROLL for (int v = 0; v < Vectors; ++v) {
    const bool partial = v == Vectors - 1 && t.columns % lanes != 0;
    vec bias = zero();
    if (t.column_bias != nullptr) {
      bias = partial ? load(t.column_bias + v * lanes, last) : load(t.column_bias + v * lanes);
    }
    MIZZEN_UNROLL for (int r = 0; r < Rows; ++r) {
      float* const c = t.c + r * t.c_row + v * t.c_vector;
      vec x = add(sum[0][r][v], bias);
      if (t.row_bias != nullptr) x = add(x, splat(t.row_bias[r]));
      if (t.accumulate) x = add(x, partial ? load(c, last) : load(c));
      if (t.residual != nullptr) {
        const float* const p = t.residual + r * t.residual_row + v * t.residual_vector;
        x = add(x, partial ? load(p, last) : load(p));
      }
      if (t.clamp) x = clamp(x, low, high);
      if (partial) {
        store(c, x, last);
      } else {
        store(c, x);
      }
    }
  }
}

using tile_function = void (*)(const gemm_tile&);

struct tile_functions {
  tile_function of[tile_rows + 1][tile_vectors + 1][2] = {};
};

template <int Rows>
constexpr void fill_tile_functions(tile_functions& all) {
  static_assert(tile_vectors == 2);
  all.of[Rows][1][0] = multiply_tile<Rows, 1, false>;
  all.of[Rows][1][1] = multiply_tile<Rows, 1, true>;
  all.of[Rows][2][0] = multiply_tile<Rows, 2, false>;
  all.of[Rows][2][1] = multiply_tile<Rows, 2, true>;
  if constexpr (Rows > 1) fill_tile_functions<Rows - 1>(all);
}

constexpr tile_functions make_tile_functions() {
  tile_functions all;
  fill_tile_functions<tile_rows>(all);
  return all;
}

constexpr tile_functions all_tiles = make_tile_functions();

void gemm(const gemm_tile& t) {
  const std::size_t vectors = (t.columns + lanes - 1) / lanes;
  all_tiles.of[t.rows][vectors][t.a_row == 1 ? 1 : 0](t);
}

void pack_rows(const float* from, std::ptrdiff_t row, std::size_t rows, std::size_t width,
               std::size_t depth, float* to, std::size_t step) {
  std::size_t d = 0;
  // A whole vector is stored where `width` floats are wanted, what is too much under the next one;
  // so the last ones go one by one.
  const std::size_t spare = width == lanes ? 0 : (lanes + step - 1) / step;
  for (; d + lanes + spare <= depth; d += lanes) {
    vec block[lanes];
    for (std::size_t r = 0; r < lanes; ++r) {
      block[r] = r < rows ? load(from + static_cast<std::ptrdiff_t>(r) * row + d) : zero();
    }
    transpose(block);
    MIZZEN_UNROLL for (std::size_t i = 0; i < lanes; ++i) store(to + (d + i) * step, block[i]);
  }
  for (; d < depth; ++d) {
    for (std::size_t r = 0; r < width; ++r) {
      to[d * step + r] =
          r < rows ? from[static_cast<std::ptrdiff_t>(r) * row + static_cast<std::ptrdiff_t>(d)]
                   : 0.0F;
    }
  }
}

}  // namespace
