// Element-wise operators of one input, and Clip.
#include "inference/cpu/kernels/elementwise.hpp"
#include "inference/cpu/ops/numeric_ops.hpp"
#include "inference/cpu/ops/post_ops.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <type_traits>

namespace mizzen::inference::detail {
namespace {

using cpu::activation;
using cpu::unary_op;

class unary_kernel final : public kernel {
 public:
  unary_kernel(const compile_context& c, activation f)
      : kernels_(best_kernels()), f_(f), post_ops_(c.n.post_ops) {}

  bool may_overwrite(std::size_t input) const override { return input == 0; }

  void run(const run_context& c) const override {
    const post_op_run steps(kernels_, post_ops_, c);
    const float* const x = c.inputs[0].as<const float>();
    float* const y = c.outputs[0].as<float>();
    c.pool.parallel_for(c.outputs[0].count, cpu::element_grain,
                        [&](std::size_t begin, std::size_t end) {
                          cpu::unary_run(kernels_, f_, x + begin, y + begin, end - begin);
                          steps.apply(y + begin, begin, end - begin);
                        });
  }

 private:
  const cpu::kernel_table& kernels_;
  activation f_;
  std::vector<post_op> post_ops_;
};

// One element in a type that has no vector kernel. Only the operators that compile_unary lets
// through for integers are asked of them.
template <typename T>
T apply(const activation& f, T x) {
  const auto alpha = static_cast<T>(f.alpha);
  switch (f.op) {
    case unary_op::abs:
      if constexpr (std::is_unsigned_v<T>) return x;
      return x < 0 ? static_cast<T>(T{0} - x) : x;
    case unary_op::negative:
      return static_cast<T>(T{0} - x);
    case unary_op::sign:
      return x != x ? x : static_cast<T>((x > 0) - (x < 0));
    case unary_op::relu:
      return x < 0 ? T{0} : x;
    default:
      break;
  }
  if constexpr (std::is_floating_point_v<T>) {
    const auto beta = static_cast<T>(f.beta);
    switch (f.op) {
      case unary_op::exp:
        return std::exp(x);
      case unary_op::log:
        return std::log(x);
      case unary_op::sqrt:
        return std::sqrt(x);
      case unary_op::reciprocal:
        return 1 / x;
      case unary_op::floor:
        return std::floor(x);
      case unary_op::ceil:
        return std::ceil(x);
      case unary_op::round:
        return std::nearbyint(x);
      case unary_op::erf:
        return std::erf(x);
      case unary_op::tanh:
        return std::tanh(x);
      case unary_op::sigmoid:
        return 1 / (1 + std::exp(-x));
      case unary_op::softplus:
        return std::max(x, T{0}) + std::log1p(std::exp(-std::abs(x)));
      case unary_op::softsign:
        return x / (1 + std::abs(x));
      case unary_op::leaky_relu:
        return x < 0 ? alpha * x : x;
      case unary_op::elu:
        return x < 0 ? alpha * std::expm1(x) : x;
      case unary_op::celu:
        return x < 0 ? alpha * std::expm1(x / alpha) : x;
      case unary_op::selu:
        return beta * (x < 0 ? alpha * std::expm1(x) : x);
      case unary_op::thresholded_relu:
        return x <= alpha ? T{0} : x;
      case unary_op::gelu:
        return x / 2 * (1 + std::erf(x * std::sqrt(T{0.5})));
      case unary_op::gelu_tanh:
        return x / 2 * (1 + std::tanh(T{0.7978845608028654} * (x + T{0.044715} * x * x * x)));
      case unary_op::hard_sigmoid:
        return std::clamp(alpha * x + beta, T{0}, T{1});
      case unary_op::hard_swish:
        return x * std::clamp(alpha * x + beta, T{0}, T{1});
      case unary_op::swish:
        return x / (1 + std::exp(-alpha * x));
      case unary_op::mish:
        return x * std::tanh(std::log1p(std::exp(x)));
      case unary_op::sin:
        return std::sin(x);
      case unary_op::cos:
        return std::cos(x);
      case unary_op::tan:
        return std::tan(x);
      case unary_op::asin:
        return std::asin(x);
      case unary_op::acos:
        return std::acos(x);
      case unary_op::atan:
        return std::atan(x);
      case unary_op::sinh:
        return std::sinh(x);
      case unary_op::cosh:
        return std::cosh(x);
      case unary_op::asinh:
        return std::asinh(x);
      case unary_op::acosh:
        return std::acosh(x);
      case unary_op::atanh:
        return std::atanh(x);
      default:
        break;
    }
  }
  return x;
}

bool has_integer_form(unary_op op) {
  return op == unary_op::abs || op == unary_op::negative || op == unary_op::sign ||
         op == unary_op::relu;
}

template <typename T>
class plain_unary_kernel final : public kernel {
 public:
  explicit plain_unary_kernel(activation f) : f_(f) {}

