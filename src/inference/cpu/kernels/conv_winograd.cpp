// Winograd's F(4x4, 3x3) over height and width: tiles of 6 x 6 inputs become 36 matrices, each is
// multiplied by the weights' matrix of the same place, and 36 sums make 4 x 4 outputs. A depth is
// walked directly: the transformed slices of the input that a slice of the output needs are kept.
#include "inference/cpu/kernels/conv_channels_last_parts.hpp"

#include <array>

namespace mizzen::inference::detail::cpu {
namespace {

// Floats of the transforms that one thread works on: they go through L2 once each way.
constexpr std::size_t block_floats = std::size_t{256} << 10;

// How a picture is cut: blocks of whole rows of tiles.
struct tiling {
  explicit tiling(const channels_last_shape& s)
      : across(divide_up(s.window.width().out, winograd_out)),
        down(divide_up(s.window.height().out, winograd_out)),
        kept(std::min(s.window.depth().kernel, s.window.depth().in)) {
    const std::size_t per_row =
        winograd_matrices * across * (kept * s.in_channels + s.out_channels);
    const std::size_t most =
        std::max<std::size_t>(block_floats / std::max<std::size_t>(per_row, 1), 1);
    rows = down == 0 ? 1 : divide_up(down, divide_up(down, most));
  }
  std::size_t tiles() const { return rows * across; }
  std::size_t slice_floats(const channels_last_shape& s) const {
    return round_up(winograd_matrices * tiles() * s.in_channels, 16);
  }
  std::size_t sum_floats(const channels_last_shape& s) const {
    return round_up(winograd_matrices * tiles() * s.out_channels, 16);
  }
  std::size_t per_thread(const channels_last_shape& s) const {
    return kept * slice_floats(s) + sum_floats(s) +
           floats_of_addresses(tiles() * s.window.depth().kernel);
  }

  std::size_t across, down;
  std::size_t kept;  // slices of the input
  std::size_t rows;  // of tiles in a block
};

class winograd_block {
 public:
  winograd_block(const channels_last_call& call, const tiling& cut, float* scratch)
      : call_(call),
        s_(call.shape),
        cut_(cut),
        slices_(scratch),
        sums_(slices_ + cut.kept * cut.slice_floats(s_)),
        x_(reinterpret_cast<const float**>(sums_ + cut.sum_floats(s_))) {}

  // Rows of tiles [first, last) of an image, all slices; of the output some channels, in whole
  // panels.
  void run(std::size_t image, std::size_t first, std::size_t last, channel_range channels) {
    image_ = image;
    channels_ = channels;
    first_ = first;
    tiles_ = (last - first) * cut_.across;
    const window_axis& d = s_.window.depth();
    std::size_t transformed = 0;  // slices of the input before this are, or are not needed
    for (std::size_t od = 0; od < d.out; ++od) {
      const std::ptrdiff_t top = d.input(od, 0);
      const std::size_t begin = top < 0 ? 0 : static_cast<std::size_t>(top);
      const auto reach = top + static_cast<std::ptrdiff_t>(d.kernel);
      const std::size_t end =
          std::min(d.in, static_cast<std::size_t>(std::max<std::ptrdiff_t>(reach, 0)));
      for (std::size_t id = std::max(begin, transformed); id < end; ++id) transform(id);
      transformed = std::max(transformed, end);
      multiply(begin, end, static_cast<std::size_t>(static_cast<std::ptrdiff_t>(begin) - top));
      make_outputs(od);
    }
  }

 private:
  float* slice(std::size_t id) const { return slices_ + id % cut_.kept * cut_.slice_floats(s_); }

  void transform(std::size_t id) {
    const window_axis& h = s_.window.height();
    const window_axis& w = s_.window.width();
    const std::size_t channels = s_.in_channels;
    const float* const picture =
        call_.x + (image_ * s_.window.depth().in + id) * h.in * w.in * channels;
    std::array<const float*, winograd_matrices> pixels;
    for (std::size_t t = 0; t < tiles_; ++t) {
      const std::ptrdiff_t top = h.input((first_ + t / cut_.across) * winograd_out, 0);
      const std::ptrdiff_t left = w.input(t % cut_.across * winograd_out, 0);
      for (std::size_t i = 0; i < winograd_in; ++i) {
        const std::ptrdiff_t ih = top + static_cast<std::ptrdiff_t>(i);
        for (std::size_t j = 0; j < winograd_in; ++j) {
          const std::ptrdiff_t iw = left + static_cast<std::ptrdiff_t>(j);
          const bool inside = h.inside(ih) && w.inside(iw);
          pixels[i * winograd_in + j] =
              inside
                  ? picture + (static_cast<std::size_t>(ih) * w.in + static_cast<std::size_t>(iw)) *
                                  channels
                  : call_.weights.zeros();
        }
      }
      call_.kernels.winograd_input(pixels.data(), channels, slice(id) + t * channels,
                                   tiles_ * channels);
    }
  }

