// Softmax, LogSoftmax, LayerNormalization, RMSNormalization, BatchNormalization and
// InstanceNormalization.
#include "inference/cpu/kernels/norm.hpp"
#include "inference/cpu/ops/numeric_ops.hpp"
#include "inference/cpu/ops/post_ops.hpp"

#include <cmath>
#include <vector>

namespace mizzen::inference::detail {
namespace {

class softmax_kernel final : public kernel {
 public:
  softmax_kernel(const compile_context& c, bool logarithm)
      : kernels_(best_kernels()),
        logarithm_(logarithm),
        flattens_(c.n.opset < 13),
        axis_(c.n.attributes.get_int("axis", flattens_ ? 1 : -1)) {}

  bool may_overwrite(std::size_t) const override { return true; }

  void run(const run_context& c) const override {
    const value_view& x = c.inputs[0];
    const std::size_t rank = x.shape.size();
    if (x.count == 0) return;
    std::size_t outer = 1;
    std::size_t n = x.count;
    std::size_t inner = 1;
    if (rank != 0) {
      // Until opset 13 all dimensions from the axis on are one.
      const std::size_t axis =
          flattens_ && axis_ == static_cast<std::int64_t>(rank) ? rank : checked_axis(axis_, rank);
      outer = product(x.shape, 0, axis);
      n = flattens_ ? product(x.shape, axis, rank) : static_cast<std::size_t>(x.shape[axis]);
      inner = flattens_ ? 1 : product(x.shape, axis + 1, rank);
    }
    cpu::softmax(kernels_, c.pool, x.as<const float>(), c.outputs[0].as<float>(), outer, n, inner,
                 logarithm_);
  }

 private:
  const cpu::kernel_table& kernels_;
  bool logarithm_;
  bool flattens_;
  std::int64_t axis_;
};

class layer_norm_kernel final : public kernel {
 public:
  layer_norm_kernel(const compile_context& c, bool centre)
      : kernels_(best_kernels()),
        axis_(c.n.attributes.get_int("axis", -1)),
        epsilon_(c.n.attributes.get_float("epsilon", 1e-5F)),
        centre_(centre) {}

  bool may_overwrite(std::size_t input) const override { return input == 0; }

  void run(const run_context& c) const override {
    const value_view& x = c.inputs[0];
    if (x.count == 0) return;
    const std::size_t axis = checked_axis(axis_, x.shape.size());
    const std::size_t rows = product(x.shape, 0, axis);
    const std::size_t n = x.count / rows;
    cpu::layer_norm_options o;
    o.gamma = parameter(c, 1, n, "scale");
    o.beta = parameter(c, 2, n, "bias");
    o.epsilon = epsilon_;
    o.centre = centre_;
    if (c.outputs.size() > 1) o.mean = c.outputs[1].as<float>();
    if (c.outputs.size() > 2) o.inverse_deviation = c.outputs[2].as<float>();
    cpu::layer_norm(kernels_, c.pool, x.as<const float>(), c.outputs[0].as<float>(), rows, n, o);
  }

 private:
  static const float* parameter(const run_context& c, std::size_t i, std::size_t n,
                                std::string_view name) {
    if (i >= c.inputs.size() || !c.inputs[i].present()) return nullptr;
    if (c.inputs[i].count != n) {
      throw error(errc::unimplemented, name,
                  "must have the shape of the normalised dimensions; other broadcasts are not "
                  "supported");
    }
    return c.inputs[i].as<const float>();
  }

  const cpu::kernel_table& kernels_;
  std::int64_t axis_;
  float epsilon_;
  bool centre_;
};

// y = x * scale + shift per channel, the two made of the statistics; at compile time when those are
// constant, as they are in every trained model.
class batch_norm_kernel final : public kernel {
 public:
  explicit batch_norm_kernel(const compile_context& c)
      : kernels_(best_kernels()), epsilon_(c.n.attributes.get_float("epsilon", 1e-5F)) {
    if (c.n.attributes.get_int("training_mode", 0) != 0 || c.has_output(1)) {
      c.unsupported("is for inference only, without training_mode");
    }
    if (c.constant(1) && c.constant(2) && c.constant(3) && c.constant(4)) {
      const std::size_t n = c.constant(1)->size();
      scale_.resize(n);
      shift_.resize(n);
      combine(c.constant(1)->data<float>().data(), c.constant(2)->data<float>().data(),
              c.constant(3)->data<float>().data(), c.constant(4)->data<float>().data(), n,
              scale_.data(), shift_.data());
    }
  }

