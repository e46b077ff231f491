// Gemm and MatMul.
#include "inference/cpu/kernels/broadcast.hpp"
#include "inference/cpu/kernels/gemm.hpp"
#include "inference/cpu/ops/bf16_product.hpp"
#include "inference/cpu/ops/numeric_ops.hpp"
#include "inference/cpu/ops/post_ops.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <type_traits>
#include <vector>

namespace mizzen::inference::detail {
namespace {

using cpu::matrix_view;

std::ptrdiff_t signed_size(std::size_t n) { return static_cast<std::ptrdiff_t>(n); }

// Row-major, or its transpose.
matrix_view view_of(const float* data, std::size_t columns, bool transposed) {
  if (transposed) return {data, 1, signed_size(columns)};
  return {data, signed_size(columns), 1};
}

// What the calls of one run share.
struct product_call {
  cpu::gemm_operands first;  // of product 0
  // Offsets of product i; null: one product.
  const cpu::broadcast_plan<2>* batch = nullptr;
  std::size_t a_size = 0;
  std::size_t b_size = 0;
  std::size_t c_size = 0;
  std::size_t columns = 0;
  const post_op_run* steps = nullptr;
};

cpu::gemm_operands operands_of(const void* context, std::size_t i) {
  const auto& call = *static_cast<const product_call*>(context);
  cpu::gemm_operands o = call.first;
  std::size_t a = 0;
  std::size_t b = 0;
  if (call.batch != nullptr) {
    std::size_t rest = i;
    for (std::size_t d = 0; d < call.batch->rank; ++d) {
      const std::size_t at = rest % call.batch->sizes[d];
      rest /= call.batch->sizes[d];
      a += at * call.batch->strides[d][0];
      b += at * call.batch->strides[d][1];
    }
  }
  if (o.a.data != nullptr) o.a.data += a * call.a_size;
  if (o.b.data != nullptr) o.b.data += b * call.b_size;
  o.c += i * call.c_size;
  if (o.residual != nullptr) o.residual += i * call.c_size;
  return o;
}

void finish(const void* context, std::size_t i, std::size_t row, std::size_t column, float* c,
            std::size_t n) {
  const auto& call = *static_cast<const product_call*>(context);
  call.steps->apply(c, i * call.c_size + row * call.columns + column, n);
}

// Runs the products with the post-ops: those the kernel can do itself, and the rest.
void multiply(const cpu::kernel_table& kernels, const run_context& c, cpu::gemm_problem& problem,
              product_call& call, post_op_run& steps) {
  if (call.first.column_bias == nullptr) call.first.column_bias = steps.take_last_dimension_add();
  call.first.residual = steps.take_full_add();
  problem.clamp = steps.take_clamp(problem.low, problem.high);
  call.steps = &steps;
  problem.context = &call;
  problem.operands = operands_of;
  if (!steps.empty()) problem.finish = finish;
  cpu::gemm(kernels, c.pool, problem, reinterpret_cast<float*>(c.scratch.data()));
}

class gemm_kernel final : public kernel {
 public:
  explicit gemm_kernel(const compile_context& c)
      : kernels_(best_kernels()),
        transpose_a_(c.n.attributes.get_int("transA", 0) != 0),
        transpose_b_(c.n.attributes.get_int("transB", 0) != 0) {
    float alpha = c.n.attributes.get_float("alpha", 1.0F);
    const float beta = c.n.attributes.get_float("beta", 1.0F);
    if (const auto b = c.constant(1)) {
      const std::size_t depth = static_cast<std::size_t>(b->shape()[transpose_b_ ? 1 : 0]);
      const std::size_t columns = static_cast<std::size_t>(b->shape()[transpose_b_ ? 0 : 1]);
      std::vector<float> scaled;
      const float* data = b->data<float>().data();
      if (alpha != 1.0F) {
        scaled.assign(data, data + b->size());
        for (float& v : scaled) v *= alpha;
        data = scaled.data();
        alpha = 1;
      }
      packed_.emplace(kernels_,
                      view_of(data, static_cast<std::size_t>(b->shape()[1]), transpose_b_), depth,
                      columns);
    }
    // alpha A B + beta C as beta ((alpha / beta) A B + C).
    const bool has_c = c.n.operator_inputs() > 2 && c.has_input(2) && beta != 0.0F;
    const float scale = has_c ? alpha / beta : alpha;
    if (scale != 1.0F) steps_.push_back({post_op_kind::scale, scale, 0.0F});
    if (has_c) {
      steps_.push_back({post_op_kind::add, 0.0F, 0.0F, 2});
      if (beta != 1.0F) steps_.push_back({post_op_kind::scale, beta, 0.0F});
    }
    steps_.insert(steps_.end(), c.n.post_ops.begin(), c.n.post_ops.end());
  }

