#include "inference/cpu/ops/data_ops.hpp"
#include "inference/cpu/ops/op_util.hpp"
#include "inference/cpu/ops/strided_copy.hpp"
#include "inference/cpu/thread_pool.hpp"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

namespace mizzen::inference::detail {
namespace {

float to_float(bfloat16 v) noexcept {
  return std::bit_cast<float>(static_cast<std::uint32_t>(v.bits) << 16);
}

float to_float(float16 v) noexcept {
  const std::uint32_t sign = static_cast<std::uint32_t>(v.bits & 0x8000U) << 16;
  const std::uint32_t exponent = (v.bits >> 10) & 0x1FU;
  const std::uint32_t mantissa = v.bits & 0x3FFU;
  if (exponent == 0x1F) return std::bit_cast<float>(sign | 0x7F800000U | (mantissa << 13));
  if (exponent == 0) {
    const float magnitude = std::ldexp(static_cast<float>(mantissa), -24);
    return sign != 0 ? -magnitude : magnitude;
  }
  return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

// Round to nearest, ties to even, as IEEE 754 says.
bfloat16 to_bfloat16(float v) noexcept {
  const auto bits = std::bit_cast<std::uint32_t>(v);
  if (std::isnan(v)) return {static_cast<std::uint16_t>((bits >> 16) | 0x40U)};
  return {static_cast<std::uint16_t>((bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16)};
}

float16 to_float16(float v) noexcept {
  const auto bits = std::bit_cast<std::uint32_t>(v);
  const auto sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000U);
  const std::uint32_t magnitude = bits & 0x7FFFFFFFU;
  const auto with_sign = [&](std::uint32_t m) {
    return float16{static_cast<std::uint16_t>(sign | m)};
  };
  if (magnitude > 0x7F800000U) return with_sign(0x7E00U);   // NaN
  if (magnitude >= 0x477FF000U) return with_sign(0x7C00U);  // rounds to infinity
  if (magnitude < 0x38800000U) {                            // subnormal: units of 2^-24
    const float scaled = std::ldexp(std::bit_cast<float>(magnitude), 24);
    return with_sign(static_cast<std::uint32_t>(std::nearbyint(scaled)));
  }
  const std::uint32_t rebased = magnitude - (112U << 23);
  return with_sign((rebased + 0xFFFU + ((rebased >> 13) & 1U)) >> 13);
}

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
                          for (std::size_t i = b; i < e; ++i) out[i] = convert<To>(in[i]);
                        });
  }
};

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
  if (!result) {
    c.unsupported("from " + std::string(to_string(c.input_type(0))) + " to " +
                  std::string(to_string(c.output_type(0))));
  }
  return result;
}

}  // namespace

void register_cast(op_registry& registry) {
  registry.add("Cast", {compile_cast}, 6);
  registry.add("CastLike", {compile_cast}, 15);
}

}  // namespace mizzen::inference::detail
