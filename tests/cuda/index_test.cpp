// Operators whose elements lie where indices say.
#include "device_test.hpp"

namespace mizzen::inference {
namespace {

constexpr element_type i64 = element_type::int64;

tensor whole(shape_type shape, std::vector<std::int64_t> v) { return tensor::copy(v, shape); }

TEST(cuda_indices, gather_in_three_ways) {
  model_builder model;
  model.opset(18)
      .input("x", f32, {3, 4, 5})
      .input("e", i64, {3, 2, 5})
      .input("t", i64, {2, 2})
      .input("b", i64, {3, 1})
      .node("GatherElements", {"x", "e"}, {"elements"}, {{"axis", 1}})
      .node("GatherND", {"x", "t"}, {"tuples"})
      .node("GatherND", {"x", "b"}, {"in_batches"}, {{"batch_dims", 1}})
      .output("elements", f32, {3, 2, 5})
      .output("tuples", f32, {2, 5})
      .output("in_batches", f32, {3, 5});
  tensor_map in;
  in.emplace("x", noise({3, 4, 5}));
  std::vector<std::int64_t> e(30);
  for (std::size_t i = 0; i < e.size(); ++i) e[i] = static_cast<std::int64_t>(i * 7 % 8) - 4;
  in.emplace("e", whole({3, 2, 5}, e));
  in.emplace("t", whole({2, 2}, {2, -1, -3, 0}));
  in.emplace("b", whole({3, 1}, {3, -4, 1}));
  same_on_device(model, in);
}

// The indices follow from what the part computes.
TEST(cuda_indices, computed_on_the_device) {
  model_builder model;
  model.opset(18)
      .input("ids", i64, {2, 3})
      .initializer("table", noise({6, 4}))
      .initializer("one", tensor::scalar(std::int64_t{1}))
      .initializer("w", noise({4, 4}, 3))
      .node("Add", {"ids", "one"}, {"next"})
      .node("Gather", {"table", "next"}, {"g"})
      .node("MatMul", {"g", "w"}, {"y"})
      .node("ArgMax", {"y"}, {"best"}, {{"axis", -1}, {"keepdims", 0}})
      .node("Gather", {"table", "best"}, {"z"})
      .output("y", f32, {2, 3, 4})
      .output("z", f32, {2, 3, 4})
      .output("best", i64, {2, 3});
  tensor_map in;
  in.emplace("ids", whole({2, 3}, {0, 4, -3, 2, 1, 3}));
  same_on_device(model, in, 1e-5F);
  // One outside reads zeros, and nothing else.
  in.at("ids").data<std::int64_t>()[1] = 99;
  const auto out = on_device(model).run(in);
  for (std::size_t c = 4; c < 8; ++c) EXPECT_EQ(out.at("y").data<float>()[c], 0.0F);
}

TEST(cuda_indices, scatter) {
  model_builder model;
  model.opset(18)
      .input("cache", f32, {2, 5, 4})
      .input("at", i64, {3, 2})
      .input("new", f32, {3, 4})
      .input("e", i64, {2, 1, 4})
      .input("u", f32, {2, 1, 4})
      .node("ScatterND", {"cache", "at", "new"}, {"grown"})
      .node("ScatterElements", {"grown", "e", "u"}, {"y"}, {{"axis", 1}})
      .output("grown", f32, {2, 5, 4})
      .output("y", f32, {2, 5, 4});
  tensor_map in;
  in.emplace("cache", noise({2, 5, 4}));
  in.emplace("at", whole({3, 2}, {0, 4, 1, -5, -1, 2}));
  in.emplace("new", noise({3, 4}, 5));
  in.emplace("e", whole({2, 1, 4}, {0, -1, 2, 3, 4, -5, 1, 0}));
  in.emplace("u", noise({2, 1, 4}, 6));
  same_on_device(model, in);
}

TEST(cuda_indices, triangles_sums_and_blocks) {
  model_builder model;
  model.opset(18)
      .input("x", f32, {2, 8, 4, 6})
      .initializer("k", tensor::scalar(std::int64_t{-1}))
      .initializer("axis", tensor::scalar(std::int64_t{-2}))
      .node("Trilu", {"x", "k"}, {"lower"}, {{"upper", 0}})
      .node("Trilu", {"x"}, {"upper"})
      .node("CumSum", {"x", "axis"}, {"sum"})
      .node("CumSum", {"x", "axis"}, {"behind"}, {{"exclusive", 1}, {"reverse", 1}})
      .node("DepthToSpace", {"x"}, {"dcr"}, {{"blocksize", 2}})
      .node("DepthToSpace", {"x"}, {"crd"}, {{"blocksize", 2}, {"mode", "CRD"}})
      .node("SpaceToDepth", {"x"}, {"deep"}, {{"blocksize", 2}})
      .output("lower", f32, {2, 8, 4, 6})
      .output("upper", f32, {2, 8, 4, 6})
      .output("sum", f32, {2, 8, 4, 6})
      .output("behind", f32, {2, 8, 4, 6})
      .output("dcr", f32, {2, 2, 8, 12})
      .output("crd", f32, {2, 2, 8, 12})
      .output("deep", f32, {2, 32, 2, 3});
  tensor_map in;
  in.emplace("x", noise({2, 8, 4, 6}));
  same_on_device(model, in);
}

TEST(cuda_indices, first_and_last_of_the_largest) {
  for (const std::int64_t n : {7, 64, 3000}) {
    model_builder model;
    model.opset(18).input("x", f32, {3, n});
    for (const char* op : {"ArgMax", "ArgMin"}) {
      for (const std::int64_t last : {0, 1}) {
        const std::string name = op + std::to_string(last);
        model.node(op, {"x"}, {name}, {{"axis", 1}, {"select_last_index", last}})
            .output(name, i64, {3, 1});
      }
    }
    for (const char* op : {"L1", "LogSum", "LogSumExp", "Prod"}) {
      model.node(std::string("Reduce") + op, {"x", "axes"}, {op}).output(op, f32, {3, 1});
    }
    model.initializer("axes", whole({1}, {1}));
    tensor x = positive({3, n});
    auto v = x.data<float>();
    // The largest and the least come twice.
    for (const std::size_t i : {std::size_t{1}, v.size() - 2}) v[i] = 9.0F;
    for (const std::size_t i : {std::size_t{2}, v.size() - 3}) v[i] = 0.001F;
    tensor_map in;
    in.emplace("x", std::move(x));
    same_on_device(model, in, 1e-4F);
  }
}

// What a Slice is cut at follows from data: the host computes it, and the part is made for it.
TEST(cuda_indices, shapes_that_follow_from_data_stay_with_the_host) {
  model_builder model;
  model.opset(18)
      .input("x", f32, {6, 4})
      .input("n", i64, {1})
      .initializer("w", noise({4, 4}))
      .initializer("one", whole({1}, {1}))
      .initializer("zero", whole({1}, {0}))
      .node("Add", {"n", "one"}, {"end"})
      .node("MatMul", {"x", "w"}, {"m"})
      .node("Slice", {"m", "zero", "end", "zero"}, {"y"})
      .output("y", f32, {dimension(), 4});
  for (const std::int64_t n : {2, 4}) {
    tensor_map in;
    in.emplace("x", noise({6, 4}));
    in.emplace("n", whole({1}, {n}));
    expect_near(on_device(model).run(in), session::load(model.bytes()).run(in), 1e-5F);
  }
}

}  // namespace
}  // namespace mizzen::inference
