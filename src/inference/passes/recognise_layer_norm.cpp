#include "inference/passes/patterns.hpp"

#include <string>

namespace mizzen::inference::detail {
namespace {

const node* is_op(const matcher& m, value_id v, std::string_view op, std::size_t inputs) {
  const node* n = m.made_by(v, op);
  return n != nullptr && n->inputs.size() == inputs ? n : nullptr;
}

bool same_shape(const matcher& m, value_id a, value_id b) {
  const auto& left = m.g().values[a].shape;
  const auto& right = m.g().values[b].shape;
  if (!left || !right || left->size() != right->size()) return false;
  for (std::size_t i = 0; i < left->size(); ++i) {
    if ((*left)[i] != (*right)[i] || (*left)[i] == unknown_dim) return false;
  }
  return true;
}

// What a value was before its dimensions of 1 came or went.
value_id without_views(const matcher& m, value_id v) {
  for (int i = 0; i < 4; ++i) {
    const node* view = nullptr;
    for (const char* const op : {"Reshape", "Unsqueeze", "Squeeze", "Identity"}) {
      if (view == nullptr) view = m.made_by(v, op);
    }
    if (view == nullptr) return v;
    v = view->inputs[0];
  }
  return v;
}

// Statistics of x over one dimension. Where they are combined with x their shape is that of x with
// 1 for the dimension, whatever views stand between.
class statistics {
 public:
  statistics(const matcher& m, value_id x, std::size_t axis) : m_(m), x_(x), axis_(axis) {}

  // Whether v broadcasts along the dimension, and along no other.
  bool lies_beside_x(value_id v) const {
    const auto& x = m_.g().values[x_].shape;
    const auto& have = m_.g().values[v].shape;
    if (!x || !have || have->size() != x->size()) return false;
    for (std::size_t i = 0; i < x->size(); ++i) {
      if (i == axis_ ? (*have)[i] != 1 : (*have)[i] != (*x)[i] || (*x)[i] == unknown_dim) {
        return false;
      }
    }
    return true;
  }

  bool is_mean(value_id v) const {
    return is_mean_of(v, [&](value_id of) { return of == x_; });
  }

  // mean((x - mean)^2), or mean(x^2) - mean^2, the latter perhaps kept from going below 0.
  bool is_variance(value_id v) const {
    v = without_views(m_, v);
    if (is_mean_of(v, [&](value_id of) {
          return is_square(of, [&](value_id c) { return is_centred(c); });
        })) {
      return true;
    }
    if (const node* max = is_op(m_, v, "Max", 2)) {
      for (const auto& [difference, zero] : matcher::operands(*max)) {
        if (m_.is_scalar(zero, 0.0)) v = without_views(m_, difference);
      }
    }
    if (const node* relu = is_op(m_, v, "Relu", 1)) v = without_views(m_, relu->inputs[0]);
    const node* difference = is_op(m_, v, "Sub", 2);
    return difference != nullptr && same_shape(m_, difference->inputs[0], difference->inputs[1]) &&
           is_mean_of_square(difference->inputs[0]) &&
           is_square(without_views(m_, difference->inputs[1]),
                     [&](value_id mean) { return is_mean(mean); });
  }

  bool is_centred(value_id v) const {
    const node* n = is_op(m_, v, "Sub", 2);
    return n != nullptr && n->inputs[0] == x_ && lies_beside_x(n->inputs[1]) &&
           is_mean(n->inputs[1]);
  }

  // sqrt(variance + epsilon) -> epsilon
  std::optional<float> deviation(value_id v) const {
    const node* root = is_op(m_, without_views(m_, v), "Sqrt", 1);
    return root == nullptr ? std::nullopt : variance_and_epsilon(root->inputs[0]);
  }

  // Its reciprocal -> epsilon
  std::optional<float> inverse_deviation(value_id v) const {
    v = without_views(m_, v);
    if (const node* n = is_op(m_, v, "Reciprocal", 1)) return deviation(n->inputs[0]);
    if (const node* n = is_op(m_, v, "Div", 2); n != nullptr && m_.is_scalar(n->inputs[0], 1.0)) {
      return deviation(n->inputs[1]);
    }
    const node* n = is_op(m_, v, "Pow", 2);
    const bool root = n != nullptr && m_.is_scalar(n->inputs[1], -0.5);
    return root ? variance_and_epsilon(n->inputs[0]) : std::nullopt;
  }

 private:
  template <class Of>
  bool is_square(value_id v, Of of) const {
    if (const node* n = is_op(m_, v, "Pow", 2)) {
      return m_.is_scalar(n->inputs[1], 2.0) && of(n->inputs[0]);
    }
    const node* n = is_op(m_, v, "Mul", 2);
    return n != nullptr && n->inputs[0] == n->inputs[1] && of(n->inputs[0]);
  }

  bool is_mean_of_square(value_id v) const {
    return is_mean_of(
        v, [&](value_id of) { return is_square(of, [&](value_id c) { return c == x_; }); });
  }

  // A ReduceMean over the dimension, or a ReduceSum over it divided by its size.
  template <class Of>
  bool is_mean_of(value_id v, Of of) const {
    v = without_views(m_, v);
    if (const node* n = m_.made_by(v, "ReduceMean")) return reduces(*n) && of(n->inputs[0]);
    const auto& shape = m_.g().values[x_].shape;
    if (!shape || (*shape)[axis_] < 1) return false;
    const auto size = static_cast<double>((*shape)[axis_]);
    value_id sum = m_.beside_scalar(is_op(m_, v, "Mul", 2), 1 / size);
    if (sum == no_value) sum = m_.beside_scalar(is_op(m_, v, "Div", 2), size, false);
    if (sum == no_value) return false;
    const node* n = m_.made_by(without_views(m_, sum), "ReduceSum");
    return n != nullptr && reduces(*n) && of(n->inputs[0]);
  }

