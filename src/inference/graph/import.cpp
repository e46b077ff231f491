#include "inference/graph/import.hpp"

#include "inference/onnx/wire.hpp"

#include <mizzen/core/checked.hpp>

#include <unordered_map>
#include <unordered_set>
#include <utility>

namespace mizzen::inference::detail {
namespace {

std::string at(std::string_view list, std::size_t index) {
  return "model.graph." + std::string(list) + "[" + std::to_string(index) + "]";
}

[[noreturn]] void invalid(const std::string& subject, const std::string& message) {
  throw error(errc::invalid_argument, subject, message);
}

template <class T>
std::shared_ptr<const tensor> constant_of(const std::vector<T>& values, bool scalar) {
  shape_type shape;
  if (!scalar) shape.push_back(static_cast<std::int64_t>(values.size()));
  return std::make_shared<const tensor>(tensor::copy(values, std::move(shape)));
}

class importer {
 public:
  importer(const model_proto& model, tensor_source& source)
      : model_(model), graph_(*model.graph), source_(source) {}

  imported_model run() {
    read_opsets();
    if (graph_.sparse_initializers != 0) {
      throw error(errc::unimplemented, "model.graph.sparse_initializer", "sparse tensors");
    }
    out_.g.name = graph_.name;
    for (std::size_t i = 0; i < graph_.initializers.size(); ++i) initializer(i);
    for (std::size_t i = 0; i < graph_.inputs.size(); ++i) input(i);
    for (std::size_t i = 0; i < graph_.nodes.size(); ++i) node_at(i);
    for (std::size_t i = 0; i < graph_.outputs.size(); ++i) output(i);
    if (graph_.outputs.empty()) invalid("model.graph.output", "the model has no output");
    for (const auto& [key, value] : model_.metadata) out_.metadata.emplace(key, value);
    if (!model_.producer_name.empty()) {
      out_.metadata.emplace("producer_name", model_.producer_name);
    }
    if (!model_.producer_version.empty()) {
      out_.metadata.emplace("producer_version", model_.producer_version);
    }
    return std::move(out_);
  }

 private:
  void read_opsets() {
    for (const auto& [domain, version] : model_.opsets) {
      opsets_[domain == "ai.onnx" ? "" : std::string(domain)] = version;
    }
    const auto found = opsets_.find("");
    if (found == opsets_.end()) {
      if (graph_.nodes.empty()) return;
      invalid("model.opset_import", "the version of the default operator set is missing");
    }
    if (found->second < min_opset || found->second > max_opset) {
      throw error(errc::unimplemented, "model.opset_import",
                  "operator set " + std::to_string(found->second) + "; " +
                      std::to_string(min_opset) + " to " + std::to_string(max_opset) +
                      " are supported");
    }
  }

  value_id define(std::string_view name, const std::string& subject) {
    const auto [it, is_new] = names_.try_emplace(name, no_value);
    if (!is_new) invalid(subject, "the name '" + std::string(name) + "' is there twice");
    value v;
    v.name = name;
    return it->second = out_.g.add_value(std::move(v));
  }

  void initializer(std::size_t i) {
    const tensor_proto& proto = graph_.initializers[i];
    const std::string subject = at("initializer", i) + " '" + std::string(proto.name) + "'";
    if (proto.name.empty()) invalid(subject, "it has no name");
    auto data = std::make_shared<const tensor>(make_tensor(proto, subject, source_));
    if (data->rank() > max_rank) throw error(errc::unimplemented, subject, "too many dimensions");
    out_.g.values[define(proto.name, subject)].constant = std::move(data);
  }

