// Normalisations and reductions of any type.
#include "inference/cpu/ops/plain.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace mizzen::inference::detail {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

// Calls each(first element, step, count) for every line along an axis of input 0, which costs so
// many steps for each element.
template <class Each>
void for_each_line(const plain_run& r, integer axis, integer steps, Each each) {
  const plain_tensor& x = r.in(0);
  const integer n = x.dim(axis);
  patience left(r);
  const integer inner = x.extent(axis + 1, x.rank());
  for (integer outer = 0; outer < x.extent(0, axis); ++outer) {
    for (integer i = 0; i < inner; ++i) {
      left.spend(n * steps);
      each(outer * n * inner + i, inner, n);
    }
  }
}

enum class soft { softmax, log_softmax, hardmax };

template <soft Kind>
class soft_op final : public plain_op {
 public:
  explicit soft_op(const compile_context& c)
      : flattens_(c.n.opset < 13), axis_(c.n.attributes.get_int("axis", flattens_ ? 1 : -1)) {}

  void run(const plain_run& r) const override {
    const plain_tensor& x = r.in(0);
    if (x.count == 0) return;
    if (x.rank() == 0) return one(x.data, r.out(0).data, 1, 1);
    if (!flattens_) {
      return for_each_line(r, plain_axis(axis_, x.rank()), 8,
                           [&](integer at, integer step, integer n) {
                             one(x.data + at, r.out(0).data + at, step, n);
                           });
    }
    // Until opset 13 all dimensions from the axis on are one.
    const integer axis = axis_ == x.rank() ? x.rank() : plain_axis(axis_, x.rank());
    const integer n = x.extent(axis, x.rank());
    patience left(r);
    for (integer at = 0; at < x.count; at += n) {
      left.spend(n * 8);
      one(x.data + at, r.out(0).data + at, 1, n);
    }
  }

 private:
  static void one(const double* x, double* y, integer step, integer n) noexcept {
    double top = -infinity;
    integer where = 0;
    for (integer i = 0; i < n; ++i) {
      if (!(x[i * step] > top)) continue;
      top = x[i * step];
      where = i;
    }
    if constexpr (Kind == soft::hardmax) {
      for (integer i = 0; i < n; ++i) y[i * step] = i == where ? 1 : 0;
    } else {
      double sum = 0;
      for (integer i = 0; i < n; ++i) sum += std::exp(x[i * step] - top);
      for (integer i = 0; i < n; ++i) {
        const double shifted = x[i * step] - top;
        y[i * step] = Kind == soft::softmax ? std::exp(shifted) / sum : shifted - std::log(sum);
      }
    }
  }

  bool flattens_;
  integer axis_;
};

class lp_normalization_op final : public plain_op {
 public:
  explicit lp_normalization_op(const compile_context& c)
      : axis_(c.n.attributes.get_int("axis", -1)), p_(c.n.attributes.get_int("p", 2)) {
    if (p_ != 1 && p_ != 2) c.invalid("attribute 'p' must be 1 or 2");
  }

  void run(const plain_run& r) const override {
    const plain_tensor& x = r.in(0);
    double* const y = r.out(0).data;
    for_each_line(r, plain_axis(axis_, x.rank()), 2, [&](integer at, integer step, integer n) {
      double sum = 0;
      for (integer i = 0; i < n; ++i) {
        const double v = x.data[at + i * step];
        sum += p_ == 1 ? std::abs(v) : v * v;
      }
      const double norm = p_ == 1 ? sum : std::sqrt(sum);
      for (integer i = 0; i < n; ++i) {
        y[at + i * step] = norm == 0 ? 0 : x.data[at + i * step] / norm;
      }
    });
  }

 private:
  integer axis_, p_;
};

class lrn_op final : public plain_op {
 public:
  explicit lrn_op(const compile_context& c)
      : size_(c.n.attributes.require_int("size")),
        alpha_(static_cast<double>(c.n.attributes.get_float("alpha", 0.0001F))),
        beta_(static_cast<double>(c.n.attributes.get_float("beta", 0.75F))),
        bias_(static_cast<double>(c.n.attributes.get_float("bias", 1.0F))) {
    if (size_ < 1 || size_ > max_dimension) c.invalid("attribute 'size' must be at least 1");
  }

  void run(const plain_run& r) const override {
    const plain_tensor& x = r.in(0);
    if (x.rank() < 2) throw error(errc::invalid_argument, "input 0", "it has no channels");
    for_each_line(r, 1, std::min(size_, x.dim(1)) + 16, [&](integer at, integer step, integer n) {
      for (integer i = 0; i < n; ++i) {
        const integer first = std::max<integer>(0, i - (size_ - 1) / 2);
        const integer last = std::min<integer>(n - 1, i + size_ / 2);
        double sum = 0;
        for (integer k = first; k <= last; ++k)
          sum += x.data[at + k * step] * x.data[at + k * step];
        r.out(0).data[at + i * step] =
            x.data[at + i * step] / std::pow(bias_ + alpha_ / real(size_) * sum, beta_);
      }
    });
  }

