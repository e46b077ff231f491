#include "temporary_folder.hpp"

#include <mizzen/core/json.hpp>
#include <mizzen/tracking/system_metrics.hpp>

#include <gmock/gmock.h>
#include <sys/wait.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <set>
#include <string>
#include <thread>
#include <unistd.h>

namespace mizzen::tracking {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsSupersetOf;

using namespace std::chrono_literals;

const std::set<std::string> always = {
    "cpu_utilization_percentage", "system_memory_usage_megabytes", "system_memory_usage_percentage",
    "disk_usage_megabytes",       "disk_usage_percentage",         "disk_available_megabytes",
    "network_receive_megabytes",  "network_transmit_megabytes"};

// Waits until it logged so many points; true unless a minute passes.
bool wait_for_points(const system_metrics& sampling, std::uint64_t count) {
  const auto until = std::chrono::steady_clock::now() + 60s;
  while (sampling.points() < count) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::sleep_for(5ms);
  }
  return true;
}

std::set<std::string> names_of(const run& of) {
  std::set<std::string> names;
  for (const auto& [key, latest] : of.get().metrics) names.insert(key);
  return names;
}

class sampled : public testing::Test {
 protected:
  const temporary_folder folder_;
  client client_{{.uri = folder_.file("mlflow.db")}};
};

TEST_F(sampled, values_are_possible) {
  system_sampler sampler({.cgroup = true, .gpus = false});
  volatile double sink = 0;
  for (int i = 0; i < 20'000'000; ++i) sink = sink + i;
  const auto values = sampler.sample();
  std::set<std::string> names;
  for (const auto& [name, value] : values) {
    names.insert(name);
    EXPECT_GE(value, 0) << name;
    const bool bounded = name.ends_with("_percentage") && !name.starts_with("cgroup_");
    EXPECT_LE(value, bounded ? 100 : 1e15) << name;
  }
  EXPECT_THAT(names, IsSupersetOf(always));
  EXPECT_GT(values.at("system_memory_usage_megabytes"), 1);
  EXPECT_GT(values.at("disk_usage_megabytes"), 1);
}

TEST_F(sampled, points_have_steps_and_names) {
  auto run = client_.start_run();
  {
    system_metrics sampling(run, {.interval = 10ms, .node_id = "node-1", .gpus = false});
    ASSERT_TRUE(wait_for_points(sampling, 3));
    sampling.stop();
    sampling.stop();
    EXPECT_EQ(sampling.failures(), 0U);
    const auto history =
        client_.metric_history(run.id(), "system/node-1/cpu_utilization_percentage");
    ASSERT_EQ(history.size(), sampling.points());
    for (std::size_t i = 0; i < history.size(); ++i) {
      EXPECT_EQ(history[i].step, static_cast<std::int64_t>(i));
      EXPECT_NEAR(history[i].value * 10, std::round(history[i].value * 10), 1e-6);
    }
  }
  const std::int64_t last = run.get().metrics.at("system/node-1/cpu_utilization_percentage").step;
  {
    const system_metrics more(
        run, {.interval = 1h, .node_id = "node-1", .first_step = -1, .gpus = false});
  }
  EXPECT_EQ(run.get().metrics.at("system/node-1/disk_usage_megabytes").step, last + 1);
}

TEST_F(sampled, a_short_run_has_one_point) {
  auto run = client_.start_run("a", {.system_metrics = true});
  run.finish();
  std::set<std::string> expected;
  for (const auto& name : always) expected.insert("system/" + name);
  EXPECT_THAT(names_of(run), IsSupersetOf(expected));
  EXPECT_EQ(client_.metric_history(run.id(), "system/cpu_utilization_percentage").size(), 1U);
  EXPECT_EQ(run.get().status, run_status::finished);
}

TEST_F(sampled, the_environment_is_honoured) {
  ::setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "true", 1);
  ::setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.02", 1);
  ::setenv("MLFLOW_SYSTEM_METRICS_SAMPLES_BEFORE_LOGGING", "2", 1);
  ::setenv("MLFLOW_SYSTEM_METRICS_NODE_ID", "n", 1);
  {
    auto parent = client_.start_run();
    auto child = parent.start_child({.system_metrics = false});
    child.finish();
    EXPECT_THAT(names_of(child), testing::IsEmpty());
    parent.finish();
    EXPECT_THAT(names_of(parent), Contains("system/n/cpu_utilization_percentage"));
  }
  auto run = client_.start_run("a", {.system_metrics = false});
  ::setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "soon", 1);
  EXPECT_ERROR(errc::invalid_argument, "SAMPLING_INTERVAL", system_metrics(run, {}));
  ::setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0", 1);
  EXPECT_ERROR(errc::invalid_argument, "SAMPLING_INTERVAL", system_metrics(run, {}));
  ::setenv("MLFLOW_SYSTEM_METRICS_SAMPLES_BEFORE_LOGGING", "-1", 1);
  EXPECT_ERROR(errc::invalid_argument, "SAMPLES_BEFORE_LOGGING",
               system_metrics(run, {.interval = 1s}));
  for (const char* name :
       {"MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL",
        "MLFLOW_SYSTEM_METRICS_SAMPLES_BEFORE_LOGGING", "MLFLOW_SYSTEM_METRICS_NODE_ID"}) {
    ::unsetenv(name);
  }
  EXPECT_ERROR(errc::invalid_argument, "samples_per_point",
               system_metrics(run, {.samples_per_point = 0}));
  EXPECT_ERROR(errc::invalid_argument, "interval", system_metrics(run, {.interval = 1ms}));
  EXPECT_ERROR(errc::invalid_argument, "node_id", system_metrics(run, {.node_id = "a//b"}));
}

TEST_F(sampled, an_absent_gpu_driver_is_said) {
  std::string said;
  system_sampler({.log = logger([&](const log_record& record) { said = record.message; })});
  EXPECT_THAT(said, HasSubstr("GPU metrics"));  // "no GPU metrics" where there is none
}

TEST_F(sampled, a_child_after_fork_leaves_it_alone) {
  auto run = std::make_unique<tracking::run>(client_.start_run("a", {.system_metrics = true}));
  const pid_t child = ::fork();
  if (child == 0) {
    run.reset();
    ::_exit(0);
  }
  int status = 1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(run->get().status, run_status::running);
}

}  // namespace
}  // namespace mizzen::tracking
