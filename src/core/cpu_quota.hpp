// The parsing half of available_cpus(), apart from the file system so that it can be tested.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace mizzen::detail {

// Processors that a cgroup v2 cpu.max ("200000 100000", "max 100000") allows, rounded up; nullopt
// for "max" and for text that is not of that form.
std::optional<unsigned> cpus_from_cpu_max(std::string_view text);

// Path of this process's cgroup from the text of /proc/self/cgroup: the v2 line ("0::/a/b") gives
// "/a/b"; for v1 the line whose controllers contain `controller` gives its path. nullopt if absent.
std::optional<std::string_view> cgroup_path(std::string_view proc_self_cgroup,
                                            std::string_view controller);

// The tightest quota on the way from this process's cgroup up to the root, of both versions, and at
// most `limit`. In a container the path in /proc/self/cgroup may be that outside of it: what does
// not exist is passed over, up to the container's own root. The files are looked for below `root`.
unsigned cgroup_limit(unsigned limit, const std::string& root = "");

}  // namespace mizzen::detail
