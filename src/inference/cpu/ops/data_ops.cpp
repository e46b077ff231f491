#include "inference/cpu/ops/data_ops.hpp"

#include "inference/cpu/ops/ops.hpp"

namespace mizzen::inference::detail {

void register_data_ops(op_registry& registry) {
  register_reshape(registry);
  register_shape(registry);
  register_transpose(registry);
  register_concat(registry);
  register_slice(registry);
  register_gather(registry);
  register_expand(registry);
  register_cast(registry);
  register_logic(registry);
  register_select(registry);
  register_scan(registry);
  register_resize(registry);
}

}  // namespace mizzen::inference::detail
