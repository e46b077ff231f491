#include "inference/cpu/kernels/conv_channels_last.hpp"

#include "inference/cpu/kernels/conv_channels_last_parts.hpp"

#include <mizzen/core/checked.hpp>

#include <cstdint>
#include <cstring>

namespace mizzen::inference::detail::cpu {
namespace {

// With weights up to this size all channels of some pixels are made at once, and the picture is
// read once; larger ones are read once instead.
constexpr std::size_t small_weights = std::size_t{64} << 10;  // floats

bool is_by_line(conv_method m) { return m == conv_method::lines || m == conv_method::planes; }

bool is_plain(const window_axis& a) { return a.stride == 1 && a.dilation == 1; }

// Every pixel of the output is made of the one at its place.
bool is_pointwise(const window_3d& w) {
  return std::all_of(w.axes.begin(), w.axes.end(), [](const window_axis& a) {
    return a.kernel == 1 && a.stride == 1 && a.pad_begin == 0 && a.in == a.out;
  });
}

picture as_it_is(const channels_last_shape& s, const float* x) {
  picture p;
  p.data = x;
  p.pixel = s.in_channels;
  p.line = p.pixel * s.window.width().in;
  p.slice = p.line * s.window.height().in;
  p.image = p.slice * s.window.depth().in;
  p.window = s.window;
  p.depth = s.in_per_group();
  return p;
}

// A line with its padding: the taps of its width are adjacent then.
std::size_t padded_width(const window_axis& a) {
  return a.out == 0 ? 0 : (a.out - 1) * a.stride + a.kernel;
}
std::size_t padded_floats(const channels_last_shape& s) {
  const window_3d& w = s.window;
  const auto number = [](std::size_t n) { return static_cast<std::int64_t>(n); };
  // Large strides and pads may make much of a small picture.
  std::int64_t floats = number(s.batch * w.depth().in * w.height().in);
  for (const std::size_t factor : {padded_width(w.width()), s.in_channels}) {
    floats = checked_mul(floats, number(factor), "memory of a convolution");
  }
  return static_cast<std::size_t>(floats);
}

// A line of pixels from a line of each of a few planes.
template <std::size_t Channels>
void interleave(const float* from, std::size_t plane, std::size_t pixels, float* to) {
  for (std::size_t i = 0; i < pixels; ++i) {
    for (std::size_t c = 0; c < Channels; ++c) to[i * Channels + c] = from[c * plane + i];
  }
}
void interleave(const float* from, std::size_t plane, std::size_t channels, std::size_t pixels,
                float* to) {
  if (channels == 1) return interleave<1>(from, plane, pixels, to);
  if (channels == 3) return interleave<3>(from, plane, pixels, to);
  if (channels == 4) return interleave<4>(from, plane, pixels, to);
  for (std::size_t i = 0; i < pixels; ++i) {
    for (std::size_t c = 0; c < channels; ++c) to[i * channels + c] = from[c * plane + i];
  }
}

picture padded(const channels_last_call& call, float* to) {
  const channels_last_shape& s = call.shape;
  const window_axis& a = s.window.width();
  const std::size_t width = padded_width(a);
  const std::size_t line = width * s.in_channels;
  const std::size_t before = std::min(a.pad_begin, width);
  const std::size_t inside = std::min(a.in, width - before);
  const std::size_t lines_of_image = s.window.depth().in * s.window.height().in;
  const std::size_t lines = s.batch * lines_of_image;
  const bool planes = call.weights.method() == conv_method::planes;
  call.pool.parallel_for(
      lines, (std::size_t{16} << 10) / (line + 1) + 1, [&](std::size_t begin, std::size_t end) {
        for (std::size_t i = begin; i < end; ++i) {
          float* const out = to + i * line;
          float* const middle = out + before * s.in_channels;
          float* const after = middle + inside * s.in_channels;
          std::fill(out, middle, 0.0F);
          if (planes) {
            const std::size_t before_it = i / lines_of_image * lines_of_image * (s.in_channels - 1);
            interleave(call.x + (before_it + i) * a.in, lines_of_image * a.in, s.in_channels,
                       inside, middle);
          } else {
            std::memcpy(middle, call.x + i * a.in * s.in_channels,
                        inside * s.in_channels * sizeof(float));
          }
          std::fill(after, out + line, 0.0F);
        }
      });
  picture p = as_it_is(s, to);
  p.line = line;
  p.slice = p.line * s.window.height().in;
  p.image = p.slice * s.window.depth().in;
  p.depth = a.kernel * s.in_channels;
  window_axis& across = p.window.axes[2];
  across.in = width;
  across.kernel = 1;
  across.pad_begin = across.pad_end = 0;
  return p;
}

// The addresses of all taps of a pixel of the output.
class addresses {
 public:
  addresses(const picture& p, const float* zeros, std::ptrdiff_t* offsets)
      : p_(p),
        zeros_(zeros),
        offsets_(offsets),
        taps_(p.window.taps()),
        pointwise_(is_pointwise(p.window)) {
    std::ptrdiff_t* to = offsets_;
    for_each_tap([&](std::size_t kd, std::size_t kh, std::size_t kw) {
      const auto& [d, h, w] = p_.window.axes;
      *to++ = static_cast<std::ptrdiff_t>(kd * d.dilation * p_.slice + kh * h.dilation * p_.line +
                                          kw * w.dilation * p_.pixel);
    });
  }

