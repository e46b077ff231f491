#include "inference/graph/import.hpp"

#include "inference/onnx/wire.hpp"

#include <mizzen/core/checked.hpp>

#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <utility>

namespace mizzen::inference::detail {
namespace {

[[noreturn]] void invalid(const std::string& subject, const std::string& message) {
  throw error(errc::invalid_argument, subject, message);
}

template <class T>
std::shared_ptr<const tensor> constant_of(const std::vector<T>& values, bool scalar) {
  shape_type shape;
  if (!scalar) shape.push_back(static_cast<std::int64_t>(values.size()));
  return std::make_shared<const tensor>(tensor::copy(values, std::move(shape)));
}

// Below operator set 7 many operators mean something else (broadcasts by attribute, test modes);
// these are the ones that do not.
bool means_the_same_below_7(std::string_view op_type) {
  static const std::unordered_set<std::string_view> names{"Abs",
                                                          "Acos",
                                                          "And",
                                                          "ArgMax",
                                                          "ArgMin",
                                                          "Asin",
                                                          "Atan",
                                                          "Ceil",
                                                          "Concat",
                                                          "Conv",
                                                          "Constant",
                                                          "Cos",
                                                          "DepthToSpace",
                                                          "Elu",
                                                          "Exp",
                                                          "Flatten",
                                                          "Floor",
                                                          "Gather",
                                                          "GlobalAveragePool",
                                                          "GlobalMaxPool",
                                                          "HardSigmoid",
                                                          "Identity",
                                                          "InstanceNormalization",
                                                          "LeakyRelu",
                                                          "Log",
                                                          "LogSoftmax",
                                                          "LRN",
                                                          "MatMul",
                                                          "Neg",
                                                          "Not",
                                                          "Reciprocal",
                                                          "ReduceL1",
                                                          "ReduceL2",
                                                          "ReduceLogSum",
                                                          "ReduceLogSumExp",
                                                          "ReduceMax",
                                                          "ReduceMean",
                                                          "ReduceMin",
                                                          "ReduceProd",
                                                          "ReduceSum",
                                                          "ReduceSumSquare",
                                                          "Relu",
                                                          "Selu",
                                                          "Shape",
                                                          "Sigmoid",
                                                          "Sin",
                                                          "Size",
                                                          "Softmax",
                                                          "Softplus",
                                                          "Softsign",
                                                          "SpaceToDepth",
                                                          "Sqrt",
                                                          "Squeeze",
                                                          "Tan",
                                                          "Tanh",
                                                          "ThresholdedRelu",
                                                          "Transpose",
                                                          "Unsqueeze"};
  return names.contains(op_type);
}

using opset_map = std::map<std::string, std::int64_t, std::less<>>;

opset_map opsets_of(const opset_list& list) {
  opset_map result;
  for (const auto& [domain, version] : list) result[domain_of(domain)] = version;
  return result;
}

// A call of a function of the model, while its body is put in the place of the call.
struct call {
  const function_proto& function;
  const node& caller;  // its attributes
  opset_map opsets;
};

// The names that the nodes of one graph, or of one function's body, can see.
struct scope {
  graph& g;               // where the nodes go
  scope* outer;           // around a subgraph; null for a model's graph and for a function's body
  const call* within;     // of the function whose body it is or is part of
  std::string path;       // of the field of the model, for errors
  std::string prefix;     // of the names of what a call brings
  std::size_t depth = 0;  // of subgraphs
  std::size_t loops = 0;  // of subgraphs that are not run once
  std::unordered_map<std::string_view, value_id> names = {};
  // Values of the graph around that a subgraph uses: theirs and its own.
  std::vector<std::pair<value_id, value_id>> captured = {};
};

// Types and shapes inside a loop are found in rounds, in each of which those of the loops inside it
// are found in rounds.
constexpr std::size_t max_loop_depth = 4;
constexpr std::size_t max_graph_depth = 8;
constexpr std::size_t max_call_depth = 32;
constexpr std::size_t max_called_nodes = std::size_t{1} << 20;

std::string at(const scope& s, std::string_view list, std::size_t index) {
  return s.path + "." + std::string(list) + "[" + std::to_string(index) + "]";
}

class importer {
 public:
  importer(const model_proto& model, tensor_source& source, const custom_operators& custom)
      : model_(model), source_(source), custom_(custom) {}

