#include "inference/cpu/ops/data_ops.hpp"
#include "inference/cpu/ops/op_util.hpp"
#include "inference/cpu/ops/strided_copy.hpp"
#include "inference/cpu/thread_pool.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace mizzen::inference::detail {
namespace {

enum class transform { half_pixel, pytorch_half_pixel, align_corners, asymmetric };
enum class rounding { prefer_floor, prefer_ceil, floor, ceil };

// Source coordinate of an output index. Source: ONNX Resize, coordinate_transformation_mode.
double coordinate(transform t, std::int64_t x, double scale, std::int64_t in, std::int64_t out) {
  const auto at = static_cast<double>(x);
  // Not rounded, as the reference implementation has it.
  const double resized = static_cast<double>(in) * scale;
  switch (t) {
    case transform::half_pixel:
      return (at + 0.5) / scale - 0.5;
    case transform::pytorch_half_pixel:
      return out > 1 ? (at + 0.5) / scale - 0.5 : 0.0;
    case transform::align_corners:
      return resized != 1.0 ? at * static_cast<double>(in - 1) / (resized - 1.0) : 0.0;
    case transform::asymmetric:
      return at / scale;
  }
  return 0.0;
}

std::int64_t nearest(rounding r, double x, std::int64_t in) {
  double rounded = 0.0;
  switch (r) {
    case rounding::prefer_floor:
      rounded = std::ceil(x - 0.5);
      break;
    case rounding::prefer_ceil:
      rounded = std::floor(x + 0.5);
      break;
    case rounding::floor:
      rounded = std::floor(x);
      break;
    case rounding::ceil:
      rounded = std::ceil(x);
      break;
  }
  return std::clamp<std::int64_t>(static_cast<std::int64_t>(rounded), 0, in - 1);
}

// The scale of each dimension: as given, or the ratio of the sizes.
double scale_of(const run_context& c, std::size_t scales_at, std::size_t d) {
  const bool by_scales = c.inputs.size() > scales_at && c.inputs[scales_at].present() &&
                         c.inputs[scales_at].count != 0 &&
                         (c.inputs.size() <= 3 || !c.inputs[3].present());
  if (by_scales) return static_cast<double>(c.inputs[scales_at].as<const float>()[d]);
  return static_cast<double>(c.outputs[0].shape[d]) / static_cast<double>(c.inputs[0].shape[d]);
}

class nearest_kernel final : public kernel {
 public:
  nearest_kernel(transform t, rounding r, std::size_t scales_at, std::size_t element_size)
      : transform_(t), rounding_(r), scales_at_(scales_at), element_size_(element_size) {}

  // A table of source indices for each dimension.
  std::size_t scratch_bytes(const shape_context& c) const override {
    std::size_t entries = 0;
    for (const std::int64_t d : c.outputs[0].shape) entries += static_cast<std::size_t>(d);
    return entries * sizeof(std::int64_t);
  }

  void run(const run_context& c) const override {
    const value_view& in = c.inputs[0];
    const value_view& out = c.outputs[0];
    const std::size_t rank = in.shape.size();
    if (rank == 0) {
      std::memcpy(out.data, in.data, element_size_);
      return;
    }
    const rank_array strides = dense_strides(in.shape);
    std::array<std::int64_t*, max_rank> table{};
    auto* next = reinterpret_cast<std::int64_t*>(c.scratch.data());
    for (std::size_t d = 0; d < rank; ++d) {
      if (in.shape[d] == 0) throw error(errc::invalid_argument, "input 0", "it has no elements");
      table[d] = next;
      next += out.shape[d];
      const double scale = scale_of(c, scales_at_, d);
      for (std::int64_t i = 0; i < out.shape[d]; ++i) {
        const double x = coordinate(transform_, i, scale, in.shape[d], out.shape[d]);
        table[d][i] = nearest(rounding_, x, in.shape[d]) * strides[d];
      }
    }
    if (out.count == 0) return;
    // Dimensions at the end that stay as they are (the channels, where they lie last) are copied in
    // one piece.
    std::size_t moved = rank;
    const auto stays = [&](std::size_t d) {
      for (std::int64_t i = 0; i < out.shape[d]; ++i) {
        if (table[d][i] != i * strides[d]) return false;
      }
      return in.shape[d] == out.shape[d];
    };
    while (moved > 1 && stays(moved - 1)) --moved;
    const auto row = static_cast<std::size_t>(out.shape[moved - 1]);
    const std::size_t piece = static_cast<std::size_t>(strides[moved - 1]) * element_size_;
    const auto* source = in.as<const std::byte>();
    auto* target = out.as<std::byte>();
    const std::size_t rows = out.count * element_size_ / piece / row;
    c.pool.parallel_for(
        rows, grain_for(row * (piece + 12)), [&](std::size_t begin, std::size_t end) {
          for (std::size_t r = begin; r < end; ++r) {
            auto rest = static_cast<std::int64_t>(r);
            std::int64_t base = 0;
            for (std::size_t d = moved - 1; d-- > 0;) {
              base += table[d][rest % out.shape[d]];
              rest /= out.shape[d];
            }
            for (std::size_t i = 0; i < row; ++i) {
              const auto from = static_cast<std::size_t>(base + table[moved - 1][i]);
              std::memcpy(target + (r * row + i) * piece, source + from * element_size_, piece);
            }
          }
        });
  }

