// How many processors this process may really use.
#pragma once

namespace mizzen {

// Processors available to this process: the smallest of the online ones, its affinity mask and the
// CPU quota of its cgroup (v2 cpu.max, v1 cpu.cfs_quota_us; rounded up), at least 1. In a container
// with `cpu: 2` on a 64-core node this is 2. Reads the file system at each call; never throws.
// Source: sched_getaffinity(2), Linux Documentation/admin-guide/cgroup-v2.rst "cpu.max".
unsigned available_cpus() noexcept;

}  // namespace mizzen
