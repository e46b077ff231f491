#include "cuda/lower_attention.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>

namespace mizzen::cuda {
namespace {

// A condition that replaces scores by more than this does not hide them.
constexpr float hides = -1e4F;

std::optional<float> number_of(const part& p, value_id v) {
  if (v == no_value || p.values[v].constant == nullptr) return std::nullopt;
  const value& known = p.values[v];
  if (count_of(*known.shape) != 1) return std::nullopt;
  if (known.type == element_type::float32) return p.scalar(v);
  std::uint16_t bits = 0;
  std::memcpy(&bits, known.constant, sizeof bits);
  std::uint32_t wide = 0;
  if (known.type == element_type::bfloat16) {
    wide = static_cast<std::uint32_t>(bits) << 16U;
  } else if (known.type == element_type::float16) {
    const std::uint32_t exponent = bits >> 10U & 31U;
    if (exponent == 0) return std::nullopt;  // 0 or close to it
    wide = (bits & 0x8000U) << 16U | (bits & 1023U) << 13U |
           (exponent == 31 ? 0x7f800000U : (exponent + 112U) << 23U);
  } else {
    return std::nullopt;
  }
  float f = 0;
  std::memcpy(&f, &wide, sizeof f);
  return f;
}

class finder {
 public:
  explicit finder(const lowering& l) : l_(l), p_(l.from()) {}

  attention_plan run() {
    attention_plan plan;
    for (const node& n : p_.nodes) {
      inner_.clear();
      auto found = match(n);
      if (!found || !asks(*found)) continue;
      plan.ends.emplace(&n, std::move(*found));
      plan.inner.insert(inner_.begin(), inner_.end());
    }
    return plan;
  }

 private:
  // What makes the value, where nothing else uses it.
  const node* only(value_id v, std::string_view op) const {
    if (v == no_value || l_.uses(v) != 1) return nullptr;
    const node* n = l_.producer(v);
    return n != nullptr && n->domain.empty() && n->op_type == op ? n : nullptr;
  }

  // Through a conversion between floats, which changes no more than the precision.
  value_id through_casts(value_id v) {
    while (const node* cast = only(v, "Cast")) {
      if (!float_in(p_, *cast, 0) || !float_out(p_, *cast)) break;
      inner_.push_back(cast);
      v = cast->inputs[0];
    }
    return v;
  }

  // x · c or x / c -> x, and the factor.
  std::optional<std::pair<value_id, float>> scaled(value_id v) {
    const node* n = only(v, "Mul");
    const bool divides = n == nullptr;
    if (divides) n = only(v, "Div");
    if (n == nullptr) return std::nullopt;
    for (const std::size_t i : {std::size_t{1}, std::size_t{0}}) {
      if (divides && i == 0) break;
      const auto c = number_of(p_, n->inputs[i]);
      const value_id x = n->inputs[1 - i];
      if (!c || *c == 0.0F || l_.shape(x) != l_.shape(v)) continue;
      inner_.push_back(n);
      return std::pair{x, divides ? 1 / *c : *c};
    }
    return std::nullopt;
  }

  attention_match::operand operand(value_id v, float& scale) {
    attention_match::operand o{v, {}};
    for (;;) {
      if (const auto s = scaled(o.of)) {
        scale *= s->second;
        o.of = s->first;
        continue;
      }
      const node* n = only(o.of, "Transpose");
      if (n == nullptr) return o;
      dims turn = n->get_ints("perm");
      if (turn.size() != l_.shape(o.of).size()) return o;
      inner_.push_back(n);
      o.turns.push_back(std::move(turn));
      o.of = n->inputs[0];
    }
  }

