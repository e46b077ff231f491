// Shapes of outputs, known and symbolic, and what is refused.
#include "inference/graph/shape_inference.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mizzen::inference::detail {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr auto f32 = element_type::float32;
constexpr auto i64 = element_type::int64;

class shape_inference : public ::testing::Test {
 public:
  shape_inference& op(std::string type, std::size_t outputs = 1) {
    n_ = node{};
    n_.op_type = std::move(type);
    n_.name = "it";
    n_.opset = 17;
    n_.outputs.assign(outputs, 0);
    in_.clear();
    return *this;
  }
  shape_inference& set(std::string name, attribute_value value) {
    n_.attributes.set(std::move(name), std::move(value));
    return *this;
  }
  shape_inference& in(std::optional<dims> shape, element_type type = f32) {
    in_.push_back({type, std::move(shape), nullptr});
    return *this;
  }
  shape_inference& ints(std::vector<std::int64_t> values) {
    const auto size = static_cast<std::int64_t>(values.size());
    constants_.push_back(std::make_unique<tensor>(tensor::copy(values, {size})));
    in_.push_back({i64, dims{size}, constants_.back().get()});
    return *this;
  }
  std::optional<dims> shape(std::size_t i = 0) {
    n_.inputs.assign(in_.size(), 0);
    std::vector<inferred> out(n_.outputs.size());
    infer_node(n_, in_, out);
    type_ = out[i].type;
    return out[i].shape;
  }
  std::string refused() {
    try {
      shape();
    } catch (const error& e) {
      EXPECT_THAT(e.subject(), HasSubstr("'it'"));
      return e.message();
    }
    ADD_FAILURE() << n_.op_type << " was accepted";
    return {};
  }

  node n_;
  std::vector<inferred> in_;
  std::vector<std::unique_ptr<tensor>> constants_;
  element_type type_ = element_type::undefined;
};

using ivec = std::vector<std::int64_t>;
constexpr std::int64_t batch = -2;     // a symbol
constexpr std::int64_t sequence = -3;  // another

TEST_F(shape_inference, broadcasts_symbols) {
  EXPECT_EQ(op("Add").in(dims{batch, 1, 4}).in(dims{sequence, 4}).shape(),
            (dims{batch, sequence, 4}));
  EXPECT_EQ(op("Add").in(dims{batch, 4}).in(dims{batch, 1}).shape(), (dims{batch, 4}));
  EXPECT_EQ(op("Add").in(dims{batch}).in(dims{7}).shape(), (dims{7}));
  EXPECT_EQ(op("Add").in(dims{batch}).in(dims{sequence}).shape(), (dims{unknown_dim}));
  EXPECT_EQ(op("Add").in(std::nullopt).in(dims{7}).shape(), std::nullopt);
  EXPECT_THAT(op("Add").in(dims{2, 3}).in(dims{4}).refused(), HasSubstr("[2, 3] and [4]"));
  EXPECT_THAT(op("Add").in(dims{2}).in(dims{2}, i64).refused(), HasSubstr("float32 and int64"));
  op("Less").in(dims{2}).in(dims{2}).shape();
  EXPECT_EQ(type_, element_type::boolean);
}

TEST_F(shape_inference, reshapes_around_symbols) {
  EXPECT_EQ(op("Reshape").in(dims{batch, 3, 4}).ints({0, -1}).shape(), (dims{batch, 12}));
  EXPECT_EQ(op("Reshape").in(dims{batch, sequence, 384}).ints({0, 0, 12, 32}).shape(),
            (dims{batch, sequence, 12, 32}));
  EXPECT_EQ(op("Reshape").in(dims{batch, 12}).ints({-1, 3, 4}).shape(), (dims{batch, 3, 4}));
  EXPECT_EQ(op("Reshape").in(dims{batch, sequence}).ints({-1}).shape(), (dims{unknown_dim}));
  EXPECT_EQ(op("Reshape").in(dims{0, 4}).ints({-1, 2}).shape(), (dims{0, 2}));
  EXPECT_THAT(op("Reshape").in(dims{2, 3}).ints({4, -1}).refused(), HasSubstr("6 elements over 4"));
  EXPECT_THAT(op("Reshape").in(dims{2, 3}).ints({-1, -1}).refused(), HasSubstr("two -1"));
  EXPECT_THAT(op("Reshape").in(dims{2, 3}).ints({5}).refused(), HasSubstr("cannot become"));
  EXPECT_THAT(op("Reshape").in(dims{2}).ints({2, 0}).refused(), HasSubstr("0 stands"));
}

TEST_F(shape_inference, convolutions_and_pools) {
  op("Conv").set("pads", ivec{1, 1, 1, 1}).set("strides", ivec{2, 1});
  EXPECT_EQ(in(dims{batch, 3, 48, unknown_dim}).in(dims{16, 3, 3, 3}).shape(),
            (dims{batch, 16, 24, unknown_dim}));
  EXPECT_THAT(op("Conv").in(dims{1, 3, 8, 8}).in(dims{4, 2, 3, 3}).refused(),
              HasSubstr("channels"));
  EXPECT_THAT(op("Conv").in(dims{1, 2, 2, 2}).in(dims{4, 2, 3, 3}).refused(), HasSubstr("window"));
  op("Conv").set("strides", ivec{0, 1});
  EXPECT_THAT(in(dims{1, 2, 4, 4}).in(dims{4, 2, 3, 3}).refused(), HasSubstr("at least 1"));
  op("MaxPool").set("kernel_shape", ivec{2, 2}).set("strides", ivec{2, 2});
  EXPECT_EQ(set("ceil_mode", std::int64_t{1}).in(dims{1, 2, 5, 4}).shape(), (dims{1, 2, 3, 2}));
  EXPECT_EQ(op("GlobalAveragePool").in(dims{batch, 8, 4, sequence}).shape(),
            (dims{batch, 8, 1, 1}));
}