  // Those of pixels [first, first + count), from one channel on, a row of taps each.
  void of_pixels(std::size_t first, std::size_t count, std::size_t channel,
                 const float** to) const {
    const auto& [d, h, w] = p_.window.axes;
    if (pointwise_) {
      const float* x = p_.data + first * p_.pixel + channel;
      for (std::size_t i = 0; i < count; ++i, x += p_.pixel) to[i] = x;
      return;
    }
    std::size_t ow = first % w.out;
    std::size_t oh = first / w.out % h.out;
    std::size_t od = first / w.out / h.out % d.out;
    const float* image = p_.data + first / w.out / h.out / d.out * p_.image + channel;
    for (std::size_t i = 0; i < count; ++i, to += taps_) {
      of_pixel(image, od, oh, ow, to);
      if (++ow < w.out) continue;
      ow = 0;
      if (++oh < h.out) continue;
      oh = 0;
      if (++od < d.out) continue;
      od = 0;
      image += p_.image;
    }
  }

 private:
  template <class Function>
  void for_each_tap(Function&& f) const {
    const auto& [d, h, w] = p_.window.axes;
    for (std::size_t kd = 0; kd < d.kernel; ++kd) {
      for (std::size_t kh = 0; kh < h.kernel; ++kh) {
        for (std::size_t kw = 0; kw < w.kernel; ++kw) f(kd, kh, kw);
      }
    }
  }

  void of_pixel(const float* image, std::size_t od, std::size_t oh, std::size_t ow,
                const float** to) const {
    const auto& [d, h, w] = p_.window.axes;
    const std::ptrdiff_t at[3] = {d.input(od, 0), h.input(oh, 0), w.input(ow, 0)};
    if (all_inside(d, at[0]) && all_inside(h, at[1]) && all_inside(w, at[2])) {
      const float* const first = image + static_cast<std::size_t>(at[0]) * p_.slice +
                                 static_cast<std::size_t>(at[1]) * p_.line +
                                 static_cast<std::size_t>(at[2]) * p_.pixel;
      for (std::size_t t = 0; t < taps_; ++t) to[t] = first + offsets_[t];
      return;
    }
    for_each_tap([&](std::size_t kd, std::size_t kh, std::size_t kw) {
      const std::ptrdiff_t id = d.input(od, kd);
      const std::ptrdiff_t ih = h.input(oh, kh);
      const std::ptrdiff_t iw = w.input(ow, kw);
      const bool inside = d.inside(id) && h.inside(ih) && w.inside(iw);
      *to++ = inside ? image + static_cast<std::size_t>(id) * p_.slice +
                           static_cast<std::size_t>(ih) * p_.line +
                           static_cast<std::size_t>(iw) * p_.pixel
                     : zeros_;
    });
  }

  static bool all_inside(const window_axis& a, std::ptrdiff_t first) {
    return first >= 0 && a.inside(first + static_cast<std::ptrdiff_t>((a.kernel - 1) * a.dilation));
  }

