#include "inference/cpu/ops/plain.hpp"

#include "inference/cpu/kernels/elements.hpp"
#include "inference/cpu/kernels/half_table.hpp"
#include "inference/cpu/ops/numeric_ops.hpp"
#include "inference/cpu/ops/post_ops.hpp"
#include "inference/cpu/thread_pool.hpp"

#include <cmath>
#include <utility>
#include <vector>

namespace mizzen::inference::detail {
namespace {

constexpr std::size_t alignment = 64;

std::size_t padded(std::size_t bytes) noexcept {
  return (bytes + alignment - 1) / alignment * alignment;
}

// Takes pieces off the scratch memory of a run.
class scratch_pieces {
 public:
  explicit scratch_pieces(std::byte* at) : at_(at) {}
  template <class T>
  T* take(std::size_t count) noexcept {
    T* piece = reinterpret_cast<T*>(at_);
    at_ += padded(count * sizeof(T));
    return piece;
  }

 private:
  std::byte* at_;
};

bool needs_conversion(const value_view& v) noexcept {
  return v.type != element_type::undefined && v.type != element_type::float64;
}

class plain_kernel final : public kernel {
 public:
  plain_kernel(const compile_context& c, std::unique_ptr<plain_op> op)
      : kernels_(best_kernels()),
        op_(std::move(op)),
        inputs_(c.n.operator_inputs()),
        post_ops_(c.n.post_ops) {}

  std::size_t scratch_bytes(const shape_context& c) const override {
    std::size_t bytes = padded(op_->workspace(c) * sizeof(double));
    const auto add = [&](const value_view& v) {
      if (needs_conversion(v)) bytes += padded(v.count * sizeof(double));
    };
    for (const value_view& v : c.inputs.first(inputs_)) add(v);
    for (const value_view& v : c.outputs) add(v);
    return bytes;
  }

  void run(const run_context& c) const override {
    scratch_pieces scratch(c.scratch.data());
    plain_run r{.inputs = {}, .outputs = {}, .pool = c.pool, .cancel = c.cancel};
    const auto bind = [&](const value_view& v) {
      plain_tensor t{nullptr, v.shape, static_cast<integer>(v.count), v.type};
      if (v.present())
        t.data = needs_conversion(v) ? scratch.take<double>(v.count) : v.as<double>();
      return t;
    };
    for (std::size_t i = 0; i < inputs_; ++i) {
      const value_view& v = c.inputs[i];
      r.inputs[i] = bind(v);
      if (!v.present() || !needs_conversion(v)) continue;
      cpu::read_elements(v.data, v.type, 0, v.count, r.inputs[i].data);
    }
    for (std::size_t i = 0; i < c.outputs.size(); ++i) r.outputs[i] = bind(c.outputs[i]);
    r.workspace = scratch.take<double>(0);
    op_->run(r);
    for (std::size_t i = 0; i < c.outputs.size(); ++i) {
      const value_view& v = c.outputs[i];
      if (!v.present() || !needs_conversion(v)) continue;
      cpu::write_elements(r.outputs[i].data, v.count, v.data, v.type);
    }
    if (post_ops_.empty()) return;
    post_op_run(kernels_, post_ops_, c).apply(c.outputs[0].as<float>(), 0, c.outputs[0].count);
  }

 private:
  const cpu::kernel_table& kernels_;
  std::unique_ptr<plain_op> op_;
  std::size_t inputs_;
  std::vector<post_op> post_ops_;
};

bool is_half(element_type type) noexcept {
  return type == element_type::float16 || type == element_type::bfloat16;
}

// Runs a kernel made for float32 on half-width floats.
class widened_kernel final : public kernel {
 public:
  explicit widened_kernel(std::unique_ptr<kernel> inner) : inner_(std::move(inner)) {}

  std::size_t scratch_bytes(const shape_context& c) const override {
    views in;
    views out;
    std::size_t bytes = widen(c.inputs, in) + widen(c.outputs, out);
    bytes += inner_->scratch_bytes(
        {{in.data(), c.inputs.size()}, {out.data(), c.outputs.size()}, c.threads});
    return bytes;
  }

  bool reads_input(std::size_t input) const override { return inner_->reads_input(input); }

