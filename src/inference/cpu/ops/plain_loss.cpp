// NegativeLogLikelihoodLoss and SoftmaxCrossEntropyLoss.
#include "inference/cpu/ops/plain.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace mizzen::inference::detail {
namespace {

// Scores [N, C, D…], a class for each of [N, D…], a weight for each class.
class loss_op final : public plain_op {
 public:
  explicit loss_op(const compile_context& c)
      : cross_entropy_(c.n.op_type == "SoftmaxCrossEntropyLoss"),
        has_ignored_(c.n.attributes.has("ignore_index")),
        ignored_(c.n.attributes.get_int("ignore_index", 0)) {
    const std::string how = c.n.attributes.get_string("reduction", "mean");
    if (how != "mean" && how != "sum" && how != "none") {
      c.invalid("attribute 'reduction' must be mean, sum or none, not '" + how + "'");
    }
    mean_ = how == "mean";
    none_ = how == "none";
  }

  std::size_t workspace(const shape_context& c) const override {
    return cross_entropy_ ? c.inputs[0].count : 0;
  }

  void run(const plain_run& r) const override {
    const plain_tensor& x = r.in(0);
    const plain_tensor& target = r.in(1);
    const plain_tensor& weight = r.in(2);
    const integer classes = x.dim(1);
    const integer inner = x.extent(2, x.rank());
    const double* logarithms = x.data;
    if (cross_entropy_) {
      double* const made = r.out(1).present() ? r.out(1).data : r.workspace;
      log_softmax(x, inner, made);
      logarithms = made;
    }
    double sum = 0;
    double weights = 0;
    for (integer i = 0; i < target.count; ++i) {
      double loss = 0;
      const bool skip = has_ignored_ && target.data[i] == real(ignored_);
      if (!skip) {
        const integer which = target.number(i, 0, classes - 1, "target");
        const double w = weight.present() ? weight.data[which] : 1;
        loss = -w * logarithms[(i / inner * classes + which) * inner + i % inner];
        weights += w;
      }
      sum += loss;
      if (none_) r.out(0).data[i] = loss;
    }
    if (!none_) r.out(0).data[0] = mean_ ? sum / weights : sum;
  }

 private:
  static void log_softmax(const plain_tensor& x, integer inner, double* y) noexcept {
    const integer classes = x.dim(1);
    for (integer row = 0; row < x.dim(0) * inner; ++row) {
      const integer at = row / inner * classes * inner + row % inner;
      double top = -std::numeric_limits<double>::infinity();
      for (integer k = 0; k < classes; ++k) top = std::max(top, x.data[at + k * inner]);
      double sum = 0;
      for (integer k = 0; k < classes; ++k) sum += std::exp(x.data[at + k * inner] - top);
      for (integer k = 0; k < classes; ++k) {
        y[at + k * inner] = x.data[at + k * inner] - top - std::log(sum);
      }
    }
  }

  bool cross_entropy_;
  bool has_ignored_;
  integer ignored_;
  bool mean_ = true;
  bool none_ = false;
};

}  // namespace

void register_plain_loss(op_registry& registry) {
  registry.add_plain("NegativeLogLikelihoodLoss", {compile_plain<loss_op>}, 12);
  registry.add_plain("SoftmaxCrossEntropyLoss", {compile_plain<loss_op>}, 12);
}

}  // namespace mizzen::inference::detail
