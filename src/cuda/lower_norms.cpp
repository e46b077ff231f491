// Normalisation over rows that may be whole volumes: their moments first, then an expression that
// what follows joins.
#include "cuda/kernel_sums.hpp"
#include "cuda/lower.hpp"

#include <algorithm>
#include <string>

namespace mizzen::cuda {
namespace {

// Computed twice rather than stored once, where it is little.
constexpr std::size_t most_loads_twice = 3;

expression_ptr readable_twice(lowering& l, value_id v) {
  const expression_ptr e = l.read(v, l.shape(v));
  const bool simple =
      !e->calls() && e->first_product() == nullptr && e->loads() <= most_loads_twice;
  return simple ? e : load(l.in_memory(v));
}

struct moments {
  expression_ptr mean, factor;  // factor: 1 / sqrt(variance + epsilon)
};

moments moments_of(lowering& l, const long_rows& rows, const expression_ptr& e, float epsilon) {
  const view chunks = l.allocate({2, rows.chunks, rows.rows}, element_type::float32);
  l.add(chunk_kernel(rows, {row_operation::kind::sum, true}, e,
                     rows.one_each(chunks.buffer, chunks.type), l.buffers()));
  const view made = l.allocate({2, rows.rows}, element_type::float32);
  l.add(moments_kernel(rows, epsilon, chunks.buffer, made, l.buffers()));
  return {load(rows.one_each(made.buffer, made.type)),
          load(rows.one_each(made.buffer, made.type, rows.rows))};
}

expression_ptr normalised(const expression_ptr& e, const moments& m, const expression_ptr& scale,
                          const expression_ptr& shift) {
  return operation("($0 - $1) * $2 * $3 + $4", {e, m.mean, m.factor, scale, shift});
}

bool supports_norm(const part& p, const node& n) {
  return float_in(p, n, 0) && float_in(p, n, 1) && float_in(p, n, 2) && float_out(p, n);
}

void instance_norm(lowering& l, const node& n) {
  const value_id o = n.outputs[0];
  const dims& shape = l.shape(o);
  if (count_of(shape) == 0) return l.set(o, l.allocate(shape, l.storage(l.type(o))));
  const float epsilon = n.get_float("epsilon", 1e-5F);
  std::vector<bool> reduced(shape.size(), true);
  reduced[0] = reduced[1] = false;
  dims channels(shape.size() - 1, 1);
  channels[0] = shape[1];
  const auto per_channel = [&](std::size_t i) {
    return load(broadcast(*reshaped(l.in_memory(n.inputs[i]), channels), shape));
  };
  const expression_ptr scale = per_channel(1);
  const expression_ptr shift = per_channel(2);
  const expression_ptr e = readable_twice(l, n.inputs[0]);
  const long_rows rows = plan_long_rows(shape, reduced, e, l.buffers());
  if (rows.pays) return l.set(o, normalised(e, moments_of(l, rows, e, epsilon), scale, shift));
  row_operation op;
  op.what = row_operation::kind::layer_norm;
  op.epsilon = epsilon;
  op.reduced = reduced;
  op.scale = scale;
  op.shift = shift;
  const view out = l.allocate(shape, l.storage(l.type(o)));
  l.add(row_kernel(op, shape, e, out, l.buffers()));
  l.set(o, out);
}

bool supports_group_norm(const part& p, const node& n) {
  return supports_norm(p, n) && n.get_int("num_groups", 0) > 0 && n.get_int("stash_type", 1) == 1;
}

// As an instance normalisation of [N, groups, channels of a group, …].
void group_norm(lowering& l, const node& n) {
  const value_id o = n.outputs[0];
  const dims& shape = l.shape(o);
  const element_type type = l.storage(l.type(o));
  if (count_of(shape) == 0) return l.set(o, l.allocate(shape, type));
  const std::int64_t groups = n.get_int("num_groups", 1);
  const std::int64_t channels = shape[1];
  if (channels % groups != 0) l.unsupported("groups that do not divide the channels");
  dims apart = shape;
  apart[1] = channels / groups;
  apart.insert(apart.begin() + 1, groups);
  const view x = l.in_memory(n.inputs[0]);
  const expression_ptr e = load(*reshaped(x, apart));
  std::vector<bool> reduced(apart.size(), true);
  reduced[0] = reduced[1] = false;
  // Before version 21 there was one for each group.
  const auto scale_of = [&](std::size_t i) {
    const view v = l.in_memory(n.inputs[i]);
    dims own(apart.size() - 1, 1);
    own[0] = groups;
    if (v.shape[0] == channels) own[1] = channels / groups;
    return load(broadcast(*reshaped(v, own), apart));
  };
  const expression_ptr scale = scale_of(1);
  const expression_ptr shift = scale_of(2);
  const long_rows rows = plan_long_rows(apart, reduced, e, l.buffers());
  const moments m = moments_of(l, rows, e, n.get_float("epsilon", 1e-5F));
  const view out = l.allocate(shape, type, physical_order(x));
  l.add(map_kernel(normalised(e, m, scale, shift), *reshaped(out, apart), l.buffers()));
  l.set(o, out);
}

}  // namespace

void add_norm_rules(rule_table& table) {
  table["InstanceNormalization"] = {supports_norm, instance_norm};
  table["GroupNormalization"] = {supports_group_norm, group_norm};
}

}  // namespace mizzen::cuda