  std::size_t scratch_bytes(const shape_context& c) const override {
    return scale_.empty() ? 2 * product(c.inputs[1].shape, 0, 1) * sizeof(float) : 0;
  }
  bool may_overwrite(std::size_t input) const override { return input == 0; }
  bool reads_input(std::size_t input) const override { return input == 0 || scale_.empty(); }

  void run(const run_context& c) const override {
    const value_view& x = c.inputs[0];
    if (x.count == 0) return;
    const std::size_t channels = c.inputs[1].count;
    const float* scale = scale_.data();
    const float* shift = shift_.data();
    if (scale_.empty()) {
      auto* const made = reinterpret_cast<float*>(c.scratch.data());
      combine(c.inputs[1].as<const float>(), c.inputs[2].as<const float>(),
              c.inputs[3].as<const float>(), c.inputs[4].as<const float>(), channels, made,
              made + channels);
      scale = made;
      shift = made + channels;
    }
    const auto batch = static_cast<std::size_t>(x.shape[0]);
    cpu::scale_channels(kernels_, c.pool, x.as<const float>(), c.outputs[0].as<float>(), batch,
                        channels, x.count / batch / channels, scale, shift);
  }

 private:
  void combine(const float* gamma, const float* beta, const float* mean, const float* variance,
               std::size_t n, float* scale, float* shift) const {
    for (std::size_t i = 0; i < n; ++i) {
      scale[i] = gamma[i] / std::sqrt(variance[i] + epsilon_);
      shift[i] = beta[i] - mean[i] * scale[i];
    }
  }

  const cpu::kernel_table& kernels_;
  float epsilon_;
  std::vector<float> scale_;
  std::vector<float> shift_;
};

class instance_norm_kernel final : public kernel {
 public:
  explicit instance_norm_kernel(const compile_context& c)
      : kernels_(best_kernels()),
        epsilon_(c.n.attributes.get_float("epsilon", 1e-5F)),
        post_ops_(c.n.post_ops) {}

  bool may_overwrite(std::size_t input) const override { return input == 0; }

  void run(const run_context& c) const override {
    const value_view& x = c.inputs[0];
    if (x.count == 0) return;
    const auto batch = static_cast<std::size_t>(x.shape[0]);
    const auto channels = static_cast<std::size_t>(x.shape[1]);
    cpu::instance_norm(kernels_, c.pool, x.as<const float>(), c.outputs[0].as<float>(), batch,
                       channels, x.count / batch / channels, c.inputs[1].as<const float>(),
                       c.inputs[2].as<const float>(), epsilon_);
    apply_post_ops(kernels_, post_ops_, c);
  }

 private:
  const cpu::kernel_table& kernels_;
  float epsilon_;
  std::vector<post_op> post_ops_;
};

template <bool Logarithm>
std::unique_ptr<kernel> compile_softmax(const compile_context& c) {
  only_float32(c);
  return std::make_unique<softmax_kernel>(c, Logarithm);
}

template <bool Centre>
std::unique_ptr<kernel> compile_layer_norm(const compile_context& c) {
  only_float32(c);
  return std::make_unique<layer_norm_kernel>(c, Centre);
}

template <class Kernel>
std::unique_ptr<kernel> compile(const compile_context& c) {
  only_float32(c);
  return std::make_unique<Kernel>(c);
}

}  // namespace

void register_normalisation_ops(op_registry& registry) {
  registry.add("Softmax", {compile_softmax<false>});
  registry.add("LogSoftmax", {compile_softmax<true>});
  registry.add("LayerNormalization", {compile_layer_norm<true>});
  registry.add("RMSNormalization", {compile_layer_norm<false>}, 23);
  registry.add("BatchNormalization", {compile<batch_norm_kernel>}, 7);
  registry.add("InstanceNormalization", {compile<instance_norm_kernel>, accepts_any_post_op});
}

}  // namespace mizzen::inference::detail
