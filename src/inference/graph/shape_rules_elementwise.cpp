#include "inference/graph/shape_rules.hpp"

#include <algorithm>
#include <limits>

namespace mizzen::inference::detail {
namespace {

constexpr std::size_t any_number = std::numeric_limits<std::size_t>::max();

void same_as_first(infer_context& c) {
  c.set(0, c.type(0), c.shape(0) ? std::optional(*c.shape(0)) : std::nullopt);
}

void predicate(infer_context& c) {
  c.set(0, element_type::boolean, c.shape(0) ? std::optional(*c.shape(0)) : std::nullopt);
}

std::optional<dims> broadcast_inputs(infer_context& c) {
  dims out;
  for (std::size_t i = 0; i < c.input_count(); ++i) {
    if (c.shape(i) == nullptr) return std::nullopt;
    out = c.broadcast(out, *c.shape(i));
  }
  return out;
}

void check_same_types(infer_context& c) {
  for (std::size_t i = 1; i < c.input_count(); ++i) c.same_type({0, i});
}

void variadic(infer_context& c) {
  check_same_types(c);
  c.set(0, c.type(0), broadcast_inputs(c));
}

// Exponents may have another type than bases.
void power(infer_context& c) { c.set(0, c.type(0), broadcast_inputs(c)); }

void comparison(infer_context& c) {
  check_same_types(c);
  c.set(0, element_type::boolean, broadcast_inputs(c));
}

void where(infer_context& c) {
  if (c.type(0) != element_type::boolean) c.fail("its condition must be bool");
  c.same_type({1, 2});
  c.set(0, c.type(1), broadcast_inputs(c));
}

void clip(infer_context& c) {
  c.same_type({0, 1, 2});
  same_as_first(c);
}

void cast(infer_context& c) {
  const auto to = static_cast<element_type>(c.attributes().require_int("to"));
  if (to_string(to) == "undefined") c.fail("attribute 'to' is no element type");
  c.set(0, to, c.shape(0) ? std::optional(*c.shape(0)) : std::nullopt);
}

void bit_cast(infer_context& c) {
  cast(c);
  const auto to = static_cast<element_type>(c.attributes().require_int("to"));
  if (c.type(0) != element_type::undefined && bit_width(to) != bit_width(c.type(0))) {
    c.fail("its types differ in width");
  }
}

void cast_like(infer_context& c) {
  c.set(0, c.type(1), c.shape(0) ? std::optional(*c.shape(0)) : std::nullopt);
}

// Inputs that must be one number.
void cumulative(infer_context& c) {
  one_number(c, {1});
  same_as_first(c);
}

void dropout(infer_context& c) {
  one_number(c, {1, 2});
  same_as_first(c);
  c.set(1, element_type::boolean, c.shape(0) ? std::optional(*c.shape(0)) : std::nullopt);
}

}  // namespace

void add_elementwise_rules(shape_rule_table& table) {
  for (const char* op :
       {"Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Ceil", "Celu", "Cos", "Cosh",
        "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu",
        "Log", "Mish", "Neg", "Not", "Reciprocal", "Relu", "Round", "Selu", "Shrink", "Sigmoid",
        "Sign", "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Tan", "Tanh", "ThresholdedRelu",
        "BitwiseNot", "Swish",
        // Normalisations along an axis keep the shape too.
        "Softmax", "LogSoftmax", "Hardmax", "LpNormalization", "LRN",
        "MeanVarianceNormalization"}) {
    table[op] = {1, 1, 1, same_as_first};
  }
  table["IsNaN"] = {1, 1, 1, predicate};
  table["IsInf"] = {1, 1, 1, predicate};
  for (const char* op : {"Add", "Sub", "Mul", "Div", "Mod", "PRelu", "And", "Or", "Xor",
                         "BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitShift"}) {
    table[op] = {2, 2, 1, variadic};
  }
  for (const char* op : {"Max", "Min", "Sum", "Mean"}) table[op] = {1, any_number, 1, variadic};
  table["Pow"] = {2, 2, 1, power};
  for (const char* op : {"Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"}) {
    table[op] = {2, 2, 1, comparison};
  }
  table["Where"] = {3, 3, 1, where};
  table["Clip"] = {1, 3, 1, clip};
  table["Cast"] = {1, 1, 1, cast};
  table["CastLike"] = {2, 2, 1, cast_like};
  table["BitCast"] = {1, 1, 1, bit_cast};
  table["CumProd"] = {2, 2, 1, cumulative};
  table["CumSum"] = {2, 2, 1, cumulative};
  table["Trilu"] = {1, 2, 1, same_as_first};
  table["Dropout"] = {1, 3, 2, dropout};
}

}  // namespace mizzen::inference::detail
