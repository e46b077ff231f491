#include <mizzen/core/error.hpp>
#include <mizzen/serving/v2.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace mizzen::serving::v2 {
namespace {

using inference::element_type;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::string_view plain = R"({
  "id": "42",
  "parameters": {"priority": 1},
  "inputs": [
    {"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [[1, 2], [3, 4]]},
    {"data": ["a", "b"], "name": "s", "datatype": "BYTES", "shape": [2], "future": {"a": [1]}}
  ],
  "outputs": [{"name": "y", "parameters": {"binary_data": true}}, {"name": "z"}]
})";

// Subject and message of the refusal.
std::pair<std::string, std::string> refusal(std::string_view body,
                                            std::optional<std::size_t> json_size = {},
                                            const limits& within = {}) {
  try {
    parse_infer_request(body, json_size, within);
  } catch (const error& e) {
    EXPECT_EQ(e.code(), errc::invalid_argument);
    return {e.subject(), e.message()};
  }
  ADD_FAILURE() << "nothing was thrown for " << body;
  return {};
}
std::string field(std::string_view body) { return refusal(body).first; }

std::string with_input(std::string_view members) {
  return R"({"inputs":[{)" + std::string(members) + "}]}";
}

TEST(Request, MembersInAnyOrder) {
  const infer_request request = parse_infer_request(plain, std::nullopt);
  EXPECT_EQ(request.id, "42");
  EXPECT_EQ(request.parameters["priority"], 1);
  ASSERT_EQ(request.inputs.size(), 2U);
  EXPECT_EQ(request.inputs[0].name, "x");
  EXPECT_THAT(request.inputs[0].value.shape(), ElementsAre(2, 2));
  EXPECT_THAT(request.inputs[0].value.data<float>(), ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(request.inputs[1].value.data<std::string>(), ElementsAre("a", "b"));
  ASSERT_EQ(request.outputs.size(), 2U);
  EXPECT_EQ(request.outputs[0].binary, true);
  EXPECT_EQ(request.outputs[1].binary, std::nullopt);
  EXPECT_FALSE(request.binary_output);
}

TEST(Request, BinaryTensorsFollowInOrder) {
  const std::string text =
      R"({"inputs":[{"name":"a","shape":[2],"datatype":"UINT8","parameters":{"binary_data_size":2}},)"
      R"({"name":"j","shape":[1],"datatype":"UINT8","data":[9]},)"
      R"({"name":"b","shape":[1],"datatype":"BYTES","parameters":{"binary_data_size":7}}],)"
      R"("parameters":{"binary_data_output":true}})";
  const std::string body = text + "\x01\x02" + std::string("\x03\0\0\0xyz", 7);
  const infer_request request = parse_infer_request(body, text.size());
  EXPECT_THAT(request.inputs[0].value.data<std::uint8_t>(), ElementsAre(1, 2));
  EXPECT_THAT(request.inputs[1].value.data<std::uint8_t>(), ElementsAre(9));
  EXPECT_THAT(request.inputs[2].value.data<std::string>(), ElementsAre("xyz"));
  EXPECT_TRUE(request.binary_output);

  EXPECT_EQ(refusal(body + "x", text.size()).first, "inputs");  // left over
  EXPECT_EQ(refusal(body.substr(0, body.size() - 1), text.size()).first,
            "inputs[2].parameters.binary_data_size");
  EXPECT_EQ(refusal(body, body.size() + 1).first, json_size_header);
  EXPECT_EQ(refusal(text).first, "inputs[0].parameters.binary_data_size");
}

TEST(Request, WhatIsWrongIsNamed) {
  EXPECT_EQ(field(""), "request");
  EXPECT_EQ(field("[]"), "request");
  EXPECT_EQ(field("{} {}"), "request");
  EXPECT_EQ(field("{}"), "inputs");
  EXPECT_EQ(field(R"({"inputs":{}})"), "inputs");
  EXPECT_EQ(field(R"({"inputs":[1]})"), "inputs[0]");
  EXPECT_EQ(field(R"({"inputs":[],"inputs":[]})"), "inputs");
  EXPECT_EQ(field(with_input("")), "inputs[0].name");
  EXPECT_EQ(field(with_input(R"("name":"")")), "inputs[0].name");
  EXPECT_EQ(field(with_input(R"("name":5)")), "inputs[0].name");
  EXPECT_EQ(field(with_input(R"("name":"x")")), "inputs[0].datatype");
  EXPECT_EQ(field(with_input(R"("name":"x","datatype":"fp32")")), "inputs[0].datatype");
  EXPECT_EQ(field(with_input(R"("name":"x","datatype":"FP32")")), "inputs[0].shape");
  const std::string head = R"("name":"x","datatype":"FP32","shape":)";
  EXPECT_EQ(field(with_input(head + "[1]")), "inputs[0].data");
  EXPECT_EQ(field(with_input(head + "1")), "inputs[0].shape");
  EXPECT_EQ(field(with_input(head + "[-1],\"data\":[]")), "inputs[0].shape");
  EXPECT_EQ(field(with_input(head + "[1.0],\"data\":[1]")), "inputs[0].shape");
  EXPECT_EQ(field(with_input(head + "[\"1\"],\"data\":[1]")), "inputs[0].shape");
  EXPECT_EQ(field(with_input(head + "[99999999999999999999],\"data\":[1]")), "inputs[0].shape");
  EXPECT_EQ(field(with_input(head + "[4611686018427387904,4],\"data\":[1]")), "inputs[0].shape");
  EXPECT_EQ(field(with_input(head + "[0,4611686018427387904,4],\"data\":[]")), "inputs[0].shape");
  EXPECT_EQ(field(with_input(head + "[268435456],\"data\":[1]")), "inputs[0].data");
  EXPECT_EQ(field(with_input(head + "[2],\"data\":[1]")), "inputs[0].data");
  EXPECT_EQ(field(with_input(head + "[1],\"data\":[1],\"data\":[1]")), "inputs[0].data");
  EXPECT_EQ(field(with_input(head + "[1],\"shape\":[1],\"data\":[1]")), "inputs[0].shape");
  EXPECT_EQ(field(with_input(head + R"([1],"parameters":{"binary_data_size":-4})")),
            "inputs[0].parameters.binary_data_size");
  EXPECT_EQ(field(with_input(head + R"([1],"parameters":{"shared_memory_region":"r"})")),
            "inputs[0].parameters.shared_memory_region");
  EXPECT_EQ(field(with_input(head + R"([1],"parameters":[])")), "inputs[0].parameters");
  const std::string whole = "{" + head + "[1],\"data\":[1]}";
  EXPECT_EQ(field("{\"inputs\":[" + whole + "," + whole + "]}"), "inputs[1].name");
  EXPECT_EQ(field("{\"inputs\":[" + whole + "],\"outputs\":[{}]}"), "outputs[0].name");
  EXPECT_EQ(field("{\"inputs\":[" + whole + R"(],"outputs":[{"name":"y"},{"name":"y"}]})"),
            "outputs[1].name");
  EXPECT_EQ(field("{\"inputs\":[" + whole +
                  R"(],"outputs":[{"name":"y","parameters":{"classification":2}}]})"),
            "outputs[0].parameters.classification");
  EXPECT_EQ(field("{\"inputs\":[" + whole + R"(],"parameters":{"binary_data_output":1}})"),
            "parameters.binary_data_output");
  EXPECT_EQ(field(R"({"id":5})"), "id");
}

TEST(Request, EveryCutOfARequestIsRefused) {
  for (std::size_t size = 0; size < plain.size(); ++size) {
    EXPECT_THROW(parse_infer_request(plain.substr(0, size), std::nullopt), error) << size;
  }
}

TEST(Request, Limits) {
  const std::string head = R"("name":"x","datatype":"FP32","shape":)";
  EXPECT_EQ(refusal(with_input(head + "[1,1,1],\"data\":[1]"), {}, {.max_dimensions = 2}).first,
            "inputs[0].shape");
  EXPECT_EQ(refusal(plain, {}, {.max_tensors = 1}).first, "inputs");
  EXPECT_EQ(refusal(plain, {}, {.max_name = 1}).first, "id");
  EXPECT_EQ(refusal(plain, {}, {.max_depth = 3}).first, "inputs[0].shape");
  EXPECT_EQ(refusal(plain, {}, {.max_parameters = 5}).first, "parameters");
}

const model_metadata takes_x = {
    .inputs = {{"x", element_type::float32, std::vector<inference::dimension>{"batch", 2}}},
    .outputs = {{"y", element_type::float32, std::nullopt}}};

std::pair<std::string, std::string> mismatch(std::string_view body) {
  const infer_request request = parse_infer_request(body, std::nullopt);
  try {
    check_against(request, takes_x);
  } catch (const error& e) {
    return {e.subject(), e.message()};
  }
  return {};
}

TEST(Check, AgainstTheModel) {
  const auto x = [](std::string_view name, std::string_view type, std::string_view shape,
                    std::string_view data) {
    return with_input("\"name\":\"" + std::string(name) + "\",\"datatype\":\"" + std::string(type) +
                      "\",\"shape\":" + std::string(shape) + ",\"data\":" + std::string(data));
  };
  EXPECT_EQ(mismatch(x("x", "FP32", "[3,2]", "[1,2,3,4,5,6]")).first, "");
  EXPECT_EQ(mismatch(x("w", "FP32", "[1,2]", "[1,2]")),
            std::pair(std::string("inputs[0].name"),
                      std::string("the model has no input 'w'; it has 'x'")));
  EXPECT_EQ(mismatch(x("x", "INT64", "[1,2]", "[1,2]")),
            std::pair(std::string("inputs[0].datatype"), std::string("'x' takes FP32, not INT64")));
  EXPECT_EQ(mismatch(x("x", "FP32", "[1,3]", "[1,2,3]")).first, "inputs[0].shape");
  EXPECT_EQ(mismatch(x("x", "FP32", "[2]", "[1,2]")).first, "inputs[0].shape");
  EXPECT_EQ(mismatch(R"({"inputs":[]})"),
            std::pair(std::string("inputs"), std::string("the model's input 'x' is missing")));
  EXPECT_EQ(mismatch(R"({"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}],)"
                     R"("outputs":[{"name":"q"}]})")
                .first,
            "outputs[0].name");
}

