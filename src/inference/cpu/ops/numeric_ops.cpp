#include "inference/cpu/ops/numeric_ops.hpp"

#include "inference/cpu/ops/ops.hpp"

namespace mizzen::inference::detail {

void register_numeric_ops(op_registry& registry) {
  register_attention_ops(registry);
  register_binary_ops(registry);
  register_conv_ops(registry);
  register_conv_channels_last_ops(registry);
  register_conv_strip_ops(registry);
  register_conv_transpose_ops(registry);
  register_matrix_ops(registry);
  register_normalisation_ops(registry);
  register_picture_channels_last_ops(registry);
  register_pooling_ops(registry);
  register_recurrent_ops(registry);
  register_quantised_matmul_ops(registry);
  register_quantise_ops(registry);
  register_quantised_conv_ops(registry);
  register_reduction_ops(registry);
  register_unary_ops(registry);
}

}  // namespace mizzen::inference::detail
