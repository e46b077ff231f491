// LSTM, GRU and RNN on the device.
#include "device_test.hpp"

namespace mizzen::inference {
namespace {

struct recurrent_case {
  std::string op;
  std::int64_t gates;
  std::string direction;
  bool states, bias, batch_first;
  std::vector<node_attribute> more;
};

tensor_map make(model_builder& model, const recurrent_case& c) {
  constexpr std::int64_t steps = 5, batch = 2, width = 7, hidden = 20;
  const std::int64_t directions = c.direction == "bidirectional" ? 2 : 1;
  const std::int64_t rows = c.gates * hidden;
  const bool lstm = c.op == "LSTM";
  const shape_type x =
      c.batch_first ? shape_type{batch, steps, width} : shape_type{steps, batch, width};
  const shape_type state =
      c.batch_first ? shape_type{batch, directions, hidden} : shape_type{directions, batch, hidden};
  tensor_map in;
  in.emplace("x", noise(x));
  model.opset(22)
      .input("x", f32, {x.begin(), x.end()})
      .initializer("w", noise({directions, rows, width}, 2))
      .initializer("r", noise({directions, rows, hidden}, 3));
  if (c.bias) model.initializer("b", noise({directions, 2 * rows}, 4));
  std::vector<std::string> inputs = {"x", "w", "r", c.bias ? "b" : "", ""};
  if (c.states) {
    in.emplace("h0", noise(state, 5));
    model.input("h0", f32, {state.begin(), state.end()});
    inputs.emplace_back("h0");
    if (lstm) {
      in.emplace("c0", noise(state, 6));
      model.input("c0", f32, {state.begin(), state.end()})
          .initializer("p", noise({directions, 3 * hidden}, 7));
      inputs.emplace_back("c0");
      inputs.emplace_back("p");
    }
  }
  std::vector<node_attribute> attributes = c.more;
  attributes.emplace_back("hidden_size", hidden);
  attributes.emplace_back("direction", c.direction);
  attributes.emplace_back("layout", c.batch_first ? 1 : 0);
  std::vector<std::string> outputs = {"y", "h"};
  if (lstm) outputs.emplace_back("cell");
  model.node(c.op, inputs, outputs, attributes);
  for (const std::string& o : outputs) {
    model.output(o, f32, std::vector<dimension>(o == "y" ? 4 : 3));
  }
  return in;
}

TEST(cuda_recurrent, of_all_three_kinds) {
  const std::vector<recurrent_case> cases = {
      {"LSTM", 4, "forward", false, true, false, {}},
      {"LSTM", 4, "bidirectional", true, true, false, {}},
      {"LSTM", 4, "reverse", true, false, true, {}},
      {"GRU", 3, "forward", true, true, false, {}},
      {"GRU", 3, "bidirectional", false, true, false, {{"linear_before_reset", 1}}},
      {"GRU", 3, "reverse", true, true, true, {{"linear_before_reset", 1}}},
      {"RNN", 1, "forward", true, true, false, {}},
      {"RNN", 1, "bidirectional", false, false, true, {}},
      {"LSTM",
       4,
       "forward",
       true,
       true,
       false,
       {{"activations", std::vector<std::string>{"Sigmoid", "Tanh", "Tanh"}}}},
  };
  for (const recurrent_case& c : cases) {
    SCOPED_TRACE(c.op + " " + c.direction);
    model_builder model;
    const tensor_map in = make(model, c);
    same_on_device(model, in, 1e-4F);
    same_on_device(model, in, 2e-2F, gpu_options::arithmetic::float16);
  }
}

// What the kernels do not compute runs on the processor.
TEST(cuda_recurrent, other_functions_are_left_to_the_processor) {
  model_builder model;
  const tensor_map in = make(model, {"RNN",
                                     1,
                                     "forward",
                                     false,
                                     true,
                                     false,
                                     {{"activations", std::vector<std::string>{"Relu"}}}});
  const session device = on_device(model);
  EXPECT_EQ(device.dump_graph().find("DevicePart"), std::string::npos) << device.dump_graph();
  expect_near(device.run(in), session::load(model.bytes()).run(in), 1e-5F);
}

}  // namespace
}  // namespace mizzen::inference
