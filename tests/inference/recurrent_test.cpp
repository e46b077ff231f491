// RNN, GRU and LSTM in a model: the fast kernels, which take constant weights, against the plain
// operators, which take the rest.
#include "caught.hpp"

#include <mizzen/inference.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

namespace mizzen::inference {
namespace {

using test::caught;

tensor random_tensor(shape_type shape, unsigned seed) {
  tensor t(element_type::float32, std::move(shape));
  std::mt19937 generator(seed);
  std::uniform_real_distribution<float> uniform(-0.6F, 0.6F);
  for (float& v : t.data<float>()) v = uniform(generator);
  return t;
}

struct node_case {
  std::string op;
  std::vector<node_attribute> attributes;
  std::int64_t directions = 1;
  bool lengths = false, peepholes = false;
};

// Sequences of 5 steps and width 6, 3 of them, of state 9.
tensor_map run(const node_case& c, bool constant_weights, const tensor& lengths) {
  const std::int64_t gates = c.op == "LSTM" ? 4 : c.op == "GRU" ? 3 : 1;
  const std::int64_t d = c.directions;
  bool batch_first = false;
  for (const auto& a : c.attributes) batch_first = batch_first || a.name == "layout";
  const tensor x = random_tensor(batch_first ? shape_type{3, 5, 6} : shape_type{5, 3, 6}, 1);
  const shape_type state = batch_first ? shape_type{3, d, 9} : shape_type{d, 3, 9};
  const tensor w = random_tensor({d, gates * 9, 6}, 2);
  const tensor r = random_tensor({d, gates * 9, 9}, 3);
  const tensor b = random_tensor({d, 2 * gates * 9}, 4);
  const tensor h = random_tensor(state, 5);
  const tensor cell = random_tensor(state, 6);
  const tensor p = random_tensor({d, 27}, 7);

  model_builder model;
  model.opset(22);
  tensor_map given;
  std::vector<std::string> names;
  const auto add = [&](const std::string& name, const tensor& t, bool constant, bool there) {
    names.push_back(there ? name : "");
    if (!there) return;
    if (constant) {
      model.initializer(name, t);
    } else {
      model.input(name, t.type(), {t.shape().begin(), t.shape().end()});
      given.emplace(name, t.clone());
    }
  };
  add("x", x, false, true);
  add("w", w, constant_weights, true);
  add("r", r, constant_weights, true);
  add("b", b, constant_weights, true);
  add("lengths", lengths, false, c.lengths);
  add("h", h, false, true);
  if (c.op == "LSTM") {
    add("cell", cell, false, true);
    add("p", p, constant_weights, c.peepholes);
  }
  auto attributes = c.attributes;
  attributes.emplace_back("hidden_size", 9);
  std::vector<std::string> outputs = {"y", "y_h"};
  if (c.op == "LSTM") outputs.emplace_back("y_c");
  model.node(c.op, names, outputs, attributes, "it");
  for (const auto& name : outputs) model.output(name, element_type::float32, {});
  return session::load(model.bytes(), {.threads = 2}).run(given);
}

tensor lengths_of(std::initializer_list<std::int32_t> list) {
  return tensor::copy<std::int32_t>(list, {3});
}

TEST(recurrent, fast_and_plain_kernels_agree) {
  using names = std::vector<std::string>;
  const node_case cases[] = {
      {"RNN", {}},
      {"RNN", {{"activations", names{"Relu", "Sigmoid"}}, {"direction", "bidirectional"}}, 2},
      {"RNN", {{"activations", names{"Softsign"}}}},
      {"GRU", {{"direction", "reverse"}}},
      {"GRU", {{"linear_before_reset", 1}, {"direction", "bidirectional"}}, 2, true},
      {"GRU", {{"layout", 1}, {"clip", 0.2F}}, 1, true},
      {"LSTM", {{"activations", names{"SIGMOID", "tanh", "Tanh"}}}},
      {"LSTM", {{"activations", names{"Sigmoid", "Tanh", "Relu"}}}},
      {"LSTM", {{"direction", "bidirectional"}, {"layout", 1}}, 2, true},
      {"LSTM", {{"clip", 0.25F}, {"direction", "reverse"}}, 1, true, true},
      {"LSTM", {{"input_forget", 1}, {"direction", "bidirectional"}}, 2, false, true},
  };
  for (const node_case& c : cases) {
    const tensor_map fast = run(c, true, lengths_of({5, 0, 3}));
    const tensor_map plain = run(c, false, lengths_of({5, 0, 3}));
    for (const auto& [name, want] : plain) {
      SCOPED_TRACE(c.op + " " + name);
      const tensor& got = fast.at(name);
      ASSERT_EQ(got.shape(), want.shape());
      for (std::size_t i = 0; i < want.size(); ++i) {
        ASSERT_NEAR(got.data<float>()[i], want.data<float>()[i], 1e-5F) << i;
      }
    }
  }
}

TEST(recurrent, refuses_lengths_beyond_the_steps) {
  for (const bool constant_weights : {true, false}) {
    for (const std::int32_t wrong : {6, -1}) {
      const node_case c{"GRU", {}, 1, true};
      const error e = caught([&] { run(c, constant_weights, lengths_of({5, wrong, 3})); });
      EXPECT_EQ(e.code(), errc::out_of_range);
      EXPECT_THAT(e.what(), ::testing::HasSubstr("sequence_lens"));
      EXPECT_THAT(e.subject(), ::testing::HasSubstr("'it'"));
    }
  }
}

}  // namespace
}  // namespace mizzen::inference
