// Conv and ConvTranspose over channels that lie last. The weights are constant: the pass that makes
// these nodes sees to it.
#include "inference/cpu/kernels/conv_channels_last.hpp"

#include "inference/cpu/ops/numeric_ops.hpp"
#include "inference/cpu/ops/post_ops.hpp"
#include "inference/cpu/ops/window_attributes.hpp"
#include "inference/graph/channels_last.hpp"

#include <algorithm>
#include <optional>
#include <utility>

namespace mizzen::inference::detail {
namespace {

std::shared_ptr<const tensor> weights_of(const compile_context& c) {
  auto weights = c.constant(1);
  if (!weights || weights->rank() < 3) c.unsupported("needs constant weights of 3 to 5 dimensions");
  return weights;
}

class conv_kernel final : public kernel {
 public:
  explicit conv_kernel(const compile_context& c)
      : kernels_(best_kernels()),
        attributes_(c, weights_of(c)->rank() - 2, 3),
        planes_(has_planes(c.n)),
        has_bias_(c.n.operator_inputs() > 2 && c.has_input(2)),
        post_ops_(c.n.post_ops) {
    const auto weights = weights_of(c);
    const auto& w = weights->shape();
    base_.groups = static_cast<std::size_t>(c.n.attributes.get_int("group", 1));
    base_.out_channels = static_cast<std::size_t>(w[0]);
    base_.in_channels = static_cast<std::size_t>(w[1]) * base_.groups;
    kernel_.assign(w.begin() + 2, w.end());
    cpu::channels_last_shape known = base_;
    known.window = window_over(known_or_none(c.input(0)), known_or_none(c.output(0)));
    const auto method = planes_ ? cpu::conv_method::planes : cpu::conv_method_for(known);
    weights_.emplace(kernels_, known, method, weights->data<float>().data());
  }

  bool reads_input(std::size_t input) const override { return input != 1; }

  std::size_t scratch_bytes(const shape_context& c) const override {
    return cpu::conv_channels_last_scratch(kernels_, shape_of(c.inputs, c.outputs),
                                           weights_->method(), c.threads) *
           sizeof(float);
  }

  void run(const run_context& c) const override {
    const value_view& y = c.outputs[0];
    if (y.count == 0) return;
    post_op_run steps(kernels_, post_ops_, c);
    cpu::channels_last_epilogue epilogue;
    if (has_bias_) epilogue.bias = c.inputs[2].as<const float>();
    epilogue.residual = steps.take_full_add();
    epilogue.last = steps.take_tile_activation();
    if (!steps.empty()) {
      epilogue.context = &steps;
      epilogue.finish = [](const void* context, std::size_t at, float* run, std::size_t n) {
        static_cast<const post_op_run*>(context)->apply(run, at, n);
      };
    }
    cpu::conv_channels_last(kernels_, c.pool, shape_of(c.inputs, c.outputs), *weights_,
                            c.inputs[0].as<const float>(), y.as<float>(), epilogue,
                            reinterpret_cast<float*>(c.scratch.data()));
  }

 private:
  // Dimensions of a value, 0 where they are not known yet.
  dims known_or_none(const value& v) const {
    dims d = v.shape.value_or(dims(kernel_.size() + 2, 0));
    std::replace_if(d.begin(), d.end(), [](std::int64_t i) { return i < 0; }, 0);
    return d;
  }

  cpu::channels_last_shape shape_of(std::span<const value_view> inputs,
                                    std::span<const value_view> outputs) const {
    cpu::channels_last_shape shape = base_;
    shape.batch = static_cast<std::size_t>(inputs[0].shape[0]);
    shape.window = window_over(inputs[0].shape, outputs[0].shape);
    return shape;
  }
  cpu::window_3d window_over(std::span<const std::int64_t> x,
                             std::span<const std::int64_t> y) const {
    // Before the sizes of planes stands the number of channels.
    return attributes_.over_channels_last(x.subspan(planes_ ? 1 : 0), y, kernel_);
  }

