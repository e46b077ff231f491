// Comparisons, boolean arithmetic and Where.
#include "inference/cpu/ops/data_ops.hpp"
#include "inference/cpu/ops/op_util.hpp"
#include "inference/cpu/ops/strided_copy.hpp"
#include "inference/cpu/thread_pool.hpp"

#include <functional>

namespace mizzen::inference::detail {
namespace {

// Calls row(output index, index into each input, step of each input, count) for the innermost
// dimension, the outer ones divided among threads.
template <std::size_t Inputs, class Row>
void for_broadcast_rows(const run_context& c, Row row) {
  const auto out = c.outputs[0].shape;
  std::array<rank_array, Inputs> strides;
  for (std::size_t i = 0; i < Inputs; ++i) strides[i] = broadcast_strides(c.inputs[i].shape, out);
  if (out.empty()) {
    row(std::size_t{0}, std::array<std::int64_t, Inputs>{}, std::array<std::int64_t, Inputs>{},
        std::size_t{1});
    return;
  }
  const std::size_t last = out.size() - 1;
  const auto inner = static_cast<std::size_t>(out[last]);
  std::array<std::int64_t, Inputs> steps;
  for (std::size_t i = 0; i < Inputs; ++i) steps[i] = strides[i][last];
  c.pool.parallel_for(c.outputs[0].count / inner, grain_for(inner * 8),
                      [&](std::size_t begin, std::size_t end) {
                        for (std::size_t r = begin; r < end; ++r) {
                          std::array<std::int64_t, Inputs> at{};
                          auto rest = static_cast<std::int64_t>(r);
                          for (std::size_t d = last; d-- > 0;) {
                            for (std::size_t i = 0; i < Inputs; ++i) {
                              at[i] += rest % out[d] * strides[i][d];
                            }
                            rest /= out[d];
                          }
                          row(r * inner, at, steps, inner);
                        }
                      });
}

template <class T, class Op>
class compare_kernel final : public kernel {
 public:
  void run(const run_context& c) const override {
    const T* a = c.inputs[0].as<const T>();
    const T* b = c.inputs[1].as<const T>();
    bool* out = c.outputs[0].as<bool>();
    for_broadcast_rows<2>(c, [&](std::size_t o, const auto& at, const auto& step, std::size_t n) {
      const T* x = a + at[0];
      const T* y = b + at[1];
      for (std::size_t i = 0; i < n; ++i) {
        out[o + i] = Op{}(x[static_cast<std::int64_t>(i) * step[0]],
                          y[static_cast<std::int64_t>(i) * step[1]]);
      }
    });
  }
};

template <class Op>
std::unique_ptr<kernel> compile_compare(const compile_context& c) {
  std::unique_ptr<kernel> result;
  dispatch<float, double, bool, std::int8_t, std::int16_t, std::int32_t, std::int64_t, std::uint8_t,
           std::uint16_t, std::uint32_t, std::uint64_t>(
      c.input_type(0), [&]<class T>(T) { result = std::make_unique<compare_kernel<T, Op>>(); });
  if (!result) c.unsupported("inputs of type " + std::string(to_string(c.input_type(0))));
  return result;
}

template <class Op>
std::unique_ptr<kernel> compile_boolean(const compile_context& c) {
  if (c.input_type(0) != element_type::boolean) c.invalid("its inputs must be bool");
  return std::make_unique<compare_kernel<bool, Op>>();
}

class not_kernel final : public kernel {
 public:
  bool may_overwrite(std::size_t) const override { return true; }
  void run(const run_context& c) const override {
    const bool* in = c.inputs[0].as<const bool>();
    bool* out = c.outputs[0].as<bool>();
    for (std::size_t i = 0; i < c.outputs[0].count; ++i) out[i] = !in[i];
  }
};

std::unique_ptr<kernel> compile_not(const compile_context& c) {
  if (c.input_type(0) != element_type::boolean) c.invalid("its input must be bool");
  return std::make_unique<not_kernel>();
}

// T is any type of the element's width: Where only moves.
template <class T>
class where_kernel final : public kernel {
 public:
  void run(const run_context& c) const override {
    const bool* condition = c.inputs[0].as<const bool>();
    const T* a = c.inputs[1].as<const T>();
    const T* b = c.inputs[2].as<const T>();
    T* out = c.outputs[0].as<T>();
    for_broadcast_rows<3>(c, [&](std::size_t o, const auto& at, const auto& step, std::size_t n) {
      for (std::size_t k = 0; k < n; ++k) {
        const auto i = static_cast<std::int64_t>(k);
        out[o + k] =
            condition[at[0] + i * step[0]] ? a[at[1] + i * step[1]] : b[at[2] + i * step[2]];
      }
    });
  }
};

std::unique_ptr<kernel> compile_where(const compile_context& c) {
  switch (movable_size(c, 1)) {
    case 1:
      return std::make_unique<where_kernel<std::uint8_t>>();
    case 2:
      return std::make_unique<where_kernel<std::uint16_t>>();
    case 4:
      return std::make_unique<where_kernel<std::uint32_t>>();
    case 8:
      return std::make_unique<where_kernel<std::uint64_t>>();
    default:
      c.unsupported("its element type");
  }
}

}  // namespace

void register_logic(op_registry& registry) {
  registry.add("Equal", {compile_compare<std::equal_to<>>});
  registry.add("Less", {compile_compare<std::less<>>});
  registry.add("LessOrEqual", {compile_compare<std::less_equal<>>}, 12);
  registry.add("Greater", {compile_compare<std::greater<>>});
  registry.add("GreaterOrEqual", {compile_compare<std::greater_equal<>>}, 12);
  registry.add("And", {compile_boolean<std::logical_and<>>});
  registry.add("Or", {compile_boolean<std::logical_or<>>});
  registry.add("Xor", {compile_boolean<std::not_equal_to<>>});
  registry.add("Not", {compile_not});
  registry.add("Where", {compile_where}, 9);
}

}  // namespace mizzen::inference::detail
