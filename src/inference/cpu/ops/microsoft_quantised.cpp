// Matrix products of the domain com.microsoft, most of them on quantised numbers. Source:
// ContribOperators.md of ONNX Runtime.
#include "inference/cpu/ops/dynamic_quantisation.hpp"
#include "inference/cpu/ops/microsoft.hpp"
#include "inference/cpu/ops/numeric_ops.hpp"
#include "inference/cpu/ops/plain.hpp"
#include "inference/cpu/thread_pool.hpp"

#include <algorithm>
#include <cmath>

namespace mizzen::inference::detail {
namespace {

// A [..., K] times B, each of whose N rows of K is in blocks of small integers: B [N, blocks,
// bytes], scales [N * blocks], zero_points packed as B, or floats as the scales; bias [N].
class matmul_n_bits_kernel final : public kernel {
 public:
  explicit matmul_n_bits_kernel(const compile_context& c)
      : depth_(static_cast<std::size_t>(c.n.attributes.require_int("K"))),
        columns_(static_cast<std::size_t>(c.n.attributes.require_int("N"))),
        bits_(static_cast<std::size_t>(c.n.attributes.get_int("bits", 4))),
        block_(static_cast<std::size_t>(c.n.attributes.require_int("block_size"))) {
    if (bits_ != 2 && bits_ != 4 && bits_ != 8) c.unsupported("other than 2, 4 or 8 bits");
    if (c.has_input(4)) c.unsupported("g_idx");
    if (c.n.attributes.get_int("weight_prepacked", 0) != 0) c.unsupported("weights packed before");
    if (c.input_type(2) != element_type::float32) c.unsupported("scales that are not as A");
    float_zeros_ = c.input_type(3) == element_type::float32;
    if (c.has_input(3) && !float_zeros_ && c.input_type(3) != element_type::uint8) {
      c.unsupported("zero points that are neither uint8 nor as A");
    }
    blocks_ = (depth_ + block_ - 1) / block_;
  }

  // A row of B for each thread.
  std::size_t scratch_bytes(const shape_context& c) const override {
    return c.threads * blocks_ * block_ * sizeof(float);
  }

  void run(const run_context& c) const override {
    const float* const a = c.inputs[0].as<const float>();
    const float* const bias =
        c.inputs.size() > 5 && c.inputs[5].present() ? c.inputs[5].as<const float>() : nullptr;
    float* const y = c.outputs[0].as<float>();
    const std::size_t rows = c.inputs[0].count / depth_;
    c.pool.parallel_for(columns_, 1, [&](std::size_t begin, std::size_t end, unsigned slot) {
      float* const row = reinterpret_cast<float*>(c.scratch.data()) + slot * blocks_ * block_;
      for (std::size_t n = begin; n < end; ++n) {
        unpack(c, n, row);
        for (std::size_t m = 0; m < rows; ++m) {
          float sum = bias != nullptr ? bias[n] : 0.0F;
          for (std::size_t k = 0; k < depth_; ++k) sum += a[m * depth_ + k] * row[k];
          y[m * columns_ + n] = sum;
        }
      }
    });
  }

 private:
  float number(const std::uint8_t* packed, std::size_t i) const noexcept {
    const std::size_t per_byte = 8 / bits_;
    const unsigned byte = packed[i / per_byte];
    return static_cast<float>(byte >> (i % per_byte * bits_) & ((1U << bits_) - 1));
  }

  void unpack(const run_context& c, std::size_t n, float* row) const noexcept {
    const std::size_t row_bytes = blocks_ * (block_ * bits_ / 8);
    const std::uint8_t* const packed = c.inputs[1].as<const std::uint8_t>() + n * row_bytes;
    const float* const scales = c.inputs[2].as<const float>() + n * blocks_;
    const bool zeros = c.inputs.size() > 3 && c.inputs[3].present();
    const std::size_t zero_bytes = (blocks_ * bits_ + 7) / 8;
    for (std::size_t b = 0; b < blocks_; ++b) {
      auto zero = static_cast<float>(1U << (bits_ - 1));
      if (zeros && float_zeros_) zero = c.inputs[3].as<const float>()[n * blocks_ + b];
      if (zeros && !float_zeros_) {
        zero = number(c.inputs[3].as<const std::uint8_t>() + n * zero_bytes, b);
      }
      for (std::size_t i = b * block_; i < (b + 1) * block_; ++i) {
        row[i] = (number(packed, i) - zero) * scales[b];
      }
    }
  }