  bool may_overwrite(std::size_t) const override { return true; }

  void run(const run_context& c) const override {
    const T* const x = c.inputs[0].as<const T>();
    T* const y = c.outputs[0].as<T>();
    c.pool.parallel_for(c.outputs[0].count, cpu::element_grain,
                        [&](std::size_t begin, std::size_t end) {
                          for (std::size_t i = begin; i < end; ++i) y[i] = apply(f_, x[i]);
                        });
  }

 private:
  activation f_;
};

std::unique_ptr<kernel> make_unary(const compile_context& c, activation f) {
  switch (c.input_type(0)) {
    case element_type::float32:
      return std::make_unique<unary_kernel>(c, f);
    case element_type::float64:
      return std::make_unique<plain_unary_kernel<double>>(f);
    default:
      break;
  }
  if (has_integer_form(f.op)) {
    switch (c.input_type(0)) {
      case element_type::int8:
        return std::make_unique<plain_unary_kernel<std::int8_t>>(f);
      case element_type::int16:
        return std::make_unique<plain_unary_kernel<std::int16_t>>(f);
      case element_type::int32:
        return std::make_unique<plain_unary_kernel<std::int32_t>>(f);
      case element_type::int64:
        return std::make_unique<plain_unary_kernel<std::int64_t>>(f);
      case element_type::uint8:
        return std::make_unique<plain_unary_kernel<std::uint8_t>>(f);
      case element_type::uint16:
        return std::make_unique<plain_unary_kernel<std::uint16_t>>(f);
      case element_type::uint32:
        return std::make_unique<plain_unary_kernel<std::uint32_t>>(f);
      case element_type::uint64:
        return std::make_unique<plain_unary_kernel<std::uint64_t>>(f);
      default:
        break;
    }
  }
  c.unsupported("has no kernel for " + std::string(to_string(c.input_type(0))));
}

template <unary_op Op>
std::unique_ptr<kernel> compile_unary(const compile_context& c) {
  return make_unary(c, {Op});
}

std::unique_ptr<kernel> compile_leaky_relu(const compile_context& c) {
  return make_unary(c, {unary_op::leaky_relu, c.n.attributes.get_float("alpha", 0.01F)});
}
std::unique_ptr<kernel> compile_elu(const compile_context& c) {
  return make_unary(c, {unary_op::elu, c.n.attributes.get_float("alpha", 1.0F)});
}
std::unique_ptr<kernel> compile_celu(const compile_context& c) {
  return make_unary(c, {unary_op::celu, c.n.attributes.get_float("alpha", 1.0F)});
}
std::unique_ptr<kernel> compile_selu(const compile_context& c) {
  return make_unary(c,
                    {unary_op::selu, c.n.attributes.get_float("alpha", 1.67326319217681884765625F),
                     c.n.attributes.get_float("gamma", 1.05070102214813232421875F)});
}
std::unique_ptr<kernel> compile_thresholded_relu(const compile_context& c) {
  return make_unary(c, {unary_op::thresholded_relu, c.n.attributes.get_float("alpha", 1.0F)});
}
std::unique_ptr<kernel> compile_gelu(const compile_context& c) {
  const std::string approximate = c.n.attributes.get_string("approximate", "none");
  if (approximate != "none" && approximate != "tanh") {
    c.invalid("attribute 'approximate' must be none or tanh, not '" + approximate + "'");
  }
  return make_unary(c, {approximate == "none" ? unary_op::gelu : unary_op::gelu_tanh});
}
std::unique_ptr<kernel> compile_hard_sigmoid(const compile_context& c) {
  return make_unary(c, {unary_op::hard_sigmoid, c.n.attributes.get_float("alpha", 0.2F),
                        c.n.attributes.get_float("beta", 0.5F)});
}
std::unique_ptr<kernel> compile_hard_swish(const compile_context& c) {
  return make_unary(c, {unary_op::hard_swish, 1.0F / 6.0F, 0.5F});
}
std::unique_ptr<kernel> compile_swish(const compile_context& c) {
  return make_unary(c, {unary_op::swish, c.n.attributes.get_float("alpha", 1.0F)});
}

// Bounds are attributes until opset 11, then optional inputs.
template <typename T>
class clip_kernel final : public kernel {
 public:
  explicit clip_kernel(const compile_context& c) : kernels_(best_kernels()) {
    if (c.n.opset < 11) {
      if (c.n.attributes.has("min")) low_ = static_cast<T>(c.n.attributes.get_float("min", 0));
      if (c.n.attributes.has("max")) high_ = static_cast<T>(c.n.attributes.get_float("max", 0));
    }
    inputs_ = c.n.operator_inputs();
    post_ops_ = c.n.post_ops;
  }

  bool may_overwrite(std::size_t input) const override { return input == 0; }

