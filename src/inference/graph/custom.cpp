#include "inference/graph/custom.hpp"

#include "inference/dynamic/operation.hpp"

#include <algorithm>
#include <utility>

namespace mizzen::inference {

using detail::no_value;

std::string_view custom_node::name() const noexcept { return node_->name; }
std::int64_t custom_node::version() const noexcept { return node_->opset; }
std::size_t custom_node::inputs() const noexcept { return node_->operator_inputs(); }
std::size_t custom_node::outputs() const noexcept { return node_->outputs.size(); }
bool custom_node::has_input(std::size_t i) const noexcept {
  return i < inputs() && node_->inputs[i] != no_value;
}
bool custom_node::wants_output(std::size_t i) const noexcept {
  return i < outputs() && node_->outputs[i] != no_value;
}
bool custom_node::has_attribute(std::string_view name) const noexcept {
  return node_->attributes.has(name);
}
std::int64_t custom_node::get_int(std::string_view name, std::int64_t fallback) const {
  return node_->attributes.get_int(name, fallback);
}
float custom_node::get_float(std::string_view name, float fallback) const {
  return node_->attributes.get_float(name, fallback);
}
std::string custom_node::get_string(std::string_view name, std::string_view fallback) const {
  return node_->attributes.get_string(name, fallback);
}
std::vector<std::int64_t> custom_node::get_ints(std::string_view name,
                                                std::vector<std::int64_t> fallback) const {
  return node_->attributes.get_ints(name, std::move(fallback));
}
std::vector<float> custom_node::get_floats(std::string_view name) const {
  return node_->attributes.get_floats(name);
}
std::vector<std::string> custom_node::get_strings(std::string_view name) const {
  return node_->attributes.get_strings(name);
}
const tensor* custom_node::get_tensor(std::string_view name) const {
  // The node holds it, too.
  return node_->attributes.get_tensor(name).get();
}
void custom_node::fail(std::string_view message) const {
  throw error(errc::invalid_argument, detail::describe(*node_), message);
}

element_type custom_shapes::input_type(std::size_t i) const noexcept {
  return state_->context.type(i);
}
const std::optional<shape_type>& custom_shapes::input_shape(std::size_t i) const {
  static const std::optional<shape_type> none;
  return i < state_->shapes.size() ? state_->shapes[i] : none;
}
const tensor* custom_shapes::input_value(std::size_t i) const { return state_->context.known(i); }
void custom_shapes::set_output(std::size_t i, element_type type, std::optional<shape_type> shape) {
  if (i >= node_->custom->most_outputs) {
    throw error(errc::out_of_range, detail::describe(*node_),
                "the operator has no output " + std::to_string(i));
  }
  if (to_string(type) == "undefined") fail("output " + std::to_string(i) + " gets no type");
  if (shape) {
    // What is less than -1 was computed from something unknown.
    for (std::int64_t& d : *shape) d = std::max(d, detail::unknown_dim);
  }
  state_->context.set(i, type, std::move(shape));
}

namespace detail {
namespace {

std::string key_of(std::string_view domain, std::string_view op_type) {
  return domain_of(domain).append(":").append(op_type);
}

void infer_custom(infer_context& c) {
  const node& n = c.n();
  const custom_operator& op = *n.custom;
  custom_inference state{c, {}};
  bool all_known = true;
  for (std::size_t i = 0; i < c.input_count(); ++i) {
    std::optional<shape_type>& shape = state.shapes.emplace_back();
    if (!c.has(i)) continue;
    if (const dims* known = c.shape(i)) {
      shape = *known;
      for (std::int64_t& d : *shape) d = std::max(d, unknown_dim);
    }
    all_known = all_known && shape && std::ranges::all_of(*shape, [](auto d) { return d >= 0; });
  }
  if (op.shapes) {
    custom_shapes view = custom_access::shapes(n, state);
    call_custom("shape function", [&] { op.shapes(view); });
  } else {
    // As they are: symbols of dimensions too.
    const dims* like = c.shape(0);
    for (std::size_t i = 0; i < c.output_count(); ++i) {
      c.set(i, c.type(0), like != nullptr ? std::optional<dims>(*like) : std::nullopt);
    }
  }
  for (std::size_t i = 0; i < c.input_count(); ++i) all_known = all_known && !c.missed(i);
  for (std::size_t i = 0; i < n.outputs.size(); ++i) {
    if (n.outputs[i] == no_value) continue;
    if (c.output_type(i) == element_type::undefined) {
      c.fail("its shape function sets no type for output " + std::to_string(i));
    }
    const auto& shape = c.output_shape(i);
    const bool concrete =
        shape && std::ranges::all_of(*shape, [](std::int64_t d) { return d >= 0; });
    if (all_known && !concrete && !op.data_dependent) {
      c.fail("its shape function leaves the shape of output " + std::to_string(i) +
             " open though all input shapes are known: set custom_operator::data_dependent");
    }
  }
}

}  // namespace

std::string domain_of(std::string_view domain) {
  return domain == "ai.onnx" ? "" : std::string(domain);
}

custom_operators::custom_operators(std::span<const custom_operator> list) {
  for (const custom_operator& op : list) {
    const std::string subject = "operator '" + op.domain + (op.domain.empty() ? "" : ".") +
                                op.name + "' of session_options.operators";
    const auto invalid = [&](std::string_view why) {
      throw error(errc::invalid_argument, subject, why);
    };
    if (op.name.empty()) invalid("it has no name");
    if (op.domain == "mizzen" || op.domain.starts_with("mizzen.")) {
      invalid("the domain 'mizzen' is reserved");
    }
    if (static_cast<bool>(op.compute) == static_cast<bool>(op.prepare)) {
      invalid("it needs one of compute and prepare");
    }
    if (op.least_inputs > op.most_inputs || op.most_outputs == 0) {
      invalid("its numbers of inputs and outputs do not fit");
    }
    if (!op.shapes && op.least_inputs == 0) {
      invalid("without a shape function it needs an input, which its outputs are like");
    }
    node like;
    like.domain = domain_of(op.domain);
    like.op_type = op.name;
    if (find_shape_rule(like.domain, like.op_type) != nullptr || has_operation(like)) {
      invalid("the engine has an operator of that name: give it another domain");
    }
    auto& versions = by_name_[key_of(op.domain, op.name)];
    for (const auto& other : versions) {
      if (op.first_version <= other->last_version && other->first_version <= op.last_version) {
        invalid("it is there twice");
      }
    }
    versions.push_back(std::make_shared<const custom_operator>(op));
  }
}

std::shared_ptr<const custom_operator> custom_operators::find(std::string_view domain,
                                                              std::string_view op_type,
                                                              std::int64_t version) const {
  const auto found = by_name_.find(key_of(domain, op_type));
  if (found == by_name_.end()) return nullptr;
  for (const auto& op : found->second) {
    if (op->first_version <= version && version <= op->last_version) return op;
  }
  return nullptr;
}

shape_rule custom_rule(const custom_operator& op) {
  return {op.least_inputs, op.most_inputs, op.most_outputs, infer_custom};
}

}  // namespace detail
}  // namespace mizzen::inference
