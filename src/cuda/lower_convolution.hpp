// What convolutions of floats and of bytes share.
#pragma once

#include "cuda/lower.hpp"

namespace mizzen::cuda {

struct window {
  dims begin, end, strides, dilations;
};

// Pads as they come out; auto_pad counts from the shapes.
window window_of(const node& n, const dims& kernel, const dims& in, const dims& out);

// Grouped convolutions, depthwise ones above all: each output element by itself. outside is what
// the numbers of x are less when they count: their zero point.
expression_ptr direct_convolution(const window& s, const view& x, const view& w,
                                  std::int64_t groups, float outside = 0);

// One number for each channel, broadcast to the shape of a picture.
expression_ptr read_channels(lowering& l, value_id v, const dims& shape);

}  // namespace mizzen::cuda
