// The product that passes/fuse_quantised.cpp makes.
#include "inference/cpu/kernels/int8_gemm.hpp"
#include "inference/cpu/ops/numeric_ops.hpp"
#include "inference/cpu/ops/post_ops.hpp"

#include <optional>
#include <vector>

namespace mizzen::inference::detail {
namespace {

// The numbers of a constant of int8 or uint8; those of uint8 less 128, so that both are int8.
std::vector<std::int8_t> signed_bytes(const tensor& t) {
  std::vector<std::int8_t> all(t.size());
  if (t.type() == element_type::int8) {
    all.assign(t.data<std::int8_t>().begin(), t.data<std::int8_t>().end());
  } else {
    const auto from = t.data<std::uint8_t>();
    for (std::size_t i = 0; i < all.size(); ++i) {
      all[i] = static_cast<std::int8_t>(static_cast<int>(from[i]) - 128);
    }
  }
  return all;
}

class quantised_matmul_kernel final : public kernel {
 public:
  explicit quantised_matmul_kernel(const compile_context& c)
      : kernels_(best_kernels()), post_ops_(c.n.post_ops) {
    const auto b = c.constant(1);
    const auto scales = c.constant(2);
    const auto zeros = c.has_input(3) ? c.constant(3) : nullptr;
    if (!b || !scales || (c.has_input(3) && !zeros)) c.unsupported("weights that are not constant");
    const auto depth = static_cast<std::size_t>(b->shape()[0]);
    const auto columns = static_cast<std::size_t>(b->shape()[1]);
    std::vector<std::int32_t> zero_points;
    if (zeros) {
      const auto bytes = signed_bytes(*zeros);
      zero_points.assign(bytes.begin(), bytes.end());
    } else {
      zero_points.assign(1, b->type() == element_type::int8 ? 0 : -128);
    }
    const auto fits = [&](std::size_t n) { return n == 1 || n == columns; };
    if (!fits(scales->size()) || !fits(zero_points.size())) {
      c.invalid("scales and zero points must be one, or one for each column");
    }
    const auto s = scales->data<float>();
    const std::vector<std::int8_t> bytes = signed_bytes(*b);
    weights_.emplace(cpu::best_int8(), bytes.data(), depth, columns,
                     std::vector<float>(s.begin(), s.end()), zero_points);
  }

  bool reads_input(std::size_t input) const override { return input == 0 || input > 3; }

  std::size_t scratch_bytes(const shape_context& c) const override {
    return cpu::int8_scratch(*weights_, rows_of(c.inputs[0]));
  }

  void run(const run_context& c) const override {
    const value_view& y = c.outputs[0];
    post_op_run steps(kernels_, post_ops_, c);
    cpu::int8_problem p;
    p.rows = rows_of(c.inputs[0]);
    p.a = c.inputs[0].as<const float>();
    p.c = y.as<float>();
    p.bias = steps.take_last_dimension_add();
    p.residual = steps.take_full_add();
    const finish_rows rest{&steps, weights_->columns()};
    if (!steps.empty()) {
      p.context = &rest;
      p.finish = finish_rows::call;
    }
    cpu::multiply_int8(kernels_, c.pool, *weights_, p, c.scratch.data());
  }

 private:
  static std::size_t rows_of(const value_view& x) {
    return product(x.shape, 0, x.shape.size() - 1);
  }

  const cpu::kernel_table& kernels_;
  std::vector<post_op> post_ops_;
  std::optional<cpu::int8_weights> weights_;
};

// MatMulInteger with constant weights; the rest is plain_quantised.cpp's. Source: ONNX
// MatMulInteger-10.
class matmul_integer_kernel final : public kernel {
 public:
  explicit matmul_integer_kernel(const compile_context& c) {
    const auto is_byte = [](element_type t) {
      return t == element_type::int8 || t == element_type::uint8;
    };
    const auto b = c.constant(1);
    const auto zeros = c.has_input(3) ? c.constant(3) : nullptr;
    if (!b || b->rank() != 2 || (c.has_input(3) && !zeros)) {
      c.unsupported("weights that are no constant matrix");
    }
    if (!is_byte(c.input_type(0)) || !is_byte(b->type()) || (zeros && zeros->type() != b->type())) {
      c.unsupported("takes bytes");
    }
    if (c.has_input(2) && (c.input_type(2) != c.input_type(0) || !is_one(c.input(2)))) {
      c.unsupported("a zero point for each row");
    }
    const auto depth = static_cast<std::size_t>(b->shape()[0]);
    const auto columns = static_cast<std::size_t>(b->shape()[1]);
    const std::int32_t offset = b->type() == element_type::int8 ? 0 : -128;
    std::vector<std::int32_t> zero_points(1, offset);
    if (zeros) {
      if (zeros->rank() > 1 || (zeros->size() != 1 && zeros->size() != columns)) {
        c.unsupported("zero points of the weights that are neither one nor one for each column");
      }
      const auto bytes = signed_bytes(*zeros);
      zero_points.assign(bytes.begin(), bytes.end());
    }
    const std::vector<std::int8_t> bytes = signed_bytes(*b);
    weights_.emplace(cpu::best_int8(), bytes.data(), depth, columns, std::vector<float>{1.0F},
                     zero_points);
  }

  bool reads_input(std::size_t input) const override { return input == 0 || input == 2; }

  std::size_t scratch_bytes(const shape_context& c) const override {
    return cpu::int8_scratch(*weights_, rows_of(c.inputs[0]));
  }

  void run(const run_context& c) const override {
    const value_view& a = c.inputs[0];
    cpu::integer_problem p;
    p.rows = rows_of(a);
    p.a = a.as<const std::uint8_t>();
    p.is_signed = a.type == element_type::int8;
    if (c.inputs.size() > 2 && c.inputs[2].present()) {
      p.a_zero = p.is_signed ? std::int32_t{*c.inputs[2].as<const std::int8_t>()}
                             : std::int32_t{*c.inputs[2].as<const std::uint8_t>()};
    }
    p.y = c.outputs[0].as<std::int32_t>();
    cpu::multiply_integers(c.pool, *weights_, p, c.scratch.data());
  }

 private:
  static bool is_one(const value& v) {
    return v.shape && (v.shape->empty() || *v.shape == dims{1});
  }

  static std::size_t rows_of(const value_view& x) {
    return product(x.shape, 0, x.shape.size() - 1);
  }

  std::optional<cpu::int8_weights> weights_;
};

std::unique_ptr<kernel> compile_matmul_integer(const compile_context& c) {
  return std::make_unique<matmul_integer_kernel>(c);
}

std::unique_ptr<kernel> compile_quantised_matmul(const compile_context& c) {
  only_float32(c);
  return std::make_unique<quantised_matmul_kernel>(c);
}

}  // namespace

void register_quantised_matmul_ops(op_registry& registry) {
  registry.add("DynamicQuantizedMatMul", {compile_quantised_matmul, accepts_any_post_op}, 1,
               any_opset, mizzen_domain);
  registry.add("MatMulInteger", {compile_matmul_integer}, 10);
}

}  // namespace mizzen::inference::detail
