// fuse_attention: what it makes of the forms that exporters write, against the graph as it is.
#include "caught.hpp"
#include "optimised.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <string>

namespace mizzen::inference {
namespace {

using test::caught;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::int64_t hidden = 12;
constexpr std::int64_t heads = 3;
constexpr std::int64_t depth = 4;

struct form {
  enum class shapes { computed, copied, inferred } shape = shapes::computed;
  enum class scales { divide, multiply, both_sides, none } scale = scales::divide;
  bool mask = true;
  bool mask_first = false;
  bool key_in_two_steps = false;
  bool bias = true;
  bool cross = false;  // keys and values of another input
};

class attention_model {
 public:
  explicit attention_model(const form& f) : f_(f) {
    m_.input("x", f32, {"batch", "rows", hidden});
    if (f_.cross) m_.input("memory", f32, {"batch", "keys", hidden});
    if (f_.mask) m_.input("mask", f32, {"batch", 1, 1, f_.cross ? "keys" : "rows"});
    m_.initializer("root", tensor::scalar(2.0F))
        .initializer("scale", tensor::scalar(0.5F))
        .initializer("root_scale", tensor::scalar(std::sqrt(0.5F)));
    const std::string memory = f_.cross ? "memory" : "x";
    split("x", "q_shape");
    split(memory, "k_shape");
    project("x", "q", 2);
    project(memory, "k", 3);
    project(memory, "v", 4);
    head("q", "q_shape");
    head("k", "k_shape");
    head("v", "k_shape");
    const std::string k = key();
    std::string q = "q_heads";
    std::string right = k;
    if (f_.scale == form::scales::both_sides) {
      m_.node("Mul", {q, "root_scale"}, {"q_scaled"}).node("Mul", {k, "root_scale"}, {"k_scaled"});
      q = "q_scaled";
      right = "k_scaled";
    }
    m_.node("MatMul", {q, right}, {"product"});
    std::string scores = "product";
    if (f_.scale == form::scales::divide) m_.node("Div", {scores, "root"}, {"scores"});
    if (f_.scale == form::scales::multiply) m_.node("Mul", {"scale", scores}, {"scores"});
    if (f_.scale == form::scales::divide || f_.scale == form::scales::multiply) scores = "scores";
    if (f_.mask) {
      m_.node("Add",
              f_.mask_first ? std::vector<std::string>{"mask", scores}
                            : std::vector<std::string>{scores, "mask"},
              {"masked"});
      scores = "masked";
    }
    m_.node("Softmax", {scores}, {"weights"}, {{"axis", -1}})
        .node("MatMul", {"weights", "v_heads"}, {"context"})
        .node("Transpose", {"context"}, {"turned"}, {{"perm", {0, 2, 1, 3}}})
        .node("Reshape", {"turned", "joined"}, {"y"})
        .output("y", f32, {"batch", "rows", hidden});
  }

  // Runs with and without the passes, and returns the graph that they left.
  std::string check(std::int64_t batch, std::int64_t rows) const {
    const auto bytes = m_.bytes();
    tensor_map inputs;
    inputs.emplace("x", noise({batch, rows, hidden}, 10));
    const std::int64_t keys = f_.cross ? rows + 3 : rows;
    if (f_.cross) inputs.emplace("memory", noise({batch, keys, hidden}, 11));
    if (f_.mask) inputs.emplace("mask", noise({batch, 1, 1, keys}, 12));
    const auto plain = session::load(bytes, {.optimize = false});
    const auto fast = session::load(bytes);
    const auto expected = plain.run(inputs);
    const auto actual = fast.run(inputs);
    EXPECT_EQ(actual.at("y").shape(), expected.at("y").shape());
    const auto a = actual.at("y").data<float>();
    const auto b = expected.at("y").data<float>();
    for (std::size_t i = 0; i < b.size(); ++i) EXPECT_NEAR(a[i], b[i], 2e-5F) << "element " << i;
    return fast.dump_graph();
  }

