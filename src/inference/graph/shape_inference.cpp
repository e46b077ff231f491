#include "inference/graph/shape_inference.hpp"

#include "inference/graph/channels_last.hpp"
#include "inference/graph/custom.hpp"
#include "inference/graph/shape_rules.hpp"

#include <mizzen/core/checked.hpp>

#include <algorithm>
#include <string>

namespace mizzen::inference::detail {

std::optional<std::vector<std::int64_t>> infer_context::ints(std::size_t i) const {
  const tensor* t = known(i);
  if (t == nullptr) return std::nullopt;
  if (t->rank() > 1) fail("input " + std::to_string(i) + " must have at most one dimension");
  std::vector<std::int64_t> values;
  if (t->type() == element_type::int64) {
    const auto data = t->data<std::int64_t>();
    values.assign(data.begin(), data.end());
  } else if (t->type() == element_type::int32) {
    const auto data = t->data<std::int32_t>();
    values.assign(data.begin(), data.end());
  } else {
    fail("input " + std::to_string(i) + " must be int64, not " + std::string(to_string(t->type())));
  }
  return values;
}

std::optional<std::int64_t> infer_context::scalar(std::size_t i) const {
  const auto values = ints(i);
  if (!values) return std::nullopt;
  if (values->size() != 1) fail("input " + std::to_string(i) + " must be one number");
  return values->front();
}

std::int64_t infer_context::length(std::size_t i) const {
  const dims* s = shape(i);
  return s != nullptr && s->size() == 1 ? s->front() : unknown_dim;
}

void infer_context::set(std::size_t i, element_type type, std::optional<dims> shape) {
  if (i >= out_.size()) return;
  out_[i].type = type;
  out_[i].shape = std::move(shape);
}

void infer_context::set_kind(std::size_t i, value_kind kind, element_type type) {
  if (i >= out_.size()) return;
  out_[i].type = type;
  out_[i].kind = kind;
  out_[i].shape.reset();
}

std::size_t infer_context::axis(std::int64_t value, std::size_t rank) const {
  const auto signed_rank = static_cast<std::int64_t>(rank);
  if (value < -signed_rank || value >= signed_rank) {
    fail("axis " + std::to_string(value) + " is outside rank " + std::to_string(rank));
  }
  return static_cast<std::size_t>(value < 0 ? value + signed_rank : value);
}

void infer_context::same_type(std::initializer_list<std::size_t> inputs) const {
  element_type common = element_type::undefined;
  for (const std::size_t i : inputs) {
    if (!has(i)) continue;
    if (common == element_type::undefined) common = type(i);
    if (type(i) != common) {
      fail("its inputs have the types " + std::string(to_string(common)) + " and " +
           std::string(to_string(type(i))) + ", which must be one");
    }
  }
}

void infer_context::rank_is(std::size_t i, std::size_t rank) const {
  if (const dims* s = shape(i); s != nullptr && s->size() != rank) {
    fail("input " + std::to_string(i) + " has " + std::to_string(s->size()) +
         " dimensions where it must have " + std::to_string(rank));
  }
}

std::int64_t infer_context::merge(std::int64_t a, std::int64_t b, std::string_view what) const {
  if (a >= 0 && b >= 0 && a != b) {
    fail(std::string(what) + " differ: " + std::to_string(a) + " and " + std::to_string(b));
  }
  return a >= 0 || b == unknown_dim ? a : b;
}

dims infer_context::broadcast(const dims& a, const dims& b) const {
  const std::size_t rank = std::max(a.size(), b.size());
  dims out(rank);
  for (std::size_t i = 0; i < rank; ++i) {
    const std::int64_t x = i + a.size() < rank ? 1 : a[i + a.size() - rank];
    const std::int64_t y = i + b.size() < rank ? 1 : b[i + b.size() - rank];
    if (x == 1) {
      out[i] = y;
    } else if (y == 1 || x == y) {
      out[i] = x;
    } else if (x >= 0 && y >= 0) {
      fail("shapes " + to_string(a) + " and " + to_string(b) + " do not broadcast");
    } else {
      // A known dimension other than 1 wins over a symbol, which must be it or 1.
      out[i] = x >= 0 ? x : y >= 0 ? y : unknown_dim;
    }
  }
  return out;
}

void infer_context::broadcasts_to(const dims& a, const dims& target) const {
  const dims wide = broadcast(target, a);
  bool same = wide.size() == target.size();
  for (std::size_t i = 0; same && i < wide.size(); ++i) {
    same = wide[i] < 0 || target[i] < 0 || wide[i] == target[i];
  }
  if (!same) fail("shape " + to_string(a) + " does not broadcast to " + to_string(target));
}

void infer_context::fail(std::string_view message) const {
  throw error(errc::invalid_argument, describe(n_), message);
}

void infer_context::unsupported(std::string_view message) const {
  throw error(errc::unimplemented, describe(n_), message);
}

std::int64_t dim_add(std::int64_t a, std::int64_t b) {
  return a < 0 || b < 0 ? unknown_dim : checked_add(a, b, "dimension");
}

std::int64_t dim_mul(std::int64_t a, std::int64_t b) {
  if (a == 0 || b == 0) return 0;
  if (a == 1) return b;
  if (b == 1) return a;
  return a < 0 || b < 0 ? unknown_dim : checked_mul(a, b, "dimension");
}

std::int64_t dim_product(std::span<const std::int64_t> shape) {
  std::int64_t product = 1;
  for (const std::int64_t d : shape) {
    if (d == 0) return 0;
  }
  for (const std::int64_t d : shape) product = dim_mul(product, d);
  return product < 0 ? unknown_dim : product;
}

const shape_rule* find_shape_rule(std::string_view domain, std::string_view op_type) {
  static const shape_rule_table table = [] {
    shape_rule_table rules;
    add_elementwise_rules(rules);
    add_neural_rules(rules);
    add_data_rules(rules);
    add_sampling_rules(rules);
    add_scatter_rules(rules);
    add_sequence_rules(rules);
    add_signal_rules(rules);
    add_dynamic_rules(rules);
    add_window_rules(rules);
    return rules;
  }();
  static const shape_rule_table microsoft = [] {
    shape_rule_table rules;
    add_microsoft_rules(rules);
    return rules;
  }();
  static const shape_rule_table mizzen = [] {
    shape_rule_table rules;
    add_mizzen_rules(rules);
    return rules;
  }();
  const auto* rules = domain.empty() || domain == channels_last_domain ? &table
                      : domain == "com.microsoft"                      ? &microsoft
                      : domain == "mizzen"                             ? &mizzen
                                                                       : nullptr;
  if (rules == nullptr) return nullptr;
  const auto found = rules->find(op_type);
  return found == rules->end() ? nullptr : &found->second;
}

namespace {

// Calls infer() with the channels of input 0 and output 0 where the rules expect them.
void with_channels_second(std::span<const inferred> in, std::span<inferred> out,
                          void (*infer)(infer_context&), const node& n) {
  std::vector<inferred> moved(in.begin(), in.end());
  auto& shape = moved[0].shape;
  if (shape && !has_planes(n)) shape = permuted(*shape, channels_to_second(shape->size()));
  infer_context context(n, moved, out);
  infer(context);
  if (auto& y = out[0].shape) y = permuted(*y, channels_to_last(y->size()));
}

}  // namespace

std::vector<std::size_t> infer_node(const node& n, std::span<const inferred> in,
                                    std::span<inferred> out) {
  const shape_rule own = n.custom ? custom_rule(*n.custom) : shape_rule{};
  const shape_rule* rule = n.custom ? &own : find_shape_rule(n.domain, n.op_type);
  if (rule == nullptr) throw error(errc::unimplemented, describe(n), "operator not supported");
  const std::size_t own_inputs = n.operator_inputs();
  infer_context context(n, in, out);
  if (own_inputs > rule->max_inputs || n.outputs.size() > rule->max_outputs) {
    context.fail("it has " + std::to_string(own_inputs) + " inputs and " +
                 std::to_string(n.outputs.size()) + " outputs, more than the operator takes");
  }
  for (std::size_t i = 0; i < rule->required_inputs; ++i) {
    if (!context.has(i)) context.fail("input " + std::to_string(i) + " is missing");
  }
  for (std::size_t i = 0; i < own_inputs && !rule->any_kind; ++i) {
    if (in[i].kind != value_kind::tensor) {
      context.fail("input " + std::to_string(i) + " must be a tensor, not a " +
                   std::string(to_string(in[i].kind)));
    }
  }
  try {
    if (n.domain == channels_last_domain) {
      with_channels_second(in, out, rule->infer, n);
    } else {
      rule->infer(context);
    }
  } catch (const error& e) {
    if (e.subject() == describe(n)) throw;
    throw error(e.code(), describe(n) + " " + e.subject(), e.message());
  }
  for (const inferred& o : out) {
    if (o.shape && o.shape->size() > max_rank) {
      throw error(errc::unimplemented, describe(n),
                  "a value of " + std::to_string(o.shape->size()) + " dimensions; at most " +
                      std::to_string(max_rank) + " are supported");
    }
    if (!o.shape) continue;
    for (const std::int64_t d : *o.shape) {
      if (d > max_dimension) {
        throw error(errc::out_of_range, describe(n),
                    "shape " + to_string(*o.shape) + " is too large");
      }
    }
  }
  std::vector<std::size_t> missed;
  for (std::size_t i = 0; i < own_inputs; ++i) {
    if (context.missed(i)) missed.push_back(i);
  }
  return missed;
}

namespace {

// Gives each dimension that nothing is known of a symbol of its own, so that it can be told where
// the same one comes again. A value keeps those it has from before.
void name_unknown(graph& g, dims& shape, const std::optional<dims>& before) {
  const bool same_rank = before && before->size() == shape.size();
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] != unknown_dim) continue;
    const bool had_one = same_rank && (*before)[i] < unknown_dim && !g.has_name((*before)[i]);
    shape[i] =
        had_one ? (*before)[i] : -2 - static_cast<std::int64_t>(g.symbols.size()) - g.nameless++;
  }
}

}  // namespace

