// QuantizeLinear and DequantizeLinear between float32 and 8-bit integers. Blocks, and other types,
// are plain_quantised.cpp's.
#include "inference/cpu/kernels/broadcast.hpp"
#include "inference/cpu/kernels/int8_table.hpp"
#include "inference/cpu/ops/numeric_ops.hpp"

#include <algorithm>
#include <array>

namespace mizzen::inference::detail {
namespace {

// Runs of elements that have one scale and one zero point.
class quantisation_axis {
 public:
  quantisation_axis(const compile_context& c, element_type floats, element_type bytes)
      : axis_(c.n.attributes.get_int("axis", 1)), is_signed_(bytes == element_type::int8) {
    const attribute_map& a = c.n.attributes;
    const auto precision = static_cast<element_type>(a.get_int("precision", 0));
    const bool known = (bytes == element_type::int8 || bytes == element_type::uint8) &&
                       floats == element_type::float32 &&
                       c.input_type(1) == element_type::float32 &&
                       (precision == element_type::undefined || precision == floats) &&
                       (!c.has_input(2) || c.input_type(2) == bytes);
    if (!known || a.get_int("block_size", 0) != 0) c.unsupported("needs float32, bytes, no blocks");
  }

  // Calls f(begin, n, scale, zero of uint8) until all of x is covered.
  template <class Function>
  void run(const run_context& c, Function&& f) const {
    const value_view& x = c.inputs[0];
    const value_view& scales = c.inputs[1];
    const value_view zeros = c.inputs.size() > 2 ? c.inputs[2] : value_view{};
    if (x.count == 0) return;
    const auto zero = [&](std::size_t i) {
      if (!zeros.present()) return is_signed_ ? 128.0F : 0.0F;
      if (zeros.count == 1) i = 0;
      return is_signed_ ? static_cast<float>(zeros.as<const std::int8_t>()[i]) + 128.0F
                        : static_cast<float>(zeros.as<const std::uint8_t>()[i]);
    };
    const auto* scale = scales.as<const float>();
    if (scales.count == 1) {
      // Pieces that stay in cache.
      c.pool.parallel_for(x.count, cpu::element_grain, [&](std::size_t begin, std::size_t end) {
        for (std::size_t i = begin; i < end; i += piece) {
          f(i, std::min(piece, end - i), scale[0], zero(0));
        }
      });
      return;
    }
    const std::size_t axis = checked_axis(axis_, x.shape.size());
    const std::size_t inner = product(x.shape, axis + 1, x.shape.size());
    const auto dim = static_cast<std::size_t>(x.shape[axis]);
    c.pool.parallel_for(x.count / inner, cpu::element_grain / inner + 1,
                        [&](std::size_t begin, std::size_t end) {
                          for (std::size_t i = begin; i < end; ++i) {
                            f(i * inner, inner, scale[i % dim], zero(i % dim));
                          }
                        });
  }

  bool is_signed() const noexcept { return is_signed_; }
  static constexpr std::size_t piece = 4096;

 private:
  std::int64_t axis_;
  bool is_signed_;
};

// Source: ONNX QuantizeLinear-25. NaN becomes the least number.
class quantise_kernel final : public kernel {
 public:
  explicit quantise_kernel(const compile_context& c)
      : axis_(c, c.input_type(0), c.output_type(0)) {}

  void run(const run_context& c) const override {
    const auto* x = c.inputs[0].as<const float>();
    auto* y = c.outputs[0].as<std::uint8_t>();
    axis_.run(c, [&](std::size_t at, std::size_t n, float scale, float zero) {
      table_.quantise(x + at, n, scale, zero, y + at);
      if (axis_.is_signed()) table_.flip(y + at, n, y + at);
    });
  }

 private:
  quantisation_axis axis_;
  const cpu::int8_table& table_ = cpu::best_int8();
};

// Source: ONNX DequantizeLinear-25.
class dequantise_kernel final : public kernel {
 public:
  explicit dequantise_kernel(const compile_context& c)
      : axis_(c, c.output_type(0), c.input_type(0)) {}

  void run(const run_context& c) const override {
    const auto* x = c.inputs[0].as<const std::uint8_t>();
    auto* y = c.outputs[0].as<float>();
    axis_.run(c, [&](std::size_t at, std::size_t n, float scale, float zero) {
      if (!axis_.is_signed()) return table_.dequantise(x + at, n, zero, scale, y + at);
      std::array<std::uint8_t, quantisation_axis::piece> bytes;
      for (std::size_t i = 0; i < n; i += bytes.size()) {
        const std::size_t some = std::min(bytes.size(), n - i);
        table_.flip(x + at + i, some, bytes.data());
        table_.dequantise(bytes.data(), some, zero, scale, y + at + i);
      }
    });
  }

 private:
  quantisation_axis axis_;
  const cpu::int8_table& table_ = cpu::best_int8();
};

template <class Kernel>
std::unique_ptr<kernel> compile(const compile_context& c) {
  return std::make_unique<Kernel>(c);
}

}  // namespace

void register_quantise_ops(op_registry& registry) {
  registry.add("QuantizeLinear", {compile<quantise_kernel>}, 10);
  registry.add("DequantizeLinear", {compile<dequantise_kernel>}, 10);
}

}  // namespace mizzen::inference::detail