  bool reads_input(std::size_t input) const override { return input != 1 || !packed_; }

  std::size_t scratch_bytes(const shape_context& c) const override {
    return cpu::gemm_scratch(kernels_, c.threads) * sizeof(float);
  }

  void run(const run_context& c) const override {
    const value_view& a = c.inputs[0];
    const value_view& b = c.inputs[1];
    const value_view& y = c.outputs[0];
    cpu::gemm_problem problem;
    problem.rows = static_cast<std::size_t>(y.shape[0]);
    problem.columns = static_cast<std::size_t>(y.shape[1]);
    problem.depth = static_cast<std::size_t>(a.shape[transpose_a_ ? 0 : 1]);
    product_call call;
    call.columns = problem.columns;
    call.first.a = view_of(a.as<const float>(), static_cast<std::size_t>(a.shape[1]), transpose_a_);
    if (packed_) {
      call.first.b_packed = &*packed_;
    } else {
      call.first.b =
          view_of(b.as<const float>(), static_cast<std::size_t>(b.shape[1]), transpose_b_);
    }
    call.first.c = y.as<float>();
    call.first.c_row = signed_size(problem.columns);
    post_op_run steps(kernels_, steps_, c);
    multiply(kernels_, c, problem, call, steps);
  }

 private:
  const cpu::kernel_table& kernels_;
  bool transpose_a_;
  bool transpose_b_;
  std::optional<cpu::packed_columns> packed_;
  std::vector<post_op> steps_;
};

// The dimensions of a MatMul: vectors become matrices of one row or column.
struct matmul_shape {
  matmul_shape(std::span<const std::int64_t> a, std::span<const std::int64_t> b,
               std::span<const std::int64_t> y)
      : rows(a.size() == 1 ? 1 : static_cast<std::size_t>(a[a.size() - 2])),
        columns(b.size() == 1 ? 1 : static_cast<std::size_t>(b[b.size() - 1])),
        depth(static_cast<std::size_t>(a[a.size() - 1])),
        batch(
            y.first(y.size() - (a.size() > 1 ? 1 : 0) - (b.size() > 1 ? 1 : 0)),
            {a.first(a.size() > 2 ? a.size() - 2 : 0), b.first(b.size() > 2 ? b.size() - 2 : 0)}) {}

  std::size_t rows;
  std::size_t columns;
  std::size_t depth;
  cpu::broadcast_plan<2> batch;
};

// True if every product uses the same right operand, and the left ones follow each other, so that
// they are one product of more rows.
bool is_one_product(const cpu::broadcast_plan<2>& batch) {
  return batch.rank == 0 ||
         (batch.rank == 1 && batch.strides[0][0] == 1 && batch.strides[0][1] == 0);
}

class matmul_kernel final : public kernel {
 public:
  explicit matmul_kernel(const compile_context& c)
      : kernels_(best_kernels()), post_ops_(c.n.post_ops) {
    if (const auto b = c.constant(1)) {
      const shape_type& shape = b->shape();
      const std::size_t rank = shape.size();
      // Batches of constant matrices stay as they are.
      if (rank < 2 || product(shape, 0, rank - 2) != 1) return;
      const auto columns = static_cast<std::size_t>(shape[rank - 1]);
      packed_.emplace(kernels_, view_of(b->data<float>().data(), columns, false),
                      static_cast<std::size_t>(shape[rank - 2]), columns);
    }
  }

  bool reads_input(std::size_t input) const override { return input != 1 || !packed_; }

  std::size_t scratch_bytes(const shape_context& c) const override {
    return cpu::gemm_scratch(kernels_, c.threads) * sizeof(float);
  }

