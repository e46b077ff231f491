#include "inference/graph/ir.hpp"

#include "inference/graph/precision.hpp"

#include <algorithm>

namespace mizzen::inference::detail {
namespace {

template <class T>
const T& as(const attribute_value& value, std::string_view name, std::string_view wanted) {
  if (const T* typed = std::get_if<T>(&value)) return *typed;
  throw error(errc::invalid_argument, "attribute '" + std::string(name) + "'",
              "it must be " + std::string(wanted));
}

}  // namespace

std::string_view to_string(post_op_kind kind) noexcept {
  switch (kind) {
    case post_op_kind::relu:
      return "relu";
    case post_op_kind::leaky_relu:
      return "leaky_relu";
    case post_op_kind::clip:
      return "clip";
    case post_op_kind::sigmoid:
      return "sigmoid";
    case post_op_kind::tanh:
      return "tanh";
    case post_op_kind::gelu_erf:
      return "gelu_erf";
    case post_op_kind::gelu_tanh:
      return "gelu_tanh";
    case post_op_kind::silu:
      return "silu";
    case post_op_kind::hard_sigmoid:
      return "hard_sigmoid";
    case post_op_kind::hard_swish:
      return "hard_swish";
    case post_op_kind::scale:
      return "scale";
    case post_op_kind::add:
      return "add";
    case post_op_kind::mul:
      return "mul";
  }
  return "?";
}

void attribute_map::set(std::string name, attribute_value value) {
  entries_.insert_or_assign(std::move(name), std::move(value));
}

void attribute_map::erase(std::string_view name) {
  if (const auto found = entries_.find(name); found != entries_.end()) entries_.erase(found);
}

const attribute_value* attribute_map::find(std::string_view name) const noexcept {
  const auto found = entries_.find(name);
  return found == entries_.end() ? nullptr : &found->second;
}

std::int64_t attribute_map::get_int(std::string_view name, std::int64_t fallback) const {
  const attribute_value* found = find(name);
  return found ? as<std::int64_t>(*found, name, "an integer") : fallback;
}

float attribute_map::get_float(std::string_view name, float fallback) const {
  const attribute_value* found = find(name);
  return found ? as<float>(*found, name, "a float") : fallback;
}

std::string attribute_map::get_string(std::string_view name, std::string_view fallback) const {
  const attribute_value* found = find(name);
  return found ? as<std::string>(*found, name, "a string") : std::string(fallback);
}

std::vector<std::int64_t> attribute_map::get_ints(std::string_view name,
                                                  std::vector<std::int64_t> fallback) const {
  const attribute_value* found = find(name);
  return found ? as<std::vector<std::int64_t>>(*found, name, "a list of integers") : fallback;
}

std::vector<float> attribute_map::get_floats(std::string_view name) const {
  const attribute_value* found = find(name);
  return found ? as<std::vector<float>>(*found, name, "a list of floats") : std::vector<float>{};
}

std::vector<std::string> attribute_map::get_strings(std::string_view name) const {
  const attribute_value* found = find(name);
  return found ? as<std::vector<std::string>>(*found, name, "a list of strings")
               : std::vector<std::string>{};
}

std::shared_ptr<const tensor> attribute_map::get_tensor(std::string_view name) const {
  const attribute_value* found = find(name);
  return found ? as<std::shared_ptr<const tensor>>(*found, name, "a tensor") : nullptr;
}

std::shared_ptr<const graph> attribute_map::require_graph(std::string_view name) const {
  const attribute_value* found = find(name);
  auto g = found ? as<std::shared_ptr<const graph>>(*found, name, "a graph") : nullptr;
  if (!g) {
    throw error(errc::invalid_argument, "attribute '" + std::string(name) + "'", "it is missing");
  }
  return g;
}

std::int64_t attribute_map::require_int(std::string_view name) const {
  if (!has(name)) {
    throw error(errc::invalid_argument, "attribute '" + std::string(name) + "'", "it is missing");
  }
  return get_int(name, 0);
}

std::size_t node::operator_inputs() const noexcept {
  const auto binary = std::count_if(post_ops.begin(), post_ops.end(),
                                    [](const post_op& op) { return op.input >= 0; });
  return inputs.size() - captured - static_cast<std::size_t>(binary);
}

std::string describe(const node& n) {
  std::string op = n.domain.empty() ? n.op_type : n.domain + "." + n.op_type;
  return n.name.empty() ? "node (" + op + ")" : "node '" + n.name + "' (" + op + ")";
}

error named(const node& n, const error& e) {
  const std::string subject = describe(n);
  if (e.subject() == subject) return e;
  return {e.code(), subject, e.subject() + ": " + e.message(), e.cause()};
}

value_id graph::add_value(value v) {
  values.push_back(std::move(v));
  return static_cast<value_id>(values.size() - 1);
}

bool graph::has_name(std::int64_t dimension) const noexcept {
  return dimension < unknown_dim && static_cast<std::size_t>(-2 - dimension) < symbols.size();
}

std::string graph::dimension_text(std::int64_t dimension) const {
  if (dimension >= 0) return std::to_string(dimension);
  return has_name(dimension) ? symbols[static_cast<std::size_t>(-2 - dimension)] : "?";
}

graph_index::graph_index(const graph& g)
    : producer(g.values.size(), none), consumers(g.values.size()), is_output(g.values.size()) {
  for (std::size_t i = 0; i < g.nodes.size(); ++i) {
    for (const value_id v : g.nodes[i].inputs) {
      if (v != no_value) consumers[v].push_back(i);
    }
    for (const value_id v : g.nodes[i].outputs) {
      if (v != no_value) producer[v] = i;
    }
  }
  for (const value_id v : g.outputs) is_output[v] = true;
}

std::string type_text(const graph& g, value_id id) {
  const value& v = g.values[id];
  std::string text(to_string(v.type));
  if (!v.shape || v.kind != value_kind::tensor) {
    text += "[…]";
  } else {
    text += "[";
    for (std::size_t i = 0; i < v.shape->size(); ++i) {
      text += (i == 0 ? "" : ",") + g.dimension_text((*v.shape)[i]);
    }
    text += "]";
  }
  if (v.kind != value_kind::tensor) text += "@" + std::string(to_string(v.kind));
  return text;
}

std::string to_text(const graph& g) {
  const auto value_text = [&](value_id id) {
    if (id == no_value) return std::string("-");
    const value& v = g.values[id];
    std::string text = v.name + ":" + type_text(g, id);
    if (v.constant) text += "=const";
    return text;
  };
  const auto list = [&](const std::vector<value_id>& ids) {
    std::string text;
    for (const value_id id : ids) text += (text.empty() ? "" : ", ") + value_text(id);
    return text;
  };
  std::string text = "inputs " + list(g.inputs) + "\n";
  for (const node& n : g.nodes) {
    text += list(n.outputs) + " = " + (n.domain.empty() ? "" : n.domain + ".") + n.op_type;
    if (asks_bf16(n)) text += "[bfloat16]";
    for (const post_op& op : n.post_ops) text += "+" + std::string(to_string(op.kind));
    text += "(" + list(n.inputs) + ")\n";
    for (const auto& [name, attribute] : n.attributes) {
      const auto* body = std::get_if<std::shared_ptr<const graph>>(&attribute);
      if (body == nullptr || *body == nullptr) continue;
      text += "  " + name + ": ";
      for (const char c : to_text(**body)) {
        text += c;
        if (c == '\n') text += "    ";
      }
      text.resize(text.size() - 4);
    }
  }
  return text + "outputs " + list(g.outputs) + "\n";
}

}  // namespace mizzen::inference::detail
