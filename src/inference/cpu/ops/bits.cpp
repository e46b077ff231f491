// Operators on the bits of integers.
#include "inference/cpu/kernels/broadcast.hpp"
#include "inference/cpu/ops/op_util.hpp"
#include "inference/cpu/ops/plain.hpp"
#include "inference/cpu/thread_pool.hpp"

#include <cstring>
#include <functional>
#include <type_traits>

namespace mizzen::inference::detail {
namespace {

template <class Fn>
std::unique_ptr<kernel> for_integer_type(const compile_context& c, Fn&& fn) {
  std::unique_ptr<kernel> result;
  dispatch<std::int8_t, std::int16_t, std::int32_t, std::int64_t, std::uint8_t, std::uint16_t,
           std::uint32_t, std::uint64_t>(c.input_type(0),
                                         [&]<class T>(T) { result = fn.template operator()<T>(); });
  if (!result) c.invalid("its inputs must be integers");
  return result;
}

// Two broadcast inputs, a function of two elements.
template <class T, class F>
class binary_bits_kernel final : public kernel {
 public:
  explicit binary_bits_kernel(F f) : f_(f) {}

  void run(const run_context& c) const override {
    const value_view& y = c.outputs[0];
    const cpu::broadcast_plan<2> plan(y.shape, {c.inputs[0].shape, c.inputs[1].shape});
    cpu::for_each_run(c.pool, plan,
                      [&](std::size_t to, const auto& at, const auto& step, std::size_t n) {
                        const T* const a = c.inputs[0].as<const T>() + at[0];
                        const T* const b = c.inputs[1].as<const T>() + at[1];
                        T* const out = y.as<T>() + to;
                        for (std::size_t i = 0; i < n; ++i)
                          out[i] = f_(a[i * step[0]], b[i * step[1]]);
                      });
  }

 private:
  F f_;
};

template <template <class> class Op>
std::unique_ptr<kernel> compile_bitwise(const compile_context& c) {
  return for_integer_type(c, []<class T>() -> std::unique_ptr<kernel> {
    const auto f = [](T a, T b) { return static_cast<T>(Op<T>{}(a, b)); };
    return std::make_unique<binary_bits_kernel<T, decltype(f)>>(f);
  });
}

template <class T>
class not_bits_kernel final : public kernel {
 public:
  bool may_overwrite(std::size_t) const override { return true; }
  void run(const run_context& c) const override {
    const T* const x = c.inputs[0].as<const T>();
    T* const y = c.outputs[0].as<T>();
    for (std::size_t i = 0; i < c.outputs[0].count; ++i) y[i] = static_cast<T>(~x[i]);
  }
};

std::unique_ptr<kernel> compile_bitwise_not(const compile_context& c) {
  return for_integer_type(c, []<class T>() -> std::unique_ptr<kernel> {
    return std::make_unique<not_bits_kernel<T>>();
  });
}

// Source: ONNX BitShift-28: beyond the width to the left 0, to the right the sign.
template <class T>
T shift(T x, T by, bool left) noexcept {
  using U = std::make_unsigned_t<T>;
  constexpr T width = sizeof(T) * 8;
  if (by < 0 || by >= width) return !left && x < 0 ? static_cast<T>(-1) : T{0};
  return left ? static_cast<T>(static_cast<U>(static_cast<std::uint64_t>(static_cast<U>(x)) << by))
              : static_cast<T>(x >> by);
}

std::unique_ptr<kernel> compile_shift(const compile_context& c) {
  const std::string direction = c.n.attributes.get_string("direction", "");
  if (direction != "LEFT" && direction != "RIGHT") {
    c.invalid("attribute 'direction' must be LEFT or RIGHT");
  }
  return for_integer_type(c, [&]<class T>() -> std::unique_ptr<kernel> {
    const auto f = [left = direction == "LEFT"](T a, T b) { return shift<T>(a, b, left); };
    return std::make_unique<binary_bits_kernel<T, std::remove_const_t<decltype(f)>>>(f);
  });
}

class same_bits_kernel final : public kernel {
 public:
  bool may_overwrite(std::size_t) const override { return true; }
  void run(const run_context& c) const override {
    if (c.outputs[0].type == element_type::boolean) {
      // A bool is 0 or 1, whatever the byte was.
      const auto* x = c.inputs[0].as<const std::uint8_t>();
      for (std::size_t i = 0; i < c.inputs[0].count; ++i) c.outputs[0].as<bool>()[i] = x[i] != 0;
      return;
    }
    if (c.outputs[0].data == c.inputs[0].data) return;
    const std::size_t bits = c.inputs[0].count * bit_width(c.inputs[0].type);
    std::memcpy(c.outputs[0].data, c.inputs[0].data, (bits + 7) / 8);
  }
};

std::unique_ptr<kernel> compile_bit_cast(const compile_context& c) {
  if (bit_width(c.input_type(0)) == 0) c.unsupported("strings");
  return std::make_unique<same_bits_kernel>();
}

}  // namespace

void register_bits(op_registry& registry) {
  registry.add("BitCast", {compile_bit_cast}, 26);
  registry.add("BitShift", {compile_shift}, 11);
  registry.add("BitwiseAnd", {compile_bitwise<std::bit_and>}, 18);
  registry.add("BitwiseNot", {compile_bitwise_not}, 18);
  registry.add("BitwiseOr", {compile_bitwise<std::bit_or>}, 18);
  registry.add("BitwiseXor", {compile_bitwise<std::bit_xor>}, 18);
}

}  // namespace mizzen::inference::detail