  void run(const run_context& c) const override {
    const value_view& a = c.inputs[0];
    const value_view& b = c.inputs[1];
    const value_view& y = c.outputs[0];
    if (y.count == 0) return;
    const matmul_shape shape(a.shape, b.shape, y.shape);
    cpu::gemm_problem problem;
    problem.batch = shape.batch.count;
    problem.rows = shape.rows;
    problem.columns = shape.columns;
    problem.depth = shape.depth;
    product_call call;
    call.columns = shape.columns;
    if (is_one_product(shape.batch)) {
      problem.rows *= problem.batch;
      problem.batch = 1;
    } else {
      call.batch = &shape.batch;
      call.a_size = shape.rows * shape.depth;
      call.b_size = shape.columns * shape.depth;
      call.c_size = shape.rows * shape.columns;
    }
    call.first.a = view_of(a.as<const float>(), shape.depth, false);
    if (packed_) {
      call.first.b_packed = &*packed_;
    } else {
      call.first.b = view_of(b.as<const float>(), shape.columns, false);
    }
    call.first.c = y.as<float>();
    call.first.c_row = signed_size(shape.columns);
    post_op_run steps(kernels_, post_ops_, c);
    if (b.shape.size() == 1) {
      multiply_by_vector(c, problem, call, steps);
    } else {
      multiply(kernels_, c, problem, call, steps);
    }
  }

 private:
  // y's last dimension is the rows: nothing of the epilogue fits, all steps come behind.
  void multiply_by_vector(const run_context& c, cpu::gemm_problem& problem, product_call& call,
                          post_op_run& steps) const {
    call.steps = &steps;
    problem.context = &call;
    problem.operands = operands_of;
    if (!steps.empty()) problem.finish = finish;
    cpu::gemm(kernels_, c.pool, problem, reinterpret_cast<float*>(c.scratch.data()));
  }

  const cpu::kernel_table& kernels_;
  std::vector<post_op> post_ops_;
  std::optional<cpu::packed_columns> packed_;
};

// MatMul of the types that matter for correctness only; integers wrap around.
template <typename T>
class plain_matmul_kernel final : public kernel {
 public:
  void run(const run_context& c) const override {
    const value_view& y = c.outputs[0];
    if (y.count == 0) return;
    const matmul_shape s(c.inputs[0].shape, c.inputs[1].shape, y.shape);
    cpu::for_each_run(
        c.pool, s.batch, [&](std::size_t to, const auto& at, const auto& steps, std::size_t n) {
          for (std::size_t i = 0; i < n; ++i) {
            one(s, c.inputs[0].as<const T>() + (at[0] + i * steps[0]) * s.rows * s.depth,
                c.inputs[1].as<const T>() + (at[1] + i * steps[1]) * s.depth * s.columns,
                y.as<T>() + (to + i) * s.rows * s.columns);
          }
        });
  }

 private:
  static void one(const matmul_shape& s, const T* a, const T* b, T* y) {
    using wide = std::conditional_t<std::is_integral_v<T>, std::uint64_t, T>;
    for (std::size_t r = 0; r < s.rows; ++r) {
      for (std::size_t k = 0; k < s.columns; ++k) {
        wide sum = 0;
        for (std::size_t d = 0; d < s.depth; ++d) {
          sum += static_cast<wide>(a[r * s.depth + d]) * static_cast<wide>(b[d * s.columns + k]);
        }
        y[r * s.columns + k] = static_cast<T>(sum);
      }
    }
  }
};

std::unique_ptr<kernel> compile_gemm(const compile_context& c) {
  only_float32(c);
  if (auto narrow = compile_bf16_product(c)) return narrow;
  return std::make_unique<gemm_kernel>(c);
}

std::unique_ptr<kernel> compile_matmul(const compile_context& c) {
  switch (c.input_type(0)) {
    case element_type::float64:
      return std::make_unique<plain_matmul_kernel<double>>();
    case element_type::int32:
      return std::make_unique<plain_matmul_kernel<std::int32_t>>();
    case element_type::int64:
      return std::make_unique<plain_matmul_kernel<std::int64_t>>();
    case element_type::uint32:
      return std::make_unique<plain_matmul_kernel<std::uint32_t>>();
    case element_type::uint64:
      return std::make_unique<plain_matmul_kernel<std::uint64_t>>();
    default:
      only_float32(c);
      if (auto narrow = compile_bf16_product(c)) return narrow;
      return std::make_unique<matmul_kernel>(c);
  }
}

}  // namespace

void register_matrix_ops(op_registry& registry) {
  registry.add("Gemm", {compile_gemm, accepts_any_post_op}, 7);
  registry.add("MatMul", {compile_matmul, accepts_any_post_op});
}

}  // namespace mizzen::inference::detail