  bool reduces(const node& n) const {
    const auto axis = reduced_axis(m_, n);
    return axis && *axis == axis_;
  }

  std::optional<float> variance_and_epsilon(value_id v) const {
    const node* sum = is_op(m_, without_views(m_, v), "Add", 2);
    if (sum == nullptr) return std::nullopt;
    for (const auto& [variance, epsilon] : matcher::operands(*sum)) {
      const auto e = constant_scalar(m_.g(), epsilon);
      if (e && is_variance(variance)) return e;
    }
    return std::nullopt;
  }

 public:
  // The one dimension of its input that a reduction folds.
  static std::optional<std::size_t> reduced_axis(const matcher& m, const node& n) {
    const auto& shape = m.g().values[n.inputs[0]].shape;
    std::vector<std::int64_t> axes = n.attributes.get_ints("axes");
    if (n.inputs.size() > 1 && n.inputs[1] != no_value) {
      const auto& constant = m.g().values[n.inputs[1]].constant;
      if (!constant || constant->type() != element_type::int64) return std::nullopt;
      const auto data = constant->data<std::int64_t>();
      axes.assign(data.begin(), data.end());
    }
    if (!shape || axes.size() != 1) return std::nullopt;
    const auto rank = static_cast<std::int64_t>(shape->size());
    const std::int64_t axis = axes[0] < 0 ? axes[0] + rank : axes[0];
    if (axis < 0 || axis >= rank) return std::nullopt;
    return static_cast<std::size_t>(axis);
  }

 private:
  const matcher& m_;
  value_id x_;
  std::size_t axis_;
};

class layer_norm_matcher {
 public:
  explicit layer_norm_matcher(const matcher& m) : m_(m) {}

  std::optional<layer_norm_match> match(const node& n) const {
    if (n.op_type != "Add" || n.inputs.size() != 2) return std::nullopt;
    for (const auto& [product, bias] : matcher::operands(n)) {
      const node* mul = is_op(m_, product, "Mul", 2);
      if (mul == nullptr) continue;
      for (const auto& [left, right] : matcher::operands(*mul)) {
        auto found = scaled(left, right);
        if (!found) continue;
        found->bias = bias;
        if (is_parameter(bias, *found)) return found;
      }
    }
    return std::nullopt;
  }

 private:
  // (centred / deviation) times scale, or centred times (scale / deviation).
  std::optional<layer_norm_match> scaled(value_id left, value_id right) const {
    if (m_.g().values[right].constant) {
      auto found = normalised(left);
      if (found) found->scale = right;
      return found && is_parameter(right, *found) ? found : std::nullopt;
    }
    auto found = centred(left);
    const node* factor = found ? is_op(m_, right, "Mul", 2) : nullptr;
    if (factor == nullptr) return std::nullopt;
    const statistics s(m_, found->x, found->axis);
    for (const auto& [inverse, scale] : matcher::operands(*factor)) {
      const auto epsilon = s.lies_beside_x(inverse) ? s.inverse_deviation(inverse) : std::nullopt;
      if (!epsilon || !is_parameter(scale, *found)) continue;
      found->scale = scale;
      found->epsilon = *epsilon;
      return found;
    }
    return std::nullopt;
  }

  std::optional<layer_norm_match> normalised(value_id v) const {
    const node* n = is_op(m_, v, "Div", 2);
    const bool division = n != nullptr;
    if (n == nullptr) n = is_op(m_, v, "Mul", 2);
    if (n == nullptr) return std::nullopt;
    for (const auto& [c, d] : matcher::operands(*n)) {
      if (division && c != n->inputs[0]) break;
      auto found = centred(c);
      if (!found) continue;
      const statistics s(m_, found->x, found->axis);
      if (!s.lies_beside_x(d)) continue;
      const auto epsilon = division ? s.deviation(d) : s.inverse_deviation(d);
      if (!epsilon) continue;
      found->epsilon = *epsilon;
      return found;
    }
    return std::nullopt;
  }

  // x - mean -> x and the dimension
  std::optional<layer_norm_match> centred(value_id v) const {
    const node* n = is_op(m_, v, "Sub", 2);
    if (n == nullptr) return std::nullopt;
    const value_id x = n->inputs[0];
    const auto& shape = m_.g().values[x].shape;
    if (!shape || shape->empty()) return std::nullopt;
    for (std::size_t axis = shape->size(); axis-- > 0;) {
      if (statistics(m_, x, axis).is_centred(v)) {
        layer_norm_match found;
        found.x = x;
        found.axis = axis;
        return found;
      }
    }
    return std::nullopt;
  }

  // A constant with an element for each index of the dimension, and no more.
  bool is_parameter(value_id v, const layer_norm_match& found) const {
    const auto& constant = m_.g().values[v].constant;
    const dims& x = *m_.g().values[found.x].shape;
    if (!constant || constant->type() != element_type::float32 || constant->rank() > x.size()) {
      return false;
    }
    const std::size_t shift = x.size() - constant->rank();
    if (found.axis < shift) return false;
    for (std::size_t i = 0; i < constant->rank(); ++i) {
      const std::int64_t wanted = i + shift == found.axis ? x[found.axis] : 1;
      if (constant->shape()[i] != wanted) return false;
    }
    return true;
  }

  const matcher& m_;
};

}  // namespace

std::optional<layer_norm_match> match_layer_norm(const matcher& m, const node& n) {
  return layer_norm_matcher(m).match(n);
}

}  // namespace mizzen::inference::detail
