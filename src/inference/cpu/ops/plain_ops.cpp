#include "inference/cpu/ops/microsoft.hpp"
#include "inference/cpu/ops/ops.hpp"
#include "inference/cpu/ops/plain.hpp"

namespace mizzen::inference::detail {

void register_plain_ops(op_registry& registry) {
  register_bits(registry);
  register_microsoft_attention(registry);
  register_microsoft_norm(registry);
  register_microsoft_quantised(registry);
  register_plain_attention(registry);
  register_plain_image(registry);
  register_plain_linear(registry);
  register_plain_loss(registry);
  register_plain_norm(registry);
  register_plain_pointwise(registry);
  register_plain_quantised(registry);
  register_plain_random(registry);
  register_plain_recurrent(registry);
  register_plain_signal(registry);
  register_plain_window(registry);
  register_scatter(registry);
  register_tfidf(registry);
}

}  // namespace mizzen::inference::detail
