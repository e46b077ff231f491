#include "inference/cpu/kernels/int8_conv.hpp"

#include "inference/cpu/kernels/divide_up.hpp"

#include <mizzen/core/checked.hpp>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

namespace mizzen::inference::detail::cpu {
namespace {

// Columns of a task at most, so that a finished block is still in cache.
constexpr std::size_t block_columns = 256;
// Bytes behind a padded picture that may be read, and are multiplied with 0.
constexpr std::size_t slack = 64;

bool is_depthwise(const channels_last_shape& s) noexcept {
  return s.groups > 1 && s.groups == s.in_channels && s.groups == s.out_channels;
}

// A picture as the taps read it.
struct byte_picture {
  const std::uint8_t* data = nullptr;
  std::size_t pixel = 0;  // bytes from one to the next
  std::size_t line = 0;
  std::size_t slice = 0;
  std::size_t image = 0;
  window_3d window;
};

byte_picture as_it_is(const channels_last_shape& s, const std::uint8_t* x) {
  byte_picture p;
  p.data = x;
  p.pixel = s.in_channels;
  p.line = p.pixel * s.window.width().in;
  p.slice = p.line * s.window.height().in;
  p.image = p.slice * s.window.depth().in;
  p.window = s.window;
  return p;
}

std::size_t padded_width(const window_axis& a) {
  return a.out == 0 ? 0 : (a.out - 1) * a.stride + a.kernel;
}
std::size_t padded_bytes(const channels_last_shape& s) {
  const window_3d& w = s.window;
  const std::size_t lines = s.batch * w.depth().in * w.height().in;
  const auto line = checked_mul(padded_width(w.width()), s.in_channels, "memory of a convolution");
  return checked_add(checked_mul(lines, line, "memory of a convolution"), slack,
                     "memory of a convolution");
}

// Lines with their padding: the taps of the width are adjacent then, and are one tap.
byte_picture padded(thread_pool& pool, const channels_last_shape& s, const std::uint8_t* x,
                    std::uint8_t zero, std::uint8_t* to) {
  const window_axis& a = s.window.width();
  const std::size_t width = padded_width(a);
  const std::size_t line = width * s.in_channels;
  const std::size_t before = std::min(a.pad_begin, width);
  const std::size_t inside = std::min(a.in, width - before);
  const std::size_t lines = s.batch * s.window.depth().in * s.window.height().in;
  pool.parallel_for(lines, (std::size_t{16} << 10) / (line + 1) + 1,
                    [&](std::size_t begin, std::size_t end) {
                      for (std::size_t i = begin; i < end; ++i) {
                        std::uint8_t* const out = to + i * line;
                        std::uint8_t* const middle = out + before * s.in_channels;
                        std::uint8_t* const after = middle + inside * s.in_channels;
                        std::fill(out, middle, zero);
                        std::copy_n(x + i * a.in * s.in_channels, inside * s.in_channels, middle);
                        std::fill(after, out + line, zero);
                      }
                    });
  std::fill_n(to + lines * line, slack, std::uint8_t{0});
  byte_picture p = as_it_is(s, to);
  p.line = line;
  p.slice = p.line * s.window.height().in;
  p.image = p.slice * s.window.depth().in;
  window_axis& across = p.window.axes[2];
  across.in = width;
  across.kernel = 1;
  across.pad_begin = across.pad_end = 0;
  return p;
}

// Depthwise convolutions of stride 1 with channels that do not fill vectors take whole lines, whose
// channels then repeat after so many vectors. 0: not so.
constexpr std::size_t longest_period = 9;
std::size_t line_period(const channels_last_shape& s, std::size_t vector) noexcept {
  const window_axis& w = s.window.width();
  if (w.stride != 1 || w.dilation != 1 || w.kernel == 1 || s.in_channels % vector == 0) return 0;
  const std::size_t period = std::lcm(s.in_channels, vector) / vector;
  return period <= longest_period ? period : 0;
}

std::size_t pad_line(const channels_last_shape& s) noexcept {
  return padded_width(s.window.width()) * s.in_channels + slack;
}

bool is_pointwise(const window_3d& w) {
  return std::all_of(w.axes.begin(), w.axes.end(), [](const window_axis& a) {
    return a.kernel == 1 && a.stride == 1 && a.pad_begin == 0 && a.in == a.out;
  });
}

// The addresses of the taps of pixels [first, first + count), a row of `row` each; what is left of
// a row points at the padding too.
void addresses_of(const byte_picture& p, std::size_t first, std::size_t count, std::size_t channel,
                  const std::uint8_t* pad, std::size_t row, const std::uint8_t** to) {
  const auto& [d, h, w] = p.window.axes;
  if (is_pointwise(p.window) && row == 1) {
    for (std::size_t i = 0; i < count; ++i) to[i] = p.data + (first + i) * p.pixel + channel;
    return;
  }
  std::size_t ow = first % w.out;
  std::size_t oh = first / w.out % h.out;
  std::size_t od = first / w.out / h.out % d.out;
  const std::uint8_t* image = p.data + first / w.out / h.out / d.out * p.image + channel;
  const auto reaches_in = [](const window_axis& a, std::size_t o) {
    return a.inside(a.input(o, 0)) && a.inside(a.input(o, a.kernel - 1));
  };
  const auto place = [&](std::ptrdiff_t id, std::ptrdiff_t ih, std::ptrdiff_t iw) {
    return image + static_cast<std::size_t>(id) * p.slice + static_cast<std::size_t>(ih) * p.line +
           static_cast<std::size_t>(iw) * p.pixel;
  };
  bool line_inside = reaches_in(d, od) && reaches_in(h, oh);
  for (std::size_t i = 0; i < count; ++i, to += row) {
    const std::uint8_t** tap = to;
    if (line_inside && reaches_in(w, ow)) {
      const std::uint8_t* slice = place(d.input(od, 0), h.input(oh, 0), w.input(ow, 0));
      for (std::size_t kd = 0; kd < d.kernel; ++kd, slice += d.dilation * p.slice) {
        const std::uint8_t* line = slice;
        for (std::size_t kh = 0; kh < h.kernel; ++kh, line += h.dilation * p.line) {
          const std::uint8_t* x = line;
          for (std::size_t kw = 0; kw < w.kernel; ++kw, x += w.dilation * p.pixel) *tap++ = x;
        }
      }
    } else {
      for (std::size_t kd = 0; kd < d.kernel; ++kd) {
        const std::ptrdiff_t id = d.input(od, kd);
        for (std::size_t kh = 0; kh < h.kernel; ++kh) {
          const std::ptrdiff_t ih = h.input(oh, kh);
          const bool line = d.inside(id) && h.inside(ih);
          for (std::size_t kw = 0; kw < w.kernel; ++kw) {
            const std::ptrdiff_t iw = w.input(ow, kw);
            *tap++ = line && w.inside(iw) ? place(id, ih, iw) : pad;
          }
        }
      }
    }
    while (tap != to + row) *tap++ = pad;
    if (++ow != w.out) continue;
    ow = 0;
    if (++oh == h.out) {
      oh = 0;
      if (++od == d.out) {
        od = 0;
        image += p.image;
      }
    }
    line_inside = reaches_in(d, od) && reaches_in(h, oh);
  }
}

}  // namespace

bool takes_int8(const channels_last_shape& s) noexcept {
  return is_depthwise(s) || s.in_per_group() % 4 == 0 ||
         (s.groups == 1 && s.window.width().dilation == 1);
}

struct int8_convolution::call {
  thread_pool& pool;
  const channels_last_shape& shape;
  byte_picture picture;
  std::uint8_t* y;
  const std::uint8_t** addresses;     // of each thread
  const std::uint8_t* pad = nullptr;  // depthwise_lines: a line of padding
};

int8_convolution::method int8_convolution::method_for(const channels_last_shape& s) const noexcept {
  if (is_depthwise(s)) {
    return line_period(s, table_.depthwise_channels) != 0 ? method::depthwise_lines
                                                          : method::depthwise;
  }
  const window_axis& w = s.window.width();
  const bool few = s.in_channels < 16 && w.kernel > 1 && s.groups == 1 && w.dilation == 1;
  return s.in_per_group() % 4 != 0 || few ? method::lines : method::direct;
}

int8_convolution::int8_convolution(const int8_table& table, const channels_last_shape& shape,
                                   const std::int8_t* weights, int8_requantise output)
    : table_(table), output_(std::move(output)), method_(method_for(shape)) {
  depth_ = shape.in_per_group();
  if (method_ == method::lines) depth_ *= shape.window.width().kernel;
  if (method_ == method::depthwise || method_ == method::depthwise_lines) {
    pack_depthwise(shape, weights);
  } else {
    pack_panels(shape, weights);
  }
  pad_.assign(std::max(depth_, shape.in_channels) + slack,
              static_cast<std::uint8_t>(output_.x_zero));
}

// Factor and shift of a channel, put at its place.
namespace {
template <class Weights>
std::int32_t shift_of(const int8_requantise& o, std::size_t channel, std::size_t count,
                      Weights&& weight) {
  // Wraps around as the sums do.
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < count; ++i) sum += static_cast<std::uint32_t>(weight(i));
  const std::uint32_t bias = o.bias.empty() ? 0U : static_cast<std::uint32_t>(o.bias[channel]);
  return static_cast<std::int32_t>(bias - static_cast<std::uint32_t>(o.x_zero) * sum);
}
}  // namespace