  imported_model run() {
    const graph_proto& proto = *model_.graph;
    read_opsets();
    read_functions();
    scope top{out_.g, nullptr, nullptr, "model.graph", ""};
    initializers(top, proto);
    for (std::size_t i = 0; i < proto.inputs.size(); ++i) input(top, proto.inputs[i], i);
    nodes(top, proto.nodes);
    for (std::size_t i = 0; i < proto.outputs.size(); ++i) output(top, proto.outputs[i], i);
    out_.g.name = proto.name;
    if (proto.outputs.empty()) invalid("model.graph.output", "the model has no output");
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
    opsets_ = opsets_of(model_.opsets);
    const auto found = opsets_.find("");
    if (found == opsets_.end()) return;  // an error for the first node that needs it
    if (found->second < min_opset || found->second > max_opset) {
      throw error(errc::unimplemented, "model.opset_import",
                  "operator set " + std::to_string(found->second) + "; " +
                      std::to_string(min_opset) + " to " + std::to_string(max_opset) +
                      " are supported");
    }
  }

  static std::string key_of(std::string_view domain, std::string_view name,
                            std::string_view overload) {
    std::string key = domain_of(domain);
    return key.append(":").append(name).append(":").append(overload);
  }

  void read_functions() {
    for (std::size_t i = 0; i < model_.functions.size(); ++i) {
      const function_proto& f = model_.functions[i];
      const std::string subject = "model.functions[" + std::to_string(i) + "]";
      if (f.name.empty()) invalid(subject + ".name", "it is missing");
      if (!functions_.emplace(key_of(f.domain, f.name, f.overload), &f).second) {
        invalid(subject, "the function '" + std::string(f.name) + "' is there twice");
      }
    }
  }

  value_id define(scope& s, std::string_view name, const std::string& subject) {
    const auto [it, is_new] = s.names.try_emplace(name, no_value);
    if (!is_new) invalid(subject, "the name '" + std::string(name) + "' is there twice");
    value v;
    v.name = s.prefix + std::string(name);
    return it->second = s.g.add_value(std::move(v));
  }

  // The value of a name, brought into a subgraph from around it where needed; nullopt if there is
  // none. no_value is an input that the call of a function left out.
  std::optional<value_id> find(scope& s, std::string_view name) {
    if (const auto found = s.names.find(name); found != s.names.end()) return found->second;
    if (s.outer == nullptr) return std::nullopt;
    const auto around = find(*s.outer, name);
    if (!around || *around == no_value) return around;
    const value& theirs = s.outer->g.values[*around];
    value own;
    own.name = theirs.name;
    own.constant = theirs.constant;
    const value_id id = s.g.add_value(std::move(own));
    s.names.emplace(name, id);
    if (!s.g.values[id].constant) s.captured.emplace_back(*around, id);
    return id;
  }

  void initializers(scope& s, const graph_proto& proto) {
    if (proto.sparse_initializers != 0) {
      throw error(errc::unimplemented, s.path + ".sparse_initializer", "sparse tensors");
    }
    for (std::size_t i = 0; i < proto.initializers.size(); ++i) {
      const tensor_proto& tensor = proto.initializers[i];
      const std::string subject = at(s, "initializer", i) + " '" + std::string(tensor.name) + "'";
      if (tensor.name.empty()) invalid(subject, "it has no name");
      auto data = std::make_shared<const inference::tensor>(make_tensor(tensor, subject, source_));
      if (data->rank() > max_rank) throw error(errc::unimplemented, subject, "too many dimensions");
      s.g.values[define(s, tensor.name, subject)].constant = std::move(data);
    }
  }

