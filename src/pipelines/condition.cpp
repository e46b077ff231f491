#include "pipelines/condition.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/pipelines/io.hpp>

#include <utility>

namespace mizzen::pipelines {

std::string_view to_string(comparison comparison) noexcept {
  switch (comparison) {
    case comparison::equal:
      return "==";
    case comparison::not_equal:
      return "!=";
    case comparison::less:
      return "<";
    case comparison::less_equal:
      return "<=";
    case comparison::greater:
      return ">";
    case comparison::greater_equal:
      return ">=";
  }
  return "==";
}

namespace {

condition combine(condition::kind what, condition left, condition right) {
  condition result;
  result.what = what;
  // a && b && c is one list of three, not a nest.
  if (left.what == what) {
    result.operands = std::move(left.operands);
  } else {
    result.operands.push_back(std::move(left));
  }
  result.operands.push_back(std::move(right));
  return result;
}

}  // namespace

condition operator&&(condition left, condition right) {
  return combine(condition::kind::all_of, std::move(left), std::move(right));
}

condition operator||(condition left, condition right) {
  return combine(condition::kind::any_of, std::move(left), std::move(right));
}

condition operator!(condition operand) {
  condition result;
  result.what = condition::kind::negation;
  result.operands.push_back(std::move(operand));
  return result;
}

namespace detail {

void unbound_input() {
  throw error(errc::failed_precondition, "in<>/out<>",
              "there is no value: inputs are known only when the step runs, and outputs once they "
              "were assigned (is the member listed in BOOST_DESCRIBE_STRUCT?)");
}

condition compare(source left, comparison op, source right) {
  condition result;
  result.op = op;
  result.left = std::move(left);
  result.right = std::move(right);
  return result;
}

bool holds(comparison op, const json& left, const json& right) {
  const bool comparable = (left.is_number() && right.is_number()) ||
                          (left.is_string() && right.is_string()) ||
                          (left.is_boolean() && right.is_boolean());
  switch (op) {
    case comparison::equal:
      return comparable && left == right;
    case comparison::not_equal:
      return !(comparable && left == right);
    case comparison::less:
      return comparable && left < right;
    case comparison::less_equal:
      return comparable && left <= right;
    case comparison::greater:
      return comparable && left > right;
    case comparison::greater_equal:
      return comparable && left >= right;
  }
  return false;
}

bool holds(const condition& condition, const std::function<json(const source&)>& value) {
  switch (condition.what) {
    case condition::kind::compare:
      return holds(condition.op, value(condition.left), value(condition.right));
    case condition::kind::all_of:
      for (const auto& operand : condition.operands) {
        if (!holds(operand, value)) return false;
      }
      return true;
    case condition::kind::any_of:
      for (const auto& operand : condition.operands) {
        if (holds(operand, value)) return true;
      }
      return false;
    case condition::kind::negation:
      return !holds(condition.operands.at(0), value);
  }
  return false;
}

void for_each_source(const condition& condition, const std::function<void(const source&)>& visit) {
  if (condition.what == condition::kind::compare) {
    visit(condition.left);
    visit(condition.right);
  }
  for (const auto& operand : condition.operands) for_each_source(operand, visit);
}

}  // namespace detail
}  // namespace mizzen::pipelines
