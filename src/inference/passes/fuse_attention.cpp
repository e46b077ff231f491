// softmax(scale Q K^T + mask) V, with the Reshape and Transpose nodes that split rows into heads
// and join them again, as PyTorch's exporters write it, becomes one node:
//
//   mizzen.Attention(q, k, v, mask?, shapes that the rows were reshaped to …)
//
// Keys and values may also be [batch, heads, rows, depth], as a cache keeps them.
// Scores that a condition replaces by a very low number get that number added: by a node before.
//
// q, k and v are rows [batch, rows, columns]; a head's columns begin at q_offset + head * depth
// (and so on). The shapes, which are computed at run time, are kept to be checked there.
#include "inference/graph/constant_memory.hpp"
#include "inference/graph/precision.hpp"
#include "inference/passes/matcher.hpp"
#include "inference/passes/passes.hpp"

#include <algorithm>
#include <cstring>
#include <optional>
#include <vector>

namespace mizzen::inference::detail {
namespace {

// The elements of a shape operand; unknown_dim where only a run can tell.
std::vector<std::int64_t> elements_of(const matcher& m, value_id v) {
  const auto& constant = m.g().values[v].constant;
  if (constant && constant->type() == element_type::int64) {
    return {constant->data<std::int64_t>().begin(), constant->data<std::int64_t>().end()};
  }
  std::vector<std::int64_t> all;
  const node* concat = m.made_by(v, "Concat");
  if (concat == nullptr) return all;
  for (const value_id part : concat->inputs) {
    const auto& known = m.g().values[part].constant;
    const auto& shape = m.g().values[part].shape;
    if (known && known->type() == element_type::int64) {
      all.insert(all.end(), known->data<std::int64_t>().begin(), known->data<std::int64_t>().end());
    } else if (shape && shape->size() == 1 && shape->front() == 1) {
      all.push_back(unknown_dim);
    } else {
      return {};
    }
  }
  return all;
}

// False if a reshape of these rows certainly changes their first two dimensions.
bool may_keep_rows(const std::vector<std::int64_t>& to, const dims& rows) {
  return (to[0] <= 0 || to[0] == rows[0]) && (to[1] <= 0 || to[1] == rows[1]);
}

// Rows [batch, rows, heads * depth] seen as heads: all columns of `rows`, or those from an offset
// on.
struct head_split {
  value_id rows = no_value;
  value_id shape = no_value;  // the operand of Reshape: [batch, rows, heads, depth]
  std::int64_t heads = 0;
  std::int64_t depth = 0;
  std::int64_t offset = 0;
  bool by_head = false;  // rows are [batch, heads, rows, depth] already
};

// Columns of one product that a Split cut out: what was cut, and where they begin.
struct columns {
  value_id of = no_value;
  std::int64_t offset = 0;
};
columns match_columns(const matcher& m, value_id v) {
  const graph& g = m.g();
  const std::size_t at = m.index().producer[v];
  if (at == graph_index::none) return {v, 0};
  const node& n = g.nodes[at];
  if (!n.domain.empty() || !n.post_ops.empty() || n.op_type != "Split") return {v, 0};
  const auto& whole = g.values[n.inputs[0]].shape;
  if (!whole || whole->size() != 3) return {v, 0};
  const std::int64_t axis = n.attributes.get_int("axis", 0);
  if (axis != 2 && axis != -1) return {v, 0};
  std::int64_t offset = 0;
  for (const value_id part : n.outputs) {
    if (part == v) return {n.inputs[0], offset};
    // One that nobody wants has no shape to go by.
    if (part == no_value || !g.values[part].shape || g.values[part].shape->back() < 0) break;
    offset += g.values[part].shape->back();
  }
  return {v, 0};
}

const node* transposed(const matcher& m, value_id v, std::vector<std::int64_t> perm) {
  const node* n = m.made_by(v, "Transpose");
  return n != nullptr && n->attributes.get_ints("perm") == perm ? n : nullptr;
}

const node* plain_reshape(const matcher& m, value_id v) {
  const node* n = m.made_by(v, "Reshape");
  return n != nullptr && n->attributes.get_int("allowzero", 0) == 0 ? n : nullptr;
}

std::optional<head_split> match_split(const matcher& m, const node* transpose) {
  if (transpose == nullptr) return std::nullopt;
  const node* reshape = plain_reshape(m, transpose->inputs[0]);
  if (reshape == nullptr) return std::nullopt;
  const auto& rows = m.g().values[reshape->inputs[0]].shape;
  if (!rows || rows->size() != 3 || rows->back() <= 0) return std::nullopt;
  const auto to = elements_of(m, reshape->inputs[1]);
  if (to.size() != 4 || !may_keep_rows(to, *rows)) return std::nullopt;
  const columns from = match_columns(m, reshape->inputs[0]);
  head_split s{from.of, reshape->inputs[1], to[2], to[3], from.offset};
  // One of the two may be left to Reshape, which works it out.
  const auto* constant = m.g().values[s.shape].constant.get();
  if (constant != nullptr && s.heads == -1 && s.depth > 0) s.heads = rows->back() / s.depth;
  if (constant != nullptr && s.depth == -1 && s.heads > 0) s.depth = rows->back() / s.heads;
  if (s.heads <= 0 || s.depth <= 0 || s.heads * s.depth != rows->back()) return std::nullopt;
  return s;
}

// Queries, keys and values stacked: rows [batch, rows, 3 * heads * depth] reshaped to [batch, rows,
// 3, heads, depth] and transposed to [3, batch, heads, rows, depth], of which a Gather picks one.
// Where the number of rows is known and kept, so is the batch.
std::optional<head_split> match_stacked(const matcher& m, value_id v) {
  const graph& g = m.g();
  const node* pick = m.made_by(v, "Gather");
  if (pick == nullptr || pick->attributes.get_int("axis", 0) != 0) return std::nullopt;
  const auto& index = g.values[pick->inputs[1]].constant;
  if (!index || index->type() != element_type::int64 || index->rank() != 0) return std::nullopt;
  const node* apart = transposed(m, pick->inputs[0], {2, 0, 3, 1, 4});
  const node* reshape = apart == nullptr ? nullptr : plain_reshape(m, apart->inputs[0]);
  if (reshape == nullptr) return std::nullopt;
  const auto& rows = g.values[reshape->inputs[0]].shape;
  const auto to = elements_of(m, reshape->inputs[1]);
  if (!rows || rows->size() != 3 || to.size() != 5) return std::nullopt;
  const auto keeps = [&](std::size_t i) {
    return to[i] == 0 || (to[i] > 0 && to[i] == (*rows)[i]);
  };
  if (!keeps(0) && !keeps(1)) return std::nullopt;
  const bool fits = to[2] > 0 && to[3] > 0 && to[4] > 0 && to[3] <= max_dimension / to[4] &&
                    to[2] <= max_dimension / (to[3] * to[4]) &&
                    to[2] * to[3] * to[4] == rows->back();
  std::int64_t at = index->data<std::int64_t>()[0];
  if (at < 0) at += to[2];
  if (!fits || at < 0 || at >= to[2]) return std::nullopt;
  return head_split{reshape->inputs[0], no_value, to[3], to[4], at * to[3] * to[4]};
}

// A value [batch, heads, rows, depth] from elsewhere: keys and values that a cache keeps, say.
std::optional<head_split> match_heads(const matcher& m, value_id v) {
  const auto& shape = m.g().values[v].shape;
  if (!shape || shape->size() != 4 || (*shape)[1] < 1 || (*shape)[3] < 1) return std::nullopt;
  head_split s;
  s.rows = v;
  s.heads = (*shape)[1];
  s.depth = (*shape)[3];
  s.by_head = true;
  return s;
}

// x times or divided by a constant scalar -> x; the factor is multiplied into scale.
value_id strip_scale(const matcher& m, value_id v, float& scale) {
  for (const char* const op : {"Mul", "Div"}) {
    const node* n = m.made_by(v, op);
    if (n == nullptr || !m.single_use(v)) continue;
    for (const std::size_t i : {std::size_t{1}, std::size_t{0}}) {
      const auto c = constant_scalar(m.g(), n->inputs[i]);
      const auto& shape = m.g().values[n->inputs[i]].shape;
      // A scalar of more dimensions than the other operand would change the rank.
      if (!c || *c == 0.0F || !shape || shape->size() > 4) continue;
      if (op[0] == 'D') {
        if (i == 0) continue;
        scale /= *c;
      } else {
        scale *= *c;
      }
      return n->inputs[1 - i];
    }
  }
  return v;
}

// Scores that a condition replaces by a number so low that its weight is 0.
struct condition {
  value_id of = no_value;
  float low = 0;
  bool keeps = true;  // the scores where it is true, or where it is false
};

struct attention_match {
  head_split q, k, v;
  value_id mask = no_value;
  condition where;
  value_id joined = no_value;
  float scale = 1;
};

// scale Q K^T -> true, with q, k and scale filled in.
bool match_scores(const matcher& m, value_id scores, attention_match& found) {
  float scale = 1;
  const value_id product = strip_scale(m, scores, scale);
  const node* n = m.made_by(product, "MatMul");
  if (n == nullptr || !m.single_use(scores) || !m.single_use(product)) return false;
  const value_id left = strip_scale(m, n->inputs[0], scale);
  auto q = match_split(m, transposed(m, left, {0, 2, 1, 3}));
  if (!q) q = match_stacked(m, left);
  const value_id right = strip_scale(m, n->inputs[1], scale);
  auto k = match_split(m, transposed(m, right, {0, 2, 3, 1}));
  if (const node* outer = k ? nullptr : transposed(m, right, {0, 1, 3, 2})) {
    const value_id by_head = strip_scale(m, outer->inputs[0], scale);
    k = match_split(m, transposed(m, by_head, {0, 2, 1, 3}));
    if (!k) k = match_stacked(m, by_head);
    if (!k) k = match_heads(m, by_head);
  }
  if (!q || !k || q->heads != k->heads || q->depth != k->depth) return false;
  found.q = *q;
  found.k = *k;
  found.scale = scale;
  return true;
}

// Where(condition, scores, low) in both orders -> scores. Adding the low number then does the same:
// no score that is a number changes it by a digit.
value_id strip_where(const matcher& m, value_id v, condition& found) {
  const node* n = m.made_by(v, "Where");
  if (n == nullptr || !m.single_use(v)) return v;
  const auto& shape = m.g().values[n->inputs[0]].shape;
  if (!shape || shape->size() > 4) return v;
  for (const std::size_t i : {std::size_t{1}, std::size_t{2}}) {
    const auto low = constant_scalar(m.g(), n->inputs[3 - i]);
    if (!low || *low > -1e30F) continue;
    found = {n->inputs[0], *low, i == 1};
    return n->inputs[i];
  }
  return v;
}

std::optional<attention_match> match_attention(const matcher& m, const node& join) {
  if (join.op_type != "Reshape" || join.attributes.get_int("allowzero", 0) != 0) {
    return std::nullopt;
  }
  const node* back = transposed(m, join.inputs[0], {0, 2, 1, 3});
  const node* weighted = back == nullptr ? nullptr : m.made_by(back->inputs[0], "MatMul");
  const node* softmax = weighted == nullptr ? nullptr : m.made_by(weighted->inputs[0], "Softmax");
  if (softmax == nullptr || !m.single_use(join.inputs[0]) || !m.single_use(back->inputs[0]) ||
      !m.single_use(weighted->inputs[0])) {
    return std::nullopt;
  }
  const std::int64_t axis = softmax->attributes.get_int("axis", softmax->opset < 13 ? 1 : -1);
  if (axis != -1 && axis != 3) return std::nullopt;
  attention_match found;
  auto v = match_split(m, transposed(m, weighted->inputs[1], {0, 2, 1, 3}));
  if (!v) v = match_stacked(m, weighted->inputs[1]);
  if (!v) v = match_heads(m, weighted->inputs[1]);
  if (!v) return std::nullopt;
  found.v = *v;
  found.joined = join.inputs[1];
  const auto to = elements_of(m, found.joined);
  if (to.size() != 3) return std::nullopt;
  const bool infers = to[2] == -1 && m.g().values[found.joined].constant;
  if (to[2] != v->heads * v->depth && !infers) return std::nullopt;
  const value_id scores = softmax->inputs[0];
  if (m.g().values[scores].type != element_type::float32) return std::nullopt;
  bool matched = match_scores(m, strip_where(m, scores, found.where), found);
  if (!matched) found.where = {};
  if (const node* add = matched ? nullptr : m.made_by(scores, "Add")) {
    for (const auto& [product, mask] : matcher::operands(*add)) {
      const auto& shape = m.g().values[mask].shape;
      if (!shape || shape->size() > 4 || !m.single_use(scores)) continue;
      if (!match_scores(m, strip_where(m, product, found.where), found)) {
        found.where = {};
        continue;
      }
      found.mask = mask;
      matched = true;
      break;
    }
  }
  if (!matched || found.q.heads != found.v.heads) return std::nullopt;
  if (!may_keep_rows(to, *m.g().values[found.q.rows].shape)) return std::nullopt;
  return found;
}

// x W + bias, both constant: a projection that nothing else uses. Of quantised weights there are
// also scales and, perhaps, zeros.
struct projection {
  value_id x = no_value;
  value_id weights = no_value;
  value_id bias = no_value;
  value_id scales = no_value;
  value_id zeros = no_value;
  bool bf16 = false;
};

// MatMul, or its quantised form.
const node* product_of(const matcher& m, value_id v) {
  if (const node* n = m.made_by(v, "MatMul")) return n;
  const std::size_t at = v == no_value ? graph_index::none : m.index().producer[v];
  if (at == graph_index::none) return nullptr;
  const node& n = m.g().nodes[at];
  const bool quantised =
      n.domain == "mizzen" && n.op_type == "DynamicQuantizedMatMul" && n.post_ops.empty();
  return quantised ? &n : nullptr;
}

std::optional<projection> match_projection(const matcher& m, value_id v) {
  const auto constant_of_rank = [&](value_id c, std::size_t rank) {
    const value& given = m.g().values[c];
    return given.constant && given.constant->rank() == rank;
  };
  if (!m.single_use(v)) return std::nullopt;
  projection p;
  const node* product = product_of(m, v);
  if (const node* add = product == nullptr ? m.made_by(v, "Add") : nullptr) {
    for (const auto& [sum, bias] : matcher::operands(*add)) {
      if (!constant_of_rank(bias, 1) || !m.single_use(sum)) continue;
      product = product_of(m, sum);
      p.bias = bias;
    }
  }
  if (product == nullptr || !constant_of_rank(product->inputs[1], 2)) return std::nullopt;
  p.x = product->inputs[0];
  p.weights = product->inputs[1];
  p.bf16 = asks_bf16(*product);
  if (!product->domain.empty()) {
    p.scales = product->inputs[2];
    p.zeros = product->inputs[3];
  }
  const std::int64_t columns = m.g().values[p.weights].constant->shape()[1];
  if (p.bias != no_value && m.g().values[p.bias].constant->shape()[0] != columns) {
    return std::nullopt;
  }
  return p;
}

// Side by side: [rows, a], [rows, b] … -> [rows, a + b …]. Vectors are one row.
tensor side_by_side(const graph& g, const std::vector<value_id>& parts) {
  const tensor& first = *g.values[parts.front()].constant;
  const bool matrix = first.rank() == 2;
  const std::int64_t rows = matrix ? first.shape()[0] : 1;
  std::int64_t columns = 0;
  for (const value_id v : parts) columns += g.values[v].constant->shape().back();
  tensor all =
      make_constant(first.type(), matrix ? shape_type{rows, columns} : shape_type{columns});
  std::byte* to = all.mutable_bytes().data();
  for (std::int64_t r = 0; r < rows; ++r) {
    for (const value_id v : parts) {
      const tensor& t = *g.values[v].constant;
      const auto n = byte_size(t.type(), static_cast<std::size_t>(t.shape().back()));
      std::memcpy(to, t.bytes().data() + static_cast<std::size_t>(r) * n, n);
      to += n;
    }
  }
  return all;
}

// The same of vectors that may also be one number for all columns of their matrix.
template <class T>
tensor spread(const graph& g, const std::vector<value_id>& parts,
              const std::vector<value_id>& matrices) {
  std::vector<T> all;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const auto given = g.values[parts[i]].constant->data<T>();
    const auto n = static_cast<std::size_t>(g.values[matrices[i]].constant->shape()[1]);
    for (std::size_t c = 0; c < n; ++c) all.push_back(given.size() == 1 ? given[0] : given[c]);
  }
  const auto count = static_cast<std::int64_t>(all.size());
  return tensor::copy(all, {count});
}

value_id add_result(graph& g, std::string name) {
  value v;
  v.name = std::move(name);
  v.type = element_type::float32;
  return g.add_value(std::move(v));
}

class rewriter {
 public:
  rewriter(graph& g, pass_context& context) : g_(g), context_(context) {}

