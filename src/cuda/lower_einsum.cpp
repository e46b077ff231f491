// Einsum of two operands: a product of matrices, for each combination of the labels that both
// operands and the result have.
#include "cuda/lower.hpp"

#include <algorithm>
#include <optional>
#include <string>

namespace mizzen::cuda {
namespace {

struct equation {
  std::string a, b, out;
  // Labels of both and of the result, of a and the result, of b and the result, of both alone.
  std::string batch, rows, columns, summed;
};

bool has_each_once(const std::string& labels) {
  return std::all_of(labels.begin(), labels.end(),
                     [&](char c) { return std::count(labels.begin(), labels.end(), c) == 1; });
}

// nullopt: nothing that is one product.
std::optional<equation> equation_of(const node& n) {
  std::string text = n.get_string("equation", "");
  std::erase(text, ' ');
  const auto comma = text.find(',');
  const auto arrow = text.find("->");
  const auto is_label = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  if (comma == std::string::npos || arrow == std::string::npos || arrow < comma)
    return std::nullopt;
  equation e;
  e.a = text.substr(0, comma);
  e.b = text.substr(comma + 1, arrow - comma - 1);
  e.out = text.substr(arrow + 2);
  for (const std::string* labels : {&e.a, &e.b, &e.out}) {
    if (!std::all_of(labels->begin(), labels->end(), is_label) || !has_each_once(*labels))
      return std::nullopt;
  }
  const auto has = [](const std::string& labels, char c) {
    return labels.find(c) != std::string::npos;
  };
  for (const char c : e.out) {
    if (!has(e.a, c) && !has(e.b, c)) return std::nullopt;
    (has(e.a, c) ? (has(e.b, c) ? e.batch : e.rows) : e.columns) += c;
  }
  for (const char c : e.a) {
    if (has(e.out, c)) continue;
    if (!has(e.b, c)) return std::nullopt;  // summed within one operand
    e.summed += c;
  }
  for (const char c : e.b) {
    if (!has(e.out, c) && !has(e.a, c)) return std::nullopt;
  }
  return e;
}

bool supports(const part& p, const node& n) {
  return n.inputs.size() == 2 && float_in(p, n, 0) && float_in(p, n, 1) && float_out(p, n) &&
         equation_of(n);
}

// The dimensions with these labels in their order.
view permuted(const view& v, const std::string& labels, const std::string& order) {
  view out = v;
  for (std::size_t d = 0; d < order.size(); ++d) {
    const std::size_t from = labels.find(order[d]);
    out.shape[d] = v.shape[from];
    out.strides[d] = v.strides[from];
  }
  return out;
}

void einsum(lowering& l, const node& n) {
  const value_id o = n.outputs[0];
  const equation e = *equation_of(n);
  const view a = l.in_memory(n.inputs[0]);
  const view b = l.in_memory(n.inputs[1]);
  if (a.shape.size() != e.a.size() || b.shape.size() != e.b.size()) {
    l.unsupported("operands of another rank than in its equation");
  }
  const auto size_of_label = [&](char c) {
    const std::size_t at = e.a.find(c);
    const std::int64_t own = at != std::string::npos ? a.shape[at] : b.shape[e.b.find(c)];
    const std::size_t other = e.b.find(c);
    if (other != std::string::npos && b.shape[other] != own) l.unsupported("a label of two sizes");
    return own;
  };
  const auto product_of = [&](const std::string& labels) {
    std::int64_t size = 1;
    for (const char c : labels) size *= size_of_label(c);
    return size;
  };
  const dims sizes = {product_of(e.batch), product_of(e.rows), product_of(e.columns)};
  const std::int64_t k = product_of(e.summed);
  const element_type type = l.storage(l.type(o));
  if (sizes[0] * sizes[1] * sizes[2] == 0) return l.set(o, l.allocate(l.shape(o), type));
  if (k == 0) l.unsupported("a sum over no elements");
  // As [batch, rows, summed] and [batch, summed, columns]; what strides cannot say is copied.
  const auto matrix = [&](const view& v, const dims& shape) {
    if (const auto same = reshaped(v, shape)) return *same;
    const view dense = l.allocate(v.shape, type);
    l.copy(v, dense);
    return *reshaped(dense, shape);
  };
  const view left = matrix(permuted(a, e.a, e.batch + e.rows + e.summed), {sizes[0], sizes[1], k});
  const view right =
      matrix(permuted(b, e.b, e.batch + e.summed + e.columns), {sizes[0], k, sizes[2]});
  dims made_shape;
  const std::string made_labels = e.batch + e.rows + e.columns;
  for (const char c : made_labels) made_shape.push_back(size_of_label(c));
  const view made = l.allocate(made_shape, type);
  multiply(l, left, right, made);
  l.set(o, permuted(made, made_labels, e.out));
}

}  // namespace

void add_einsum_rules(rule_table& table) { table["Einsum"] = {supports, einsum}; }

}  // namespace mizzen::cuda
