// Which steps a part over numbers of 8 bits becomes.
#include "cuda/lower.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

namespace mizzen::cuda {
namespace {

constexpr auto f32 = element_type::float32;
constexpr auto i8 = element_type::int8;
constexpr auto u8 = element_type::uint8;
constexpr auto e4m3 = element_type::float8_e4m3fn;

// A part written by hand; constants are all ones.
class builder {
 public:
  value_id add(element_type type, dims shape, bool constant = false) {
    value v;
    v.name = "v" + std::to_string(p.values.size());
    v.type = type;
    if (constant) {
      auto& bytes = bytes_.emplace_back(static_cast<std::size_t>(count_of(shape)) * size_of(type));
      for (std::size_t i = 0; i < bytes.size(); ++i) {
        // 1.0 of float32, 1 of the others.
        bytes[i] = type != f32 ? 1 : i % 4 == 3 ? 0x3f : i % 4 == 2 ? 0x80 : 0;
      }
      v.constant = bytes.data();
    }
    v.shape = std::move(shape);
    p.values.push_back(std::move(v));
    return static_cast<value_id>(p.values.size() - 1);
  }
  value_id node_of(std::string op, std::vector<value_id> in, element_type type, dims shape,
                   std::map<std::string, std::int64_t> attributes = {}) {
    node n;
    n.op_type = std::move(op);
    n.opset = 21;
    n.inputs = std::move(in);
    for (const auto& [name, i] : attributes) n.attributes[name] = i;
    const value_id out = add(type, std::move(shape));
    n.outputs = {out};
    p.nodes.push_back(std::move(n));
    return out;
  }
  value_id quantise(value_id x, element_type to, bool zero = true) {
    return node_of("QuantizeLinear", {x, add(f32, {}, true), zero ? add(to, {}, true) : no_value},
                   to, *p.values[x].shape);
  }
  value_id dequantise(value_id x, bool zero = true) {
    return node_of("DequantizeLinear",
                   {x, add(f32, {}, true), zero ? add(p.values[x].type, {}, true) : no_value}, f32,
                   *p.values[x].shape);
  }
  value_id dense(value_id x, element_type type, std::int64_t columns) {
    const std::int64_t rows = (*p.values[x].shape)[0];
    const std::int64_t depth = (*p.values[x].shape)[1];
    const value_id w = dequantise(add(type, {depth, columns}, true), false);
    return node_of("MatMul", {x, w}, f32, {rows, columns});
  }

  part p;

