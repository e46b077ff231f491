#include "inference/cpu/cpu_device.hpp"

#include "inference/cpu/ops/ops.hpp"

namespace mizzen::inference::detail {

cpu_device::cpu_device(unsigned threads) : pool_(threads) {
  register_data_ops(registry_);
  register_numeric_ops(registry_);
}

bool cpu_device::accepts_post_op(const compile_context& context, const post_op& op) const {
  const op_definition* definition = registry_.find(context.n);
  return definition != nullptr && definition->accepts_post_op != nullptr &&
         definition->accepts_post_op(context, op);
}

std::unique_ptr<kernel> cpu_device::compile(const compile_context& context) const {
  const op_definition* definition = registry_.find(context.n);
  if (definition == nullptr) context.unsupported("the cpu device does not have this operator");
  try {
    return definition->compile(context);
  } catch (const error& e) {
    if (e.subject().starts_with("node ")) throw;
    throw error(e.code(), describe(context.n) + " " + e.subject(), e.message());
  }
}

}  // namespace mizzen::inference::detail
