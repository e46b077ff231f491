// Sampling of images: GridSample, AffineGrid, RoiAlign, MaxRoiPool, Resize and Upsample.
#include "inference/cpu/ops/plain.hpp"
#include "inference/cpu/thread_pool.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace mizzen::inference::detail {
namespace {

constexpr std::size_t most_taps = 4;

// Cubic convolution of four neighbours, `part` behind the second.
void cubic_weights(double a, double part, double* w) noexcept {
  const double x0 = part + 1;
  const double x3 = 2 - part;
  const double y = 1 - part;
  w[0] = ((a * x0 - 5 * a) * x0 + 8 * a) * x0 - 4 * a;
  w[1] = ((a + 2) * part - (a + 3)) * part * part + 1;
  w[2] = ((a + 2) * y - (a + 3)) * y * y + 1;
  w[3] = ((a * x3 - 5 * a) * x3 + 8 * a) * x3 - 4 * a;
}

// Source: ONNX GridSample-22.
class grid_sample_op final : public plain_op {
 public:
  explicit grid_sample_op(const compile_context& c)
      : align_(c.n.attributes.get_int("align_corners", 0) != 0) {
    const std::string how = c.n.attributes.get_string("mode", "linear");
    if (how == "linear" || how == "bilinear") {
      taps_ = 2;
    } else if (how == "cubic" || how == "bicubic") {
      taps_ = 4;
    } else if (how == "nearest") {
      taps_ = 1;
    } else {
      c.invalid("unknown mode '" + how + "'");
    }
    const std::string beyond = c.n.attributes.get_string("padding_mode", "zeros");
    if (beyond == "border") {
      padding_ = padding::border;
    } else if (beyond == "reflection") {
      padding_ = padding::reflection;
    } else if (beyond != "zeros") {
      c.invalid("unknown padding_mode '" + beyond + "'");
    }
  }

  void run(const plain_run& r) const override {
    const plain_tensor& x = r.in(0);
    const plain_tensor& grid = r.in(1);
    const plain_tensor& y = r.out(0);
    if (y.count == 0) return;
    const auto image = x.shape.subspan(2);
    const integer plane = x.extent(2, x.rank());
    if (plane == 0) throw error(errc::invalid_argument, "input 0", "its images are empty");
    const integer points = y.extent(2, y.rank());
    const integer channels = x.dim(1);
    const auto spatial = static_cast<integer>(image.size());
    patience left(r);
    for (integer n = 0; n < x.dim(0); ++n) {
      for (integer p = 0; p < points; ++p) {
        left.spend(channels * 16);
        std::array<axis_taps, max_rank> taps;
        for (integer d = 0; d < spatial; ++d) {
          // The last coordinate of a point is that of the first spatial dimension.
          const double at = grid.data[(n * points + p) * spatial + spatial - 1 - d];
          taps[static_cast<std::size_t>(d)] = taps_of(at, image[static_cast<std::size_t>(d)]);
        }
        for (integer ch = 0; ch < channels; ++ch) {
          y.data[(n * channels + ch) * points + p] =
              blend(x.data + (n * channels + ch) * plane, image, taps);
        }
      }
    }
  }

 private:
  enum class padding { zeros, border, reflection };
  struct axis_taps {
    std::array<integer, most_taps> at{};  // -1: a zero
    std::array<double, most_taps> weight{};
  };

  double reflect(double v, integer length) const noexcept {
    const double low = align_ ? 0 : -0.5;
    const double high = align_ ? real(length - 1) : real(length) - 0.5;
    const double range = high - low;
    if (range <= 0) return 0;
    if (v >= low && v <= high) return v;
    const double from = v < low ? low - v : v - high;
    const double folds = std::floor(from / range);
    const double rest = from - folds * range;
    const bool from_low = (v < low) == (std::fmod(folds, 2) == 0);
    return from_low ? low + rest : high - rest;
  }