  // The declared shape, both for people and for the graph.
  value_info declared(const value_info_proto& proto, const std::string& subject) {
    value_info info;
    info.name = proto.name;
    if (info.name.empty()) invalid(subject, "it has no name");
    if (!proto.is_tensor) {
      throw error(errc::unimplemented, subject + " '" + info.name + "'",
                  "only tensors are supported, no sequences, maps or optionals");
    }
    info.type = static_cast<element_type>(proto.elem_type);
    if (to_string(info.type) == "undefined") {
      invalid(subject + ".type.tensor_type.elem_type",
              "unknown element type " + std::to_string(proto.elem_type));
    }
    if (!proto.shape) return info;
    if (proto.shape->size() > max_rank) {
      throw error(errc::unimplemented, subject + ".type.tensor_type.shape",
                  "more than " + std::to_string(max_rank) + " dimensions");
    }
    info.shape.emplace();
    for (const dimension_proto& d : *proto.shape) {
      if (d.value && *d.value > max_dimension) {
        throw error(errc::out_of_range, subject + ".type.tensor_type.shape",
                    "dimension " + std::to_string(*d.value));
      }
      // Some exporters write -1 or "?" for what they do not know.
      if (d.value && *d.value >= 0) {
        info.shape->emplace_back(*d.value);
      } else if (d.value || d.param == "?") {
        info.shape->emplace_back();
      } else {
        info.shape->emplace_back(std::string(d.param));
      }
    }
    return info;
  }

  void input(std::size_t i) {
    const std::string subject = at("input", i);
    value_info info = declared(graph_.inputs[i], subject);
    if (const auto found = names_.find(info.name); found != names_.end()) {
      const value& v = out_.g.values[found->second];
      if (!v.constant || !defaults_.insert(info.name).second) {
        invalid(subject, "the name '" + info.name + "' is there twice");
      }
      if (v.constant->type() != info.type) {
        invalid(subject, "its type differs from that of its initializer");
      }
      return;
    }
    const value_id id = define(graph_.inputs[i].name, subject);
    value& v = out_.g.values[id];
    v.type = info.type;
    if (info.shape) {
      v.shape.emplace();
      for (const dimension& d : *info.shape) {
        v.shape->push_back(d.fixed() ? d.value : symbol(d.symbol));
      }
    }
    out_.g.inputs.push_back(id);
    out_.inputs.push_back(std::move(info));
  }

  std::int64_t symbol(const std::string& name) {
    if (name.empty()) return unknown_dim;
    const auto next = -2 - static_cast<std::int64_t>(symbols_.size());
    const auto [it, is_new] = symbols_.try_emplace(name, next);
    if (is_new) out_.g.symbols.push_back(name);
    return it->second;
  }

  void output(std::size_t i) {
    const std::string subject = at("output", i);
    const value_info_proto& proto = graph_.outputs[i];
    const auto found = names_.find(proto.name);
    if (found == names_.end()) {
      invalid(subject, "no node, input or initializer produces '" + std::string(proto.name) + "'");
    }
    if (!output_names_.insert(proto.name).second) {
      invalid(subject, "the name '" + std::string(proto.name) + "' is there twice");
    }
    out_.g.outputs.push_back(found->second);
    // Type and shape of an output may be left to inference.
    if (proto.is_tensor && proto.elem_type != 0) {
      out_.outputs.push_back(declared(proto, subject));
    } else {
      out_.outputs.push_back({std::string(proto.name), element_type::undefined, std::nullopt});
    }
  }

