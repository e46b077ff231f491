// Operators on quantised numbers.
#include "inference/cpu/kernels/elements.hpp"
#include "inference/cpu/ops/dynamic_quantisation.hpp"
#include "inference/cpu/ops/plain.hpp"
#include "inference/cpu/thread_pool.hpp"

#include <algorithm>
#include <cmath>

namespace mizzen::inference::detail {
namespace {

// Scales and zero points: one for all, one for each index of the axis, or one for each block of
// consecutive indices of it.
class parameters_of {
 public:
  parameters_of(const plain_tensor& x, integer axis, integer block, const plain_tensor& like)
      : one_(like.count == 1) {
    if (one_ || like.rank() == 0) return;
    const integer at = plain_axis(axis, x.rank());
    inner_ = x.extent(at + 1, x.rank());
    dim_ = x.dim(at);
    block_ = std::max<integer>(block, 1);
    blocks_ = block == 0 ? dim_ : like.dim(at);
    whole_ = block != 0;
  }

  // Of element i of x.
  integer index(integer i) const noexcept {
    if (one_) return 0;
    const integer along = i / inner_ % dim_ / block_;
    if (!whole_) return along;
    return (i / inner_ / dim_ * blocks_ + along) * inner_ + i % inner_;
  }

 private:
  bool one_;
  bool whole_ = false;
  integer inner_ = 1, dim_ = 1, block_ = 1, blocks_ = 1;
};

// Quotients are rounded to the type they are computed in, because it decides ties.
double in_precision(double v, element_type precision) noexcept {
  switch (precision) {
    case element_type::float64:
      return v;
    case element_type::float16:
      return static_cast<double>(cpu::to_float(cpu::to_float16(static_cast<float>(v))));
    case element_type::bfloat16:
      return static_cast<double>(cpu::to_float(cpu::to_bfloat16(static_cast<float>(v))));
    default:
      return static_cast<double>(static_cast<float>(v));
  }
}

bool is_float8(element_type type) noexcept {
  return type == element_type::float8_e4m3fn || type == element_type::float8_e4m3fnuz ||
         type == element_type::float8_e5m2 || type == element_type::float8_e5m2fnuz;
}

// Source: ONNX QuantizeLinear-25.
class quantize_op final : public plain_op {
 public:
  explicit quantize_op(const compile_context& c)
      : axis_(c.n.attributes.get_int("axis", 1)), block_(c.n.attributes.get_int("block_size", 0)) {
    const auto wanted = static_cast<element_type>(c.n.attributes.get_int("precision", 0));
    precision_ = wanted != element_type::undefined ? wanted : c.input_type(0);
    const element_type to = c.output_type(0);
    rounds_ = !is_float8(to) && to != element_type::float4_e2m1;
    if (is_float8(to) && c.n.attributes.get_int("saturate", 1) == 0) {
      c.unsupported("attribute saturate = 0");
    }
  }

  void run(const plain_run& r) const override {
    const plain_tensor& x = r.in(0);
    const plain_tensor& zero = r.in(2);
    const parameters_of scale(x, axis_, block_, r.in(1));
    for (integer i = 0; i < x.count; ++i) {
      const integer at = scale.index(i);
      const double quotient = in_precision(x.data[i] / r.in(1).data[at], precision_);
      const double offset = zero.present() ? zero.data[zero.count == 1 ? 0 : at] : 0;
      r.out(0).data[i] = (rounds_ ? std::nearbyint(quotient) : quotient) + offset;
    }
  }

 private:
  integer axis_, block_;
  element_type precision_;
  bool rounds_;
};

// Source: ONNX DequantizeLinear-25.
class dequantize_op final : public plain_op {
 public:
  explicit dequantize_op(const compile_context& c)
      : axis_(c.n.attributes.get_int("axis", 1)), block_(c.n.attributes.get_int("block_size", 0)) {}

  void run(const plain_run& r) const override {
    const plain_tensor& x = r.in(0);
    const plain_tensor& zero = r.in(2);
    const parameters_of scale(x, axis_, block_, r.in(1));
    for (integer i = 0; i < x.count; ++i) {
      const integer at = scale.index(i);
      const double offset = zero.present() ? zero.data[zero.count == 1 ? 0 : at] : 0;
      r.out(0).data[i] = (x.data[i] - offset) * r.in(1).data[at];
    }
  }

 private:
  integer axis_, block_;
};

// Source: ONNX DynamicQuantizeLinear-11.
class dynamic_quantize_op final : public plain_op {
 public:
  explicit dynamic_quantize_op(const compile_context&) {}