  axis_taps taps_of(double normalised, integer length) const noexcept {
    axis_taps t;
    double v = align_ ? (normalised + 1) / 2 * real(length - 1)
                      : ((normalised + 1) * real(length) - 1) / 2;
    // A coordinate that is no number, or far away, is outside.
    if (!(std::abs(v) < 1e15)) v = std::isnan(v) ? -1e15 : std::clamp(v, -1e15, 1e15);
    if (taps_ == 1) v = std::nearbyint(v);
    const double low = align_ ? 0 : -0.5;
    const double high = align_ ? real(length - 1) : real(length) - 0.5;
    if (v < low || v > high) {
      if (padding_ == padding::border) v = std::clamp(v, 0.0, real(length - 1));
      if (padding_ == padding::reflection) v = reflect(v, length);
    }
    const double base = std::floor(v);
    if (taps_ == 1) t.weight[0] = 1;
    if (taps_ == 2) t.weight = {1 - (v - base), v - base};
    if (taps_ == 4) cubic_weights(-0.75, v - base, t.weight.data());
    for (std::size_t i = 0; i < taps_; ++i) {
      t.at[i] = pixel(base + static_cast<double>(i) - (taps_ == 4 ? 1 : 0), length);
    }
    return t;
  }

  integer pixel(double at, integer length) const noexcept {
    if (padding_ == padding::zeros) {
      return at >= 0 && at < real(length) ? static_cast<integer>(at) : -1;
    }
    const double inside = padding_ == padding::reflection ? reflect(at, length) : at;
    return static_cast<integer>(std::clamp(inside, 0.0, real(length - 1)));
  }

  double blend(const double* image, std::span<const integer> shape,
               const std::array<axis_taps, max_rank>& taps) const noexcept {
    std::array<std::size_t, max_rank> k{};
    double sum = 0;
    while (true) {
      double weight = 1;
      integer flat = 0;
      for (std::size_t d = 0; d < shape.size(); ++d) {
        weight *= taps[d].weight[k[d]];
        if (taps[d].at[k[d]] < 0) weight = 0;
        flat = flat * shape[d] + std::max<integer>(taps[d].at[k[d]], 0);
      }
      if (weight != 0) sum += weight * image[flat];
      std::size_t d = shape.size();
      while (d > 0 && ++k[d - 1] == taps_) k[--d] = 0;
      if (d == 0) return sum;
    }
  }

  bool align_;
  std::size_t taps_ = 2;
  padding padding_ = padding::zeros;
};

class affine_grid_op final : public plain_op {
 public:
  explicit affine_grid_op(const compile_context& c)
      : align_(c.n.attributes.get_int("align_corners", 0) != 0) {}

  void run(const plain_run& r) const override {
    const plain_tensor& theta = r.in(0);
    const plain_tensor& y = r.out(0);
    const integer spatial = y.dim(-1);
    const auto image = y.shape.subspan(1, static_cast<std::size_t>(spatial));
    const integer points = y.count / spatial / std::max<integer>(y.dim(0), 1);
    for (integer n = 0; n < y.dim(0); ++n) {
      std::array<integer, max_rank> at{};
      for (integer p = 0; p < points; ++p, next_index(image, at.data())) {
        for (integer row = 0; row < spatial; ++row) {
          const double* const t = theta.data + (n * spatial + row) * (spatial + 1);
          double sum = t[spatial];
          for (integer k = 0; k < spatial; ++k) {
            const auto d = static_cast<std::size_t>(spatial - 1 - k);
            sum += t[k] * coordinate(at[d], image[d]);
          }
          y.data[(n * points + p) * spatial + row] = sum;
        }
      }
    }
  }

 private:
  double coordinate(integer i, integer length) const noexcept {
    if (align_) return length == 1 ? -1 : 2 * real(i) / real(length - 1) - 1;
    return (2 * real(i) + 1) / real(length) - 1;
  }

  bool align_;
};

// Source: ONNX RoiAlign-22: X, rois [n, 4], batch_indices [n].
class roi_align_op final : public plain_op {
 public:
  explicit roi_align_op(const compile_context& c)
      : scale_(static_cast<double>(c.n.attributes.get_float("spatial_scale", 1))),
        samples_(c.n.attributes.get_int("sampling_ratio", 0)) {
    const attribute_map& a = c.n.attributes;
    half_ = c.n.opset >= 16 &&
            a.get_string("coordinate_transformation_mode", "half_pixel") == "half_pixel";
    maximum_ = a.get_string("mode", "avg") == "max";
    if (samples_ < 0 || samples_ > most_samples) c.invalid("sampling_ratio is out of range");
  }