 private:
  integer size_;
  double alpha_, beta_, bias_;
};

struct moments {
  double mean = 0, variance = 0;
};

moments moments_of(const double* x, integer n) noexcept {
  moments m;
  for (integer i = 0; i < n; ++i) m.mean += x[i];
  m.mean /= real(n);
  for (integer i = 0; i < n; ++i) m.variance += (x[i] - m.mean) * (x[i] - m.mean);
  m.variance /= real(n);
  return m;
}

// InstanceNormalization is GroupNormalization with a group for each channel.
class group_normalization_op final : public plain_op {
 public:
  explicit group_normalization_op(const compile_context& c)
      : instance_(c.n.op_type == "InstanceNormalization"),
        groups_(instance_ ? 1 : c.n.attributes.require_int("num_groups")),
        per_group_(!instance_ && c.n.opset < 21),
        epsilon_(static_cast<double>(c.n.attributes.get_float("epsilon", 1e-5F))) {}

  void run(const plain_run& r) const override {
    const plain_tensor& x = r.in(0);
    if (x.count == 0) return;
    const integer channels = x.dim(1);
    const integer plane = x.extent(2, x.rank());
    const integer groups = instance_ ? channels : groups_;
    const integer members = channels / groups;
    patience left(r);
    for (integer g = 0; g < x.dim(0) * groups; ++g) {
      const integer at = g * members * plane;
      left.spend(members * plane);
      const moments m = moments_of(x.data + at, members * plane);
      const double factor = 1 / std::sqrt(m.variance + epsilon_);
      for (integer i = 0; i < members * plane; ++i) {
        const integer channel = g % groups * members + i / plane;
        const integer parameter = per_group_ ? g % groups : channel;
        r.out(0).data[at + i] =
            (x.data[at + i] - m.mean) * factor * r.in(1).data[parameter] + r.in(2).data[parameter];
      }
    }
  }

 private:
  bool instance_;
  integer groups_;
  bool per_group_;  // until opset 21 scale and bias had an entry per group
  double epsilon_;
};

// LayerNormalization and RMSNormalization; scale and bias broadcast.
template <bool Centre>
class layer_normalization_op final : public plain_op {
 public:
  explicit layer_normalization_op(const compile_context& c)
      : axis_(c.n.attributes.get_int("axis", -1)),
        epsilon_(static_cast<double>(c.n.attributes.get_float("epsilon", 1e-5F))) {}

  void run(const plain_run& r) const override {
    const plain_tensor& x = r.in(0);
    if (x.count == 0) return;
    const integer rows = x.extent(0, plain_axis(axis_, x.rank()));
    const integer n = x.count / rows;
    std::array<integer, max_rank> at{};
    patience left(r);
    for (integer row = 0; row < rows; ++row) {
      left.spend(n);
      const double* const from = x.data + row * n;
      moments m = moments_of(from, n);
      if constexpr (!Centre) {
        m = {};
        for (integer i = 0; i < n; ++i) m.variance += from[i] * from[i] / real(n);
      }
      const double factor = 1 / std::sqrt(m.variance + epsilon_);
      for (integer i = 0; i < n; ++i, next_index(x.shape, at.data())) {
        double v = (from[i] - m.mean) * factor;
        if (r.in(1).present()) v *= r.in(1).data[broadcast_offset(r.in(1), x, at)];
        if (Centre && r.in(2).present()) v += r.in(2).data[broadcast_offset(r.in(2), x, at)];
        r.out(0).data[row * n + i] = v;
      }
      if (r.out(1).present()) r.out(1).data[row] = m.mean;
      if (r.out(2).present()) r.out(2).data[row] = factor;
    }
  }

 private:
  integer axis_;
  double epsilon_;
};

// BatchNormalization; with training_mode of the batch's own statistics, which go into the running
// ones. Source: ONNX BatchNormalization-15.
class batch_normalization_op final : public plain_op {
 public:
  explicit batch_normalization_op(const compile_context& c)
      : training_(c.n.attributes.get_int("training_mode", 0) != 0),
        epsilon_(static_cast<double>(c.n.attributes.get_float("epsilon", 1e-5F))),
        momentum_(static_cast<double>(c.n.attributes.get_float("momentum", 0.9F))) {
    if (c.n.opset < 14 && c.has_output(1)) c.unsupported("training before opset 14");
  }

