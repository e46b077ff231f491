// ConvTranspose and Einsum on the device.
#include "device_test.hpp"

namespace mizzen::inference {
namespace {

struct transposed_case {
  shape_type x, w;
  std::vector<node_attribute> attributes;
};

TEST(cuda_transposed, convolutions_with_what_follows) {
  const std::vector<transposed_case> cases = {
      {{2, 3, 5, 6},
       {3, 4, 3, 3},
       {{"strides", {2, 2}}, {"pads", {1, 1, 1, 1}}, {"output_padding", {1, 1}}}},
      {{1, 4, 4, 4}, {4, 2, 2, 2}, {{"strides", {2, 2}}}},
      {{1, 3, 5, 4}, {3, 2, 3, 3}, {{"dilations", {2, 1}}, {"pads", {0, 1, 2, 0}}}},
      {{1, 3, 5, 4}, {3, 2, 3, 3}, {{"strides", {2, 2}}, {"auto_pad", "SAME_UPPER"}}},
      {{1, 3, 5, 4}, {3, 2, 3, 3}, {{"strides", {3, 2}}, {"auto_pad", "SAME_LOWER"}}},
      {{1, 3, 5, 4}, {3, 2, 3, 3}, {{"strides", {2, 2}}, {"output_shape", {10, 8}}}},
      {{1, 6, 5, 4}, {6, 1, 3, 3}, {{"strides", {2, 2}}, {"group", 6}}},
      {{1, 6, 5, 4}, {6, 2, 3, 3}, {{"strides", {2, 2}}, {"group", 2}, {"pads", {1, 1, 1, 1}}}},
      {{2, 3, 7}, {3, 4, 4}, {{"strides", {3}}, {"pads", {1, 1}}}},
      {{1, 4, 3, 4, 3},
       {4, 2, 3, 3, 3},
       {{"strides", {2, 2, 2}}, {"pads", {1, 1, 1, 1, 1, 1}}, {"output_padding", {1, 1, 1}}}},
      // More is added than a stride: no convolution makes the input of it.
      {{1, 3, 4, 4}, {3, 2, 3, 3}, {{"dilations", {2, 2}}, {"output_padding", {1, 1}}}},
  };
  for (const transposed_case& c : cases) {
    SCOPED_TRACE(to_string(c.x) + to_string(c.w));
    std::int64_t groups = 1;
    for (const auto& a : c.attributes) {
      if (a.name == "group") groups = c.w[0] == 6 && c.w[1] == 1 ? 6 : 2;
    }
    model_builder model;
    model.input("x", f32, {c.x.begin(), c.x.end()})
        .initializer("w", noise(c.w, 2))
        .initializer("b", noise({c.w[1] * groups}, 3))
        .initializer("slope", number(0.2F))
        .node("ConvTranspose", {"x", "w", "b"}, {"t"}, c.attributes)
        .node("PRelu", {"t", "slope"}, {"y"})
        .output("y", f32, std::vector<dimension>(c.x.size()));
    tensor_map in;
    in.emplace("x", noise(c.x));
    same_on_device(model, in, 1e-4F);
    same_on_device(model, in, 2e-2F, gpu_options::arithmetic::float16);
  }
}

TEST(cuda_einsum, of_two_operands) {
  const std::vector<std::pair<std::string, std::array<shape_type, 2>>> cases = {
      {"ij,jk->ik", {{{3, 4}, {4, 5}}}},
      {"bhqd, bhkd -> bhqk", {{{2, 3, 4, 5}, {2, 3, 6, 5}}}},
      {"bqhd,bkhd->bhqk", {{{2, 4, 3, 5}, {2, 6, 3, 5}}}},
      {"bhqk,bkhd->bqhd", {{{2, 3, 4, 6}, {2, 6, 3, 5}}}},
      {"abc,dc->dab", {{{2, 3, 4}, {5, 4}}}},
      {"i,j->ji", {{{3}, {4}}}},
      {"abcd,cde->abe", {{{2, 3, 4, 5}, {4, 5, 6}}}},
  };
  for (const auto& [equation, shapes] : cases) {
    SCOPED_TRACE(equation);
    model_builder model;
    const std::size_t rank = equation.size() - equation.find("->") - 2 -
                             (equation.find(' ') != std::string::npos ? 1 : 0);
    model.opset(18)
        .input("a", f32, {shapes[0].begin(), shapes[0].end()})
        .input("b", f32, {shapes[1].begin(), shapes[1].end()})
        .node("Einsum", {"a", "b"}, {"y"}, {{"equation", equation}})
        .output("y", f32, std::vector<dimension>(rank));
    tensor_map in;
    in.emplace("a", noise(shapes[0]));
    in.emplace("b", noise(shapes[1], 5));
    same_on_device(model, in);
  }
}

}  // namespace
}  // namespace mizzen::inference