  void rewrite(const matcher& m, std::size_t at, const attention_match& found) {
    replacement r;
    r.at = at;
    node n;
    const node& join = g_.nodes[at];
    n.name = join.name;
    n.op_type = "Attention";
    n.domain = "mizzen";
    n.opset = 1;
    n.inputs = {found.q.rows,  found.k.rows,  found.v.rows,  found.mask,
                found.q.shape, found.k.shape, found.v.shape, found.joined};
    n.outputs = join.outputs;
    n.attributes.set("heads", found.q.heads);
    n.attributes.set("depth", found.q.depth);
    n.attributes.set("width", found.v.depth);
    n.attributes.set("scale", found.scale);
    n.attributes.set("q_offset", found.q.offset);
    n.attributes.set("k_offset", found.k.offset);
    n.attributes.set("v_offset", found.v.offset);
    r.where = found.where;
    const bool apart = found.q.rows != found.k.rows && found.k.rows != found.v.rows &&
                       found.q.rows != found.v.rows && !found.k.by_head && !found.v.by_head;
    if (apart) r.projections = same_input(m, found);
    r.attention = std::move(n);
    found_.push_back(std::move(r));
  }

  // The matcher's view of the graph is no longer valid after this.
  bool apply() {
    std::vector<node> nodes;
    auto next = found_.begin();
    for (std::size_t i = 0; i < g_.nodes.size(); ++i) {
      if (next == found_.end() || next->at != i) {
        nodes.push_back(std::move(g_.nodes[i]));
        continue;
      }
      merge(*next, nodes);
      add_condition(*next, nodes);
      nodes.push_back(std::move(next->attention));
      ++next;
    }
    g_.nodes = std::move(nodes);
    return !found_.empty();
  }

