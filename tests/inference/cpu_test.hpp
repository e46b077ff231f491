// What the tests of the CPU's numerics share.
#pragma once

#include "inference/cpu/isa.hpp"
#include "inference/cpu/kernels/kernel_table.hpp"
#include "inference/cpu/thread_pool.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <random>
#include <string>
#include <vector>

namespace mizzen::inference::detail::cpu {

inline constexpr float nan = std::numeric_limits<float>::quiet_NaN();
inline constexpr float inf = std::numeric_limits<float>::infinity();

inline std::vector<isa> levels_here() {
  std::vector<isa> levels;
  for (const isa level : {isa::generic, isa::avx2, isa::avx512}) {
    if (level <= detect_isa()) levels.push_back(level);
  }
  return levels;
}

inline std::vector<float> random_floats(std::size_t n, unsigned seed, float low = -1,
                                        float high = 1) {
  std::mt19937 generator(seed);
  std::uniform_real_distribution<float> uniform(low, high);
  std::vector<float> values(n);
  for (float& v : values) v = uniform(generator);
  return values;
}

// A test that runs once per instruction set of this processor.
class every_isa : public testing::TestWithParam<isa> {
 protected:
  const kernel_table& kernels() const { return kernels_for(GetParam()); }
  thread_pool& pool() { return pool_; }

 private:
  thread_pool pool_{3};
};

inline std::string isa_name(const testing::TestParamInfo<isa>& info) {
  return std::string(to_string(info.param));
}

#define MIZZEN_EVERY_ISA(suite)      \
  class suite : public every_isa {}; \
  INSTANTIATE_TEST_SUITE_P(cpu, suite, testing::ValuesIn(levels_here()), isa_name)

// Compares with a reference in double: |got - want| <= tolerance * (1 + |want|), NaN equals NaN.
inline void expect_close(const std::vector<float>& got, const std::vector<double>& want,
                         double tolerance, const std::string& what = "") {
  ASSERT_EQ(got.size(), want.size()) << what;
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (std::isnan(want[i])) {
      ASSERT_TRUE(std::isnan(got[i])) << what << " at " << i << ": " << got[i];
    } else if (std::isinf(want[i])) {
      ASSERT_EQ(static_cast<double>(got[i]), want[i]) << what << " at " << i;
    } else {
      ASSERT_NEAR(static_cast<double>(got[i]), want[i], tolerance * (1 + std::abs(want[i])))
          << what << " at " << i;
    }
  }
}

}  // namespace mizzen::inference::detail::cpu