  void run(const run_context& c) const override {
    views in;
    views out;
    scratch_pieces scratch(c.scratch.data());
    const std::size_t used = widen(c.inputs, in) + widen(c.outputs, out);
    for (std::size_t i = 0; i < c.inputs.size(); ++i) {
      const value_view& v = c.inputs[i];
      if (!is_half(v.type) || !v.present() || !inner_->reads_input(i)) continue;
      in[i].data = scratch.take<float>(v.count);
      float* x = in[i].as<float>();
      if (v.type == element_type::float16) {
        cpu::widen(v.as<const float16>(), v.count, x);
      } else {
        cpu::widen(v.as<const bfloat16>(), v.count, x);
      }
    }
    for (std::size_t i = 0; i < c.outputs.size(); ++i) {
      const value_view& v = c.outputs[i];
      if (is_half(v.type) && v.present()) out[i].data = scratch.take<float>(v.count);
    }
    inner_->run({{in.data(), c.inputs.size()},
                 {out.data(), c.outputs.size()},
                 c.scratch.subspan(used),
                 c.pool,
                 c.cancel});
    for (std::size_t i = 0; i < c.outputs.size(); ++i) {
      const value_view& v = c.outputs[i];
      if (!is_half(v.type) || !v.present()) continue;
      const float* y = out[i].as<const float>();
      if (v.type == element_type::float16) {
        cpu::narrow_floats(y, v.count, v.as<float16>());
      } else {
        cpu::narrow_floats(y, v.count, v.as<bfloat16>());
      }
    }
  }

 private:
  using views = std::array<value_view, plain_run::most_inputs>;

  // The values as the inner kernel sees them, without data where they are converted; returns the
  // memory that the conversion takes.
  static std::size_t widen(std::span<const value_view> from, views& to) noexcept {
    std::size_t bytes = 0;
    for (std::size_t i = 0; i < from.size(); ++i) {
      to[i] = from[i];
      if (!is_half(from[i].type)) continue;
      to[i].type = element_type::float32;
      bytes += padded(from[i].count * sizeof(float));
    }
    return bytes;
  }

  std::unique_ptr<kernel> inner_;
};

}  // namespace

integer plain_tensor::number(integer i, integer low, integer high, std::string_view what) const {
  const double v = data[i];
  if (!(v >= real(low) && v <= real(high)) || v != std::trunc(v)) {
    throw error(errc::out_of_range, what,
                "element " + std::to_string(i) + " is " + std::to_string(v) + ", outside [" +
                    std::to_string(low) + ", " + std::to_string(high) + "]");
  }
  return static_cast<integer>(v);
}

integer plain_axis(integer axis, integer rank) {
  if (axis < -rank || axis >= rank) {
    throw error(errc::invalid_argument, "axis",
                std::to_string(axis) + " is outside the " + std::to_string(rank) + " dimensions");
  }
  return axis < 0 ? axis + rank : axis;
}

std::unique_ptr<kernel> make_plain_kernel(const compile_context& c, std::unique_ptr<plain_op> op) {
  if (c.n.operator_inputs() > plain_run::most_inputs ||
      c.n.outputs.size() > plain_run::most_outputs) {
    c.unsupported("more than " + std::to_string(plain_run::most_inputs) + " inputs");
  }
  const auto check = [&](element_type type) {
    if (!cpu::has_elements(type)) {
      c.unsupported("has no kernel for " + std::string(to_string(type)));
    }
  };
  for (std::size_t i = 0; i < c.n.operator_inputs(); ++i) {
    if (c.has_input(i)) check(c.input_type(i));
  }
  for (std::size_t i = 0; i < c.n.outputs.size(); ++i) {
    if (c.has_output(i)) check(c.output_type(i));
  }
  return std::make_unique<plain_kernel>(c, std::move(op));
}

std::unique_ptr<kernel> widen_halves(const compile_context& c, const op_definition& definition) {
  if (c.n.inputs.size() > plain_run::most_inputs || c.n.outputs.size() > plain_run::most_inputs) {
    return nullptr;
  }
  // The node in a graph of its own, where its values are floats. Constants stay out: as ordinary
  // inputs they come converted to run().
  graph g;
  node n = c.n;
  bool any = false;
  const auto copy = [&](std::vector<value_id>& ids) {
    for (value_id& id : ids) {
      if (id == no_value) continue;
      value v = c.g.values[id];
      if (is_half(v.type)) {
        any = true;
        v.type = element_type::float32;
        v.constant = nullptr;
      }
      id = g.add_value(std::move(v));
    }
  };
  copy(n.inputs);
  copy(n.outputs);
  if (!any) return nullptr;
  return std::make_unique<widened_kernel>(definition.compile({n, g, c.threads}));
}

}  // namespace mizzen::inference::detail
