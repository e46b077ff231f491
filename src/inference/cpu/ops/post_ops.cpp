#include "inference/cpu/ops/post_ops.hpp"

#include <algorithm>
#include <limits>

namespace mizzen::inference::detail {
namespace {

bool is_binary(post_op_kind kind) { return kind == post_op_kind::add || kind == post_op_kind::mul; }

}  // namespace

bool accepts_any_post_op(const compile_context& context, const post_op& op) {
  if (context.output_type(0) != element_type::float32) return false;
  const auto binary = std::count_if(context.n.post_ops.begin(), context.n.post_ops.end(),
                                    [](const post_op& p) { return is_binary(p.kind); });
  return !is_binary(op.kind) || static_cast<std::size_t>(binary) < post_op_run::most_binary;
}

cpu::activation activation_of(const post_op& op) noexcept {
  using cpu::unary_op;
  switch (op.kind) {
    case post_op_kind::relu:
      return {unary_op::relu};
    case post_op_kind::leaky_relu:
      return {unary_op::leaky_relu, op.alpha};
    case post_op_kind::clip:
      return {unary_op::clip, op.alpha, op.beta};
    case post_op_kind::sigmoid:
      return {unary_op::sigmoid};
    case post_op_kind::tanh:
      return {unary_op::tanh};
    case post_op_kind::gelu_erf:
      return {unary_op::gelu};
    case post_op_kind::gelu_tanh:
      return {unary_op::gelu_tanh};
    case post_op_kind::silu:
      return {unary_op::swish, 1.0F};
    case post_op_kind::hard_sigmoid:
      return {unary_op::hard_sigmoid, op.alpha, op.beta};
    case post_op_kind::hard_swish:
      return {unary_op::hard_swish, op.alpha, op.beta};
    case post_op_kind::scale:
      return {unary_op::scale, op.alpha, op.beta};
    case post_op_kind::add:
    case post_op_kind::mul:
      break;
  }
  return {};
}

post_op_run::post_op_run(const cpu::kernel_table& kernels, std::span<const post_op> steps,
                         const run_context& context)
    : kernels_(kernels), steps_(steps) {
  const value_view& output = context.outputs[0];
  output_count_ = output.count;
  last_dimension_ =
      output.shape.empty() ? 1 : static_cast<std::size_t>(output.shape[output.shape.size() - 1]);
  std::size_t used = 0;
  for (const post_op& step : steps) {
    if (!is_binary(step.kind)) continue;
    const value_view& input = context.inputs[static_cast<std::size_t>(step.input)];
    operands_[used++].emplace(
        operand{input.as<const float>(), cpu::broadcast_plan<1>(output.shape, {input.shape})});
  }
}

const post_op_run::operand* post_op_run::next_operand(post_op_kind kind) const noexcept {
  if (steps_.empty() || steps_.front().kind != kind) return nullptr;
  return &*operands_[next_];
}

void post_op_run::take() noexcept {
  if (is_binary(steps_.front().kind)) ++next_;
  steps_ = steps_.subspan(1);
}

const float* post_op_run::take_last_dimension_add() noexcept {
  const operand* const o = next_operand(post_op_kind::add);
  if (o == nullptr) return nullptr;
  const cpu::broadcast_plan<1>& p = o->plan;
  if (p.rank == 0 || p.sizes[0] != last_dimension_ || p.strides[0][0] != 1) return nullptr;
  for (std::size_t d = 1; d < p.rank; ++d) {
    if (p.strides[d][0] != 0) return nullptr;
  }
  const float* const data = o->data;
  take();
  return data;
}

const float* post_op_run::take_full_add() noexcept {
  const operand* const o = next_operand(post_op_kind::add);
  if (o == nullptr || o->plan.rank != 1 || o->plan.strides[0][0] != 1) return nullptr;
  const float* const data = o->data;
  take();
  return data;
}

bool post_op_run::take_clamp(float& low, float& high) noexcept {
  if (steps_.empty()) return false;
  const post_op& step = steps_.front();
  if (step.kind == post_op_kind::relu) {
    low = 0;
    high = std::numeric_limits<float>::infinity();
  } else if (step.kind == post_op_kind::clip) {
    low = step.alpha;
    high = step.beta;
  } else {
    return false;
  }
  take();
  return true;
}

cpu::activation post_op_run::unary_step(std::size_t i, bool& with_next) const noexcept {
  cpu::activation f = activation_of(steps_[i]);
  const post_op* const next = i + 1 < steps_.size() ? &steps_[i + 1] : nullptr;
  with_next =
      f.op == cpu::unary_op::hard_swish && next != nullptr && next->kind == post_op_kind::scale;
  if (with_next) {
    f.gain = next->alpha;
    f.shift = next->beta;
  }
  return f;
}

cpu::activation post_op_run::take_tile_activation() noexcept {
  float low = 0;
  float high = 0;
  if (take_clamp(low, high)) return {cpu::unary_op::clip, low, high};
  if (steps_.empty() || steps_.front().kind != post_op_kind::hard_swish) return {};
  bool with_next = false;
  const cpu::activation f = unary_step(0, with_next);
  steps_ = steps_.subspan(with_next ? 2 : 1);
  return f;
}

void post_op_run::apply_binary(cpu::binary_op op, const operand& with, float* y, std::size_t at,
                               std::size_t n) const {
  const cpu::broadcast_plan<1>& p = with.plan;
  if (p.rank == 0) return kernels_.binary(op, y, 1, with.data, 0, y, n);
  const std::size_t run = p.sizes[0];
  while (n != 0) {
    std::size_t rest = at / run;
    std::size_t offset = at % run * p.strides[0][0];
    for (std::size_t d = 1; d < p.rank; ++d) {
      offset += rest % p.sizes[d] * p.strides[d][0];
      rest /= p.sizes[d];
    }
    const std::size_t length = std::min(n, run - at % run);
    kernels_.binary(op, y, 1, with.data + offset, static_cast<int>(p.strides[0][0]), y, length);
    y += length;
    at += length;
    n -= length;
  }
}

void post_op_run::apply(float* y, std::size_t at, std::size_t n) const {
  std::size_t next = next_;
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    const post_op& step = steps_[i];
    if (is_binary(step.kind)) {
      const auto op = step.kind == post_op_kind::add ? cpu::binary_op::add : cpu::binary_op::mul;
      apply_binary(op, *operands_[next++], y, at, n);
    } else {
      bool with_next = false;
      kernels_.unary(unary_step(i, with_next), y, y, n);
      if (with_next) ++i;
    }
  }
}

void apply_post_ops(const cpu::kernel_table& kernels, std::span<const post_op> steps,
                    const run_context& context) {
  if (steps.empty()) return;
  const post_op_run run(kernels, steps, context);
  const value_view& y = context.outputs[0];
  context.pool.parallel_for(y.count, cpu::element_grain, [&](std::size_t begin, std::size_t end) {
    run.apply(y.as<float>() + begin, begin, end - begin);
  });
}

}  // namespace mizzen::inference::detail
