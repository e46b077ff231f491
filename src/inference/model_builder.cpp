#include "inference/onnx/wire.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/core/id.hpp>
#include <mizzen/inference/model_builder.hpp>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <set>
#include <system_error>

namespace mizzen::inference {
namespace {

using detail::wire_writer;

// Field numbers of onnx.proto3; see onnx/model.cpp for the reading side.
wire_writer tensor_message(const std::string& name, const tensor& value) {
  wire_writer out;
  out.packed(1, std::span<const std::int64_t>(value.shape()));
  out.int64(2, static_cast<std::int64_t>(value.type()));
  out.string(8, name);
  if (value.type() == element_type::string) {
    for (const std::string& text : value.data<std::string>()) out.string(6, text);
  } else {
    out.bytes(9, value.bytes());
  }
  return out;
}

wire_writer value_message(const std::string& name, element_type type,
                          const std::vector<dimension>& shape, value_kind kind) {
  wire_writer dims;
  for (const dimension& d : shape) {
    wire_writer one;
    if (d.fixed()) {
      one.int64(1, d.value);
    } else if (!d.symbol.empty()) {
      one.string(2, d.symbol);
    }
    dims.message(1, one);
  }
  wire_writer tensor_type;
  tensor_type.int64(1, static_cast<std::int64_t>(type));
  tensor_type.message(2, dims);
  wire_writer type_message;
  type_message.message(1, tensor_type);
  // Field numbers of TypeProto: what is a sequence or optional has the type so far as its
  // element's.
  const auto wrap = [&](std::uint32_t field) {
    wire_writer element;
    element.message(1, type_message);
    wire_writer outer;
    outer.message(field, element);
    type_message = std::move(outer);
  };
  if (kind == value_kind::sequence || kind == value_kind::optional_sequence) wrap(4);
  if (kind == value_kind::optional_tensor || kind == value_kind::optional_sequence) wrap(9);
  wire_writer out;
  out.string(1, name);
  out.message(2, type_message);
  return out;
}

// AttributeProto.AttributeType and the field of each value.
struct attribute_writer {
  wire_writer& out;
  void operator()(std::int64_t v) const { out.int64(3, v), out.int64(20, 2); }
  void operator()(float v) const { out.float32(2, v), out.int64(20, 1); }
  void operator()(const std::string& v) const { out.string(4, v), out.int64(20, 3); }
  void operator()(const std::vector<std::int64_t>& v) const { out.packed(8, v), out.int64(20, 7); }
  void operator()(const std::vector<float>& v) const { out.packed(7, v), out.int64(20, 6); }
  void operator()(const std::vector<std::string>& v) const {
    for (const std::string& text : v) out.string(9, text);
    out.int64(20, 8);
  }
  void operator()(const std::shared_ptr<const tensor>& v) const {
    out.message(5, tensor_message("", *v)), out.int64(20, 4);
  }
  void operator()(const node_attribute::graph_bytes& v) const {
    out.bytes(6, v.message), out.int64(20, 5);
  }
};

[[noreturn]] void invalid(const std::string& subject, std::string_view message) {
  throw error(errc::invalid_argument, subject, message);
}

}  // namespace

model_builder::model_builder(std::string graph_name) : graph_name_(std::move(graph_name)) {}

model_builder& model_builder::opset(std::int64_t version, std::string domain) {
  for (auto& [name, number] : opsets_) {
    if (name == domain) {
      number = version;
      return *this;
    }
  }
  opsets_.emplace_back(std::move(domain), version);
  return *this;
}

model_builder& model_builder::ir_version(std::int64_t version) {
  ir_version_ = version;
  return *this;
}

model_builder& model_builder::producer(std::string name, std::string version) {
  producer_name_ = std::move(name);
  producer_version_ = std::move(version);
  return *this;
}

model_builder& model_builder::metadata(std::string key, std::string value) {
  metadata_.emplace_back(std::move(key), std::move(value));
  return *this;
}

model_builder& model_builder::doc(std::string text) {
  doc_ = std::move(text);
  return *this;
}

model_builder& model_builder::input(std::string name, element_type type,
                                    std::vector<dimension> shape, value_kind kind) {
  inputs_.push_back({std::move(name), type, std::move(shape), kind});
  return *this;
}

model_builder& model_builder::output(std::string name, element_type type,
                                     std::vector<dimension> shape, value_kind kind) {
  outputs_.push_back({std::move(name), type, std::move(shape), kind});
  return *this;
}

model_builder& model_builder::initializer(std::string name, const tensor& value) {
  initializers_.push_back({std::move(name), value.clone()});
  return *this;
}

model_builder& model_builder::node(std::string op_type, std::vector<std::string> inputs,
                                   std::vector<std::string> outputs,
                                   std::vector<node_attribute> attributes, std::string name,
                                   std::string domain) {
  nodes_.push_back({std::move(op_type), std::move(name), std::move(domain), std::move(inputs),
                    std::move(outputs), std::move(attributes)});
  return *this;
}

void model_builder::check(bool subgraph) const {
  std::set<std::string_view> known;
  const auto define = [&](const std::string& name, const std::string& subject) {
    if (name.empty()) invalid(subject, "a name is empty");
    if (!known.insert(name).second) invalid(subject, "the name '" + name + "' is there twice");
  };
  for (const value_spec& v : inputs_) define(v.name, "input '" + v.name + "'");
  for (const constant_spec& c : initializers_) {
    define(c.name, "initializer '" + c.name + "'");
    if (c.value.type() == element_type::undefined) {
      invalid("initializer '" + c.name + "'", "the tensor has no type");
    }
  }
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    const node_spec& n = nodes_[i];
    const std::string subject = "node " + std::to_string(i) + " (" + n.op_type + ")";
    if (n.op_type.empty()) invalid(subject, "it has no operator");
    for (const std::string& name : n.inputs) {
      if (!subgraph && !name.empty() && !known.contains(name)) {
        invalid(subject, "nothing before it produces its input '" + name + "'");
      }
    }
    for (const std::string& name : n.outputs) {
      if (!name.empty()) define(name, subject);
    }
  }
  if (outputs_.empty()) invalid("model", "it has no output");
  for (const value_spec& v : outputs_) {
    if (!subgraph && !known.contains(v.name)) {
      invalid("output '" + v.name + "'", "nothing produces it");
    }
  }
}

