#include "inference/runtime/memory_planner.hpp"

#include <mizzen/core/error.hpp>

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>

namespace mizzen::inference::detail {
namespace {

void expect_valid(const std::vector<planned_buffer>& buffers, std::size_t total) {
  for (std::size_t i = 0; i < buffers.size(); ++i) {
    const planned_buffer& a = buffers[i];
    EXPECT_EQ(a.offset % 64, 0U);
    EXPECT_LE(a.offset + a.bytes, total);
    for (std::size_t j = 0; j < i; ++j) {
      const planned_buffer& b = buffers[j];
      const bool together = a.first <= b.last && b.first <= a.last;
      const bool overlap = a.offset < b.offset + b.bytes && b.offset < a.offset + a.bytes;
      EXPECT_FALSE(together && overlap && a.bytes != 0 && b.bytes != 0) << i << " and " << j;
    }
  }
}

TEST(memory_planner, a_chain_needs_two_buffers) {
  std::vector<planned_buffer> chain;
  for (std::size_t i = 0; i < 10; ++i) chain.push_back({1024, i, i + 1, 0});
  const std::size_t total = plan_memory(chain);
  expect_valid(chain, total);
  EXPECT_EQ(total, 2048U);
}

TEST(memory_planner, small_buffers_fill_the_gaps) {
  std::vector<planned_buffer> buffers{
      {4096, 0, 1, 0}, {64, 0, 5, 0}, {2048, 2, 3, 0}, {2048, 2, 3, 0}, {64, 4, 5, 0}};
  const std::size_t total = plan_memory(buffers);
  expect_valid(buffers, total);
  EXPECT_EQ(total, 4096U + 64U);
}

TEST(memory_planner, never_overlaps_live_buffers) {
  std::uint32_t seed = 1;
  const auto random = [&](std::uint32_t below) {
    seed = seed * 1664525U + 1013904223U;
    return (seed >> 8) % below;
  };
  for (int round = 0; round < 50; ++round) {
    std::vector<planned_buffer> buffers;
    std::size_t sum = 0;
    for (int i = 0; i < 60; ++i) {
      const std::size_t first = random(40);
      buffers.push_back({random(5) == 0 ? 0 : random(10000), first, first + random(8), 0});
      sum += (buffers.back().bytes + 63) / 64 * 64;
    }
    const std::size_t total = plan_memory(buffers);
    expect_valid(buffers, total);
    EXPECT_LT(total, sum);
  }
}

TEST(memory_planner, refuses_sizes_that_overflow) {
  std::vector<planned_buffer> buffers{{std::numeric_limits<std::size_t>::max() - 10, 0, 1, 0}};
  EXPECT_THROW(plan_memory(buffers), error);
  std::vector<planned_buffer> two{{std::size_t{1} << 63, 0, 1, 0}, {std::size_t{1} << 63, 0, 1, 0}};
  EXPECT_THROW(plan_memory(two), error);
}

}  // namespace
}  // namespace mizzen::inference::detail