  void run(const plain_run& r) const override {
    const plain_tensor& x = r.in(0);
    const plain_tensor& rois = r.in(1);
    const plain_tensor& y = r.out(0);
    const integer height = y.dim(2);
    const integer width = y.dim(3);
    const double shift = half_ ? 0.5 : 0;
    patience asked(r);
    for (integer n = 0; n < y.dim(0); ++n) {
      const integer batch = r.in(2).number(n, 0, x.dim(0) - 1, "batch_indices");
      const double* const roi = rois.data + n * 4;
      const double left = roi[0] * scale_ - shift;
      const double top = roi[1] * scale_ - shift;
      double wide = roi[2] * scale_ - shift - left;
      double high = roi[3] * scale_ - shift - top;
      if (!half_) {
        wide = std::max(wide, 1.0);
        high = std::max(high, 1.0);
      }
      const double cell_w = wide / real(width);
      const double cell_h = high / real(height);
      const integer grid_h = grid_of(cell_h);
      const integer grid_w = grid_of(cell_w);
      for (integer ch = 0; ch < x.dim(1); ++ch) {
        const double* const image = x.data + (batch * x.dim(1) + ch) * x.dim(2) * x.dim(3);
        for (integer i = 0; i < height * width; ++i) {
          asked.spend(grid_h * grid_w);
          double sum = 0;
          double best = -std::numeric_limits<double>::infinity();
          for (integer s = 0; s < grid_h * grid_w; ++s) {
            const double v =
                top + (real(i / width) + (real(s / grid_w) + 0.5) / real(grid_h)) * cell_h;
            const double u =
                left + (real(i % width) + (real(s % grid_w) + 0.5) / real(grid_w)) * cell_w;
            const sampled got = sample(image, x.dim(2), x.dim(3), v, u);
            sum += got.sum;
            best = std::max(best, got.largest);
          }
          const integer count = grid_h * grid_w;
          y.data[((n * x.dim(1) + ch) * height * width) + i] = count == 0 ? 0
                                                               : maximum_ ? best
                                                                          : sum / real(count);
        }
      }
    }
  }

 private:
  static constexpr integer most_samples = 4096;

  struct sampled {
    double sum = 0, largest = 0;
  };

  integer grid_of(double cell) const {
    if (samples_ > 0) return samples_;
    if (!(cell <= real(most_samples))) {
      throw error(errc::out_of_range, "rois", "a region is too large");
    }
    return cell > 0 ? static_cast<integer>(std::ceil(cell)) : 0;
  }

  // The bilinear value, and the largest of the four weighted neighbours.
  static sampled sample(const double* image, integer rows, integer columns, double y,
                        double x) noexcept {
    if (rows == 0 || columns == 0) return {};
    if (!(y >= -1 && y <= real(rows) && x >= -1 && x <= real(columns))) return {};
    y = std::clamp(y, 0.0, real(rows - 1));
    x = std::clamp(x, 0.0, real(columns - 1));
    const auto top = static_cast<integer>(y);
    const auto left = static_cast<integer>(x);
    const double part_y = y - real(top);
    const double part_x = x - real(left);
    sampled s{0, -std::numeric_limits<double>::infinity()};
    for (const integer dy : {0, 1}) {
      for (const integer dx : {0, 1}) {
        const integer a = std::min(top + dy, rows - 1);
        const integer b = std::min(left + dx, columns - 1);
        const double v = (dy == 0 ? 1 - part_y : part_y) * (dx == 0 ? 1 - part_x : part_x) *
                         image[a * columns + b];
        s.sum += v;
        s.largest = std::max(s.largest, v);
      }
    }
    return s;
  }

  double scale_;
  integer samples_;
  bool half_ = true;
  bool maximum_ = false;
};

// Source: ONNX MaxRoiPool: rois [n, 5] of batch, x1, y1, x2, y2.
class max_roi_pool_op final : public plain_op {
 public:
  explicit max_roi_pool_op(const compile_context& c)
      : scale_(static_cast<double>(c.n.attributes.get_float("spatial_scale", 1))) {}

