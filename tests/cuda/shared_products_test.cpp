// Products of one value with several weights are one product.
#include "device_test.hpp"
#include "test_stream.hpp"

#include <cstdint>
#include <string>

namespace mizzen::inference {
namespace {

using test::count_of;
constexpr auto half = gpu_options::arithmetic::float16;

// The results of the processor, by so many products.
void expect_products(std::uint64_t wanted, const model_builder& model, const tensor_map& in,
                     gpu_options::arithmetic math = gpu_options::arithmetic::float32) {
  const auto expected = session::load(model.bytes()).run(in);
  const session device = on_device(model, math);
  const std::uint64_t before = count_of("products");
  expect_near(device.run(in), expected, math == half ? 2e-2F : 2e-5F);
  if (!is_emulated()) return;
  EXPECT_EQ(count_of("products") - before, wanted);
}

// x [2, 9, 24] times weights of these columns, each with a bias behind it or none.
struct member {
  std::int64_t columns;
  bool bias = true;
};
model_builder products(const std::vector<member>& members, const std::string& then = "") {
  model_builder m;
  m.input("x", f32, {2, 9, 24});
  for (std::size_t i = 0; i < members.size(); ++i) {
    const std::string n = std::to_string(i);
    const std::int64_t columns = members[i].columns;
    m.initializer("w" + n, noise({24, columns})).node("MatMul", {"x", "w" + n}, {"p" + n});
    std::string last = "p" + n;
    if (members[i].bias) {
      m.initializer("b" + n, noise({columns}));
      // In either order.
      m.node("Add",
             i % 2 == 0 ? std::vector<std::string>{last, "b" + n}
                        : std::vector<std::string>{"b" + n, last},
             {"s" + n});
      last = "s" + n;
    }
    m.node(then.empty() ? "Tanh" : then, {last}, {"y" + n}).output("y" + n, f32, {2, 9, columns});
  }
  return m;
}

tensor_map input() {
  tensor_map in;
  in.emplace("x", noise({2, 9, 24}));
  return in;
}

TEST(shared_products, are_one) {
  for (const auto math : {gpu_options::arithmetic::float32, half}) {
    expect_products(1, products({{16}, {16}, {16}}), input(), math);
    expect_products(1, products({{16}, {40, false}, {8}}), input(), math);
    expect_products(1, products({{16, false}, {24, false}}), input(), math);
  }
}

TEST(shared_products, are_several_where_one_is_no_gain) {
  expect_products(1, products({{16}}), input());
  expect_products(2, products({{16}, {12}}), input());          // 12 columns end beside 16 bytes
  expect_products(2, products({{16}, {16}}, "Relu"), input());  // which each joins
}

TEST(shared_products, may_be_outputs_and_be_used_twice) {
  model_builder m;
  m.input("x", f32, {11, 24})
      .initializer("a", noise({24, 8}))
      .initializer("b", noise({24, 16}))
      .initializer("c", noise({8}))
      .node("MatMul", {"x", "a"}, {"p"})
      .node("MatMul", {"x", "b"}, {"q"})
      .node("Add", {"p", "c"}, {"r"})
      .node("Mul", {"p", "r"}, {"s"})
      .output("p", f32, {11, 8})
      .output("q", f32, {11, 16})
      .output("s", f32, {11, 8});
  tensor_map in;
  in.emplace("x", noise({11, 24}));
  expect_products(1, m, in);
}

TEST(shared_products, of_a_transposed_value) {
  model_builder m;
  m.input("x", f32, {24, 11})
      .node("Transpose", {"x"}, {"t"})
      .initializer("a", noise({24, 8}))
      .initializer("b", noise({24, 16}))
      .node("MatMul", {"t", "a"}, {"p"})
      .node("MatMul", {"t", "b"}, {"q"})
      .output("p", f32, {11, 8})
      .output("q", f32, {11, 16});
  tensor_map in;
  in.emplace("x", noise({24, 11}));
  expect_products(1, m, in);
}

TEST(shared_products, of_queries_keys_and_values) {
  model_builder m;
  m.input("x", f32, {2, 10, 32});
  for (const std::string n : {"q", "k", "v"}) {
    m.initializer("w" + n, noise({32, 32}))
        .initializer("b" + n, noise({32}))
        .initializer("s" + n, tensor::copy<std::int64_t>({0, 0, 4, 8}, {4}))
        .node("MatMul", {"x", "w" + n}, {"m" + n})
        .node("Add", {"m" + n, "b" + n}, {"a" + n})
        .node("Reshape", {"a" + n, "s" + n}, {"r" + n})
        .node("Transpose", {"r" + n}, {"t" + n},
              {{"perm", n == "k" ? std::vector<std::int64_t>{0, 2, 3, 1}
                                 : std::vector<std::int64_t>{0, 2, 1, 3}}});
  }
  m.node("MatMul", {"tq", "tk"}, {"scores"})
      .node("Softmax", {"scores"}, {"weights"}, {{"axis", std::int64_t{-1}}})
      .node("MatMul", {"weights", "tv"}, {"y"})
      .output("y", f32, {2, 4, 10, 8});
  tensor_map in;
  in.emplace("x", noise({2, 10, 32}));
  expect_products(3, m, in);        // the shared one, and those of attention
  expect_products(1, m, in, half);  // attention is one step
}

}  // namespace
}  // namespace mizzen::inference
