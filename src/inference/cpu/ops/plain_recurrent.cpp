// RNN, GRU and LSTM.
#include "inference/cpu/ops/plain.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

namespace mizzen::inference::detail {
namespace {

// A function between gates. Source: ONNX RNN, attribute "activations".
struct gate_function {
  enum class kind {
    relu,
    tanh,
    sigmoid,
    affine,
    leaky_relu,
    thresholded_relu,
    scaled_tanh,
    hard_sigmoid,
    elu,
    softsign,
    softplus
  } f = kind::tanh;
  double alpha = 0, beta = 0;

  double operator()(double x) const noexcept {
    switch (f) {
      case kind::relu:
        return std::max(x, 0.0);
      case kind::tanh:
        return std::tanh(x);
      case kind::sigmoid:
        return 1 / (1 + std::exp(-x));
      case kind::affine:
        return alpha * x + beta;
      case kind::leaky_relu:
        return x < 0 ? alpha * x : x;
      case kind::thresholded_relu:
        return x > alpha ? x : 0;
      case kind::scaled_tanh:
        return alpha * std::tanh(beta * x);
      case kind::hard_sigmoid:
        return std::clamp(alpha * x + beta, 0.0, 1.0);
      case kind::elu:
        return x < 0 ? alpha * std::expm1(x) : x;
      case kind::softsign:
        return x / (1 + std::abs(x));
      case kind::softplus:
        return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x)));
    }
    return x;
  }
};

struct named_function {
  std::string_view name;
  gate_function::kind f;
  double alpha, beta;
  int parameters;
};

constexpr named_function functions[] = {
    {"relu", gate_function::kind::relu, 0, 0, 0},
    {"tanh", gate_function::kind::tanh, 0, 0, 0},
    {"sigmoid", gate_function::kind::sigmoid, 0, 0, 0},
    {"affine", gate_function::kind::affine, 1, 0, 2},
    {"leakyrelu", gate_function::kind::leaky_relu, 0.01, 0, 1},
    {"thresholdedrelu", gate_function::kind::thresholded_relu, 1, 0, 1},
    {"scaledtanh", gate_function::kind::scaled_tanh, 1, 1, 2},
    {"hardsigmoid", gate_function::kind::hard_sigmoid, 0.2, 0.5, 2},
    {"elu", gate_function::kind::elu, 1, 0, 1},
    {"softsign", gate_function::kind::softsign, 0, 0, 0},
    {"softplus", gate_function::kind::softplus, 0, 0, 0},
};

// What the three operators share: the walk through time, directions and batch.
class recurrent_op : public plain_op {
 public:
  // defaults: the functions of one direction.
  recurrent_op(const compile_context& c, integer gates, std::vector<std::string> defaults)
      : gates_(gates), batch_first_(c.n.attributes.get_int("layout", 0) != 0) {
    const attribute_map& a = c.n.attributes;
    const std::string direction = a.get_string("direction", "forward");
    if (direction != "forward" && direction != "reverse" && direction != "bidirectional") {
      c.invalid("unknown direction '" + direction + "'");
    }
    reverse_ = direction == "reverse";
    per_direction_ = defaults.size();
    const std::size_t directions = direction == "bidirectional" ? 2 : 1;
    std::vector<std::string> names;
    for (std::size_t d = 0; d < directions; ++d) {
      names.insert(names.end(), defaults.begin(), defaults.end());
    }
    if (const attribute_value* given = a.find("activations")) {
      const auto* list = std::get_if<std::vector<std::string>>(given);
      if (list == nullptr || list->size() != names.size()) {
        c.invalid("attribute 'activations' must have " + std::to_string(names.size()) + " names");
      }
      names = *list;
    }
    const std::vector<float> alphas = a.get_floats("activation_alpha");
    const std::vector<float> betas = a.get_floats("activation_beta");
    std::size_t next_alpha = 0;
    std::size_t next_beta = 0;
    for (std::string& name : names) {
      std::transform(name.begin(), name.end(), name.begin(), [](char ch) {
        return ch >= 'A' && ch <= 'Z' ? static_cast<char>(ch - 'A' + 'a') : ch;
      });
      const auto* found = std::find_if(std::begin(functions), std::end(functions),
                                       [&](const named_function& f) { return f.name == name; });
      if (found == std::end(functions)) c.invalid("unknown activation '" + name + "'");
      gate_function f{found->f, found->alpha, found->beta};
      if (found->parameters > 0 && next_alpha < alphas.size()) {
        f.alpha = static_cast<double>(alphas[next_alpha++]);
      }
      if (found->parameters > 1 && next_beta < betas.size()) {
        f.beta = static_cast<double>(betas[next_beta++]);
      }
      functions_.push_back(f);
    }
    clip_ = static_cast<double>(a.get_float("clip", 0));
  }

