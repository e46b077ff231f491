#include "inference/cpu/ops/data_ops.hpp"
#include "inference/cpu/ops/op_util.hpp"
#include "inference/cpu/ops/strided_copy.hpp"
#include "inference/cpu/thread_pool.hpp"

#include <algorithm>
#include <array>
#include <cstring>

namespace mizzen::inference::detail {
namespace {

class slice_kernel final : public kernel {
 public:
  slice_kernel(const attribute_map& attributes, std::size_t element_size)
      : starts_(attributes.get_ints("starts")),
        axes_(attributes.get_ints("axes")),
        element_size_(element_size) {}

  void run(const run_context& c) const override {
    const value_view& in = c.inputs[0];
    rank_array strides = dense_strides(in.shape);
    std::int64_t offset = 0;
    const bool as_inputs = c.inputs.size() > 1;
    const std::size_t count = as_inputs ? c.inputs[1].count : starts_.size();
    const auto given = [&](std::size_t i) { return i < c.inputs.size() && c.inputs[i].present(); };
    for (std::size_t i = 0; i < count; ++i) {
      std::int64_t axis_value = static_cast<std::int64_t>(i);
      if (given(3)) {
        axis_value = int_at(c.inputs[3], i);
      } else if (!as_inputs && !axes_.empty()) {
        axis_value = axes_[i];
      }
      const std::size_t axis = resolve_axis(axis_value, in.shape.size());
      const std::int64_t dim = in.shape[axis];
      const std::int64_t step = given(4) ? int_at(c.inputs[4], i) : 1;
      std::int64_t start = as_inputs ? int_at(c.inputs[1], i) : starts_[i];
      if (start < 0) start = start < -dim ? (step < 0 ? -1 : 0) : start + dim;
      start =
          std::clamp<std::int64_t>(start, 0, step < 0 ? std::max<std::int64_t>(dim - 1, 0) : dim);
      offset += start * strides[axis];
      // A single element is not stepped over, and a huge step must not overflow.
      strides[axis] = c.outputs[0].shape[axis] <= 1 ? 0 : strides[axis] * step;
    }
    const auto* source =
        static_cast<const std::byte*>(in.data) + offset * static_cast<std::int64_t>(element_size_);
    copy_strided(c.outputs[0].data, dense_strides(c.outputs[0].shape), source, strides,
                 c.outputs[0].shape, element_size_, c.pool);
  }

 private:
  std::vector<std::int64_t> starts_, axes_;  // versions before 10
  std::size_t element_size_;
};

enum class pad_mode { constant, reflect, edge, wrap };

class pad_kernel final : public kernel {
 public:
  pad_kernel(pad_mode mode, const attribute_map& attributes, element_type type,
             std::size_t element_size)
      : mode_(mode), pads_(attributes.get_ints("pads")), element_size_(element_size) {
    if (type == element_type::float32) {
      const float value = attributes.get_float("value", 0.0F);
      std::memcpy(fill_.data(), &value, sizeof value);
    }
  }

  void run(const run_context& c) const override {
    const value_view& in = c.inputs[0];
    const value_view& out = c.outputs[0];
    const std::size_t rank = in.shape.size();
    rank_array before{};
    const bool as_input = c.inputs.size() > 1 && c.inputs[1].present();
    const bool has_axes = c.inputs.size() > 3 && c.inputs[3].present();
    const std::size_t count = has_axes ? c.inputs[3].count : rank;
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t axis = has_axes ? resolve_axis(int_at(c.inputs[3], i), rank) : i;
      before[axis] = as_input ? int_at(c.inputs[1], i) : pads_[i];
    }
    if (mode_ == pad_mode::constant) {
      pad_constant(c, before);
      return;
    }
    for (const std::int64_t d : in.shape) {
      if (d == 0) throw error(errc::invalid_argument, "input 0", "nothing to repeat");
    }
    const rank_array in_strides = dense_strides(in.shape);
    const rank_array out_strides = dense_strides(out.shape);
    auto* target = static_cast<std::byte*>(out.data);
    const auto* source = static_cast<const std::byte*>(in.data);
    c.pool.parallel_for(out.count, grain_for(element_size_ * 8), [&](std::size_t b, std::size_t e) {
      for (std::size_t i = b; i < e; ++i) {
        auto rest = static_cast<std::int64_t>(i);
        std::int64_t from = 0;
        for (std::size_t d = 0; d < rank; ++d) {
          const std::int64_t at = rest / out_strides[d] - before[d];
          rest %= out_strides[d];
          from += index_of(at, in.shape[d]) * in_strides[d];
        }
        std::memcpy(target + i * element_size_,
                    source + static_cast<std::size_t>(from) * element_size_, element_size_);
      }
    });
  }