void int8_convolution::pack_panels(const channels_last_shape& s, const std::int8_t* weights) {
  const std::size_t width = table_.tile_columns;
  const std::size_t columns = s.out_per_group();
  const std::size_t all_taps = s.window.taps();
  const std::size_t merged = method_ == method::lines ? s.window.width().kernel : 1;
  const std::size_t quads = divide_up(depth_, std::size_t{4});
  const std::size_t rows = all_taps / merged * quads;  // of four numbers
  padded_ = round_up(columns, width);
  data_.assign(s.groups * padded_ * rows * 4, 0);
  factors_.assign(s.groups * padded_, 0.0F);
  shifts_.assign(s.groups * padded_, 0);
  const std::size_t each = s.in_per_group() * all_taps;
  for (std::size_t c = 0; c < s.out_channels; ++c) {
    const std::size_t n = c % columns / width * width;  // of the panel
    const std::size_t in_panel = table_.pixel_place(c % columns - n, std::min(width, columns - n));
    const std::size_t place = c / columns * padded_ + n + in_panel;
    const std::int8_t* const from = weights + c * each;
    factors_[place] = output_.factors[output_.factors.size() == 1 ? 0 : c];
    shifts_[place] = shift_of(output_, c, each, [&](std::size_t i) { return from[i]; });
    std::int8_t* const panel = data_.data() + place / width * width * rows * 4;
    const std::size_t depth = s.in_per_group();
    for (std::size_t tap = 0; tap < all_taps; ++tap) {
      const std::size_t first = tap % merged * depth;
      std::int8_t* const to = panel + (tap / merged * quads * width + in_panel) * 4;
      const std::int8_t* const x = from + tap;
      std::size_t i = 0;
      if (first % 4 == 0) {
        for (; i + 4 <= depth; i += 4) {
          const std::int8_t four[] = {x[i * all_taps], x[(i + 1) * all_taps], x[(i + 2) * all_taps],
                                      x[(i + 3) * all_taps]};
          std::memcpy(to + (first + i) * width, four, sizeof four);
        }
      }
      for (; i < depth; ++i) {
        const std::size_t k = first + i;
        to[k / 4 * width * 4 + k % 4] = x[i * all_taps];
      }
    }
  }
}