  // The sums over slices [begin, end) of the input, the first of which lies below tap `tap`.
  void multiply(std::size_t begin, std::size_t end, std::size_t tap) {
    const std::size_t width = call_.kernels.tile_columns();
    const std::size_t step = balanced_tile(call_.kernels, tiles_);
    conv_tile tile;
    tile.taps = end - begin;
    tile.depth = s_.in_channels;
    tile.x_taps = tile.taps;
    tile.y_row = static_cast<std::ptrdiff_t>(s_.out_channels);
    for (std::size_t m = 0; m < winograd_matrices; ++m) {
      for (std::size_t t = 0; t < tiles_; ++t) {
        for (std::size_t i = 0; i < tile.taps; ++i) {
          x_[t * tile.taps + i] = slice(begin + i) + (m * tiles_ + t) * s_.in_channels;
        }
      }
      for (std::size_t n = channels_.first; n < channels_.end; n += width) {
        tile.columns = std::min(width, channels_.end - n);
        const std::size_t stored = round_up(tile.columns, call_.kernels.vector_size());
        tile.weights = call_.weights.panel(m, 0, n) + tap * s_.in_channels * stored;
        const bool last = n + width >= channels_.end;
        const float* const next = !last ? call_.weights.panel(m, 0, n + width)
                                  : m + 1 < winograd_matrices
                                      ? call_.weights.panel(m + 1, 0, channels_.first)
                                      : nullptr;
        fetch_next(tile, next, call_.weights.rows() * width, divide_up(tiles_, step));
        for (std::size_t t = 0; t < tiles_; t += step) {
          tile.rows = std::min(step, tiles_ - t);
          tile.x = x_ + t * tile.taps;
          tile.y = sums_ + (m * tiles_ + t) * s_.out_channels + n;
          call_.kernels.conv(tile);
          if (next != nullptr) tile.prefetch += tile.prefetch_lines * line_floats;
        }
      }
    }
  }

  void make_outputs(std::size_t od) {
    const window_axis& h = s_.window.height();
    const window_axis& w = s_.window.width();
    const std::size_t channels = s_.out_channels;
    const std::size_t some = channels_.end - channels_.first;
    const channels_last_epilogue& e = call_.epilogue;
    const std::size_t picture = (image_ * s_.window.depth().out + od) * h.out * w.out;
    std::array<float*, winograd_out * winograd_out> y;
    std::array<const float*, winograd_out * winograd_out> residual;
    winograd_result tile;
    tile.step = tiles_ * channels;
    tile.channels = some;
    tile.bias = e.bias != nullptr ? e.bias + channels_.first : nullptr;
    tile.y = y.data();
    tile.last = e.last;
    for (std::size_t t = 0; t < tiles_; ++t) {
      const std::size_t top = (first_ + t / cut_.across) * winograd_out;
      const std::size_t left = t % cut_.across * winograd_out;
      for (std::size_t i = 0; i < y.size(); ++i) {
        const std::size_t oh = top + i / winograd_out;
        const std::size_t ow = left + i % winograd_out;
        const bool inside = oh < h.out && ow < w.out;
        const std::size_t at = (picture + oh * w.out + ow) * channels + channels_.first;
        y[i] = inside ? call_.y + at : nullptr;
        residual[i] = inside && e.residual != nullptr ? e.residual + at : nullptr;
      }
      tile.sums = sums_ + t * channels + channels_.first;
      tile.residual = e.residual != nullptr ? residual.data() : nullptr;
      call_.kernels.winograd_output(tile);
    }
    const std::size_t top = first_ * winograd_out;
    const std::size_t bottom = std::min(h.out, top + tiles_ / cut_.across * winograd_out);
    // A line at a time, or a pixel where other channels lie between.
    const std::size_t step = some == channels ? w.out : 1;
    for (std::size_t pixel = top * w.out; pixel < bottom * w.out; pixel += step) {
      const std::size_t at = (picture + pixel) * channels + channels_.first;
      call_.finish(at, call_.y + at, step * some);
    }
  }

  const channels_last_call& call_;
  const channels_last_shape& s_;
  const tiling& cut_;
  float* slices_;
  float* sums_;
  const float** x_;
  std::size_t image_ = 0;
  channel_range channels_{};
  std::size_t first_ = 0;
  std::size_t tiles_ = 0;
};

// Filters that are transformed together: two, on any processor.
constexpr std::size_t filters = 2;
using filter_numbers = double __attribute__((vector_size(filters * sizeof(double))));

// G g: six numbers from three, `step` apart; the points are those of vector_conv.inc.hpp.
inline void transform_line(const filter_numbers* g, std::size_t step, filter_numbers* to) {
  constexpr double root = 1.4142135623730951;
  const filter_numbers even_a = g[0] + g[2 * step] * 0.5;
  const filter_numbers odd_a = g[step] * (root / 2);
  const filter_numbers even_b = g[0] + g[2 * step] * 2.0;
  const filter_numbers odd_b = g[step] * root;
  to[0] = g[0];
  to[1] = (even_a + odd_a) * (-2.0 / 3);
  to[2] = (even_a - odd_a) * (-2.0 / 3);
  to[3] = (even_b + odd_b) * (1.0 / 6);
  to[4] = (even_b - odd_b) * (1.0 / 6);
  to[5] = g[2 * step];
}

// Rows of a panel, of all matrices, before they go to their places: what is written together lies
// together.
struct packed_rows {
  static constexpr std::size_t most_rows = 4;
  static constexpr std::size_t most_columns = 32;