  const picture& p_;
  const float* zeros_;
  std::ptrdiff_t* offsets_;
  std::size_t taps_;
  bool pointwise_;
};

// Adjacent pixels at a multiple of this distance, in floats, have their channels in the same set of
// an L1 cache, which holds fewer lines than a tile has rows: they are copied together first.
constexpr std::size_t cache_alias = 1024;

// How the output is cut. Tasks are for threads; within one, a block of pixels is made ready at a
// time, and all channels of the task are made for it.
struct task_grid {
  std::size_t rows;     // pixels of a task
  std::size_t columns;  // channels of a task
  std::size_t row_tasks;
  std::size_t column_tasks;
};

task_grid cut(const kernel_table& kernels, const channels_last_shape& s, std::size_t threads,
              std::size_t pixels) {
  const std::size_t columns = s.out_per_group();
  const std::size_t depth = s.in_per_group() * s.window.taps();
  task_grid grid{pixels, columns, 1, 1};
  if (threads == 1 || pixels == 0) return grid;
  const std::size_t wanted = divide_up(4 * threads, s.groups);
  // Large weights are better read by one thread each.
  if (depth * columns > small_weights) {
    const std::size_t panels = divide_up(columns, kernels.tile_columns());
    grid.columns = divide_up(panels, std::min(panels, wanted)) * kernels.tile_columns();
    grid.column_tasks = divide_up(columns, grid.columns);
  }
  const auto tile = static_cast<std::size_t>(kernels.tile_rows);
  grid.rows =
      std::min(pixels, round_up(divide_up(pixels, divide_up(wanted, grid.column_tasks)), tile));
  grid.row_tasks = divide_up(pixels, grid.rows);
  return grid;
}

// The pixels of a block, and the memory it takes.
struct block_layout {
  block_layout(const kernel_table& kernels, const channels_last_shape& s, std::size_t taps,
               std::size_t pixel_step)
      : depth(s.in_per_group() * s.window.taps()),
        copied(pixel_step * s.window.width().stride % cache_alias == 0) {
    const auto tile = static_cast<std::size_t>(kernels.tile_rows);
    // With small weights one tile after the other: its pixels stay in L1.
    const std::size_t most = depth * s.out_per_group() <= small_weights ? 0 : small_weights / depth;
    rows = std::max<std::size_t>(most / tile, 1) * tile;
    row = depth + 16;
    offsets = floats_of_addresses(taps);
    addresses = floats_of_addresses(taps * rows);
    copies = copied ? round_up(rows * row, 16) : 0;
  }
  std::size_t per_thread() const { return offsets + addresses + copies; }

  std::size_t depth;
  bool copied;
  std::size_t rows;
  std::size_t row;  // floats of a copied pixel
  std::size_t offsets, addresses, copies;
};

class direct_task {
 public:
  direct_task(const channels_last_call& call, const picture& p, const block_layout& block,
              float* scratch)
      : call_(call),
        block_(block),
        taps_(p.window.taps()),
        addresses_(p, call.weights.zeros(), reinterpret_cast<std::ptrdiff_t*>(scratch)),
        x_(reinterpret_cast<const float**>(scratch + block.offsets)),
        copy_(scratch + block.offsets + block.addresses) {
    const channels_last_epilogue& e = call.epilogue;
    tile_.taps = taps_;
    tile_.depth = p.depth;
    tile_.x_taps = taps_;
    tile_.y_row = static_cast<std::ptrdiff_t>(call.shape.out_channels);
    tile_.last = e.last;
  }

  // Channels [column, end) of a group, over the windows [first, last) of the picture. The first
  // makes pixel `at` of the output, which goes to y.
  void run(std::size_t group, std::size_t first, std::size_t last, std::size_t at,
           std::size_t column, std::size_t end, float* y) {
    for (std::size_t p = first; p < last; p += block_.rows) {
      const std::size_t rows = std::min(block_.rows, last - p);
      addresses_.of_pixels(p, rows, group * call_.shape.in_per_group(), x_);
      for (std::size_t r = 0; block_.copied && r < rows; ++r) copy(r);
      make(group, at + (p - first), rows, column, end, y + (p - first) * call_.shape.out_channels);
    }
  }

 private:
  void copy(std::size_t r) {
    float* to = copy_ + r * block_.row;
    for (std::size_t t = 0; t < taps_; ++t, to += tile_.depth) {
      const float*& from = x_[r * taps_ + t];
      std::memcpy(to, from, tile_.depth * sizeof(float));
      from = to;
    }
  }

