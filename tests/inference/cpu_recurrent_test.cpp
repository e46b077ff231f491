// Recurrent networks on each instruction set, against the formulas of ONNX in double.
#include "cpu_test.hpp"
#include "inference/cpu/kernels/recurrent.hpp"

#include <cmath>

namespace mizzen::inference::detail::cpu {
namespace {

MIZZEN_EVERY_ISA(cpu_recurrent);

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

struct network {
  recurrent_spec spec;
  std::size_t steps = 0, batch = 0;
  bool with_bias = true, with_peepholes = false, with_state = true;
  std::vector<std::int32_t> lengths = {};
};

struct results {
  std::vector<double> y, h, c;
};

struct weights {
  std::vector<float> x, w, r, bias, peepholes, h, c;

  explicit weights(const network& n) {
    const std::size_t d = n.spec.directions, hidden = n.spec.hidden, rows = n.spec.rows();
    x = random_floats(n.steps * n.batch * n.spec.input, 1);
    w = random_floats(d * rows * n.spec.input, 2);
    r = random_floats(d * rows * hidden, 3, -0.4F, 0.4F);
    if (n.with_bias) bias = random_floats(d * 2 * rows, 4);
    if (n.with_peepholes) peepholes = random_floats(d * 3 * hidden, 5);
    if (n.with_state) h = random_floats(d * n.batch * hidden, 6);
    if (n.with_state) c = random_floats(d * n.batch * hidden, 7);
  }
};

// One sequence in one direction.
void reference(const network& n, const weights& v, std::size_t d, std::size_t b, results& to) {
  const recurrent_spec& s = n.spec;
  const std::size_t hidden = s.hidden, rows = s.rows();
  const auto at = [](const std::vector<float>& list, std::size_t i) {
    return list.empty() ? 0.0 : static_cast<double>(list[i]);
  };
  const auto bound = [&](double value) {
    const auto limit = static_cast<double>(s.clip);
    return limit > 0 ? std::clamp(value, -limit, limit) : value;
  };
  const std::size_t state = (s.batch_first ? b * s.directions + d : d * n.batch + b) * hidden;
  std::vector<double> h(hidden), c(hidden), next(hidden);
  for (std::size_t i = 0; i < hidden; ++i) {
    h[i] = at(v.h, state + i);
    c[i] = at(v.c, state + i);
  }
  const std::size_t length = n.lengths.empty() ? n.steps : static_cast<std::size_t>(n.lengths[b]);
  for (std::size_t step = 0; step < length; ++step) {
    const std::size_t t = s.reverse || d == 1 ? length - 1 - step : step;
    const std::size_t row = s.batch_first ? b * n.steps + t : t * n.batch + b;
    const auto from_x = [&](std::size_t i) {
      double sum = at(v.bias, d * 2 * rows + i);
      for (std::size_t k = 0; k < s.input; ++k) {
        sum += at(v.w, (d * rows + i) * s.input + k) * at(v.x, row * s.input + k);
      }
      return sum;
    };
    const auto from_h = [&](std::size_t i, auto&& value) {
      double sum = at(v.bias, d * 2 * rows + rows + i);
      for (std::size_t k = 0; k < hidden; ++k) {
        sum += at(v.r, (d * rows + i) * hidden + k) * value(k);
      }
      return sum;
    };
    const auto plain_h = [&](std::size_t k) { return h[k]; };
    const auto both = [&](std::size_t i) { return from_x(i) + from_h(i, plain_h); };
    const auto reset = [&](std::size_t k) { return sigmoid(bound(both(hidden + k))); };
    std::vector<double> cell = c;
    for (std::size_t i = 0; i < hidden; ++i) {
      if (s.cell == recurrent_cell::rnn) {
        next[i] = s.functions[d] == unary_op::relu ? std::max(bound(both(i)), 0.0)
                                                   : std::tanh(bound(both(i)));
      } else if (s.cell == recurrent_cell::gru) {
        const double update = sigmoid(bound(both(i)));
        const std::size_t g = 2 * hidden + i;
        const double back = s.linear_before_reset
                                ? reset(i) * from_h(g, plain_h)
                                : from_h(g, [&](std::size_t k) { return reset(k) * h[k]; });
        next[i] = (1 - update) * std::tanh(bound(from_x(g) + back)) + update * h[i];
      } else {
        const auto look = [&](std::size_t gate) {
          return at(v.peepholes, (d * 3 + gate) * hidden + i);
        };
        const double in = sigmoid(bound(both(i) + look(0) * c[i]));
        const double forget =
            s.coupled ? 1 - in : sigmoid(bound(both(2 * hidden + i) + look(2) * c[i]));
        cell[i] = forget * c[i] + in * std::tanh(bound(both(3 * hidden + i)));
        next[i] = sigmoid(bound(both(hidden + i) + look(1) * cell[i])) * std::tanh(bound(cell[i]));
      }
    }
    h = next;
    c = cell;
    const std::size_t out =
        s.batch_first ? (b * n.steps + t) * s.directions + d : (t * s.directions + d) * n.batch + b;
    std::copy(h.begin(), h.end(), to.y.begin() + static_cast<std::ptrdiff_t>(out * hidden));
  }
  std::copy(h.begin(), h.end(), to.h.begin() + static_cast<std::ptrdiff_t>(state));
  std::copy(c.begin(), c.end(), to.c.begin() + static_cast<std::ptrdiff_t>(state));
}

void check(const kernel_table& kernels, thread_pool& pool, const network& n,
           const std::string& what) {
  SCOPED_TRACE(what);
  const weights v(n);
  const recurrent_spec& s = n.spec;
  const std::size_t states = s.directions * n.batch * s.hidden;
  results want{std::vector<double>(n.steps * states), std::vector<double>(states),
               std::vector<double>(states)};
  for (std::size_t d = 0; d < s.directions; ++d) {
    for (std::size_t b = 0; b < n.batch; ++b) reference(n, v, d, b, want);
  }
  const auto pointer = [](const std::vector<float>& list) {
    return list.empty() ? nullptr : list.data();
  };
  const recurrent_network built(kernels, s, v.w.data(), v.r.data(), pointer(v.bias),
                                pointer(v.peepholes));
  std::vector<float> y(n.steps * states, nan), h(states, nan), c(states, nan);
  aligned_floats scratch(built.scratch(n.steps, n.batch, pool.size()));
  std::fill_n(scratch.data(), scratch.size(), nan);
  recurrent_call call;
  call.steps = n.steps;
  call.batch = n.batch;
  call.x = v.x.data();
  call.lengths = n.lengths.empty() ? nullptr : n.lengths.data();
  call.initial_h = pointer(v.h);
  call.initial_c = pointer(v.c);
  call.y = y.data();
  call.last_h = h.data();
  call.last_c = c.data();
  built.run(pool, call, scratch.data());
  expect_close(y, want.y, 2e-5, "Y");
  expect_close(h, want.h, 2e-5, "Y_h");
  if (s.cell == recurrent_cell::lstm) expect_close(c, want.c, 2e-5, "Y_c");
}

TEST_P(cpu_recurrent, computes_every_cell_in_every_direction) {
  for (const auto cell : {recurrent_cell::rnn, recurrent_cell::gru, recurrent_cell::lstm}) {
    for (const std::size_t hidden : {1U, 7U, 16U, 37U, 64U}) {
      network n{{.cell = cell, .input = 5, .hidden = hidden}, 4, 3};
      const std::string name =
          std::to_string(static_cast<int>(cell)) + "/" + std::to_string(hidden);
      check(kernels(), pool(), n, name + " forward");
      n.spec.reverse = true;
      n.spec.batch_first = true;
      check(kernels(), pool(), n, name + " reverse, batch first");
      n.spec.reverse = false;
      n.spec.directions = 2;
      check(kernels(), pool(), n, name + " both, batch first");
      n.spec.batch_first = false;
      n.with_bias = n.with_state = false;
      check(kernels(), pool(), n, name + " both, bare");
    }
  }
}

TEST_P(cpu_recurrent, keeps_to_lengths_clip_and_switches) {
  network n{{.cell = recurrent_cell::gru, .directions = 2, .input = 3, .hidden = 19}, 6, 4};
  n.spec.linear_before_reset = true;
  check(kernels(), pool(), n, "linear before reset");
  n.lengths = {6, 0, 3, 5};
  check(kernels(), pool(), n, "lengths");
  n.lengths = {2, 2, 2, 2};
  n.spec.batch_first = true;
  check(kernels(), pool(), n, "all short, batch first");
  n.spec.clip = 0.3F;
  check(kernels(), pool(), n, "clip");
  n.spec.linear_before_reset = false;
  check(kernels(), pool(), n, "clip, reset first");
  n.spec.cell = recurrent_cell::lstm;
  n.with_peepholes = true;
  check(kernels(), pool(), n, "LSTM with peepholes and clip");
  n.spec.clip = 0;
  n.spec.coupled = true;
  n.lengths = {0, 6, 1, 2};
  check(kernels(), pool(), n, "coupled");
  n.spec.cell = recurrent_cell::rnn;
  n.spec.functions[1] = unary_op::relu;
  n.spec.clip = 0.5F;
  check(kernels(), pool(), n, "RNN with a function for each direction");
  check(kernels(), pool(), {{.input = 2, .hidden = 3}, 0, 2}, "no steps");
  check(kernels(), pool(), {{.input = 2, .hidden = 3}, 2, 0}, "no sequences");
  check(kernels(), pool(), {{.input = 0, .hidden = 3}, 2, 2}, "no inputs");
  check(kernels(), pool(), {{.input = 40, .hidden = 130}, 3, 17}, "many sequences");
}

}  // namespace
}  // namespace mizzen::inference::detail::cpu