void int8_convolution::pack_depthwise(const channels_last_shape& s, const std::int8_t* weights) {
  const std::size_t block = table_.depthwise_channels;
  const std::size_t all_taps = s.window.taps();
  const std::size_t fours = divide_up(all_taps, std::size_t{4});
  const bool lines = method_ == method::depthwise_lines;
  const std::size_t padded =
      lines ? line_period(s, block) * block : round_up(s.out_channels, block);
  data_.assign(padded * fours * 4, 0);
  factors_.assign(padded, 0.0F);
  shifts_.assign(padded, 0);
  for (std::size_t at = 0; at < (lines ? padded : s.out_channels); ++at) {
    const std::size_t c = at % s.out_channels;
    const std::int8_t* const from = weights + c * all_taps;
    const std::size_t first = at / block * block;
    const std::size_t place = table_.depthwise_place(at % block);
    factors_[first + place] = output_.factors[output_.factors.size() == 1 ? 0 : c];
    shifts_[first + place] = shift_of(output_, c, all_taps, [&](std::size_t i) { return from[i]; });
    for (std::size_t tap = 0; tap < all_taps; ++tap) {
      data_[first * fours * 4 + (tap / 4 * block + place) * 4 + tap % 4] = from[tap];
    }
  }
}

std::size_t int8_convolution::taps(const channels_last_shape& s) const noexcept {
  const std::size_t all = s.window.taps();
  if (method_ == method::depthwise || method_ == method::depthwise_lines) {
    return round_up(all, std::size_t{4});
  }
  return method_ == method::lines ? all / s.window.width().kernel : all;
}

std::size_t int8_convolution::scratch_bytes(const channels_last_shape& shape,
                                            unsigned threads) const {
  const std::size_t addresses =
      checked_mul(checked_mul(block_rows(taps(shape)), taps(shape), "memory of a convolution"),
                  sizeof(const std::uint8_t*) * threads, "memory of a convolution");
  if (method_ != method::lines && method_ != method::depthwise_lines) return addresses;
  std::size_t all = checked_add(addresses, padded_bytes(shape), "memory of a convolution");
  if (method_ == method::depthwise_lines)
    all = checked_add(all, pad_line(shape), "memory of a convolution");
  return all;
}

