#include "inference/cpu/ops/window_attributes.hpp"

#include <algorithm>

namespace mizzen::inference::detail {

window_attributes::window_attributes(const compile_context& c, std::size_t spatial,
                                     std::size_t most, const std::string& prefix) {
  if (spatial < 1 || spatial > most) {
    c.unsupported("has kernels for one to " + std::to_string(most) +
                  " spatial dimensions, not for " + std::to_string(spatial));
  }
  const attribute_map& a = c.n.attributes;
  kernel = a.get_ints(prefix + "kernel_shape");
  strides = a.get_ints(prefix + "strides", std::vector<std::int64_t>(spatial, 1));
  dilations = a.get_ints(prefix + "dilations", std::vector<std::int64_t>(spatial, 1));
  pads = a.get_ints(prefix + "pads", std::vector<std::int64_t>(2 * spatial, 0));
  if (strides.size() != spatial || dilations.size() != spatial || pads.size() != 2 * spatial ||
      (!kernel.empty() && kernel.size() != spatial)) {
    c.invalid("kernel_shape, strides, dilations and pads do not fit the rank of its input");
  }
  const auto least = [](const std::vector<std::int64_t>& list, std::int64_t bound) {
    return std::all_of(list.begin(), list.end(), [=](std::int64_t v) { return v >= bound; });
  };
  if (!least(kernel, 1) || !least(strides, 1) || !least(dilations, 1) || !least(pads, 0)) {
    c.invalid("kernel_shape, strides and dilations must be at least 1, pads at least 0");
  }
  const std::string automatic = a.get_string(prefix + "auto_pad", "NOTSET");
  if (automatic == "VALID") pad = padding::none;
  if (automatic == "SAME_UPPER") pad = padding::same_upper;
  if (automatic == "SAME_LOWER") pad = padding::same_lower;
}

cpu::window_axis window_attributes::axis(std::size_t i, std::int64_t in, std::int64_t out,
                                         std::span<const std::int64_t> weights_kernel) const {
  cpu::window_axis w;
  w.in = static_cast<std::size_t>(in);
  w.out = static_cast<std::size_t>(out);
  w.kernel = static_cast<std::size_t>(kernel.empty() ? weights_kernel[i] : kernel[i]);
  w.stride = static_cast<std::size_t>(strides[i]);
  w.dilation = static_cast<std::size_t>(dilations[i]);
  if (pad == padding::given) {
    w.pad_begin = static_cast<std::size_t>(pads[i]);
    w.pad_end = static_cast<std::size_t>(pads[i + strides.size()]);
  } else if (pad != padding::none && w.out != 0) {
    const std::size_t reach = (w.out - 1) * w.stride + (w.kernel - 1) * w.dilation + 1;
    const std::size_t total = reach > w.in ? reach - w.in : 0;
    w.pad_begin = pad == padding::same_upper ? total / 2 : total - total / 2;
    w.pad_end = total - w.pad_begin;
  }
  return w;
}

std::int64_t window_attributes::output(std::size_t i, std::int64_t in,
                                       std::span<const std::int64_t> weights_kernel) const {
  const std::int64_t stride = strides[i];
  if (pad == padding::same_upper || pad == padding::same_lower) return (in + stride - 1) / stride;
  const std::int64_t reach =
      ((kernel.empty() ? weights_kernel[i] : kernel[i]) - 1) * dilations[i] + 1;
  const std::int64_t around = pad == padding::given ? pads[i] + pads[i + strides.size()] : 0;
  return (in + around - reach) / stride + 1;
}

cpu::window_2d window_attributes::over(std::span<const std::int64_t> input,
                                       std::span<const std::int64_t> output,
                                       std::span<const std::int64_t> weights_kernel) const {
  const auto at = [&](std::size_t i) {
    return axis(i, input[i + 2], output[i + 2], weights_kernel);
  };
  // One dimension is a picture one line high.
  if (strides.size() == 1) return {cpu::window_axis{}, at(0)};
  return {at(0), at(1)};
}

cpu::window_3d window_attributes::over_channels_last(
    std::span<const std::int64_t> input, std::span<const std::int64_t> output,
    std::span<const std::int64_t> weights_kernel) const {
  cpu::window_3d w;
  for (std::size_t i = 0; i < strides.size(); ++i) {
    w.axes[3 - strides.size() + i] = axis(i, input[i + 1], output[i + 1], weights_kernel);
  }
  return w;
}

}  // namespace mizzen::inference::detail
