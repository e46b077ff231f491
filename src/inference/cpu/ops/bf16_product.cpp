#include "inference/cpu/ops/bf16_product.hpp"

#include "inference/cpu/kernels/bf16_gemm.hpp"
#include "inference/cpu/ops/numeric_ops.hpp"
#include "inference/cpu/ops/post_ops.hpp"
#include "inference/graph/precision.hpp"

#include <vector>

namespace mizzen::inference::detail {
namespace {

class bf16_product_kernel final : public kernel {
 public:
  bf16_product_kernel(cpu::bf16_weights weights, std::vector<post_op> steps)
      : kernels_(best_kernels()), weights_(std::move(weights)), steps_(std::move(steps)) {}

  bool reads_input(std::size_t input) const override { return input != 1; }

  std::size_t scratch_bytes(const shape_context& c) const override {
    return cpu::bf16_scratch(weights_, rows_of(c.inputs[0]));
  }

  void run(const run_context& c) const override {
    const value_view& y = c.outputs[0];
    if (y.count == 0) return;
    post_op_run steps(kernels_, steps_, c);
    cpu::bf16_problem p;
    p.rows = rows_of(c.inputs[0]);
    p.a = c.inputs[0].as<const float>();
    p.c = y.as<float>();
    p.bias = steps.take_last_dimension_add();
    p.residual = steps.take_full_add();
    const finish_rows rest{&steps, weights_.columns()};
    if (!steps.empty()) {
      p.context = &rest;
      p.finish = finish_rows::call;
    }
    cpu::multiply_bf16(c.pool, weights_, p, c.scratch.data());
  }

 private:
  // A vector is one row.
  static std::size_t rows_of(const value_view& x) {
    return product(x.shape, 0, x.shape.size() - 1);
  }

  const cpu::kernel_table& kernels_;
  cpu::bf16_weights weights_;
  std::vector<post_op> steps_;
};

}  // namespace

std::unique_ptr<kernel> compile_bf16_product(const compile_context& c) {
  const cpu::half_table& table = cpu::best_halves();
  if (!asks_bf16(c.n) || table.multiply == nullptr) return nullptr;
  const auto b = c.constant(1);
  if (!b || b->rank() != 2 || b->empty()) return nullptr;
  std::vector<post_op> steps;
  bool transposed = false;
  if (c.n.op_type == "Gemm") {
    const attribute_map& a = c.n.attributes;
    const bool has_c = c.n.operator_inputs() > 2 && c.has_input(2);
    const bool is_plain = a.get_int("transA", 0) == 0 && a.get_float("alpha", 1.0F) == 1.0F &&
                          (!has_c || a.get_float("beta", 1.0F) == 1.0F);
    if (!is_plain) return nullptr;
    transposed = a.get_int("transB", 0) != 0;
    if (has_c) steps.push_back({post_op_kind::add, 0.0F, 0.0F, 2});
  }
  steps.insert(steps.end(), c.n.post_ops.begin(), c.n.post_ops.end());
  const auto rows = static_cast<std::size_t>(b->shape()[0]);
  const auto columns = static_cast<std::size_t>(b->shape()[1]);
  cpu::matrix_view view{b->data<float>().data(), static_cast<std::ptrdiff_t>(columns), 1};
  if (transposed) std::swap(view.row, view.column);
  return std::make_unique<bf16_product_kernel>(
      cpu::bf16_weights(table, view, transposed ? columns : rows, transposed ? rows : columns),
      std::move(steps));
}

}  // namespace mizzen::inference::detail
