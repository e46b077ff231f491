// Normalisations and activations of the domain com.microsoft. Source: ContribOperators.md of ONNX
// Runtime.
#include "inference/cpu/ops/microsoft.hpp"
#include "inference/cpu/ops/plain.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace mizzen::inference::detail {
namespace {

double gelu(double x) noexcept { return x / 2 * (1 + std::erf(x / std::numbers::sqrt2)); }

double fast_gelu(double x) noexcept {
  const double inner = std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x);
  return x / 2 * (1 + std::tanh(inner));
}

// f(x + bias) with a bias for each index of the last dimension, if any.
template <double (*F)(double) noexcept>
class biased_op final : public plain_op {
 public:
  explicit biased_op(const compile_context&) {}

  void run(const plain_run& r) const override {
    const plain_tensor& bias = r.in(1);
    for (integer i = 0; i < r.out(0).count; ++i) {
      r.out(0).data[i] = F(r.in(0).data[i] + (bias.present() ? bias.data[i % bias.count] : 0.0));
    }
  }
};

class quick_gelu_op final : public plain_op {
 public:
  explicit quick_gelu_op(const compile_context& c)
      : alpha_(static_cast<double>(c.n.attributes.get_float("alpha", 1.702F))) {}

  void run(const plain_run& r) const override {
    for (integer i = 0; i < r.out(0).count; ++i) {
      const double x = r.in(0).data[i];
      r.out(0).data[i] = x / (1 + std::exp(-alpha_ * x));
    }
  }

 private:
  double alpha_;
};

// Normalises one row in place; without centring where beta-less RMS normalisation is meant.
void normalise(double* row, integer n, bool centre, double epsilon, const double* gamma,
               const double* beta) noexcept {
  double mean = 0;
  for (integer i = 0; i < n && centre; ++i) mean += row[i] / real(n);
  double variance = 0;
  for (integer i = 0; i < n; ++i) variance += (row[i] - mean) * (row[i] - mean) / real(n);
  const double factor = 1 / std::sqrt(variance + epsilon);
  for (integer i = 0; i < n; ++i) {
    row[i] = (row[i] - mean) * factor * gamma[i] + (beta != nullptr ? beta[i] : 0.0);
  }
}

// input, skip, gamma, (beta,) bias; outputs 0 and 3 (the sum before).
template <bool Centre>
class skip_norm_op final : public plain_op {
 public:
  explicit skip_norm_op(const compile_context& c)
      : epsilon_(static_cast<double>(c.n.attributes.get_float("epsilon", 1e-12F))) {
    if (c.has_output(1) || c.has_output(2)) c.unsupported("the outputs of statistics");
  }

  void run(const plain_run& r) const override {
    const plain_tensor& x = r.in(0);
    const plain_tensor& skip = r.in(1);
    const plain_tensor& beta = r.in(Centre ? 3 : plain_run::most_inputs - 1);
    const plain_tensor& bias = r.in(Centre ? 4 : 3);
    const integer n = x.dim(-1);
    for (integer at = 0; at < x.count; at += n) {
      double* const y = r.out(0).data + at;
      for (integer i = 0; i < n; ++i) {
        y[i] = x.data[at + i] + skip.data[(at + i) % skip.count];
        if (bias.present()) y[i] += bias.data[i];
      }
      if (r.out(3).present()) std::copy_n(y, n, r.out(3).data + at);
      normalise(y, n, Centre, epsilon_, r.in(2).data, beta.data);
    }
  }

 private:
  double epsilon_;
};

// input_ids, segment_ids, word, position, segment embeddings, gamma, beta, mask, position_ids.
class embed_norm_op final : public plain_op {
 public:
  explicit embed_norm_op(const compile_context& c)
      : epsilon_(static_cast<double>(c.n.attributes.get_float("epsilon", 1e-12F))) {}

  void run(const plain_run& r) const override {
    const plain_tensor& ids = r.in(0);
    const plain_tensor& segments = r.in(1);
    const plain_tensor& positions = r.in(8);
    const integer length = ids.dim(1);
    const integer n = r.in(2).dim(1);
    for (integer row = 0; row < ids.count; ++row) {
      double* const y = r.out(0).data + row * n;
      const double* const word = line(r.in(2), ids.number(row, 0, r.in(2).dim(0) - 1, "input_ids"));
      integer position = row % length;
      if (positions.present()) {
        position = positions.number(positions.dim(0) == 1 ? position : row, 0, r.in(3).dim(0) - 1,
                                    "position_ids");
      }
      if (position >= r.in(3).dim(0)) {
        throw error(errc::out_of_range, "position_embedding", "it is shorter than the input");
      }
      const double* const place = line(r.in(3), position);
      for (integer i = 0; i < n; ++i) y[i] = word[i] + place[i];
      if (segments.present() && r.in(4).present()) {
        const double* const segment =
            line(r.in(4), segments.number(row, 0, r.in(4).dim(0) - 1, "segment_ids"));
        for (integer i = 0; i < n; ++i) y[i] += segment[i];
      }
      if (r.out(2).present()) std::copy_n(y, n, r.out(2).data + row * n);
      normalise(y, n, true, epsilon_, r.in(5).data, r.in(6).data);
    }
    if (!r.out(1).present()) return;
    // How many are not masked; 0 where there is no mask.
    for (integer b = 0; b < ids.dim(0); ++b) {
      double count = 0;
      for (integer i = 0; i < length && r.in(7).present(); ++i) {
        if (r.in(7).data[b * length + i] == 1) ++count;
      }
      r.out(1).data[b] = count;
    }
  }

 private:
  static const double* line(const plain_tensor& t, integer i) noexcept {
    return t.data + i * t.dim(1);
  }

  double epsilon_;
};

}  // namespace

void register_microsoft_norm(op_registry& registry) {
  const auto add = [&](std::string_view op, compile_function compile) {
    registry.add_plain(op, {compile}, 1, any_opset, microsoft_domain);
  };
  add("BiasGelu", compile_plain<biased_op<gelu>>);
  add("EmbedLayerNormalization", compile_plain<embed_norm_op>);
  add("FastGelu", compile_plain<biased_op<fast_gelu>>);
  add("Gelu", compile_plain<biased_op<gelu>>);
  add("QuickGelu", compile_plain<quick_gelu_op>);
  add("SkipLayerNormalization", compile_plain<skip_norm_op<true>>);
  add("SkipSimplifiedLayerNormalization", compile_plain<skip_norm_op<false>>);
}

}  // namespace mizzen::inference::detail
