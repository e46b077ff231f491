// The inner loops that exist once per instruction set, as a table of functions. The code around
// them (blocking, threads, broadcasting) is compiled once, for the base target.
#pragma once

#include "inference/cpu/isa.hpp"

#include <cstddef>

namespace mizzen::inference::detail::cpu {

// Element-wise functions of one float. alpha and beta are the parameters of `activation`.
enum class unary_op {
  identity,
  abs,
  negative,
  exp,
  log,
  sqrt,
  reciprocal,
  floor,
  ceil,
  round,  // half to even
  sign,
  erf,
  tanh,
  sigmoid,
  softplus,
  softsign,
  relu,
  leaky_relu,        // x < 0 ? alpha x : x
  elu,               // x < 0 ? alpha (e^x - 1) : x
  celu,              // x < 0 ? alpha (e^(x / alpha) - 1) : x
  scale,             // alpha x + beta
  selu,              // beta (x < 0 ? alpha (e^x - 1) : x)
  thresholded_relu,  // x > alpha ? x : 0
  clip,              // to [alpha, beta]
  gelu,              // with erf
  gelu_tanh,         // the tanh approximation
  hard_sigmoid,      // clip(alpha x + beta, 0, 1)
  hard_swish,        // x clip(alpha x + beta, 0, 1); 1/6 and 1/2 in ONNX
  swish,             // x sigmoid(alpha x)
  mish,              // x tanh(softplus(x))
  // From here on computed one by one with the C library.
  sin,
  cos,
  tan,
  asin,
  acos,
  atan,
  sinh,
  cosh,
  asinh,
  acosh,
  atanh,
};

// A unary function with its parameters; as a fused post-op, what is applied last.
struct activation {
  unary_op op = unary_op::identity;
  float alpha = 0;
  float beta = 0;
  // Of hard_swish, which a scale often follows: gain * f(x) + shift.
  float gain = 1;
  float shift = 0;
};

// Element-wise functions of two numbers; up to max they have a vector form for floats. min and max
// propagate NaN.
enum class binary_op { add, sub, mul, div, min, max, pow, mod, fmod };

// Reductions over a run of floats. max and min propagate NaN.
enum class reduce_op { sum, sum_abs, sum_square, product, max, min };

// One tile of a matrix product, kept in registers:
//   C[r, c] = clamp(start + sum over k of A[r, k] B[k, c] + residual[r, c])
// All strides are in elements.
struct gemm_tile {
  std::size_t rows = 0;     // 1 … kernel_table::tile_rows
  std::size_t columns = 0;  // 1 … kernel_table::tile_columns()
  std::size_t depth = 0;
  const float* a = nullptr;
  std::ptrdiff_t a_row = 0;
  std::ptrdiff_t a_depth = 1;
  const float* b = nullptr;  // rows of whole vectors: readable up to the next multiple of lanes
  std::ptrdiff_t b_depth = 0;
  float* c = nullptr;
  std::ptrdiff_t c_row = 0;
  std::ptrdiff_t c_vector = 0;  // from one vector of columns to the next
  bool accumulate = false;      // start from what C holds
  const float* column_bias = nullptr;
  const float* row_bias = nullptr;
  const float* residual = nullptr;  // laid out as C
  std::ptrdiff_t residual_row = 0;
  std::ptrdiff_t residual_vector = 0;
  bool clamp = false;
  float low = 0;
  float high = 0;
  // What is needed soon and not in cache yet: so many cache lines from there are fetched meanwhile.
  const float* prefetch = nullptr;
  std::size_t prefetch_lines = 0;
};

// Some pixels of a convolution over channels that lie last, kept in registers:
//   y[r, c] = last(bias[c] + sum over taps t, k < depth of x[r][t][k] weights[t, k, c]
//                  + residual[r, c])
// Every tap of every pixel has its own address, so that windows need not be copied: at the border
// it is that of some zeros.
struct conv_tile {
  std::size_t rows = 0;     // 1 … kernel_table::tile_rows
  std::size_t columns = 0;  // 1 … kernel_table::tile_columns()
  std::size_t taps = 0;
  std::size_t depth = 0;            // adjacent floats at each tap
  const float* const* x = nullptr;  // [rows][x_taps]
  std::size_t x_taps = 0;           // from one row's addresses to the next's; at least taps
  const float* weights = nullptr;   // [taps][depth][columns rounded up to whole vectors]
  const float* bias = nullptr;      // these may be null
  const float* residual = nullptr;  // laid out as y
  float* y = nullptr;
  std::ptrdiff_t y_row = 0;
  // What is needed soon and not in cache yet: so many cache lines from there are fetched meanwhile.
  const float* prefetch = nullptr;
  std::size_t prefetch_lines = 0;
  bool accumulate = false;  // add to what y holds
  activation last;          // identity, clip or hard_swish
};

// Some adjacent pixels of a depthwise convolution over channels that lie last:
//   y[r, c] = last(bias[c] + sum over taps t of x[t][x_at + r * x_row + c] weights[t][c])
struct depthwise_tile {
  std::size_t rows = 0;   // 1 … depthwise_rows
  std::size_t first = 0;  // channels [first, end) are made
  std::size_t end = 0;
  std::size_t taps = 0;
  // If not 0, so many taps after each other are adjacent pixels, and adjacent rows are so many
  // pixels apart.
  std::size_t width = 0;
  std::size_t stride = 0;
  const float* const* x = nullptr;  // [taps]
  std::ptrdiff_t x_at = 0;          // added to all of them
  std::ptrdiff_t x_row = 0;
  const float* const* weights = nullptr;  // [taps]
  const float* bias = nullptr;            // may be null
  float* y = nullptr;
  std::ptrdiff_t y_row = 0;
  activation last;  // identity, clip or hard_swish
};
inline constexpr std::size_t depthwise_rows = 4;

// Winograd's F(4x4, 3x3): a tile of 6 x 6 inputs makes 4 x 4 outputs. Source: Lavin and Gray, Fast
// Algorithms for Convolutional Neural Networks, 2015.
inline constexpr std::size_t winograd_in = 6;
inline constexpr std::size_t winograd_out = 4;
inline constexpr std::size_t winograd_matrices = winograd_in * winograd_in;

struct winograd_result {
  const float* sums = nullptr;  // that of matrix i at i * step
  std::size_t step = 0;
  std::size_t channels = 0;
  const float* bias = nullptr;             // may be null
  float* const* y = nullptr;               // [16]; null for what lies outside the picture
  const float* const* residual = nullptr;  // [16], or null
  activation last;                         // identity, clip or hard_swish
};

// The gates of one step of an LSTM for one sequence. Source: ONNX LSTM.
struct lstm_step {
  std::size_t n = 0;
  const float* gates = nullptr;      // input, output, forget, cell: n of each
  const float* peepholes = nullptr;  // input, output, forget; may be null
  float clip = 0;                    // 0: none
  bool coupled = false;              // forget = 1 - input
  float* cell = nullptr;             // read and written
  float* h = nullptr;                // written
};

// The gates of one step of a GRU for one sequence. Source: ONNX GRU.
struct gru_step {
  std::size_t n = 0;
  const float* gates = nullptr;         // update, reset, hidden: n of each
  const float* before_reset = nullptr;  // what the reset gate weighs; null: that is in the gate
  float clip = 0;
  float* h = nullptr;  // read and written
};

struct kernel_table {
  isa level;
  int lanes;  // floats in a vector
  int tile_rows;
  int tile_vectors;

