// Operators that leave the bytes as they are.
#include "inference/cpu/ops/data_ops.hpp"
#include "inference/cpu/ops/op_util.hpp"

#include <algorithm>
#include <cstring>

namespace mizzen::inference::detail {
namespace {

class view_kernel final : public kernel {
 public:
  explicit view_kernel(std::size_t element_size) : element_size_(element_size) {}

  bool is_view() const override { return true; }

  // Only reached where the engine cannot share the memory: the output is the caller's.
  void run(const run_context& c) const override {
    std::memcpy(c.outputs[0].data, c.inputs[0].data, c.outputs[0].count * element_size_);
  }

 private:
  std::size_t element_size_;
};

std::unique_ptr<kernel> compile_view(const compile_context& c) {
  return std::make_unique<view_kernel>(movable_size(c));
}

class dropout_kernel final : public kernel {
 public:
  explicit dropout_kernel(std::size_t element_size) : element_size_(element_size) {}

  void run(const run_context& c) const override {
    std::memcpy(c.outputs[0].data, c.inputs[0].data, c.outputs[0].count * element_size_);
    if (c.outputs.size() > 1 && c.outputs[1].present()) {
      std::fill_n(c.outputs[1].as<bool>(), c.outputs[1].count, true);
    }
  }

 private:
  std::size_t element_size_;
};

std::unique_ptr<kernel> compile_dropout(const compile_context& c) {
  if (c.has_input(2)) {
    const auto mode = c.constant(2);
    if (!mode || mode->size() != 1 || mode->data<bool>()[0]) c.unsupported("training mode");
  }
  if (c.has_output(1)) return std::make_unique<dropout_kernel>(movable_size(c));
  return compile_view(c);
}

}  // namespace

void register_reshape(op_registry& registry) {
  for (const char* op : {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity"}) {
    registry.add(op, {compile_view});
  }
  registry.add("Dropout", {compile_dropout});
}

}  // namespace mizzen::inference::detail