  // The declared shape, both for people and for the graph.
  value_info declared(const value_info_proto& proto, const std::string& subject) {
    value_info info;
    info.name = proto.name;
    if (info.name.empty()) invalid(subject, "it has no name");
    if (!proto.kind) {
      throw error(errc::unimplemented, subject + " '" + info.name + "'",
                  "only tensors, sequences of tensors and optionals of both are supported");
    }
    info.kind = *proto.kind;
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

  void input(scope& s, const value_info_proto& proto, std::size_t i) {
    const std::string subject = at(s, "input", i);
    value_info info = declared(proto, subject);
    if (const auto found = s.names.find(info.name); found != s.names.end()) {
      const value& v = s.g.values[found->second];
      if (!v.constant || !defaults_.insert(info.name).second) {
        invalid(subject, "the name '" + info.name + "' is there twice");
      }
      if (v.constant->type() != info.type) {
        invalid(subject, "its type differs from that of its initializer");
      }
      return;
    }
    const value_id id = define(s, proto.name, subject);
    value& v = s.g.values[id];
    v.type = info.type;
    v.kind = info.kind;
    if (info.shape && info.kind == value_kind::tensor) {
      v.shape.emplace();
      for (const dimension& d : *info.shape) {
        v.shape->push_back(d.fixed() ? d.value : symbol(d.symbol));
      }
    }
    s.g.inputs.push_back(id);
    out_.inputs.push_back(std::move(info));
  }

  std::int64_t symbol(const std::string& name) {
    if (name.empty()) return unknown_dim;
    const auto next = -2 - static_cast<std::int64_t>(symbols_.size());
    const auto [it, is_new] = symbols_.try_emplace(name, next);
    if (is_new) out_.g.symbols.push_back(name);
    return it->second;
  }

  void output(scope& s, const value_info_proto& proto, std::size_t i) {
    const std::string subject = at(s, "output", i);
    const auto found = find(s, proto.name);
    if (!found || *found == no_value) {
      invalid(subject, "no node, input or initializer produces '" + std::string(proto.name) + "'");
    }
    if (!output_names_.insert(proto.name).second) {
      invalid(subject, "the name '" + std::string(proto.name) + "' is there twice");
    }
    s.g.outputs.push_back(*found);
    // Type and shape of an output may be left to inference.
    if (proto.kind && proto.elem_type != 0) {
      out_.outputs.push_back(declared(proto, subject));
    } else {
      out_.outputs.push_back({std::string(proto.name), element_type::undefined, std::nullopt});
    }
  }

  void nodes(scope& s, const std::vector<node_proto>& list) {
    for (std::size_t i = 0; i < list.size(); ++i) node_at(s, list[i], i);
  }

  // A subgraph of the node, whose captured values become inputs of the node.
  std::shared_ptr<const graph> subgraph(scope& around, node& n, const graph_proto& proto,
                                        const std::string& path) {
    auto g = std::make_shared<graph>();
    g->name = proto.name;
    const std::size_t loops = around.loops + (n.op_type == "If" ? 0 : 1);
    scope s{*g, &around, around.within, path, around.prefix, around.depth + 1, loops};
    if (s.depth > max_graph_depth || s.loops > max_loop_depth) {
      throw error(errc::resource_exhausted, path, "subgraphs are nested too deeply");
    }
    initializers(s, proto);
    for (std::size_t i = 0; i < proto.inputs.size(); ++i) {
      const std::string subject = at(s, "input", i);
      const std::string_view name = proto.inputs[i].name;
      if (name.empty()) invalid(subject, "it has no name");
      if (s.names.contains(name)) {
        throw error(errc::unimplemented, subject, "an input of a subgraph with an initializer");
      }
      g->inputs.push_back(define(s, name, subject));
    }
    nodes(s, proto.nodes);
    for (std::size_t i = 0; i < proto.outputs.size(); ++i) {
      const auto found = find(s, proto.outputs[i].name);
      if (!found || *found == no_value) {
        invalid(at(s, "output", i),
                "nothing produces '" + std::string(proto.outputs[i].name) + "'");
      }
      g->outputs.push_back(*found);
    }
    for (const auto& [theirs, own] : s.captured) {
      const std::size_t first = n.inputs.size() - n.captured;
      std::size_t k = first;
      while (k < n.inputs.size() && n.inputs[k] != theirs) ++k;
      if (k == n.inputs.size()) {
        n.inputs.push_back(theirs);
        ++n.captured;
      }
      g->inputs.push_back(own);
      g->captures.push_back(k);
    }
    return g;
  }

  void node_at(scope& s, const node_proto& proto, std::size_t i) {
    const std::string subject = at(s, "node", i);
    if (proto.op_type.empty()) invalid(subject + ".op_type", "it is missing");
    node n;
    n.name = proto.name.empty() ? "" : s.prefix + std::string(proto.name);
    n.op_type = proto.op_type;
    n.domain = domain_of(proto.domain);
    if (n.domain == "mizzen" || n.domain.starts_with("mizzen.")) {
      invalid(subject + ".domain", "'mizzen' is reserved");
    }
    for (std::size_t k = 0; k < proto.inputs.size(); ++k) {
      if (proto.inputs[k].empty()) {
        n.inputs.push_back(no_value);
        continue;
      }
      const auto found = find(s, proto.inputs[k]);
      if (!found) {
        invalid(subject + ".input[" + std::to_string(k) + "]",
                "nothing before it produces '" + std::string(proto.inputs[k]) + "'");
      }
      n.inputs.push_back(*found);
    }
    while (!n.inputs.empty() && n.inputs.back() == no_value) n.inputs.pop_back();
    for (std::size_t k = 0; k < proto.attributes.size(); ++k) {
      add_attribute(s, n, proto.attributes[k], subject + ".attribute[" + std::to_string(k) + "]");
    }
    const opset_map& opsets = s.within != nullptr ? s.within->opsets : opsets_;
    const auto opset = opsets.find(n.domain);
    if (opset != opsets.end()) n.custom = custom_.find(n.domain, n.op_type, opset->second);
    const auto function = functions_.find(key_of(proto.domain, proto.op_type, proto.overload));
    if (function != functions_.end() && !n.custom) {
      return expand(s, *function->second, proto, n, subject);
    }
    if (opset == opsets.end()) {
      invalid(subject + ".domain", "no opset_import for the domain '" + n.domain + "'");
    }
    n.opset = opset->second;
    if (n.domain.empty() && n.opset < 7 && !n.custom && !means_the_same_below_7(n.op_type)) {
      throw error(errc::unimplemented, subject,
                  n.op_type + " of operator set " + std::to_string(n.opset) +
                      "; from 7 on it is supported");
    }
    for (std::size_t k = 0; k < proto.outputs.size(); ++k) {
      n.outputs.push_back(
          proto.outputs[k].empty()
              ? no_value
              : define(s, proto.outputs[k], subject + ".output[" + std::to_string(k) + "]"));
    }
    while (!n.outputs.empty() && n.outputs.back() == no_value) n.outputs.pop_back();
    if (n.outputs.empty()) invalid(subject + ".output", "the node has no output");
    if (n.op_type == "Constant" && n.domain.empty()) {
      s.g.values[n.outputs[0]].constant = constant_value(n, subject);
    } else {
      s.g.nodes.push_back(std::move(n));
    }
  }

  // Puts the body of a function in the place of a node that calls it.
  void expand(scope& s, const function_proto& f, const node_proto& proto, const node& n,
              const std::string& subject) {
    for (const call* c : calls_) {
      if (&c->function == &f) {
        invalid(subject, "the function '" + std::string(f.name) + "' calls itself");
      }
    }
    if (calls_.size() >= max_call_depth) {
      throw error(errc::resource_exhausted, subject, "functions call each other too deeply");
    }
    called_nodes_ += f.nodes.size() + 1;
    if (called_nodes_ > max_called_nodes) {
      throw error(errc::resource_exhausted, subject,
                  "the functions of the model unfold into too many nodes");
    }
    if (proto.inputs.size() > f.inputs.size() || proto.outputs.size() > f.outputs.size()) {
      invalid(subject, "it has more inputs or outputs than the function '" + std::string(f.name) +
                           "' takes");
    }
    const call c{f, n, opsets_of(f.opsets)};
    const std::string name(proto.name.empty() ? f.name : proto.name);
    scope body{
        s.g,     nullptr, &c, subject + " calls " + std::string(f.name), s.prefix + name + "/",
        s.depth, s.loops};
    for (std::size_t k = 0; k < f.inputs.size(); ++k) {
      const value_id given = k < n.inputs.size() ? n.inputs[k] : no_value;
      if (!body.names.emplace(f.inputs[k], given).second) {
        invalid(body.path, "the name '" + std::string(f.inputs[k]) + "' is there twice");
      }
    }
    calls_.push_back(&c);
    // A subgraph's body reaches the values around the call through what the call was given.
    nodes(body, f.nodes);
    calls_.pop_back();
    for (std::size_t k = 0; k < proto.outputs.size(); ++k) {
      if (proto.outputs[k].empty()) continue;
      const auto found = body.names.find(f.outputs[k]);
      if (found == body.names.end() || found->second == no_value) {
        invalid(body.path, "nothing produces its output '" + std::string(f.outputs[k]) + "'");
      }
      if (!s.names.emplace(proto.outputs[k], found->second).second) {
        invalid(subject, "the name '" + std::string(proto.outputs[k]) + "' is there twice");
      }
    }
  }

  // An attribute of a function's node that takes its value from the call.
  void add_reference(scope& s, node& n, const attribute_proto& a, const std::string& subject) {
    if (s.within == nullptr) invalid(subject, "a reference outside a function");
    const std::string name(a.name);
    if (const attribute_value* given = s.within->caller.attributes.find(a.ref_attr_name)) {
      if (std::holds_alternative<std::shared_ptr<const graph>>(*given)) {
        throw error(errc::unimplemented, subject, "a graph as the argument of a function");
      }
      return n.attributes.set(name, *given);
    }
    for (const attribute_proto& fallback : s.within->function.with_default) {
      if (fallback.name != a.ref_attr_name) continue;
      attribute_proto renamed = fallback;
      renamed.name = a.name;
      if (!renamed.ref_attr_name.empty()) invalid(subject, "a default that is a reference");
      return add_attribute(s, n, renamed, subject);
    }
    // Not given: the operator's own default holds.
  }

  void add_attribute(scope& s, node& n, const attribute_proto& a, const std::string& subject) {
    if (a.name.empty()) invalid(subject + ".name", "it is missing");
    std::string name(a.name);
    if (n.attributes.has(name)) invalid(subject, "attribute '" + name + "' is there twice");
    if (!a.ref_attr_name.empty()) return add_reference(s, n, a, subject);
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
      case 5:
        if (!a.g) invalid(subject + ".g", "it is missing");
        return n.attributes.set(name, subgraph(s, n, *a.g, subject + ".g"));
      case 6:
        return n.attributes.set(name, a.floats);
      case 7:
        return n.attributes.set(name, a.ints);
      case 8:
        return n.attributes.set(name, std::vector<std::string>(a.strings.begin(), a.strings.end()));
      case 13: {
        // The element type of a sequence, which is all that an Optional or a Cast needs of it.
        if (!a.tp || !a.tp->kind) {
          throw error(errc::unimplemented, subject,
                      "a type that is no tensor, sequence or optional");
        }
        n.attributes.set(name + ".kind", static_cast<std::int64_t>(*a.tp->kind));
        return n.attributes.set(name, static_cast<std::int64_t>(a.tp->elem_type));
      }
      default:
        throw error(errc::unimplemented, subject,
                    "attribute '" + name + "' has type " + std::to_string(a.type));
    }
  }

  std::shared_ptr<const tensor> constant_value(const node& n, const std::string& subject) {
    const attribute_map& a = n.attributes;
    if (auto value = a.get_tensor("value")) {
      if (value->rank() > max_rank)
        throw error(errc::unimplemented, subject, "too many dimensions");
      return value;
    }
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
    if (a.has("value_strings")) return constant_of(a.get_strings("value_strings"), false);
    throw error(errc::unimplemented, subject, "a Constant without a dense value");
  }

  const model_proto& model_;
  tensor_source& source_;
  const custom_operators& custom_;
  imported_model out_;
  opset_map opsets_;
  std::unordered_map<std::string, const function_proto*> functions_;  // by key_of
  std::vector<const call*> calls_;                                    // under way, outermost first
  std::size_t called_nodes_ = 0;
  std::unordered_map<std::string, std::int64_t> symbols_;
  std::unordered_set<std::string> defaults_;
  std::unordered_set<std::string_view> output_names_;
};

}  // namespace

imported_model import_model(const model_proto& model, tensor_source& source,
                            const custom_operators& custom) {
  return importer(model, source, custom).run();
}

}  // namespace mizzen::inference::detail