 private:
  std::deque<std::vector<unsigned char>> bytes_;
};

// x → bytes → product → bias → Relu → bytes → product → y.
builder two_products(element_type activations, element_type weights) {
  builder b;
  const bool zero = activations != e4m3;
  const value_id x = b.add(f32, {12, 32});
  value_id v = b.dequantise(b.quantise(x, activations, zero), zero);
  v = b.dense(v, weights, 16);
  v = b.node_of("Add", {v, b.add(f32, {16}, true)}, f32, {12, 16});
  v = b.node_of("Relu", {v}, f32, {12, 16});
  v = b.dequantise(b.quantise(v, activations, zero), zero);
  v = b.dense(v, weights, 48);
  b.p.inputs = {x};
  b.p.outputs = {v};
  return b;
}

std::string kinds(const std::vector<step>& steps) {
  std::string text;
  for (const step& s : steps) {
    text += std::holds_alternative<kernel_step>(s.what) ? 'k'
            : std::holds_alternative<gemm_step>(s.what) ? 'g'
                                                        : 'c';
  }
  return text;
}

TEST(cuda_quantised_plan, bytes_stay_bytes_between_products) {
  for (const element_type activations : {i8, u8}) {
    SCOPED_TRACE(static_cast<int>(activations));
    const builder b = two_products(activations, i8);
    const lowered made = lower(b.p, arithmetic::float32, {75});
    EXPECT_EQ(kinds(made.plan.steps), "kgkgk");
    for (const step& s : made.plan.steps) {
      const auto* g = std::get_if<gemm_step>(&s.what);
      if (g == nullptr) continue;
      EXPECT_EQ(g->type_of_a(), i8);
      EXPECT_EQ(g->type_of_b(), i8);
      EXPECT_EQ(g->type, element_type::int32);
      EXPECT_EQ(made.plan.buffers[g->a.buffer].type, i8);
      EXPECT_EQ(made.plan.buffers[g->out.buffer].type, element_type::int32);
    }
    // Weights and their sums.
    EXPECT_EQ(kinds(made.plan.setup).find('g'), std::string::npos);
    EXPECT_FALSE(made.plan.setup.empty());
  }
}

TEST(cuda_quantised_plan, float8_where_the_chip_has_it) {
  const builder b = two_products(e4m3, e4m3);
  const auto types = [&](int capability) {
    std::vector<element_type> list;
    for (const step& s : lower(b.p, arithmetic::float32, {capability}).plan.steps) {
      if (const auto* g = std::get_if<gemm_step>(&s.what)) list.push_back(g->type_of_a());
    }
    return list;
  };
  EXPECT_EQ(types(90), (std::vector{e4m3, e4m3}));
  EXPECT_EQ(types(89), (std::vector{e4m3, e4m3}));
  EXPECT_EQ(types(86), (std::vector{f32, f32}));
}

// Weights that nobody computes with as bytes become floats once.
TEST(cuda_quantised_plan, other_weights_are_floats_made_once) {
  builder b;
  const value_id x = b.add(f32, {12, 32});
  const value_id y = b.dense(x, i8, 16);
  b.p.inputs = {x};
  b.p.outputs = {y};
  const lowered made = lower(b.p, arithmetic::float32, {75});
  EXPECT_EQ(kinds(made.plan.setup), "k");
  EXPECT_EQ(kinds(made.plan.steps), "g");
}

// One quantised value that many use is made once; each makes its own numbers of it.
TEST(cuda_quantised_plan, shared_bytes_are_made_once) {
  builder b;
  const value_id x = b.add(f32, {12, 32});
  const value_id q = b.quantise(x, u8);
  const value_id d = b.dequantise(q);
  value_id sum = no_value;
  for (int i = 0; i < 3; ++i) {
    const value_id y = b.dense(d, i8, 32);
    sum = sum == no_value ? y : b.node_of("Add", {sum, y}, f32, {12, 32});
  }
  sum = b.node_of("Add", {sum, d}, f32, {12, 32});
  b.p.inputs = {x};
  b.p.outputs = {sum};
  const lowered made = lower(b.p, arithmetic::float32, {75});
  EXPECT_EQ(kinds(made.plan.steps), "kgggk");
}

// What moves between bytes and bytes moves bytes.
TEST(cuda_quantised_plan, bytes_are_rearranged_as_bytes) {
  builder b;
  const value_id x = b.add(f32, {6, 32});
  value_id v = b.dequantise(b.quantise(x, u8));
  v = b.dense(v, i8, 16);
  v = b.dequantise(b.quantise(v, u8));
  v = b.node_of("Transpose", {v}, f32, {16, 6});
  v = b.quantise(v, u8);
  v = b.dequantise(v);
  v = b.node_of("Squeeze", {v}, f32, {16, 6});
  v = b.dequantise(b.quantise(v, u8));
  v = b.dense(v, i8, 16);
  b.p.inputs = {x};
  b.p.outputs = {v};
  const lowered made = lower(b.p, arithmetic::float32, {75});
  // 6 numbers in a row are no product's: they are copied to where rows are longer.
  EXPECT_EQ(kinds(made.plan.steps), "kgkkgk");
  for (std::size_t i = 0; i + 1 < made.plan.steps.size(); ++i) {
    const element_type type = made.plan.buffers[made.plan.steps[i].writes()].type;
    EXPECT_TRUE(type == i8 || type == element_type::int32) << i;
  }
}

// Both uses of a value end in one kernel, between bytes and bytes.
TEST(cuda_quantised_plan, hard_swish_over_bytes_is_one_kernel) {
  builder b;
  const value_id x = b.add(f32, {12, 32});
  value_id v = b.dense(b.dequantise(b.quantise(x, i8)), i8, 16);
  v = b.dequantise(b.quantise(v, i8));
  const value_id gate = b.node_of("HardSigmoid", {v}, f32, {12, 16});
  v = b.node_of("Mul", {v, b.dequantise(b.quantise(gate, i8))}, f32, {12, 16});
  v = b.quantise(v, i8);
  b.p.inputs = {x};
  b.p.outputs = {v};
  EXPECT_EQ(kinds(lower(b.p, arithmetic::float32, {75}).plan.steps), "kgk");
}

// Windows as rows of bytes, their product, and what is behind it; a pointwise one needs no windows.
TEST(cuda_quantised_plan, convolutions_are_products_of_bytes) {
  for (const std::int64_t kernel : {1, 3}) {
    builder b;
    const value_id x = b.add(f32, {2, 16, 6, 5});
    value_id v = b.dequantise(b.quantise(x, u8));
    const value_id w = b.dequantise(b.add(i8, {32, 16, kernel, kernel}, true), false);
    const dims out = {2, 32, 7 - kernel, 6 - kernel};
    v = b.node_of("Conv", {v, w}, f32, out);
    v = b.node_of("Relu", {v}, f32, out);
    v = b.quantise(v, u8);
    b.p.inputs = {x};
    b.p.outputs = {v};
    EXPECT_EQ(kinds(lower(b.p, arithmetic::float32, {75}).plan.steps),
              kernel == 1 ? "kgk" : "kkgk");
  }
}

}  // namespace
}  // namespace mizzen::cuda
