// A depthwise convolution with the one before and the one behind it, a line at a time: what lies
// between them, often the largest values of a network, is never whole.
#include "inference/cpu/kernels/conv_channels_last_parts.hpp"

namespace mizzen::inference::detail::cpu {
namespace {

// The memory of one thread, and of all.
struct strip_layout {
  strip_layout(const kernel_table& kernels, const conv_strip_parts& parts) {
    const channels_last_shape& depthwise = parts.depthwise.shape;
    const window_axis& h = depthwise.window.height();
    taps = conv_depthwise_scratch(depthwise);
    if (parts.head) {
      shared = picture_scratch(parts.head->shape, parts.head->weights->method());
      lines = (h.kernel - 1) * h.dilation + 1;
      line = depthwise.window.width().in * depthwise.in_channels;
      head = conv_pixels_scratch(kernels, parts.head->shape);
    }
    if (parts.tail) {
      made = round_up(depthwise.window.width().out * depthwise.out_channels, 16);
      tail = conv_pixels_scratch(kernels, parts.tail->shape);
    }
  }
  std::size_t ring() const { return round_up(lines * line, 16); }
  std::size_t per_thread() const { return ring() + head + taps + made + tail; }

  std::size_t shared = 0;
  std::size_t lines = 0;  // of the head's output that a line of the depthwise one needs
  std::size_t line = 0;   // floats of one
  std::size_t head = 0;
  std::size_t taps = 0;
  std::size_t made = 0;  // a line of the depthwise one's output
  std::size_t tail = 0;
};

// Tasks: some lines of some channels. Where lines are shared out, the head's between two tasks are
// made twice, so that channels are, as far as they go. The tail needs all of them.
struct strip_tasks {
  strip_tasks(const kernel_table& kernels, std::size_t threads, const conv_strip_parts& parts) {
    const channels_last_shape& depthwise = parts.depthwise.shape;
    const std::size_t all_lines = depthwise.batch * depthwise.window.height().out;
    const std::size_t panel = kernels.tile_columns();
    const std::size_t panels = divide_up(depthwise.out_channels, panel);
    const bool even = panels % threads == 0;
    channels = depthwise.out_channels;
    lines = all_lines;
    if (threads > 1 && parts.head && !parts.tail && (even || panels >= 4 * threads)) {
      channels = divide_up(panels, even ? threads : std::min(panels, 2 * threads)) * panel;
    } else if (threads > 1) {
      lines = divide_up(all_lines, (parts.head ? 1 : 4) * threads);
    }
    channel_tasks = divide_up(depthwise.out_channels, channels);
    line_tasks = divide_up(all_lines, lines);
  }
  std::size_t channels, channel_tasks;
  std::size_t lines, line_tasks;
};

// One thread's work.
class strip_task {
 public:
  strip_task(const kernel_table& kernels, thread_pool& pool, const conv_strip_parts& parts,
             const strip_layout& layout, const picture* x, const float* data, float* y,
             float* scratch)
      : parts_(parts),
        layout_(layout),
        x_(x),
        y_(y),
        ring_(scratch),
        head_scratch_(ring_ + layout.ring()),
        taps_scratch_(head_scratch_ + layout.head),
        line_(taps_scratch_ + layout.taps),
        tail_scratch_(line_ + layout.made),
        kernels_(kernels),
        pool_(pool),
        data_(data) {}

  // Lines [begin, end) of all images.
  void run(std::size_t begin, std::size_t end, channel_range channels) {
    const window_axis& h = parts_.depthwise.shape.window.height();
    const line_ring ring{parts_.head ? ring_ : nullptr, layout_.lines};
    std::size_t image = begin / h.out;
    std::size_t made = 0;  // of the head's lines of the image
    for (std::size_t i = begin; i < end; ++i) {
      if (i / h.out != image) {
        image = i / h.out;
        made = 0;
      }
      if (parts_.head) {
        const std::ptrdiff_t top = h.input(i % h.out, 0);
        const std::ptrdiff_t bottom = h.input(i % h.out, h.kernel - 1) + 1;
        made = std::max(made, static_cast<std::size_t>(std::max<std::ptrdiff_t>(top, 0)));
        const auto needed = static_cast<std::size_t>(std::max<std::ptrdiff_t>(bottom, 0));
        for (; made < std::min(needed, h.in); ++made)
          make_head(image * h.in + made, made, channels);
      }
      make_line(i, channels, ring);
    }
  }