  void run(const plain_run& r) const override {
    const plain_tensor& x = r.in(0);
    const plain_tensor& y = r.out(0);
    const integer rows = x.dim(2);
    const integer columns = x.dim(3);
    patience asked(r);
    for (integer n = 0; n < y.dim(0); ++n) {
      const integer batch = r.in(1).number(n * 5, 0, x.dim(0) - 1, "rois");
      std::array<double, 4> box{};
      for (std::size_t k = 0; k < 4; ++k) {
        box[k] = std::round(r.in(1).data[n * 5 + 1 + static_cast<integer>(k)] * scale_);
        if (!(std::abs(box[k]) < 1e9))
          throw error(errc::out_of_range, "rois", "a region is too large");
      }
      const double cell_w = std::max(box[2] - box[0] + 1, 1.0) / real(y.dim(3));
      const double cell_h = std::max(box[3] - box[1] + 1, 1.0) / real(y.dim(2));
      const auto edge = [](double start, double cell, integer i, bool end, integer limit) {
        const double at =
            start + (end ? std::ceil(real(i + 1) * cell) : std::floor(real(i) * cell));
        return static_cast<integer>(std::clamp(at, 0.0, real(limit)));
      };
      for (integer ch = 0; ch < x.dim(1); ++ch) {
        const double* const image = x.data + (batch * x.dim(1) + ch) * rows * columns;
        asked.spend(rows * columns + y.dim(2) * y.dim(3));
        for (integer i = 0; i < y.dim(2) * y.dim(3); ++i) {
          const integer row = i / y.dim(3);
          const integer column = i % y.dim(3);
          double best = -std::numeric_limits<double>::infinity();
          for (integer a = edge(box[1], cell_h, row, false, rows);
               a < edge(box[1], cell_h, row, true, rows); ++a) {
            for (integer b = edge(box[0], cell_w, column, false, columns);
                 b < edge(box[0], cell_w, column, true, columns); ++b) {
              best = std::max(best, image[a * columns + b]);
            }
          }
          y.data[(n * x.dim(1) + ch) * y.dim(2) * y.dim(3) + i] = std::isinf(best) ? 0 : best;
        }
      }
    }
  }

 private:
  double scale_;
};

// Resize by one dimension after the other. Source: ONNX Resize-19; Upsample is Resize with
// asymmetric coordinates.
class resize_op final : public plain_op {
 public:
  explicit resize_op(const compile_context& c) : axes_(c.n.attributes.get_ints("axes")) {
    const attribute_map& a = c.n.attributes;
    const bool old = c.n.opset < 11 || c.n.op_type == "Upsample";
    scales_at_ = old ? 1 : 2;
    sizes_at_ = old ? plain_run::most_inputs - 1 : 3;
    const std::string mode = a.get_string("mode", "nearest");
    if (mode == "linear" || mode == "bilinear") {
      filter_ = filter::linear;
    } else if (mode == "cubic") {
      filter_ = filter::cubic;
    } else if (mode != "nearest") {
      c.invalid("unknown mode '" + mode + "'");
    }
    how_ = a.get_string("coordinate_transformation_mode", old ? "asymmetric" : "half_pixel");
    constexpr std::string_view known[] = {
        "half_pixel",         "pytorch_half_pixel",   "align_corners",       "asymmetric",
        "tf_crop_and_resize", "half_pixel_symmetric", "tf_half_pixel_for_nn"};
    if (std::find(std::begin(known), std::end(known), how_) == std::end(known)) {
      c.invalid("unknown coordinate_transformation_mode '" + how_ + "'");
    }
    nearest_ = a.get_string("nearest_mode", old ? "floor" : "round_prefer_floor");
    antialias_ = a.get_int("antialias", 0) != 0;
    if (antialias_ && filter_ == filter::nearest) c.invalid("antialias does not go with nearest");
    exclude_ = a.get_int("exclude_outside", 0) != 0;
    cubic_ = static_cast<double>(a.get_float("cubic_coeff_a", -0.75F));
    beyond_ = static_cast<double>(a.get_float("extrapolation_value", 0));
    policy_ = a.get_string("keep_aspect_ratio_policy", "stretch");
    if (c.n.op_type != "Upsample" || c.has_input(1)) return;
    for (const float s : a.get_floats("scales")) given_.push_back(static_cast<double>(s));
  }

  // Two images between the dimensions, and the weights of one output.
  std::size_t workspace(const shape_context& c) const override {
    return 2 * between(c.inputs[0].shape, c.outputs[0].shape) + footprints(c.inputs[0].shape);
  }

