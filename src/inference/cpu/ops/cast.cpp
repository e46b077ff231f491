#include "inference/cpu/kernels/elements.hpp"
#include "inference/cpu/kernels/half_table.hpp"
#include "inference/cpu/ops/data_ops.hpp"
#include "inference/cpu/ops/op_util.hpp"
#include "inference/cpu/ops/strided_copy.hpp"
#include "inference/cpu/thread_pool.hpp"

#include <cmath>
#include <limits>

namespace mizzen::inference::detail {
namespace {

using cpu::to_bfloat16;
using cpu::to_float;
using cpu::to_float16;

// A float becomes an integer towards zero. What does not fit is undefined in ONNX; it saturates
// here (NaN becomes 0), so that the result is the same on every machine.
template <class To, class From>
To float_to_int(From v) noexcept {
  if (std::isnan(v)) return 0;
  constexpr auto low = static_cast<From>(std::numeric_limits<To>::min());
  constexpr auto high = static_cast<From>(std::numeric_limits<To>::max());
  if (v <= low) return std::numeric_limits<To>::min();
  if (v >= high) return std::numeric_limits<To>::max();
  return static_cast<To>(v);
}

template <class T>
constexpr bool is_half = std::same_as<T, float16> || std::same_as<T, bfloat16>;

template <class To, class From>
To convert(From v) noexcept {
  if constexpr (is_half<From>) {
    if constexpr (std::same_as<To, From>) {
      return v;
    } else {
      return convert<To>(to_float(v));
    }
  } else if constexpr (std::same_as<To, float16>) {
    return to_float16(static_cast<float>(v));
  } else if constexpr (std::same_as<To, bfloat16>) {
    return to_bfloat16(static_cast<float>(v));
  } else if constexpr (std::same_as<To, bool>) {
    return v != From{};
  } else if constexpr (std::floating_point<From> && std::integral<To>) {
    return float_to_int<To>(v);
  } else {
    return static_cast<To>(v);
  }
}

template <class To, class From>
class cast_kernel final : public kernel {
 public:
  void run(const run_context& c) const override {
    const From* in = c.inputs[0].as<const From>();
    To* out = c.outputs[0].as<To>();
    c.pool.parallel_for(c.outputs[0].count, grain_for(sizeof(To) + sizeof(From)),
                        [&](std::size_t b, std::size_t e) {
                          if constexpr (is_half<From> && std::same_as<To, float>) {
                            cpu::widen(in + b, e - b, out + b);
                          } else if constexpr (is_half<To> && std::same_as<From, float>) {
                            cpu::narrow_floats(in + b, e - b, out + b);
                          } else {
                            for (std::size_t i = b; i < e; ++i) out[i] = convert<To>(in[i]);
                          }
                        });
  }
};

// To and from the types of a byte or less.
class small_cast_kernel final : public kernel {
 public:
  explicit small_cast_kernel(cpu::cast_rules rules) : rules_(rules) {}

  void run(const run_context& c) const override {
    const value_view& x = c.inputs[0];
    cpu::cast_elements(x.data, x.type, x.count, c.outputs[0].data, c.outputs[0].type, rules_);
  }

 private:
  cpu::cast_rules rules_;
};

std::unique_ptr<kernel> compile_small_cast(const compile_context& c) {
  if (!cpu::has_elements(c.input_type(0)) || !cpu::has_elements(c.output_type(0))) {
    c.unsupported("from " + std::string(to_string(c.input_type(0))) + " to " +
                  std::string(to_string(c.output_type(0))));
  }
  cpu::cast_rules rules;
  rules.saturate = c.n.attributes.get_int("saturate", 1) != 0;
  const std::string round = c.n.attributes.get_string("round_mode", "up");
  using rounding = cpu::cast_rules::rounding;
  if (round == "nearest") {
    rules.e8m0 = rounding::nearest;
  } else if (round == "down") {
    rules.e8m0 = rounding::down;
  } else if (round != "up") {
    c.invalid("unknown round_mode '" + round + "'");
  }
  return std::make_unique<small_cast_kernel>(rules);
}

std::unique_ptr<kernel> compile_cast(const compile_context& c) {
  std::unique_ptr<kernel> result;
  const auto each_type = [](element_type type, auto&& fn) {
    return dispatch<float, double, float16, bfloat16, bool, std::int8_t, std::int16_t, std::int32_t,
                    std::int64_t, std::uint8_t, std::uint16_t, std::uint32_t, std::uint64_t>(type,
                                                                                             fn);
  };
  each_type(c.input_type(0), [&]<class From>(From) {
    each_type(c.output_type(0),
              [&]<class To>(To) { result = std::make_unique<cast_kernel<To, From>>(); });
  });
  return result ? std::move(result) : compile_small_cast(c);
}

}  // namespace

void register_cast(op_registry& registry) {
  registry.add("Cast", {compile_cast}, 6);
  registry.add("CastLike", {compile_cast}, 15);
}

}  // namespace mizzen::inference::detail