 private:
  struct replacement {
    std::size_t at = 0;
    node attention;
    std::vector<projection> projections;  // of one input: can be one product
    condition where;
  };

  // What the condition adds becomes the mask, or a part of it.
  void add_condition(replacement& r, std::vector<node>& nodes) {
    if (r.where.of == no_value) return;
    const std::string name = r.attention.name;
    const value_id low = add_constant(g_, name + ".low", tensor::scalar(r.where.low));
    const value_id zero = add_constant(g_, name + ".zero", tensor::scalar(0.0F));
    node where;
    where.name = name + ".condition";
    where.op_type = "Where";
    where.opset = 9;
    where.inputs = {r.where.of, r.where.keeps ? zero : low, r.where.keeps ? low : zero};
    value_id mask = add_result(g_, name + ".added");
    where.outputs = {mask};
    nodes.push_back(std::move(where));
    if (r.attention.inputs[3] != no_value) {
      node add;
      add.name = name + ".mask";
      add.op_type = "Add";
      add.opset = 14;
      add.inputs = {mask, r.attention.inputs[3]};
      mask = add_result(g_, name + ".masks");
      add.outputs = {mask};
      nodes.push_back(std::move(add));
    }
    r.attention.inputs[3] = mask;
  }

  // Of one type, and each part there for both or for none.
  bool same_form(const projection& a, const projection& b) const {
    return g_.values[a.weights].type == g_.values[b.weights].type &&
           (a.bias == no_value) == (b.bias == no_value) &&
           (a.scales == no_value) == (b.scales == no_value) &&
           (a.zeros == no_value) == (b.zeros == no_value);
  }

