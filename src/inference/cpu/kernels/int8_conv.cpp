#include "inference/cpu/kernels/int8_conv.hpp"

#include "inference/cpu/kernels/divide_up.hpp"

#include <mizzen/core/checked.hpp>

#include <algorithm>
#include <cstring>
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
  for (std::size_t i = first; i < first + count; ++i, to += row) {
    const std::size_t ow = i % w.out;
    const std::size_t oh = i / w.out % h.out;
    const std::size_t od = i / w.out / h.out % d.out;
    const std::uint8_t* const image = p.data + i / w.out / h.out / d.out * p.image + channel;
    std::size_t tap = 0;
    for (std::size_t kd = 0; kd < d.kernel; ++kd) {
      const std::ptrdiff_t id = d.input(od, kd);
      for (std::size_t kh = 0; kh < h.kernel; ++kh) {
        const std::ptrdiff_t ih = h.input(oh, kh);
        const bool line = d.inside(id) && h.inside(ih);
        for (std::size_t kw = 0; kw < w.kernel; ++kw, ++tap) {
          const std::ptrdiff_t iw = w.input(ow, kw);
          to[tap] = line && w.inside(iw) ? image + static_cast<std::size_t>(id) * p.slice +
                                               static_cast<std::size_t>(ih) * p.line +
                                               static_cast<std::size_t>(iw) * p.pixel
                                         : pad;
        }
      }
    }
    std::fill(to + tap, to + row, pad);
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
  const std::uint8_t** addresses;  // of each thread
};

int8_convolution::method int8_convolution::method_for(const channels_last_shape& s) const noexcept {
  if (is_depthwise(s)) return method::depthwise;
  const window_axis& w = s.window.width();
  const bool few = s.in_channels < 16 && w.kernel > 1 && s.groups == 1 && w.dilation == 1;
  return s.in_per_group() % 4 != 0 || few ? method::lines : method::direct;
}

int8_convolution::int8_convolution(const int8_table& table, const channels_last_shape& shape,
                                   const std::int8_t* weights, int8_requantise output)
    : table_(table), output_(std::move(output)), method_(method_for(shape)) {
  depth_ = shape.in_per_group();
  if (method_ == method::lines) depth_ *= shape.window.width().kernel;
  if (method_ == method::depthwise) {
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
    const std::size_t n = c % columns;
    const std::size_t place = c / columns * padded_ + n;
    const std::int8_t* const from = weights + c * each;
    factors_[place] = output_.factors[output_.factors.size() == 1 ? 0 : c];
    shifts_[place] = shift_of(output_, c, each, [&](std::size_t i) { return from[i]; });
    std::int8_t* const panel = data_.data() + place / width * width * rows * 4;
    for (std::size_t tap = 0; tap < all_taps; ++tap) {
      for (std::size_t i = 0; i < s.in_per_group(); ++i) {
        const std::size_t k = tap % merged * s.in_per_group() + i;
        const std::size_t row = tap / merged * quads + k / 4;
        panel[(row * width + n % width) * 4 + k % 4] = from[i * all_taps + tap];
      }
    }
  }
}

void int8_convolution::pack_depthwise(const channels_last_shape& s, const std::int8_t* weights) {
  const std::size_t block = table_.depthwise_channels;
  const std::size_t all_taps = s.window.taps();
  const std::size_t fours = divide_up(all_taps, std::size_t{4});
  const std::size_t padded = round_up(s.out_channels, block);
  data_.assign(padded * fours * 4, 0);
  factors_.assign(padded, 0.0F);
  shifts_.assign(padded, 0);
  for (std::size_t c = 0; c < s.out_channels; ++c) {
    const std::int8_t* const from = weights + c * all_taps;
    const std::size_t first = c / block * block;
    const std::size_t place = table_.depthwise_place(c % block);
    factors_[first + place] = output_.factors[output_.factors.size() == 1 ? 0 : c];
    shifts_[first + place] = shift_of(output_, c, all_taps, [&](std::size_t i) { return from[i]; });
    for (std::size_t tap = 0; tap < all_taps; ++tap) {
      data_[first * fours * 4 + (tap / 4 * block + place) * 4 + tap % 4] = from[tap];
    }
  }
}

std::size_t int8_convolution::taps(const channels_last_shape& s) const noexcept {
  const std::size_t all = s.window.taps();
  if (method_ == method::depthwise) return round_up(all, std::size_t{4});
  return method_ == method::lines ? all / s.window.width().kernel : all;
}

std::size_t int8_convolution::scratch_bytes(const channels_last_shape& shape,
                                            unsigned threads) const {
  const std::size_t addresses =
      checked_mul(checked_mul(block_rows(), taps(shape), "memory of a convolution"),
                  sizeof(const std::uint8_t*) * threads, "memory of a convolution");
  return method_ == method::lines
             ? checked_add(addresses, padded_bytes(shape), "memory of a convolution")
             : addresses;
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
  call c{pool, shape, {}, y, addresses};
  if (method_ == method::lines) {
    auto* const copy =
        reinterpret_cast<std::uint8_t*>(addresses + block_rows() * taps(shape) * pool.size());
    c.picture = padded(pool, shape, x, static_cast<std::uint8_t>(output_.x_zero), copy);
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
  const std::size_t chunk = std::max(block_columns / width, std::size_t{1}) * width;
  const std::size_t across = divide_up(columns, chunk);
  const std::size_t down = divide_up(pixels, block_rows());
  c.pool.parallel_for(
      down * s.groups * across, 1, [&](std::size_t begin, std::size_t end, unsigned slot) {
        const std::uint8_t** const addresses = c.addresses + slot * block_rows() * all_taps;
        for (std::size_t i = begin; i < end; ++i) {
          const std::size_t column = i % across * chunk;
          const std::size_t group = i / across % s.groups;
          const std::size_t first = i / across / s.groups * block_rows();
          const std::size_t rows = std::min(block_rows(), pixels - first);
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
  const std::size_t down = divide_up(pixels, block_rows());
  c.pool.parallel_for(down, 1, [&](std::size_t begin, std::size_t end, unsigned slot) {
    const std::uint8_t** const addresses = c.addresses + slot * block_rows() * row;
    for (std::size_t i = begin; i < end; ++i) {
      const std::size_t first = i * block_rows();
      int8_depthwise t;
      t.pixels = std::min(block_rows(), pixels - first);
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

}  // namespace mizzen::inference::detail::cpu