  void run(const plain_run& r) const override {
    const plain_tensor& x = r.in(0);
    const integer channels = x.dim(1);
    const integer plane = x.extent(2, x.rank());
    const integer batch = x.dim(0);
    patience left(r);
    for (integer channel = 0; channel < channels; ++channel) {
      left.spend(batch * plane);
      const auto each = [&](auto f) {
        for (integer n = 0; n < batch; ++n) {
          for (integer i = 0; i < plane; ++i) f((n * channels + channel) * plane + i);
        }
      };
      moments m{r.in(3).data[channel], r.in(4).data[channel]};
      if (training_) {
        const moments running = m;
        m = {};
        each([&](integer i) { m.mean += x.data[i] / real(batch * plane); });
        each([&](integer i) {
          m.variance += (x.data[i] - m.mean) * (x.data[i] - m.mean) / real(batch * plane);
        });
        const auto blend = [&](double old, double now) {
          return old * momentum_ + now * (1 - momentum_);
        };
        if (r.out(1).present()) r.out(1).data[channel] = blend(running.mean, m.mean);
        if (r.out(2).present()) r.out(2).data[channel] = blend(running.variance, m.variance);
      }
      const double scale = r.in(1).data[channel] / std::sqrt(m.variance + epsilon_);
      each([&](integer i) {
        r.out(0).data[i] = (x.data[i] - m.mean) * scale + r.in(2).data[channel];
      });
    }
  }

 private:
  bool training_;
  double epsilon_, momentum_;
};

// Reductions over any axes.
class reduce_op final : public plain_op {
 public:
  explicit reduce_op(const compile_context& c)
      : noop_(c.n.attributes.get_int("noop_with_empty_axes", 0) != 0),
        axes_(c.n.attributes.get_ints("axes")) {
    const std::string& op = c.n.op_type;
    constexpr std::string_view names[] = {
        "ReduceL1",   "ReduceL2",  "ReduceLogSum", "ReduceLogSumExp", "ReduceMax",
        "ReduceMean", "ReduceMin", "ReduceProd",   "ReduceSum",       "ReduceSumSquare"};
    kind_ = static_cast<kind>(std::find(std::begin(names), std::end(names), op) - names);
    if (c.has_input(1) && c.input_type(1) != element_type::int64) c.invalid("'axes' must be int64");
  }

  void run(const plain_run& r) const override {
    const plain_tensor& x = r.in(0);
    const plain_tensor& y = r.out(0);
    std::array<bool, max_rank> reduced{};
    const auto take = [&](integer axis) {
      reduced[static_cast<std::size_t>(plain_axis(axis, x.rank()))] = true;
    };
    integer given = 0;
    if (r.in(1).present()) {
      given = r.in(1).count;
      for (integer i = 0; i < given; ++i) {
        take(r.in(1).number(i, -x.rank(), x.rank() - 1, "axes"));
      }
    } else {
      given = static_cast<integer>(axes_.size());
      for (const integer a : axes_) take(a);
    }
    if (given == 0 && noop_) return void(std::copy_n(x.data, x.count, y.data));
    if (given == 0) reduced.fill(true);
    std::array<integer, max_rank> steps{};
    integer step = 1;
    integer members = 1;
    for (std::size_t d = x.shape.size(); d-- > 0;) {
      steps[d] = reduced[d] ? 0 : step;
      (reduced[d] ? members : step) *= x.shape[d];
    }
    const bool largest = kind_ == kind::max;
    double start = kind_ == kind::prod ? 1 : 0;
    if (largest || kind_ == kind::min) start = extreme(x.type, largest);
    std::fill_n(y.data, y.count, start);
    double* const tops = r.workspace;
    if (kind_ == kind::log_sum_exp) {
      std::fill_n(tops, y.count, -infinity);
      walk(x, steps, [&](integer to, double v) { tops[to] = std::max(tops[to], v); });
    }
    walk(x, steps, [&](integer to, double v) {
      double& sum = y.data[to];
      switch (kind_) {
        case kind::l1:
          sum += std::abs(v);
          break;
        case kind::l2:
        case kind::sum_square:
          sum += v * v;
          break;
        case kind::log_sum_exp:
          sum += std::isinf(tops[to]) ? (v == tops[to] ? 1 : 0) : std::exp(v - tops[to]);
          break;
        case kind::max:
          sum = std::isnan(v) || v > sum ? v : sum;
          break;
        case kind::min:
          sum = std::isnan(v) || v < sum ? v : sum;
          break;
        case kind::prod:
          sum *= v;
          break;
        default:
          sum += v;
      }
    });
    for (integer i = 0; i < y.count; ++i) {
      double& v = y.data[i];
      if (kind_ == kind::mean) v /= real(members);
      if (kind_ == kind::l2) v = std::sqrt(v);
      if (kind_ == kind::log_sum) v = std::log(v);
      if (kind_ == kind::log_sum_exp) v = tops[i] + (std::isinf(tops[i]) ? 0 : std::log(v));
    }
  }

