// Conv with weights that only a run knows, or without passes: assign_layout.cpp rewrites the rest.
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
        post_ops_(c.n.post_ops) {}

  std::size_t scratch_bytes(const shape_context& c) const override {
    return cpu::conv_scratch(kernels_, c.threads) * sizeof(float);
  }

  void run(const run_context& c) const override {
    const value_view& y = c.outputs[0];
    if (y.count == 0) return;
    cpu::conv(kernels_, c.pool, shape_of(c.inputs, c.outputs), c.inputs[1].as<const float>(),
              has_bias_ ? c.inputs[2].as<const float>() : nullptr, c.inputs[0].as<const float>(),
              y.as<float>(), reinterpret_cast<float*>(c.scratch.data()));
    apply_post_ops(kernels_, post_ops_, c);
  }

 private:
  cpu::conv_shape shape_of(std::span<const value_view> inputs,
                           std::span<const value_view> outputs) const {
    const auto weights = inputs[1].shape;
    cpu::conv_shape shape;
    shape.groups = groups_;
    shape.out_channels = static_cast<std::size_t>(weights[0]);
    shape.in_channels = static_cast<std::size_t>(weights[1]) * groups_;
    shape.batch = static_cast<std::size_t>(inputs[0].shape[0]);
    shape.window = attributes_.over(inputs[0].shape, outputs[0].shape, weights.subspan(2));
    return shape;
  }

  const cpu::kernel_table& kernels_;
  window_attributes attributes_;
  std::size_t groups_;
  bool has_bias_;
  std::vector<post_op> post_ops_;
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
