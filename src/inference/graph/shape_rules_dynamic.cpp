// Rules of the operators whose outputs only a run can tell the shapes of: control flow, sequences,
// optionals, strings, and the selection of elements by their values.
#include "inference/graph/shape_rules.hpp"
#include "inference/graph/subgraph.hpp"

#include <algorithm>
#include <limits>

namespace mizzen::inference::detail {
namespace {

constexpr std::size_t any_number = std::numeric_limits<std::size_t>::max();

std::optional<dims> copy_of(const dims* shape) {
  return shape != nullptr ? std::optional(*shape) : std::nullopt;
}

bool is_sequence(infer_context& c, std::size_t i) { return c.kind(i) == value_kind::sequence; }

void needs_sequence(infer_context& c, std::size_t i) {
  if (!is_sequence(c, i)) c.fail("input " + std::to_string(i) + " must be a sequence");
}

void needs_tensor(infer_context& c, std::size_t i) {
  if (c.has(i) && c.kind(i) != value_kind::tensor) {
    c.fail("input " + std::to_string(i) + " must be a tensor");
  }
}

void set_all(infer_context& c, std::size_t i, const inferred& one) {
  if (one.kind == value_kind::tensor) {
    c.set(i, one.type, one.shape);
  } else {
    c.set_kind(i, one.kind, one.type);
  }
}

void branch(infer_context& c) {
  if (c.type(0) != element_type::boolean) c.fail("its condition must be bool");
  needs_tensor(c, 0);
  std::vector<inferred> made[2];
  for (const std::size_t k : {0U, 1U}) {
    const auto body = c.attributes().require_graph(k == 0 ? "then_branch" : "else_branch");
    if (body->formal_inputs() != 0) c.fail("a branch has inputs");
    if (body->outputs.size() < c.output_count()) c.fail("a branch has too few outputs");
    made[k] = outputs_of(specialise(*body, inputs_of(*body, {}, c.every_input())));
  }
  for (std::size_t i = 0; i < c.output_count(); ++i) {
    set_all(c, i, common(made[0][i], made[1][i], "output " + std::to_string(i)));
  }
}

// Adds the dimension along which the values of all iterations are stacked.
inferred stacked(const inferred& one, std::size_t axis, std::int64_t count) {
  inferred out = one;
  if (out.shape) out.shape->insert(out.shape->begin() + static_cast<std::ptrdiff_t>(axis), count);
  return out;
}

void loop(infer_context& c) {
  needs_tensor(c, 0);
  needs_tensor(c, 1);
  if (c.has(0) && c.type(0) != element_type::int64) c.fail("its trip count must be int64");
  if (c.has(1) && c.type(1) != element_type::boolean) c.fail("its condition must be bool");
  const auto body = c.attributes().require_graph("body");
  const auto formal = body_inputs(c.n(), c.every_input());
  const auto made = outputs_of(specialise(*body, inputs_of(*body, formal, c.every_input())));
  if (made[0].type != element_type::boolean || made[0].kind != value_kind::tensor) {
    c.fail("the first output of its body must be bool");
  }
  const std::size_t carried = formal.size() - 2;
  for (std::size_t i = 0; i < c.output_count(); ++i) {
    if (i < carried) {
      // Without any iteration it is the initial value.
      set_all(c, i, common(formal[i + 2], made[i + 1], "output " + std::to_string(i)));
      // An optional that the body fills is what it is filled with.
      if (made[i + 1].kind == value_kind::sequence)
        c.set_kind(i, value_kind::sequence, made[i + 1].type);
    } else if (made[i + 1].kind != value_kind::tensor) {
      c.fail("only tensors can be collected over the iterations");
    } else {
      set_all(c, i, stacked(made[i + 1], 0, unknown_dim));
    }
  }
}

void scan(infer_context& c) {
  for (std::size_t i = 0; i < c.input_count(); ++i) needs_tensor(c, i);
  const auto body = c.attributes().require_graph("body");
  const scan_signature s(c.n());
  const auto formal = body_inputs(c.n(), c.every_input());
  const auto made = outputs_of(specialise(*body, inputs_of(*body, formal, c.every_input())));
  for (std::size_t i = 0; i < c.output_count(); ++i) {
    if (made[i].kind != value_kind::tensor) c.fail("its outputs must be tensors");
    inferred out =
        i < s.states ? common(formal[i], made[i], "output " + std::to_string(i)) : made[i];
    if (i >= s.states && out.shape) {
      const std::size_t axis = s.batched ? 0 : s.output_axis(i - s.states, out.shape->size() + 1);
      out = stacked(out, axis, unknown_dim);
    }
    if (s.batched) out = stacked(out, 0, unknown_dim);
    set_all(c, i, out);
  }
}

void sequence_map(infer_context& c) {
  needs_sequence(c, 0);
  const auto body = c.attributes().require_graph("body");
  const auto formal = body_inputs(c.n(), c.every_input());
  const auto made = outputs_of(specialise(*body, inputs_of(*body, formal, c.every_input())));
  for (std::size_t i = 0; i < c.output_count(); ++i) {
    if (made[i].kind != value_kind::tensor) c.fail("its body must make tensors");
    c.set_kind(i, value_kind::sequence, made[i].type);
  }
}

void identity(infer_context& c) {
  set_all(c, 0, {c.type(0), copy_of(c.shape(0)), nullptr, c.kind(0)});
}

void sequence_construct(infer_context& c) {
  for (std::size_t i = 0; i < c.input_count(); ++i) {
    needs_tensor(c, i);
    c.same_type({0, i});
  }
  c.set_kind(0, value_kind::sequence, c.type(0));
}

element_type element_attribute(infer_context& c, std::string_view name, std::int64_t fallback) {
  const auto type = static_cast<element_type>(c.attributes().get_int(name, fallback));
  if (to_string(type) == "undefined")
    c.fail("attribute '" + std::string(name) + "' is no element type");
  return type;
}

void sequence_empty(infer_context& c) {
  c.set_kind(0, value_kind::sequence, element_attribute(c, "dtype", 1));
}

void position(infer_context& c, std::size_t i) {
  needs_tensor(c, i);
  if (c.has(i) && c.type(i) != element_type::int64 && c.type(i) != element_type::int32) {
    c.fail("its position must be int32 or int64");
  }
}

void sequence_at(infer_context& c) {
  needs_sequence(c, 0);
  position(c, 1);
  c.set(0, c.type(0));
}

void sequence_insert(infer_context& c) {
  needs_sequence(c, 0);
  needs_tensor(c, 1);
  position(c, 2);
  c.same_type({0, 1});
  c.set_kind(0, value_kind::sequence, c.type(0));
}

void sequence_erase(infer_context& c) {
  needs_sequence(c, 0);
  position(c, 1);
  c.set_kind(0, value_kind::sequence, c.type(0));
}

void sequence_length(infer_context& c) {
  needs_sequence(c, 0);
  c.set(0, element_type::int64, dims{});
}

void split_to_sequence(infer_context& c) {
  needs_tensor(c, 0);
  position(c, 1);
  c.set_kind(0, value_kind::sequence, c.type(0));
}

void concat_from_sequence(infer_context& c) {
  needs_sequence(c, 0);
  c.attributes().require_int("axis");
  c.set(0, c.type(0));
}

void optional(infer_context& c) {
  element_type type = c.type(0);
  value_kind kind = c.kind(0);
  if (!c.has(0)) {
    type = element_attribute(c, "type", 0);
    const std::int64_t of = c.attributes().get_int("type.kind", 0);
    kind = of == static_cast<std::int64_t>(value_kind::sequence) ? value_kind::sequence
                                                                 : value_kind::tensor;
  }
  const bool sequence = kind == value_kind::sequence || kind == value_kind::optional_sequence;
  c.set_kind(0, sequence ? value_kind::optional_sequence : value_kind::optional_tensor, type);
}

void optional_get_element(infer_context& c) {
  if (c.kind(0) == value_kind::sequence || c.kind(0) == value_kind::optional_sequence) {
    return c.set_kind(0, value_kind::sequence, c.type(0));
  }
  c.set(0, c.type(0), copy_of(c.shape(0)));
}

void optional_has_element(infer_context& c) { c.set(0, element_type::boolean, dims{}); }

void non_zero(infer_context& c) {
  const dims* x = c.shape(0);
  c.set(0, element_type::int64,
        dims{x != nullptr ? static_cast<std::int64_t>(x->size()) : unknown_dim, unknown_dim});
}

void compress(infer_context& c) {
  if (c.type(1) != element_type::boolean) c.fail("its condition must be bool");
  c.rank_is(1, 1);
  if (!c.attributes().has("axis")) return c.set(0, c.type(0), dims{unknown_dim});
  const dims* x = c.shape(0);
  if (x == nullptr) return c.set(0, c.type(0));
  dims out = *x;
  out[c.axis(c.attributes().get_int("axis", 0), x->size())] = unknown_dim;
  c.set(0, c.type(0), out);
}

void unique(infer_context& c) {
  const dims* x = c.shape(0);
  std::optional<dims> out = dims{unknown_dim};
  if (c.attributes().has("axis")) {
    out = copy_of(x);
    if (out) (*out)[c.axis(c.attributes().get_int("axis", 0), out->size())] = unknown_dim;
  }
  c.set(0, c.type(0), out);
  for (const std::size_t i : {1U, 2U, 3U}) c.set(i, element_type::int64, dims{unknown_dim});
}

void non_max_suppression(infer_context& c) {
  for (const std::size_t i : {0U, 1U, 3U, 4U}) {
    if (c.has(i) && c.type(i) != element_type::float32) {
      c.fail("input " + std::to_string(i) + " must be float32");
    }
  }
  if (c.has(2) && c.type(2) != element_type::int64) {
    c.fail("max_output_boxes_per_class must be int64");
  }
  c.rank_is(0, 3);
  c.rank_is(1, 3);
  c.set(0, element_type::int64, dims{unknown_dim, 3});
}

void needs_strings(infer_context& c, std::size_t i) {
  if (c.type(i) != element_type::string) c.fail("input " + std::to_string(i) + " must be strings");
}

void string_concat(infer_context& c) {
  needs_strings(c, 0);
  needs_strings(c, 1);
  const dims* a = c.shape(0);
  const dims* b = c.shape(1);
  c.set(0, element_type::string,
        a != nullptr && b != nullptr ? std::optional(c.broadcast(*a, *b)) : std::nullopt);
}

void string_split(infer_context& c) {
  needs_strings(c, 0);
  std::optional<dims> parts = copy_of(c.shape(0));
  if (parts) parts->push_back(unknown_dim);
  c.set(0, element_type::string, std::move(parts));
  c.set(1, element_type::int64, copy_of(c.shape(0)));
}

void regex_full_match(infer_context& c) {
  needs_strings(c, 0);
  c.set(0, element_type::boolean, copy_of(c.shape(0)));
}

void string_normalizer(infer_context& c) {
  needs_strings(c, 0);
  const dims* x = c.shape(0);
  if (x == nullptr) return c.set(0, element_type::string);
  if (x->empty() || x->size() > 2 || (x->size() == 2 && x->front() > 1)) {
    c.fail("its input must be [C] or [1, C]");
  }
  c.set(0, element_type::string, x->size() == 1 ? dims{unknown_dim} : dims{1, unknown_dim});
}

}  // namespace

void add_dynamic_rules(shape_rule_table& table) {
  table["If"] = {1, 1, any_number, branch, true};
  table["Loop"] = {0, any_number, any_number, loop, true};
  table["Scan"] = {0, any_number, any_number, scan, true};
  table["SequenceMap"] = {1, any_number, any_number, sequence_map, true};
  table["Identity"] = {1, 1, 1, identity, true};
  table["SequenceConstruct"] = {1, any_number, 1, sequence_construct, true};
  table["SequenceEmpty"] = {0, 0, 1, sequence_empty, true};
  table["SequenceAt"] = {2, 2, 1, sequence_at, true};
  table["SequenceInsert"] = {2, 3, 1, sequence_insert, true};
  table["SequenceErase"] = {1, 2, 1, sequence_erase, true};
  table["SequenceLength"] = {1, 1, 1, sequence_length, true};
  table["SplitToSequence"] = {1, 2, 1, split_to_sequence, true};
  table["ConcatFromSequence"] = {1, 1, 1, concat_from_sequence, true};
  table["Optional"] = {0, 1, 1, optional, true};
  table["OptionalGetElement"] = {1, 1, 1, optional_get_element, true};
  table["OptionalHasElement"] = {0, 1, 1, optional_has_element, true};
  table["NonZero"] = {1, 1, 1, non_zero};
  table["Compress"] = {2, 2, 1, compress};
  table["Unique"] = {1, 1, 4, unique};
  table["NonMaxSuppression"] = {2, 5, 1, non_max_suppression};
  table["StringConcat"] = {2, 2, 1, string_concat};
  table["StringSplit"] = {1, 1, 2, string_split};
  table["RegexFullMatch"] = {1, 1, 1, regex_full_match};
  table["StringNormalizer"] = {1, 1, 1, string_normalizer};
}

}  // namespace mizzen::inference::detail
