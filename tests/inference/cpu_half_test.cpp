#include "inference/cpu/kernels/elements.hpp"
#include "inference/cpu/kernels/half_table.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

namespace mizzen::inference::detail::cpu {
namespace {

class half_floats : public ::testing::TestWithParam<const half_table*> {};

INSTANTIATE_TEST_SUITE_P(cpu, half_floats,
                         ::testing::ValuesIn(half_tables().begin(), half_tables().end()),
                         [](const auto& of) { return std::string(of.param->name); });

// Every half there is, in runs of every length that ends within a vector.
template <class Half>
void check_widening(void (*widen)(const Half*, std::size_t, float*)) {
  std::vector<Half> halves(1U << 16);
  for (std::size_t i = 0; i < halves.size(); ++i) halves[i].bits = static_cast<std::uint16_t>(i);
  std::vector<float> floats(halves.size() + 1, -77.0F);
  std::size_t length = 0;
  for (std::size_t i = 0; i < halves.size(); i += length) {
    length = std::min(length % 37 + 1, halves.size() - i);
    widen(halves.data() + i, length, floats.data() + i);
    ASSERT_EQ(floats[i + length], -77.0F);
  }
  for (std::size_t i = 0; i < halves.size(); ++i) {
    const float want = to_float(halves[i]);
    if (std::isnan(want)) {
      ASSERT_TRUE(std::isnan(floats[i])) << i;
    } else {
      ASSERT_EQ(std::bit_cast<std::uint32_t>(floats[i]), std::bit_cast<std::uint32_t>(want)) << i;
    }
  }
}

std::vector<float> floats_to_round() {
  std::vector<float> x{0.0F,
                       -0.0F,
                       std::numeric_limits<float>::infinity(),
                       65504.0F,
                       65519.0F,
                       65520.0F,
                       3e38F,
                       std::numeric_limits<float>::max(),
                       std::numeric_limits<float>::denorm_min()};
  // Each half, and what lies between two of them: halfway, and just off it.
  for (std::uint32_t i = 0; i < 0x7C00U; i += 7) {
    const float h = to_float(float16{static_cast<std::uint16_t>(i)});
    const float next = to_float(float16{static_cast<std::uint16_t>(i + 1)});
    const float middle = (h + next) / 2;
    x.insert(x.end(), {h, middle, std::nextafter(middle, 0.0F), std::nextafter(middle, 1e9F)});
  }
  std::mt19937 random(1);
  for (int i = 0; i < 20000; ++i)
    x.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(random())));
  const std::size_t positive = x.size();
  for (std::size_t i = 0; i < positive; ++i) x.push_back(-x[i]);
  // NaNs, also those whose payload the narrower type has no bits for.
  for (const std::uint32_t bits :
       {0x7FC00000U, 0x7F800001U, 0xFF800001U, 0x7FFFFFFFU, 0xFFFF8000U}) {
    x.push_back(std::bit_cast<float>(bits));
  }
  return x;
}

template <class Half>
void check_narrowing(void (*narrow)(const float*, std::size_t, Half*), Half (*reference)(float)) {
  const std::vector<float> x = floats_to_round();
  std::vector<Half> halves(x.size() + 1, Half{0xABCD});
  std::size_t length = 0;
  for (std::size_t i = 0; i < x.size(); i += length) {
    length = std::min(length % 37 + 1, x.size() - i);
    narrow(x.data() + i, length, halves.data() + i);
    ASSERT_EQ(halves[i + length].bits, 0xABCD);
  }
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (std::isnan(x[i])) {
      ASSERT_TRUE(std::isnan(to_float(halves[i]))) << i;
      ASSERT_EQ(std::signbit(to_float(halves[i])), std::signbit(x[i])) << i;
    } else {
      ASSERT_EQ(halves[i].bits, reference(x[i]).bits) << x[i];
    }
  }
}

TEST_P(half_floats, widen) {
  check_widening(GetParam()->from_float16);
  check_widening(GetParam()->from_bfloat16);
}

TEST_P(half_floats, narrow) {
  check_narrowing<float16>(GetParam()->to_float16, to_float16);
  check_narrowing<bfloat16>(GetParam()->to_bfloat16, to_bfloat16);
}

}  // namespace
}  // namespace mizzen::inference::detail::cpu
