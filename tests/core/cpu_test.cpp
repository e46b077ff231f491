#include "core/cpu_quota.hpp"

#include <mizzen/core/cpu.hpp>

#include <gtest/gtest.h>

#include <sched.h>
#include <thread>

namespace mizzen {
namespace {

TEST(Cpu, QuotaOfCgroupV2) {
  EXPECT_EQ(detail::cpus_from_cpu_max("200000 100000\n"), 2U);
  EXPECT_EQ(detail::cpus_from_cpu_max("150000 100000"), 2U);
  EXPECT_EQ(detail::cpus_from_cpu_max("1000 100000"), 1U);
  EXPECT_EQ(detail::cpus_from_cpu_max("max 100000"), std::nullopt);
  EXPECT_EQ(detail::cpus_from_cpu_max("-1 100000"), std::nullopt);
  EXPECT_EQ(detail::cpus_from_cpu_max("200000"), std::nullopt);
  EXPECT_EQ(detail::cpus_from_cpu_max("200000 0"), std::nullopt);
  EXPECT_EQ(detail::cpus_from_cpu_max(""), std::nullopt);
}

TEST(Cpu, CgroupPath) {
  constexpr std::string_view hybrid =
      "12:cpu,cpuacct:/kubepods/x\n1:name=systemd:/\n0::/user.slice\n";
  EXPECT_EQ(detail::cgroup_path(hybrid, ""), "/user.slice");
  EXPECT_EQ(detail::cgroup_path(hybrid, "cpu"), "/kubepods/x");
  EXPECT_EQ(detail::cgroup_path(hybrid, "memory"), std::nullopt);
  EXPECT_EQ(detail::cgroup_path("nonsense", ""), std::nullopt);
}

TEST(Cpu, FollowsTheAffinityMask) {
  cpu_set_t before;
  ASSERT_EQ(sched_getaffinity(0, sizeof before, &before), 0);
  // Affinity is per thread, so that other tests do not see this one.
  std::thread([&before] {
    int first = 0;
    while (!CPU_ISSET(first, &before)) ++first;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(first, &one);
    ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
    EXPECT_EQ(available_cpus(), 1U);
  }).join();
  EXPECT_GE(available_cpus(), 1U);
  EXPECT_LE(available_cpus(), std::thread::hardware_concurrency());
}

}  // namespace
}  // namespace mizzen