  // The gates and the two states of one sequence.
  std::size_t workspace(const shape_context& c) const override {
    return static_cast<std::size_t>((gates_ + 3) * c.inputs[2].shape[2]);
  }

  void run(const plain_run& r) const override {
    const plain_tensor& x = r.in(0);
    const integer batch = x.dim(batch_first_ ? 0 : 1);
    const integer steps = x.dim(batch_first_ ? 1 : 0);
    const integer directions = r.in(1).dim(0);
    const integer hidden = r.in(2).dim(2);
    double* const gates = r.workspace;
    double* const h = gates + (gates_ + 1) * hidden;
    double* const cell = h + hidden;
    if (r.out(0).present()) std::fill_n(r.out(0).data, r.out(0).count, 0.0);
    patience left(r);
    for (integer d = 0; d < directions; ++d) {
      for (integer b = 0; b < batch; ++b) {
        const integer state = (batch_first_ ? b * directions + d : d * batch + b) * hidden;
        const auto initial = [&](std::size_t input, double* to) {
          if (r.in(input).present()) {
            std::copy_n(r.in(input).data + state, hidden, to);
          } else {
            std::fill_n(to, hidden, 0.0);
          }
        };
        initial(5, h);
        initial(6, cell);
        const integer length =
            r.in(4).present() ? r.in(4).number(b, 0, steps, "sequence_lens") : steps;
        for (integer s = 0; s < length; ++s) {
          left.spend(gates_ * hidden * (hidden + x.dim(2)));
          const integer t = reverse_ || d == 1 ? length - 1 - s : s;
          const double* const row =
              x.data + (batch_first_ ? b * steps + t : t * batch + b) * x.dim(2);
          step(r, d, row, gates, h, cell);
          if (!r.out(0).present()) continue;
          const integer at =
              batch_first_ ? (b * steps + t) * directions + d : (t * directions + d) * batch + b;
          std::copy_n(h, hidden, r.out(0).data + at * hidden);
        }
        if (r.out(1).present()) std::copy_n(h, hidden, r.out(1).data + state);
        if (r.out(2).present()) std::copy_n(cell, hidden, r.out(2).data + state);
      }
    }
  }

 protected:
  // Reads an input row and the state, writes the next state. gates has room for one row more.
  virtual void step(const plain_run& r, integer direction, const double* x, double* gates,
                    double* h, double* cell) const = 0;

  double call(integer direction, std::size_t which, double x) const noexcept {
    const double inside = clip_ > 0 ? std::clamp(x, -clip_, clip_) : x;
    return functions_[static_cast<std::size_t>(direction) * per_direction_ + which](inside);
  }

  // sum[g] = W[g] · x + R[g] · h + biases for gates [first, last); R and its bias only if asked.
  void weigh(const plain_run& r, integer direction, integer first, integer last, const double* x,
             const double* h, double* sum) const noexcept {
    const integer width = r.in(0).dim(2);
    const integer hidden = r.in(2).dim(2);
    const integer rows = gates_ * hidden;
    const double* const w = r.in(1).data + direction * rows * width;
    const double* const back = r.in(2).data + direction * rows * hidden;
    const double* const bias = r.in(3).present() ? r.in(3).data + direction * 2 * rows : nullptr;
    for (integer i = first * hidden; i < last * hidden; ++i) {
      double v = bias != nullptr ? bias[i] : 0.0;
      for (integer k = 0; k < width; ++k) v += w[i * width + k] * x[k];
      if (h != nullptr) v += recur(back, bias, rows, i, hidden, h);
      sum[i] = v;
    }
  }

