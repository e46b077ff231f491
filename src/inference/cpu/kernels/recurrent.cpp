#include "inference/cpu/kernels/recurrent.hpp"

#include <mizzen/core/checked.hpp>

#include <algorithm>

namespace mizzen::inference::detail::cpu {
namespace {

std::ptrdiff_t signed_size(std::size_t n) { return static_cast<std::ptrdiff_t>(n); }

// Buffers begin at cache lines.
std::size_t whole_lines(std::size_t floats) {
  return checked_add<std::size_t>(floats, 15, "memory of a recurrent network") / 16 * 16;
}

std::size_t times(std::size_t a, std::size_t b) {
  return checked_mul(a, b, "memory of a recurrent network");
}

}  // namespace

recurrent_network::recurrent_network(const kernel_table& kernels, const recurrent_spec& spec,
                                     const float* w, const float* r, const float* bias,
                                     const float* peepholes)
    : kernels_(kernels), spec_(spec) {
  const std::size_t rows = spec.rows();
  const std::size_t hidden = spec.hidden;
  const bool gru = spec.cell == recurrent_cell::gru;
  for (std::size_t d = 0; d < spec.directions; ++d) {
    direction to;
    const matrix_view transposed{w + d * rows * spec.input, 1, signed_size(spec.input)};
    to.input = packed_columns(kernels, transposed, spec.input, rows);
    const float* const back = r + d * rows * hidden;
    to.recurrent = pack(back, gru ? 2 * hidden : rows);
    if (gru) to.candidate = pack(back + 2 * hidden * hidden, hidden);
    to.bias = aligned_floats(rows);
    if (gru && spec.linear_before_reset) to.candidate_bias = aligned_floats(hidden);
    if (bias != nullptr) {
      const float* const of_input = bias + d * 2 * rows;
      const float* const of_state = of_input + rows;
      for (std::size_t i = 0; i < rows; ++i) {
        const bool apart = i >= 2 * hidden && !to.candidate_bias.empty();
        to.bias.data()[i] = of_input[i] + (apart ? 0.0F : of_state[i]);
        if (apart) to.candidate_bias.data()[i - 2 * hidden] = of_state[i];
      }
    }
    if (peepholes != nullptr) {
      to.peepholes = aligned_floats(3 * hidden);
      std::copy_n(peepholes + d * 3 * hidden, 3 * hidden, to.peepholes.data());
    }
    directions_.push_back(std::move(to));
  }
}

recurrent_network::panels recurrent_network::pack(const float* r, std::size_t columns) const {
  const std::size_t width = kernels_.tile_columns();
  const std::size_t depth = spec_.hidden;
  panels to{columns, aligned_floats(times(depth, (columns + width - 1) / width * width))};
  for (std::size_t n = 0; n < columns; n += width) {
    pack_panel(r + n * depth, signed_size(depth), 1, std::min(width, columns - n), width, depth,
               to.data.data() + n * depth);
  }
  return to;
}

std::size_t recurrent_network::scratch(std::size_t steps, std::size_t batch,
                                       unsigned threads) const {
  const std::size_t gates = whole_lines(times(times(steps, batch), spec_.rows()));
  const std::size_t states = times(3, whole_lines(times(batch, spec_.hidden)));
  const std::size_t each = checked_add(gates, states, "memory of a recurrent network");
  return checked_add(times(spec_.directions, each), gemm_scratch(kernels_, threads),
                     "memory of a recurrent network");
}

recurrent_network::buffers recurrent_network::buffers_of(std::size_t d, const recurrent_call& call,
                                                         float* scratch) const {
  const std::size_t gates = whole_lines(call.steps * call.batch * spec_.rows());
  const std::size_t state = whole_lines(call.batch * spec_.hidden);
  float* const base = scratch + d * (gates + 3 * state);
  return {base, base + gates, base + gates + state, base + gates + 2 * state};
}

void recurrent_network::project(thread_pool& pool, std::size_t d, const recurrent_call& call,
                                float* to, float* scratch) const {
  gemm_operands operands;
  operands.a = {call.x, signed_size(spec_.input), 1};
  operands.b_packed = &directions_[d].input;
  operands.c = to;
  operands.c_row = signed_size(spec_.rows());
  operands.column_bias = directions_[d].bias.data();
  gemm_problem problem;
  problem.rows = call.steps * call.batch;
  problem.columns = spec_.rows();
  problem.depth = spec_.input;
  problem.context = &operands;
  problem.operands = [](const void* context, std::size_t) {
    return *static_cast<const gemm_operands*>(context);
  };
  gemm(kernels_, pool, problem, scratch);
}

// C += A B, or C = A B + bias where there is one.
void recurrent_network::multiply(const panels& by, const float* a, std::size_t rows, float* c,
                                 std::size_t c_row, const float* bias) const {
  const std::size_t width = kernels_.tile_columns();
  const auto most_rows = static_cast<std::size_t>(kernels_.tile_rows);
  gemm_tile tile;
  tile.depth = spec_.hidden;
  tile.a_row = signed_size(spec_.hidden);
  tile.b_depth = signed_size(width);
  tile.c_row = signed_size(c_row);
  tile.c_vector = kernels_.lanes;
  tile.accumulate = bias == nullptr;
  for (std::size_t n = 0; n < by.columns; n += width) {
    tile.columns = std::min(width, by.columns - n);
    tile.b = by.data.data() + n * spec_.hidden;
    tile.column_bias = bias == nullptr ? nullptr : bias + n;
    for (std::size_t i = 0; i < rows; i += most_rows) {
      tile.rows = std::min(most_rows, rows - i);
      tile.a = a + i * spec_.hidden;
      tile.c = c + i * c_row + n;
      kernels_.gemm(tile);
    }
  }
}

void recurrent_network::step(std::size_t d, const buffers& b, float* gates, std::size_t stride,
                             std::size_t first, std::size_t rows) const {
  const direction& to = directions_[d];
  const std::size_t hidden = spec_.hidden;
  float* const h = b.h + first * hidden;
  const activation bound{unary_op::clip, -spec_.clip, spec_.clip};
  multiply(to.recurrent, h, rows, gates, stride, nullptr);
  if (spec_.cell == recurrent_cell::lstm) {
    lstm_step s;
    s.n = hidden;
    s.peepholes = to.peepholes.data();
    s.clip = spec_.clip;
    s.coupled = spec_.coupled;
    for (std::size_t i = 0; i < rows; ++i) {
      s.gates = gates + i * stride;
      s.cell = b.cell + (first + i) * hidden;
      s.h = h + i * hidden;
      kernels_.lstm(s);
    }
    return;
  }
  if (spec_.cell == recurrent_cell::rnn) {
    for (std::size_t i = 0; i < rows; ++i) {
      float* const row = gates + i * stride;
      if (spec_.clip > 0) kernels_.unary(bound, row, row, hidden);
      kernels_.unary({spec_.functions[d]}, row, h + i * hidden, hidden);
    }
    return;
  }
  float* const before = b.before + first * hidden;
  if (spec_.linear_before_reset) {
    multiply(to.candidate, h, rows, before, hidden, to.candidate_bias.data());
  } else {
    for (std::size_t i = 0; i < rows; ++i) {
      float* const reset = gates + i * stride + hidden;
      if (spec_.clip > 0) kernels_.unary(bound, reset, reset, hidden);
      kernels_.unary({unary_op::sigmoid}, reset, reset, hidden);
      kernels_.binary(binary_op::mul, reset, 1, h + i * hidden, 1, before + i * hidden, hidden);
    }
    multiply(to.candidate, before, rows, gates + 2 * hidden, stride, nullptr);
  }
  for (std::size_t i = 0; i < rows; ++i) {
    gru_step s;
    s.n = hidden;
    s.gates = gates + i * stride;
    s.before_reset = spec_.linear_before_reset ? before + i * hidden : nullptr;
    s.clip = spec_.clip;
    s.h = h + i * hidden;
    kernels_.gru(s);
  }
}

void recurrent_network::walk(std::size_t d, const recurrent_call& call, const buffers& b,
                             std::size_t first, std::size_t last) const {
  const std::size_t hidden = spec_.hidden;
  const std::size_t rows = last - first;
  const bool lstm = spec_.cell == recurrent_cell::lstm;
  // Where the state of a sequence stands in initial_h, last_h and the like.
  const auto state = [&](std::size_t i) {
    return (spec_.batch_first ? i * spec_.directions + d : d * call.batch + i) * hidden;
  };
  const auto begin = [&](const float* from, std::size_t i, float* to) {
    if (from != nullptr) {
      std::copy_n(from + state(i), hidden, to + i * hidden);
    } else {
      std::fill_n(to + i * hidden, hidden, 0.0F);
    }
  };
  for (std::size_t i = first; i < last; ++i) {
    begin(call.initial_h, i, b.h);
    if (lstm) begin(call.initial_c, i, b.cell);
  }
  // Sequences that are walked together have one length.
  const std::size_t length =
      call.lengths == nullptr ? call.steps : static_cast<std::size_t>(call.lengths[first]);
  const auto output = [&](std::size_t t, std::size_t i) {
    return call.y + (spec_.batch_first ? (i * call.steps + t) * spec_.directions + d
                                       : (t * spec_.directions + d) * call.batch + i) *
                        hidden;
  };
  const std::size_t stride = (spec_.batch_first ? call.steps : 1) * spec_.rows();
  for (std::size_t s = 0; s < length; ++s) {
    const std::size_t t = spec_.reverse || d == 1 ? length - 1 - s : s;
    const std::size_t row = spec_.batch_first ? first * call.steps + t : t * call.batch + first;
    step(d, b, b.gates + row * spec_.rows(), stride, first, rows);
    if (call.y == nullptr) continue;
    for (std::size_t i = first; i < last; ++i) {
      std::copy_n(b.h + i * hidden, hidden, output(t, i));
    }
  }
  for (std::size_t i = first; i < last; ++i) {
    for (std::size_t t = length; call.y != nullptr && t < call.steps; ++t) {
      std::fill_n(output(t, i), hidden, 0.0F);
    }
    if (call.last_h != nullptr) std::copy_n(b.h + i * hidden, hidden, call.last_h + state(i));
    if (lstm && call.last_c != nullptr) {
      std::copy_n(b.cell + i * hidden, hidden, call.last_c + state(i));
    }
  }
}

void recurrent_network::run(thread_pool& pool, const recurrent_call& call, float* scratch) const {
  if (call.batch == 0) return;
  const std::size_t directions = spec_.directions;
  float* const gemm_memory = buffers_of(directions, call, scratch).gates;
  for (std::size_t d = 0; d < directions && call.steps != 0; ++d) {
    project(pool, d, call, buffers_of(d, call, scratch).gates, gemm_memory);
  }
  bool together = true;
  for (std::size_t i = 1; call.lengths != nullptr && i < call.batch; ++i) {
    together = together && call.lengths[i] == call.lengths[0];
  }
  const std::size_t wanted = together ? std::max<std::size_t>(pool.size() / directions, 1)  //
                                      : call.batch;
  const std::size_t each = (call.batch + wanted - 1) / wanted;
  const std::size_t chunks = (call.batch + each - 1) / each;
  pool.parallel_for(directions * chunks, 1, [&](std::size_t first, std::size_t last) {
    for (std::size_t task = first; task < last; ++task) {
      const std::size_t d = task / chunks;
      const std::size_t from = task % chunks * each;
      walk(d, call, buffers_of(d, call, scratch), from, std::min(from + each, call.batch));
    }
  });
}

}  // namespace mizzen::inference::detail::cpu
