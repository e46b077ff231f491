// Normalisation and reductions of rows that are cut into chunks.
#include "device_test.hpp"

namespace mizzen::inference {
namespace {

tensor_map of_x(tensor t) {
  tensor_map in;
  in.emplace("x", std::move(t));
  return in;
}

// After a convolution channels lie last: neighbours in memory are of different rows.
TEST(cuda_long_rows, instance_normalisation_after_a_convolution) {
  const std::vector<shape_type> shapes = {
      {1, 3, 40, 50}, {2, 8, 7, 9}, {1, 5, 6, 7, 8}, {1, 48, 9, 9}, {2, 2, 3000}};
  for (const shape_type& shape : shapes) {
    SCOPED_TRACE(to_string(shape));
    const auto c = shape[1];
    shape_type kernel(shape.size(), 1);
    kernel[0] = kernel[1] = c;
    model_builder model;
    model.input("x", f32, {shape.begin(), shape.end()})
        .initializer("w", noise(kernel, 2))
        .initializer("b", noise({c}, 3))
        .initializer("scale", noise({c}, 4))
        .initializer("shift", noise({c}, 5))
        .initializer("slope", number(0.1F))
        .node("Conv", {"x", "w", "b"}, {"c"})
        .node("InstanceNormalization", {"c", "scale", "shift"}, {"n"})
        .node("PRelu", {"n", "slope"}, {"p"})
        .node("GlobalAveragePool", {"p"}, {"mean"})
        .node("GlobalMaxPool", {"p"}, {"max"})
        .output("p", f32, std::vector<dimension>(shape.size()))
        .output("mean", f32, std::vector<dimension>(shape.size()))
        .output("max", f32, std::vector<dimension>(shape.size()));
    same_on_device(model, of_x(noise(shape)), 2e-4F);
    same_on_device(model, of_x(noise(shape)), 3e-2F, gpu_options::arithmetic::float16);
  }
}

// A mean that is large beside the variance must not swallow it.
TEST(cuda_long_rows, instance_normalisation_far_from_zero) {
  for (const shape_type& shape : {shape_type{2, 3, 60, 60}, shape_type{1, 2, 200, 170}}) {
    model_builder model;
    tensor x = noise(shape);
    for (float& v : x.data<float>()) v += 300.0F;
    model.input("x", f32, {shape.begin(), shape.end()})
        .initializer("scale", noise({shape[1]}, 4))
        .initializer("shift", noise({shape[1]}, 5))
        .node("InstanceNormalization", {"x", "scale", "shift"}, {"y"})
        .output("y", f32, {shape.begin(), shape.end()});
    same_on_device(model, of_x(std::move(x)), 1e-3F);
  }
}

TEST(cuda_long_rows, group_normalisation) {
  for (const std::int64_t opset : {18, 21}) {
    for (const bool convolved : {false, true}) {
      const std::int64_t each = opset == 18 ? 3 : 12;
      model_builder model;
      model.opset(opset)
          .input("x", f32, {2, 12, 10, 11})
          .initializer("w", noise({12, 12, 1, 1}, 2))
          .initializer("scale", noise({each}, 4))
          .initializer("shift", noise({each}, 5))
          .node(convolved ? "Conv" : "Identity",
                convolved ? std::vector<std::string>{"x", "w"} : std::vector<std::string>{"x"},
                {"c"})
          .node("GroupNormalization", {"c", "scale", "shift"}, {"y"}, {{"num_groups", 3}})
          .output("y", f32, {2, 12, 10, 11});
      same_on_device(model, of_x(noise({2, 12, 10, 11})), 2e-4F);
    }
  }
}

TEST(cuda_long_rows, reductions_in_chunks) {
  struct reduction_case {
    shape_type shape;
    std::vector<std::int64_t> axes;
  };
  const std::vector<reduction_case> cases = {
      {{3, 70000}, {1}},      {{3, 9000}, {0}},     {{500, 3, 17}, {0}}, {{500, 3, 17}, {0, 1}},
      {{4, 500, 3, 17}, {1}}, {{40, 5000}, {0, 1}}, {{300, 33}, {0}}};
  for (const reduction_case& c : cases) {
    SCOPED_TRACE(to_string(c.shape));
    model_builder model;
    model.opset(18)
        .input("x", f32, {c.shape.begin(), c.shape.end()})
        .initializer("axes", tensor::copy(c.axes, {static_cast<std::int64_t>(c.axes.size())}))
        .initializer("third", number(1.0F / 3))
        .node("Mul", {"x", "third"}, {"m"});
    for (const char* op : {"Max", "Mean", "Min", "Sum", "L1", "SumSquare"}) {
      model.node(std::string("Reduce") + op, {"m", "axes"}, {op})
          .output(op, f32, std::vector<dimension>(c.shape.size()));
    }
    same_on_device(model, of_x(noise(c.shape)), 2e-4F);
  }
}

}  // namespace
}  // namespace mizzen::inference
