#include "tracking/nvml.hpp"
#include "tracking/proc.hpp"
#include "tracking/run_state.hpp"
#include "tracking/validate.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/core/time.hpp>
#include <mizzen/tracking/system_metrics.hpp>

#include <sys/statvfs.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <cmath>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <pthread.h>
#include <string_view>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

namespace mizzen::tracking {
namespace {

using clock = std::chrono::steady_clock;
using values = std::map<std::string, double>;

constexpr double megabyte = 1e6;
constexpr std::string_view prefix = "system/";

struct cpu_ticks {
  std::uint64_t busy = 0, all = 0;
};

// The first line of /proc/stat: user nice system idle iowait irq softirq steal guest guest_nice, of
// which the last two are in the first two.
std::optional<cpu_ticks> read_cpu() {
  const auto text = detail::read_text("/proc/stat", 4096);
  if (!text) return std::nullopt;
  std::string_view rest = *text;
  std::string_view line = detail::take_line(rest);
  if (!line.starts_with("cpu ")) return std::nullopt;
  line.remove_prefix(4);
  cpu_ticks ticks;
  for (int i = 0; i < 8; ++i) {
    line = detail::trimmed(line);
    const auto end = std::min(line.find(' '), line.size());
    const auto value = detail::parse_number(line.substr(0, end));
    if (!value) break;
    line.remove_prefix(end);
    ticks.all += *value;
    if (i != 3 && i != 4) ticks.busy += *value;
  }
  return ticks;
}

struct network_bytes {
  std::uint64_t received = 0, sent = 0;
};

network_bytes read_network() {
  const std::string text = detail::read_text("/proc/net/dev").value_or("");
  network_bytes sum;
  std::string_view rest = text;
  while (!rest.empty()) {
    const std::string_view line = detail::take_line(rest);
    const auto colon = line.rfind(':');
    if (colon == std::string_view::npos) continue;
    std::string_view numbers = line.substr(colon + 1);
    for (int i = 0; i < 9; ++i) {  // bytes received are the first, bytes sent the ninth
      numbers = detail::trimmed(numbers);
      const auto end = std::min(numbers.find(' '), numbers.size());
      const auto value = detail::parse_number(numbers.substr(0, end)).value_or(0);
      numbers.remove_prefix(end);
      if (i == 0) sum.received += value;
      if (i == 8) sum.sent += value;
    }
  }
  return sum;
}

double share(std::uint64_t part, std::uint64_t whole) {
  return whole == 0 ? 0 : 100 * static_cast<double>(part) / static_cast<double>(whole);
}

double megabytes(std::uint64_t bytes) { return static_cast<double>(bytes) / megabyte; }

void read_memory(values& into) {
  const std::string text = detail::read_text("/proc/meminfo").value_or("");
  const auto total = detail::field_of(text, "MemTotal");
  const auto available = detail::field_of(text, "MemAvailable");
  if (!total || !available) return;
  const std::uint64_t used = *total - std::min(*available, *total);
  into["system_memory_usage_megabytes"] = megabytes(used);
  into["system_memory_usage_percentage"] = share(used, *total);
}

void read_disk(values& into) {
  struct statvfs disk{};
  if (::statvfs("/", &disk) != 0) return;
  const std::uint64_t block = disk.f_frsize;
  const std::uint64_t used = (disk.f_blocks - disk.f_bfree) * block;
  const std::uint64_t available = disk.f_bavail * block;
  into["disk_usage_megabytes"] = megabytes(used);
  // As df: of what users other than root can have.
  into["disk_usage_percentage"] = share(used, used + available);
  into["disk_available_megabytes"] = megabytes(available);
}

void read_gpus(const detail::nvml& driver, values& into) {
  const std::vector<detail::gpu_state> all = driver.read();
  for (std::size_t i = 0; i < all.size(); ++i) {
    const std::string name = "gpu_" + std::to_string(i) + "_";
    const detail::gpu_state& gpu = all[i];
    if (gpu.memory_used) {
      into[name + "memory_usage_megabytes"] = megabytes(*gpu.memory_used);
      into[name + "memory_usage_percentage"] = share(*gpu.memory_used, *gpu.memory_total);
    }
    if (gpu.utilization) into[name + "utilization_percentage"] = *gpu.utilization;
    if (gpu.power && gpu.power_limit) {
      into[name + "power_usage_watts"] = *gpu.power / 1000.0;
      into[name + "power_usage_percentage"] = share(*gpu.power, *gpu.power_limit);
    }
  }
}

template <typename T>
std::optional<T> from_environment(const char* name) {
  const char* text = std::getenv(name);
  if (text == nullptr || *text == '\0') return std::nullopt;
  const std::string_view all(text);
  T value{};
  const auto [end, failed] = std::from_chars(all.data(), all.data() + all.size(), value);
  if (failed != std::errc() || end != all.data() + all.size()) {
    throw error(errc::invalid_argument, name, "it is '" + std::string(all) + "', not a number");
  }
  return value;
}

std::chrono::milliseconds interval_of(const system_metrics_options& options) {
  constexpr const char* variable = "MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL";
  constexpr double most = 86'400'000;
  double milliseconds = 10'000;
  std::string_view subject = "system_metrics_options.interval";
  if (options.interval) {
    milliseconds = static_cast<double>(options.interval->count());
  } else if (const auto seconds = from_environment<double>(variable)) {
    milliseconds = *seconds * 1000;
    subject = variable;
  }
  if (!(milliseconds >= 10 && milliseconds <= most)) {
    throw error(errc::invalid_argument, subject, "10 ms to a day are allowed");
  }
  return std::chrono::milliseconds(std::llround(milliseconds));
}

unsigned samples_of(const system_metrics_options& options) {
  constexpr const char* variable = "MLFLOW_SYSTEM_METRICS_SAMPLES_BEFORE_LOGGING";
  const auto count =
      options.samples_per_point ? options.samples_per_point : from_environment<unsigned>(variable);
  if (count && (*count < 1 || *count > 10'000)) {
    throw error(errc::invalid_argument,
                options.samples_per_point ? "system_metrics_options.samples_per_point" : variable,
                "1 to 10000 are allowed");
  }
  return count.value_or(1);
}

std::string prefix_of(const system_metrics_options& options) {
  std::string node = options.node_id;
  if (const char* named = std::getenv("MLFLOW_SYSTEM_METRICS_NODE_ID");
      node.empty() && named != nullptr) {
    node = named;
  }
  std::string out(prefix);
  if (!node.empty()) out += node + "/";
  detail::check_key("system_metrics_options.node_id", out + "x");
  return out;
}

std::int64_t first_step_of(const run& of, const system_metrics_options& options) {
  if (options.first_step != -1) return options.first_step;
  std::int64_t next = 0;
  for (const auto& [key, latest] : of.get().metrics) {
    if (key.starts_with(prefix)) next = std::max(next, latest.step + 1);
  }
  return next;
}

}  // namespace

// --- system_sampler
// --------------------------------------------------------------------------------

struct system_sampler::state {
  bool cgroup = false;
  std::unique_ptr<detail::nvml> gpus = {};
  cpu_ticks ticks = {};
  network_bytes network = {};
  std::uint64_t group_microseconds = 0;
  clock::time_point group_time = {};