  std::optional<attention_match> match(const node& n) {
    if (!n.domain.empty() || n.op_type != "MatMul" || !float_out(p_, n)) return std::nullopt;
    const node* softmax = only(through_casts(n.inputs[0]), "Softmax");
    if (softmax == nullptr) return std::nullopt;
    attention_match m;
    m.scores = l_.shape(softmax->outputs[0]);
    const std::size_t rank = m.scores.size();
    if (rank < 2 || rank > 4) return std::nullopt;
    const auto axis = softmax->get_int("axis", softmax->opset < 13 ? 1 : -1);
    if (axis_of(axis, rank) != rank - 1) return std::nullopt;
    inner_.push_back(softmax);
    m.v = n.inputs[1];
    m.out = n.outputs[0];
    const node* product = scores(softmax->inputs[0], m);
    if (product == nullptr || !float_in(p_, *product, 0) || !float_in(p_, *product, 1)) {
      return std::nullopt;
    }
    // The same batches and heads everywhere.
    dims outer(m.scores.begin(), m.scores.end() - 2);
    const auto fits = [&](value_id v, std::int64_t rows, std::int64_t columns) {
      dims wanted = outer;
      wanted.push_back(rows);
      wanted.push_back(columns);
      return l_.shape(v) == wanted;
    };
    const dims& k = l_.shape(product->inputs[1]);
    const dims& v = l_.shape(m.v);
    if (k.size() < 2 || v.size() < 2 || l_.shape(product->outputs[0]) != m.scores) {
      return std::nullopt;
    }
    const std::int64_t depth = k[k.size() - 2];
    if (!fits(product->inputs[0], m.scores[rank - 2], depth) ||
        !fits(product->inputs[1], depth, m.scores[rank - 1]) ||
        !fits(m.v, m.scores[rank - 1], v.back()) || depth == 0 || count_of(m.scores) == 0 ||
        v.back() == 0) {
      return std::nullopt;
    }
    m.q = operand(product->inputs[0], m.scale);
    m.k = operand(product->inputs[1], m.scale);
    return m;
  }

  // From what the softmax takes back to the first product; null: something else is between.
  const node* scores(value_id v, attention_match& m) {
    v = through_casts(v);
    if (l_.shape(v) != m.scores) return nullptr;
    if (const node* product = only(v, "MatMul")) {
      inner_.push_back(product);
      return product;
    }
    if (const auto s = scaled(v)) {
      m.scale *= s->second;
      return scores(s->first, m);
    }
    if (const node* add = only(v, "Add")) {
      for (const std::size_t i : {std::size_t{0}, std::size_t{1}}) {
        if (const node* product = through(add, i, {add->inputs[1 - i], m.scale}, m)) return product;
      }
    }
    if (const node* where = only(v, "Where")) {
      for (const std::size_t i : {std::size_t{1}, std::size_t{2}}) {
        const auto low = number_of(p_, where->inputs[3 - i]);
        if (!low || *low > hides) continue;
        const attention_match::mask mask{where->inputs[0], m.scale, true, i == 1, *low};
        if (const node* product = through(where, i, mask, m)) return product;
      }
    }
    return nullptr;
  }

  // One way out of several: what a way that ends nowhere found is forgotten.
  const node* through(const node* n, std::size_t i, attention_match::mask mask,
                      attention_match& m) {
    if (!float_in(p_, *n, i)) return nullptr;
    const attention_match before = m;
    const std::size_t count = inner_.size();
    inner_.push_back(n);
    m.masks.push_back(mask);
    if (const node* product = scores(n->inputs[i], m)) return product;
    m = before;
    inner_.resize(count);
    return nullptr;
  }

  bool asks(const attention_match& m) const {
    const auto wide = [&](dims shape) {
      shape.insert(shape.begin(), 4 - shape.size(), 1);
      return shape;
    };
    attention_step s;
    s.type = l_.storage(l_.type(m.out));
    const dims scores = wide(m.scores);
    const std::int64_t depth = depth_of(m);
    s.q.shape = {scores[0], scores[1], scores[2], depth};
    s.k.shape = {scores[0], scores[1], scores[3], depth};
    s.v.shape = wide(l_.shape(m.v));
    s.has_mask = !m.masks.empty();
    s.scale = m.scale;
    return takes(l_, s);
  }

  std::int64_t depth_of(const attention_match& m) const {
    dims shape = l_.shape(m.k.of);
    for (std::size_t i = m.k.turns.size(); i-- > 0;) {
      dims turned;
      for (const std::int64_t d : m.k.turns[i])
        turned.push_back(shape[static_cast<std::size_t>(d)]);
      shape = turned;
    }
    return shape[shape.size() - 2];
  }

