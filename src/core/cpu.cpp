#include "core/cpu_quota.hpp"

#include <mizzen/core/cpu.hpp>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <iterator>
#include <sched.h>
#include <string>
#include <thread>

namespace mizzen {
namespace detail {

std::optional<unsigned> cpus_from_cpu_max(std::string_view text) {
  long long quota = 0;
  const char* const end = text.data() + text.size();
  const auto [after_quota, quota_error] = std::from_chars(text.data(), end, quota);
  if (quota_error != std::errc{} || quota <= 0) return std::nullopt;
  if (after_quota == end || *after_quota != ' ') return std::nullopt;
  long long period = 0;
  const auto [after_period, period_error] = std::from_chars(after_quota + 1, end, period);
  if (period_error != std::errc{} || period <= 0) return std::nullopt;
  const long long cpus = quota / period + (quota % period != 0 ? 1 : 0);
  return static_cast<unsigned>(std::clamp<long long>(cpus, 1, 1 << 20));
}

std::optional<std::string_view> cgroup_path(std::string_view text, std::string_view controller) {
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    const auto first = line.find(':');
    if (first == std::string_view::npos) continue;
    const auto second = line.find(':', first + 1);
    if (second == std::string_view::npos) continue;
    std::string_view controllers = line.substr(first + 1, second - first - 1);
    if (controller.empty() && controllers.empty()) return line.substr(second + 1);
    while (!controllers.empty()) {
      const std::string_view name = controllers.substr(0, controllers.find(','));
      controllers.remove_prefix(std::min(controllers.size(), name.size() + 1));
      if (!controller.empty() && name == controller) return line.substr(second + 1);
    }
  }
  return std::nullopt;
}

}  // namespace detail

namespace {

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// A limit may sit on any ancestor, so each folder from the process's own to the root is asked.
template <typename ReadLimit>
unsigned tightest_limit(std::string path, unsigned limit, ReadLimit read_limit) {
  for (;;) {
    if (const std::optional<unsigned> found = read_limit(path)) limit = std::min(limit, *found);
    const auto slash = path.rfind('/');
    if (slash == std::string::npos || path.empty()) return limit;
    path.resize(slash);
  }
}

}  // namespace

unsigned detail::cgroup_limit(unsigned limit, const std::string& root) {
  const std::string groups = read_file(root + "/proc/self/cgroup");
  if (const auto path = cgroup_path(groups, "")) {
    // Alone, or beside version 1 in a folder of its own.
    for (const char* mount : {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}) {
      limit = tightest_limit(std::string(*path), limit, [&](const std::string& group) {
        return cpus_from_cpu_max(read_file(root + mount + group + "/cpu.max"));
      });
    }
  }
  if (const auto path = cgroup_path(groups, "cpu")) {
    // Where the link "cpu" is missing, the folder has the names of both of its controllers.
    for (const char* mount : {"/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"}) {
      limit = tightest_limit(std::string(*path), limit, [&](const std::string& group) {
        const std::string folder = root + mount + group;
        std::string quota = read_file(folder + "/cpu.cfs_quota_us");
        quota.resize(std::min(quota.size(), quota.find('\n')));
        return cpus_from_cpu_max(quota + " " + read_file(folder + "/cpu.cfs_period_us"));
      });
    }
  }
  return limit;
}

unsigned available_cpus() noexcept {
  unsigned cpus = std::max(1U, std::thread::hardware_concurrency());
  cpu_set_t mask;
  if (sched_getaffinity(0, sizeof mask, &mask) == 0) {
    cpus = std::min(cpus, static_cast<unsigned>(std::max(1, CPU_COUNT(&mask))));
  }
  try {
    return std::max(1U, detail::cgroup_limit(cpus));
  } catch (...) {
    return cpus;
  }
}

}  // namespace mizzen
