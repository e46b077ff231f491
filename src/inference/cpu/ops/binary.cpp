// Element-wise arithmetic of two or more inputs, with broadcasting.
#include "inference/cpu/kernels/elementwise.hpp"
#include "inference/cpu/ops/numeric_ops.hpp"
#include "inference/cpu/ops/post_ops.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace mizzen::inference::detail {
namespace {

using cpu::binary_op;

// Whether the output lies as the input: then it may take its memory.
bool same_shape(const compile_context& c, std::size_t input) {
  const auto& in = c.input(input).shape;
  const auto& out = c.output(0).shape;
  if (!in || !out || *in != *out) return false;
  return std::none_of(in->begin(), in->end(), [](std::int64_t d) { return d == unknown_dim; });
}

template <typename T>
class binary_kernel final : public kernel {
 public:
  binary_kernel(const compile_context& c, binary_op op)
      : kernels_(best_kernels()),
        op_(op),
        overwrites_{same_shape(c, 0), same_shape(c, 1)},
        post_ops_(c.n.post_ops) {}

  bool may_overwrite(std::size_t input) const override {
    return input < overwrites_.size() && overwrites_[input];
  }

  void run(const run_context& c) const override {
    const value_view& a = c.inputs[0];
    const value_view& b = c.inputs[1];
    const value_view& y = c.outputs[0];
    if constexpr (std::is_same_v<T, float>) {
      if (op_ <= binary_op::max && !post_ops_.empty()) return run_with_steps(c);
    }
    cpu::binary(kernels_, c.pool, op_, a.as<const T>(), a.shape, b.as<const T>(), b.shape,
                y.as<T>(), y.shape);
    if constexpr (std::is_same_v<T, float>) {
      apply_post_ops(kernels_, post_ops_, c);
    }
  }

 private:
  void run_with_steps(const run_context& c) const {
    const value_view& a = c.inputs[0];
    const value_view& b = c.inputs[1];
    const value_view& y = c.outputs[0];
    const post_op_run steps(kernels_, post_ops_, c);
    const cpu::broadcast_plan<2> plan(y.shape, {a.shape, b.shape});
    cpu::for_each_run(
        c.pool, plan, [&](std::size_t to, const auto& at, const auto& step, std::size_t n) {
          float* const out = y.as<float>() + to;
          kernels_.binary(op_, a.as<const float>() + at[0], static_cast<int>(step[0]),
                          b.as<const float>() + at[1], static_cast<int>(step[1]), out, n);
          steps.apply(out, to, n);
        });
  }

  const cpu::kernel_table& kernels_;
  binary_op op_;
  std::array<bool, 2> overwrites_;
  std::vector<post_op> post_ops_;
};

// Calls f<T>() for the number types that have arithmetic.
template <typename F>
std::unique_ptr<kernel> for_number_type(const compile_context& c, F f) {
  switch (c.input_type(0)) {
    case element_type::float32:
      return f.template operator()<float>();
    case element_type::float64:
      return f.template operator()<double>();
    case element_type::int8:
      return f.template operator()<std::int8_t>();
    case element_type::int16:
      return f.template operator()<std::int16_t>();
    case element_type::int32:
      return f.template operator()<std::int32_t>();
    case element_type::int64:
      return f.template operator()<std::int64_t>();
    case element_type::uint8:
      return f.template operator()<std::uint8_t>();
    case element_type::uint16:
      return f.template operator()<std::uint16_t>();
    case element_type::uint32:
      return f.template operator()<std::uint32_t>();
    case element_type::uint64:
      return f.template operator()<std::uint64_t>();
    default:
      c.unsupported("has no kernel for " + std::string(to_string(c.input_type(0))));
  }
}

template <binary_op Op>
std::unique_ptr<kernel> compile_binary(const compile_context& c) {
  return for_number_type(c, [&]<typename T>() -> std::unique_ptr<kernel> {
    return std::make_unique<binary_kernel<T>>(c, Op);
  });
}

std::unique_ptr<kernel> compile_mod(const compile_context& c) {
  const bool fmod = c.n.attributes.get_int("fmod", 0) != 0;
  const element_type type = c.input_type(0);
  if (!fmod && (type == element_type::float32 || type == element_type::float64)) {
    c.unsupported("needs the attribute fmod = 1 for floating point");
  }
  return for_number_type(c, [&]<typename T>() -> std::unique_ptr<kernel> {
    return std::make_unique<binary_kernel<T>>(c, fmod ? binary_op::fmod : binary_op::mod);
  });
}

// Pow, whose exponent has a type of its own.
template <typename T, typename E>
class power_kernel final : public kernel {
 public:
  explicit power_kernel(const compile_context& c)
      : kernels_(best_kernels()), overwrites_(same_shape(c, 0)) {}

  bool may_overwrite(std::size_t input) const override { return input == 0 && overwrites_; }

  void run(const run_context& c) const override {
    const value_view& a = c.inputs[0];
    const value_view& b = c.inputs[1];
    const value_view& y = c.outputs[0];
    cpu::power(kernels_, c.pool, a.as<const T>(), a.shape, b.as<const E>(), b.shape, y.as<T>(),
               y.shape);
  }

