// The attributes that convolutions and pools share.
#pragma once

#include "inference/cpu/kernels/window.hpp"
#include "inference/device/kernel.hpp"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace mizzen::inference::detail {

// As read from a node, with ONNX's defaults. Shape inference has checked them against the inputs.
struct window_attributes {
  enum class padding { given, none, same_upper, same_lower };

  // spatial: dimensions beside batch and channel. Throws error(unimplemented) naming the node for
  // more than `most`. The names of a strip's head have a prefix.
  window_attributes(const compile_context& context, std::size_t spatial, std::size_t most = 2,
                    const std::string& prefix = "");

  // The window over an input [N, C, ...] that gives such an output. kernel: its sizes where the
  // attribute is absent (the weights').
  cpu::window_2d over(std::span<const std::int64_t> input, std::span<const std::int64_t> output,
                      std::span<const std::int64_t> kernel = {}) const;

  // The same over an input [N, ..., C] of up to three spatial dimensions.
  cpu::window_3d over_channels_last(std::span<const std::int64_t> input,
                                    std::span<const std::int64_t> output,
                                    std::span<const std::int64_t> kernel = {}) const;

  // The size that an input's spatial dimension i gives; see shape inference.
  std::int64_t output(std::size_t i, std::int64_t in,
                      std::span<const std::int64_t> weights_kernel) const;

  std::vector<std::int64_t> kernel, strides, dilations, pads;
  padding pad = padding::given;

 private:
  cpu::window_axis axis(std::size_t i, std::int64_t in, std::int64_t out,
                        std::span<const std::int64_t> weights_kernel) const;
};

}  // namespace mizzen::inference::detail