void infer_graph(graph& g) {
  for (const value_id v : g.inputs) {
    if (auto& shape = g.values[v].shape) name_unknown(g, *shape, std::nullopt);
  }
  for (value& v : g.values) {
    if (v.constant) {
      v.type = v.constant->type();
      v.shape = v.constant->shape();
    }
  }
  std::vector<std::optional<extents>> elements(g.values.size());
  for (std::size_t v = 0; v < g.values.size(); ++v) {
    if (const auto& constant = g.values[v].constant) elements[v] = extents_of(*constant);
  }
  std::vector<inferred> in;
  std::vector<inferred> out;
  std::vector<extents_input> vectors;
  for (const node& n : g.nodes) {
    in.assign(n.inputs.size(), {});
    out.assign(n.outputs.size(), {});
    vectors.assign(n.inputs.size(), {});
    for (std::size_t i = 0; i < n.inputs.size(); ++i) {
      if (n.inputs[i] == no_value) continue;
      const value& v = g.values[n.inputs[i]];
      const auto& known = elements[n.inputs[i]];
      vectors[i] = {&v, known ? &*known : nullptr};
      in[i] = {v.type, v.shape, v.constant.get(), v.kind, vectors[i].elements};
    }
    infer_node(n, in, out);
    for (std::size_t i = 0; i < n.outputs.size(); ++i) {
      if (n.outputs[i] == no_value) continue;
      value& v = g.values[n.outputs[i]];
      v.type = out[i].type;
      v.kind = out[i].kind;
      if (out[i].shape) name_unknown(g, *out[i].shape, v.shape);
      v.shape = std::move(out[i].shape);
    }
    if (n.outputs.size() != 1 || n.outputs[0] == no_value) continue;
    const value& made = g.values[n.outputs[0]];
    if (made.kind != value_kind::tensor || !made.shape || made.shape->size() > 1) continue;
    auto known = infer_extents(n, vectors);
    const bool fits = known && (made.shape->empty() || made.shape->front() < 0 ||
                                made.shape->front() == static_cast<std::int64_t>(known->size()));
    if (fits) elements[n.outputs[0]] = std::move(known);
  }
}

}  // namespace mizzen::inference::detail
