// Gemm of the types that the fast one lacks, Einsum and Det.
#include "inference/cpu/ops/plain.hpp"
#include "inference/cpu/thread_pool.hpp"
#include "inference/graph/einsum.hpp"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

namespace mizzen::inference::detail {
namespace {

class gemm_op final : public plain_op {
 public:
  explicit gemm_op(const compile_context& c)
      : alpha_(static_cast<double>(c.n.attributes.get_float("alpha", 1))),
        beta_(static_cast<double>(c.n.attributes.get_float("beta", 1))),
        ta_(c.n.attributes.get_int("transA", 0) != 0),
        tb_(c.n.attributes.get_int("transB", 0) != 0) {}

  void run(const plain_run& r) const override {
    const plain_tensor& a = r.in(0);
    const plain_tensor& b = r.in(1);
    const plain_tensor& bias = r.in(2);
    const integer rows = r.out(0).dim(0);
    const integer columns = r.out(0).dim(1);
    const integer depth = a.dim(ta_ ? 0 : 1);
    patience left(r);
    for (integer i = 0; i < rows; ++i) {
      for (integer j = 0; j < columns; ++j) {
        left.spend(depth);
        double sum = 0;
        for (integer k = 0; k < depth; ++k) {
          sum += a.data[ta_ ? k * rows + i : i * depth + k] *
                 b.data[tb_ ? j * depth + k : k * columns + j];
        }
        sum *= alpha_;
        if (bias.present()) {
          const bool wide = bias.rank() > 0 && bias.dim(-1) != 1;
          const bool high = bias.rank() > 1 && bias.dim(-2) != 1;
          sum += beta_ * bias.data[(high ? i * (wide ? columns : 1) : 0) + (wide ? j : 0)];
        }
        r.out(0).data[i * columns + j] = sum;
      }
    }
  }

 private:
  double alpha_, beta_;
  bool ta_, tb_;
};

// One loop over all labels: right for any equation, fast for none.
class einsum_op final : public plain_op {
 public:
  explicit einsum_op(const compile_context& c) : inputs_(c.n.operator_inputs()) {
    std::vector<std::size_t> ranks;
    for (std::size_t i = 0; i < inputs_; ++i) {
      if (!c.has_input(i) || !c.input(i).shape) c.unsupported("an input of unknown rank");
      ranks.push_back(c.input(i).shape->size());
    }
    terms_ = parse_einsum(c.n.attributes.get_string("equation", ""), ranks);
    if (terms_.labels > most_labels) c.unsupported("so many labels");
    // The labels of the output first, in its order: the rest is summed.
    order_.assign(terms_.labels, 0);
    std::vector<bool> placed(terms_.labels, false);
    for (const std::size_t l : terms_.output) {
      order_[l] = outer_++;
      placed[l] = true;
    }
    std::size_t next = outer_;
    for (std::size_t l = 0; l < terms_.labels; ++l) {
      if (!placed[l]) order_[l] = next++;
    }
  }

  void run(const plain_run& r) const override {
    std::array<integer, most_labels> size{};
    size.fill(1);
    std::array<std::array<integer, most_labels>, plain_run::most_inputs> steps{};
    for (std::size_t i = 0; i < inputs_; ++i) {
      const plain_tensor& x = r.in(i);
      integer step = 1;
      for (std::size_t d = x.shape.size(); d-- > 0;) {
        const std::size_t at = order_[terms_.operands[i][d]];
        if (x.shape[d] != 1) {
          size[at] = x.shape[d];
          steps[i][at] += step;
        }
        step *= x.shape[d];
      }
    }
    double work = 1;
    for (std::size_t l = 0; l < terms_.labels; ++l) work *= real(size[l]);
    if (work > most_work) {
      throw error(errc::resource_exhausted, "attribute 'equation'",
                  "it multiplies more often than is reasonable");
    }
    const std::span<const integer> outer(size.data(), outer_);
    const std::span<const integer> inner(size.data() + outer_, terms_.labels - outer_);
    integer terms = 1;
    for (const integer d : inner) terms *= d;
    std::array<integer, most_labels> at{};
    patience left(r);
    for (integer o = 0; o < r.out(0).count; ++o, next_index(outer, at.data())) {
      double sum = 0;
      left.spend(1);
      for (integer t = 0; t < terms; ++t, next_index(inner, at.data() + outer_)) {
        // One sum alone may take minutes.
        constexpr integer lot = 1024;
        if (t % lot == 0) left.spend(std::min(lot, terms - t));
        double product = 1;
        for (std::size_t i = 0; i < inputs_; ++i) {
          integer flat = 0;
          for (std::size_t l = 0; l < terms_.labels; ++l) flat += at[l] * steps[i][l];
          product *= r.in(i).data[flat];
        }
        sum += product;
      }
      r.out(0).data[o] = sum;
    }
  }

 private:
  static constexpr std::size_t most_labels = 32;
  static constexpr double most_work = 0x1p36;  // minutes

  std::size_t inputs_;
  einsum_terms terms_;
  std::vector<std::size_t> order_;
  std::size_t outer_ = 0;
};

class det_op final : public plain_op {
 public:
  explicit det_op(const compile_context&) {}

  std::size_t workspace(const shape_context& c) const override {
    const auto n = static_cast<std::size_t>(c.inputs[0].shape.back());
    return n * n;
  }

  void run(const plain_run& r) const override {
    const integer n = r.in(0).dim(-1);
    patience left(r);
    for (integer m = 0; m < r.out(0).count; ++m) {
      std::copy_n(r.in(0).data + m * n * n, n * n, r.workspace);
      r.out(0).data[m] = determinant(r.workspace, n, left);
    }
  }

 private:
  // Gaussian elimination, the largest pivot of each column first.
  static double determinant(double* a, integer n, patience& left) {
    double product = 1;
    for (integer k = 0; k < n; ++k) {
      left.spend((n - k) * (n - k));
      integer pivot = k;
      for (integer i = k + 1; i < n; ++i) {
        if (std::abs(a[i * n + k]) > std::abs(a[pivot * n + k])) pivot = i;
      }
      if (a[pivot * n + k] == 0) return 0;
      if (pivot != k) {
        product = -product;
        std::swap_ranges(a + k * n, a + (k + 1) * n, a + pivot * n);
      }
      product *= a[k * n + k];
      for (integer i = k + 1; i < n; ++i) {
        const double factor = a[i * n + k] / a[k * n + k];
        for (integer j = k + 1; j < n; ++j) a[i * n + j] -= factor * a[k * n + j];
      }
    }
    return product;
  }
};

}  // namespace

void register_plain_linear(op_registry& registry) {
  registry.add_plain("Gemm", {compile_plain<gemm_op>}, 7);
  registry.add_plain("Einsum", {compile_plain<einsum_op>}, 12);
  registry.add_plain("Det", {compile_plain<det_op>}, 11);
}

}  // namespace mizzen::inference::detail