TEST(Response, JsonAndBinaryAsAsked) {
  infer_response response{.id = "", .model_name = "m", .model_version = "3", .outputs = {}};
  response.outputs.push_back({"y", tensor::copy(std::vector<float>{1, 2}, {2})});
  response.outputs.push_back({"z", tensor::copy(std::vector<std::string>{"ä"}, {1})});
  infer_request request = parse_infer_request(plain, std::nullopt);
  const encoded mixed = encode_infer_response(response, request);
  ASSERT_TRUE(mixed.json_size.has_value());
  const json head = json::parse(mixed.body.substr(0, *mixed.json_size));
  EXPECT_EQ(head["id"], "42");
  EXPECT_EQ(head["model_name"], "m");
  EXPECT_EQ(head["model_version"], "3");
  EXPECT_EQ(head["outputs"][0]["parameters"]["binary_data_size"], 8);
  EXPECT_EQ(head["outputs"][1]["data"], json::parse(R"(["ä"])"));
  EXPECT_EQ(mixed.body.size(), *mixed.json_size + 8);
  EXPECT_EQ(mixed.content_type(), "application/octet-stream");

  request.outputs.clear();
  const encoded text = encode_infer_response(response, request);
  EXPECT_EQ(text.json_size, std::nullopt);
  EXPECT_EQ(json::parse(text.body)["outputs"][0]["data"], json::parse("[1,2]"));

  for (const encoded& each : {mixed, text}) {
    const infer_response back = parse_infer_response(each.body, each.json_size);
    EXPECT_EQ(back.model_name, "m");
    EXPECT_EQ(back.outputs[0].name, "y");
    EXPECT_THAT(back.outputs[0].value.data<float>(), ElementsAre(1, 2));
    EXPECT_THAT(back.outputs[1].value.data<std::string>(), ElementsAre("ä"));
  }
}

