// Writes ONNX models from C++: a trainer's export, tests.
#pragma once

#include <mizzen/inference/session.hpp>
#include <mizzen/inference/tensor.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace mizzen::inference {

class model_builder;

// An attribute of a node: {"axis", 1}, {"alpha", 0.2f}, {"mode", "nearest"}, {"pads", {1, 1, 1,
// 1}}, {"body", model_builder{}.input(…)…}.
struct node_attribute {
  struct graph_bytes {
    std::vector<std::byte> message;
  };
  using value_type =
      std::variant<std::int64_t, float, std::string, std::vector<std::int64_t>, std::vector<float>,
                   std::vector<std::string>, std::shared_ptr<const tensor>, graph_bytes>;

  template <std::integral T>
  node_attribute(std::string n, T v) : name(std::move(n)), value(static_cast<std::int64_t>(v)) {}
  node_attribute(std::string n, float v) : name(std::move(n)), value(v) {}
  node_attribute(std::string n, double v) : name(std::move(n)), value(static_cast<float>(v)) {}
  node_attribute(std::string n, const char* v) : name(std::move(n)), value(std::string(v)) {}
  node_attribute(std::string n, std::string v) : name(std::move(n)), value(std::move(v)) {}
  node_attribute(std::string n, std::initializer_list<std::int64_t> v)
      : name(std::move(n)), value(std::vector<std::int64_t>(v)) {}
  node_attribute(std::string n, std::vector<std::int64_t> v)
      : name(std::move(n)), value(std::move(v)) {}
  node_attribute(std::string n, std::vector<float> v) : name(std::move(n)), value(std::move(v)) {}
  node_attribute(std::string n, std::vector<std::string> v)
      : name(std::move(n)), value(std::move(v)) {}
  node_attribute(std::string n, const tensor& v)
      : name(std::move(n)), value(std::make_shared<const tensor>(v.clone())) {}
  // The body of a loop or branch, written at once: its inputs, nodes and outputs; the nodes may use
  // values of the graph around it. Opsets and metadata are those of the model.
  node_attribute(std::string n, const model_builder& graph);

  std::string name;
  value_type value;
};

// Builds a model node by node, in the order of computation; an empty input name stands for an
// optional input that is left out.
//
//   model_builder model{"digits"};
//   model.input("pixels", element_type::float32, {"batch", 64})
//       .initializer("w", weights).initializer("b", bias)
//       .node("Gemm", {"pixels", "w", "b"}, {"logits"})
//       .node("Softmax", {"logits"}, {"scores"}, {{"axis", -1}})
//       .output("scores", element_type::float32, {"batch", 10});
//   model.save("digits.onnx");
//
// Errors show in bytes() and save(): error(invalid_argument) naming the node or value for a name
// used twice, an input that nothing produces before, an output that nothing produces, no output.
// Not thread safe.
class model_builder {
 public:
  explicit model_builder(std::string graph_name = "graph");

  // Version of an operator set; the default domain is at 17 unless set here.
  model_builder& opset(std::int64_t version, std::string domain = "");
  // Source: onnx ModelProto.ir_version; 8 unless set here.
  model_builder& ir_version(std::int64_t version);
  model_builder& producer(std::string name, std::string version);
  model_builder& metadata(std::string key, std::string value);
  model_builder& doc(std::string text);

  // Of sequences and optionals, type and shape are those of the elements.
  model_builder& input(std::string name, element_type type, std::vector<dimension> shape,
                       value_kind kind = value_kind::tensor);
  model_builder& output(std::string name, element_type type, std::vector<dimension> shape,
                        value_kind kind = value_kind::tensor);
  // Copies the tensor.
  model_builder& initializer(std::string name, const tensor& value);
  model_builder& node(std::string op_type, std::vector<std::string> inputs,
                      std::vector<std::string> outputs, std::vector<node_attribute> attributes = {},
                      std::string name = "", std::string domain = "");

  // The model as an ONNX file's bytes. Throws error as above, and error(resource_exhausted) above
  // protobuf's limit of 2 GiB.
  std::vector<std::byte> bytes() const;

  // Writes the file whole or not at all (a temporary file beside it, renamed). Throws error
  // (permission_denied, not_found, resource_exhausted, unavailable) naming the path.
  void save(const std::filesystem::path& path) const;

 private:
  friend struct node_attribute;

  struct value_spec {
    std::string name;
    element_type type;
    std::vector<dimension> shape;
    value_kind kind;
  };
  struct constant_spec {
    std::string name;
    tensor value;
  };
  struct node_spec {
    std::string op_type, name, domain;
    std::vector<std::string> inputs, outputs;
    std::vector<node_attribute> attributes;
  };
  // A subgraph may use names that are not its own.
  void check(bool subgraph) const;
  std::vector<std::byte> graph_bytes() const;

  std::string graph_name_, producer_name_ = "mizzen", producer_version_, doc_;
  std::int64_t ir_version_ = 8;
  std::vector<std::pair<std::string, std::int64_t>> opsets_;
  std::vector<std::pair<std::string, std::string>> metadata_;
  std::vector<value_spec> inputs_, outputs_;
  std::vector<constant_spec> initializers_;
  std::vector<node_spec> nodes_;
};

}  // namespace mizzen::inference
