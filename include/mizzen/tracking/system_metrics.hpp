// How busy the machine is while a run goes on, as metrics system/… of the run, under the names and
// in the units of MLflow's own monitor, whose charts show them.
//
//   auto run = client.start_run("digits");
//   const mizzen::tracking::system_metrics sampling(run);   // until it is destroyed
#pragma once

#include <mizzen/core/log.hpp>
#include <mizzen/tracking/types.hpp>

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

namespace mizzen::tracking {

class run;

struct system_metrics_options {
  // Time between samples, 10 ms to a day. Default: MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL
  // (seconds, fractions too), else 10 s.
  std::optional<std::chrono::milliseconds> interval = std::nullopt;
  // Samples that make one point, their mean, 1 to 10,000. Default:
  // MLFLOW_SYSTEM_METRICS_SAMPLES_BEFORE_LOGGING, else 1.
  std::optional<unsigned> samples_per_point = std::nullopt;
  // In the names, as "system/<node id>/…", where several machines log into one run. Empty:
  // MLFLOW_SYSTEM_METRICS_NODE_ID.
  std::string node_id = {};
  // Step of the first point, -1: the one after the last system metric that the run has.
  std::int64_t first_step = 0;
  // Also what the control group (container) of this process uses, of its limits where it has any:
  // cgroup_cpu_utilization_percentage, cgroup_memory_usage_megabytes, …_percentage. MLflow has no
  // such metrics.
  bool cgroup = false;
  bool gpus = true;
  // Told about GPUs that cannot be read, and why, and about points that could not be logged.
  // Default: the logger of the run's client.
  std::optional<logger> log = std::nullopt;
};

// Reads the state of the machine:
//   cpu_utilization_percentage           busy share of all cores since the sample before
//   system_memory_usage_megabytes, _percentage     what is not available to programs
//   disk_usage_megabytes, _percentage, disk_available_megabytes    of the root file system
//   network_receive_megabytes, network_transmit_megabytes    of all interfaces, since the sampler
//                                                            was made
//   gpu_<i>_memory_usage_megabytes, _percentage, gpu_<i>_utilization_percentage,
//   gpu_<i>_power_usage_watts, _percentage         through the NVIDIA driver's libnvidia-ml.so.1
// A megabyte is 1,000,000 bytes. From /proc, statvfs and the driver: about 0.1 ms without GPUs. Not
// thread safe.
class system_sampler {
 public:
  // Uses cgroup, gpus and log of the options. Never fails: what cannot be read is left out.
  explicit system_sampler(const system_metrics_options& options = {});
  system_sampler(system_sampler&&) noexcept;
  system_sampler& operator=(system_sampler&&) noexcept;
  ~system_sampler();

  // The values now, by name without "system/".
  std::map<std::string, double> sample();

 private:
  struct state;
  std::unique_ptr<state> state_;
};

// A thread ("mizzen-metrics") that samples and logs until stop() or its destruction, which wait
// for it (not for the interval). If that comes before the first point, one is logged from what
// there is, so that a short run has one too. Values are rounded to one decimal, but the network's,
// as in MLflow. It holds on to the store, not to the run's handle. In a child after fork() it is
// dead, as the run is.
class system_metrics {
 public:
  // Throws error(invalid_argument): an option, or a variable of the environment, out of range.
  explicit system_metrics(const run& of, const system_metrics_options& options = {});
  ~system_metrics();
  system_metrics(const system_metrics&) = delete;
  system_metrics& operator=(const system_metrics&) = delete;

  // Again is fine. Thread safe.
  void stop() noexcept;

  // Points logged so far, and samples whose points could not be logged. Thread safe.
  std::uint64_t points() const noexcept;
  std::uint64_t failures() const noexcept;

 private:
  struct state;
  std::unique_ptr<state> state_;
};

}  // namespace mizzen::tracking