  void read_cgroup(values& into) {
    const detail::cgroup_state group = detail::read_cgroup("/");
    const auto now = clock::now();
    if (group.memory_used) {
      into["cgroup_memory_usage_megabytes"] = megabytes(*group.memory_used);
      if (group.memory_limit) {
        into["cgroup_memory_usage_percentage"] = share(*group.memory_used, *group.memory_limit);
      }
    }
    if (!group.cpu_used_microseconds) return;
    const double passed = std::chrono::duration<double, std::micro>(now - group_time).count();
    if (group_time != clock::time_point() && passed > 0 &&
        *group.cpu_used_microseconds >= group_microseconds) {
      const double cores = group.cpu_limit.value_or(std::thread::hardware_concurrency());
      into["cgroup_cpu_utilization_percentage"] =
          100 * static_cast<double>(*group.cpu_used_microseconds - group_microseconds) / passed /
          std::max(cores, 0.001);
    }
    group_microseconds = *group.cpu_used_microseconds;
    group_time = now;
  }
};

system_sampler::system_sampler(const system_metrics_options& options)
    : state_(std::make_unique<state>()) {
  state_->cgroup = options.cgroup;
  state_->ticks = read_cpu().value_or(cpu_ticks{});
  state_->network = read_network();
  if (options.cgroup) {
    values first;
    state_->read_cgroup(first);
  }
  if (!options.gpus) return;
  std::string reason;
  state_->gpus = detail::nvml::open(reason);
  const logger log = options.log.value_or(logger());
  if (!state_->gpus) {
    log.log(log_level::info, "tracking", "no GPU metrics", {{"reason", reason}});
  } else {
    log.log(log_level::info, "tracking", "GPU metrics", {{"gpus", state_->gpus->names()}});
  }
}

system_sampler::system_sampler(system_sampler&&) noexcept = default;
system_sampler& system_sampler::operator=(system_sampler&&) noexcept = default;
system_sampler::~system_sampler() = default;

std::map<std::string, double> system_sampler::sample() {
  values out;
  if (const auto now = read_cpu()) {
    const cpu_ticks before = std::exchange(state_->ticks, *now);
    const bool forward = now->all > before.all && now->busy >= before.busy;
    out["cpu_utilization_percentage"] =
        forward ? std::min(100.0, share(now->busy - before.busy, now->all - before.all)) : 0;
  }
  read_memory(out);
  read_disk(out);
  const network_bytes now = read_network();
  // An interface that went away takes its count with it.
  const auto since = [](std::uint64_t later, std::uint64_t first) {
    return megabytes(later > first ? later - first : 0);
  };
  out["network_receive_megabytes"] = since(now.received, state_->network.received);
  out["network_transmit_megabytes"] = since(now.sent, state_->network.sent);
  if (state_->cgroup) state_->read_cgroup(out);
  if (state_->gpus) read_gpus(*state_->gpus, out);
  return out;
}

// --- system_metrics
// --------------------------------------------------------------------------------

struct system_metrics::state {
  state(run handle, system_sampler made) : of(std::move(handle)), sampler(std::move(made)) {}