  void run(const plain_run& r) const override {
    const plain_tensor& x = r.in(0);
    const dynamic_quantisation q(x);
    if (r.out(0).present()) {
      for (integer i = 0; i < x.count; ++i) {
        r.out(0).data[i] = static_cast<double>(q.steps(x.data[i]));
      }
    }
    if (r.out(1).present()) r.out(1).data[0] = static_cast<double>(q.scale);
    if (r.out(2).present()) r.out(2).data[0] = static_cast<double>(q.zero);
  }
};

// What MatMulInteger and QLinearMatMul share: products of matrices whose batches broadcast, and
// whose zero points are one for all or one for each row of a and each column of b.
struct integer_product {
  plain_tensor a, b, a_zero, b_zero;

  template <class Finish>
  void run(const plain_run& r, const plain_tensor& y, Finish finish) const {
    const integer rows = a.rank() == 1 ? 1 : a.dim(-2);
    const integer depth = a.dim(-1);
    const integer columns = b.rank() == 1 ? 1 : b.dim(-1);
    const std::size_t matrix = (a.rank() > 1 ? 1U : 0U) + (b.rank() > 1 ? 1U : 0U);
    const auto batch = y.shape.first(y.shape.size() - matrix);
    const integer count = rows * columns == 0 ? 0 : y.count / (rows * columns);
    // Whole numbers, whose sums doubles hold exactly, so that their order does not matter.
    r.pool.parallel_for(
        static_cast<std::size_t>(count * rows), 1, [&](std::size_t first, std::size_t last) {
          patience asked(r);
          for (auto line = static_cast<integer>(first); line < static_cast<integer>(last); ++line) {
            asked.spend(columns * depth);
            const integer n = line / rows;
            const integer i = line % rows;
            const integer from_a = matrix_of(a, batch, n);
            const integer from_b = matrix_of(b, batch, n);
            const double za = zero(a_zero, from_a * rows + i, rows, i);
            const double* const left = a.data + (from_a * rows + i) * depth;
            double* const out = y.data + line * columns;
            std::fill_n(out, columns, 0.0);
            double total = 0;
            for (integer k = 0; k < depth; ++k) {
              const double factor = left[k] - za;
              const double* const right = b.data + (from_b * depth + k) * columns;
              total += factor;
              for (integer j = 0; j < columns; ++j) out[j] += factor * right[j];
            }
            for (integer j = 0; j < columns; ++j) {
              const double zb = zero(b_zero, from_b * columns + j, columns, j);
              out[j] = finish(out[j] - total * zb, i, j);
            }
          }
        });
  }

 private:
  static double zero(const plain_tensor& t, integer whole, integer lines, integer line) noexcept {
    if (!t.present()) return 0;
    return t.data[t.count == 1 ? 0 : t.count == lines ? line : whole];
  }

  // Which matrix of t belongs to batch n of the output.
  static integer matrix_of(const plain_tensor& t, std::span<const integer> batch,
                           integer n) noexcept {
    integer flat = 0;
    integer step = 1;
    for (std::size_t d = batch.size(), own = t.shape.size(); d-- > 0; n /= batch[d]) {
      const std::size_t behind = batch.size() - d + 2;
      if (behind > own) continue;
      const integer size = t.shape[own - behind];
      if (size != 1) flat += n % batch[d] * step;
      step *= size;
    }
    return flat;
  }
};

class matmul_integer_op final : public plain_op {
 public:
  explicit matmul_integer_op(const compile_context&) {}

  void run(const plain_run& r) const override {
    const integer_product product{r.in(0), r.in(1), r.in(2), r.in(3)};
    product.run(r, r.out(0), [](double sum, integer, integer) { return sum; });
  }
};

// a, a_scale, a_zero_point, b, b_scale, b_zero_point, y_scale, y_zero_point.
class qlinear_matmul_op final : public plain_op {
 public:
  explicit qlinear_matmul_op(const compile_context&) {}

  void run(const plain_run& r) const override {
    const integer_product product{r.in(0), r.in(3), r.in(2), r.in(5)};
    const auto pick = [](const plain_tensor& t, integer i) { return t.data[t.count == 1 ? 0 : i]; };
    product.run(r, r.out(0), [&](double sum, integer i, integer j) {
      const double scale = pick(r.in(1), i) * pick(r.in(4), j) / r.in(6).data[0];
      return std::nearbyint(sum * scale) + r.in(7).data[0];
    });
  }
};

}  // namespace

void register_plain_quantised(op_registry& registry) {
  registry.add_plain("QuantizeLinear", {compile_plain<quantize_op>}, 10);
  registry.add_plain("DequantizeLinear", {compile_plain<dequantize_op>}, 10);
  registry.add_plain("DynamicQuantizeLinear", {compile_plain<dynamic_quantize_op>}, 11);
  registry.add_plain("MatMulInteger", {compile_plain<matmul_integer_op>}, 10);
  registry.add_plain("QLinearMatMul", {compile_plain<qlinear_matmul_op>}, 10);
}

}  // namespace mizzen::inference::detail
