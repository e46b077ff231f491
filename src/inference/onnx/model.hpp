// An ONNX file as plain structs. Source: onnx/onnx.proto3 (field numbers and meaning).
#pragma once

#include <mizzen/inference/value.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mizzen::inference::detail {

// Views point into the bytes given to parse_model, which must outlive the structs.

struct tensor_proto {
  std::string_view name;
  std::vector<std::int64_t> dims;
  std::int32_t data_type = 0;
  std::optional<std::span<const std::byte>> raw_data;
  std::vector<float> float_data;
  std::vector<std::int32_t> int32_data;
  std::vector<std::int64_t> int64_data;
  std::vector<double> double_data;
  std::vector<std::uint64_t> uint64_data;
  std::vector<std::string_view> string_data;
  bool external = false;
  std::vector<std::pair<std::string_view, std::string_view>> external_data;
  bool segmented = false;
};

struct dimension_proto {
  std::optional<std::int64_t> value;
  std::string_view param;
};

// A type in which one tensor type stands, alone or in a sequence, an optional or an optional
// sequence; kind is nullopt for any other one (a map, a sparse tensor) and for none at all.
struct value_info_proto {
  std::string_view name;
  std::optional<value_kind> kind;
  std::int32_t elem_type = 0;
  std::optional<std::vector<dimension_proto>> shape;
};

struct graph_proto;

struct attribute_proto {
  std::string_view name;
  std::string_view ref_attr_name;
  std::int32_t type = 0;
  float f = 0.0F;
  std::int64_t i = 0;
  std::string_view s;
  std::optional<tensor_proto> t;
  std::shared_ptr<const graph_proto> g;
  std::optional<value_info_proto> tp;  // without a name
  std::vector<float> floats;
  std::vector<std::int64_t> ints;
  std::vector<std::string_view> strings;
};

struct node_proto {
  std::string_view name, op_type, domain, overload;
  std::vector<std::string_view> inputs, outputs;
  std::vector<attribute_proto> attributes;
};

struct graph_proto {
  std::string_view name;
  std::vector<node_proto> nodes;
  std::vector<tensor_proto> initializers;
  std::vector<value_info_proto> inputs, outputs;
  std::size_t sparse_initializers = 0;
};

using opset_list = std::vector<std::pair<std::string_view, std::int64_t>>;

struct function_proto {
  std::string_view name, domain, overload;
  std::vector<std::string_view> inputs, outputs;
  std::vector<std::string_view> attributes;   // that a call may give
  std::vector<attribute_proto> with_default;  // likewise, and their values if it does not
  std::vector<node_proto> nodes;
  opset_list opsets;
};

struct model_proto {
  std::int64_t ir_version = 0;
  std::string_view producer_name, producer_version;
  opset_list opsets;
  std::vector<std::pair<std::string_view, std::string_view>> metadata;
  std::optional<graph_proto> graph;
  std::vector<function_proto> functions;
};

// Reads a model. Throws error(data_loss) naming the path of what is damaged,
// error(resource_exhausted) for a model of more parts than any real one has, and
// error(invalid_argument) for one without a graph.
model_proto parse_model(std::span<const std::byte> bytes);

}  // namespace mizzen::inference::detail