  std::size_t depth_, columns_, bits_, block_, blocks_ = 0;
  bool float_zeros_ = false;
};

std::unique_ptr<kernel> compile_matmul_n_bits(const compile_context& c) {
  only_float32(c);
  return std::make_unique<matmul_n_bits_kernel>(c);
}

// One number, or one for each column.
double of_column(const plain_tensor& t, integer j, double otherwise) noexcept {
  if (!t.present()) return otherwise;
  return t.data[t.count == 1 ? 0 : j];
}

// y[row, j] = scale(j) * sum (a - a_zero) (b - b_zero(j)) + bias(j) for a matrix b.
template <class Scale>
void multiply(const plain_run& r, const double* a, double a_zero, const plain_tensor& b_zero,
              const plain_tensor& bias, Scale scale) {
  const plain_tensor& b = r.in(1);
  const integer depth = b.dim(0);
  const integer columns = b.dim(1);
  const integer rows = depth == 0 ? 0 : r.in(0).count / depth;
  r.pool.parallel_for(static_cast<std::size_t>(rows), 1, [&](std::size_t begin, std::size_t end) {
    for (auto i = static_cast<integer>(begin); i < static_cast<integer>(end); ++i) {
      double* const y = r.out(0).data + i * columns;
      std::fill_n(y, columns, 0.0);
      for (integer k = 0; k < depth; ++k) {
        const double factor = a[i * depth + k] - a_zero;
        for (integer j = 0; j < columns; ++j) {
          y[j] += factor * (b.data[k * columns + j] - of_column(b_zero, j, 0));
        }
      }
      for (integer j = 0; j < columns; ++j) y[j] = y[j] * scale(j) + of_column(bias, j, 0);
    }
  });
}

// A, B, b_scale, b_zero_point, bias: A is quantised as DynamicQuantizeLinear does.
class dynamic_quantize_matmul_op final : public plain_op {
 public:
  explicit dynamic_quantize_matmul_op(const compile_context&) {}

  std::size_t workspace(const shape_context& c) const override { return c.inputs[0].count; }

  void run(const plain_run& r) const override {
    const plain_tensor& a = r.in(0);
    const dynamic_quantisation q(a);
    for (integer i = 0; i < a.count; ++i) {
      r.workspace[i] = static_cast<double>(std::clamp(q.steps(a.data[i]), 0.0F, 255.0F));
    }
    multiply(r, r.workspace, static_cast<double>(q.zero), r.in(3), r.in(4),
             [&](integer j) { return static_cast<double>(q.scale) * of_column(r.in(2), j, 1); });
  }
};

// A, B, a_scale, b_scale, a_zero_point, b_zero_point, bias.
class matmul_integer_to_float_op final : public plain_op {
 public:
  explicit matmul_integer_to_float_op(const compile_context&) {}

  void run(const plain_run& r) const override {
    multiply(r, r.in(0).data, of_column(r.in(4), 0, 0), r.in(5), r.in(6),
             [&](integer j) { return r.in(2).data[0] * of_column(r.in(3), j, 1); });
  }
};

// A, a_scale, a_zero, B, b_scale, b_zero, C, y_scale, y_zero. C counts in the steps of a product.
class quantised_gemm_op final : public plain_op {
 public:
  explicit quantised_gemm_op(const compile_context& c)
      : alpha_(static_cast<double>(c.n.attributes.get_float("alpha", 1.0F))),
        ta_(c.n.attributes.get_int("transA", 0) != 0),
        tb_(c.n.attributes.get_int("transB", 0) != 0) {}

