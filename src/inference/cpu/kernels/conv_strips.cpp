// A pointwise convolution and the depthwise one behind it, a line at a time: what lies between
// them, often the largest value of a network, is never whole.
#include "inference/cpu/kernels/conv_channels_last_parts.hpp"

namespace mizzen::inference::detail::cpu {
namespace {

struct strip_layout {
  strip_layout(const kernel_table& kernels, const channels_last_shape& pointwise,
               const channels_last_shape& depthwise)
      : lines((depthwise.window.height().kernel - 1) * depthwise.window.height().dilation + 1),
        line(depthwise.window.width().in * depthwise.in_channels),
        pixels(conv_pixels_scratch(kernels, pointwise)),
        taps(conv_depthwise_scratch(depthwise)) {}
  std::size_t per_thread() const { return round_up(lines * line, 16) + pixels + taps; }

  std::size_t lines;  // that a line of the output needs
  std::size_t line;   // floats of one
  std::size_t pixels, taps;
};

// Tasks: some lines of some channels. Where lines are shared out, those between two tasks are made
// twice, so that channels are, as far as they go.
struct strip_tasks {
  strip_tasks(const kernel_table& kernels, std::size_t threads, std::size_t all_channels,
              std::size_t all_lines) {
    const std::size_t panel = kernels.tile_columns();
    const std::size_t panels = divide_up(all_channels, panel);
    const bool by_channel = threads > 1 && (panels % threads == 0 || panels >= 4 * threads);
    const std::size_t columns = by_channel ? std::min(panels, 2 * threads) : 1;
    channels = divide_up(panels, by_channel && panels % threads == 0 ? threads : columns) * panel;
    channel_tasks = divide_up(all_channels, channels);
    lines = by_channel ? all_lines : divide_up(all_lines, threads == 1 ? 1 : 2 * threads);
    line_tasks = divide_up(all_lines, lines);
  }
  std::size_t channels, channel_tasks;
  std::size_t lines, line_tasks;
};

}  // namespace

std::size_t conv_pointwise_depthwise_scratch(const kernel_table& kernels,
                                             const channels_last_shape& pointwise,
                                             const channels_last_shape& depthwise,
                                             unsigned threads) {
  return strip_layout(kernels, pointwise, depthwise).per_thread() * threads;
}

void conv_pointwise_depthwise(const kernel_table& kernels, thread_pool& pool,
                              const conv_part& pointwise, const conv_part& depthwise,
                              const float* x, float* y, float* scratch) {
  const strip_layout layout(kernels, pointwise.shape, depthwise.shape);
  const window_axis& h = depthwise.shape.window.height();
  const std::size_t width = depthwise.shape.window.width().in;
  const std::size_t lines = depthwise.shape.batch * h.out;
  if (lines == 0) return;
  const std::size_t channels = depthwise.shape.out_channels;
  const strip_tasks tasks(kernels, pool.size(), channels, lines);
  const channels_last_call first{kernels, pool,    pointwise.shape,    pointwise.weights,
                                 x,       nullptr, pointwise.epilogue, nullptr};
  const channels_last_call second{kernels, pool, depthwise.shape,    depthwise.weights,
                                  nullptr, y,    depthwise.epilogue, nullptr};
  const auto make = [&](std::size_t begin, std::size_t end, channel_range range, float* memory) {
    float* const pixels = memory + round_up(layout.lines * layout.line, 16);
    const line_ring ring{memory, layout.lines};
    std::size_t image = begin / h.out;
    std::size_t made = 0;  // lines of the image before this one
    for (std::size_t i = begin; i < end; ++i) {
      if (i / h.out != image) {
        image = i / h.out;
        made = 0;
      }
      const std::ptrdiff_t top = h.input(i % h.out, 0);
      const std::ptrdiff_t bottom = h.input(i % h.out, h.kernel - 1) + 1;
      const auto needed = static_cast<std::size_t>(std::max<std::ptrdiff_t>(bottom, 0));
      std::size_t line = std::max(made, static_cast<std::size_t>(std::max<std::ptrdiff_t>(top, 0)));
      for (; line < std::min(needed, h.in); ++line) {
        const std::size_t pixel = (image * h.in + line) * width;
        conv_pixels(first, pixel, pixel + width, range, memory + line % layout.lines * layout.line,
                    pixels);
      }
      made = std::max(made, line);
      conv_depthwise_line(second, i, range, ring, pixels + layout.pixels);
    }
  };
  pool.parallel_for(tasks.line_tasks * tasks.channel_tasks, 1,
                    [&](std::size_t begin, std::size_t end, unsigned slot) {
                      for (std::size_t t = begin; t < end; ++t) {
                        const std::size_t line = t / tasks.channel_tasks * tasks.lines;
                        const std::size_t channel = t % tasks.channel_tasks * tasks.channels;
                        make(line, std::min(lines, line + tasks.lines),
                             {channel, std::min(channels, channel + tasks.channels)},
                             scratch + slot * layout.per_thread());
                      }
                    });
}

}  // namespace mizzen::inference::detail::cpu
