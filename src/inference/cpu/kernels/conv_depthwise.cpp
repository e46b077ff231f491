#include "inference/cpu/kernels/conv_channels_last_parts.hpp"

namespace mizzen::inference::detail::cpu {
namespace {

// One line of the output at a time. Taps outside the picture are left out.
class depthwise_line {
 public:
  depthwise_line(const channels_last_call& call, const line_ring& ring, float* scratch)
      : call_(call),
        ring_(ring),
        x_(reinterpret_cast<const float**>(scratch)),
        weights_(x_ + call.shape.window.taps()) {
    const channels_last_epilogue& e = call.epilogue;
    const std::size_t channels = call.shape.out_channels;
    tile_.x = x_;
    tile_.x_row = static_cast<std::ptrdiff_t>(call.shape.window.width().stride * channels);
    tile_.weights = weights_;
    tile_.bias = e.bias;
    tile_.y_row = static_cast<std::ptrdiff_t>(channels);
    if (e.residual == nullptr) tile_.last = e.last;
  }

  // y is where the line goes.
  void run(std::size_t line, channel_range range, float* y) {
    const auto& [d, h, w] = call_.shape.window.axes;
    const std::size_t oh = line % h.out;
    const std::size_t od = line / h.out % d.out;
    const std::size_t image = line / h.out / d.out;
    const std::size_t channels = call_.shape.out_channels;
    // Outputs [inner, outer) have all taps of their line inside.
    const std::size_t inner = std::min(w.outputs_inside(0).first, w.out);
    const std::size_t outer = std::max(inner, w.outputs_inside(w.kernel - 1).last);
    tile_.stride = w.stride;
    const auto make = [&](std::size_t ow, std::size_t rows) {
      tile_.rows = rows;
      tile_.y = y + ow * channels;
      call_.kernels.depthwise(tile_);
    };
    const auto at_border = [&](std::size_t first, std::size_t last) {
      for (std::size_t ow = first; ow < last; ++ow) {
        find_taps(image, od, oh, ow);
        tile_.width = 0;
        make(ow, 1);
      }
    };
    const std::size_t block = channel_block();
    for (tile_.first = range.first; tile_.first < range.end; tile_.first = tile_.end) {
      tile_.end = std::min(range.end, tile_.first + block);
      at_border(0, inner);
      if (inner < outer) {
        find_taps(image, od, oh, inner);
        tile_.width = w.dilation == 1 ? w.kernel : 0;
        for (std::size_t ow = inner; ow < outer; ow += depthwise_rows) {
          make(ow, std::min(depthwise_rows, outer - ow));
          tile_.x_at += static_cast<std::ptrdiff_t>(depthwise_rows) * tile_.x_row;
        }
        tile_.x_at = 0;
      }
      at_border(outer, w.out);
    }
    const std::size_t at = line * w.out * channels;
    if (range.end - range.first == channels) return finish(at, y, w.out * channels);
    for (std::size_t ow = 0; ow < w.out; ++ow) {
      const std::size_t offset = ow * channels + range.first;
      finish(at + offset, y + offset, range.end - range.first);
    }
  }

 private:
  // So many channels at a time that the pixels below a tile stay in L1 until the next one.
  std::size_t channel_block() const {
    constexpr std::size_t floats = std::size_t{4} << 10;
    constexpr std::size_t granule = 32;
    const auto& [d, h, w] = call_.shape.window.axes;
    const std::size_t pixels =
        d.kernel * h.kernel * (depthwise_rows * w.stride + w.kernel * w.dilation);
    return std::max(floats / pixels / granule, std::size_t{1}) * granule;
  }

  // Line ih of the picture whose first one is line `first` of all.
  const float* line_of(std::size_t first, std::size_t ih) const {
    const std::size_t floats = call_.shape.window.width().in * call_.shape.out_channels;
    if (ring_.data != nullptr) return ring_.data + ih % ring_.lines * floats;
    return call_.x + (first + ih) * floats;
  }

  // The taps of an output that lie inside the picture.
  void find_taps(std::size_t image, std::size_t od, std::size_t oh, std::size_t ow) {
    const auto& [d, h, w] = call_.shape.window.axes;
    tile_.taps = 0;
    for (std::size_t kd = 0; kd < d.kernel; ++kd) {
      const std::ptrdiff_t id = d.input(od, kd);
      if (!d.inside(id)) continue;
      for (std::size_t kh = 0; kh < h.kernel; ++kh) {
        const std::ptrdiff_t ih = h.input(oh, kh);
        if (!h.inside(ih)) continue;
        const float* const from = line_of((image * d.in + static_cast<std::size_t>(id)) * h.in,
                                          static_cast<std::size_t>(ih));
        for (std::size_t kw = 0; kw < w.kernel; ++kw) {
          const std::ptrdiff_t iw = w.input(ow, kw);
          if (!w.inside(iw)) continue;
          x_[tile_.taps] = from + static_cast<std::size_t>(iw) * call_.shape.out_channels;
          weights_[tile_.taps] = call_.weights.tap((kd * h.kernel + kh) * w.kernel + kw);
          ++tile_.taps;
        }
      }
    }
  }

  // y is element `at` of the output.
  void finish(std::size_t at, float* y, std::size_t n) const {
    const channels_last_epilogue& e = call_.epilogue;
    if (e.residual != nullptr) {
      call_.kernels.accumulate(reduce_op::sum, e.residual + at, y, n);
      if (e.last.op != unary_op::identity) call_.kernels.unary(e.last, y, y, n);
    }
    call_.finish(at, y, n);
  }

  const channels_last_call& call_;
  const line_ring& ring_;
  const float** x_;
  const float** weights_;
  depthwise_tile tile_;
};

}  // namespace

std::size_t conv_depthwise_scratch(const channels_last_shape& shape) {
  return floats_of_addresses(2 * shape.window.taps());
}

void conv_depthwise_line(const channels_last_call& call, std::size_t line, channel_range channels,
                         const line_ring& ring, float* y, float* scratch) {
  depthwise_line(call, ring, scratch).run(line, channels, y);
}

void conv_depthwise(const channels_last_call& call) {
  const window_3d& w = call.shape.window;
  const std::size_t per_thread = conv_depthwise_scratch(call.shape);
  const std::size_t lines = call.shape.batch * w.depth().out * w.height().out;
  const std::size_t line = w.width().out * call.shape.out_channels;
  const std::size_t work = line * w.taps();
  call.pool.parallel_for(lines, (std::size_t{64} << 10) / (work + 1) + 1,
                         [&](std::size_t begin, std::size_t end, unsigned slot) {
                           const line_ring none;
                           depthwise_line each(call, none, call.scratch + slot * per_thread);
                           for (std::size_t i = begin; i < end; ++i)
                             each.run(i, {0, call.shape.out_channels}, call.y + i * line);
                         });
}

}  // namespace mizzen::inference::detail::cpu