  std::size_t workspace(const shape_context& c) const override {
    return kind_ == kind::log_sum_exp ? c.outputs[0].count : 0;
  }

 private:
  enum class kind { l1, l2, log_sum, log_sum_exp, max, mean, min, prod, sum, sum_square };

  // What an empty maximum or minimum is.
  static double extreme(element_type type, bool largest) noexcept {
    if (type == element_type::boolean) return largest ? 0 : 1;
    return largest ? -infinity : infinity;
  }

  template <class Each>
  static void walk(const plain_tensor& x, const std::array<integer, max_rank>& steps, Each each) {
    std::array<integer, max_rank> at{};
    for (integer i = 0; i < x.count; ++i, next_index(x.shape, at.data())) {
      integer to = 0;
      for (std::size_t d = 0; d < x.shape.size(); ++d) to += at[d] * steps[d];
      each(to, x.data[i]);
    }
  }

  kind kind_;
  bool noop_;
  std::vector<integer> axes_;
};

// Source: ONNX MeanVarianceNormalization-13: over the axes together, default all but the channel.
class mean_variance_op final : public plain_op {
 public:
  explicit mean_variance_op(const compile_context& c)
      : axes_(c.n.attributes.get_ints("axes", {0, 2, 3})) {}

  std::size_t workspace(const shape_context& c) const override { return 2 * c.inputs[0].count; }

  void run(const plain_run& r) const override {
    const plain_tensor& x = r.in(0);
    std::array<integer, max_rank> steps{};
    integer step = 1;
    integer members = 1;
    for (integer d = x.rank(); d-- > 0;) {
      const bool reduced = std::any_of(axes_.begin(), axes_.end(),
                                       [&](integer a) { return plain_axis(a, x.rank()) == d; });
      steps[static_cast<std::size_t>(d)] = reduced ? 0 : step;
      (reduced ? members : step) *= x.dim(d);
    }
    double* const mean = r.workspace;
    double* const variance = mean + x.count;
    std::fill_n(mean, 2 * x.count, 0.0);
    const auto each = [&](auto f) {
      std::array<integer, max_rank> at{};
      for (integer i = 0; i < x.count; ++i, next_index(x.shape, at.data())) {
        integer to = 0;
        for (std::size_t d = 0; d < x.shape.size(); ++d) to += at[d] * steps[d];
        f(i, to);
      }
    };
    each([&](integer i, integer to) { mean[to] += x.data[i] / real(members); });
    each([&](integer i, integer to) {
      variance[to] += (x.data[i] - mean[to]) * (x.data[i] - mean[to]) / real(members);
    });
    // Source: the function body: a small number keeps the quotient finite.
    each([&](integer i, integer to) {
      r.out(0).data[i] = (x.data[i] - mean[to]) / (std::sqrt(variance[to]) + 1e-9);
    });
  }

 private:
  std::vector<integer> axes_;
};

}  // namespace

void register_plain_norm(op_registry& registry) {
  registry.add_plain("Softmax", {compile_plain<soft_op<soft::softmax>>});
  registry.add_plain("LogSoftmax", {compile_plain<soft_op<soft::log_softmax>>});
  registry.add_plain("Hardmax", {compile_plain<soft_op<soft::hardmax>>});
  registry.add_plain("LpNormalization", {compile_plain<lp_normalization_op>});
  registry.add_plain("LRN", {compile_plain<lrn_op>});
  registry.add_plain("MeanVarianceNormalization", {compile_plain<mean_variance_op>}, 9);
  registry.add_plain("GroupNormalization", {compile_plain<group_normalization_op>}, 18);
  registry.add_plain("InstanceNormalization", {compile_plain<group_normalization_op>}, 6);
  registry.add_plain("LayerNormalization", {compile_plain<layer_normalization_op<true>>});
  registry.add_plain("RMSNormalization", {compile_plain<layer_normalization_op<false>>}, 23);
  registry.add("SimplifiedLayerNormalization", {compile_plain<layer_normalization_op<false>>});
  registry.add_plain("BatchNormalization", {compile_plain<batch_normalization_op>}, 7);
  for (const char* op : {"ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax",
                         "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare"}) {
    registry.add_plain(op, {compile_plain<reduce_op>});
  }
}

}  // namespace mizzen::inference::detail