  const pid_t process = ::getpid();
  run of;  // a handle of its own, which does not end the run
  system_sampler sampler;
  std::chrono::milliseconds interval{};
  unsigned samples_per_point = 1;
  std::string prefix;
  std::int64_t step = 0;
  logger log;

  std::mutex mutex;
  std::condition_variable woken;
  bool stopping = false;
  std::mutex joining;
  std::thread thread;
  std::atomic<std::uint64_t> points = 0, failures = 0;

  // Samples of the point that is being gathered: sums, and how often.
  std::map<std::string, std::pair<double, unsigned>> sums;
  unsigned gathered = 0;

  void gather() {
    for (const auto& [name, value] : sampler.sample()) {
      auto& [sum, count] = sums[name];
      // The network counts up by itself.
      if (name.starts_with("network_")) sum = 0, count = 0;
      sum += value;
      ++count;
    }
    ++gathered;
  }

  void log_point() {
    const std::int64_t now = unix_millis();
    std::vector<metric> point;
    for (const auto& [name, sum] : sums) {
      const double mean = sum.first / sum.second;
      const bool exact = name.starts_with("network_");
      point.push_back({prefix + name, exact ? mean : std::round(mean * 10) / 10, step, now});
    }
    sums.clear();
    gathered = 0;
    of.log_metrics(point);
    ++step;
    ++points;
  }

  void work() noexcept {
    bool failing = false;
    for (;;) {
      bool last = false;
      {
        std::unique_lock lock(mutex);
        last = woken.wait_for(lock, interval, [&] { return stopping; });
      }
      if (last && points > 0) return;
      try {
        gather();
        if (gathered >= samples_per_point || last) log_point();
        failing = false;
      } catch (...) {
        ++failures;
        // Once, not at every interval.
        if (!std::exchange(failing, true)) {
          try {
            log.log(log_level::warning, "tracking", "system metrics could not be logged",
                    {{"run", of.id()}, {"error", describe(std::current_exception())}});
          } catch (...) {  // NOLINT(bugprone-empty-catch): out of memory while reporting
          }
        }
      }
      if (last) return;
    }
  }
};

system_metrics::system_metrics(const run& of, const system_metrics_options& options) {
  const auto interval = interval_of(options);
  const unsigned samples = samples_of(options);
  const std::string names = prefix_of(options);
  const std::int64_t step = first_step_of(of, options);
  system_metrics_options sampling = options;
  if (!sampling.log) sampling.log = of.state_->backend->log();
  state_ = std::make_unique<state>(of.second_handle(), system_sampler(sampling));
  state_->interval = interval;
  state_->samples_per_point = samples;
  state_->prefix = names;
  state_->step = step;
  state_->log = *sampling.log;
  state_->thread = std::thread([held = state_.get()] {
    ::pthread_setname_np(::pthread_self(), "mizzen-metrics");
    held->work();
  });
}

system_metrics::~system_metrics() {
  stop();
  // After fork() the thread is in the parent, which may have held any lock then.
  if (state_->process != ::getpid()) static_cast<void>(state_.release());
}

void system_metrics::stop() noexcept {
  if (state_->process != ::getpid()) return;
  {
    const std::scoped_lock lock(state_->mutex);
    state_->stopping = true;
  }
  state_->woken.notify_all();
  const std::scoped_lock lock(state_->joining);
  if (state_->thread.joinable()) state_->thread.join();
}

std::uint64_t system_metrics::points() const noexcept { return state_->points; }
std::uint64_t system_metrics::failures() const noexcept { return state_->failures; }

}  // namespace mizzen::tracking
