#include "cuda/lower_shared_products.hpp"

#include "cuda/kernel_gemv.hpp"

#include <algorithm>
#include <utility>

namespace mizzen::cuda {
namespace {

constexpr std::int64_t unit = 8;  // columns of a member, so that each begins at 16 bytes of float16

// All rows of the left operand, whatever dimensions they have.
std::int64_t rows_of(const lowering& l, value_id v) {
  const dims& shape = l.shape(v);
  return count_of(dims(shape.begin(), shape.end() - 1));
}

class finder {
 public:
  explicit finder(const lowering& l) : l_(l), users_(l.from().values.size()) {
    for (const node& n : l.from().nodes) {
      for (const value_id v : n.inputs) {
        if (v != no_value) users_[v].push_back(&n);
      }
    }
  }

  shared_products run(const attention_plan& attention) const {
    std::map<value_id, std::vector<std::pair<const node*, shared_product::member>>> by_input;
    for (const node& n : l_.from().nodes) {
      if (attention.inner.contains(&n) || attention.ends.contains(&n)) continue;
      if (is_product(n)) by_input[n.inputs[0]].emplace_back(&n, member_of(n));
    }
    shared_products found;
    for (auto& [input, list] : by_input) {
      std::erase_if(list, [&](const auto& m) { return goes_on(m.second.out); });
      if (list.size() < 2) continue;
      shared_product s;
      s.of = input;
      const node* first = list.front().first;
      for (auto& [n, m] : list) {
        found.inner.insert(n);
        if (m.out != n->outputs[0]) found.inner.insert(users_[n->outputs[0]].front());
        s.members.push_back(m);
      }
      found.inner.erase(first);
      found.begins.emplace(first, std::move(s));
    }
    return found;
  }

 private:
  bool is_product(const node& n) const {
    if (n.op_type != "MatMul" || !n.domain.empty() || n.inputs.size() != 2) return false;
    if (!float_in(l_.from(), n, 0) || !float_in(l_.from(), n, 1) || !float_out(l_.from(), n)) {
      return false;
    }
    const value& w = l_.from().values[n.inputs[1]];
    if (w.constant == nullptr || w.shape->size() != 2 || l_.shape(n.inputs[0]).size() < 2) {
      return false;
    }
    if (l_.type(n.inputs[0]) != w.type || l_.from().values[n.inputs[0]].constant != nullptr) {
      return false;
    }
    gemm_step g;
    g.type = l_.storage(w.type);
    g.tf32 = l_.tf32();
    g.m = rows_of(l_, n.inputs[0]);
    g.k = (*w.shape)[0];
    g.n = (*w.shape)[1];
    return g.m * g.k * g.n != 0 && g.n % unit == 0 && !is_gemv(g);
  }

  // With the addition of a constant behind it, where that is all that uses it.
  shared_product::member member_of(const node& n) const {
    const value_id product = n.outputs[0];
    shared_product::member m{n.inputs[1], no_value, product};
    if (l_.uses(product) != 1 || users_[product].size() != 1) return m;
    const node& next = *users_[product].front();
    if (next.op_type != "Add" || !next.domain.empty() || next.inputs.size() != 2) return m;
    const value_id other = next.inputs[next.inputs[0] == product ? 1 : 0];
    if (other == no_value || other == product) return m;
    const value& bias = l_.from().values[other];
    const std::int64_t columns = l_.shape(product).back();
    if (bias.constant == nullptr || !is_float(bias.type) || bias.shape->empty() ||
        bias.shape->back() != columns || count_of(*bias.shape) != columns ||
        l_.shape(next.outputs[0]) != l_.shape(product)) {
      return m;
    }
    m.bias = other;
    m.out = next.outputs[0];
    return m;
  }

  // A product that its activation could join is better by itself.
  bool goes_on(value_id v) const {
    if (l_.uses(v) != 1 || users_[v].size() != 1) return false;
    const std::string& op = users_[v].front()->op_type;
    return op == "Relu" || op == "Gelu";
  }

  const lowering& l_;
  std::vector<std::vector<const node*>> users_;  // by value
};

// Some columns of a matrix, in the shape of a member's result.
view columns_of(const view& whole, std::int64_t first, const dims& shape) {
  view v = whole;
  v.offset += first;
  v.shape = shape;
  dims rows(shape.begin(), shape.end() - 1);
  v.strides = dense_strides(rows);
  for (std::int64_t& stride : v.strides) stride *= whole.shape.back();
  v.strides.push_back(1);
  return v;
}

}  // namespace

shared_products find_shared_products(const lowering& l, const attention_plan& attention) {
  return finder(l).run(attention);
}

void lower_shared_product(lowering& l, const shared_product& s) {
  gemm_step g;
  g.type = l.storage(l.type(s.of));
  g.tf32 = l.tf32();
  g.m = rows_of(l, s.of);
  g.k = l.shape(s.of).back();
  for (const auto& m : s.members) {
    g.n += l.shape(m.weights).back();
    g.has_bias = g.has_bias || m.bias != no_value;
  }
  const view a = l.in_memory(s.of);
  const auto rows = reshaped(a, {g.m, g.k});
  if (rows) {
    g.a = as_matrix(l, *rows, g.type);
  } else {
    const view dense = l.allocate(a.shape, g.type);
    l.copy(a, dense);
    g.a = as_matrix(l, *reshaped(dense, {g.m, g.k}), g.type);
  }
  // From constants alone: done once, by setup.
  const view weights = l.allocate({g.k, g.n}, g.type);
  const view bias = g.has_bias ? l.allocate({g.n}, g.type) : view{};
  const view out = l.allocate({g.m, g.n}, g.type);
  std::int64_t first = 0;
  for (const auto& m : s.members) {
    const dims& shape = l.shape(m.weights);
    l.copy(l.in_memory(m.weights), columns_of(weights, first, shape));
    if (g.has_bias) {
      const view to = columns_of(bias, first, {shape[1]});
      if (m.bias != no_value) {
        l.copy(*reshaped(l.in_memory(m.bias), {shape[1]}), to);
      } else {
        l.add(map_kernel(operation("0.0f", {}), to, l.buffers()));
      }
    }
    l.set(m.out, columns_of(out, first, l.shape(m.out)));
    first += shape[1];
  }
  g.b = as_matrix(l, weights, g.type);
  if (g.has_bias) g.bias_buffer = bias.buffer;
  g.out = {out.buffer, 0, g.m * g.n, g.n, false};
  l.add(std::move(g));
}

}  // namespace mizzen::cuda