node_attribute::node_attribute(std::string n, const model_builder& graph) : name(std::move(n)) {
  graph.check(true);
  value = graph_bytes{graph.graph_bytes()};
}

std::vector<std::byte> model_builder::graph_bytes() const {
  wire_writer graph;
  for (const node_spec& n : nodes_) {
    wire_writer message;
    for (const std::string& name : n.inputs) message.string(1, name);
    for (const std::string& name : n.outputs) message.string(2, name);
    if (!n.name.empty()) message.string(3, n.name);
    message.string(4, n.op_type);
    for (const node_attribute& a : n.attributes) {
      wire_writer attribute;
      attribute.string(1, a.name);
      std::visit(attribute_writer{attribute}, a.value);
      message.message(5, attribute);
    }
    if (!n.domain.empty()) message.string(7, n.domain);
    graph.message(1, message);
  }
  graph.string(2, graph_name_);
  for (const constant_spec& c : initializers_) graph.message(5, tensor_message(c.name, c.value));
  for (const value_spec& v : inputs_) {
    graph.message(11, value_message(v.name, v.type, v.shape, v.kind));
  }
  for (const value_spec& v : outputs_) {
    graph.message(12, value_message(v.name, v.type, v.shape, v.kind));
  }
  return graph.take();
}

std::vector<std::byte> model_builder::bytes() const {
  check(false);
  wire_writer model;
  model.int64(1, ir_version_);
  if (!producer_name_.empty()) model.string(2, producer_name_);
  if (!producer_version_.empty()) model.string(3, producer_version_);
  if (!doc_.empty()) model.string(6, doc_);
  model.bytes(7, graph_bytes());
  const auto add_opset = [&](const std::string& domain, std::int64_t version) {
    wire_writer opset;
    opset.string(1, domain);
    opset.int64(2, version);
    model.message(8, opset);
  };
  bool has_default = false;
  for (const auto& [domain, version] : opsets_) {
    has_default |= domain.empty();
    add_opset(domain, version);
  }
  if (!has_default) add_opset("", 17);
  for (const auto& [key, value] : metadata_) {
    wire_writer entry;
    entry.string(1, key);
    entry.string(2, value);
    model.message(14, entry);
  }
  if (model.size() > (std::size_t{1} << 31) - 1) {
    throw error(errc::resource_exhausted, "model", "it is larger than protobuf's 2 GiB");
  }
  return model.take();
}

void model_builder::save(const std::filesystem::path& path) const {
  const std::vector<std::byte> data = bytes();
  std::filesystem::path temporary = path;
  temporary += "." + random_hex_id().substr(0, 8) + ".tmp";
  const auto fail = [&](int code) {
    std::error_code ignored;
    std::filesystem::remove(temporary, ignored);
    const errc kind = code == ENOENT   ? errc::not_found
                      : code == ENOSPC ? errc::resource_exhausted
                      : code == EACCES ? errc::permission_denied
                                       : errc::unavailable;
    throw error(kind, path.string(), std::string("cannot write: ") + std::strerror(code));
  };
  errno = 0;
  std::ofstream out(temporary, std::ios::binary);
  if (!out) fail(errno);
  out.write(reinterpret_cast<const char*>(data.data()), static_cast<std::streamsize>(data.size()));
  out.close();
  if (!out) fail(errno);
  if (std::rename(temporary.c_str(), path.c_str()) != 0) fail(errno);
}

}  // namespace mizzen::inference