  void run(const plain_run& r) const override {
    const plain_tensor& x = r.in(0);
    const plain_tensor& y = r.out(0);
    if (y.count == 0) return;
    if (x.count == 0) throw error(errc::invalid_argument, "input 0", "it has no elements");
    const auto size = static_cast<integer>(between(x.shape, y.shape));
    double* spare = r.workspace;
    double* next = spare + size;
    double* const weights = next + size;
    const double* from = x.data;
    std::array<integer, max_rank> shape{};
    std::copy(x.shape.begin(), x.shape.end(), shape.begin());
    patience left(r);
    for (integer d = 0; d < x.rank(); ++d) {
      const auto at = static_cast<std::size_t>(d);
      const axis_view a = axis_of(r, d);
      if (a.in == a.out && a.scale == 1 && a.roi_start == 0 && a.roi_end == 1) continue;
      integer outer = 1;
      integer inner = 1;
      for (std::size_t k = 0; k < at; ++k) outer *= shape[k];
      for (std::size_t k = at + 1; k < x.shape.size(); ++k) inner *= shape[k];
      along(a, from, spare, outer, inner, weights, left);
      shape[at] = a.out;
      from = spare;
      std::swap(spare, next);
    }
    std::copy_n(from, y.count, y.data);
  }

 private:
  enum class filter { nearest, linear, cubic };
  struct axis_view {
    integer in, out;
    double scale;
    double roi_start = 0, roi_end = 1;
  };

  static std::size_t between(std::span<const integer> in, std::span<const integer> out) noexcept {
    std::size_t product = 1;
    for (std::size_t d = 0; d < in.size(); ++d) {
      product *= static_cast<std::size_t>(std::max(in[d], out[d]));
    }
    return product;
  }

  // An antialiasing filter is at most four times as wide as its input is long.
  static std::size_t footprints(std::span<const integer> in) noexcept {
    integer most = 1;
    for (const integer d : in) most = std::max(most, d);
    return 16 + 8 * static_cast<std::size_t>(most);
  }

  axis_view axis_of(const plain_run& r, integer d) const {
    const plain_tensor& x = r.in(0);
    axis_view a{x.dim(d), r.out(0).dim(d), 1};
    integer entry = d;  // of scales, sizes and roi
    integer entries = x.rank();
    if (!axes_.empty()) {
      entries = static_cast<integer>(axes_.size());
      const auto found = std::find_if(axes_.begin(), axes_.end(), [&](integer axis) {
        return plain_axis(axis, x.rank()) == d;
      });
      if (found == axes_.end()) return a;
      entry = found - axes_.begin();
    }
    const plain_tensor& scales = r.in(scales_at_);
    const plain_tensor& sizes = r.in(sizes_at_);
    if (!given_.empty()) {
      a.scale = given_[static_cast<std::size_t>(entry)];
    } else if (sizes.present() && sizes.count != 0) {
      a.scale = policy_ == "stretch" ? real(a.out) / real(a.in) : common_scale(x, sizes);
    } else {
      a.scale = scales.data[entry];
    }
    if (how_ == "tf_crop_and_resize" && r.in(1).present() && r.in(1).count == 2 * entries) {
      a.roi_start = r.in(1).data[entry];
      a.roi_end = r.in(1).data[entry + entries];
    }
    return a;
  }

  double common_scale(const plain_tensor& x, const plain_tensor& sizes) const {
    double common = 0;
    for (integer i = 0; i < sizes.count; ++i) {
      const integer axis =
          axes_.empty() ? i : plain_axis(axes_[static_cast<std::size_t>(i)], x.rank());
      const double s = sizes.data[i] / real(x.dim(axis));
      const bool better = policy_ == "not_larger" ? s < common : s > common;
      if (i == 0 || better) common = s;
    }
    return common;
  }

  double coordinate(const axis_view& a, integer i) const noexcept {
    const double at = real(i);
    // Not rounded, as the reference implementation has it.
    const double resized = a.scale * real(a.in);
    if (how_ == "align_corners") {
      return resized == 1 ? 0 : at * real(a.in - 1) / (resized - 1);
    }
    if (how_ == "asymmetric") return at / a.scale;
    if (how_ == "tf_half_pixel_for_nn") return (at + 0.5) / a.scale;
    if (how_ == "pytorch_half_pixel" && resized == 1) return -0.5;
    if (how_ == "tf_crop_and_resize") {
      const double span = (a.roi_end - a.roi_start) * real(a.in - 1);
      return a.roi_start * real(a.in - 1) + (resized == 1 ? span / 2 : at * span / (resized - 1));
    }
    double shift = 0;
    if (how_ == "half_pixel_symmetric") shift = real(a.in) / 2 * (1 - real(a.out) / resized);
    return shift + (at + 0.5) / a.scale - 0.5;
  }