 private:
  std::int64_t index_of(std::int64_t at, std::int64_t dim) const {
    if (mode_ == pad_mode::edge) return std::clamp<std::int64_t>(at, 0, dim - 1);
    if (mode_ == pad_mode::wrap) return ((at % dim) + dim) % dim;
    if (dim == 1) return 0;
    const std::int64_t period = 2 * (dim - 1);
    const std::int64_t folded = ((at % period) + period) % period;
    return folded < dim ? folded : period - folded;
  }

  void pad_constant(const run_context& c, const rank_array& before) const {
    const value_view& in = c.inputs[0];
    const value_view& out = c.outputs[0];
    const void* fill =
        c.inputs.size() > 2 && c.inputs[2].present() ? c.inputs[2].data : fill_.data();
    const rank_array out_strides = dense_strides(out.shape);
    copy_strided(out.data, out_strides, fill, rank_array{}, out.shape, element_size_, c.pool);
    // Negative pads cut: the part of the input that is inside the output is copied.
    const rank_array in_strides = dense_strides(in.shape);
    rank_array part{};
    std::int64_t from = 0;
    std::int64_t to = 0;
    for (std::size_t d = 0; d < in.shape.size(); ++d) {
      const std::int64_t first = std::max<std::int64_t>(0, -before[d]);
      const std::int64_t last = std::min(in.shape[d], out.shape[d] - before[d]);
      part[d] = std::max<std::int64_t>(0, last - first);
      from += first * in_strides[d];
      to += (first + before[d]) * out_strides[d];
    }
    const auto size = static_cast<std::int64_t>(element_size_);
    for (std::size_t d = 0; d < in.shape.size(); ++d) {
      if (part[d] == 0) return;
    }
    copy_strided(static_cast<std::byte*>(out.data) + to * size, out_strides,
                 static_cast<const std::byte*>(in.data) + from * size, in_strides,
                 std::span(part).first(in.shape.size()), element_size_, c.pool);
  }

  pad_mode mode_;
  std::vector<std::int64_t> pads_;  // versions before 11
  std::size_t element_size_;
  alignas(16) std::array<std::byte, 16> fill_{};
};

std::unique_ptr<kernel> compile_slice(const compile_context& c) {
  return std::make_unique<slice_kernel>(c.n.attributes, movable_size(c));
}

std::unique_ptr<kernel> compile_pad(const compile_context& c) {
  const std::string mode = c.n.attributes.get_string("mode", "constant");
  const pad_mode parsed = mode == "constant"  ? pad_mode::constant
                          : mode == "reflect" ? pad_mode::reflect
                          : mode == "edge"    ? pad_mode::edge
                          : mode == "wrap"
                              ? pad_mode::wrap
                              : (c.invalid("unknown mode '" + mode + "'"), pad_mode::constant);
  return std::make_unique<pad_kernel>(parsed, c.n.attributes, c.input_type(0), movable_size(c));
}

}  // namespace

void register_slice(op_registry& registry) {
  registry.add("Slice", {compile_slice});
  registry.add("Pad", {compile_pad});
}

}  // namespace mizzen::inference::detail