 private:
  channels_last_call call_of(const conv_part& part, const float* x) const {
    return {kernels_, pool_, part.shape, *part.weights, x, nullptr, part.epilogue, nullptr};
  }

  void make_head(std::size_t line, std::size_t in_image, channel_range channels) {
    const std::size_t width = parts_.depthwise.shape.window.width().in;
    float* const to = ring_ + in_image % layout_.lines * layout_.line;
    conv_pixels(call_of(*parts_.head, nullptr), *x_, line * width, (line + 1) * width, line * width,
                channels, to, head_scratch_);
  }

  void make_line(std::size_t line, channel_range channels, const line_ring& ring) {
    const conv_part& depthwise = parts_.depthwise;
    const std::size_t width = depthwise.shape.window.width().out;
    const std::size_t pixel = line * width;
    float* const to = parts_.tail ? line_ : y_ + pixel * depthwise.shape.out_channels;
    conv_depthwise_line(call_of(depthwise, data_), line, channels, ring, to, taps_scratch_);
    if (!parts_.tail) return;
    const conv_part& tail = *parts_.tail;
    const channels_last_call call = call_of(tail, line_);
    conv_pixels(call, picture_of(call, nullptr), 0, width, pixel, {0, tail.shape.out_channels},
                y_ + pixel * tail.shape.out_channels, tail_scratch_);
  }

  const conv_strip_parts& parts_;
  const strip_layout& layout_;
  const picture* x_;
  float* y_;
  float* ring_;
  float* head_scratch_;
  float* taps_scratch_;
  float* line_;
  float* tail_scratch_;
  const kernel_table& kernels_;
  thread_pool& pool_;
  const float* data_;
};

}  // namespace

std::size_t conv_strip_scratch(const kernel_table& kernels, const conv_strip_parts& parts,
                               unsigned threads) {
  const strip_layout layout(kernels, parts);
  return layout.shared + layout.per_thread() * threads;
}

void conv_strip(const kernel_table& kernels, thread_pool& pool, const conv_strip_parts& parts,
                const float* x, float* y, float* scratch) {
  const channels_last_shape& depthwise = parts.depthwise.shape;
  const std::size_t lines = depthwise.batch * depthwise.window.height().out;
  if (lines == 0) return;
  const strip_layout layout(kernels, parts);
  const strip_tasks tasks(kernels, pool.size(), parts);
  std::optional<picture> over;
  if (parts.head) {
    const channels_last_call head{kernels, pool,    parts.head->shape,    *parts.head->weights,
                                  x,       nullptr, parts.head->epilogue, nullptr};
    over = picture_of(head, scratch);
  }
  pool.parallel_for(tasks.line_tasks * tasks.channel_tasks, 1,
                    [&](std::size_t begin, std::size_t end, unsigned slot) {
                      strip_task task(kernels, pool, parts, layout, over ? &*over : nullptr, x, y,
                                      scratch + layout.shared + slot * layout.per_thread());
                      for (std::size_t t = begin; t < end; ++t) {
                        const std::size_t line = t / tasks.channel_tasks * tasks.lines;
                        const std::size_t channel = t % tasks.channel_tasks * tasks.channels;
                        task.run(
                            line, std::min(lines, line + tasks.lines),
                            {channel, std::min(depthwise.out_channels, channel + tasks.channels)});
                      }
                    });
}

}  // namespace mizzen::inference::detail::cpu