  void (*gemm)(const gemm_tile& tile);
  // to[d * step + r] = from[r * row + d] for r < rows, 0 up to width <= lanes.
  void (*pack_rows)(const float* from, std::ptrdiff_t row, std::size_t rows, std::size_t width,
                    std::size_t depth, float* to, std::size_t step);
  // y may be x. Ops from unary_op::sin on are not in this table; see elementwise.hpp.
  void (*unary)(const activation& f, const float* x, float* y, std::size_t n);
  // Steps are 0 (one value for all) or 1. y may be a or b. add … max only.
  void (*binary)(binary_op op, const float* a, int a_step, const float* b, int b_step, float* y,
                 std::size_t n);
  // y[i] = x[i] scale[i] + shift[i]; steps as above.
  void (*scale_shift)(const float* x, const float* scale, const float* shift, int step, float* y,
                      std::size_t n);
  float (*reduce)(reduce_op op, const float* x, std::size_t n);
  // total[i] = op(total[i], x[i])
  void (*accumulate)(reduce_op op, const float* x, float* total, std::size_t n);
  // The sum of exp(x - shift).
  float (*exp_sum)(const float* x, float shift, std::size_t n);
  // What is below e^-87 of the greatest becomes 0. y may be x.
  void (*softmax)(const float* x, float* y, std::size_t n);
  void (*log_softmax)(const float* x, float* y, std::size_t n);
  // Of each row of n floats, `row` apart: x = exp(x - max), inverse[r] = 1 / (sum of them). What is
  // below e^-87 of the greatest becomes 0.
  void (*exp_rows)(float* x, std::size_t row, std::size_t rows, std::size_t n, float* inverse);
  // y = (x - mean) / sqrt(variance + epsilon) gamma + beta; gamma and beta may be null. With
  // centre = false the mean is taken as 0 (RMS norm). The mean and 1 / sqrt(…) are stored where
  // asked for.
  void (*layer_norm)(const float* x, const float* gamma, const float* beta, float* y, std::size_t n,
                     float epsilon, bool centre, float* mean, float* inverse_deviation);
  void (*conv)(const conv_tile& tile);
  void (*depthwise)(const depthwise_tile& tile);
  // The transform of some channels of one tile: x are the addresses of its 36 pixels, and matrix i
  // of the result is stored at v + i * step.
  void (*winograd_input)(const float* const* x, std::size_t channels, float* v, std::size_t step);
  void (*winograd_output)(const winograd_result& tile);
  void (*lstm)(const lstm_step& step);
  void (*gru)(const gru_step& step);

  std::size_t vector_size() const noexcept { return static_cast<std::size_t>(lanes); }
  std::size_t tile_columns() const noexcept {
    return static_cast<std::size_t>(lanes) * static_cast<std::size_t>(tile_vectors);
  }
};

// The kernels of a level; those of a level the build or the processor lacks are the next lower
// ones. Never fails.
const kernel_table& kernels_for(isa level) noexcept;

}  // namespace mizzen::inference::detail::cpu