int8_output int8_convolution::output_from(std::size_t place) const noexcept {
  int8_output o;
  o.factor = factors_.data() + place;
  o.shift = shifts_.data() + place;
  o.low = static_cast<float>(output_.low - output_.zero);
  o.high = static_cast<float>(output_.high - output_.zero);
  o.zero = output_.zero;
  return o;
}

void int8_convolution::run(thread_pool& pool, const channels_last_shape& shape,
                           const std::uint8_t* x, std::uint8_t* y, std::byte* scratch) const {
  auto** const addresses = reinterpret_cast<const std::uint8_t**>(scratch);
  call c{pool, shape, {}, y, addresses, nullptr};
  if (method_ == method::lines || method_ == method::depthwise_lines) {
    auto* const copy = reinterpret_cast<std::uint8_t*>(addresses + block_rows(taps(shape)) *
                                                                       taps(shape) * pool.size());
    const auto zero = static_cast<std::uint8_t>(output_.x_zero);
    c.picture = padded(pool, shape, x, zero, copy);
    if (method_ == method::depthwise_lines) {
      c.pad = copy + padded_bytes(shape);
      std::fill_n(copy + padded_bytes(shape), pad_line(shape), zero);
      return depthwise_lines(c);
    }
  } else {
    c.picture = as_it_is(shape, x);
  }
  if (method_ == method::depthwise) return depthwise(c);
  direct(c);
}

void int8_convolution::direct(const call& c) const {
  const channels_last_shape& s = c.shape;
  const std::size_t all_taps = taps(s);
  const std::size_t pixels = s.batch * s.window.out_size();
  const std::size_t columns = s.out_per_group();
  const std::size_t width = table_.tile_columns;
  const std::size_t quads = divide_up(depth_, std::size_t{4});
  // Blocks of pixels of about the same size; and of columns, in smaller ones where threads would
  // have few of them each.
  const std::size_t down = divide_up(pixels, block_rows(all_taps));
  const std::size_t block = round_up(divide_up(pixels, down), table_.tile_rows);
  std::size_t chunk = std::max(block_columns / width, std::size_t{1}) * width;
  if (c.pool.size() > 1) {
    const std::size_t wanted = divide_up(std::size_t{4} * c.pool.size(), down * s.groups);
    chunk = std::clamp(round_up(divide_up(columns, wanted), width), 2 * width, chunk);
  }
  const std::size_t across = divide_up(columns, chunk);
  c.pool.parallel_for(
      down * s.groups * across, 1, [&](std::size_t begin, std::size_t end, unsigned slot) {
        const std::uint8_t** const addresses = c.addresses + slot * block_rows(all_taps) * all_taps;
        for (std::size_t i = begin; i < end; ++i) {
          const std::size_t column = i % across * chunk;
          const std::size_t group = i / across % s.groups;
          const std::size_t first = i / across / s.groups * block;
          const std::size_t rows = std::min(block, pixels - first);
          const std::size_t tile_rows = divide_up(rows, divide_up(rows, table_.tile_rows));
          const std::size_t last = std::min(column + chunk, columns);
          addresses_of(c.picture, first, rows, group * s.in_per_group(), pad_.data(), all_taps,
                       addresses);
          int8_pixels t;
          t.taps = all_taps;
          t.quads = quads;
          t.y_row = s.out_channels;
          for (std::size_t n = column; n < last; n += width) {
            const std::size_t place = group * padded_ + n;
            t.columns = std::min(width, last - n);
            t.b = data_.data() + place * all_taps * quads * 4;
            t.out = output_from(place);
            for (std::size_t r = 0; r < rows; r += tile_rows) {
              t.rows = std::min(tile_rows, rows - r);
              t.a = addresses + r * all_taps;
              t.y = c.y + (first + r) * s.out_channels + group * columns + n;
              table_.pixels(t);
            }
          }
          if (output_.table.empty()) continue;
          if (columns == s.out_channels && across == 1) {
            std::uint8_t* const y = c.y + first * columns;
            table_.look_up(output_.table.data(), y, rows * columns, y);
            continue;
          }
          for (std::size_t r = 0; r < rows; ++r) {
            std::uint8_t* const y = c.y + (first + r) * s.out_channels + group * columns + column;
            table_.look_up(output_.table.data(), y, last - column, y);
          }
        }
      });
}