TEST(RequestFromTheClient, BothWays) {
  const tensor x = tensor::copy(std::vector<float>{1, 2}, {1, 2});
  const std::vector<inference::named_input> inputs = {{"x", x}};
  const std::vector<std::string> outputs = {"y"};
  for (const bool binary : {false, true}) {
    const encoded body = encode_infer_request(inputs, outputs, binary);
    EXPECT_EQ(body.json_size.has_value(), binary);
    const infer_request request = parse_infer_request(body.body, body.json_size);
    EXPECT_THAT(request.inputs.at(0).value.data<float>(), ElementsAre(1, 2));
    EXPECT_EQ(request.outputs.at(0).name, "y");
    EXPECT_EQ(request.binary_output, binary);
    check_against(request, takes_x);
  }
}

TEST(Metadata, RoundTrip) {
  const json text = to_json("m", {"1", "2"}, takes_x);
  EXPECT_EQ(text, json::parse(R"({"name":"m","versions":["1","2"],"platform":"mizzen",
    "inputs":[{"name":"x","datatype":"FP32","shape":[-1,2]}],
    "outputs":[{"name":"y","datatype":"FP32","shape":[-1]}]})"));
  const model_metadata back = parse_metadata(text);
  EXPECT_EQ(back.inputs.at(0).name, "x");
  EXPECT_EQ(back.inputs.at(0).shape->at(1).value, 2);
  EXPECT_THROW(parse_metadata(json::parse(R"({"inputs":5})")), error);
}

TEST(Datatype, NamesBothWays) {
  for (const char* name : {"BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32",
                           "INT64", "FP16", "BF16", "FP32", "FP64", "BYTES"}) {
    const auto type = parse_datatype(name);
    ASSERT_TRUE(type.has_value()) << name;
    EXPECT_EQ(datatype_name(*type), name);
  }
  EXPECT_EQ(parse_datatype("float"), std::nullopt);
  EXPECT_EQ(datatype_name(element_type::complex64), "");
}

}  // namespace
}  // namespace mizzen::serving::v2
