#include "inference/cpu/kernels/half_avx512.hpp"
#include "inference/cpu/kernels/vector_half.inc.hpp"

#if defined(__clang__)
#define MIZZEN_UNROLL _Pragma("unroll")
#else
#define MIZZEN_UNROLL _Pragma("GCC unroll 16")
#endif

namespace mizzen::inference::detail::cpu {
namespace {

constexpr int bf16_rows = 14;

__m512i load_pairs(const bfloat16* p) { return _mm512_loadu_si512(p); }

// The same pair of A in each lane.
__m512i splat_pair(const bfloat16* p) {
  std::int32_t pair = 0;
  std::memcpy(&pair, p, sizeof pair);
  return _mm512_set1_epi32(pair);
}

// Rows x Vectors sums, several of them where they are too few to hide the latency.
template <int Rows, int Vectors>
void multiply_pairs(const bf16_tile& t) {
  constexpr int chains = Rows == 1 ? 4 : Rows <= 3 ? 2 : 1;
  vec sum[chains][Rows][Vectors];
  MIZZEN_UNROLL for (int u = 0; u < chains; ++u) {
    MIZZEN_UNROLL for (int r = 0; r < Rows; ++r) {
      MIZZEN_UNROLL for (int v = 0; v < Vectors; ++v) sum[u][r][v] = zero();
    }
  }
  const bfloat16* a = t.a;
  const bfloat16* b = t.b;
  const auto step = [&](int u) __attribute__((always_inline)) {
    __m512i right[Vectors];
    MIZZEN_UNROLL for (int v = 0; v < Vectors; ++v) right[v] = load_pairs(b + v * 32);
    MIZZEN_UNROLL for (int r = 0; r < Rows; ++r) {
      const __m512i left = splat_pair(a + static_cast<std::size_t>(r) * t.a_row);
      MIZZEN_UNROLL for (int v = 0; v < Vectors; ++v) {
        sum[u][r][v] = _mm512_dpbf16_ps(sum[u][r][v], reinterpret_cast<__m512bh>(left),
                                        reinterpret_cast<__m512bh>(right[v]));
      }
    }
    a += 2;
    b += 2 * bf16_columns;
  };
  std::size_t pairs = t.depth / 2;
  for (; pairs >= chains; pairs -= chains) {
    MIZZEN_UNROLL for (int u = 0; u < chains; ++u) step(u);
  }
  for (; pairs != 0; --pairs) step(0);
  MIZZEN_UNROLL for (int u = 1; u < chains; ++u) {
    MIZZEN_UNROLL for (int r = 0; r < Rows; ++r) {
      MIZZEN_UNROLL for (int v = 0; v < Vectors; ++v) {
        sum[0][r][v] = add(sum[0][r][v], sum[u][r][v]);
      }
    }
  }
  MIZZEN_UNROLL for (int v = 0; v < Vectors; ++v) {
    const mask some = first_lanes(t.columns - static_cast<std::size_t>(v) * lanes);
    const vec bias = t.bias != nullptr ? load(t.bias + v * lanes, some) : zero();
    MIZZEN_UNROLL for (int r = 0; r < Rows; ++r) {
      const std::size_t at =
          static_cast<std::size_t>(r) * t.c_row + static_cast<std::size_t>(v * lanes);
      vec x = add(sum[0][r][v], bias);
      if (t.residual != nullptr) x = add(x, load(t.residual + at, some));
      store(t.c + at, x, some);
    }
  }
}

using tile_function = void (*)(const bf16_tile&);

struct tile_functions {
  tile_function of[bf16_rows + 1][3] = {};
};

template <int Rows>
constexpr void fill(tile_functions& all) {
  all.of[Rows][1] = multiply_pairs<Rows, 1>;
  all.of[Rows][2] = multiply_pairs<Rows, 2>;
  if constexpr (Rows > 1) fill<Rows - 1>(all);
}

constexpr tile_functions make_tile_functions() {
  tile_functions all;
  fill<bf16_rows>(all);
  return all;
}

constexpr tile_functions tiles = make_tile_functions();

void multiply(const bf16_tile& t) { tiles.of[t.rows][t.columns > lanes ? 2 : 1](t); }

constexpr half_table with_products() {
  half_table table = make_half_table("avx512_bf16");
  table.multiply = multiply;
  table.tile_rows = bf16_rows;
  return table;
}

}  // namespace

extern const half_table avx512_bf16_half;
constexpr half_table avx512_bf16_half = with_products();

}  // namespace mizzen::inference::detail::cpu