  void run(const run_context& c) const override {
    const T low = bound(c, 1, low_);
    const T high = bound(c, 2, high_);
    const T* const x = c.inputs[0].as<const T>();
    T* const y = c.outputs[0].as<T>();
    const auto each = [&](auto f) {
      c.pool.parallel_for(c.outputs[0].count, cpu::element_grain, f);
    };
    if constexpr (std::is_same_v<T, float>) {
      const post_op_run steps(kernels_, post_ops_, c);
      each([&](std::size_t begin, std::size_t end) {
        kernels_.unary({unary_op::clip, low, high}, x + begin, y + begin, end - begin);
        steps.apply(y + begin, begin, end - begin);
      });
    } else {
      // As in ONNX (min(max(x, low), high)) also where low > high.
      each([&](std::size_t begin, std::size_t end) {
        for (std::size_t i = begin; i < end; ++i) y[i] = std::min(high, std::max(low, x[i]));
      });
    }
  }

 private:
  T bound(const run_context& c, std::size_t i, T otherwise) const {
    return i < inputs_ && c.inputs[i].present() ? *c.inputs[i].as<const T>() : otherwise;
  }

  using limits = std::numeric_limits<T>;
  const cpu::kernel_table& kernels_;
  T low_ = limits::has_infinity ? -limits::infinity() : limits::lowest();
  T high_ = limits::has_infinity ? limits::infinity() : limits::max();
  std::size_t inputs_ = 1;
  std::vector<post_op> post_ops_;
};

std::unique_ptr<kernel> compile_clip(const compile_context& c) {
  switch (c.input_type(0)) {
    case element_type::float64:
      return std::make_unique<clip_kernel<double>>(c);
    case element_type::int8:
      return std::make_unique<clip_kernel<std::int8_t>>(c);
    case element_type::int16:
      return std::make_unique<clip_kernel<std::int16_t>>(c);
    case element_type::int32:
      return std::make_unique<clip_kernel<std::int32_t>>(c);
    case element_type::int64:
      return std::make_unique<clip_kernel<std::int64_t>>(c);
    case element_type::uint8:
      return std::make_unique<clip_kernel<std::uint8_t>>(c);
    case element_type::uint16:
      return std::make_unique<clip_kernel<std::uint16_t>>(c);
    case element_type::uint32:
      return std::make_unique<clip_kernel<std::uint32_t>>(c);
    case element_type::uint64:
      return std::make_unique<clip_kernel<std::uint64_t>>(c);
    default:
      only_float32(c);
      return std::make_unique<clip_kernel<float>>(c);
  }
}

}  // namespace

void register_unary_ops(op_registry& registry) {
  const struct {
    std::string_view name;
    compile_function compile;
  } operators[] = {
      {"Abs", compile_unary<unary_op::abs>},
      {"Acos", compile_unary<unary_op::acos>},
      {"Acosh", compile_unary<unary_op::acosh>},
      {"Asin", compile_unary<unary_op::asin>},
      {"Asinh", compile_unary<unary_op::asinh>},
      {"Atan", compile_unary<unary_op::atan>},
      {"Atanh", compile_unary<unary_op::atanh>},
      {"Ceil", compile_unary<unary_op::ceil>},
      {"Celu", compile_celu},
      {"Clip", compile_clip},
      {"Cos", compile_unary<unary_op::cos>},
      {"Cosh", compile_unary<unary_op::cosh>},
      {"Elu", compile_elu},
      {"Erf", compile_unary<unary_op::erf>},
      {"Exp", compile_unary<unary_op::exp>},
      {"Floor", compile_unary<unary_op::floor>},
      {"Gelu", compile_gelu},
      {"HardSigmoid", compile_hard_sigmoid},
      {"HardSwish", compile_hard_swish},
      {"LeakyRelu", compile_leaky_relu},
      {"Log", compile_unary<unary_op::log>},
      {"Mish", compile_unary<unary_op::mish>},
      {"Neg", compile_unary<unary_op::negative>},
      {"Reciprocal", compile_unary<unary_op::reciprocal>},
      {"Relu", compile_unary<unary_op::relu>},
      {"Round", compile_unary<unary_op::round>},
      {"Selu", compile_selu},
      {"Sigmoid", compile_unary<unary_op::sigmoid>},
      {"Sign", compile_unary<unary_op::sign>},
      {"Sin", compile_unary<unary_op::sin>},
      {"Sinh", compile_unary<unary_op::sinh>},
      {"Softplus", compile_unary<unary_op::softplus>},
      {"Softsign", compile_unary<unary_op::softsign>},
      {"Sqrt", compile_unary<unary_op::sqrt>},
      {"Swish", compile_swish},
      {"Tan", compile_unary<unary_op::tan>},
      {"Tanh", compile_unary<unary_op::tanh>},
      {"ThresholdedRelu", compile_thresholded_relu},
  };
  for (const auto& o : operators) registry.add(o.name, {o.compile, accepts_any_post_op});
}

}  // namespace mizzen::inference::detail
