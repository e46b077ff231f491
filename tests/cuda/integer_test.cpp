// Integers and truth values in parts of the device.
#include "device_test.hpp"

namespace mizzen::inference {
namespace {

constexpr element_type i64 = element_type::int64;
constexpr element_type i32 = element_type::int32;
constexpr element_type truth = element_type::boolean;

template <class T>
tensor whole(shape_type shape, std::vector<T> v) {
  return tensor::copy(v, shape);
}

// Numbers that no float holds exactly are among them.
const std::vector<std::int64_t> some = {0, 7, -7, 3, 9007199254740993, -9007199254740993, 5, -1};
const std::vector<std::int64_t> others = {2, 2, 2, -2, 1, 1, 5, 3};

TEST(cuda_integers, arithmetic_of_64_bits) {
  model_builder model;
  model.opset(18).input("a", i64, {2, 4}).input("b", i64, {2, 4});
  for (const char* op : {"Add", "Sub", "Mul", "Div", "Max", "Min", "Mod"}) {
    model.node(op, {"a", "b"}, {op}).output(op, i64, {2, 4});
  }
  model.node("Mod", {"a", "b"}, {"rest"}, {{"fmod", 1}}).output("rest", i64, {2, 4});
  for (const char* op : {"Abs", "Neg", "Sign", "Identity", "Relu", "BitwiseNot"}) {
    if (std::string(op) == "Relu") continue;
    model.node(op, {"a"}, {op}).output(op, i64, {2, 4});
  }
  model.node("BitwiseAnd", {"a", "b"}, {"and"}).output("and", i64, {2, 4});
  for (const char* op : {"Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"}) {
    model.node(op, {"a", "b"}, {op}).output(op, truth, {2, 4});
  }
  tensor_map in;
  in.emplace("a", whole<std::int64_t>({2, 4}, some));
  in.emplace("b", whole<std::int64_t>({2, 4}, others));
  same_on_device(model, in);
}

TEST(cuda_integers, of_32_bits_wrap_where_the_type_does) {
  model_builder model;
  model.input("a", i32, {4})
      .input("b", i32, {4})
      .node("Add", {"a", "b"}, {"s"})
      .node("Less", {"s", "a"}, {"l"})
      .node("Mul", {"s", "b"}, {"m"})
      .output("s", i32, {4})
      .output("l", truth, {4})
      .output("m", i32, {4});
  tensor_map in;
  in.emplace("a", whole<std::int32_t>({4}, {2147483647, -5, 6, 7}));
  in.emplace("b", whole<std::int32_t>({4}, {1, 2, -3, 4}));
  same_on_device(model, in);
}

TEST(cuda_integers, masks_as_language_models_make_them) {
  model_builder model;
  model.opset(18)
      .input("mask", i64, {2, 6})
      .input("x", f32, {2, 6, 6})
      .initializer("axis", tensor::scalar(std::int64_t{1}))
      .initializer("one", tensor::scalar(std::int64_t{1}))
      .initializer("low", number(-1e4F))
      .initializer("zero", number(0))
      .initializer("middle", whole<std::int64_t>({1}, {1}))
      .initializer("end", whole<std::int64_t>({1}, {2}))
      .node("CumSum", {"mask", "axis"}, {"sum"})
      .node("Sub", {"sum", "one"}, {"before"})
      .node("Max", {"before", "place0"}, {"positions"})
      .initializer("place0", tensor::scalar(std::int64_t{0}))
      .node("Cast", {"mask"}, {"seen"}, {{"to", 9}})
      .node("Unsqueeze", {"seen", "middle"}, {"seen_by"})
      .node("Unsqueeze", {"positions", "end"}, {"rows"})
      .node("Unsqueeze", {"positions", "middle"}, {"columns"})
      .node("GreaterOrEqual", {"rows", "columns"}, {"causal"})
      .node("And", {"seen_by", "causal"}, {"allowed"})
      .node("Where", {"allowed", "zero", "low"}, {"bias"})
      .node("Add", {"x", "bias"}, {"masked"})
      .node("Softmax", {"masked"}, {"y"})
      .output("y", f32, {2, 6, 6})
      .output("positions", i64, {2, 6})
      .output("allowed", truth, {2, 6, 6});
  tensor_map in;
  in.emplace("mask", whole<std::int64_t>({2, 6}, {0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0}));
  in.emplace("x", noise({2, 6, 6}));
  same_on_device(model, in);
}

TEST(cuda_integers, casts) {
  model_builder model;
  model.opset(18).input("x", f32, {8}).input("a", i64, {8});
  model.node("Cast", {"x"}, {"x32"}, {{"to", 6}}).output("x32", i32, {8});
  model.node("Cast", {"x"}, {"x64"}, {{"to", 7}}).output("x64", i64, {8});
  model.node("Cast", {"x"}, {"xb"}, {{"to", 9}}).output("xb", truth, {8});
  model.node("Cast", {"a"}, {"af"}, {{"to", 1}}).output("af", f32, {8});
  model.node("Cast", {"a"}, {"a32"}, {{"to", 6}}).output("a32", i32, {8});
  model.node("Cast", {"xb"}, {"b64"}, {{"to", 7}}).output("b64", i64, {8});
  model.node("CastLike", {"a", "x32"}, {"like"}).output("like", i32, {8});
  model.node("Where", {"xb", "a", "x64"}, {"w"}).output("w", i64, {8});
  model.node("IsNaN", {"x"}, {"nan"}).output("nan", truth, {8});
  tensor_map in;
  in.emplace("x",
             tensor::copy({0.0F, -0.4F, 3.9F, -3.9F, 1e12F, -1e30F, 1e30F, std::nanf("")}, {8}));
  in.emplace("a", whole<std::int64_t>({8}, some));
  same_on_device(model, in);
}

TEST(cuda_integers, move_like_floats) {
  model_builder model;
  model.opset(18)
      .input("a", i64, {2, 6})
      .input("b", truth, {2, 6})
      .initializer("shape", whole<std::int64_t>({2}, {3, 4}))
      .initializer("repeats", whole<std::int64_t>({2}, {2, 3}))
      .node("Transpose", {"a"}, {"t"}, {{"perm", {1, 0}}})
      .node("Reshape", {"t", "shape"}, {"r"})
      .node("Concat", {"r", "r"}, {"c"}, {{"axis", 1}})
      .node("Tile", {"b", "repeats"}, {"many"})
      .node("Trilu", {"c"}, {"upper"}, {{"upper", 1}})
      .output("upper", i64, {3, 8})
      .output("many", truth, {4, 18});
  tensor_map in;
  in.emplace("a", whole<std::int64_t>({2, 6}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}));
  tensor b(truth, {2, 6});
  for (std::size_t i = 0; i < 12; ++i) b.data<bool>()[i] = i % 3 == 1;
  in.emplace("b", std::move(b));
  same_on_device(model, in);
}

}  // namespace
}  // namespace mizzen::inference