 private:
  void split(const std::string& x, const std::string& shape) {
    const bool first = shape == "q_shape";
    if (f_.shape == form::shapes::copied) {
      m_.initializer(shape, ints({0, 0, heads, depth}));
      if (first) m_.initializer("joined", ints({0, 0, hidden}));
      return;
    }
    if (f_.shape == form::shapes::inferred) {
      m_.initializer(shape, ints({0, -1, heads, depth}));
      if (first) m_.initializer("joined", ints({0, -1, hidden}));
      return;
    }
    m_.initializer(shape + ".0", ints({0})).initializer(shape + ".1", ints({1}));
    m_.initializer(shape + ".heads", ints({heads})).initializer(shape + ".depth", ints({depth}));
    m_.node("Shape", {x}, {shape + ".all"})
        .node("Gather", {shape + ".all", shape + ".0"}, {shape + ".batch"})
        .node("Gather", {shape + ".all", shape + ".1"}, {shape + ".rows"})
        .node("Concat", {shape + ".batch", shape + ".rows", shape + ".heads", shape + ".depth"},
              {shape}, {{"axis", 0}});
    if (!first) return;
    m_.initializer("hidden", ints({hidden}))
        .node("Concat", {shape + ".batch", shape + ".rows", "hidden"}, {"joined"}, {{"axis", 0}});
  }

  void project(const std::string& x, const std::string& name, std::uint32_t seed) {
    m_.initializer(name + ".w", noise({hidden, hidden}, seed));
    m_.node("MatMul", {x, name + ".w"}, {f_.bias ? name + ".product" : name});
    if (!f_.bias) return;
    m_.initializer(name + ".b", noise({hidden}, seed + 100));
    m_.node("Add", {name + ".b", name + ".product"}, {name});
  }

  void head(const std::string& name, const std::string& shape) {
    m_.node("Reshape", {name, shape}, {name + "_split"});
    if (name == "k" && !f_.key_in_two_steps) {
      m_.node("Transpose", {"k_split"}, {"k_heads"}, {{"perm", {0, 2, 3, 1}}});
    } else {
      m_.node("Transpose", {name + "_split"}, {name + "_heads"}, {{"perm", {0, 2, 1, 3}}});
    }
  }

  std::string key() {
    if (!f_.key_in_two_steps) return "k_heads";
    m_.node("Transpose", {"k_heads"}, {"k_turned"}, {{"perm", {0, 1, 3, 2}}});
    return "k_turned";
  }