  static double recur(const double* back, const double* bias, integer rows, integer i,
                      integer hidden, const double* h) noexcept {
    double v = bias != nullptr ? bias[rows + i] : 0.0;
    for (integer k = 0; k < hidden; ++k) v += back[i * hidden + k] * h[k];
    return v;
  }

  integer gates_;

 private:
  bool batch_first_;
  bool reverse_ = false;
  std::size_t per_direction_ = 1;
  std::vector<gate_function> functions_;
  double clip_ = 0;
};

class rnn_op final : public recurrent_op {
 public:
  explicit rnn_op(const compile_context& c) : recurrent_op(c, 1, {"Tanh"}) {}

 protected:
  void step(const plain_run& r, integer direction, const double* x, double* gates, double* h,
            double*) const override {
    const integer hidden = r.in(2).dim(2);
    weigh(r, direction, 0, 1, x, h, gates);
    for (integer i = 0; i < hidden; ++i) h[i] = call(direction, 0, gates[i]);
  }
};

class gru_op final : public recurrent_op {
 public:
  explicit gru_op(const compile_context& c)
      : recurrent_op(c, 3, {"Sigmoid", "Tanh"}),
        linear_before_reset_(c.n.attributes.get_int("linear_before_reset", 0) != 0) {}

 protected:
  void step(const plain_run& r, integer direction, const double* x, double* gates, double* h,
            double*) const override {
    const integer hidden = r.in(2).dim(2);
    const integer rows = 3 * hidden;
    double* const update = gates;
    double* const reset = gates + hidden;
    double* const fresh = gates + 2 * hidden;
    double* const before = gates + rows;
    weigh(r, direction, 0, 2, x, h, gates);
    weigh(r, direction, 2, 3, x, nullptr, gates);
    for (integer i = 0; i < 2 * hidden; ++i) gates[i] = call(direction, 0, gates[i]);
    for (integer i = 0; i < hidden; ++i) before[i] = linear_before_reset_ ? h[i] : reset[i] * h[i];
    const double* const back = r.in(2).data + direction * rows * hidden;
    const double* const bias = r.in(3).present() ? r.in(3).data + direction * 2 * rows : nullptr;
    for (integer i = 0; i < hidden; ++i) {
      const double v = recur(back, bias, rows, 2 * hidden + i, hidden, before);
      fresh[i] = call(direction, 1, fresh[i] + (linear_before_reset_ ? reset[i] * v : v));
    }
    for (integer i = 0; i < hidden; ++i) h[i] = (1 - update[i]) * fresh[i] + update[i] * h[i];
  }

 private:
  bool linear_before_reset_;
};

class lstm_op final : public recurrent_op {
 public:
  explicit lstm_op(const compile_context& c)
      : recurrent_op(c, 4, {"Sigmoid", "Tanh", "Tanh"}),
        coupled_(c.n.attributes.get_int("input_forget", 0) != 0) {}

 protected:
  void step(const plain_run& r, integer direction, const double* x, double* gates, double* h,
            double* cell) const override {
    const integer hidden = r.in(2).dim(2);
    weigh(r, direction, 0, 4, x, h, gates);
    const double* const peep = r.in(7).present() ? r.in(7).data + direction * 3 * hidden : nullptr;
    const auto look = [&](integer gate, integer i, double state) {
      return peep != nullptr ? peep[gate * hidden + i] * state : 0.0;
    };
    for (integer i = 0; i < hidden; ++i) {
      const double in = call(direction, 0, gates[i] + look(0, i, cell[i]));
      const double forget =
          coupled_ ? 1 - in : call(direction, 0, gates[2 * hidden + i] + look(2, i, cell[i]));
      const double fresh = call(direction, 1, gates[3 * hidden + i]);
      cell[i] = forget * cell[i] + in * fresh;
      const double out = call(direction, 0, gates[hidden + i] + look(1, i, cell[i]));
      h[i] = out * call(direction, 2, cell[i]);
    }
  }

 private:
  bool coupled_;
};

}  // namespace

void register_plain_recurrent(op_registry& registry) {
  registry.add_plain("RNN", {compile_plain<rnn_op>}, 7);
  registry.add_plain("GRU", {compile_plain<gru_op>}, 7);
  registry.add_plain("LSTM", {compile_plain<lstm_op>}, 7);
}

}  // namespace mizzen::inference::detail
