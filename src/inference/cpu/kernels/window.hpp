// The geometry that convolutions and pools share.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>

namespace mizzen::inference::detail::cpu {

// One spatial dimension: output o reads inputs o * stride - pad + k * dilation for k < kernel.
struct window_axis {
  std::size_t in = 1;
  std::size_t out = 1;
  std::size_t kernel = 1;
  std::size_t stride = 1;
  std::size_t dilation = 1;
  std::size_t pad_begin = 0;
  std::size_t pad_end = 0;

  // The input below tap k of output o; may lie outside [0, in).
  std::ptrdiff_t input(std::size_t o, std::size_t k) const noexcept {
    return static_cast<std::ptrdiff_t>(o * stride + k * dilation) -
           static_cast<std::ptrdiff_t>(pad_begin);
  }
  bool inside(std::ptrdiff_t i) const noexcept {
    return i >= 0 && i < static_cast<std::ptrdiff_t>(in);
  }
  // Taps of output o that lie inside the input or, with count_padding, inside input and padding.
  std::size_t taps_counted(std::size_t o, bool count_padding) const noexcept {
    std::size_t count = 0;
    for (std::size_t k = 0; k < kernel; ++k) {
      const std::ptrdiff_t i = input(o, k);
      // With ceil_mode a window may reach beyond the padding at the end: that never counts.
      if (count_padding ? i < static_cast<std::ptrdiff_t>(in + pad_end) : inside(i)) ++count;
    }
    return count;
  }
  // Outputs [first, last) whose tap k lies inside the input.
  struct range {
    std::size_t first;
    std::size_t last;
  };
  range outputs_inside(std::size_t k) const noexcept {
    const std::size_t offset = k * dilation;
    std::size_t first = offset >= pad_begin ? 0 : (pad_begin - offset + stride - 1) / stride;
    std::size_t last = in + pad_begin > offset ? (in + pad_begin - offset - 1) / stride + 1 : 0;
    last = std::min(last, out);
    return {std::min(first, last), last};
  }
};

// Depth, height and width; fewer dimensions leave the first ones at 1.
struct window_3d {
  std::array<window_axis, 3> axes;
  const window_axis& depth() const noexcept { return axes[0]; }
  const window_axis& height() const noexcept { return axes[1]; }
  const window_axis& width() const noexcept { return axes[2]; }
  std::size_t in_size() const noexcept { return axes[0].in * axes[1].in * axes[2].in; }
  std::size_t out_size() const noexcept { return axes[0].out * axes[1].out * axes[2].out; }
  std::size_t taps() const noexcept { return axes[0].kernel * axes[1].kernel * axes[2].kernel; }
};

struct window_2d {
  window_axis height;
  window_axis width;
  std::size_t in_size() const noexcept { return height.in * width.in; }
  std::size_t out_size() const noexcept { return height.out * width.out; }
  std::size_t taps() const noexcept { return height.kernel * width.kernel; }
};

}  // namespace mizzen::inference::detail::cpu
