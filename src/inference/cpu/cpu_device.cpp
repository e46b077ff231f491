#include "inference/cpu/cpu_device.hpp"

#include "inference/cpu/kernels/half_table.hpp"
#include "inference/cpu/ops/ops.hpp"
#include "inference/cpu/ops/plain.hpp"

#include <optional>
#include <utility>

namespace mizzen::inference::detail {

cpu_device::cpu_device(unsigned threads, std::chrono::microseconds spin) : pool_(threads, spin) {
  register_data_ops(registry_);
  register_numeric_ops(registry_);
  register_plain_ops(registry_);
}

bool cpu_device::has_bf16_products() const noexcept {
  return cpu::best_halves().multiply != nullptr;
}

bool cpu_device::accepts_post_op(const compile_context& context, const post_op& op) const {
  const op_definition* definition = registry_.find(context.n);
  return definition != nullptr && definition->accepts_post_op != nullptr &&
         definition->accepts_post_op(context, op);
}

std::unique_ptr<kernel> cpu_device::compile(const compile_context& context) const {
  const op_definition* fast = registry_.find(context.n);
  const op_definition* plain = registry_.find_plain(context.n);
  if (fast == nullptr && plain == nullptr) {
    context.unsupported("the cpu device does not have this operator");
  }
  // What a kernel refuses the next one may take: as it is, with half-width floats widened, plain.
  std::optional<error> refusal;
  const auto attempt = [&](auto compile) -> std::unique_ptr<kernel> {
    try {
      return compile();
    } catch (const error& e) {
      error named = e.subject().starts_with("node ")
                        ? e
                        : error(e.code(), describe(context.n) + " " + e.subject(), e.message());
      if (e.code() != errc::unimplemented) throw named;
      if (!refusal) refusal = std::move(named);
      return nullptr;
    }
  };
  std::unique_ptr<kernel> made;
  if (fast != nullptr) made = attempt([&] { return fast->compile(context); });
  if (!made && fast != nullptr) made = attempt([&] { return widen_halves(context, *fast); });
  if (!made && plain != nullptr) made = attempt([&] { return plain->compile(context); });
  if (!made) throw *refusal;
  return made;
}

}  // namespace mizzen::inference::detail
