// Operators on the device, each in a model of its own or with what it is fused with.
#include "../inference/caught.hpp"
#include "device_test.hpp"

namespace mizzen::inference {
namespace {

tensor_map inputs(std::string name, tensor t) {
  tensor_map map;
  map.emplace(std::move(name), std::move(t));
  return map;
}

TEST(cuda_elementwise, of_one_input) {
  // One model, as each costs a compiler run.
  model_builder model;
  model.opset(22).input("x", f32, {3, 7, 5}).input("p", f32, {3, 7, 5});
  const auto add = [&](const std::string& op, const std::string& in) {
    model.node(op, {in}, {op}).output(op, f32, {3, 7, 5});
  };
  for (const char* op :
       {"Abs",      "Ceil",     "Cos",  "Erf",   "Exp",       "Floor",       "HardSwish",
        "Mish",     "Neg",      "Relu", "Round", "Sigmoid",   "Sign",        "Sin",
        "Softplus", "Softsign", "Tanh", "Elu",   "LeakyRelu", "HardSigmoid", "Gelu"}) {
    add(op, "x");
  }
  for (const char* op : {"Log", "Sqrt", "Reciprocal"}) add(op, "p");
  model.node("Gelu", {"x"}, {"by_tanh"}, {{"approximate", "tanh"}})
      .output("by_tanh", f32, {3, 7, 5});
  tensor_map in = inputs("x", noise({3, 7, 5}));
  in.emplace("p", positive({3, 7, 5}));
  same_on_device(model, in);
}

TEST(cuda_elementwise, of_two_broadcast_inputs) {
  const std::vector<std::array<shape_type, 3>> shapes = {{{{2, 3, 4}, {2, 3, 4}, {2, 3, 4}}},
                                                         {{{2, 3, 4}, {4}, {2, 3, 4}}},
                                                         {{{2, 3, 4}, {3, 1}, {2, 3, 4}}},
                                                         {{{3, 1}, {2, 3, 4}, {2, 3, 4}}},
                                                         {{{8}, {1}, {8}}},
                                                         {{{1, 5}, {4, 1}, {4, 5}}}};
  for (const auto& [a, b, out] : shapes) {
    SCOPED_TRACE(to_string(a) + to_string(b));
    model_builder model;
    model.input("a", f32, {a.begin(), a.end()}).input("b", f32, {b.begin(), b.end()});
    for (const char* op : {"Add", "Sub", "Mul", "Div", "Max", "Min", "Pow"}) {
      model.node(op, {"a", "b"}, {op}).output(op, f32, {out.begin(), out.end()});
    }
    tensor_map in = inputs("a", positive(a));
    in.emplace("b", noise(b, 9));
    same_on_device(model, in, 1e-4F);
  }
}

TEST(cuda_elementwise, chains_that_compare_and_choose) {
  model_builder model;
  model.input("x", f32, {4, 6})
      .initializer("low", number(-0.3F))
      .initializer("high", number(0.6F))
      .initializer("zero", number(0))
      .node("Clip", {"x", "low", "high"}, {"c"})
      .node("Greater", {"c", "zero"}, {"g"})
      .node("LessOrEqual", {"x", "high"}, {"l"})
      .node("And", {"g", "l"}, {"both"})
      .node("Not", {"both"}, {"neither"})
      .node("Where", {"neither", "x", "c"}, {"w"})
      .node("Cast", {"both"}, {"f"}, {{"to", 1}})
      .node("Add", {"w", "f"}, {"y"})
      .output("y", f32, {4, 6})
      .output("both", element_type::boolean, {4, 6});
  same_on_device(model, inputs("x", noise({4, 6})));
}

// Heads of keys that several of queries share: what is repeated cannot be joined with its
// neighbours.
TEST(cuda_data, repeats_then_joins_dimensions) {
  model_builder model;
  model.input("x", f32, {2, 3, 1, 4, 5})
      .initializer("wide", ints({2, 3, 2, 4, 5}))
      .initializer("joined", ints({2, 6, 4, 5}))
      .node("Expand", {"x", "wide"}, {"e"})
      .node("Reshape", {"e", "joined"}, {"r"})
      .node("Neg", {"r"}, {"y"})
      .output("y", f32, {2, 6, 4, 5});
  tensor_map in;
  in.emplace("x", noise({2, 3, 1, 4, 5}));
  same_on_device(model, in);
}

TEST(cuda_data, views_and_copies) {
  const auto ints = [](std::vector<std::int64_t> v) {
    const auto n = static_cast<std::int64_t>(v.size());
    return tensor::copy(v, {n});
  };
  model_builder model;
  model.input("x", f32, {2, 6, 4})
      .initializer("shape", ints({2, 2, 3, 4}))
      .initializer("starts", ints({-1, 0}))
      .initializer("ends", ints({-100, 3}))
      .initializer("axes", ints({3, 2}))
      .initializer("steps", ints({-2, 1}))
      .initializer("flat", ints({-1}))
      .initializer("pads", ints({1, 0, 0, 2}))
      .initializer("filler", number(7))
      .node("Reshape", {"x", "shape"}, {"r"})
      .node("Transpose", {"r"}, {"t"}, {{"perm", {0, 2, 1, 3}}})
      .node("Slice", {"t", "starts", "ends", "axes", "steps"}, {"s"})
      .node("Relu", {"s"}, {"q"})
      .node("Concat", {"q", "s"}, {"c"}, {{"axis", 1}})
      .node("Flatten", {"c"}, {"f"}, {{"axis", 2}})
      .node("Pad", {"f", "pads", "filler"}, {"p"})
      .node("Reshape", {"p", "flat"}, {"y"})
      .output("y", f32, {13 * 6})
      .output("t", f32, {2, 3, 2, 4});
  same_on_device(model, inputs("x", noise({2, 6, 4})));
}

TEST(cuda_data, pads_that_repeat_what_is_there) {
  model_builder model;
  model.opset(19)
      .input("x", f32, {2, 4, 5})
      .initializer("pads", ints({0, 2, 3, 1, 3, 4}))
      .initializer("many", ints({9, 7}))
      .initializer("last", ints({-1}))
      .node("Pad", {"x", "pads"}, {"edge"}, {{"mode", "edge"}})
      .node("Pad", {"x", "many", "", "last"}, {"wrap"}, {{"mode", "wrap"}})
      .node("Slice", {"x", "zero", "one", "zero"}, {"first"})
      .initializer("zero", ints({0}))
      .initializer("one", ints({1}))
      .initializer("inner", ints({0, 3, 4, 0, 2, 1}))
      .node("Pad", {"first", "inner"}, {"reflect"}, {{"mode", "reflect"}})
      .node("Relu", {"reflect"}, {"y"})
      .output("edge", f32, {3, 9, 12})
      .output("wrap", f32, {2, 4, 21})
      .output("y", f32, {1, 9, 10});
  same_on_device(model, inputs("x", noise({2, 4, 5})));
}

TEST(cuda_rows, a_norm_over_the_middle_dimension) {
  // As exporters write it: one LayerNormalization over strides on the device.
  model_builder model;
  model.opset(17)
      .input("x", f32, {"n", 12, 6})
      .initializer("two", number(2))
      .initializer("epsilon", number(1e-6F))
      .initializer("scale", noise({12, 1}, 3))
      .initializer("bias", noise({12, 1}, 4))
      .node("ReduceMean", {"x"}, {"m"}, {{"axes", {1}}})
      .node("Sub", {"x", "m"}, {"d"})
      .node("Pow", {"d", "two"}, {"s"})
      .node("ReduceMean", {"s"}, {"v"}, {{"axes", {1}}})
      .node("Add", {"v", "epsilon"}, {"e"})
      .node("Sqrt", {"e"}, {"r"})
      .node("Div", {"d", "r"}, {"q"})
      .node("Mul", {"q", "scale"}, {"g"})
      .node("Add", {"g", "bias"}, {"y"})
      .output("y", f32, {"n", 12, 6});
  same_on_device(model, inputs("x", noise({3, 12, 6})), 1e-4F);
  const std::string graph = on_device(model).dump_graph();
  EXPECT_NE(graph.find(" = LayerNormalization("), std::string::npos) << graph;
}

TEST(cuda_data, split_expand_gather) {
  model_builder model;
  model.input("x", f32, {3, 8})
      .input("ids", element_type::int64, {2, 2})
      .initializer("table", noise({5, 4}, 3))
      .initializer("shape", tensor::copy({std::int64_t{2}, std::int64_t{3}, std::int64_t{4}}, {3}))
      .node("Split", {"x"}, {"a", "b"}, {{"axis", 1}, {"num_outputs", 2}})
      .opset(18)
      .node("Mul", {"a", "b"}, {"m"})
      .node("Expand", {"m", "shape"}, {"e"})
      .node("Gather", {"table", "ids"}, {"g"})
      .node("ReduceSum", {"g"}, {"s"}, {{"keepdims", 0}})
      .node("Add", {"e", "s"}, {"y"})
      .output("y", f32, {2, 3, 4})
      .output("g", f32, {2, 2, 4});
  tensor_map in = inputs("x", noise({3, 8}));
  in.emplace(
      "ids",
      tensor::copy({std::int64_t{4}, std::int64_t{-5}, std::int64_t{0}, std::int64_t{-1}}, {2, 2}));
  same_on_device(model, in);
  in.at("ids").data<std::int64_t>()[2] = 5;
  const session device = on_device(model);
  const error e = test::caught([&] { device.run(in); });
  EXPECT_EQ(e.code(), errc::out_of_range);
  EXPECT_NE(std::string(e.what()).find("index 5 is outside [-5, 4]"), std::string::npos)
      << e.what();
}

TEST(cuda_products, matmul_in_many_layouts) {
  const std::vector<std::array<shape_type, 3>> shapes = {{{{5, 7}, {7, 3}, {5, 3}}},
                                                         {{{2, 5, 7}, {7, 3}, {2, 5, 3}}},
                                                         {{{2, 5, 7}, {2, 7, 3}, {2, 5, 3}}},
                                                         {{{2, 1, 4, 6}, {3, 6, 2}, {2, 3, 4, 2}}},
                                                         {{{7}, {7, 3}, {3}}},
                                                         {{{5, 7}, {7}, {5}}},
                                                         {{{2, 5, 7}, {7}, {2, 5}}},
                                                         {{{1, 7}, {7, 1}, {1, 1}}}};
  for (const auto& [a, b, out] : shapes) {
    SCOPED_TRACE(to_string(a) + to_string(b));
    model_builder model;
    model.input("a", f32, {a.begin(), a.end()})
        .input("b", f32, {b.begin(), b.end()})
        .node("MatMul", {"a", "b"}, {"y"})
        .output("y", f32, {out.begin(), out.end()});
    tensor_map in = inputs("a", noise(a));
    in.emplace("b", noise(b, 5));
    same_on_device(model, in);
  }
}

TEST(cuda_products, gemm_with_what_follows) {
  for (const bool transposed : {false, true}) {
    model_builder model;
    model.input("x", f32, {"n", 6})
        .initializer("w", transposed ? noise({4, 6}, 2) : noise({6, 4}, 2))
        .initializer("b", noise({4}, 3))
        .node("Gemm", {"x", "w", "b"}, {"g"}, {{"transB", transposed ? 1 : 0}})
        .node("Relu", {"g"}, {"r"})
        .node("Mul", {"r", "b"}, {"y"})
        .output("y", f32, {"n", 4});
    same_on_device(model, inputs("x", noise({3, 6})));
    same_on_device(model, inputs("x", noise({13, 6})));
    same_on_device(model, inputs("x", noise({12, 6})), 5e-3F, gpu_options::arithmetic::float16);
  }
}

struct conv_case {
  shape_type x, w;
  std::vector<node_attribute> attributes;
};

TEST(cuda_products, pictures_that_do_not_begin_at_16_bytes_are_copied) {
  model_builder model;
  model.input("x", f32, {3, 5, 3, 3})
      .initializer("begin", ints({1}))
      .initializer("end", ints({3}))
      .initializer("axis", ints({0}))
      .initializer("w", noise({4, 5, 3, 3}))
      .initializer("v", noise({5, 5, 1, 1}))
      .node("Conv", {"x", "v"}, {"mid"})  // its result lies channels last
      .node("Slice", {"mid", "begin", "end", "axis"}, {"two"})
      .node("Conv", {"two", "w"}, {"y"}, {{"pads", {1, 1, 1, 1}}})
      .output("y", f32, {2, 4, 3, 3});
  same_on_device(model, inputs("x", noise({3, 5, 3, 3})));
}

TEST(cuda_products, convolutions_with_what_follows) {
  const std::vector<conv_case> cases = {
      {{2, 3, 8, 9}, {4, 3, 3, 3}, {{"pads", {1, 1, 1, 1}}}},
      {{1, 4, 9, 9}, {6, 4, 3, 3}, {{"strides", {2, 2}}, {"pads", {0, 1, 1, 0}}}},
      {{1, 4, 7, 7}, {6, 4, 1, 1}, {}},
      {{1, 4, 9, 9}, {2, 4, 3, 3}, {{"dilations", {2, 2}}, {"auto_pad", "SAME_UPPER"}}},
      {{2, 6, 8, 8}, {6, 1, 3, 3}, {{"group", 6}, {"pads", {1, 1, 1, 1}}}},
      {{1, 6, 8, 8}, {4, 3, 3, 3}, {{"group", 2}}},
      {{2, 3, 10}, {5, 3, 3}, {}},
      {{1, 2, 4, 5, 6}, {3, 2, 3, 3, 3}, {{"pads", {1, 1, 1, 1, 1, 1}}}},
  };
  for (const conv_case& c : cases) {
    SCOPED_TRACE(to_string(c.x) + to_string(c.w));
    model_builder model;
    std::vector<dimension> any(c.x.size(), dimension());
    model.input("x", f32, {c.x.begin(), c.x.end()})
        .initializer("w", noise(c.w, 2))
        .initializer("b", noise({c.w[0]}, 3))
        .node("Conv", {"x", "w", "b"}, {"c"}, c.attributes)
        .node("Sigmoid", {"c"}, {"s"})
        .node("Mul", {"c", "s"}, {"m"})
        .node("Add", {"m", "c"}, {"t"})
        .node("Relu", {"t"}, {"y"})
        .output("y", f32, any);
    same_on_device(model, inputs("x", noise(c.x)), 1e-4F);
    same_on_device(model, inputs("x", noise(c.x)), 2e-2F, gpu_options::arithmetic::float16);
  }
}

TEST(cuda_products, a_residual_block) {
  model_builder model;
  model.input("x", f32, {1, 4, 6, 6})
      .initializer("w", noise({4, 4, 3, 3}, 2))
      .initializer("v", noise({4, 4, 1, 1}, 4))
      .initializer("b", noise({4}, 3))
      .node("Conv", {"x", "w", "b"}, {"a"}, {{"pads", {1, 1, 1, 1}}})
      .node("Relu", {"a"}, {"r"})
      .node("Conv", {"r", "v", "b"}, {"c"})
      .node("Add", {"c", "r"}, {"s"})
      .node("Relu", {"s"}, {"o"})
      .node("MaxPool", {"o"}, {"p"}, {{"kernel_shape", {2, 2}}, {"strides", {2, 2}}})
      .node("GlobalAveragePool", {"p"}, {"g"})
      .node("Flatten", {"g"}, {"y"})
      .output("y", f32, {1, 4})
      .output("o", f32, {1, 4, 6, 6});
  same_on_device(model, inputs("x", noise({1, 4, 6, 6})), 1e-4F);
  same_on_device(model, inputs("x", noise({1, 4, 6, 6})), 2e-2F, gpu_options::arithmetic::float16);
  same_on_device(model, inputs("x", noise({1, 4, 6, 6})), 1e-4F, gpu_options::arithmetic::tf32);
}

TEST(cuda_rows, softmax_norms_and_reductions) {
  for (const shape_type& shape :
       {shape_type{3, 5, 8}, shape_type{1, 2, 1500}, shape_type{1, 2, 9000}}) {
    for (const std::int64_t axis : {-1, 1}) {
      if (axis == 1 && shape[2] > 8) continue;  // many rows take long here
      SCOPED_TRACE(to_string(shape) + std::to_string(axis));
      model_builder model;
      const std::vector<dimension> same(shape.begin(), shape.end());
      const shape_type features(shape.begin() + (axis == 1 ? 1 : 2), shape.end());
      model.opset(18)
          .input("x", f32, same)
          .initializer("half", number(0.5F))
          .initializer("scale", noise(features, 4))
          .initializer("shift", noise(features, 5))
          .initializer("axes", tensor::copy({axis}, {1}))
          .node("Mul", {"x", "half"}, {"h"})
          .node("Softmax", {"h"}, {"soft"}, {{"axis", axis}})
          .node("LogSoftmax", {"x"}, {"log"}, {{"axis", axis}})
          .node("LayerNormalization", {"x", "scale", "shift"}, {"norm"}, {{"axis", axis}})
          .output("soft", f32, same)
          .output("log", f32, same)
          .output("norm", f32, same);
      for (const char* op : {"Max", "Mean", "Min", "Sum", "L2", "SumSquare"}) {
        model
            .node(std::string("Reduce") + op, {"x", "axes"}, {op},
                  {{"keepdims", axis == 1 ? 1 : 0}})
            .output(op, f32, std::vector<dimension>(axis == 1 ? 3 : 2));
      }
      same_on_device(model, inputs("x", noise(shape)), 2e-4F);
    }
  }
}

TEST(cuda_rows, instance_normalisation) {
  model_builder model;
  model.input("x", f32, {2, 3, 4, 5})
      .initializer("scale", noise({3}, 4))
      .initializer("shift", noise({3}, 5))
      .node("InstanceNormalization", {"x", "scale", "shift"}, {"y"})
      .output("y", f32, {2, 3, 4, 5});
  same_on_device(model, inputs("x", noise({2, 3, 4, 5})), 1e-4F);
}

TEST(cuda_windows, pooling) {
  const std::vector<std::vector<node_attribute>> cases = {
      {{"kernel_shape", {3, 3}}, {"pads", {1, 1, 1, 1}}},
      {{"kernel_shape", {3, 2}}, {"strides", {2, 2}}, {"ceil_mode", 1}},
      {{"kernel_shape", {2, 2}}, {"strides", {2, 2}}, {"pads", {0, 0, 1, 1}}},
  };
  const std::vector<dimension> any(4);
  for (const auto& attributes : cases) {
    auto with_pads = attributes;
    with_pads.emplace_back("count_include_pad", 1);
    model_builder model;
    model.input("x", f32, {2, 3, 7, 8})
        .node("MaxPool", {"x"}, {"max"}, attributes)
        .node("AveragePool", {"x"}, {"mean"}, attributes)
        .node("AveragePool", {"x"}, {"padded"}, with_pads)
        .output("max", f32, any)
        .output("mean", f32, any)
        .output("padded", f32, any);
    same_on_device(model, inputs("x", noise({2, 3, 7, 8})));
  }
}

TEST(cuda_windows, resizing) {
  const std::vector<dimension> any(4);
  for (const auto& scales :
       {std::vector<float>{1, 1, 2, 2}, std::vector<float>{1, 1, 0.5F, 1.7F}}) {
    model_builder model;
    model.input("x", f32, {1, 2, 6, 5}).initializer("scales", tensor::copy(scales, {4}));
    for (const char* mode : {"nearest", "linear"}) {
      for (const char* where :
           {"half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"}) {
        const std::string name = std::string(mode) + where;
        model
            .node("Resize", {"x", "", "scales"}, {name},
                  {{"mode", mode},
                   {"coordinate_transformation_mode", where},
                   {"nearest_mode", "floor"}})
            .output(name, f32, any);
      }
    }
    same_on_device(model, inputs("x", noise({1, 2, 6, 5})), 1e-4F);
  }
}

}  // namespace
}  // namespace mizzen::inference
