#include "inference/dynamic/operation.hpp"

#include "inference/dynamic/custom.hpp"
#include "inference/dynamic/operations.hpp"

#include <mizzen/inference/custom_operator.hpp>

#include <algorithm>
#include <string>

namespace mizzen::inference::detail {
namespace {

[[noreturn]] void fail_input(std::size_t i, std::string_view message) {
  throw error(errc::invalid_argument, "input " + std::to_string(i), message);
}

const operation_table& table() {
  static const operation_table operations = [] {
    operation_table t;
    add_control_operations(t);
    add_sequence_operations(t);
    add_selection_operations(t);
    add_string_operations(t);
    return t;
  }();
  return operations;
}

compile_operation_function find(const node& n) {
  if (!n.domain.empty()) return nullptr;
  const auto found = table().find(n.op_type);
  return found == table().end() ? nullptr : found->second;
}

// Operators that kernels compute, too, on tensors of numbers.
bool also_a_kernel(const node& n) {
  return n.op_type == "Identity" || n.op_type == "Cast" || n.op_type == "CastLike";
}

template <class Test>
bool any_value_of(const node& n, const graph& g, Test test) {
  const auto holds = [&](value_id v) { return v != no_value && test(g.values[v]); };
  return std::any_of(n.inputs.begin(), n.inputs.end(), holds) ||
         std::any_of(n.outputs.begin(), n.outputs.end(), holds);
}

bool has_strings(const node& n, const graph& g) {
  return any_value_of(n, g, [](const value& v) { return v.type == element_type::string; });
}

bool has_other_kinds(const node& n, const graph& g) {
  return any_value_of(n, g, [](const value& v) { return v.kind != value_kind::tensor; });
}

}  // namespace

const tensor& operation_context::one(std::size_t i) const {
  if (i >= inputs.size() || inputs[i].one == nullptr) fail_input(i, "it holds no tensor");
  return *inputs[i].one;
}

const std::vector<shared_tensor>& operation_context::many(std::size_t i) const {
  if (i >= inputs.size() || inputs[i].many == nullptr) fail_input(i, "it holds no sequence");
  return *inputs[i].many;
}

const tensor* operation_context::optional_one(std::size_t i) const {
  return i < inputs.size() ? inputs[i].one.get() : nullptr;
}

bool has_operation(const node& n) { return find(n) != nullptr; }

bool runs_as_operation(const node& n, const graph& g) {
  if (has_strings(n, g)) return true;
  if (n.custom) return n.custom->data_dependent;
  return find(n) != nullptr && (!also_a_kernel(n) || has_other_kinds(n, g));
}

bool may_fold(const node& n, const graph& g) {
  return !n.custom && !has_other_kinds(n, g) && !has_strings(n, g) && n.captured == 0 &&
         (n.op_type == "NonZero" || n.op_type == "Compress" || n.op_type == "Unique");
}

std::unique_ptr<operation> compile_operation(const operation_compile_context& context) {
  const compile_context& c = context.about;
  if (c.n.custom) return compile_custom_operation(context);
  try {
    const compile_operation_function compile = find(c.n);
    if (compile != nullptr) {
      // Identity and Compress of strings move them; Cast and StringSplit read them.
      const bool moves = works_on_strings(c.n) && has_strings(c.n, c.g);
      if (!moves || has_other_kinds(c.n, c.g)) return compile(context);
    }
    if (auto moved = compile_on_strings(context)) return moved;
  } catch (const error& e) {
    if (e.subject().starts_with("node ")) throw;
    throw error(e.code(), describe(c.n) + " " + e.subject(), e.message());
  }
  c.unsupported("elements of type string");
}

}  // namespace mizzen::inference::detail
