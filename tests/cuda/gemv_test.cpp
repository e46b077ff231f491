// Products of few rows, with what follows them.
#include "device_test.hpp"

namespace mizzen::inference {
namespace {

constexpr auto f16 = gpu_options::arithmetic::float16;

// m rows, k summed, n columns; weights as they stand or transposed; k and n odd or not.
TEST(cuda_gemv, of_weights_in_both_layouts) {
  struct sizes {
    std::int64_t m, k, n;
  };
  for (const sizes s : {sizes{1, 64, 48},
                        {4, 40, 24},
                        {8, 33, 7},
                        {3, 1000, 2},
                        {1, 5, 3},
                        {1, 96, 1100},
                        {2, 2048, 16},
                        {1, 1, 1}}) {
    for (const bool transposed : {false, true}) {
      SCOPED_TRACE(std::to_string(s.m) + " " + std::to_string(s.k) + " " + std::to_string(s.n));
      model_builder model;
      model.input("x", f32, {s.m, s.k})
          .initializer("w", transposed ? noise({s.n, s.k}, 2) : noise({s.k, s.n}, 2))
          .initializer("b", noise({s.n}, 3))
          .input("r", f32, {s.m, s.n})
          .node("Gemm", {"x", "w", "b"}, {"g"}, {{"transB", transposed ? 1 : 0}})
          .node("Sigmoid", {"g"}, {"s"})
          .node("Add", {"s", "r"}, {"y"})
          .output("y", f32, {s.m, s.n});
      tensor_map in;
      in.emplace("x", noise({s.m, s.k}));
      in.emplace("r", noise({s.m, s.n}, 9));
      same_on_device(model, in, 1e-4F);
      same_on_device(model, in, 4e-2F, f16);
    }
  }
}

// As a step of a language model attends to its cache: one row, in many batches.
TEST(cuda_gemv, in_batches) {
  model_builder model;
  model.input("q", f32, {2, 3, 1, 16})
      .input("k", f32, {2, 3, 21, 16})
      .input("v", f32, {2, 3, 21, 16})
      .initializer("scale", number(0.25F))
      .node("Transpose", {"k"}, {"t"}, {{"perm", {0, 1, 3, 2}}})
      .node("MatMul", {"q", "t"}, {"s"})
      .node("Mul", {"s", "scale"}, {"m"})
      .node("Sigmoid", {"m"}, {"p"})
      .node("MatMul", {"p", "v"}, {"y"})
      .output("y", f32, {2, 3, 1, 16})
      .output("p", f32, {2, 3, 1, 21});
  tensor_map in;
  in.emplace("q", noise({2, 3, 1, 16}));
  in.emplace("k", noise({2, 3, 21, 16}, 2));
  in.emplace("v", noise({2, 3, 21, 16}, 3));
  same_on_device(model, in, 1e-4F);
  same_on_device(model, in, 3e-2F, f16);
}

// Two products that meet, a matrix times a vector, and one that is reshaped, reduced and scattered.
TEST(cuda_gemv, that_meet_others) {
  model_builder model;
  model.opset(18)
      .input("x", f32, {1, 2, 24})
      .input("a", f32, {30, 24})
      .input("vector", f32, {24})
      .initializer("up", noise({24, 40}, 2))
      .initializer("gate", noise({24, 40}, 3))
      .initializer("shape", tensor::copy({std::int64_t{2}, std::int64_t{5}, std::int64_t{8}}, {3}))
      .node("MatMul", {"x", "up"}, {"u"})
      .node("MatMul", {"x", "gate"}, {"g"})
      .node("Sigmoid", {"g"}, {"s"})
      .node("Mul", {"u", "s"}, {"both"})
      .node("Reshape", {"both", "shape"}, {"r"})
      .node("Softmax", {"r"}, {"y"})
      .node("MatMul", {"a", "vector"}, {"column"})
      .node("Relu", {"column"}, {"positive"})
      .node("MatMul", {"x", "up"}, {"again"})
      .node("ReduceMean", {"again", "axes"}, {"mean"})
      .initializer("axes", tensor::copy({std::int64_t{-1}}, {1}))
      .output("y", f32, {2, 5, 8})
      .output("positive", f32, {30})
      .output("mean", f32, {1, 2, 1});
  tensor_map in;
  in.emplace("x", noise({1, 2, 24}));
  in.emplace("a", noise({30, 24}, 5));
  in.emplace("vector", noise({24}, 6));
  same_on_device(model, in, 1e-4F);
}

}  // namespace
}  // namespace mizzen::inference