  const cpu::kernel_table& kernels_;
  window_attributes attributes_;
  bool planes_;
  bool has_bias_;
  std::vector<post_op> post_ops_;
  cpu::channels_last_shape base_;
  dims kernel_;
  std::optional<cpu::channels_last_weights> weights_;
};

class conv_transpose_kernel final : public kernel {
 public:
  explicit conv_transpose_kernel(const compile_context& c)
      : kernels_(best_kernels()),
        has_bias_(c.n.operator_inputs() > 2 && c.has_input(2)),
        post_ops_(c.n.post_ops) {
    const auto weights = weights_of(c);
    const auto& w = weights->shape();
    const std::size_t spatial = w.size() - 2;
    if (spatial > 3) c.unsupported("has kernels for one to 3 spatial dimensions");
    const attribute_map& a = c.n.attributes;
    const auto strides = a.get_ints("strides", dims(spatial, 1));
    const auto dilations = a.get_ints("dilations", dims(spatial, 1));
    const auto pads = a.get_ints("pads", dims(2 * spatial, 0));
    const bool fits =
        strides.size() == spatial && dilations.size() == spatial && pads.size() == 2 * spatial;
    if (!fits) c.invalid("strides, dilations and pads do not fit the rank of its weights");
    if (!pads_are_given(c.n) || a.get_int("group", 1) != 1)
      c.unsupported("needs given pads and one group");
    base_.out_channels = static_cast<std::size_t>(w[0]);
    base_.in_channels = static_cast<std::size_t>(w[1]);
    for (std::size_t i = 0; i < spatial; ++i) {
      cpu::window_axis& axis = base_.window.axes[3 - spatial + i];
      axis.kernel = static_cast<std::size_t>(w[i + 2]);
      axis.stride = static_cast<std::size_t>(strides[i]);
      axis.dilation = static_cast<std::size_t>(dilations[i]);
      axis.pad_begin = static_cast<std::size_t>(pads[i]);
      axis.pad_end = static_cast<std::size_t>(pads[i + spatial]);
    }
    weights_.emplace(kernels_, base_, weights->data<float>().data());
  }

  bool reads_input(std::size_t input) const override { return input != 1; }

  void run(const run_context& c) const override {
    const value_view& x = c.inputs[0];
    const value_view& y = c.outputs[0];
    if (y.count == 0) return;
    cpu::channels_last_shape shape = base_;
    shape.batch = static_cast<std::size_t>(x.shape[0]);
    const std::size_t spatial = x.shape.size() - 2;
    for (std::size_t i = 0; i < spatial; ++i) {
      cpu::window_axis& axis = shape.window.axes[3 - spatial + i];
      axis.in = static_cast<std::size_t>(y.shape[i + 1]);
      axis.out = static_cast<std::size_t>(x.shape[i + 1]);
    }
    cpu::conv_transpose_channels_last(kernels_, c.pool, shape, *weights_, x.as<const float>(),
                                      has_bias_ ? c.inputs[2].as<const float>() : nullptr,
                                      y.as<float>());
    apply_post_ops(kernels_, post_ops_, c);
  }

 private:
  const cpu::kernel_table& kernels_;
  bool has_bias_;
  std::vector<post_op> post_ops_;
  // The convolution that this one transposes: from y to x.
  cpu::channels_last_shape base_;
  std::optional<cpu::conv_transpose_weights> weights_;
};

template <class Kernel>
std::unique_ptr<kernel> compile(const compile_context& c) {
  only_float32(c);
  return std::make_unique<Kernel>(c);
}

}  // namespace

void register_conv_channels_last_ops(op_registry& registry) {
  registry.add("Conv", {compile<conv_kernel>}, 1, any_opset, channels_last_domain);
  registry.add("ConvTranspose", {compile<conv_transpose_kernel>}, 1, any_opset,
               channels_last_domain);
}

}  // namespace mizzen::inference::detail
