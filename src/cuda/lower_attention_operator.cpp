// ONNX's own Attention: with a cache, causality, fewer heads of keys than of queries. One step
// where the GPU has it, else its products and the softmax between them.
#include "cuda/lower_attention.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

namespace mizzen::cuda {
namespace {

constexpr std::size_t mask_input = 3, past_key = 4, past_value = 5, lengths_input = 6;

bool supports(const part& p, const node& n) {
  if (n.inputs.size() < 3 || n.outputs.empty() || n.outputs[0] == no_value) return false;
  const element_type type = p.values[n.outputs[0]].type;
  if (!is_float(type)) return false;
  for (const std::size_t i :
       {std::size_t{0}, std::size_t{1}, std::size_t{2}, past_key, past_value}) {
    if (i < 3 && !n.has_input(i)) return false;
    if (n.has_input(i) && p.values[n.inputs[i]].type != type) return false;
  }
  if (n.has_input(mask_input)) {
    const element_type mask = p.values[n.inputs[mask_input]].type;
    if (!is_float(mask) && mask != element_type::boolean) return false;
  }
  const auto& q = p.values[n.inputs[0]].shape;
  const bool by_rows = q && q->size() == 3;
  if (!q || (by_rows && (n.get_int("q_num_heads", 0) <= 0 || n.get_int("kv_num_heads", 0) <= 0))) {
    return false;
  }
  const bool shows_scores = n.outputs.size() > 3 && n.outputs[3] != no_value;
  return n.has_input(past_key) == n.has_input(past_value) && !n.has_input(lengths_input) &&
         !shows_scores && n.get_int("left_window_size", -1) < 0 &&
         n.get_int("right_window_size", -1) < 0;
}

// [batch, rows, heads * depth] or [batch, heads, rows, depth] as the latter.
view by_head(lowering& l, value_id v, std::int64_t heads) {
  const view have = l.in_memory(v);
  if (have.shape.size() == 4) return have;
  const dims shape = {have.shape[0], have.shape[1], heads, have.shape[2] / heads};
  auto split = reshaped(have, shape);
  if (!split) {
    const view dense = l.allocate(have.shape, l.storage(l.type(v)));
    l.copy(have, dense);
    split = reshaped(dense, shape);
  }
  std::swap(split->shape[1], split->shape[2]);
  std::swap(split->strides[1], split->strides[2]);
  return *split;
}

// What was there before and what is new, as one.
view with_past(lowering& l, const node& n, const view& fresh, std::size_t input,
               element_type type) {
  if (!n.has_input(input)) return fresh;
  const view past = l.in_memory(n.inputs[input]);
  dims shape = fresh.shape;
  shape[2] += past.shape[2];
  const view all = l.allocate(shape, type);
  view to = all;
  to.shape = past.shape;
  l.copy(past, to);
  to.shape = fresh.shape;
  to.offset += past.shape[2] * all.strides[2];
  l.copy(fresh, to);
  return all;
}

// What the mask and causality add to the scores, of as few elements as it has.
view added(lowering& l, const node& n, const dims& scores, std::int64_t past, bool causal,
           element_type type, float low) {
  dims shape = {1, 1, causal ? scores[2] : 1, scores[3]};
  std::string body;
  std::vector<std::size_t> arguments;
  if (causal)
    body += "  if (c3 > c2 + " + std::to_string(past) + ") return " + float_text(low) + ";\n";
  if (n.has_input(mask_input)) {
    view mask = l.in_memory(n.inputs[mask_input]);
    while (mask.shape.size() < 4) {
      mask.shape.insert(mask.shape.begin(), 1);
      mask.strides.insert(mask.strides.begin(), 0);
    }
    std::string index = std::to_string(mask.offset);
    for (std::size_t d = 0; d < 4; ++d) {
      if (mask.shape[d] == 1 && d < 3) continue;
      shape[d] = std::max(shape[d], mask.shape[d]);
      index += " + (INDEX)c" + std::to_string(d) + " * " + std::to_string(mask.strides[d]);
    }
    // Keys behind the mask's end are hidden.
    body += "  if (c3 >= " + std::to_string(mask.shape[3]) + ") return " + float_text(low) + ";\n";
    const bool says = l.type(n.inputs[mask_input]) == element_type::boolean;
    body += "  const float m = read(a0, " + index + ");\n  return ";
    body += says ? "m != 0.0f ? 0.0f : " + float_text(low) : "fmaxf(m, " + float_text(low) + ")";
    body += ";\n";
    arguments = {mask.buffer};
  } else {
    body += "  return 0.0f;\n";
  }
  const view made = l.allocate(shape, type);
  l.add(map_kernel(call(body, arguments), made, l.buffers()));
  return broadcast(made, scores);
}

// The rows of all heads that share a head of keys are those of one matrix.
view grouped(lowering& l, const view& v, std::int64_t kv_heads) {
  if (v.shape[1] == kv_heads) return v;
  const dims shape = {v.shape[0], kv_heads, v.shape[1] / kv_heads * v.shape[2], v.shape[3]};
  if (const auto same = reshaped(v, shape)) return *same;
  const view dense = l.allocate(v.shape, v.type);
  l.copy(v, dense);
  return *reshaped(dense, shape);
}

view step_by_step(lowering& l, const attention_step& s, float softcap) {
  const std::int64_t kv_heads = s.k.shape[1];
  view keys = s.k;
  std::swap(keys.shape[2], keys.shape[3]);
  std::swap(keys.strides[2], keys.strides[3]);
  const dims shape = {s.q.shape[0], s.q.shape[1], s.q.shape[2], s.k.shape[2]};
  const view product = multiply(l, grouped(l, s.q, kv_heads), keys, s.type);
  const view scores = *reshaped(product, shape);
  expression_ptr e = operation("$0 * " + float_text(s.scale), {load(scores)});
  if (softcap != 0) {
    e = operation(float_text(softcap) + " * tanhf($0 / " + float_text(softcap) + ")", {e});
  }
  if (s.has_mask) e = operation("$0 + $1", {e, load(s.mask)});
  row_operation softmax;
  softmax.what = row_operation::kind::softmax;
  softmax.reduced = {false, false, false, true};
  const view weights = l.allocate(shape, s.type);
  l.add(row_kernel(softmax, shape, e, weights, l.buffers()));
  const view out = multiply(l, grouped(l, weights, kv_heads), s.v, s.type);
  return *reshaped(out, {shape[0], shape[1], shape[2], s.v.shape[3]});
}

void attention(lowering& l, const node& n) {
  const value_id o = n.outputs[0];
  attention_step s;
  s.type = l.storage(l.type(o));
  const std::int64_t kv_heads = n.get_int("kv_num_heads", 0);
  s.q = by_head(l, n.inputs[0], n.get_int("q_num_heads", 0));
  const std::int64_t past = n.has_input(past_key) ? l.shape(n.inputs[past_key])[2] : 0;
  s.k = with_past(l, n, by_head(l, n.inputs[1], kv_heads), past_key, s.type);
  s.v = with_past(l, n, by_head(l, n.inputs[2], kv_heads), past_value, s.type);
  if (n.outputs.size() > 1 && n.outputs[1] != no_value) l.set(n.outputs[1], s.k);
  if (n.outputs.size() > 2 && n.outputs[2] != no_value) l.set(n.outputs[2], s.v);
  const dims scores = {s.q.shape[0], s.q.shape[1], s.q.shape[2], s.k.shape[2]};
  const bool by_rows = l.shape(o).size() == 3;
  if (count_of(l.shape(o)) == 0) return l.set(o, l.allocate(l.shape(o), s.type));
  if (count_of(scores) == 0 || s.q.shape[3] == 0) l.unsupported("attention to no keys");
  s.scale =
      n.has("scale") ? n.get_float("scale", 1) : 1 / std::sqrt(static_cast<float>(s.q.shape[3]));
  const float softcap = n.get_float("softcap", 0);
  // One query that comes last sees all.
  const bool causal = n.get_int("is_causal", 0) != 0 && scores[3] - 1 > past;
  const auto join = [&](const view& out) {
    // [batch, heads, rows, depth], or the heads beside each other.
    if (!by_rows) return l.set(o, out);
    const view rows = l.allocate(l.shape(o), s.type);
    view to = *reshaped(rows, {scores[0], scores[2], scores[1], s.v.shape[3]});
    std::swap(to.shape[1], to.shape[2]);
    std::swap(to.strides[1], to.strides[2]);
    l.copy(out, to);
    l.set(o, rows);
  };
  if (softcap == 0 && s.type != element_type::float32 && l.on().takes) {
    attention_step whole = s;
    whole.causal = causal && past == 0 && !n.has_input(mask_input);
    whole.has_mask = n.has_input(mask_input) || (causal && !whole.causal);
    if (takes(l, whole)) {
      whole.q = as_operand(l, s.q, s.type);
      whole.k = as_operand(l, s.k, s.type);
      whole.v = as_operand(l, s.v, s.type);
      if (whole.has_mask) whole.mask = added(l, n, scores, past, causal, s.type, lowest_of(s.type));
      view out = l.allocate({scores[0], scores[1], scores[2], s.v.shape[3]}, s.type, {0, 2, 1, 3});
      whole.out = out;
      l.add(std::move(whole));
      if (by_rows) {
        out.shape = l.shape(o);
        out.strides = dense_strides(out.shape);
      }
      return l.set(o, out);
    }
  }
  s.has_mask = n.has_input(mask_input) || causal;
  if (s.has_mask) {
    s.mask = added(l, n, scores, past, causal, element_type::float32,
                   -std::numeric_limits<float>::infinity());
  }
  join(step_by_step(l, s, softcap));
}

}  // namespace

void add_attention_rules(rule_table& table) { table["Attention"] = {supports, attention}; }

}  // namespace mizzen::cuda
