// Post-ops on the CPU: what a node does to each piece of its output while that is in cache.
#pragma once

#include "inference/cpu/kernels/broadcast.hpp"
#include "inference/cpu/kernels/kernel_table.hpp"
#include "inference/device/kernel.hpp"

#include <array>
#include <cstddef>
#include <span>
#include <vector>

namespace mizzen::inference::detail {

// True for float32 outputs and every post-op, up to the number of binary ones that post_op_run
// holds: the accepts_post_op of operators that use it.
bool accepts_any_post_op(const compile_context& context, const post_op& op);

// The unary function that a post-op stands for; identity for the binary ones.
cpu::activation activation_of(const post_op& op) noexcept;

// The post-ops of one run of a node, bound to its inputs. Lives on the stack of run(). A kernel
// that can do the first steps itself takes them off, in this order, before it works; what is left
// it applies through apply().
class post_op_run {
 public:
  // Of a node; a run has room for one more, because Gemm adds its own C as a step.
  static constexpr std::size_t most_binary = 8;

  post_op_run(const cpu::kernel_table& kernels, std::span<const post_op> steps,
              const run_context& context);

  // The addend if the next step adds one value for each index of the last dimension; else null.
  const float* take_last_dimension_add() noexcept;
  // The addend if the next step adds something shaped like the output; else null.
  const float* take_full_add() noexcept;
  // True if the next step is a relu or clip, then with its bounds.
  bool take_clamp(float& low, float& high) noexcept;
  // What a tile of a convolution does last: the next step, if it is a relu or clip, or a hard swish
  // with the scale behind it; else identity.
  cpu::activation take_tile_activation() noexcept;

  bool empty() const noexcept { return steps_.empty(); }

  // Applies the steps left to n elements y of the (plain) output, beginning at its element `at`.
  void apply(float* y, std::size_t at, std::size_t n) const;

 private:
  struct operand {
    const float* data;
    cpu::broadcast_plan<1> plan;
  };
  const operand* next_operand(post_op_kind kind) const noexcept;
  void take() noexcept;
  // The unary step i; a hard swish with the scale behind it, which it then stands for as well.
  cpu::activation unary_step(std::size_t i, bool& with_next) const noexcept;
  void apply_binary(cpu::binary_op op, const operand& with, float* y, std::size_t at,
                    std::size_t n) const;

  const cpu::kernel_table& kernels_;
  std::span<const post_op> steps_;
  std::size_t output_count_;
  std::size_t last_dimension_;
  std::array<std::optional<operand>, most_binary + 1> operands_;
  std::size_t next_ = 0;  // operand of the next binary step
};

// The steps left, for a kernel that tells of finished runs of rows: its context is one of these.
struct finish_rows {
  const post_op_run* steps;
  std::size_t columns;  // of the whole output

  static void call(const void* context, std::size_t row, std::size_t column, float* values,
                   std::size_t n) {
    const auto& f = *static_cast<const finish_rows*>(context);
    f.steps->apply(values, row * f.columns + column, n);
  }
};

// Applies the steps to the whole output 0, for kernels that do not while they make it.
void apply_post_ops(const cpu::kernel_table& kernels, std::span<const post_op> steps,
                    const run_context& context);

}  // namespace mizzen::inference::detail