TEST_F(shape_inference, matrix_products) {
  EXPECT_EQ(
      op("MatMul").in(dims{batch, 12, sequence, 32}).in(dims{batch, 12, 32, sequence}).shape(),
      (dims{batch, 12, sequence, sequence}));
  EXPECT_EQ(op("MatMul").in(dims{4}).in(dims{4}).shape(), dims{});
  EXPECT_EQ(op("MatMul").in(dims{4}).in(dims{2, 4, 3}).shape(), (dims{2, 3}));
  EXPECT_THAT(op("MatMul").in(dims{2, 3}).in(dims{4, 2}).refused(), HasSubstr("inner dimensions"));
  op("Gemm").set("transB", std::int64_t{1});
  EXPECT_EQ(in(dims{batch, 64}).in(dims{10, 64}).in(dims{10}).shape(), (dims{batch, 10}));
  EXPECT_THAT(op("Gemm").in(dims{2, 3}).in(dims{3, 4}).in(dims{5}).refused(),
              HasSubstr("broadcast"));
}

TEST_F(shape_inference, slices_clamp_as_onnx_says) {
  const auto sliced = [&](ivec starts, ivec ends, ivec steps) {
    return op("Slice").in(dims{10}).ints(starts).ints(ends).ints({0}).ints(steps).shape()->at(0);
  };
  EXPECT_EQ(sliced({2}, {8}, {1}), 6);
  EXPECT_EQ(sliced({-3}, {100}, {1}), 3);
  EXPECT_EQ(sliced({-100}, {100}, {3}), 4);
  EXPECT_EQ(sliced({100}, {-100}, {-1}), 10);
  EXPECT_EQ(sliced({5}, {2}, {1}), 0);
  EXPECT_EQ(sliced({9}, {INT64_MIN}, {-4}), 3);
  EXPECT_EQ(sliced({0}, {INT64_MAX}, {INT64_MAX}), 1);
  EXPECT_EQ(sliced({INT64_MAX}, {INT64_MIN}, {INT64_MIN}), 1);
  EXPECT_THAT(op("Slice").in(dims{10}).ints({0}).ints({5}).ints({0}).ints({0}).refused(),
              HasSubstr("step"));
}

TEST_F(shape_inference, data_movement) {
  EXPECT_EQ(op("Gather").in(dims{7, batch}).in(dims{2, 3}, i64).shape(), (dims{2, 3, batch}));
  op("Concat").set("axis", std::int64_t{1});
  EXPECT_EQ(in(dims{batch, 2}).in(dims{batch, 3}).shape(), (dims{batch, 5}));
  EXPECT_EQ(op("Squeeze").in(dims{1, batch, 1}).ints({0, -1}).shape(), (dims{batch}));
  EXPECT_EQ(op("Unsqueeze").in(dims{batch}).ints({0, -1}).shape(), (dims{1, batch, 1}));
  EXPECT_EQ(op("Expand").in(dims{3, 1}).ints({2, 1, 6}).shape(), (dims{2, 3, 6}));
  EXPECT_EQ(op("Tile").in(dims{2, 3}).ints({2, 0}).shape(), (dims{4, 0}));
  EXPECT_EQ(op("Pad").in(dims{3}).ints({-1, 2}).shape(), (dims{4}));
  EXPECT_EQ(op("Split", 2).in(dims{5}).ints({2, 3}).shape(1), (dims{3}));
  EXPECT_EQ(op("Shape").in(dims{batch, 2}).shape(), (dims{2}));
  EXPECT_THAT(op("Pad").in(dims{3}).ints({-2, -2}).refused(), HasSubstr("pads"));
  EXPECT_THAT(op("Split", 2).in(dims{5}).ints({2, 2}).refused(), HasSubstr("split"));
  EXPECT_THAT(op("Tile").in(dims{1 << 20}).ints({INT64_MAX}).refused(), HasSubstr("overflow"));
  EXPECT_THAT(op("Expand").in(dims{2}).ints({std::int64_t{1} << 60, 1}).refused(),
              HasSubstr("large"));
  EXPECT_THAT(op("Reshape").in(dims{1}).ints(ivec(9, 1)).refused(), HasSubstr("9 dimensions"));
}

TEST_F(shape_inference, checks_how_many_inputs_there_are) {
  EXPECT_THAT(op("Add").in(dims{2}).refused(), HasSubstr("input 1 is missing"));
  EXPECT_THAT(op("Relu").in(dims{2}).in(dims{2}).refused(), HasSubstr("2 inputs"));
  EXPECT_THAT(op("NoSuchOp").in(dims{2}).refused(), HasSubstr("not supported"));
  EXPECT_THAT(op("Concat").in(dims{2}).refused(), HasSubstr("missing"));  // the attribute
}

}  // namespace
}  // namespace mizzen::inference::detail
