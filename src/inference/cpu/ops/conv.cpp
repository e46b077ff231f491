// Conv.
#include "inference/cpu/kernels/conv.hpp"

#include "inference/cpu/ops/numeric_ops.hpp"
#include "inference/cpu/ops/post_ops.hpp"
#include "inference/cpu/ops/window_attributes.hpp"

namespace mizzen::inference::detail {
namespace {

std::size_t spatial_of(const compile_context& c) {
  for (const std::size_t i : {1U, 0U}) {
    if (const auto& shape = c.input(i).shape; shape && shape->size() >= 2) return shape->size() - 2;
  }
  c.unsupported("needs a known rank");
}

class conv_kernel final : public kernel {
 public:
  explicit conv_kernel(const compile_context& c)
      : kernels_(best_kernels()),
        attributes_(c, spatial_of(c)),
        groups_(static_cast<std::size_t>(c.n.attributes.get_int("group", 1))),
        has_bias_(c.n.operator_inputs() > 2 && c.has_input(2)),
        post_ops_(c.n.post_ops) {
    if (const auto weights = c.constant(1)) {
      weights_.emplace(kernels_, channels_of(weights->shape()), weights->data<float>().data());
    }
  }

  bool reads_input(std::size_t input) const override { return input != 1 || !weights_; }

  std::size_t scratch_bytes(const shape_context& c) const override {
    return cpu::conv_scratch(kernels_, shape_of(c.inputs, c.outputs), c.threads) * sizeof(float);
  }

  void run(const run_context& c) const override {
    const value_view& x = c.inputs[0];
    const value_view& y = c.outputs[0];
    if (y.count == 0) return;
    const cpu::conv_shape shape = shape_of(c.inputs, c.outputs);
    post_op_run steps(kernels_, post_ops_, c);
    const binding bound{shape, steps};
    cpu::conv_epilogue epilogue;
    if (has_bias_) epilogue.bias = c.inputs[2].as<const float>();
    epilogue.residual = steps.take_full_add();
    epilogue.clamp = steps.take_clamp(epilogue.low, epilogue.high);
    if (!steps.empty()) {
      epilogue.context = &bound;
      epilogue.finish = [](const void* context, std::size_t image, std::size_t channel,
                           std::size_t pixel, float* run, std::size_t n) {
        const auto& b = *static_cast<const binding*>(context);
        const std::size_t plane = image * b.shape.out_channels + channel;
        b.steps.apply(run, plane * b.shape.window.out_size() + pixel, n);
      };
    }
    const auto call = [&](const cpu::conv_weights& weights) {
      cpu::conv(kernels_, c.pool, shape, weights, x.as<const float>(), y.as<float>(), epilogue,
                reinterpret_cast<float*>(c.scratch.data()));
    };
    if (weights_) {
      call(*weights_);
    } else {
      call(cpu::conv_weights::view(c.inputs[1].as<const float>()));
    }
  }

 private:
  struct binding {
    const cpu::conv_shape& shape;
    const post_op_run& steps;
  };

  cpu::conv_shape shape_of(std::span<const value_view> inputs,
                           std::span<const value_view> outputs) const {
    cpu::conv_shape shape = channels_of(inputs[1].shape);
    shape.batch = static_cast<std::size_t>(inputs[0].shape[0]);
    shape.window = attributes_.over(inputs[0].shape, outputs[0].shape, inputs[1].shape.subspan(2));
    return shape;
  }

  // The channels, groups and kernel sizes that the shape of the weights tells.
  cpu::conv_shape channels_of(std::span<const std::int64_t> weights) const {
    cpu::conv_shape s;
    s.groups = groups_;
    s.out_channels = static_cast<std::size_t>(weights[0]);
    s.in_channels = static_cast<std::size_t>(weights[1]) * groups_;
    s.window.width.kernel = static_cast<std::size_t>(weights[weights.size() - 1]);
    if (weights.size() == 4) s.window.height.kernel = static_cast<std::size_t>(weights[2]);
    return s;
  }

  const cpu::kernel_table& kernels_;
  window_attributes attributes_;
  std::size_t groups_;
  bool has_bias_;
  std::vector<post_op> post_ops_;
  std::optional<cpu::conv_weights> weights_;
};

std::unique_ptr<kernel> compile_conv(const compile_context& c) {
  only_float32(c);
  return std::make_unique<conv_kernel>(c);
}

}  // namespace

void register_conv_ops(op_registry& registry) {
  registry.add("Conv", {compile_conv, accepts_any_post_op});
}

}  // namespace mizzen::inference::detail
