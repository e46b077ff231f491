// Element-wise operators on integers, which are computed in 64 bits and rounded off where they are
// 32.
#include "cuda/lower.hpp"

#include <algorithm>
#include <array>
#include <string>

namespace mizzen::cuda {
namespace {

// Division by zero is undefined in ONNX, and must not stop a processor that emulates this.
const std::map<std::string_view, std::string_view>& texts() {
  static const std::map<std::string_view, std::string_view> table = {
      {"Abs", "($0 < 0 ? -$0 : $0)"},
      {"Add", "$0 + $1"},
      {"BitwiseAnd", "$0 & $1"},
      {"BitwiseNot", "~$0"},
      {"BitwiseOr", "$0 | $1"},
      {"BitwiseXor", "$0 ^ $1"},
      {"Div", "($1 == 0 ? 0 : $0 / $1)"},
      {"Equal", "($0 == $1 ? 1.0f : 0.0f)"},
      {"Greater", "($0 > $1 ? 1.0f : 0.0f)"},
      {"GreaterOrEqual", "($0 >= $1 ? 1.0f : 0.0f)"},
      {"Identity", "$0"},
      {"Less", "($0 < $1 ? 1.0f : 0.0f)"},
      {"LessOrEqual", "($0 <= $1 ? 1.0f : 0.0f)"},
      {"Max", "($0 > $1 ? $0 : $1)"},
      {"Min", "($0 < $1 ? $0 : $1)"},
      {"Mod", "modulo($0, $1)"},
      {"Mul", "$0 * $1"},
      {"Neg", "-$0"},
      {"Relu", "($0 > 0 ? $0 : 0)"},
      {"Sign", "($0 > 0 ? 1 : $0 < 0 ? -1 : 0)"},
      {"Sub", "$0 - $1"},
      {"Sum", "$0 + $1"},
  };
  return table;
}

bool is_compare(const node& n) {
  static constexpr std::array<std::string_view, 5> names = {"Equal", "Greater", "GreaterOrEqual",
                                                            "Less", "LessOrEqual"};
  return std::find(names.begin(), names.end(), n.op_type) != names.end();
}

}  // namespace

bool computes_integers(const part& p, const node& n) {
  if (!texts().contains(n.op_type) || n.inputs.empty() || n.outputs.size() != 1) return false;
  const auto is_whole = [&](value_id v) { return v != no_value && is_integer(p.values[v].type); };
  if (!std::all_of(n.inputs.begin(), n.inputs.end(), is_whole)) return false;
  if (is_compare(n)) return n.inputs.size() == 2 && n.opset >= 7;
  return is_whole(n.outputs[0]) && (n.inputs.size() < 2 || n.opset >= 8);
}

void compute_integers(lowering& l, const node& n) {
  const dims& shape = l.shape(n.outputs[0]);
  const bool compares = is_compare(n);
  std::string text(texts().at(n.op_type));
  if (n.op_type == "Mod" && n.get_int("fmod", 0) != 0) text = "($1 == 0 ? 0 : $0 % $1)";
  if (!compares && l.type(n.outputs[0]) == element_type::int32) text = "(int)(" + text + ")";
  expression_ptr e = l.read(n.inputs[0], shape);
  for (std::size_t i = 1; i < std::max<std::size_t>(n.inputs.size(), 2); ++i) {
    // Of one operand: the text takes no other, or it is the result.
    const bool two = i < n.inputs.size();
    if (!two && n.inputs.size() == 1 && text.find("$1") != std::string::npos) break;
    e = operation(text, {e, two ? l.read(n.inputs[i], shape) : e}, !compares);
  }
  l.set(n.outputs[0], e);
}

void add_integer_rules(rule_table& table) {
  for (const std::string_view name : {"BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor"}) {
    table[name] = {computes_integers, compute_integers};
  }
}

}  // namespace mizzen::cuda
