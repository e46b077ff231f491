// Operators over rows: softmax, normalisation, reductions.
#include "cuda/kernel_sums.hpp"
#include "cuda/lower.hpp"

#include <algorithm>
#include <string>

namespace mizzen::cuda {
namespace {

using kind = row_operation::kind;

// Of an operator whose input may be computed on the way: what the row kernel reads.
expression_ptr input_of(lowering& l, value_id v) {
  expression_ptr e = l.read(v, l.shape(v));
  // A function wants each coordinate by itself, which merged loops do not have.
  return e->calls() || e->first_product() != nullptr ? load(l.in_memory(v)) : e;
}

const view* first_view(const expression& e) {
  if (e.what == expression::kind::load) return &e.from;
  for (const auto& operand : e.operands) {
    if (const view* v = first_view(*operand)) return v;
  }
  return nullptr;
}

void keep_shape(lowering& l, const node& n, const row_operation& op) {
  const value_id o = n.outputs[0];
  const expression_ptr e = input_of(l, n.inputs[0]);
  const view* like = first_view(*e);
  std::vector<std::size_t> order;
  if (like != nullptr && like->shape == l.shape(o)) order = physical_order(*like);
  const view out = l.allocate(l.shape(o), l.storage(l.type(o)), order);
  if (count_of(out.shape) != 0) l.add(row_kernel(op, out.shape, e, out, l.buffers()));
  l.set(o, out);
}

bool one_float(const part& p, const node& n) { return float_in(p, n, 0) && float_out(p, n); }

void softmax(lowering& l, const node& n) {
  const dims& shape = l.shape(n.outputs[0]);
  row_operation op;
  op.what = n.op_type == "Softmax" ? kind::softmax : kind::log_softmax;
  op.reduced.assign(shape.size(), false);
  const std::size_t axis = axis_of(n.get_int("axis", n.opset < 13 ? 1 : -1), shape.size());
  for (std::size_t d = 0; d < shape.size(); ++d) {
    // Before version 13 all from the axis on was one dimension.
    op.reduced[d] = n.opset < 13 ? d >= axis : d == axis;
  }
  keep_shape(l, n, op);
}

bool supports_layer_norm(const part& p, const node& n) {
  if (!float_in(p, n, 0) || !float_in(p, n, 1)) return false;
  if (n.has_input(2) && !float_in(p, n, 2)) return false;
  for (std::size_t i = 1; i < n.outputs.size(); ++i) {
    if (n.outputs[i] != no_value) return false;
  }
  return !n.outputs.empty() && n.outputs[0] != no_value && is_float(p.values[n.outputs[0]].type) &&
         n.get_int("stash_type", 1) == 1;
}

void layer_norm(lowering& l, const node& n) {
  const dims& shape = l.shape(n.outputs[0]);
  row_operation op;
  op.what = kind::layer_norm;
  op.epsilon = n.get_float("epsilon", 1e-5F);
  op.reduced.assign(shape.size(), false);
  for (std::size_t d = axis_of(n.get_int("axis", -1), shape.size()); d < shape.size(); ++d) {
    op.reduced[d] = true;
  }
  const auto per_element = [&](std::size_t i) {
    return load(broadcast(l.in_memory(n.inputs[i]), shape));
  };
  op.scale = per_element(1);
  if (n.has_input(2)) op.shift = per_element(2);
  keep_shape(l, n, op);
}

bool supports_rms_norm(const part& p, const node& n) {
  return float_in(p, n, 0) && float_in(p, n, 1) && float_out(p, n) &&
         n.get_int("stash_type", 1) == 1;
}

void rms_norm(lowering& l, const node& n) {
  const dims& shape = l.shape(n.outputs[0]);
  row_operation op;
  op.what = kind::rms_norm;
  op.epsilon = n.get_float("epsilon", 1e-5F);
  op.reduced.assign(shape.size(), false);
  for (std::size_t d = axis_of(n.get_int("axis", -1), shape.size()); d < shape.size(); ++d) {
    op.reduced[d] = true;
  }
  op.scale = load(broadcast(l.in_memory(n.inputs[1]), shape));
  keep_shape(l, n, op);
}

void reduce(lowering& l, const node& n, kind what, const std::vector<bool>& reduced,
            bool last = false) {
  const value_id o = n.outputs[0];
  const dims& in_shape = l.shape(n.inputs[0]);
  row_operation op;
  op.what = what;
  op.reduced = reduced;
  op.last = last;
  std::int64_t elements = 1;
  for (std::size_t d = 0; d < in_shape.size(); ++d) {
    if (reduced[d]) elements *= in_shape[d];
  }
  const element_type type = l.storage(l.type(o));
  const view out = l.allocate(l.shape(o), type);
  l.set(o, out);
  if (count_of(out.shape) == 0) return;
  if (elements == 0) l.unsupported("a reduction of no elements");
  const expression_ptr e = input_of(l, n.inputs[0]);
  const long_rows rows = plan_long_rows(in_shape, reduced, e, l.buffers());
  const view wide = rows.one_each(out.buffer, type);
  if (!has_chunks(what) || !rows.pays || (!rows.across && rows.chunks == 1)) {
    return l.add(row_kernel(op, in_shape, e, wide, l.buffers()));
  }
  if (rows.chunks == 1) return l.add(chunk_kernel(rows, {what}, e, wide, l.buffers()));
  const view chunks = l.allocate({rows.chunks, rows.rows}, element_type::float32);
  l.add(chunk_kernel(rows, {what}, e, rows.one_each(chunks.buffer, chunks.type), l.buffers()));
  op.reduced = {true, false};
  op.of = rows.elements;
  if (what == kind::l1 || what == kind::sum_square) op.what = kind::sum;
  l.add(row_kernel(op, chunks.shape, load(chunks), {out.buffer, type, 0, chunks.shape, {0, 1}},
                   l.buffers()));
}

const std::map<std::string_view, kind>& reductions() {
  static const std::map<std::string_view, kind> table = {
      {"ReduceL1", kind::l1},          {"ReduceL2", kind::l2},
      {"ReduceLogSum", kind::log_sum}, {"ReduceLogSumExp", kind::log_sum_exp},
      {"ReduceMax", kind::max},        {"ReduceMean", kind::mean},
      {"ReduceMin", kind::min},        {"ReduceProd", kind::product},
      {"ReduceSum", kind::sum},        {"ReduceSumSquare", kind::sum_square}};
  return table;
}

void reduce_axes(lowering& l, const node& n) {
  const std::size_t rank = l.shape(n.inputs[0]).size();
  dims axes = n.get_ints("axes");
  if (n.has_input(1)) {
    const auto given = l.from().ints(n.inputs[1]);
    if (!given) l.unsupported("axes that are no constants");
    axes = *given;
  }
  if (axes.empty() && n.get_int("noop_with_empty_axes", 0) != 0) {
    return l.set(n.outputs[0], l.read(n.inputs[0], l.shape(n.inputs[0])));
  }
  std::vector<bool> reduced(rank, axes.empty());
  for (const std::int64_t a : axes) reduced[axis_of(a, rank)] = true;
  reduce(l, n, reductions().at(n.op_type), reduced);
}

bool supports_arg(const part& p, const node& n) {
  return float_in(p, n, 0) && n.outputs.size() == 1 && n.outputs[0] != no_value;
}

void arg_row(lowering& l, const node& n) {
  const dims& shape = l.shape(n.inputs[0]);
  if (shape.empty()) l.unsupported("a scalar");
  const std::size_t axis = axis_of(n.get_int("axis", 0), shape.size());
  if (shape[axis] >= std::int64_t{1} << 24) l.unsupported("more than 2^24 elements");
  std::vector<bool> reduced(shape.size(), false);
  reduced[axis] = true;
  reduce(l, n, n.op_type == "ArgMax" ? kind::arg_max : kind::arg_min, reduced,
         n.get_int("select_last_index", 0) != 0);
}

void global_pool(lowering& l, const node& n) {
  std::vector<bool> reduced(l.shape(n.inputs[0]).size(), true);
  reduced[0] = reduced[1] = false;
  reduce(l, n, n.op_type == "GlobalAveragePool" ? kind::mean : kind::max, reduced);
}

}  // namespace

void add_row_rules(rule_table& table) {
  table["Softmax"] = {one_float, softmax};
  table["LogSoftmax"] = {one_float, softmax};
  table["LayerNormalization"] = {supports_layer_norm, layer_norm};
  table["RMSNormalization"] = {supports_rms_norm, rms_norm};
  table["ArgMax"] = {supports_arg, arg_row};
  table["ArgMin"] = {supports_arg, arg_row};
  for (const auto& [name, what] : reductions()) table[name] = {one_float, reduce_axes};
  table["GlobalAveragePool"] = {one_float, global_pool};
  table["GlobalMaxPool"] = {one_float, global_pool};
}

}  // namespace mizzen::cuda
