// RNN, GRU and LSTM with constant weights and the usual functions. plain_recurrent.cpp takes the
// rest.
#include "inference/cpu/kernels/recurrent.hpp"

#include "inference/cpu/ops/numeric_ops.hpp"

#include <mizzen/core/checked.hpp>

#include <algorithm>
#include <string>
#include <vector>

namespace mizzen::inference::detail {
namespace {

using cpu::recurrent_cell;

// The functions by name, in lower case; empty where the node names none.
std::vector<std::string> functions_of(const compile_context& c) {
  if (!c.n.attributes.has("activations")) return {};
  std::vector<std::string> names = c.n.attributes.get_strings("activations");
  for (std::string& name : names) {
    std::transform(name.begin(), name.end(), name.begin(), [](char ch) {
      return ch >= 'A' && ch <= 'Z' ? static_cast<char>(ch - 'A' + 'a') : ch;
    });
  }
  return names;
}

void read_functions(const compile_context& c, cpu::recurrent_spec& spec) {
  const std::vector<std::string> names = functions_of(c);
  if (names.empty()) return;
  const std::size_t each = spec.cell == recurrent_cell::lstm  ? 3
                           : spec.cell == recurrent_cell::gru ? 2
                                                              : 1;
  if (names.size() != each * spec.directions) c.unsupported("this many activations");
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (spec.cell == recurrent_cell::rnn) {
      if (names[i] != "tanh" && names[i] != "relu" && names[i] != "sigmoid") {
        c.unsupported("has no fast kernel for activation " + names[i]);
      }
      spec.functions[i] = names[i] == "relu"      ? cpu::unary_op::relu
                          : names[i] == "sigmoid" ? cpu::unary_op::sigmoid
                                                  : cpu::unary_op::tanh;
    } else if (names[i] != (i % each == 0 ? "sigmoid" : "tanh")) {
      c.unsupported("has no fast kernel for activation " + names[i]);
    }
  }
}

cpu::recurrent_spec spec_of(const compile_context& c, recurrent_cell cell) {
  only_float32(c);
  const attribute_map& a = c.n.attributes;
  cpu::recurrent_spec spec;
  spec.cell = cell;
  const std::string direction = a.get_string("direction", "forward");
  if (direction != "forward" && direction != "reverse" && direction != "bidirectional") {
    c.invalid("unknown direction '" + direction + "'");
  }
  spec.directions = direction == "bidirectional" ? 2 : 1;
  spec.reverse = direction == "reverse";
  spec.batch_first = a.get_int("layout", 0) != 0;
  spec.clip = a.get_float("clip", 0);
  spec.coupled = a.get_int("input_forget", 0) != 0;
  spec.linear_before_reset = a.get_int("linear_before_reset", 0) != 0;
  read_functions(c, spec);
  const auto w = c.constant(1);
  const auto r = c.constant(2);
  if (!w || !r) c.unsupported("has a fast kernel only for constant weights");
  for (const std::size_t i : {3U, 7U}) {
    if (c.has_input(i) && !c.constant(i)) c.unsupported("has a fast kernel only for a constant");
  }
  if (c.has_input(4) && c.input_type(4) != element_type::int32) {
    c.unsupported("has a fast kernel only for lengths of type int32");
  }
  spec.input = static_cast<std::size_t>(w->shape()[2]);
  spec.hidden = static_cast<std::size_t>(r->shape()[2]);
  if (spec.hidden == 0) c.unsupported("has no fast kernel for a state of width 0");
  return spec;
}

class recurrent_kernel final : public kernel {
 public:
  recurrent_kernel(const compile_context& c, recurrent_cell cell)
      : network_(best_kernels(), spec_of(c, cell), floats(c, 1), floats(c, 2), floats(c, 3),
                 cell == recurrent_cell::lstm ? floats(c, 7) : nullptr) {}

  bool reads_input(std::size_t i) const override { return i == 0 || (i >= 4 && i <= 6); }

  std::size_t scratch_bytes(const shape_context& c) const override {
    return checked_mul(network_.scratch(steps_of(c.inputs[0]), batch_of(c.inputs[0]), c.threads),
                       sizeof(float), "memory of a recurrent network");
  }

  void run(const run_context& c) const override {
    const auto in = [&](std::size_t i) {
      return i < c.inputs.size() ? c.inputs[i].as<const float>() : nullptr;
    };
    const auto out = [&](std::size_t i) {
      return i < c.outputs.size() ? c.outputs[i].as<float>() : nullptr;
    };
    cpu::recurrent_call call;
    call.steps = steps_of(c.inputs[0]);
    call.batch = batch_of(c.inputs[0]);
    call.x = in(0);
    call.initial_h = in(5);
    call.initial_c = in(6);
    call.y = out(0);
    call.last_h = out(1);
    call.last_c = out(2);
    if (c.inputs.size() > 4 && c.inputs[4].present()) {
      call.lengths = c.inputs[4].as<const std::int32_t>();
      for (std::size_t i = 0; i < call.batch; ++i) {
        const std::int32_t length = call.lengths[i];
        if (length >= 0 && static_cast<std::size_t>(length) <= call.steps) continue;
        throw error(errc::out_of_range, "sequence_lens",
                    std::to_string(length) + " is outside [0, " + std::to_string(call.steps) + "]");
      }
    }
    network_.run(c.pool, call, reinterpret_cast<float*>(c.scratch.data()));
  }

 private:
  std::size_t steps_of(const value_view& x) const noexcept {
    return static_cast<std::size_t>(x.shape[network_.batch_first() ? 1 : 0]);
  }
  std::size_t batch_of(const value_view& x) const noexcept {
    return static_cast<std::size_t>(x.shape[network_.batch_first() ? 0 : 1]);
  }
  static const float* floats(const compile_context& c, std::size_t i) {
    const auto t = c.constant(i);
    return t ? t->data<float>().data() : nullptr;
  }

  cpu::recurrent_network network_;
};

template <recurrent_cell Cell>
std::unique_ptr<kernel> compile(const compile_context& c) {
  return std::make_unique<recurrent_kernel>(c, Cell);
}

}  // namespace

void register_recurrent_ops(op_registry& registry) {
  registry.add("RNN", {compile<recurrent_cell::rnn>}, 7);
  registry.add("GRU", {compile<recurrent_cell::gru>}, 7);
  registry.add("LSTM", {compile<recurrent_cell::lstm>}, 7);
}

}  // namespace mizzen::inference::detail