  float* at(std::size_t matrix, std::size_t r, std::size_t column) {
    return data.data() + matrix * most_rows * most_columns + r * columns + column;
  }
  std::size_t columns;
  std::array<float, winograd_matrices * most_rows * most_columns> data;
};

// Filters of 3 x 3 numbers, to a row's columns from `column` on.
void transform_filters(const std::array<const float*, filters>& from, packed_rows& rows,
                       std::size_t r, std::size_t column) {
  filter_numbers g[9];
  for (std::size_t k = 0; k < 9; ++k) {
    g[k] = filter_numbers{static_cast<double>(from[0][k]), static_cast<double>(from[1][k])};
  }
  filter_numbers half[3][winograd_in];  // by column of g
  for (std::size_t j = 0; j < 3; ++j) transform_line(g + j, 3, half[j]);
  filter_numbers line[winograd_in];
  for (std::size_t i = 0; i < winograd_in; ++i) {
    const filter_numbers row[3] = {half[0][i], half[1][i], half[2][i]};
    transform_line(row, 1, line);
    for (std::size_t j = 0; j < winograd_in; ++j) {
      float* const to = rows.at(i * winograd_in + j, r, column);
      for (std::size_t f = 0; f < filters; ++f) to[f] = static_cast<float>(line[j][f]);
    }
  }
}

}  // namespace

// row and panel_columns are whole vectors, and so whole lots of filters.
void pack_winograd(const channels_last_shape& s, const float* weights, std::size_t panel_columns,
                   std::size_t row, float* to) {
  constexpr std::size_t window = 9;
  static constexpr std::array<float, window> none{};
  const std::size_t depth = s.window.depth().kernel;
  const std::size_t all_rows = depth * s.in_channels;
  packed_rows lot;
  for (std::size_t panel = 0; panel < row; panel += panel_columns) {
    lot.columns = std::min(panel_columns, row - panel);
    for (std::size_t first = 0; first < all_rows; first += packed_rows::most_rows) {
      const std::size_t rows = std::min(packed_rows::most_rows, all_rows - first);
      for (std::size_t n = 0; n < lot.columns; n += filters) {
        for (std::size_t r = 0; r < rows; ++r) {
          const std::size_t d = (first + r) / s.in_channels;
          const std::size_t c = (first + r) % s.in_channels;
          std::array<const float*, filters> from;
          for (std::size_t i = 0; i < filters; ++i) {
            const std::size_t out = panel + n + i;
            from[i] = out < s.out_channels
                          ? weights + ((out * s.in_channels + c) * depth + d) * window
                          : none.data();
          }
          transform_filters(from, lot, r, n);
        }
      }
      for (std::size_t m = 0; m < winograd_matrices; ++m) {
        std::copy_n(lot.at(m, 0, 0), rows * lot.columns,
                    to + (m * row + panel) * all_rows + first * lot.columns);
      }
    }
  }
}

std::size_t conv_winograd_scratch(const channels_last_shape& shape, unsigned threads) {
  return round_up(tiling(shape).per_thread(shape), 16) * threads;
}

void conv_winograd(const channels_last_call& call) {
  const channels_last_shape& s = call.shape;
  if (s.window.out_size() == 0) return;
  const tiling cut(s);
  const std::size_t blocks = divide_up(cut.down, cut.rows);
  const std::size_t per_thread = round_up(cut.per_thread(s), 16);
  // Where threads are more than blocks they share the channels of one; each transforms the input.
  std::size_t channels = s.out_channels;
  const std::size_t threads = call.pool.size();
  if (s.batch * blocks < threads) {
    channels = round_up(divide_up(channels, divide_up(2 * threads, s.batch * blocks)),
                        call.kernels.tile_columns());
  }
  const std::size_t parts = divide_up(s.out_channels, channels);
  call.pool.parallel_for(
      s.batch * blocks * parts, 1, [&](std::size_t begin, std::size_t end, unsigned slot) {
        winograd_block each(call, cut, call.scratch + slot * per_thread);
        for (std::size_t i = begin; i < end; ++i) {
          const std::size_t first = i / parts % blocks * cut.rows;
          const std::size_t from = i % parts * channels;
          each.run(i / parts / blocks, first, std::min(first + cut.rows, cut.down),
                   {from, std::min(from + channels, s.out_channels)});
        }
      });
}

}  // namespace mizzen::inference::detail::cpu
