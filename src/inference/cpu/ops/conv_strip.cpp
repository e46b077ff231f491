// mizzen.ConvStrip: convolutions after each other, a line at a time.
#include "inference/cpu/kernels/conv_channels_last.hpp"
#include "inference/cpu/ops/numeric_ops.hpp"
#include "inference/cpu/ops/post_ops.hpp"
#include "inference/cpu/ops/window_attributes.hpp"
#include "inference/graph/strip.hpp"

#include <array>
#include <optional>
#include <span>

namespace mizzen::inference::detail {
namespace {

// One of the convolutions: what is known before the sizes are.
struct stage {
  stage(const compile_context& c, std::size_t input, cpu::conv_method method,
        std::vector<post_op> after)
      : bias(input + 1), steps(std::move(after)) {
    const auto given = c.constant(input);
    if (!given || given->rank() != 4) c.unsupported("needs constant weights of 4 dimensions");
    const shape_type& w = given->shape();
    kernel.assign(w.begin() + 2, w.end());
    shape.out_channels = static_cast<std::size_t>(w[0]);
    shape.in_channels = static_cast<std::size_t>(w[1]);
    if (method == cpu::conv_method::depthwise) {
      shape.in_channels = shape.groups = shape.out_channels;
    }
    for (std::size_t i = 0; i < kernel.size(); ++i) {
      shape.window.axes[i + 1].kernel = static_cast<std::size_t>(kernel[i]);
    }
    weights.emplace(best_kernels(), shape, method, given->data<float>().data());
  }

  cpu::conv_part part(std::size_t batch, const cpu::window_3d& window) const {
    cpu::conv_part p{shape, &*weights, {}};
    p.shape.batch = batch;
    p.shape.window = window;
    return p;
  }

  std::size_t bias;  // the input
  std::vector<post_op> steps;
  dims kernel;
  cpu::channels_last_shape shape;
  std::optional<cpu::channels_last_weights> weights;
};

class strip_kernel final : public kernel {
 public:
  explicit strip_kernel(const compile_context& c)
      : window_(c, 2),
        depthwise_(c, strip_input::weights, cpu::conv_method::depthwise,
                   to_steps(c.n.attributes.get_floats("steps"))) {
    if (c.has_input(strip_input::head_weights)) {
      planes_ = c.n.attributes.get_int("head.planes", 0) == 1;
      head_window_.emplace(c, 2, 2, "head.");
      head_.emplace(c, strip_input::head_weights,
                    planes_ ? cpu::conv_method::planes : cpu::conv_method::direct,
                    to_steps(c.n.attributes.get_floats("head.steps")));
    }
    if (c.n.operator_inputs() > strip_input::tail_weights &&
        c.has_input(strip_input::tail_weights)) {
      tail_.emplace(c, strip_input::tail_weights, cpu::conv_method::direct, std::vector<post_op>{});
    }
    (tail_ ? tail_->steps : depthwise_.steps) = c.n.post_ops;
  }

  bool reads_input(std::size_t input) const override {
    return input != strip_input::head_weights && input != strip_input::weights &&
           input != strip_input::tail_weights;
  }

  std::size_t scratch_bytes(const shape_context& c) const override {
    return cpu::conv_strip_scratch(kernels_, parts_of(c.inputs[0].shape), c.threads) *
           sizeof(float);
  }

  void run(const run_context& c) const override {
    const value_view& y = c.outputs[0];
    if (y.count == 0) return;
    cpu::conv_strip_parts parts = parts_of(c.inputs[0].shape);
    std::array<std::optional<post_op_run>, 3> steps;
    const auto bind = [&](const stage& s, cpu::conv_part& part, std::optional<post_op_run>& left) {
      left.emplace(kernels_, s.steps, c);
      cpu::channels_last_epilogue& e = part.epilogue;
      if (s.bias < c.inputs.size() && c.inputs[s.bias].present()) {
        e.bias = c.inputs[s.bias].as<const float>();
      }
      e.residual = left->take_full_add();
      e.last = left->take_tile_activation();
      if (left->empty()) return;
      e.context = &*left;
      e.finish = [](const void* context, std::size_t at, float* run, std::size_t n) {
        static_cast<const post_op_run*>(context)->apply(run, at, n);
      };
    };
    if (head_) bind(*head_, *parts.head, steps[0]);
    bind(depthwise_, parts.depthwise, steps[1]);
    if (tail_) bind(*tail_, *parts.tail, steps[2]);
    cpu::conv_strip(kernels_, c.pool, parts, c.inputs[0].as<const float>(), y.as<float>(),
                    reinterpret_cast<float*>(c.scratch.data()));
  }

 private:
  // The parts without what is done to their sums.
  cpu::conv_strip_parts parts_of(std::span<const std::int64_t> x) const {
    const auto batch = static_cast<std::size_t>(x[0]);
    cpu::conv_strip_parts parts;
    std::array<std::int64_t, 4> in{x[0], x[planes_ ? 2 : 1], x[planes_ ? 3 : 2], 0};
    std::array<std::int64_t, 4> out = in;
    if (head_) {
      for (std::size_t i = 0; i < 2; ++i) {
        out[i + 1] = head_window_->output(i, in[i + 1], head_->kernel);
      }
      parts.head = head_->part(batch, head_window_->over_channels_last(in, out, head_->kernel));
      in = out;
    }
    for (std::size_t i = 0; i < 2; ++i) {
      out[i + 1] = window_.output(i, in[i + 1], depthwise_.kernel);
    }
    parts.depthwise =
        depthwise_.part(batch, window_.over_channels_last(in, out, depthwise_.kernel));
    if (tail_) {
      // A line at a time.
      cpu::window_3d line;
      line.axes[2].in = line.axes[2].out = static_cast<std::size_t>(out[2]);
      parts.tail = tail_->part(1, line);
    }
    return parts;
  }

  const cpu::kernel_table& kernels_ = best_kernels();
  window_attributes window_;
  stage depthwise_;
  bool planes_ = false;
  std::optional<window_attributes> head_window_;
  std::optional<stage> head_, tail_;
};

std::unique_ptr<kernel> compile(const compile_context& c) {
  only_float32(c);
  return std::make_unique<strip_kernel>(c);
}

}  // namespace

void register_conv_strip_ops(op_registry& registry) {
  registry.add("ConvStrip", {compile}, 1, any_opset, mizzen_domain);
}

}  // namespace mizzen::inference::detail