  // Neighbours first, first + 1, … of a coordinate, and their weights; returns how many.
  integer weigh(const axis_view& a, double x, integer& first, double* w) const noexcept {
    const double base = std::floor(x);
    double part = x - base;
    if (filter_ == filter::nearest) {
      double rounded = std::ceil(x - 0.5);
      if (nearest_ == "round_prefer_ceil") rounded = std::floor(x + 0.5);
      if (nearest_ == "floor") rounded = base;
      if (nearest_ == "ceil") rounded = std::ceil(x);
      first = static_cast<integer>(rounded);
      w[0] = 1;
      return 1;
    }
    const double shrinks = antialias_ ? std::min(a.scale, 1.0) : 1;
    const double reach = filter_ == filter::linear ? 1 : 2;
    if (shrinks == 1 && filter_ == filter::cubic) {
      first = static_cast<integer>(base) - 1;
      cubic_weights(cubic_, part, w);
      return 4;
    }
    if (shrinks == 1) {
      first = static_cast<integer>(base);
      w[0] = 1 - part;
      w[1] = part;
      return 2;
    }
    // A whole coordinate counts as the end of its interval.
    const double from = part == 0 ? base - 1 : base;
    if (part == 0) part = 1;
    const auto start = static_cast<integer>(std::floor(-reach / shrinks)) + 1;
    const integer count = 2 - 2 * start;
    double sum = 0;
    for (integer i = 0; i < count; ++i) {
      const double distance = std::abs(shrinks * (real(i + start) - part));
      w[i] = filter_ == filter::linear ? std::max(0.0, 1 - distance) : cubic(distance);
      sum += w[i];
    }
    for (integer i = 0; i < count; ++i) w[i] /= sum;
    first = static_cast<integer>(from) + start;
    return count;
  }

  double cubic(double x) const noexcept {
    if (x <= 1) return ((cubic_ + 2) * x - (cubic_ + 3)) * x * x + 1;
    return x < 2 ? ((x - 5) * x + 8) * x * cubic_ - 4 * cubic_ : 0;
  }

  void along(const axis_view& a, const double* from, double* to, integer outer, integer inner,
             double* weights, patience& left) const {
    for (integer i = 0; i < a.out; ++i) {
      const double x = coordinate(a, i);
      const bool outside = how_ == "tf_crop_and_resize" && !(x >= 0 && x <= real(a.in - 1));
      integer first = 0;
      const double near =
          std::isnan(x) ? 0 : std::clamp(x, -4 * real(a.in) - 8, 5 * real(a.in) + 8);
      const integer count = outside ? 0 : weigh(a, near, first, weights);
      if (exclude_) {
        double sum = 0;
        for (integer k = 0; k < count; ++k) {
          if (first + k < 0 || first + k >= a.in) weights[k] = 0;
          sum += weights[k];
        }
        for (integer k = 0; k < count && sum != 0; ++k) weights[k] /= sum;
      }
      left.spend(count);
      for (integer o = 0; o < outer; ++o) {
        left.spend((count + 1) * inner);
        double* const y = to + (o * a.out + i) * inner;
        std::fill_n(y, inner, outside ? beyond_ : 0.0);
        for (integer k = 0; k < count; ++k) {
          if (weights[k] == 0) continue;
          const integer at = std::clamp<integer>(first + k, 0, a.in - 1);
          const double* const source = from + (o * a.in + at) * inner;
          for (integer e = 0; e < inner; ++e) y[e] += weights[k] * source[e];
        }
      }
    }
  }

  std::vector<integer> axes_;
  std::vector<double> given_;  // scales of an old Upsample
  std::size_t scales_at_ = 2, sizes_at_ = 3;
  filter filter_ = filter::nearest;
  std::string how_, nearest_, policy_;
  bool antialias_ = false;
  bool exclude_ = false;
  double cubic_ = -0.75, beyond_ = 0;
};

}  // namespace

void register_plain_image(op_registry& registry) {
  registry.add_plain("GridSample", {compile_plain<grid_sample_op>}, 16);
  registry.add_plain("AffineGrid", {compile_plain<affine_grid_op>}, 20);
  registry.add_plain("RoiAlign", {compile_plain<roi_align_op>}, 10);
  registry.add_plain("MaxRoiPool", {compile_plain<max_roi_pool_op>});
  registry.add_plain("Resize", {compile_plain<resize_op>}, 10);
  registry.add_plain("Upsample", {compile_plain<resize_op>}, 7, 9);
}

}  // namespace mizzen::inference::detail