 private:
  const cpu::kernel_table& kernels_;
  bool overwrites_;
};

template <typename T>
std::unique_ptr<kernel> compile_power_of(const compile_context& c) {
  switch (c.input_type(1)) {
    case element_type::float32:
      return std::make_unique<power_kernel<T, float>>(c);
    case element_type::float64:
      return std::make_unique<power_kernel<T, double>>(c);
    case element_type::int32:
      return std::make_unique<power_kernel<T, std::int32_t>>(c);
    case element_type::int64:
      return std::make_unique<power_kernel<T, std::int64_t>>(c);
    default:
      c.unsupported("has no kernel for exponents of " + std::string(to_string(c.input_type(1))));
  }
}

std::unique_ptr<kernel> compile_power(const compile_context& c) {
  switch (c.input_type(0)) {
    case element_type::float32:
      return compile_power_of<float>(c);
    case element_type::float64:
      return compile_power_of<double>(c);
    case element_type::int32:
      return compile_power_of<std::int32_t>(c);
    case element_type::int64:
      return compile_power_of<std::int64_t>(c);
    default:
      c.unsupported("has no kernel for " + std::string(to_string(c.input_type(0))));
  }
}

// Min, Max, Sum and Mean of any number of inputs, folded from the left.
template <typename T>
class variadic_kernel final : public kernel {
 public:
  variadic_kernel(const compile_context& c, binary_op op, bool mean)
      : kernels_(best_kernels()), op_(op), mean_(mean), inputs_(c.n.operator_inputs()) {}

  void run(const run_context& c) const override {
    const value_view& y = c.outputs[0];
    T* const out = y.as<T>();
    const std::int64_t one = 1;
    const std::span<const std::int64_t> scalar(&one, 1);
    const value_view& first = c.inputs[0];
    if (inputs_ == 1) {
      const T* const x = first.as<const T>();
      c.pool.parallel_for(y.count, cpu::element_grain, [&](std::size_t begin, std::size_t end) {
        std::copy(x + begin, x + end, out + begin);
      });
      return;
    }
    for (std::size_t i = 1; i < inputs_; ++i) {
      const value_view& b = c.inputs[i];
      if (i == 1) {
        cpu::binary(kernels_, c.pool, op_, first.as<const T>(), first.shape, b.as<const T>(),
                    b.shape, out, y.shape);
      } else {
        cpu::binary(kernels_, c.pool, op_, static_cast<const T*>(out), y.shape, b.as<const T>(),
                    b.shape, out, y.shape);
      }
    }
    if (mean_) {
      const T count = static_cast<T>(inputs_);
      cpu::binary(kernels_, c.pool, binary_op::div, static_cast<const T*>(out), y.shape, &count,
                  scalar, out, y.shape);
    }
  }

 private:
  const cpu::kernel_table& kernels_;
  binary_op op_;
  bool mean_;
  std::size_t inputs_;
};

template <binary_op Op, bool Mean>
std::unique_ptr<kernel> compile_variadic(const compile_context& c) {
  if (c.n.operator_inputs() == 0) c.invalid("needs at least one input");
  return for_number_type(c, [&]<typename T>() -> std::unique_ptr<kernel> {
    return std::make_unique<variadic_kernel<T>>(c, Op, Mean);
  });
}

// x < 0 ? slope x : x
class prelu_kernel final : public kernel {
 public:
  explicit prelu_kernel(const compile_context&) : kernels_(best_kernels()) {}

  void run(const run_context& c) const override {
    const value_view& x = c.inputs[0];
    const value_view& slope = c.inputs[1];
    const value_view& y = c.outputs[0];
    const cpu::broadcast_plan<2> plan(y.shape, {x.shape, slope.shape});
    cpu::for_each_run(c.pool, plan,
                      [&](std::size_t to, const auto& at, const auto& step, std::size_t n) {
                        const float* const from = x.as<const float>() + at[0];
                        const float* const by = slope.as<const float>() + at[1];
                        float* const out = y.as<float>() + to;
                        if (step[1] == 0) {
                          kernels_.unary({cpu::unary_op::leaky_relu, *by}, from, out, n);
                          return;
                        }
                        for (std::size_t i = 0; i < n; ++i) {
                          const float v = from[i * step[0]];
                          out[i] = v < 0 ? by[i] * v : v;
                        }
                      });
  }

 private:
  const cpu::kernel_table& kernels_;
};

std::unique_ptr<kernel> compile_prelu(const compile_context& c) {
  only_float32(c);
  return std::make_unique<prelu_kernel>(c);
}

}  // namespace

void register_binary_ops(op_registry& registry) {
  // Before opset 7 these broadcast by an attribute of their own.
  registry.add("Add", {compile_binary<binary_op::add>, accepts_any_post_op}, 7);
  registry.add("Sub", {compile_binary<binary_op::sub>, accepts_any_post_op}, 7);
  registry.add("Mul", {compile_binary<binary_op::mul>, accepts_any_post_op}, 7);
  registry.add("Div", {compile_binary<binary_op::div>, accepts_any_post_op}, 7);
  registry.add("Pow", {compile_power}, 7);
  registry.add("PRelu", {compile_prelu}, 7);
  registry.add("Mod", {compile_mod});
  registry.add("Min", {compile_variadic<binary_op::min, false>}, 8);
  registry.add("Max", {compile_variadic<binary_op::max, false>}, 8);
  registry.add("Sum", {compile_variadic<binary_op::add, false>}, 8);
  registry.add("Mean", {compile_variadic<binary_op::add, true>}, 8);
}

}  // namespace mizzen::inference::detail