  std::vector<projection> same_input(const matcher& m, const attention_match& found) {
    std::vector<projection> all;
    std::size_t bytes = 0;
    for (const value_id rows : {found.q.rows, found.k.rows, found.v.rows}) {
      const auto p = match_projection(m, rows);
      if (!p || (!all.empty() && (p->x != all[0].x || p->bf16 != all[0].bf16 ||
                                  (p->bias == no_value) != (all[0].bias == no_value)))) {
        return {};
      }
      // Else the weights would exist twice.
      if (m.index().consumers[p->weights].size() != 1) return {};
      bytes += g_.values[p->weights].constant->bytes().size();
      all.push_back(*p);
    }
    if (bytes > context_.budget) return {};
    context_.budget -= bytes;
    return all;
  }

  // One product with the weights side by side.
  void merge(replacement& r, std::vector<node>& nodes) {
    if (r.projections.empty()) return;
    const std::string name = r.attention.name;
    const auto gather = [&](auto member) {
      std::vector<value_id> parts;
      for (const projection& p : r.projections) parts.push_back(p.*member);
      return parts;
    };
    const auto parts = gather(&projection::weights);
    const value_id weights = add_constant(g_, name + ".weights", side_by_side(g_, parts));
    value_id scales = no_value;
    value_id zeros = no_value;
    if (r.projections[0].scales != no_value) {
      scales =
          add_constant(g_, name + ".scales", spread<float>(g_, gather(&projection::scales), parts));
    }
    if (r.projections[0].zeros != no_value) {
      const auto given = gather(&projection::zeros);
      zeros = add_constant(g_, name + ".zeros",
                           g_.values[parts[0]].type == element_type::int8
                               ? spread<std::int8_t>(g_, given, parts)
                               : spread<std::uint8_t>(g_, given, parts));
    }
    std::int64_t offset = 0;
    const char* const offsets[] = {"q_offset", "k_offset", "v_offset"};
    for (std::size_t i = 0; i < parts.size(); ++i) {
      r.attention.attributes.set(offsets[i], offset);
      offset += g_.values[parts[i]].constant->shape().back();
      g_.values[parts[i]].constant.reset();
    }
    value_id rows = add_result(g_, name + ".rows");
    node product;
    product.name = name + ".projections";
    product.op_type = "MatMul";
    product.opset = 13;
    product.inputs = {r.projections[0].x, weights};
    if (scales != no_value) {
      product.op_type = "DynamicQuantizedMatMul";
      product.domain = "mizzen";
      product.opset = 1;
      product.inputs.push_back(scales);
      product.inputs.push_back(zeros);
    }
    product.outputs = {rows};
    if (r.projections[0].bf16) ask_bf16(product);
    nodes.push_back(std::move(product));
    if (r.projections[0].bias != no_value) {
      const value_id bias =
          add_constant(g_, name + ".bias", side_by_side(g_, gather(&projection::bias)));
      node add;
      add.name = name + ".biased";
      add.op_type = "Add";
      add.opset = 14;
      add.inputs = {rows, bias};
      rows = add_result(g_, name + ".biased_rows");
      add.outputs = {rows};
      nodes.push_back(std::move(add));
    }
    for (std::size_t i = 0; i < 3; ++i) r.attention.inputs[i] = rows;
  }

  graph& g_;
  pass_context& context_;
  std::vector<replacement> found_;
};

}  // namespace

bool fuse_attention(graph& g, pass_context& context) {
  const matcher m(g);
  rewriter rewrites(g, context);
  for (std::size_t i = 0; i < g.nodes.size(); ++i) {
    const node& n = g.nodes[i];
    if (!n.domain.empty() || !n.post_ops.empty() || n.op_type != "Reshape") continue;
    if (const auto found = match_attention(m, n)) rewrites.rewrite(m, i, *found);
  }
  return rewrites.apply();
}

}  // namespace mizzen::inference::detail
