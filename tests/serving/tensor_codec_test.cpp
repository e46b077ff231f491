#include "serving/tensor_codec.hpp"

#include <mizzen/core/error.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace mizzen::serving::detail {
namespace {

using inference::element_type;
using inference::float16;
using testing::ElementsAre;
using testing::HasSubstr;

tensor from_json(std::string_view text, element_type type, inference::shape_type shape) {
  json_reader reader(text, 64);
  tensor result = read_json_data(reader, type, std::move(shape), "inputs[0].data");
  reader.end();
  return result;
}

std::string refusal(std::string_view text, element_type type, inference::shape_type shape) {
  try {
    from_json(text, type, std::move(shape));
  } catch (const error& e) {
    EXPECT_EQ(e.code(), errc::invalid_argument);
    EXPECT_EQ(e.subject(), "inputs[0].data");
    return e.message();
  }
  ADD_FAILURE() << "nothing was thrown for " << text;
  return {};
}

TEST(Half, AllBitPatternsSurvive) {
  for (unsigned bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const float value = half_to_float(half);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(half_to_float(float_to_half(value))));
    } else {
      EXPECT_EQ(float_to_half(value), half) << bits;
    }
    const float wide = bfloat16_to_float(half);
    if (!std::isnan(wide)) {
      EXPECT_EQ(float_to_bfloat16(wide), half) << bits;
    }
  }
  EXPECT_EQ(half_to_float(0x3c00), 1.0F);
  EXPECT_EQ(half_to_float(0x7bff), 65504.0F);
  EXPECT_EQ(half_to_float(0x0001), 0x1p-24F);
}

TEST(Half, RoundsToNearestTiesToEven) {
  EXPECT_EQ(float_to_half(1.0F + 0x1p-11F), 0x3c00);      // tie, down to even
  EXPECT_EQ(float_to_half(1.0F + 3 * 0x1p-11F), 0x3c02);  // tie, up to even
  EXPECT_EQ(float_to_half(1.0F + 0x1p-11F + 0x1p-20F), 0x3c01);
  EXPECT_EQ(float_to_half(65519.0F), 0x7bff);
  EXPECT_EQ(float_to_half(65520.0F), 0x7c00);
  EXPECT_EQ(float_to_half(0x1p-25F), 0x0000);
  EXPECT_EQ(float_to_half(0x1.8p-25F), 0x0001);
  EXPECT_EQ(float_to_half(-0.0F), 0x8000);
  EXPECT_EQ(float_to_half(-std::numeric_limits<float>::infinity()), 0xfc00);
  EXPECT_EQ(float_to_bfloat16(1.0F + 0x1p-8F), 0x3f80);
  EXPECT_EQ(float_to_bfloat16(1.0F + 3 * 0x1p-8F), 0x3f82);
}

TEST(JsonData, FlatAndNested) {
  EXPECT_THAT(from_json("[1,2.5,-3e2,4]", element_type::float32, {2, 2}).data<float>(),
              ElementsAre(1, 2.5, -300, 4));
  EXPECT_THAT(
      from_json("[[[1],[2]],[[3],[4]]]", element_type::int64, {2, 2, 1}).data<std::int64_t>(),
      ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(from_json("[true,false]", element_type::boolean, {2}).data<bool>(),
              ElementsAre(true, false));
  EXPECT_THAT(from_json("[[\"a\"],[\"\"]]", element_type::string, {2, 1}).data<std::string>(),
              ElementsAre("a", ""));
  EXPECT_THAT(from_json("[0.5]", element_type::float16, {1}).data<float16>()[0].bits, 0x3800);
  EXPECT_THAT(from_json("[7]", element_type::uint8, {}).data<std::uint8_t>(), ElementsAre(7));
  EXPECT_EQ(from_json("[]", element_type::float32, {0, 4}).size(), 0U);
  EXPECT_EQ(from_json("[[],[]]", element_type::float32, {2, 0}).size(), 0U);
  EXPECT_THAT(from_json("[18446744073709551615]", element_type::uint64, {1}).data<std::uint64_t>(),
              ElementsAre(std::numeric_limits<std::uint64_t>::max()));
  EXPECT_THAT(from_json("[1e-400,1e-60]", element_type::float64, {2}).data<double>(),
              ElementsAre(0, 1e-60));
  EXPECT_THAT(from_json("[1e-60]", element_type::float32, {1}).data<float>(), ElementsAre(0));
}

TEST(JsonData, WrongDataNamesTheField) {
  EXPECT_THAT(refusal("[1.0,2.0,3.0]", element_type::float32, {2, 2}),
              HasSubstr("expected 4 elements for shape [2, 2], found 3"));
  EXPECT_THAT(refusal("[1,2,3,4,5]", element_type::float32, {2, 2}), HasSubstr("found more"));
  EXPECT_THAT(refusal("[[1,2],[3]]", element_type::float32, {2, 2}), HasSubstr("nesting level 1"));
  EXPECT_THAT(refusal("[[1,2,3,4]]", element_type::float32, {2, 2}), HasSubstr("found more"));
  refusal("[[1,2],3]", element_type::float32, {2, 2});
  refusal("[1,[2]]", element_type::float32, {2});
  refusal("[[[1,2],[3,4]]]", element_type::float32, {2, 2});
  EXPECT_THAT(refusal("[1.5]", element_type::int32, {1}), HasSubstr("not an integer"));
  EXPECT_THAT(refusal("[256]", element_type::uint8, {1}), HasSubstr("from 0 to 255"));
  refusal("[-1]", element_type::uint64, {1});
  EXPECT_THAT(refusal("[1e39]", element_type::float32, {1}), HasSubstr("beyond the range"));
  refusal("[1e400]", element_type::float64, {1});
  refusal("[1e99999]", element_type::float64, {1});
  refusal("[70000]", element_type::float16, {1});
  refusal("[1]", element_type::boolean, {1});
  refusal("[null]", element_type::float32, {1});
  refusal("[NaN]", element_type::float32, {1});
  refusal("[1]", element_type::string, {1});
  refusal("{}", element_type::float32, {1});
  refusal("5", element_type::float32, {});
}

TEST(JsonData, AClaimOfAGigabyteAllocatesNothing) {
  EXPECT_THAT(refusal("[1,2]", element_type::float32, {1 << 28}), HasSubstr("too short"));
  EXPECT_THAT(refusal("[\"\"]", element_type::string, {1 << 28}), HasSubstr("too short"));
}

TEST(JsonData, RoundTrip) {
  const std::vector<float> values = {0.1F, -1e-38F, 3.4028235e38F, 16777216, 1.0F / 3};
  std::string text;
  append_json_data(text, tensor::copy(values, {5}), "output");
  EXPECT_THAT(from_json(text, element_type::float32, {5}).data<float>(),
              testing::ElementsAreArray(values));
  text.clear();
  append_json_data(text, tensor::copy(std::vector<std::string>{"a\"b", "\x01"}, {2}), "output");
  EXPECT_EQ(text, R"(["a\"b","\u0001"])");
}