  void run(const plain_run& r) const override {
    const plain_tensor& a = r.in(0);
    const plain_tensor& b = r.in(3);
    const plain_tensor& y = r.out(0);
    const integer rows = y.dim(0);
    const integer columns = y.dim(1);
    const integer depth = a.dim(ta_ ? 0 : 1);
    const double a_zero = of_column(r.in(2), 0, 0);
    const bool quantised = r.inputs[7].present();
    r.pool.parallel_for(static_cast<std::size_t>(rows), 1, [&](std::size_t begin, std::size_t end) {
      patience asked(r);
      for (auto i = static_cast<integer>(begin); i < static_cast<integer>(end); ++i) {
        for (integer j = 0; j < columns; ++j) {
          asked.spend(depth + 1);
          const double b_zero = of_column(r.in(5), j, 0);
          double sum = 0;
          for (integer k = 0; k < depth; ++k) {
            sum += (a.data[ta_ ? k * rows + i : i * depth + k] - a_zero) *
                   (b.data[tb_ ? j * depth + k : k * columns + j] - b_zero);
          }
          if (r.in(6).present()) sum += r.in(6).data[broadcast_offset(r.in(6), y, {i, j})];
          const double v = alpha_ * r.in(1).data[0] * of_column(r.in(4), j, 1) * sum;
          y.data[i * columns + j] =
              quantised ? std::nearbyint(v / r.in(7).data[0]) + of_column(r.in(8), 0, 0) : v;
        }
      }
    });
  }

 private:
  double alpha_;
  bool ta_, tb_;
};

// A, a_scale, a_zero, B, b_scale, b_zero, c_scale, c_zero; broadcast.
template <bool Product>
class qlinear_binary_op final : public plain_op {
 public:
  explicit qlinear_binary_op(const compile_context&) {}

  void run(const plain_run& r) const override {
    const plain_tensor& y = r.out(0);
    std::array<integer, max_rank> at{};
    for (integer i = 0; i < y.count; ++i, next_index(y.shape, at.data())) {
      const double a = value(r, 0, y, at);
      const double b = value(r, 3, y, at);
      y.data[i] =
          std::nearbyint((Product ? a * b : a + b) / r.in(6).data[0]) + of_column(r.in(7), 0, 0);
    }
  }

 private:
  static double value(const plain_run& r, std::size_t input, const plain_tensor& whole,
                      const std::array<integer, max_rank>& at) noexcept {
    const plain_tensor& t = r.in(input);
    return (t.data[broadcast_offset(t, whole, at)] - of_column(r.in(input + 2), 0, 0)) *
           r.in(input + 1).data[0];
  }
};

// X, x_scale, x_zero, y_scale, y_zero: a function of each element, or the mean of each channel.
class qlinear_unary_op final : public plain_op {
 public:
  explicit qlinear_unary_op(const compile_context& c)
      : sigmoid_(c.n.op_type == "QLinearSigmoid"),
        alpha_(static_cast<double>(c.n.attributes.get_float("alpha", 0.01F))) {}

  void run(const plain_run& r) const override {
    const double zero = of_column(r.in(2), 0, 0);
    for (integer i = 0; i < r.out(0).count; ++i) {
      const double x = (r.in(0).data[i] - zero) * r.in(1).data[0];
      const double f = sigmoid_ ? 1 / (1 + std::exp(-x)) : x < 0 ? alpha_ * x : x;
      r.out(0).data[i] = std::nearbyint(f / r.in(3).data[0]) + of_column(r.in(4), 0, 0);
    }
  }

 private:
  bool sigmoid_;
  double alpha_;
};

class qlinear_global_average_pool_op final : public plain_op {
 public:
  explicit qlinear_global_average_pool_op(const compile_context& c) {
    if (c.n.attributes.get_int("channels_last", 0) != 0) c.unsupported("channels_last");
  }

