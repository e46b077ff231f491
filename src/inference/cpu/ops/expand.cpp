#include "inference/cpu/ops/data_ops.hpp"
#include "inference/cpu/ops/op_util.hpp"
#include "inference/cpu/ops/strided_copy.hpp"
#include "inference/cpu/thread_pool.hpp"

#include <cstring>

namespace mizzen::inference::detail {
namespace {

class expand_kernel final : public kernel {
 public:
  explicit expand_kernel(std::size_t element_size) : element_size_(element_size) {}

  void run(const run_context& c) const override {
    const auto out = c.outputs[0].shape;
    copy_strided(c.outputs[0].data, dense_strides(out), c.inputs[0].data,
                 broadcast_strides(c.inputs[0].shape, out), out, element_size_, c.pool);
  }

 private:
  std::size_t element_size_;
};

class tile_kernel final : public kernel {
 public:
  explicit tile_kernel(std::size_t element_size) : element_size_(element_size) {}

  void run(const run_context& c) const override {
    const value_view& in = c.inputs[0];
    const value_view& out = c.outputs[0];
    const std::size_t rank = in.shape.size();
    const auto* source = in.as<const std::byte>();
    auto* target = out.as<std::byte>();
    if (rank == 0) {
      std::memcpy(target, source, element_size_);
      return;
    }
    // One row of the input, repeated along the last dimension, makes one row of the output.
    const std::size_t in_row = static_cast<std::size_t>(in.shape[rank - 1]) * element_size_;
    const std::size_t out_row = static_cast<std::size_t>(out.shape[rank - 1]) * element_size_;
    const rank_array strides = dense_strides(in.shape);
    c.pool.parallel_for(
        extent(out.shape, 0, rank - 1), grain_for(out_row), [&](std::size_t b, std::size_t e) {
          for (std::size_t i = b; i < e; ++i) {
            auto rest = static_cast<std::int64_t>(i);
            std::int64_t from = 0;
            for (std::size_t d = rank - 1; d-- > 0;) {
              from += rest % out.shape[d] % in.shape[d] * strides[d];
              rest /= out.shape[d];
            }
            const std::byte* row = source + static_cast<std::size_t>(from) * element_size_;
            for (std::size_t at = 0; at < out_row; at += in_row) {
              std::memcpy(target + i * out_row + at, row, in_row);
            }
          }
        });
  }

 private:
  std::size_t element_size_;
};

std::unique_ptr<kernel> compile_expand(const compile_context& c) {
  return std::make_unique<expand_kernel>(movable_size(c));
}

std::unique_ptr<kernel> compile_tile(const compile_context& c) {
  return std::make_unique<tile_kernel>(movable_size(c));
}

}  // namespace

void register_expand(op_registry& registry) {
  registry.add("Expand", {compile_expand}, 8);
  registry.add("Tile", {compile_tile}, 6);
}

}  // namespace mizzen::inference::detail
