#include "inference/cpu/ops/data_ops.hpp"
#include "inference/cpu/ops/op_util.hpp"
#include "inference/cpu/ops/strided_copy.hpp"

namespace mizzen::inference::detail {
namespace {

const std::byte* advance(const void* memory, std::size_t bytes) {
  return static_cast<const std::byte*>(memory) + bytes;
}
std::byte* advance(void* memory, std::size_t bytes) {
  return static_cast<std::byte*>(memory) + bytes;
}

class concat_kernel final : public kernel {
 public:
  concat_kernel(std::int64_t axis, std::size_t element_size)
      : axis_(axis), element_size_(element_size) {}

  void run(const run_context& c) const override {
    const value_view& out = c.outputs[0];
    const std::size_t axis = resolve_axis(axis_, out.shape.size());
    const rank_array strides = dense_strides(out.shape);
    std::size_t at = 0;
    for (const value_view& in : c.inputs) {
      copy_strided(advance(out.data, at * element_size_), strides, in.data, dense_strides(in.shape),
                   in.shape, element_size_, c.pool);
      at += static_cast<std::size_t>(in.shape[axis] * strides[axis]);
    }
  }

 private:
  std::int64_t axis_;
  std::size_t element_size_;
};

class split_kernel final : public kernel {
 public:
  split_kernel(std::int64_t axis, std::size_t element_size)
      : axis_(axis), element_size_(element_size) {}

  void run(const run_context& c) const override {
    const value_view& in = c.inputs[0];
    const std::size_t axis = resolve_axis(axis_, in.shape.size());
    const rank_array strides = dense_strides(in.shape);
    std::size_t at = 0;
    for (const value_view& out : c.outputs) {
      if (out.present()) {
        copy_strided(out.data, dense_strides(out.shape),
                     advance(static_cast<const void*>(in.data), at * element_size_), strides,
                     out.shape, element_size_, c.pool);
      }
      at += static_cast<std::size_t>(out.shape[axis] * strides[axis]);
    }
  }

 private:
  std::int64_t axis_;
  std::size_t element_size_;
};

std::unique_ptr<kernel> compile_concat(const compile_context& c) {
  return std::make_unique<concat_kernel>(c.n.attributes.require_int("axis"), movable_size(c));
}

std::unique_ptr<kernel> compile_split(const compile_context& c) {
  for (std::size_t i = 0; i < c.n.outputs.size(); ++i) {
    if (!c.has_output(i)) c.unsupported("an output that is left out");
  }
  return std::make_unique<split_kernel>(c.n.attributes.get_int("axis", 0), movable_size(c));
}

}  // namespace

void register_concat(op_registry& registry) {
  registry.add("Concat", {compile_concat});
  registry.add("Split", {compile_split});
}

}  // namespace mizzen::inference::detail