  form f_;
  model_builder m_;
};

TEST(fuse_attention, every_form) {
  using shapes = form::shapes;
  using scales = form::scales;
  for (const shapes shape : {shapes::computed, shapes::copied, shapes::inferred}) {
    for (const scales scale :
         {scales::divide, scales::multiply, scales::both_sides, scales::none}) {
      for (const bool mask : {true, false}) {
        form f;
        f.shape = shape;
        f.scale = scale;
        f.mask = mask;
        f.mask_first = scale == scales::multiply;
        f.key_in_two_steps = scale == scales::both_sides || scale == scales::none;
        f.bias = scale != scales::none;
        const std::string graph = attention_model(f).check(2, 5);
        EXPECT_THAT(graph, HasSubstr("mizzen.Attention"));
        EXPECT_THAT(graph, Not(HasSubstr("Softmax")));
        EXPECT_THAT(graph, Not(HasSubstr("Transpose")));
      }
    }
  }
}

TEST(fuse_attention, projections_of_one_input_become_one_product) {
  const std::string graph = attention_model({}).check(1, 130);
  EXPECT_EQ(graph.find("MatMul"), graph.rfind("MatMul")) << graph;
}

TEST(fuse_attention, keys_of_another_input) {
  form f;
  f.cross = true;
  EXPECT_THAT(attention_model(f).check(3, 4), HasSubstr("mizzen.Attention"));
}

// What ONNX Runtime's dynamic quantisation makes of a MatMul.
void quantised_matmul(model_builder& m, const std::string& x, const std::string& name,
                      std::uint32_t seed, bool per_column) {
  tensor weights(element_type::int8, {hidden, hidden});
  for (auto& v : weights.data<std::int8_t>()) {
    seed = seed * 1664525U + 1013904223U;
    v = static_cast<std::int8_t>(static_cast<int>(seed >> 24) - 128);
  }
  tensor scale = tensor::scalar(0.01F);
  tensor zero = tensor::scalar<std::int8_t>(3);
  if (per_column) {
    scale = noise({hidden}, seed);
    zero = tensor(element_type::int8, {hidden});
  }
  m.initializer(name + ".w", weights)
      .initializer(name + ".s", scale)
      .initializer(name + ".z", zero)
      .node("MatMulInteger", {x + ".q", name + ".w", x + ".z", name + ".z"}, {name + ".int"})
      .node("Cast", {name + ".int"}, {name + ".float"}, {{"to", 1}})
      .node("Mul", {x + ".s", name + ".s"}, {name + ".scale"})
      .node("Mul", {name + ".float", name + ".scale"}, {name});
}

TEST(fuse_quantised, products_of_integers) {
  for (const bool per_column : {false, true}) {
    model_builder m;
    m.input("x", f32, {"batch", "rows", hidden}).initializer("b", noise({hidden}, 9));
    m.node("DynamicQuantizeLinear", {"x"}, {"x.q", "x.s", "x.z"});
    quantised_matmul(m, "x", "p", 1, per_column);
    m.node("Add", {"p", "b"}, {"biased"})
        .node("Add", {"biased", "x"}, {"r"})
        .node("Gelu", {"r"}, {"y"})
        .opset(20)
        .output("y", f32, {"batch", "rows", hidden});
    const auto bytes = m.bytes();
    const tensor x = noise({2, 5, hidden});
    const auto plain = session::load(bytes, {.optimize = false}).run({{"x", x}});
    const auto fast = session::load(bytes);
    const auto made = fast.run({{"x", x}});
    const auto a = made.at("y").data<float>();
    const auto b = plain.at("y").data<float>();
    for (std::size_t i = 0; i < b.size(); ++i) EXPECT_NEAR(a[i], b[i], 1e-4F) << i;
    EXPECT_THAT(fast.dump_graph(), HasSubstr("DynamicQuantizedMatMul+add+add+gelu_erf"));
    EXPECT_THAT(fast.dump_graph(), Not(HasSubstr("MatMulInteger")));
  }
}

TEST(fuse_attention, quantised_projections_of_one_input_become_one_product) {
  model_builder m;
  m.input("x", f32, {"batch", "rows", hidden})
      .initializer("split", ints({0, 0, heads, depth}))
      .initializer("joined", ints({0, 0, hidden}));
  m.node("DynamicQuantizeLinear", {"x"}, {"x.q", "x.s", "x.z"});
  for (const char* const name : {"q", "k", "v"}) {
    quantised_matmul(m, "x", name, static_cast<std::uint32_t>(name[0]), name[0] == 'k');
    const bool key = name[0] == 'k';
    m.node("Reshape", {name, "split"}, {std::string(name) + ".split"})
        .node("Transpose", {std::string(name) + ".split"}, {std::string(name) + ".heads"},
              {{"perm", key ? std::vector<std::int64_t>{0, 2, 3, 1}
                            : std::vector<std::int64_t>{0, 2, 1, 3}}});
  }
  m.node("MatMul", {"q.heads", "k.heads"}, {"scores"})
      .node("Softmax", {"scores"}, {"weights"}, {{"axis", -1}})
      .node("MatMul", {"weights", "v.heads"}, {"context"})
      .node("Transpose", {"context"}, {"turned"}, {{"perm", {0, 2, 1, 3}}})
      .node("Reshape", {"turned", "joined"}, {"y"})
      .output("y", f32, {"batch", "rows", hidden});
  const auto bytes = m.bytes();
  const tensor x = noise({2, 5, hidden});
  const auto plain = session::load(bytes, {.optimize = false}).run({{"x", x}});
  const auto fast = session::load(bytes);
  const auto made = fast.run({{"x", x}});
  const auto a = made.at("y").data<float>();
  const auto b = plain.at("y").data<float>();
  for (std::size_t i = 0; i < b.size(); ++i) EXPECT_NEAR(a[i], b[i], 1e-3F) << i;
  const std::string graph = fast.dump_graph();
  EXPECT_EQ(graph.find("mizzen.DynamicQuantizedMatMul"),
            graph.rfind("mizzen.DynamicQuantizedMatMul"))
      << graph;
}

TEST(fuse_attention, no_rows) { attention_model({}).check(2, 0); }

// [1, 2 n, 12] rows split as [2, n, 3, 4]: attention within halves.
TEST(fuse_attention, refuses_rows_that_move_between_batches) {
  model_builder m;
  m.input("x", f32, {1, "rows", hidden})
      .initializer("split", ints({2, -1, heads, depth}))
      .initializer("joined", ints({1, -1, hidden}))
      .node("Reshape", {"x", "split"}, {"s"})
      .node("Transpose", {"s"}, {"q"}, {{"perm", {0, 2, 1, 3}}})
      .node("Transpose", {"s"}, {"k"}, {{"perm", {0, 2, 3, 1}}})
      .node("MatMul", {"q", "k"}, {"scores"})
      .node("Softmax", {"scores"}, {"weights"}, {{"axis", -1}})
      .node("MatMul", {"weights", "q"}, {"context"})
      .node("Transpose", {"context"}, {"turned"}, {{"perm", {0, 2, 1, 3}}})
      .node("Reshape", {"turned", "joined"}, {"y"})
      .output("y", f32, {1, "rows", hidden});
  const auto bytes = m.bytes();
  const auto plain = session::load(bytes, {.optimize = false}).run({{"x", noise({1, 6, hidden})}});
  const auto fast = session::load(bytes).run({{"x", noise({1, 6, hidden})}});
  const auto a = fast.at("y").data<float>();
  const auto b = plain.at("y").data<float>();
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < b.size(); ++i) EXPECT_NEAR(a[i], b[i], 1e-5F);
}

// Which only a run can tell where the shape is computed.
TEST(fuse_attention, computed_rows_that_move_are_an_error) {
  model_builder m;
  m.input("x", f32, {"batch", "rows", hidden})
      .initializer("zero", ints({0}))
      .initializer("one", ints({1}))
      .initializer("heads", ints({heads}))
      .initializer("depth", ints({depth}))
      .initializer("joined", ints({0, -1, hidden}))
      .node("Shape", {"x"}, {"all"})
      .node("Gather", {"all", "zero"}, {"batch"})
      .node("Gather", {"all", "one"}, {"rows"})
      .node("Concat", {"rows", "batch", "heads", "depth"}, {"split"}, {{"axis", 0}})
      .node("Reshape", {"x", "split"}, {"s"})
      .node("Transpose", {"s"}, {"q"}, {{"perm", {0, 2, 1, 3}}})
      .node("Transpose", {"s"}, {"k"}, {{"perm", {0, 2, 3, 1}}})
      .node("MatMul", {"q", "k"}, {"scores"})
      .node("Softmax", {"scores"}, {"weights"}, {{"axis", -1}})
      .node("MatMul", {"weights", "q"}, {"context"})
      .node("Transpose", {"context"}, {"turned"}, {{"perm", {0, 2, 1, 3}}})
      .node("Reshape", {"turned", "joined"}, {"y"}, {}, "join")
      .output("y", f32, {"b", "r", hidden});
  const auto s = session::load(m.bytes());
  const error e = caught([&] { s.run({{"x", noise({2, 3, hidden})}}); });
  EXPECT_EQ(e.code(), errc::unimplemented);
  EXPECT_THAT(e.what(), HasSubstr("node 'join'"));
  EXPECT_NO_THROW(s.run({{"x", noise({3, 3, hidden})}}));
}

}  // namespace
}  // namespace mizzen::inference
