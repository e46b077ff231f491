// Runs a pipeline in this process.
#pragma once

#include <mizzen/core/cancellation.hpp>
#include <mizzen/core/log.hpp>
#include <mizzen/pipelines/pipeline.hpp>

#include <chrono>
#include <exception>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace mizzen::tracking {
class client;
}

namespace mizzen::pipelines {

enum class task_state { succeeded, cached, failed, skipped, cancelled };

std::string_view to_string(task_state state) noexcept;

// Something that happened in a run. The views live only as long as the call.
struct event {
  enum class kind {
    run_started,
    task_started,   // an attempt begins
    task_progress,  // text: what the step said
    task_retrying,  // text: why; wait: until the next attempt
    task_finished,  // state, duration; text: why it failed or was skipped
    run_finished
  };
  kind what;
  std::string_view pipeline;
  std::string_view run_id;
  std::string_view task;  // "train", in a loop "train[2]"; empty for the run itself
  int attempt = 0;
  task_state state = task_state::succeeded;
  std::string_view text;
  std::chrono::nanoseconds duration{0};
  std::chrono::milliseconds wait{0};
  std::size_t finished = 0;  // tasks that have finished so far
  std::size_t known = 0;     // tasks known so far; grows when a loop learns its items
};

std::string_view to_string(event::kind kind) noexcept;

// Called for each event in order, never two at once, from the threads of the run. What it throws is
// swallowed.
using observer = std::function<void(const event&)>;

// An observer that writes a line per finished task and retry to standard error:
// "[3/7] train       succeeded  1.24 s".
observer progress_printer();

struct run_options {
  // Artifacts are written to root/<pipeline>/<run id>/<task>/<output>, the cache to root/cache.
  std::filesystem::path root = "mizzen-pipelines";
  std::string run_id;           // empty: a random one
  unsigned parallelism = 0;     // steps at once, counting the calling thread; 0: available_cpus()
  bool cache = true;            // false: neither looks into the cache nor adds to it
  bool fail_fast = false;       // true: the first failed task stops the run
  mizzen::cancellation cancel;  // asks running steps to stop and starts no more
  logger log;
  pipelines::observer observer;
  // Where lineage is recorded: artifact -> step -> artifact, as they are made. Null: nowhere. Must
  // outlive the run. Nodes: kind "step", name "<pipeline>/<task>", version the cache key (the run
  // id where there is none); kind "dataset", "model" … by type, name "<pipeline>/<task>.<output>",
  // version the digest of the content. Edges: "input" and "output".
  const tracking::client* tracking = nullptr;
};

struct task_result {
  std::string name;  // "train", in a loop "train[2]"
  task_state state = task_state::succeeded;
  int attempts = 0;                           // 0: its function was not called
  std::chrono::nanoseconds duration{0};       // of all attempts, without the waits between
  std::string text;                           // why it failed, was skipped or cancelled
  std::exception_ptr error;                   // of the last attempt, with its causes
  std::string cache_key;                      // SHA-256 in hex; empty where the cache was not asked
  std::map<std::string, json> parameters;     // outputs
  std::map<std::string, artifact> artifacts;  // outputs, at their final paths
};

class [[nodiscard]] run_result {
 public:
  std::string pipeline;
  std::string run_id;
  std::filesystem::path folder;  // root/<pipeline>/<run id>
  std::chrono::nanoseconds duration{0};
  std::string lineage_error;       // why some lineage is missing; empty if none is
  bool cancelled = false;          // by the caller, its deadline or fail_fast
  std::vector<task_result> tasks;  // in the order of the graph; iterations in order

  // True if no task failed and none was cancelled.
  bool ok() const noexcept;

  // Throws what the first failed task threw, as error with the task's name and the cause kept;
  // error(cancelled) if the run was cancelled. Returns *this.
  const run_result& check() const;

  std::size_t count(task_state state) const noexcept;

  // By name; throws error(not_found) that lists the names there are.
  const task_result& task(std::string_view name) const;
  artifact artifact_of(std::string_view task, const std::string& output) const;
  template <parameter_type T>
  T value_of(std::string_view task, const std::string& output) const {
    return from_value<T>(parameter_of(task, output), std::string(task) + "." + output);
  }

 private:
  const json& parameter_of(std::string_view task, const std::string& output) const;
};

// Runs it and waits. arguments: values of the pipeline's parameters, an object ({} for none).
//
// A task that fails is tried again as its policy says; then what depends on it is skipped and the
// rest goes on (see fail_fast). Failures of steps are in the result, not thrown: use check().
// Throws error(invalid_argument) for unknown, missing or wrong arguments, and error(unavailable) if
// the folders cannot be written.
//
// Starts parallelism - 1 threads for the duration of the call. An output is renamed to its place
// only after its step has returned, and a cache entry is made after that, so that a killed process
// leaves nothing behind that a later run would believe. Several processes may share a root.
run_result run(const pipeline& pipeline, const json& arguments = {},
               const run_options& options = {});

}  // namespace mizzen::pipelines
