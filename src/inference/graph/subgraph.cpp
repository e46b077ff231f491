#include "inference/graph/subgraph.hpp"

#include <algorithm>
#include <utility>

namespace mizzen::inference::detail {
namespace {

// Symbols are numbered per graph: outside their own they say nothing.
std::optional<dims> without_symbols(std::optional<dims> shape) {
  if (!shape) return shape;
  for (std::int64_t& d : *shape) d = std::max(d, unknown_dim);
  return shape;
}

bool same_shape(const inferred& a, const inferred& b) {
  return a.kind == b.kind && a.shape == b.shape;
}

void check_count(const node& n, std::size_t have, std::size_t want, std::string_view of) {
  if (have == want) return;
  throw error(errc::invalid_argument, describe(n),
              "its body has " + std::to_string(have) + " " + std::string(of) + " where it needs " +
                  std::to_string(want));
}

std::vector<inferred> loop_inputs(const node& n, const graph& body, std::span<const inferred> in) {
  const std::size_t own = n.operator_inputs();
  const std::size_t carried = own > 2 ? own - 2 : 0;
  check_count(n, body.formal_inputs(), carried + 2, "inputs");
  if (body.outputs.size() < carried + 1 || n.outputs.size() + 1 > body.outputs.size()) {
    check_count(n, body.outputs.size(), std::max(carried, n.outputs.size()) + 1, "outputs");
  }
  std::vector<inferred> formal(carried + 2);
  formal[0] = {element_type::int64, dims{}};
  formal[1] = {element_type::boolean, dims{}};
  if (own > 1 && in[1].type != element_type::undefined) formal[1].shape = in[1].shape;
  for (std::size_t i = 0; i < carried; ++i) formal[i + 2] = in[i + 2];
  return settle(body, std::move(formal), 1, carried + 1, 0, in, describe(n));
}

std::vector<inferred> scan_inputs(const node& n, const graph& body, std::span<const inferred> in) {
  const scan_signature s(n);
  check_count(n, body.formal_inputs(), s.states + s.scanned, "inputs");
  if (body.outputs.size() < s.states || n.outputs.size() > body.outputs.size()) {
    check_count(n, body.outputs.size(), std::max(s.states, n.outputs.size()), "outputs");
  }
  std::vector<inferred> formal;
  for (std::size_t i = 0; i < s.states + s.scanned; ++i) {
    inferred one = in[i + s.first];
    one.known = nullptr;
    const bool scanned = i >= s.states;
    const std::size_t dropped = (s.batched ? 1U : 0U) + (scanned ? 1U : 0U);
    if (one.shape && one.shape->size() < dropped) {
      throw error(errc::invalid_argument, describe(n),
                  "input " + std::to_string(i + s.first) + " has too few dimensions");
    }
    if (one.shape && s.batched) {
      one.shape->erase(one.shape->begin(),
                       one.shape->begin() + static_cast<std::ptrdiff_t>(dropped));
    } else if (one.shape && scanned) {
      const std::size_t axis = s.input_axis(i - s.states, one.shape->size());
      one.shape->erase(one.shape->begin() + static_cast<std::ptrdiff_t>(axis));
    }
    formal.push_back(std::move(one));
  }
  return settle(body, std::move(formal), 0, s.states, 0, in, describe(n));
}

std::vector<inferred> map_inputs(const node& n, const graph& body, std::span<const inferred> in) {
  const std::size_t own = n.operator_inputs();
  check_count(n, body.formal_inputs(), own, "inputs");
  if (n.outputs.size() > body.outputs.size()) {
    check_count(n, body.outputs.size(), n.outputs.size(), "outputs");
  }
  std::vector<inferred> formal(in.begin(), in.begin() + static_cast<std::ptrdiff_t>(own));
  for (inferred& one : formal) {
    one.known = nullptr;
    if (one.kind == value_kind::sequence) one = {one.type, std::nullopt};
  }
  return formal;
}

}  // namespace

scan_signature::scan_signature(const node& n)
    : batched(n.opset < 9),
      first(batched ? 1 : 0),
      input_axes(n.attributes.get_ints("scan_input_axes")),
      input_reversed(n.attributes.get_ints(batched ? "directions" : "scan_input_directions")),
      output_axes(n.attributes.get_ints("scan_output_axes")),
      output_reversed(n.attributes.get_ints("scan_output_directions")),
      subject_(describe(n)) {
  const std::int64_t count = n.attributes.require_int("num_scan_inputs");
  const std::size_t own = n.operator_inputs();
  const std::size_t values = own - std::min(own, first);
  if (count < 1 || static_cast<std::uint64_t>(count) > values) {
    throw error(errc::invalid_argument, subject_, "num_scan_inputs does not fit its inputs");
  }
  scanned = static_cast<std::size_t>(count);
  states = values - scanned;
}

std::size_t scan_signature::axis(const std::vector<std::int64_t>& axes, std::size_t i,
                                 std::size_t rank) const {
  const std::int64_t value = i < axes.size() ? axes[i] : 0;
  const auto n = static_cast<std::int64_t>(rank);
  if (value < -n || value >= n) {
    throw error(errc::invalid_argument, subject_,
                "axis " + std::to_string(value) + " is outside rank " + std::to_string(rank));
  }
  return static_cast<std::size_t>(value < 0 ? value + n : value);
}

std::vector<inferred> body_inputs(const node& n, std::span<const inferred> in) {
  const auto body = n.attributes.require_graph("body");
  if (n.op_type == "Loop") return loop_inputs(n, *body, in);
  if (n.op_type == "Scan") return scan_inputs(n, *body, in);
  return map_inputs(n, *body, in);
}

graph specialise(const graph& body, std::span<const inferred> inputs) {
  graph g = body;
  for (std::size_t i = 0; i < g.inputs.size(); ++i) {
    value& v = g.values[g.inputs[i]];
    v.type = inputs[i].type;
    v.kind = inputs[i].kind;
    v.shape = without_symbols(inputs[i].shape);
    if (i >= g.formal_inputs() && inputs[i].known != nullptr) {
      // Owned by the graph around, which outlives this use.
      v.constant = std::shared_ptr<const tensor>(std::shared_ptr<void>(), inputs[i].known);
    }
  }
  infer_graph(g);
  return g;
}

std::vector<inferred> outputs_of(const graph& body) {
  std::vector<inferred> out;
  out.reserve(body.outputs.size());
  for (const value_id id : body.outputs) {
    const value& v = body.values[id];
    out.push_back({v.type, without_symbols(v.shape), nullptr, v.kind});
  }
  return out;
}

std::vector<inferred> inputs_of(const graph& body, std::vector<inferred> formal,
                                std::span<const inferred> node_inputs) {
  for (const std::size_t k : body.captures) formal.push_back(node_inputs[k]);
  return formal;
}

inferred common(const inferred& a, const inferred& b, std::string_view subject) {
  if (a.type != b.type) {
    throw error(errc::invalid_argument, subject,
                "it is " + std::string(to_string(a.type)) + " here and " +
                    std::string(to_string(b.type)) + " there");
  }
  inferred out = a;
  out.known = nullptr;
  if (a.kind != b.kind) {
    // An optional may stand for what it holds.
    const auto holds_sequence = [](value_kind k) {
      return k == value_kind::sequence || k == value_kind::optional_sequence;
    };
    if (holds_sequence(a.kind) != holds_sequence(b.kind)) {
      throw error(errc::invalid_argument, subject, "it is a tensor here and a sequence there");
    }
    out.kind = holds_sequence(a.kind) ? value_kind::optional_sequence : value_kind::optional_tensor;
    out.shape.reset();
    return out;
  }
  if (!a.shape || !b.shape || a.shape->size() != b.shape->size()) {
    out.shape.reset();
    return out;
  }
  for (std::size_t i = 0; i < out.shape->size(); ++i) {
    if ((*a.shape)[i] != (*b.shape)[i]) (*out.shape)[i] = unknown_dim;
  }
  return out;
}

std::vector<inferred> settle(const graph& body, std::vector<inferred> formal, std::size_t first,
                             std::size_t count, std::size_t first_output,
                             std::span<const inferred> node_inputs, std::string_view subject) {
  for (std::size_t i = first; i < first + count; ++i) {
    formal[i].known = nullptr;
    formal[i].shape = without_symbols(std::move(formal[i].shape));
  }
  // Dimensions that differ become unknown, and if that is not enough, whole shapes: loops in loops
  // would otherwise take many rounds of many rounds.
  for (int round = 0; count != 0; ++round) {
    const auto made = outputs_of(specialise(body, inputs_of(body, formal, node_inputs)));
    bool settled = true;
    for (std::size_t i = 0; i < count; ++i) {
      inferred& now = formal[first + i];
      inferred both = common(now, made[first_output + i], subject);
      if (same_shape(both, now)) continue;
      if (round > 0) both.shape.reset();
      now = std::move(both);
      settled = false;
    }
    if (settled) break;
  }
  return formal;
}

std::vector<inferred> facts_of(const graph& g, const node& n) {
  std::vector<inferred> facts(n.inputs.size());
  for (std::size_t i = 0; i < facts.size(); ++i) {
    if (n.inputs[i] == no_value) continue;
    const value& v = g.values[n.inputs[i]];
    facts[i] = {v.type, v.shape, v.constant.get(), v.kind};
  }
  return facts;
}

}  // namespace mizzen::inference::detail
