#include "inference/cpu/ops/data_ops.hpp"
#include "inference/cpu/ops/op_util.hpp"
#include "inference/cpu/ops/strided_copy.hpp"

#include <algorithm>

namespace mizzen::inference::detail {
namespace {

// Looks at the shape of its input only; the data may be missing.
class shape_kernel final : public kernel {
 public:
  explicit shape_kernel(std::int64_t start) : start_(start) {}

  bool reads_input(std::size_t) const override { return false; }

  void run(const run_context& c) const override {
    const auto shape = c.inputs[0].shape;
    const auto rank = static_cast<std::int64_t>(shape.size());
    const std::int64_t first =
        std::clamp<std::int64_t>(start_ < 0 ? start_ + rank : start_, 0, rank);
    std::copy_n(shape.begin() + first, c.outputs[0].count, c.outputs[0].as<std::int64_t>());
  }

 private:
  std::int64_t start_;
};

class size_kernel final : public kernel {
 public:
  bool reads_input(std::size_t) const override { return false; }
  void run(const run_context& c) const override {
    *c.outputs[0].as<std::int64_t>() = static_cast<std::int64_t>(c.inputs[0].count);
  }
};

class fill_kernel final : public kernel {
 public:
  fill_kernel(std::shared_ptr<const tensor> value, std::size_t element_size)
      : value_(std::move(value)), element_size_(element_size) {}

  void run(const run_context& c) const override {
    const float zero = 0.0F;
    const void* source = value_ ? static_cast<const void*>(value_->bytes().data()) : &zero;
    copy_strided(c.outputs[0].data, dense_strides(c.outputs[0].shape), source, rank_array{},
                 c.outputs[0].shape, element_size_, c.pool);
  }

 private:
  std::shared_ptr<const tensor> value_;  // null: the float 0
  std::size_t element_size_;
};

template <class T>
class range_kernel final : public kernel {
 public:
  void run(const run_context& c) const override {
    const T start = *c.inputs[0].as<const T>();
    const T delta = *c.inputs[2].as<const T>();
    T* out = c.outputs[0].as<T>();
    for (std::size_t i = 0; i < c.outputs[0].count; ++i) {
      if constexpr (std::integral<T>) {
        // Unsigned, because steps may wrap on the way to a number that fits.
        out[i] = static_cast<T>(static_cast<std::uint64_t>(start) +
                                i * static_cast<std::uint64_t>(delta));
      } else {
        out[i] = start + static_cast<T>(i) * delta;
      }
    }
  }
};

std::unique_ptr<kernel> compile_shape(const compile_context& c) {
  return std::make_unique<shape_kernel>(c.n.attributes.get_int("start", 0));
}

std::unique_ptr<kernel> compile_size(const compile_context&) {
  return std::make_unique<size_kernel>();
}

std::unique_ptr<kernel> compile_fill(const compile_context& c) {
  const std::size_t bits = bit_width(c.output_type(0));
  if (bits < 8) c.unsupported("elements of type " + std::string(to_string(c.output_type(0))));
  return std::make_unique<fill_kernel>(c.n.attributes.get_tensor("value"), bits / 8);
}

std::unique_ptr<kernel> compile_range(const compile_context& c) {
  std::unique_ptr<kernel> result;
  dispatch<float, double, std::int16_t, std::int32_t, std::int64_t>(
      c.input_type(0), [&]<class T>(T) { result = std::make_unique<range_kernel<T>>(); });
  if (!result) c.unsupported("its element type");
  return result;
}

}  // namespace

void register_shape(op_registry& registry) {
  registry.add("Shape", {compile_shape});
  registry.add("Size", {compile_size});
  registry.add("ConstantOfShape", {compile_fill});
  registry.add("Range", {compile_range});
}

}  // namespace mizzen::inference::detail