 private:
  transform transform_;
  rounding rounding_;
  std::size_t scales_at_, element_size_;
};

// Linear interpolation of the two innermost dimensions of float32 images.
class linear_kernel final : public kernel {
 public:
  linear_kernel(transform t, std::size_t scales_at) : transform_(t), scales_at_(scales_at) {}

  void run(const run_context& c) const override {
    const value_view& in = c.inputs[0];
    const value_view& out = c.outputs[0];
    const std::size_t rank = in.shape.size();
    for (std::size_t d = 0; d + 2 < rank; ++d) {
      if (in.shape[d] != out.shape[d]) {
        throw error(errc::unimplemented, "scales", "linear in other than the last two dimensions");
      }
    }
    if (in.count == 0) throw error(errc::invalid_argument, "input 0", "it has no elements");
    const std::int64_t in_h = in.shape[rank - 2];
    const std::int64_t in_w = in.shape[rank - 1];
    const std::int64_t out_h = out.shape[rank - 2];
    const std::int64_t out_w = out.shape[rank - 1];
    const double scale_h = scale_of(c, scales_at_, rank - 2);
    const double scale_w = scale_of(c, scales_at_, rank - 1);
    const float* source = in.as<const float>();
    float* target = out.as<float>();
    const std::size_t rows = out.count / static_cast<std::size_t>(out_w);
    c.pool.parallel_for(
        rows, grain_for(static_cast<std::size_t>(out_w) * 32),
        [&](std::size_t begin, std::size_t end) {
          for (std::size_t r = begin; r < end; ++r) {
            const auto y = static_cast<std::int64_t>(r) % out_h;
            const auto plane = static_cast<std::int64_t>(r) / out_h;
            const point v = split(coordinate(transform_, y, scale_h, in_h, out_h), in_h);
            const float* top = source + (plane * in_h + v.low) * in_w;
            const float* bottom = source + (plane * in_h + v.high) * in_w;
            for (std::int64_t x = 0; x < out_w; ++x) {
              const point h = split(coordinate(transform_, x, scale_w, in_w, out_w), in_w);
              const float a = top[h.low] + (top[h.high] - top[h.low]) * h.part;
              const float b = bottom[h.low] + (bottom[h.high] - bottom[h.low]) * h.part;
              target[static_cast<std::int64_t>(r) * out_w + x] = a + (b - a) * v.part;
            }
          }
        });
  }

 private:
  struct point {
    std::int64_t low, high;
    float part;
  };
  static point split(double x, std::int64_t dim) {
    const double inside = std::clamp(x, 0.0, static_cast<double>(dim - 1));
    const auto low = static_cast<std::int64_t>(inside);
    return {low, std::min(low + 1, dim - 1), static_cast<float>(inside - static_cast<double>(low))};
  }

  transform transform_;
  std::size_t scales_at_;
};

std::unique_ptr<kernel> compile_resize(const compile_context& c) {
  const attribute_map& a = c.n.attributes;
  const std::string mode = a.get_string("mode", "nearest");
  // Version 10 has no coordinate_transformation_mode; it meant what "asymmetric" means now.
  const std::string how =
      a.get_string("coordinate_transformation_mode", c.n.opset < 11 ? "asymmetric" : "half_pixel");
  const std::string round =
      a.get_string("nearest_mode", c.n.opset < 11 ? "floor" : "round_prefer_floor");
  if (a.has("axes")) c.unsupported("attribute 'axes'");
  if (a.get_int("antialias", 0) != 0 || a.get_int("exclude_outside", 0) != 0 ||
      a.get_string("keep_aspect_ratio_policy", "stretch") != "stretch") {
    c.unsupported("antialias, exclude_outside or keep_aspect_ratio_policy");
  }
  const std::size_t scales_at = c.n.opset < 11 ? 1 : 2;
  if (c.has_input(scales_at) && c.input_type(scales_at) != element_type::float32) {
    c.invalid("'scales' must be float32");
  }
  transform t = transform::half_pixel;
  if (how == "pytorch_half_pixel") {
    t = transform::pytorch_half_pixel;
  } else if (how == "align_corners") {
    t = transform::align_corners;
  } else if (how == "asymmetric") {
    t = transform::asymmetric;
  } else if (how != "half_pixel") {
    c.unsupported("coordinate_transformation_mode '" + how + "'");
  }
  if (mode == "nearest") {
    rounding r = rounding::prefer_floor;
    if (round == "round_prefer_ceil") {
      r = rounding::prefer_ceil;
    } else if (round == "floor") {
      r = rounding::floor;
    } else if (round == "ceil") {
      r = rounding::ceil;
    } else if (round != "round_prefer_floor") {
      c.invalid("unknown nearest_mode '" + round + "'");
    }
    return std::make_unique<nearest_kernel>(t, r, scales_at, movable_size(c));
  }
  if (mode == "linear" && c.input_type(0) == element_type::float32 && c.input(0).shape &&
      c.input(0).shape->size() >= 2) {
    return std::make_unique<linear_kernel>(t, scales_at);
  }
  c.unsupported("mode '" + mode + "' for " + std::string(to_string(c.input_type(0))));
}

}  // namespace

void register_resize(op_registry& registry) { registry.add("Resize", {compile_resize}, 10); }

}  // namespace mizzen::inference::detail
