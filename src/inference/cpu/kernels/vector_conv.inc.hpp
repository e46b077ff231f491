// The kernels of convolutions over channels that lie last. Included after a simd_*.hpp.
#pragma once

#include "inference/cpu/kernels/kernel_table.hpp"
#include "inference/cpu/kernels/vector_gemm.inc.hpp"

namespace {

using mizzen::inference::detail::cpu::activation;
using mizzen::inference::detail::cpu::conv_tile;
using mizzen::inference::detail::cpu::depthwise_rows;
using mizzen::inference::detail::cpu::depthwise_tile;
using mizzen::inference::detail::cpu::unary_op;
using mizzen::inference::detail::cpu::winograd_in;
using mizzen::inference::detail::cpu::winograd_out;
using mizzen::inference::detail::cpu::winograd_result;

constexpr std::size_t line_floats = 16;  // of a cache line

// Calls apply(f) with what is done to sums last, unless that is nothing.
template <class Apply>
inline void with_last(const activation& last, const Apply& apply) {
  const vec alpha = splat(last.alpha);
  const vec beta = splat(last.beta);
  if (last.op == unary_op::clip) {
    apply([=](vec x) { return clamp(x, alpha, beta); });
  } else if (last.op == unary_op::hard_swish) {
    const vec gain = splat(last.gain);
    const vec shift = splat(last.shift);
    apply([=](vec x) { return hard_swish(x, alpha, beta, gain, shift); });
  }
}

// Reads or writes a row of a tile, whose last vector may be partial. Every other vector is whole,
// and the question is asked once per tile rather than once per vector.
template <int Rows, int Vectors, class Function>
inline void each_vector(bool partial, mask last, const Function& f) {
  const auto whole = [](const float* p) { return load(p); };
  MIZZEN_UNROLL for (int r = 0; r < Rows; ++r) {
    MIZZEN_UNROLL for (int v = 0; v < Vectors - 1; ++v) f(r, v, whole);
  }
  if (partial) {
    const auto some = [&](const float* p) { return load(p, last); };
    MIZZEN_UNROLL for (int r = 0; r < Rows; ++r) f(r, Vectors - 1, some);
  } else {
    MIZZEN_UNROLL for (int r = 0; r < Rows; ++r) f(r, Vectors - 1, whole);
  }
}

// Rows x Vectors accumulators; Chains of them to hide the latency of FMA where the tile is small.
// Half: the last vector holds columns in its first half alone.
template <int Rows, int Vectors, bool Half>
void convolve_tile(const conv_tile& t) {
  constexpr int chains = Rows == 1 ? 4 : Rows <= 3 ? 2 : 1;
  const bool partial = t.columns % lanes != 0;
  const mask last = first_lanes(t.columns - (Vectors - 1) * lanes);
  vec sum[chains][Rows][Vectors];
  MIZZEN_UNROLL for (int u = 0; u < chains; ++u) {
    MIZZEN_UNROLL for (int r = 0; r < Rows; ++r) {
      MIZZEN_UNROLL for (int v = 0; v < Vectors; ++v) sum[u][r][v] = zero();
    }
  }
  if (t.bias != nullptr) {
    each_vector<1, Vectors>(partial, last, [&](int, int v, const auto& read) {
      const vec bias = read(t.bias + v * lanes);
      MIZZEN_UNROLL for (int r = 0; r < Rows; ++r) sum[0][r][v] = bias;
    });
  }
  // Where the sums go is fetched while they are made.
  MIZZEN_UNROLL for (int r = 0; r < Rows; ++r) {
    MIZZEN_UNROLL for (int v = 0; v < Vectors; ++v) {
      __builtin_prefetch(t.y + r * t.y_row + v * lanes, 1, 3);
    }
  }
  if (t.residual != nullptr) {
    MIZZEN_UNROLL for (int r = 0; r < Rows; ++r) {
      MIZZEN_UNROLL for (int v = 0; v < Vectors; ++v) {
        __builtin_prefetch(t.residual + r * t.y_row + v * lanes, 0, 3);
      }
    }
  }
  const auto multiply = [](vec a, vec b, vec c, int v) __attribute__((always_inline)) {
    return Half && v == Vectors - 1 ? fma_half(a, b, c) : fma(a, b, c);
  };
  const float* w = t.weights;
  [[maybe_unused]] const float* soon = t.prefetch;
  [[maybe_unused]] std::size_t to_fetch = t.prefetch_lines;
  for (std::size_t s = 0; s < t.taps; ++s) {
    const float* x[Rows];
    MIZZEN_UNROLL for (int r = 0; r < Rows; ++r) {
      x[r] = t.x[static_cast<std::size_t>(r) * t.x_taps + s];
    }
    std::size_t k = 0;
    if constexpr (chains > 1) {
      for (; k + chains <= t.depth; k += chains) {
        MIZZEN_UNROLL for (int u = 0; u < chains; ++u) {
          MIZZEN_UNROLL for (int v = 0; v < Vectors; ++v) {
            const vec right = load(w + v * lanes);
            MIZZEN_UNROLL for (int r = 0; r < Rows; ++r) {
              sum[u][r][v] = multiply(splat(x[r][k + u]), right, sum[u][r][v], v);
            }
          }
          w += Vectors * lanes;
        }
      }
    }
    const auto step = [&]() __attribute__((always_inline)) {
      vec right[Vectors];
      MIZZEN_UNROLL for (int v = 0; v < Vectors; ++v) right[v] = load(w + v * lanes);
      MIZZEN_UNROLL for (int r = 0; r < Rows; ++r) {
        const vec left = splat(x[r][k]);
        MIZZEN_UNROLL for (int v = 0; v < Vectors; ++v) {
          sum[0][r][v] = multiply(left, right[v], sum[0][r][v], v);
        }
      }
      ++k;
      w += Vectors * lanes;
    };
    if constexpr (Rows > tile_rows / 2 && Vectors == tile_vectors) {
      // A line at a time, so that the fetches never queue up.
      const std::size_t fetched = to_fetch < t.depth ? to_fetch : t.depth;
      to_fetch -= fetched;
      while (k < fetched) {
        __builtin_prefetch(soon, 0, 2);
        soon += line_floats;
        step();
      }
    }
    while (k < t.depth) step();
  }
  if constexpr (chains > 1) {
    MIZZEN_UNROLL for (int u = 1; u < chains; ++u) {
      MIZZEN_UNROLL for (int r = 0; r < Rows; ++r) {
        MIZZEN_UNROLL for (int v = 0; v < Vectors; ++v) {
          sum[0][r][v] = add(sum[0][r][v], sum[u][r][v]);
        }
      }
    }
  }

  const auto add_all = [&](const float* p) {
    each_vector<Rows, Vectors>(partial, last, [&](int r, int v, const auto& read) {
      sum[0][r][v] = add(sum[0][r][v], read(p + r * t.y_row + v * lanes));
    });
  };
  if (t.accumulate) add_all(t.y);
  if (t.residual != nullptr) add_all(t.residual);
  with_last(t.last, [&](const auto& last_of) {
    MIZZEN_UNROLL for (int r = 0; r < Rows; ++r) {
      MIZZEN_UNROLL for (int v = 0; v < Vectors; ++v) sum[0][r][v] = last_of(sum[0][r][v]);
    }
  });
  MIZZEN_UNROLL for (int r = 0; r < Rows; ++r) {
    float* const y = t.y + r * t.y_row;
    MIZZEN_UNROLL for (int v = 0; v < Vectors - 1; ++v) store(y + v * lanes, sum[0][r][v]);
    if (partial) {
      store(y + (Vectors - 1) * lanes, sum[0][r][Vectors - 1], last);
    } else {
      store(y + (Vectors - 1) * lanes, sum[0][r][Vectors - 1]);
    }
  }
}

using conv_function = void (*)(const conv_tile&);

struct conv_functions {
  // By rows, vectors and whether half of the last one is enough.
  conv_function of[tile_rows + 1][tile_vectors + 1][2] = {};
};

template <int Rows>
constexpr void fill_conv_functions(conv_functions& all) {
  static_assert(tile_vectors == 2);
  constexpr bool half = half_lanes < lanes;
  all.of[Rows][1][0] = convolve_tile<Rows, 1, false>;
  all.of[Rows][2][0] = convolve_tile<Rows, 2, false>;
  all.of[Rows][1][1] = convolve_tile<Rows, 1, half>;
  all.of[Rows][2][1] = convolve_tile<Rows, 2, half>;
  if constexpr (Rows > 1) fill_conv_functions<Rows - 1>(all);
}

constexpr conv_functions make_conv_functions() {
  conv_functions all;
  fill_conv_functions<tile_rows>(all);
  return all;
}

constexpr conv_functions all_convs = make_conv_functions();

void conv(const conv_tile& t) {
  const std::size_t vectors = (t.columns + lanes - 1) / lanes;
  const bool half = vectors * lanes - t.columns >= lanes - half_lanes;
  all_convs.of[t.rows][vectors][half ? 1 : 0](t);
}

// The sums of some channels from c on, before and after the taps.
template <int Rows, int Vectors, class Read>
inline void depthwise_begin(const depthwise_tile& t, std::size_t c, const Read& read,
                            vec (&sum)[Rows][Vectors]) {
  MIZZEN_UNROLL for (int v = 0; v < Vectors; ++v) {
    const vec bias = t.bias != nullptr ? read(t.bias + c + v * lanes) : zero();
    MIZZEN_UNROLL for (int r = 0; r < Rows; ++r) sum[r][v] = bias;
  }
}
template <int Rows, int Vectors>
inline void depthwise_end(const depthwise_tile& t, std::size_t c, bool partial, mask m,
                          vec (&sum)[Rows][Vectors]) {
  with_last(t.last, [&](const auto& last_of) {
    MIZZEN_UNROLL for (int r = 0; r < Rows; ++r) {
      MIZZEN_UNROLL for (int v = 0; v < Vectors; ++v) sum[r][v] = last_of(sum[r][v]);
    }
  });
  float* y = t.y + c;
  const std::ptrdiff_t row = t.y_row;
  MIZZEN_UNROLL for (int r = 0; r < Rows; ++r, y += row) {
    MIZZEN_UNROLL for (int v = 0; v < Vectors; ++v) {
      if (partial) {
        store(y + v * lanes, sum[r][v], m);
      } else {
        store(y + v * lanes, sum[r][v]);
      }
    }
  }
}

template <int Rows, int Vectors>
inline void depthwise_block(const depthwise_tile& t, std::size_t c, mask m) {
  // Only the last vector of the channels is partial, and its block is one vector.
  const bool partial = Vectors == 1 && t.end - c < lanes;
  const auto read = [&](const float* p) { return partial ? load(p, m) : load(p); };
  vec sum[Rows][Vectors];
  depthwise_begin(t, c, read, sum);
  for (std::size_t k = 0; k < t.taps; ++k) {
    const float* const x = t.x[k] + t.x_at + c;
    const float* const w = t.weights[k] + c;
    MIZZEN_UNROLL for (int v = 0; v < Vectors; ++v) {
      const vec weight = read(w + v * lanes);
      MIZZEN_UNROLL for (int r = 0; r < Rows; ++r) {
        sum[r][v] = fma(read(x + r * t.x_row + v * lanes), weight, sum[r][v]);
      }
    }
  }
  depthwise_end(t, c, partial, m, sum);
}

// All rows of a tile whose windows are whole and overlap: every pixel is read once for all of them.
template <int Width, int Stride, int Vectors>
inline void depthwise_overlap(const depthwise_tile& t, std::size_t c, mask m) {
  constexpr int rows = static_cast<int>(depthwise_rows);
  const std::ptrdiff_t pixel_step = t.x_row / Stride;
  const bool partial = Vectors == 1 && t.end - c < lanes;
  const auto read = [&](const float* p) { return partial ? load(p, m) : load(p); };
  vec sum[rows][Vectors];
  depthwise_begin(t, c, read, sum);
  for (std::size_t k = 0; k < t.taps; k += Width) {
    vec weight[Width][Vectors];
    MIZZEN_UNROLL for (int i = 0; i < Width; ++i) {
      MIZZEN_UNROLL for (int v = 0; v < Vectors; ++v) {
        weight[i][v] = read(t.weights[k + static_cast<std::size_t>(i)] + c + v * lanes);
      }
    }
    const float* x = t.x[k] + t.x_at + c;
    MIZZEN_UNROLL for (int j = 0; j < (rows - 1) * Stride + Width; ++j, x += pixel_step) {
      MIZZEN_UNROLL for (int v = 0; v < Vectors; ++v) {
        vec pixel = read(x + v * lanes);
        keep(pixel);
        MIZZEN_UNROLL for (int r = 0; r < rows; ++r) {
          const int i = j - r * Stride;
          if (i >= 0 && i < Width) sum[r][v] = fma(pixel, weight[i][v], sum[r][v]);
        }
      }
    }
  }
  depthwise_end(t, c, partial, m, sum);
}

template <int Width, int Stride>
void depthwise_overlapping(const depthwise_tile& t) {
  // With wide vectors there are registers for two of them.
  constexpr int vectors = lanes == 16 ? 2 : 1;
  std::size_t c = t.first;
  for (; c + vectors * lanes <= t.end; c += vectors * lanes) {
    depthwise_overlap<Width, Stride, vectors>(t, c, first_lanes(lanes));
  }
  for (; c < t.end; c += lanes) {
    depthwise_overlap<Width, Stride, 1>(t, c, first_lanes(t.end - c));
  }
}

template <int Rows>
void depthwise_pixels(const depthwise_tile& t) {
  std::size_t c = t.first;
  for (; c + 2 * lanes <= t.end; c += 2 * lanes) {
    depthwise_block<Rows, 2>(t, c, first_lanes(lanes));
  }
  for (; c < t.end; c += lanes) {
    depthwise_block<Rows, 1>(t, c, first_lanes(t.end - c));
  }
}

void depthwise(const depthwise_tile& t) {
  static_assert(depthwise_rows == 4);
  if (t.rows == depthwise_rows && t.stride == 1) {
    if (t.width == 3) return depthwise_overlapping<3, 1>(t);
    if (t.width == 5) return depthwise_overlapping<5, 1>(t);
  }
  if (t.rows == depthwise_rows && t.stride == 2) {
    if (t.width == 3) return depthwise_overlapping<3, 2>(t);
    if (t.width == 5) return depthwise_overlapping<5, 2>(t);
  }
  constexpr void (*of[])(const depthwise_tile&) = {
      nullptr, depthwise_pixels<1>, depthwise_pixels<2>, depthwise_pixels<3>, depthwise_pixels<4>};
  of[t.rows](t);
}

// Interpolation at 0, infinity and plus and minus these: their powers stay near 1, which keeps the
// rounding errors small.
constexpr float winograd_a = 0.707106781F;  // sqrt(1/2)
constexpr float winograd_b = 1.41421356F;   // sqrt(2)

// One line of B^T d: six numbers from six.
inline void winograd_input_line(const vec (&d)[winograd_in], vec (&v)[winograd_in]) {
  const vec even_a = fma(splat(-2.0F), d[2], d[4]);
  const vec odd_a = mul(splat(winograd_a), fma(splat(-2.0F), d[1], d[3]));
  const vec even_b = fma(splat(-0.5F), d[2], d[4]);
  const vec odd_b = mul(splat(winograd_b), fma(splat(-0.5F), d[1], d[3]));
  v[0] = add(fma(splat(-2.5F), d[2], d[0]), d[4]);
  v[1] = add(even_a, odd_a);
  v[2] = sub(even_a, odd_a);
  v[3] = add(even_b, odd_b);
  v[4] = sub(even_b, odd_b);
  v[5] = add(fma(splat(-2.5F), d[3], d[1]), d[5]);
}

void winograd_input(const float* const* x, std::size_t channels, float* v, std::size_t step) {
  constexpr std::size_t n = winograd_in;
  for (std::size_t c = 0; c < channels; c += lanes) {
    const mask m = first_lanes(channels - c);
    const bool partial = channels - c < lanes;
    vec half[n][n];  // B^T d, by column of d
    for (std::size_t j = 0; j < n; ++j) {
      vec d[n];
      MIZZEN_UNROLL for (std::size_t i = 0; i < n; ++i) {
        const float* const from = x[i * n + j] + c;
        d[i] = partial ? load(from, m) : load(from);
      }
      winograd_input_line(d, half[j]);
    }
    for (std::size_t i = 0; i < n; ++i) {
      vec d[n];
      vec line[n];
      MIZZEN_UNROLL for (std::size_t j = 0; j < n; ++j) d[j] = half[j][i];
      winograd_input_line(d, line);
      MIZZEN_UNROLL for (std::size_t j = 0; j < n; ++j) {
        float* const to = v + (i * n + j) * step + c;
        if (partial) {
          store(to, line[j], m);
        } else {
          store(to, line[j]);
        }
      }
    }
  }
}

// One line of A^T m: four numbers from six.
inline void winograd_output_line(const vec (&m)[winograd_in], vec (&y)[winograd_out]) {
  const vec even_a = add(m[1], m[2]);
  const vec odd_a = mul(splat(winograd_a), sub(m[1], m[2]));
  const vec even_b = add(m[3], m[4]);
  const vec odd_b = mul(splat(winograd_b), sub(m[3], m[4]));
  y[0] = add(add(m[0], even_a), even_b);
  y[1] = add(odd_a, odd_b);
  y[2] = fma(splat(2.0F), even_b, mul(splat(0.5F), even_a));
  y[3] = add(fma(splat(2.0F), odd_b, mul(splat(0.5F), odd_a)), m[5]);
}

template <class Last>
void winograd_output_and(const winograd_result& t, const Last& last_of) {
  constexpr std::size_t n = winograd_in;
  constexpr std::size_t o = winograd_out;
  for (std::size_t c = 0; c < t.channels; c += lanes) {
    const mask m = first_lanes(t.channels - c);
    const bool partial = t.channels - c < lanes;
    const auto read = [&](const float* p) { return partial ? load(p, m) : load(p); };
    const vec bias = t.bias != nullptr ? read(t.bias + c) : zero();
    vec half[n][o];  // A^T m, by column of m
    for (std::size_t j = 0; j < n; ++j) {
      vec s[n];
      MIZZEN_UNROLL for (std::size_t i = 0; i < n; ++i) {
        s[i] = read(t.sums + (i * n + j) * t.step + c);
      }
      winograd_output_line(s, half[j]);
    }
    for (std::size_t i = 0; i < o; ++i) {
      vec s[n];
      vec y[o];
      MIZZEN_UNROLL for (std::size_t j = 0; j < n; ++j) s[j] = half[j][i];
      winograd_output_line(s, y);
      for (std::size_t j = 0; j < o; ++j) {
        float* const to = t.y[i * o + j];
        if (to == nullptr) continue;
        vec x = add(y[j], bias);
        if (t.residual != nullptr) x = add(x, read(t.residual[i * o + j] + c));
        x = last_of(x);
        if (partial) {
          store(to + c, x, m);
        } else {
          store(to + c, x);
        }
      }
    }
  }
}

void winograd_output(const winograd_result& t) {
  if (t.last.op == unary_op::identity) return winograd_output_and(t, [](vec x) { return x; });
  with_last(t.last, [&](const auto& last_of) { winograd_output_and(t, last_of); });
}

}  // namespace