TEST(JsonData, WhatJsonCannotSayIsAnErrorWithAWayOut) {
  std::string text;
  for (const float value : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
    try {
      append_json_data(text, tensor::copy({value}, {1}), "output 'y'");
      ADD_FAILURE();
    } catch (const error& e) {
      EXPECT_THAT(e.what(), AllOf(HasSubstr("output 'y'"), HasSubstr("binary_data")));
    }
  }
  EXPECT_THROW(append_json_data(text, tensor::copy(std::vector<std::string>{"\xff"}, {1}), "o"),
               error);
}

std::string binary_refusal(std::string_view bytes, element_type type, inference::shape_type shape) {
  try {
    read_binary_data(bytes, type, std::move(shape), "inputs[0].shape");
  } catch (const error& e) {
    EXPECT_EQ(e.subject(), "inputs[0].shape");
    return e.message();
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

TEST(BinaryData, RoundTripAndExactSizes) {
  const tensor numbers = tensor::copy(std::vector<std::int32_t>{1, -2, 3}, {3});
  std::string bytes;
  append_binary_data(bytes, numbers);
  EXPECT_EQ(bytes.size(), binary_size(numbers));
  EXPECT_THAT(read_binary_data(bytes, element_type::int32, {3}, "f").data<std::int32_t>(),
              ElementsAre(1, -2, 3));
  EXPECT_THAT(binary_refusal(bytes, element_type::int32, {4}), HasSubstr("16 bytes, found 12"));
  EXPECT_THAT(binary_refusal(bytes, element_type::int32, {2}), HasSubstr("8 bytes, found 12"));
  binary_refusal(bytes, element_type::int32, {std::int64_t{1} << 61});
  EXPECT_THAT(binary_refusal("\x02", element_type::boolean, {1}), HasSubstr("0 or 1"));
  EXPECT_EQ(read_binary_data("", element_type::float32, {0}, "f").size(), 0U);
}

TEST(BinaryData, Strings) {
  const tensor strings = tensor::copy(std::vector<std::string>{"", "abc", "\xff"}, {3});
  std::string bytes;
  append_binary_data(bytes, strings);
  EXPECT_EQ(bytes.size(), binary_size(strings));
  EXPECT_THAT(read_binary_data(bytes, element_type::string, {3}, "f").data<std::string>(),
              ElementsAre("", "abc", "\xff"));
  EXPECT_THAT(binary_refusal(bytes, element_type::string, {2}), HasSubstr("left over"));
  EXPECT_THAT(binary_refusal(bytes, element_type::string, {4}), HasSubstr("length"));
  EXPECT_THAT(binary_refusal(bytes, element_type::string, {1 << 28}), HasSubstr("hold fewer"));
  EXPECT_THAT(binary_refusal(std::string_view("\xff\xff\xff\xff", 4), element_type::string, {1}),
              HasSubstr("within an element"));
}

}  // namespace
}  // namespace mizzen::serving::detail