  void make(std::size_t group, std::size_t first, std::size_t rows, std::size_t column,
            std::size_t end, float* y) {
    const channels_last_shape& s = call_.shape;
    const std::size_t step = balanced_tile(call_.kernels, rows);
    const std::size_t width = call_.kernels.tile_columns();
    for (std::size_t n = column; n < end; n += width) {
      tile_.columns = std::min(width, end - n);
      tile_.weights = call_.weights.panel(0, group, n);
      fetch_next(tile_, n + width < end ? call_.weights.panel(0, group, n + width) : nullptr,
                 block_.depth * width, divide_up(rows, step));
      const std::size_t channel = group * s.out_per_group() + n;
      if (call_.epilogue.bias != nullptr) tile_.bias = call_.epilogue.bias + channel;
      for (std::size_t r = 0; r < rows; r += step) {
        tile_.rows = std::min(step, rows - r);
        tile_.x = x_ + r * taps_;
        tile_.y = y + r * s.out_channels + channel;
        if (call_.epilogue.residual != nullptr) {
          tile_.residual = call_.epilogue.residual + (first + r) * s.out_channels + channel;
        }
        call_.kernels.conv(tile_);
        if (tile_.prefetch != nullptr) tile_.prefetch += tile_.prefetch_lines * line_floats;
      }
    }
    if (end - column == s.out_channels) {
      return call_.finish(first * s.out_channels, y, rows * s.out_channels);
    }
    for (std::size_t r = 0; r < rows; ++r) {
      const std::size_t channel = group * s.out_per_group() + column;
      call_.finish((first + r) * s.out_channels + channel, y + r * s.out_channels + channel,
                   end - column);
    }
  }