  void node_at(std::size_t i) {
    const node_proto& proto = graph_.nodes[i];
    const std::string subject = at("node", i);
    if (proto.op_type.empty()) invalid(subject + ".op_type", "it is missing");
    node n;
    n.name = proto.name;
    n.op_type = proto.op_type;
    n.domain = proto.domain == "ai.onnx" ? "" : std::string(proto.domain);
    if (n.domain == "mizzen") invalid(subject + ".domain", "'mizzen' is reserved");
    const auto opset = opsets_.find(n.domain);
    if (opset == opsets_.end()) {
      invalid(subject + ".domain", "no opset_import for the domain '" + n.domain + "'");
    }
    n.opset = opset->second;
    for (std::size_t k = 0; k < proto.attributes.size(); ++k) {
      add_attribute(n, proto.attributes[k], subject + ".attribute[" + std::to_string(k) + "]");
    }
    for (std::size_t k = 0; k < proto.inputs.size(); ++k) {
      if (proto.inputs[k].empty()) {
        n.inputs.push_back(no_value);
        continue;
      }
      const auto found = names_.find(proto.inputs[k]);
      if (found == names_.end()) {
        invalid(subject + ".input[" + std::to_string(k) + "]",
                "nothing before it produces '" + std::string(proto.inputs[k]) + "'");
      }
      n.inputs.push_back(found->second);
    }
    while (!n.inputs.empty() && n.inputs.back() == no_value) n.inputs.pop_back();
    for (std::size_t k = 0; k < proto.outputs.size(); ++k) {
      n.outputs.push_back(
          proto.outputs[k].empty()
              ? no_value
              : define(proto.outputs[k], subject + ".output[" + std::to_string(k) + "]"));
    }
    while (!n.outputs.empty() && n.outputs.back() == no_value) n.outputs.pop_back();
    if (n.outputs.empty()) invalid(subject + ".output", "the node has no output");
    if (n.op_type == "Constant" && n.domain.empty()) {
      out_.g.values[n.outputs[0]].constant = constant_value(n, subject);
    } else {
      out_.g.nodes.push_back(std::move(n));
    }
  }

  void add_attribute(node& n, const attribute_proto& a, const std::string& subject) {
    if (a.name.empty()) invalid(subject + ".name", "it is missing");
    std::string name(a.name);
    if (n.attributes.has(name)) invalid(subject, "attribute '" + name + "' is there twice");
    if (!a.ref_attr_name.empty()) invalid(subject, "a reference outside a function");
    switch (a.type) {
      case 1:
        return n.attributes.set(name, a.f);
      case 2:
        return n.attributes.set(name, a.i);
      case 3:
        return n.attributes.set(name, std::string(a.s));
      case 4:
        if (!a.t) invalid(subject + ".t", "it is missing");
        return n.attributes.set(
            name, std::make_shared<const tensor>(make_tensor(*a.t, subject + ".t", source_)));
      // Subgraphs belong to operators that no device has yet; the node itself is refused later.
      case 5:
        return n.attributes.set(name, std::shared_ptr<const graph>());
      case 6:
        return n.attributes.set(name, a.floats);
      case 7:
        return n.attributes.set(name, a.ints);
      case 8:
        return n.attributes.set(name, std::vector<std::string>(a.strings.begin(), a.strings.end()));
      default:
        throw error(errc::unimplemented, subject,
                    "attribute '" + name + "' has type " + std::to_string(a.type));
    }
  }

  std::shared_ptr<const tensor> constant_value(const node& n, const std::string& subject) {
    const attribute_map& a = n.attributes;
    if (auto value = a.get_tensor("value")) return value;
    if (a.has("value_float")) {
      return constant_of(std::vector<float>{a.get_float("value_float", 0.0F)}, true);
    }
    if (a.has("value_int")) {
      return constant_of(std::vector<std::int64_t>{a.get_int("value_int", 0)}, true);
    }
    if (a.has("value_floats")) return constant_of(a.get_floats("value_floats"), false);
    if (a.has("value_ints")) return constant_of(a.get_ints("value_ints"), false);
    if (a.has("value_string")) {
      return constant_of(std::vector<std::string>{a.get_string("value_string", "")}, true);
    }
    throw error(errc::unimplemented, subject, "a Constant without a dense value");
  }

  const model_proto& model_;
  const graph_proto& graph_;
  tensor_source& source_;
  imported_model out_;
  std::map<std::string, std::int64_t> opsets_;
  std::unordered_map<std::string_view, value_id> names_;
  std::unordered_map<std::string, std::int64_t> symbols_;
  std::unordered_set<std::string> defaults_;
  std::unordered_set<std::string_view> output_names_;
};

}  // namespace

imported_model import_model(const model_proto& model, tensor_source& source) {
  return importer(model, source).run();
}

}  // namespace mizzen::inference::detail
