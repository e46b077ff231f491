// The arithmetic operators of the CPU, a register function per file.
#pragma once

#include "inference/cpu/kernels/kernel_table.hpp"
#include "inference/cpu/op_registry.hpp"

#include <cstddef>
#include <cstdint>
#include <span>

namespace mizzen::inference::detail {

void register_attention_ops(op_registry& registry);
void register_binary_ops(op_registry& registry);
void register_conv_ops(op_registry& registry);
void register_conv_channels_last_ops(op_registry& registry);
void register_conv_strip_ops(op_registry& registry);
void register_conv_transpose_ops(op_registry& registry);
void register_matrix_ops(op_registry& registry);
void register_normalisation_ops(op_registry& registry);
void register_picture_channels_last_ops(op_registry& registry);
void register_pooling_ops(op_registry& registry);
void register_recurrent_ops(op_registry& registry);
void register_quantised_matmul_ops(op_registry& registry);
void register_quantise_ops(op_registry& registry);
void register_quantised_conv_ops(op_registry& registry);
void register_reduction_ops(op_registry& registry);
void register_unary_ops(op_registry& registry);

// The kernels for this processor.
inline const cpu::kernel_table& best_kernels() noexcept {
  return cpu::kernels_for(cpu::detect_isa());
}

// MaxPool of uint8 over channels that lie last.
std::unique_ptr<kernel> compile_byte_pool(const compile_context& c);

// Product of dimensions [begin, end) of a shape whose dimensions are all known.
inline std::size_t product(std::span<const std::int64_t> shape, std::size_t begin,
                           std::size_t end) noexcept {
  std::size_t n = 1;
  for (std::size_t i = begin; i < end; ++i) n *= static_cast<std::size_t>(shape[i]);
  return n;
}

// The axis counted from the front, or error(invalid_argument).
inline std::size_t checked_axis(std::int64_t axis, std::size_t rank) {
  const auto r = static_cast<std::int64_t>(rank);
  if (axis < -r || axis >= r) {
    throw error(errc::invalid_argument, "axis",
                std::to_string(axis) + " is outside the " + std::to_string(r) + " dimensions");
  }
  return static_cast<std::size_t>(axis < 0 ? axis + r : axis);
}

// float32 or error(unimplemented) naming the node.
inline void only_float32(const compile_context& c, std::size_t input = 0) {
  if (c.input_type(input) != element_type::float32) {
    c.unsupported("has no kernel for " + std::string(to_string(c.input_type(input))));
  }
}

}  // namespace mizzen::inference::detail
