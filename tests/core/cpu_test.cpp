#include "core/cpu_quota.hpp"

#include <mizzen/core/cpu.hpp>

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sched.h>
#include <string>
#include <thread>
#include <unistd.h>

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

// A file system of its own, with the files of cgroups in it.
class CgroupRoot : public testing::Test {
 protected:
  CgroupRoot()
      : root_(std::filesystem::temp_directory_path() /
              ("mizzen_cgroups_" + std::to_string(::getpid()))) {}
  ~CgroupRoot() override { std::filesystem::remove_all(root_); }

  void write(const std::string& path, const std::string& text) const {
    const auto file = root_ / path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  unsigned limit(unsigned most = 64) const { return detail::cgroup_limit(most, root_.string()); }

  std::filesystem::path root_;
};

TEST_F(CgroupRoot, WithoutAnyFilesNothingIsLimited) { EXPECT_EQ(limit(), 64U); }

TEST_F(CgroupRoot, TheTightestOfNestedGroupsHolds) {
  write("proc/self/cgroup", "0::/kubepods/pod/container\n");
  write("sys/fs/cgroup/kubepods/pod/container/cpu.max", "max 100000\n");
  EXPECT_EQ(limit(), 64U);
  write("sys/fs/cgroup/kubepods/pod/cpu.max", "250000 100000\n");
  EXPECT_EQ(limit(), 3U);
  write("sys/fs/cgroup/kubepods/cpu.max", "800000 100000\n");
  EXPECT_EQ(limit(), 3U);
  write("sys/fs/cgroup/kubepods/pod/container/cpu.max", "50000 100000\n");
  EXPECT_EQ(limit(), 1U);
  EXPECT_EQ(limit(1), 1U);
}

TEST_F(CgroupRoot, ThePathOutsideOfAContainerIsPassedOver) {
  write("proc/self/cgroup", "0::/../../kubepods/pod/container\n");
  write("sys/fs/cgroup/cpu.max", "200000 100000\n");
  EXPECT_EQ(limit(), 2U);
}

TEST_F(CgroupRoot, QuotaOfVersion1) {
  write("proc/self/cgroup", "4:cpu,cpuacct:/docker/x\n1:name=systemd:/docker/x\n");
  write("sys/fs/cgroup/cpu/docker/x/cpu.cfs_quota_us", "-1\n");
  write("sys/fs/cgroup/cpu/docker/x/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(limit(), 64U);
  write("sys/fs/cgroup/cpu/docker/cpu.cfs_quota_us", "150000\n");
  write("sys/fs/cgroup/cpu/docker/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(limit(), 2U);
}

TEST_F(CgroupRoot, VersionsBesideEachOther) {
  write("proc/self/cgroup", "4:cpu,cpuacct:/a\n0::/b\n");
  write("sys/fs/cgroup/unified/b/cpu.max", "600000 100000\n");
  EXPECT_EQ(limit(), 6U);
  write("sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "400000\n");
  write("sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(limit(), 4U);
}

TEST_F(CgroupRoot, NonsenseIsPassedOver) {
  write("proc/self/cgroup", "0::/a\n");
  write("sys/fs/cgroup/a/cpu.max", "200000 0\n");
  write("sys/fs/cgroup/cpu.max", "garbage");
  EXPECT_EQ(limit(), 64U);
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
