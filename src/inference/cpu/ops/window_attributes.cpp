#include "inference/cpu/ops/window_attributes.hpp"

#include <algorithm>

namespace mizzen::inference::detail {

window_attributes::window_attributes(const compile_context& c, std::size_t spatial) {
  if (spatial < 1 || spatial > 2) {
    c.unsupported("has kernels for one and two spatial dimensions, not for " +
                  std::to_string(spatial));
  }
  const attribute_map& a = c.n.attributes;
  kernel = a.get_ints("kernel_shape");
  strides = a.get_ints("strides", std::vector<std::int64_t>(spatial, 1));
  dilations = a.get_ints("dilations", std::vector<std::int64_t>(spatial, 1));
  pads = a.get_ints("pads", std::vector<std::int64_t>(2 * spatial, 0));
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
  const std::string automatic = a.get_string("auto_pad", "NOTSET");
  if (automatic == "VALID") pad = padding::none;
  if (automatic == "SAME_UPPER") pad = padding::same_upper;
  if (automatic == "SAME_LOWER") pad = padding::same_lower;
}

cpu::window_2d window_attributes::over(std::span<const std::int64_t> input,
                                       std::span<const std::int64_t> output,
                                       std::span<const std::int64_t> weights_kernel) const {
  const std::size_t spatial = strides.size();
  const auto axis = [&](std::size_t i) {
    cpu::window_axis w;
    w.in = static_cast<std::size_t>(input[i + 2]);
    w.out = static_cast<std::size_t>(output[i + 2]);
    w.kernel = static_cast<std::size_t>(kernel.empty() ? weights_kernel[i] : kernel[i]);
    w.stride = static_cast<std::size_t>(strides[i]);
    w.dilation = static_cast<std::size_t>(dilations[i]);
    if (pad == padding::given) {
      w.pad_begin = static_cast<std::size_t>(pads[i]);
      w.pad_end = static_cast<std::size_t>(pads[i + spatial]);
    } else if (pad != padding::none && w.out != 0) {
      const std::size_t reach = (w.out - 1) * w.stride + (w.kernel - 1) * w.dilation + 1;
      const std::size_t total = reach > w.in ? reach - w.in : 0;
      w.pad_begin = pad == padding::same_upper ? total / 2 : total - total / 2;
      w.pad_end = total - w.pad_begin;
    }
    return w;
  };
  // One dimension is a picture one line high.
  if (spatial == 1) return {cpu::window_axis{}, axis(0)};
  return {axis(0), axis(1)};
}

}  // namespace mizzen::inference::detail