  void run(const plain_run& r) const override {
    const plain_tensor& x = r.in(0);
    const integer plane = x.extent(2, x.rank());
    for (integer i = 0; i < r.out(0).count; ++i) {
      double sum = 0;
      for (integer k = 0; k < plane; ++k) sum += x.data[i * plane + k];
      const double mean = (sum / real(plane) - of_column(r.in(2), 0, 0)) * r.in(1).data[0];
      r.out(0).data[i] = std::nearbyint(mean / r.in(3).data[0]) + of_column(r.in(4), 0, 0);
    }
  }
};

// MatMul of matrices whose last two dimensions may be swapped, times alpha.
class fused_matmul_op final : public plain_op {
 public:
  explicit fused_matmul_op(const compile_context& c)
      : alpha_(static_cast<double>(c.n.attributes.get_float("alpha", 1))),
        ta_(c.n.attributes.get_int("transA", 0) != 0),
        tb_(c.n.attributes.get_int("transB", 0) != 0) {
    if (c.n.attributes.get_int("transBatchA", 0) != 0 ||
        c.n.attributes.get_int("transBatchB", 0) != 0) {
      c.unsupported("transBatchA and transBatchB");
    }
  }

  void run(const plain_run& r) const override {
    const plain_tensor& a = r.in(0);
    const plain_tensor& b = r.in(1);
    const plain_tensor& y = r.out(0);
    const integer rows = y.dim(-2);
    const integer columns = y.dim(-1);
    const integer depth = a.dim(ta_ ? -2 : -1);
    const auto batch = y.shape.first(y.shape.size() - 2);
    std::array<integer, max_rank> at{};
    for (integer m = 0; m * rows * columns < y.count; ++m, next_index(batch, at.data())) {
      const double* const left = a.data + matrix(a, batch.size(), at) * rows * depth;
      const double* const right = b.data + matrix(b, batch.size(), at) * depth * columns;
      for (integer i = 0; i < rows; ++i) {
        for (integer j = 0; j < columns; ++j) {
          double sum = 0;
          for (integer k = 0; k < depth; ++k) {
            sum += left[ta_ ? k * rows + i : i * depth + k] *
                   right[tb_ ? j * depth + k : k * columns + j];
          }
          y.data[(m * rows + i) * columns + j] = alpha_ * sum;
        }
      }
    }
  }

 private:
  static integer matrix(const plain_tensor& t, std::size_t batch,
                        const std::array<integer, max_rank>& at) noexcept {
    const std::size_t own = t.shape.size() - 2;
    integer flat = 0;
    for (std::size_t d = 0; d < own; ++d) {
      flat = flat * t.shape[d] + (t.shape[d] == 1 ? 0 : at[d + batch - own]);
    }
    return flat;
  }

  double alpha_;
  bool ta_, tb_;
};

}  // namespace

void register_microsoft_quantised(op_registry& registry) {
  const auto add = [&](std::string_view op, compile_function compile) {
    registry.add_plain(op, {compile}, 1, any_opset, microsoft_domain);
  };
  registry.add("MatMulNBits", {compile_matmul_n_bits}, 1, any_opset, microsoft_domain);
  add("DynamicQuantizeMatMul", compile_plain<dynamic_quantize_matmul_op>);
  add("FusedMatMul", compile_plain<fused_matmul_op>);
  add("MatMulIntegerToFloat", compile_plain<matmul_integer_to_float_op>);
  add("QGemm", compile_plain<quantised_gemm_op>);
  add("QLinearAdd", compile_plain<qlinear_binary_op<false>>);
  add("QLinearGlobalAveragePool", compile_plain<qlinear_global_average_pool_op>);
  add("QLinearLeakyRelu", compile_plain<qlinear_unary_op>);
  add("QLinearMul", compile_plain<qlinear_binary_op<true>>);
  add("QLinearSigmoid", compile_plain<qlinear_unary_op>);
}

}  // namespace mizzen::inference::detail
