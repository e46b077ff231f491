// Convolution in up to three spatial dimensions over pictures whose channels lie last: x is
// [batch, depth, height, width, channels]. No window is copied, but for pictures of few channels.
#pragma once

#include "inference/cpu/kernels/aligned_buffer.hpp"
#include "inference/cpu/kernels/kernel_table.hpp"
#include "inference/cpu/kernels/window.hpp"
#include "inference/cpu/thread_pool.hpp"

#include <cstddef>
#include <optional>

namespace mizzen::inference::detail::cpu {

struct channels_last_shape {
  std::size_t batch = 1;
  std::size_t in_channels = 1;
  std::size_t out_channels = 1;
  std::size_t groups = 1;
  window_3d window;

  std::size_t in_per_group() const noexcept { return in_channels / groups; }
  std::size_t out_per_group() const noexcept { return out_channels / groups; }
};

// What is done to the sums before they are stored: y = finish(last(sum + bias + residual)).
struct channels_last_epilogue {
  const float* bias = nullptr;      // [out_channels]
  const float* residual = nullptr;  // laid out as y
  activation last;                  // identity, clip or hard_swish
  // Called once for every finished run of y, while it is in cache: n floats that begin at y[at].
  void (*finish)(const void* context, std::size_t at, float* y, std::size_t n) = nullptr;
  const void* context = nullptr;
};

// How a convolution is computed.
enum class conv_method {
  direct,     // every tap is a product of matrices
  lines,      // the same, with the taps of a line taken as one: for few channels
  planes,     // the same of a picture whose channels do not lie last yet
  depthwise,  // a channel at a time
  winograd,   // F(4x4, 3x3) over height and width; the taps of the depth as in direct
};

// The method for a shape: any but planes, which is for where lines is. Of the window, kernel,
// stride and dilation are looked at, and the size of the output where it is known (not 0).
conv_method conv_method_for(const channels_last_shape& shape) noexcept;

// Weights [out_channels, in_channels / groups, kernel depth, kernel height, kernel width],
// rearranged for one method.
class channels_last_weights {
 public:
  // Of shape, the channels, groups and kernel sizes are used; they must allow the method.
  channels_last_weights(const kernel_table& kernels, const channels_last_shape& shape,
                        conv_method method, const float* weights);

  conv_method method() const noexcept { return method_; }
  // Panels of a matrix (one but for winograd) of a group: [taps][depth][columns] each.
  const float* panel(std::size_t matrix, std::size_t group,
                     std::size_t first_column) const noexcept;
  const float* tap(std::size_t t) const noexcept { return data_.data() + t * row_; }  // depthwise
  const float* zeros() const noexcept { return zeros_.data(); }
  std::size_t rows() const noexcept { return rows_; }  // taps times depth of a panel

 private:
  conv_method method_;
  std::size_t groups_ = 1;
  std::size_t rows_ = 0;
  std::size_t row_ = 0;  // floats of all panels' rows
  aligned_floats data_;
  aligned_floats zeros_;
};

// Floats of scratch memory that conv_channels_last() needs for this shape with so many threads.
std::size_t conv_channels_last_scratch(const kernel_table& kernels,
                                       const channels_last_shape& shape, conv_method method,
                                       unsigned threads);

// y is [batch, out depth, out height, out width, out_channels]; x is [batch, depth, height, width,
// in_channels], but [batch, in_channels, depth, height, width] for planes; they must not overlap.
// scratch holds conv_channels_last_scratch(kernels, shape, weights.method(), pool.size()) floats.
// Allocates nothing. With winograd a NaN or infinity spreads to the outputs of its tile, and sums
// are rounded otherwise than term by term (relative error of some 1e-6).
void conv_channels_last(const kernel_table& kernels, thread_pool& pool,
                        const channels_last_shape& shape, const channels_last_weights& weights,
                        const float* x, float* y, const channels_last_epilogue& epilogue,
                        float* scratch);

// One of the convolutions of a strip.
struct conv_part {
  channels_last_shape shape;
  const channels_last_weights* weights = nullptr;
  channels_last_epilogue epilogue;
};

// Convolutions after each other, over pictures without depth, of one group but for the depthwise
// one. What lies between them is never whole: it is made and used a line at a time. Only the last
// one's epilogue may have a residual, and `at` tells only its finish() something.
struct conv_strip_parts {
  std::optional<conv_part> head;  // by the method direct or planes
  conv_part depthwise;
  std::optional<conv_part> tail;  // pointwise, direct
};
std::size_t conv_strip_scratch(const kernel_table& kernels, const conv_strip_parts& parts,
                               unsigned threads);
// Allocates nothing.
void conv_strip(const kernel_table& kernels, thread_pool& pool, const conv_strip_parts& parts,
                const float* x, float* y, float* scratch);

// The transposed convolution: shape is that of the convolution from y to x, so that x is [batch,
// out depth, out height, out width, out_channels] of it and y the picture it goes over; groups
// is 1. Weights are [channels of x, channels of y, kernel depth, kernel height, kernel width].
class conv_transpose_weights {
 public:
  // Of shape, the channels and what is known of the window without its sizes are used.
  conv_transpose_weights(const kernel_table& kernels, const channels_last_shape& shape,
                         const float* weights);

  // True if every pixel of x makes a block of y of its own. The taps of a line lie side by side in
  // y then, and are one tap of so many more columns.
  bool apart() const noexcept { return apart_; }
  std::size_t columns() const noexcept { return columns_; }
  // Of one tap: [channels of x][columns], from a column on that begins a panel.
  const float* panel(std::size_t tap, std::size_t first_column) const noexcept {
    return data_.data() + depth_ * (tap * row_ + first_column);
  }

 private:
  bool apart_;
  std::size_t columns_;
  std::size_t depth_;
  std::size_t row_;
  aligned_floats data_;
};

// y = transposed convolution of x, plus bias [channels of y] where it is not null. Allocates
// nothing.
void conv_transpose_channels_last(const kernel_table& kernels, thread_pool& pool,
                                  const channels_last_shape& shape,
                                  const conv_transpose_weights& weights, const float* x,
                                  const float* bias, float* y);

}  // namespace mizzen::inference::detail::cpu
