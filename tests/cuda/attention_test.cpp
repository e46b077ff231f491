// Attention in the forms that exporters write it, against the processor; and what only looks like
// it.
#include "device_test.hpp"

#include <cmath>
#include <cstdlib>
#include <dlfcn.h>
#include <limits>
#include <optional>

namespace mizzen::inference {
namespace {

constexpr auto half = gpu_options::arithmetic::float16;
constexpr std::int64_t batch = 2;
constexpr std::int64_t heads = 3;
constexpr std::int64_t rows = 5;
constexpr std::int64_t keys = 7;
constexpr std::int64_t depth = 8;
constexpr float lowest = std::numeric_limits<float>::lowest();

// How many steps of attention the emulated GPU was given so far; nullopt: it is another.
std::optional<std::size_t> attention_steps() {
  void* const library = ::dlopen(std::getenv("MIZZEN_CUDA_PLUGIN"), RTLD_NOW | RTLD_LOCAL);
  using function = std::size_t (*)();
  const auto count =
      reinterpret_cast<function>(::dlsym(library, "mizzen_emulated_attention_steps"));
  if (count == nullptr) return std::nullopt;
  return count();
}

// Computes the same as the processor, in so many steps of attention.
void expect_steps(std::size_t wanted, const model_builder& model, const tensor_map& in,
                  gpu_options::arithmetic math = half) {
  const auto before = attention_steps();
  same_on_device(model, in, 1e-2F, math);
  if (before) {
    EXPECT_EQ(*attention_steps() - *before, wanted);
  }
}

using dimensions = std::vector<dimension>;

// q, k and v by head, and what most forms end in.
struct by_head {
  by_head() {
    model.opset(17)
        .input("q", f32, {batch, heads, rows, depth})
        .input("k", f32, {batch, heads, keys, depth})
        .input("v", f32, {batch, heads, keys, 2 * depth});
    in.emplace("q", noise({batch, heads, rows, depth}));
    in.emplace("k", noise({batch, heads, keys, depth}, 2));
    in.emplace("v", noise({batch, heads, keys, 2 * depth}, 3));
  }
  by_head& turn_keys(const std::string& from = "k") {
    model.node("Transpose", {from}, {"kt"}, {{"perm", {0, 1, 3, 2}}});
    return *this;
  }
  by_head& scores(const std::string& q = "q", const std::string& k = "kt") {
    model.node("MatMul", {q, k}, {"scores"});
    return *this;
  }
  by_head& input(const std::string& name, const shape_type& shape, tensor t) {
    model.input(name, f32, {shape.begin(), shape.end()});
    in.emplace(name, std::move(t));
    return *this;
  }
  void finish(const std::string& last, std::size_t steps, gpu_options::arithmetic math = half) {
    model.node("Softmax", {last}, {"weights"}, {{"axis", -1}})
        .node("MatMul", {"weights", "v"}, {"y"})
        .output("y", f32, {batch, heads, rows, 2 * depth});
    expect_steps(steps, model, in, math);
  }
  model_builder model;
  tensor_map in;
};

// 0, or so low that nothing is seen: of every third, but never a whole row.
tensor hidden(const shape_type& shape, float low) {
  tensor t = noise(shape);
  auto all = t.data<float>();
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = i % 3 == 1 ? low : 0.0F;
  return t;
}

tensor truths(const shape_type& shape, bool flip = false) {
  std::size_t count = 1;
  for (const std::int64_t d : shape) count *= static_cast<std::size_t>(d);
  tensor t(element_type::boolean, shape);
  auto all = t.data<bool>();
  for (std::size_t i = 0; i < count; ++i) all[i] = (i % 3 == 1) == flip;
  return t;
}

TEST(cuda_attention, scaled_after_the_product) {
  by_head m;
  m.turn_keys().scores();
  m.model.initializer("c", number(0.3F)).node("Mul", {"c", "scores"}, {"s"});
  m.finish("s", 1);
}

TEST(cuda_attention, divided_with_a_mask_that_is_added) {
  for (const float low : {-10000.0F, lowest, -std::numeric_limits<float>::infinity()}) {
    for (const shape_type& shape :
         {shape_type{batch, 1, 1, keys}, shape_type{rows, keys}, shape_type{1, 1, rows, keys},
          shape_type{batch, heads, rows, keys}}) {
      SCOPED_TRACE(to_string(shape));
      by_head m;
      m.turn_keys().scores().input("mask", shape, hidden(shape, low));
      m.model.initializer("c", number(2.8F))
          .node("Div", {"scores", "c"}, {"s"})
          .node("Add", {"s", "mask"}, {"t"});
      m.finish("t", 1);
    }
  }
}

// What torch makes of scaled_dot_product_attention.
TEST(cuda_attention, queries_and_keys_scaled_before_the_product) {
  by_head m;
  m.turn_keys();
  m.model.initializer("root", number(0.6F))
      .node("Mul", {"q", "root"}, {"qs"})
      .node("Mul", {"kt", "root"}, {"ks"});
  m.scores("qs", "ks").finish("scores", 1);
}

TEST(cuda_attention, keys_scaled_before_they_are_turned) {
  by_head m;
  m.model.initializer("root", number(1.7F)).node("Div", {"k", "root"}, {"ks"});
  m.turn_keys("ks").scores().finish("scores", 1);
}

TEST(cuda_attention, conditions_that_replace_scores) {
  for (const bool keeps : {true, false}) {
    by_head m;
    m.turn_keys().scores();
    m.model.initializer("sees", truths({1, 1, rows, keys}, !keeps))
        .initializer("low", number(lowest))
        .initializer("c", number(0.4F))
        .node("Mul", {"scores", "c"}, {"s"});
    m.model.node("Where",
                 keeps ? std::vector<std::string>{"sees", "s", "low"}
                       : std::vector<std::string>{"sees", "low", "s"},
                 {"t"});
    m.input("mask", {batch, 1, 1, keys}, hidden({batch, 1, 1, keys}, -10000.0F));
    m.model.node("Add", {"mask", "t"}, {"u"});
    m.finish("u", 1);
  }
}

TEST(cuda_attention, masks_that_are_scaled_with_the_scores) {
  by_head m;
  m.turn_keys().scores().input("bias", {heads, rows, keys}, noise({heads, rows, keys}, 5));
  m.model.initializer("c", number(0.25F))
      .node("Add", {"scores", "bias"}, {"s"})
      .node("Mul", {"s", "c"}, {"t"});
  m.finish("t", 1);
}

// Rows of all heads side by side, split by views and joined again: BERT, MiniLM, ViT.
TEST(cuda_attention, heads_that_are_split_and_joined) {
  constexpr std::int64_t width = heads * depth;
  for (const bool stacked : {false, true}) {
    model_builder model;
    model.opset(17)
        .input("x", f32, {batch, keys, width})
        .initializer("w", noise({width, 3 * width}))
        .initializer("apart", ints({batch, keys, 3, heads, depth}))
        .initializer("split", ints({width, width, width}))
        .initializer("by_head", ints({0, 0, heads, depth}))
        .initializer("joined", ints({batch, keys, width}))
        .initializer("c", number(0.35F))
        .node("MatMul", {"x", "w"}, {"all"});
    if (stacked) {
      model.node("Reshape", {"all", "apart"}, {"five"})
          .node("Transpose", {"five"}, {"turned"}, {{"perm", {2, 0, 3, 1, 4}}});
      for (std::int64_t i = 0; i < 3; ++i) {
        const std::string name = std::string(1, "qkv"[i]);
        model.initializer("i" + name, tensor::scalar(i))
            .node("Gather", {"turned", "i" + name}, {name}, {{"axis", 0}});
      }
    } else {
      model.node("Split", {"all", "split"}, {"q3", "k3", "v3"}, {{"axis", 2}});
      for (const std::string name : {"q", "k", "v"}) {
        model.node("Reshape", {name + "3", "by_head"}, {name + "4"})
            .node("Transpose", {name + "4"}, {name}, {{"perm", {0, 2, 1, 3}}});
      }
    }
    model.node("Transpose", {"k"}, {"kt"}, {{"perm", {0, 1, 3, 2}}})
        .node("MatMul", {"q", "kt"}, {"scores"})
        .node("Mul", {"scores", "c"}, {"s"})
        .node("Softmax", {"s"}, {"weights"}, {{"axis", 3}})
        .node("MatMul", {"weights", "v"}, {"y4"})
        .node("Transpose", {"y4"}, {"yt"}, {{"perm", {0, 2, 1, 3}}})
        .node("Reshape", {"yt", "joined"}, {"y"})
        .output("y", f32, {batch, keys, width});
    tensor_map in;
    in.emplace("x", noise({batch, keys, width}, 4));
    expect_steps(1, model, in);
  }
}

// GPT-2: what was there before comes first, and is given back with the new.
TEST(cuda_attention, keys_and_values_of_a_cache) {
  constexpr std::int64_t past = 4;
  for (const std::int64_t fresh : {1, 3}) {
    model_builder model;
    model.opset(17);
    tensor_map in;
    const auto input = [&](const std::string& name, std::int64_t n, std::uint32_t seed) {
      model.input(name, f32, {batch, heads, n, depth});
      in.emplace(name, noise({batch, heads, n, depth}, seed));
    };
    input("q", fresh, 1);
    input("k", fresh, 2);
    input("v", fresh, 3);
    input("past_k", past, 4);
    input("past_v", past, 5);
    tensor sees(element_type::boolean, {1, 1, fresh, past + fresh});
    for (std::int64_t i = 0; i < fresh; ++i) {
      for (std::int64_t j = 0; j < past + fresh; ++j) {
        sees.data<bool>()[static_cast<std::size_t>(i * (past + fresh) + j)] = j <= past + i;
      }
    }
    model.initializer("sees", std::move(sees))
        .initializer("low", number(lowest))
        .initializer("c", number(std::sqrt(8.0F)))
        .node("Concat", {"past_k", "k"}, {"all_k"}, {{"axis", 2}})
        .node("Concat", {"past_v", "v"}, {"all_v"}, {{"axis", 2}})
        .node("Transpose", {"all_k"}, {"kt"}, {{"perm", {0, 1, 3, 2}}})
        .node("MatMul", {"q", "kt"}, {"scores"})
        .node("Div", {"scores", "c"}, {"s"})
        .node("Where", {"sees", "s", "low"}, {"t"})
        .node("Softmax", {"t"}, {"weights"}, {{"axis", -1}})
        .node("MatMul", {"weights", "all_v"}, {"y"})
        .output("y", f32, {batch, heads, fresh, depth})
        .output("all_k", f32, {batch, heads, past + fresh, depth})
        .output("all_v", f32, {batch, heads, past + fresh, depth});
    expect_steps(1, model, in);
  }
}

// Heads within the batch, and a model in float16 that takes the softmax in float32.
TEST(cuda_attention, three_dimensions_and_conversions) {
  constexpr std::int64_t f16_number = 10;
  constexpr std::int64_t f32_number = 1;
  model_builder model;
  model.opset(17)
      .input("q", f32, {6, rows, depth})
      .input("k", f32, {6, keys, depth})
      .input("v", f32, {6, keys, depth});
  for (const std::string name : {"q", "k", "v"}) {
    model.node("Cast", {name}, {name + "h"}, {{"to", f16_number}});
  }
  model.node("Transpose", {"kh"}, {"kt"}, {{"perm", {0, 2, 1}}})
      .node("MatMul", {"qh", "kt"}, {"scores"})
      .node("Cast", {"scores"}, {"wide"}, {{"to", f32_number}})
      .node("Softmax", {"wide"}, {"weights"}, {{"axis", 2}})
      .node("Cast", {"weights"}, {"narrow"}, {{"to", f16_number}})
      .node("MatMul", {"narrow", "vh"}, {"yh"})
      .node("Cast", {"yh"}, {"y"}, {{"to", f32_number}})
      .output("y", f32, {6, rows, depth});
  tensor_map in;
  in.emplace("q", noise({6, rows, depth}));
  in.emplace("k", noise({6, keys, depth}, 2));
  in.emplace("v", noise({6, keys, depth}, 3));
  expect_steps(1, model, in, gpu_options::arithmetic::float32);
}

// ONNX's own operator, as one step and step by step.
struct own_case {
  std::int64_t kv_heads = heads;
  bool by_rows = false;  // heads beside each other
  std::int64_t past = 0;
  bool causal = false;
  int mask = 0;  // 1: added, 2: of truths, 3: added and shorter than the keys
  float softcap = 0;
  std::size_t steps = 1;
};

TEST(cuda_attention, of_onnx) {
  const std::vector<own_case> cases = {
      {},
      {.by_rows = true},
      {.causal = true},
      {.kv_heads = 1, .mask = 1},
      {.kv_heads = 1, .by_rows = true, .past = 4, .causal = true},
      {.past = 3, .causal = true, .mask = 2},
      {.mask = 3},
      {.softcap = 2, .steps = 0},
  };
  for (const own_case& c : cases) {
    SCOPED_TRACE("case " + std::to_string(&c - cases.data()));
    model_builder model;
    model.opset(24);
    tensor_map in;
    const auto input = [&](const std::string& name, const shape_type& shape, std::uint32_t seed) {
      model.input(name, f32, {shape.begin(), shape.end()});
      in.emplace(name, noise(shape, seed));
    };
    const std::int64_t fresh = c.causal ? rows : keys;
    const std::int64_t total = fresh + c.past;
    const auto tensor_shape = [&](std::int64_t h, std::int64_t n, std::int64_t d) {
      return c.by_rows ? shape_type{batch, n, h * d} : shape_type{batch, h, n, d};
    };
    input("q", tensor_shape(heads, rows, depth), 1);
    input("k", tensor_shape(c.kv_heads, fresh, depth), 2);
    input("v", tensor_shape(c.kv_heads, fresh, 2 * depth), 3);
    std::vector<std::string> names = {"q", "k", "v", "", "", ""};
    if (c.mask == 2) {
      model.initializer("mask", truths({rows, total}));
    } else if (c.mask != 0) {
      const std::int64_t columns = c.mask == 3 ? total - 2 : total;
      model.initializer("mask", hidden({batch, 1, rows, columns}, -10000.0F));
    }
    if (c.mask != 0) names[3] = "mask";
    std::vector<std::string> outputs = {"y"};
    if (c.past != 0) {
      input("past_k", {batch, c.kv_heads, c.past, depth}, 4);
      input("past_v", {batch, c.kv_heads, c.past, 2 * depth}, 5);
      names[4] = "past_k";
      names[5] = "past_v";
      outputs = {"y", "all_k", "all_v"};
      model.output("all_k", f32, {batch, c.kv_heads, total, depth})
          .output("all_v", f32, {batch, c.kv_heads, total, 2 * depth});
    }
    while (names.back().empty()) names.pop_back();
    std::vector<node_attribute> given = {{"is_causal", c.causal ? 1 : 0}};
    if (c.by_rows) {
      given.emplace_back("q_num_heads", heads);
      given.emplace_back("kv_num_heads", c.kv_heads);
    }
    if (c.softcap != 0) given.emplace_back("softcap", c.softcap);
    const shape_type y = tensor_shape(heads, rows, 2 * depth);
    model.node("Attention", names, outputs, given).output("y", f32, {y.begin(), y.end()});
    expect_steps(c.steps, model, in);
    expect_steps(0, model, in, gpu_options::arithmetic::float32);
  }
}

TEST(cuda_attention, is_not_seen_where_it_is_not) {
  {
    SCOPED_TRACE("float32");
    by_head m;
    m.turn_keys().scores().finish("scores", 0, gpu_options::arithmetic::float32);
  }
  {
    SCOPED_TRACE("scores that are wanted");
    by_head m;
    m.turn_keys().scores();
    m.model.output("scores", f32, {batch, heads, rows, keys});
    m.finish("scores", 0);
  }
  {
    SCOPED_TRACE("weights that are wanted");
    by_head m;
    m.model.output("weights", f32, {batch, heads, rows, keys});
    m.turn_keys().scores().finish("scores", 0);
  }
  {
    SCOPED_TRACE("something else between");
    by_head m;
    m.turn_keys().scores();
    m.model.node("Tanh", {"scores"}, {"s"});
    m.finish("s", 0);
  }
  {
    SCOPED_TRACE("scaled by no number");
    by_head m;
    m.turn_keys().scores().input("c", {1, heads, 1, 1}, noise({1, heads, 1, 1}));
    m.model.node("Mul", {"scores", "c"}, {"s"});
    m.finish("s", 0);
  }
  {
    SCOPED_TRACE("replaced by what does not hide");
    by_head m;
    m.turn_keys().scores();
    m.model.initializer("sees", truths({rows, keys}))
        .initializer("low", number(-1.0F))
        .node("Where", {"sees", "scores", "low"}, {"s"});
    m.finish("s", 0);
  }
  {
    SCOPED_TRACE("another axis");
    by_head m;
    m.turn_keys().scores();
    m.model.node("Softmax", {"scores"}, {"weights"}, {{"axis", 2}})
        .node("MatMul", {"weights", "v"}, {"y"})
        .output("y", f32, {batch, heads, rows, 2 * depth});
    expect_steps(0, m.model, m.in);
  }
  {
    SCOPED_TRACE("a depth that cuDNN does not take");
    model_builder model;
    model.opset(17)
        .input("q", f32, {2, 4, 6})
        .input("k", f32, {2, 6, 4})
        .input("v", f32, {2, 4, 6})
        .node("MatMul", {"q", "k"}, {"scores"})
        .node("Softmax", {"scores"}, {"weights"}, {{"axis", -1}})
        .node("MatMul", {"weights", "v"}, {"y"})
        .output("y", f32, {2, 4, 6});
    tensor_map in;
    in.emplace("q", noise({2, 4, 6}));
    in.emplace("k", noise({2, 6, 4}, 2));
    in.emplace("v", noise({2, 4, 6}, 3));
    expect_steps(0, model, in);
  }
}

}  // namespace
}  // namespace mizzen::inference