void int8_convolution::depthwise(const call& c) const {
  const channels_last_shape& s = c.shape;
  const std::size_t row = taps(s);
  const std::size_t pixels = s.batch * s.window.out_size();
  const std::size_t channels = s.out_channels;
  const std::size_t block = table_.depthwise_channels;
  const std::size_t down = divide_up(pixels, block_rows(row));
  c.pool.parallel_for(down, 1, [&](std::size_t begin, std::size_t end, unsigned slot) {
    const std::uint8_t** const addresses = c.addresses + slot * block_rows(row) * row;
    for (std::size_t i = begin; i < end; ++i) {
      const std::size_t first = i * block_rows(row);
      int8_depthwise t;
      t.pixels = std::min(block_rows(row), pixels - first);
      addresses_of(c.picture, first, t.pixels, 0, pad_.data(), row, addresses);
      t.fours = row / 4;
      t.a = addresses;
      t.y_row = channels;
      for (t.first = 0; t.first < channels; t.first += block) {
        t.channels = std::min(block, channels - t.first);
        t.b = data_.data() + t.first * row;
        t.out = output_from(t.first);
        t.y = c.y + first * channels + t.first;
        table_.depthwise(t);
      }
      if (output_.table.empty()) continue;
      std::uint8_t* const y = c.y + first * channels;
      table_.look_up(output_.table.data(), y, t.pixels * channels, y);
    }
  });
}

void int8_convolution::depthwise_lines(const call& c) const {
  const channels_last_shape& s = c.shape;
  const auto& [d, h, w] = s.window.axes;
  const std::size_t row = taps(s);
  const std::size_t vector = table_.depthwise_channels;
  const std::size_t period = line_period(s, vector);
  const std::size_t bytes = w.out * s.out_channels;  // of a line of the output
  const std::size_t at_once = block_rows(row);
  const std::size_t lines = s.batch * d.out * h.out;
  c.pool.parallel_for(
      lines, (std::size_t{4} << 10) / (bytes + 1) + 1,
      [&](std::size_t begin, std::size_t end, unsigned slot) {
        const std::uint8_t** const addresses = c.addresses + slot * at_once * row;
        for (std::size_t line = begin; line < end; ++line) {
          std::uint8_t* const y = c.y + line * bytes;
          // A line is made of vectors that are a period apart, and so have the same weights.
          for (std::size_t phase = 0; phase < period && phase * vector < bytes; ++phase) {
            const std::size_t step = period * vector;
            for (std::size_t at = phase * vector; at < bytes; at += at_once * step) {
              const std::size_t whole =
                  bytes - at < vector ? 0 : std::min(at_once, (bytes - at - vector) / step + 1);
              const std::size_t rest = at + whole * step;
              const bool tail = whole < at_once && rest < bytes;
              const std::size_t vectors = whole + (tail ? 1 : 0);
              std::size_t tap = 0;
              for (std::size_t kd = 0; kd < d.kernel; ++kd) {
                const std::ptrdiff_t id = d.input(line / h.out % d.out, kd);
                for (std::size_t kh = 0; kh < h.kernel; ++kh) {
                  const std::ptrdiff_t ih = h.input(line % h.out, kh);
                  const std::uint8_t* from =
                      d.inside(id) && h.inside(ih)
                          ? c.picture.data + line / h.out / d.out * c.picture.image +
                                static_cast<std::size_t>(id) * c.picture.slice +
                                static_cast<std::size_t>(ih) * c.picture.line
                          : c.pad;
                  from += at;
                  for (std::size_t kw = 0; kw < w.kernel; ++kw, ++tap, from += s.in_channels) {
                    for (std::size_t v = 0; v < vectors; ++v) {
                      addresses[v * row + tap] = from + v * step;
                    }
                  }
                }
              }
              for (; tap < row; ++tap) {
                for (std::size_t v = 0; v < vectors; ++v) addresses[v * row + tap] = pad_.data();
              }
              int8_depthwise t;
              t.fours = row / 4;
              t.b = data_.data() + phase * vector * row;
              t.out = output_from(phase * vector);
              t.y_row = step;
              t.a = addresses;
              t.y = y + at;
              t.channels = vector;
              t.pixels = whole;
              table_.depthwise(t);
              if (!tail) continue;
              t.a = addresses + whole * row;
              t.y = y + rest;
              t.channels = bytes - rest;
              t.pixels = 1;
              table_.depthwise(t);
            }
          }
          if (!output_.table.empty()) table_.look_up(output_.table.data(), y, bytes, y);
        }
      });
}

}  // namespace mizzen::inference::detail::cpu