  const channels_last_call& call_;
  const block_layout& block_;
  std::size_t taps_;
  addresses addresses_;
  const float** x_;
  float* copy_;
  conv_tile tile_;
};

void conv_direct(const channels_last_call& call, const picture& p, float* scratch) {
  const channels_last_shape& s = call.shape;
  const std::size_t pixels = s.batch * s.window.out_size();
  if (pixels == 0) return;
  const task_grid grid = cut(call.kernels, s, call.pool.size(), pixels);
  const block_layout block(call.kernels, s, p.window.taps(), p.pixel);
  const std::size_t per_group = grid.row_tasks * grid.column_tasks;
  const std::size_t work = grid.rows * grid.columns * block.depth;
  call.pool.parallel_for(s.groups * per_group, (std::size_t{256} << 10) / (work + 1) + 1,
                         [&](std::size_t begin, std::size_t end, unsigned slot) {
                           direct_task task(call, p, block, scratch + slot * block.per_thread());
                           for (std::size_t t = begin; t < end; ++t) {
                             const std::size_t column =
                                 t % per_group / grid.row_tasks * grid.columns;
                             const std::size_t row = t % grid.row_tasks * grid.rows;
                             task.run(t / per_group, row, std::min(row + grid.rows, pixels), row,
                                      column, std::min(column + grid.columns, s.out_per_group()),
                                      call.y + row * s.out_channels);
                           }
                         });
}

// One tap of a panel, [depth][columns], of `count` filters that lie `filter` floats apart, with
// `step` floats from one channel to the next; 0 behind them.
void pack_tap(const float* from, std::size_t filter, std::size_t step, std::size_t count,
              std::size_t columns, std::size_t depth, float* to) {
  // A few channels at a time, so that what is read and written stays in L1 between filters.
  constexpr std::size_t most = 16;
  for (std::size_t i = 0; i < depth; i += most) {
    const std::size_t rows = std::min(most, depth - i);
    for (std::size_t c = 0; c < count; ++c) {
      const float* const x = from + c * filter + i * step;
      for (std::size_t r = 0; r < rows; ++r) to[(i + r) * columns + c] = x[r * step];
    }
    for (std::size_t r = 0; r < rows; ++r) {
      std::fill(to + (i + r) * columns + count, to + (i + r + 1) * columns, 0.0F);
    }
  }
}

}  // namespace

conv_method conv_method_for(const channels_last_shape& s) noexcept {
  const window_axis& h = s.window.height();
  const window_axis& w = s.window.width();
  if (s.groups > 1 && s.in_per_group() == 1 && s.out_per_group() == 1) {
    return conv_method::depthwise;
  }
  if (s.groups == 1 && s.in_channels >= 16 && s.out_channels >= 16 && h.kernel == 3 &&
      w.kernel == 3 && is_plain(h) && is_plain(w) && is_plain(s.window.depth())) {
    // Its weights are four times as many: with few tiles, reading them takes longest.
    constexpr std::size_t least_tiles = 4;
    const std::size_t tiles = divide_up(h.out, winograd_out) * divide_up(w.out, winograd_out);
    if (tiles == 0 || tiles >= least_tiles) return conv_method::winograd;
  }
  if (s.groups == 1 && s.in_channels < 16 && w.kernel > 1 && w.dilation == 1) {
    return conv_method::lines;
  }
  return conv_method::direct;
}

channels_last_weights::channels_last_weights(const kernel_table& kernels,
                                             const channels_last_shape& s, conv_method method,
                                             const float* weights)
    : method_(method), groups_(s.groups) {
  const std::size_t taps = s.window.taps();
  const std::size_t depth = s.in_per_group();
  if (method == conv_method::depthwise) {
    row_ = round_up(s.out_channels, kernels.vector_size());
    data_ = aligned_floats(taps * row_);
    for (std::size_t c = 0; c < s.out_channels; ++c) {
      for (std::size_t t = 0; t < taps; ++t) data_.data()[t * row_ + c] = weights[c * taps + t];
    }
    return;
  }
  row_ = round_up(s.out_per_group(), kernels.vector_size());
  const std::size_t width = kernels.tile_columns();
  if (method == conv_method::winograd) {
    rows_ = s.window.depth().kernel * depth;
    zeros_ = aligned_floats(depth);
    data_ = aligned_floats::uninitialised(winograd_matrices * rows_ * row_);
    pack_winograd(s, weights, width, row_, data_.data());
    return;
  }
  rows_ = taps * depth;
  zeros_ = aligned_floats(depth * (is_by_line(method) ? s.window.width().kernel : 1));
  data_ = aligned_floats::uninitialised(s.groups * rows_ * row_);
  float* to = data_.data();
  for (std::size_t g = 0; g < s.groups; ++g) {
    const float* const from = weights + g * s.out_per_group() * rows_;
    for (std::size_t n = 0; n < row_; n += width) {
      const std::size_t columns = std::min(width, row_ - n);
      const std::size_t count = std::min(columns, s.out_per_group() - n);
      for (std::size_t t = 0; t < taps; ++t) {
        pack_tap(from + n * rows_ + t, rows_, taps, count, columns, depth, to);
        to += depth * columns;
      }
    }
  }
}

const float* channels_last_weights::panel(std::size_t matrix, std::size_t group,
                                          std::size_t first_column) const noexcept {
  return data_.data() + rows_ * ((matrix * groups_ + group) * row_ + first_column);
}

std::size_t picture_scratch(const channels_last_shape& s, conv_method method) {
  return is_by_line(method) ? round_up(padded_floats(s), 16) : 0;
}
picture picture_of(const channels_last_call& call, float* scratch) {
  return is_by_line(call.weights.method()) ? padded(call, scratch) : as_it_is(call.shape, call.x);
}

std::size_t conv_channels_last_scratch(const kernel_table& kernels, const channels_last_shape& s,
                                       conv_method method, unsigned threads) {
  switch (method) {
    case conv_method::depthwise:
      return conv_depthwise_scratch(s) * threads;
    case conv_method::winograd:
      return conv_winograd_scratch(s, threads);
    case conv_method::lines:
    case conv_method::planes:
    case conv_method::direct:
      break;
  }
  return picture_scratch(s, method) + conv_pixels_scratch(kernels, s) * threads;
}

std::size_t conv_pixels_scratch(const kernel_table& kernels, const channels_last_shape& s) {
  return block_layout(kernels, s, s.window.taps(), s.in_channels).per_thread();
}

void conv_pixels(const channels_last_call& call, const picture& x, std::size_t first,
                 std::size_t last, std::size_t at, channel_range channels, float* y,
                 float* scratch) {
  const block_layout block(call.kernels, call.shape, x.window.taps(), x.pixel);
  direct_task(call, x, block, scratch).run(0, first, last, at, channels.first, channels.end, y);
}

void conv_channels_last(const kernel_table& kernels, thread_pool& pool,
                        const channels_last_shape& shape, const channels_last_weights& weights,
                        const float* x, float* y, const channels_last_epilogue& epilogue,
                        float* scratch) {
  const channels_last_call call{kernels, pool, shape, weights, x, y, epilogue, scratch};
  switch (weights.method()) {
    case conv_method::depthwise:
      return conv_depthwise(call);
    case conv_method::winograd:
      return conv_winograd(call);
    case conv_method::lines:
    case conv_method::planes:
    case conv_method::direct:
      return conv_direct(call, picture_of(call, scratch),
                         scratch + picture_scratch(shape, weights.method()));
  }
}

}  // namespace mizzen::inference::detail::cpu
