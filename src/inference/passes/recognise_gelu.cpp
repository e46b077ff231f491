// Exporters write Gelu in many orders. Here every expression in question is multiplied out to a
// polynomial in x and t, t being the node of Erf or Tanh, and compared with what it should be.
#include "inference/passes/patterns.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <vector>

namespace mizzen::inference::detail {
namespace {

// Coefficients of x^i t^j; higher powers are refused.
constexpr std::size_t powers_of_x = 4;
constexpr std::size_t powers_of_t = 2;
using polynomial = std::array<std::array<double, powers_of_t>, powers_of_x>;

std::optional<polynomial> multiply(const polynomial& a, const polynomial& b) {
  polynomial product{};
  for (std::size_t i = 0; i < powers_of_x; ++i) {
    for (std::size_t j = 0; j < powers_of_t; ++j) {
      if (a[i][j] == 0) continue;
      for (std::size_t k = 0; k < powers_of_x; ++k) {
        for (std::size_t l = 0; l < powers_of_t; ++l) {
          if (b[k][l] == 0) continue;
          if (i + k >= powers_of_x || j + l >= powers_of_t) return std::nullopt;
          product[i + k][j + l] += a[i][j] * b[k][l];
        }
      }
    }
  }
  return product;
}

polynomial constant(double c) {
  polynomial p{};
  p[0][0] = c;
  return p;
}

bool near(double have, double wanted) {
  return std::abs(have - wanted) <= 4e-6 * std::abs(wanted) + 1e-12;
}

// Whether only these two coefficients are there, and are these.
struct term {
  std::size_t i, j;
  double c;
};
bool is_sum(const polynomial& p, const std::vector<term>& terms) {
  polynomial rest = p;
  for (const term& t : terms) {
    if (!near(p[t.i][t.j], t.c)) return false;
    rest[t.i][t.j] = 0;
  }
  return std::all_of(rest.begin(), rest.end(), [](const auto& row) {
    return std::all_of(row.begin(), row.end(), [](double c) { return c == 0; });
  });
}

const node* arithmetic(const matcher& m, value_id v) {
  for (const char* const op : {"Mul", "Add", "Sub", "Div", "Pow"}) {
    if (const node* n = m.made_by(v, op); n != nullptr && n->inputs.size() == 2) return n;
  }
  return nullptr;
}

class expansion {
 public:
  expansion(const matcher& m, value_id x, value_id t) : m_(m), x_(x), t_(t) {}

  std::optional<polynomial> of(value_id v) {
    polynomial p{};
    if (v == x_ || v == t_) {
      p[v == x_ ? 1 : 0][v == x_ ? 0 : 1] = 1;
      return p;
    }
    if (const auto c = constant_scalar(m_.g(), v)) return constant(static_cast<double>(*c));
    const node* n = arithmetic(m_, v);
    // Whoever shares subexpressions over and over is not a Gelu.
    if (n == nullptr || ++steps_ > most_steps) return std::nullopt;
    const auto left = of(n->inputs[0]);
    const auto right = left ? of(n->inputs[1]) : std::nullopt;
    if (!right) return std::nullopt;
    if (n->op_type == "Mul") return multiply(*left, *right);
    if (n->op_type == "Pow" || n->op_type == "Div") return by_constant(*n, *left, *right);
    const double sign = n->op_type == "Sub" ? -1.0 : 1.0;
    p = *left;
    for (std::size_t i = 0; i < powers_of_x; ++i) {
      for (std::size_t j = 0; j < powers_of_t; ++j) p[i][j] += sign * (*right)[i][j];
    }
    return p;
  }

 private:
  static constexpr int most_steps = 32;

  static std::optional<polynomial> by_constant(const node& n, const polynomial& left,
                                               const polynomial& right) {
    const double c = right[0][0];
    if (c == 0 || !is_sum(right, {{0, 0, c}})) return std::nullopt;
    if (n.op_type == "Div") return multiply(left, constant(1 / c));
    if (c == 2.0) return multiply(left, left);
    if (c != 3.0) return std::nullopt;
    const auto square = multiply(left, left);
    return square ? multiply(*square, left) : std::nullopt;
  }

  const matcher& m_;
  value_id x_, t_;
  int steps_ = 0;
};

// Values within some nodes of arithmetic before v, nearest first.
std::vector<value_id> before(const matcher& m, value_id v) {
  constexpr std::size_t most = 16;
  std::vector<value_id> all{v};
  for (std::size_t i = 0; i < all.size() && all.size() < most; ++i) {
    const node* n = arithmetic(m, all[i]);
    if (n == nullptr) continue;
    for (const value_id in : n->inputs) {
      if (in == no_value || m.g().values[in].constant) continue;
      if (std::find(all.begin(), all.end(), in) == all.end()) all.push_back(in);
    }
  }
  return all;
}

bool is_inner(const polynomial& p, bool erf) {
  if (erf) return is_sum(p, {{1, 0, 1 / std::numbers::sqrt2}});
  const double scale = std::sqrt(2 / std::numbers::pi);
  return is_sum(p, {{1, 0, scale}, {3, 0, scale * 0.044715}});
}

}  // namespace

std::optional<gelu_match> match_gelu(const matcher& m, const node& n) {
  if (n.op_type != "Mul" && n.op_type != "Div") return std::nullopt;
  for (const value_id t : before(m, n.outputs[0])) {
    const node* erf = m.made_by(t, "Erf");
    const node* inner = erf != nullptr ? erf : m.made_by(t, "Tanh");
    if (inner == nullptr) continue;
    for (const value_id x : before(m, inner->inputs[0])) {
      const auto argument = expansion(m, x, no_value).of(inner->inputs[0]);
      if (!argument || !is_inner(*argument, erf != nullptr)) continue;
      const auto whole = expansion(m, x, t).of(n.outputs[0]);
      if (!whole || !is_sum(*whole, {{1, 0, 0.5}, {1, 1, 0.5}})) continue;
      return gelu_match{x, erf != nullptr ? "none" : "tanh"};
    }
  }
  return std::nullopt;
}

}  // namespace mizzen::inference::detail
