// ConvTranspose.
#include "inference/cpu/kernels/conv_transpose.hpp"

#include "inference/cpu/ops/numeric_ops.hpp"
#include "inference/cpu/ops/post_ops.hpp"

#include <vector>

namespace mizzen::inference::detail {
namespace {

class conv_transpose_kernel final : public kernel {
 public:
  explicit conv_transpose_kernel(const compile_context& c)
      : kernels_(best_kernels()),
        groups_(static_cast<std::size_t>(c.n.attributes.get_int("group", 1))),
        has_bias_(c.n.operator_inputs() > 2 && c.has_input(2)),
        post_ops_(c.n.post_ops) {
    const auto& shape = c.input(1).shape;
    if (!shape || (shape->size() != 3 && shape->size() != 4)) {
      c.unsupported("has kernels for weights of rank 3 and 4");
    }
    spatial_ = shape->size() - 2;
    const attribute_map& a = c.n.attributes;
    strides_ = a.get_ints("strides", std::vector<std::int64_t>(spatial_, 1));
    dilations_ = a.get_ints("dilations", std::vector<std::int64_t>(spatial_, 1));
    pads_ = a.get_ints("pads", std::vector<std::int64_t>(2 * spatial_, 0));
    extra_ = a.get_ints("output_padding", std::vector<std::int64_t>(spatial_, 0));
    const std::string automatic = a.get_string("auto_pad", "NOTSET");
    pads_given_ = automatic == "NOTSET" && !a.has("output_shape");
    // What is left over of pads made to fit goes behind the output, with SAME_LOWER before it.
    lower_ = automatic == "SAME_LOWER";
    if (strides_.size() != spatial_ || dilations_.size() != spatial_ ||
        pads_.size() != 2 * spatial_ || extra_.size() != spatial_) {
      c.invalid("strides, dilations, pads and output_padding do not fit the rank of its weights");
    }
  }

  std::size_t scratch_bytes(const shape_context& c) const override {
    return cpu::conv_transpose_scratch(kernels_, shape_of(c.inputs, c.outputs), c.threads) *
           sizeof(float);
  }

  void run(const run_context& c) const override {
    const value_view& y = c.outputs[0];
    if (y.count == 0) return;
    cpu::conv_transpose(kernels_, c.pool, shape_of(c.inputs, c.outputs),
                        c.inputs[1].as<const float>(), c.inputs[0].as<const float>(),
                        has_bias_ ? c.inputs[2].as<const float>() : nullptr, y.as<float>(),
                        reinterpret_cast<float*>(c.scratch.data()));
    apply_post_ops(kernels_, post_ops_, c);
  }

 private:
  // The convolution that this one transposes: from y to x.
  cpu::conv_shape shape_of(std::span<const value_view> inputs,
                           std::span<const value_view> outputs) const {
    const auto x = inputs[0].shape;
    const auto weights = inputs[1].shape;
    const auto y = outputs[0].shape;
    cpu::conv_shape s;
    s.batch = static_cast<std::size_t>(x[0]);
    s.groups = groups_;
    s.in_channels = static_cast<std::size_t>(x[1]);
    s.out_channels = static_cast<std::size_t>(y[1]);
    const auto axis = [&](std::size_t i) {
      cpu::window_axis a;
      a.in = static_cast<std::size_t>(y[i + 2]);
      a.out = static_cast<std::size_t>(x[i + 2]);
      a.kernel = static_cast<std::size_t>(weights[i + 2]);
      a.stride = static_cast<std::size_t>(strides_[i]);
      a.dilation = static_cast<std::size_t>(dilations_[i]);
      if (pads_given_) {
        a.pad_begin = static_cast<std::size_t>(pads_[i]);
        a.pad_end = static_cast<std::size_t>(pads_[i + spatial_]);
      } else if (a.out != 0) {
        const std::size_t full = (a.out - 1) * a.stride + (a.kernel - 1) * a.dilation + 1 +
                                 static_cast<std::size_t>(extra_[i]);
        const std::size_t total = full > a.in ? full - a.in : 0;
        a.pad_begin = lower_ ? total - total / 2 : total / 2;
        a.pad_end = total - a.pad_begin;
      }
      return a;
    };
    if (spatial_ == 1) {
      s.window = {cpu::window_axis{}, axis(0)};
    } else {
      s.window = {axis(0), axis(1)};
    }
    return s;
  }

  const cpu::kernel_table& kernels_;
  std::size_t groups_;
  bool has_bias_;
  std::vector<post_op> post_ops_;
  std::size_t spatial_ = 0;
  std::vector<std::int64_t> strides_, dilations_, pads_, extra_;
  bool pads_given_ = true;
  bool lower_ = false;
};

std::unique_ptr<kernel> compile(const compile_context& c) {
  only_float32(c);
  return std::make_unique<conv_transpose_kernel>(c);
}

}  // namespace

void register_conv_transpose_ops(op_registry& registry) {
  registry.add("ConvTranspose", {compile, accepts_any_post_op});
}

}  // namespace mizzen::inference::detail