  const lowering& l_;
  const part& p_;
  std::vector<const node*> inner_;
};

view turned(view v, const std::vector<dims>& turns) {
  for (std::size_t i = turns.size(); i-- > 0;) {
    view to = v;
    for (std::size_t d = 0; d < turns[i].size(); ++d) {
      to.shape[d] = v.shape[static_cast<std::size_t>(turns[i][d])];
      to.strides[d] = v.strides[static_cast<std::size_t>(turns[i][d])];
    }
    v = to;
  }
  return v;
}

view with_four(view v) {
  while (v.shape.size() < 4) {
    v.shape.insert(v.shape.begin(), 1);
    v.strides.insert(v.strides.begin(), 0);
  }
  return v;
}

// All masks as one that is added, of as few elements as they have. Numbers too low for the type are
// its lowest: a row of which all is hidden has weights all the same.
view joined_masks(lowering& l, const attention_match& m, element_type type) {
  dims shape(m.scores.size(), 1);
  for (const auto& mask : m.masks) {
    const dims& own = l.shape(mask.of);
    for (std::size_t d = 0; d < own.size(); ++d) {
      auto& to = shape[shape.size() - own.size() + d];
      to = std::max(to, own[d]);
    }
  }
  expression_ptr all;
  for (const auto& mask : m.masks) {
    expression_ptr one = l.read(mask.of, shape);
    if (mask.is_condition) {
      const std::string low = float_text(mask.low);
      one = operation(
          mask.keeps ? "($0 != 0.0f ? 0.0f : " + low + ")" : "($0 != 0.0f ? " + low + " : 0.0f)",
          {one});
    }
    if (mask.factor != 1) one = operation("$0 * " + float_text(mask.factor), {one});
    all = all ? operation("$0 + $1", {all, one}) : one;
  }
  all = operation("fmaxf($0, " + float_text(lowest_of(type)) + ")", {all});
  const view made = l.allocate(shape, type);
  l.add(map_kernel(all, made, l.buffers()));
  return made;
}

}  // namespace

// Dimensions of one element have a stride as if they had more.
view as_operand(lowering& l, view v, element_type type) {
  const std::int64_t unit = 16 / static_cast<std::int64_t>(size_of(type));
  bool fits = v.type == type && is_aligned(v) && (v.strides[3] == 1 || v.shape[3] == 1);
  for (std::size_t d = 0; d < 3; ++d) {
    fits = fits && (v.shape[d] == 1 || (v.strides[d] > 0 && v.strides[d] % unit == 0));
  }
  if (!fits) {
    const view made = l.allocate(v.shape, type, {0, 2, 1, 3});
    l.copy(v, made);
    return made;
  }
  v.strides[3] = 1;
  std::int64_t extent = v.shape[3];
  for (const std::size_t d : {2, 1, 0}) {
    if (v.shape[d] == 1) v.strides[d] = (extent + unit - 1) / unit * unit;
    extent = std::max(extent, v.strides[d] * v.shape[d]);
  }
  return v;
}

bool takes(const lowering& l, attention_step s) {
  if (!l.on().takes || s.type == element_type::float32) return false;
  const auto tensor = [&](std::size_t buffer, const dims& shape) {
    return view{buffer, s.type, 0, shape, dense_strides(shape, {0, 2, 1, 3})};
  };
  s.q = tensor(0, s.q.shape);
  s.k = tensor(1, s.k.shape);
  s.v = tensor(2, s.v.shape);
  s.out = tensor(3, {s.q.shape[0], s.q.shape[1], s.q.shape[2], s.v.shape[3]});
  const dims scores = {s.q.shape[0], s.q.shape[1], s.q.shape[2], s.k.shape[2]};
  if (s.has_mask) s.mask = {4, s.type, 0, scores, dense_strides(scores)};
  return l.on().takes(s);
}

float lowest_of(element_type type) noexcept {
  return type == element_type::float16 ? -65504.0F : -3.3e38F;
}

attention_plan find_attention(const lowering& l) { return finder(l).run(); }

void lower_attention(lowering& l, const attention_match& m) {
  attention_step s;
  s.type = l.storage(l.type(m.out));
  s.scale = m.scale;
  s.q = as_operand(l, with_four(turned(l.in_memory(m.q.of), m.q.turns)), s.type);
  view k = with_four(turned(l.in_memory(m.k.of), m.k.turns));
  std::swap(k.shape[2], k.shape[3]);
  std::swap(k.strides[2], k.strides[3]);
  s.k = as_operand(l, k, s.type);
  s.v = as_operand(l, with_four(l.in_memory(m.v)), s.type);
  s.has_mask = !m.masks.empty();
  if (s.has_mask) {
    s.mask = with_four(joined_masks(l, m, s.type));
    s.mask = broadcast(s.mask, {s.q.shape[0], s.q.shape[1], s.q.shape[2], s.k.shape[2]});
  }
  // Heads beside each other, as what joins them wants it.
  s.out =
      l.allocate({s.q.shape[0], s.q.shape[1], s.q.shape[2], s.v.shape[3]}, s.type, {0, 2, 1, 3});
  view out = s.out;
  const std::size_t extra = 4 - l.shape(m.out).size();
  out.shape.erase(out.shape.begin(), out.shape.begin() + static_cast<std::ptrdiff_t>(extra));
  out.strides.erase(out.strides.begin(), out.strides.begin() + static_cast<std::ptrdiff_t>(extra));
  l.add(std::move(s));
  l.set(m.out, out);
}

}  // namespace mizzen::cuda
