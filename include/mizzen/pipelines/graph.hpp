// A pipeline as a plain value: tasks, their components, where their inputs come from, conditions,
// loops. Nothing in it runs; runners, drawings and compilers read it. The words are those of
// Kubeflow Pipelines (api/v2alpha1/pipeline_spec.proto), named beside each type.
#pragma once

#include <mizzen/core/json.hpp>
#include <mizzen/pipelines/parameter.hpp>

#include <chrono>
#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace mizzen::pipelines {

using task_id = std::size_t;       // index in graph::tasks
using group_id = std::size_t;      // index in graph::groups
using component_id = std::size_t;  // index in graph::components

// --- Where a value comes from (TaskInputsSpec) --------------------------------------------------

// A value fixed when the pipeline was built (runtimeValue.constant).
struct constant_source {
  json value;
  bool operator==(const constant_source&) const = default;
};

// A parameter of the pipeline (componentInputParameter).
struct parameter_source {
  std::string parameter;
  bool operator==(const parameter_source&) const = default;
};

// An output of another task (taskOutputParameter, taskOutputArtifact).
struct output_source {
  task_id task;
  std::string output;
  bool operator==(const output_source&) const = default;
};

// The current item of an enclosing loop, or one member of it (parameterIterator.itemInput).
struct item_source {
  group_id loop;
  std::string member;  // empty: the whole item
  bool operator==(const item_source&) const = default;
};

// The outputs of a task of a loop, one per iteration, as a list (dsl.Collected).
struct collected_source {
  task_id task;
  std::string output;
  bool operator==(const collected_source&) const = default;
};

using source =
    std::variant<constant_source, parameter_source, output_source, item_source, collected_source>;

// --- Conditions (TriggerPolicy.condition) -------------------------------------------------------

enum class comparison { equal, not_equal, less, less_equal, greater, greater_equal };

// "==", "!=", "<", "<=", ">", ">=".
std::string_view to_string(comparison comparison) noexcept;

// A tree: a comparison of two values, or a combination of other conditions. Comparing values of
// different types is false, and true for !=; numbers compare as numbers, strings by code unit.
struct condition {
  enum class kind { compare, all_of, any_of, negation };

  kind what = kind::compare;
  comparison op = comparison::equal;  // compare
  source left;                        // compare
  source right;                       // compare
  std::vector<condition> operands;    // the others; one for negation

  // A condition is decided when the pipeline runs: hand it to pipeline_builder::when.
  template <class T = bool>
  explicit operator bool() const {
    static_assert(!std::same_as<T, bool>,
                  "a condition on outputs or pipeline parameters is known only when the pipeline "
                  "runs: use p.when(condition, [&] { … }) instead of if");
    return false;
  }
};

// --- Components and tasks -----------------------------------------------------------------------

struct input_parameter {
  std::string name;
  parameter_kind kind;
  std::optional<json> default_value;
  bool operator==(const input_parameter&) const = default;
};

struct input_artifact {
  std::string name;
  std::string type;   // schema title: "system.Dataset"
  bool list = false;  // a list of artifacts
  bool operator==(const input_artifact&) const = default;
};

struct output_parameter {
  std::string name;
  parameter_kind kind;
  bool operator==(const output_parameter&) const = default;
};

struct output_artifact {
  std::string name;
  std::string type;
  bool content_optional = false;  // metadata alone is enough
  bool operator==(const output_artifact&) const = default;
};

// What a step takes and gives (ComponentSpec); members in the order of the described struct.
struct component_spec {
  std::string name;
  std::string version;  // part of the cache key
  std::string description;
  std::vector<input_parameter> input_parameters;
  std::vector<input_artifact> input_artifacts;
  std::vector<output_parameter> output_parameters;
  std::vector<output_artifact> output_artifacts;
  bool operator==(const component_spec&) const = default;
};

// Time between attempts: initial * factor^(n-1) after the n-th failure, at most `most`
// (PipelineTaskSpec.RetryPolicy: backoff_duration, backoff_factor, backoff_max_duration; same
// defaults).
struct backoff {
  std::chrono::milliseconds initial{0};
  double factor = 2.0;
  std::chrono::milliseconds most = std::chrono::hours(1);

  // The wait after the n-th failure, n from 1.
  std::chrono::milliseconds delay(int n) const noexcept;
};

struct retry_policy {
  int retries = 0;  // attempts after the first (max_retry_count)
  pipelines::backoff backoff;
};

// What a task asks of the machine it runs on (ResourceSpec). Recorded for runners that place work;
// the in-process runner does not act on it.
struct resources {
  double cpus = 0;     // 0: not said
  std::string memory;  // a Kubernetes quantity ("4Gi"); empty: not said
  int gpus = 0;
  std::string gpu_type;  // resource name; empty means nvidia.com/gpu
};

struct task_spec {
  std::string name;
  component_id component = 0;
  group_id group = 0;
  std::map<std::string, source> inputs;  // by input name; a parameter at its default has no entry
  std::vector<task_id> after;            // beyond what the inputs imply (dependentTasks)
  std::string version;                   // part of the cache key, beside the component's
  bool cache = true;                     // CachingOptions.enable_cache
  retry_policy retry;
  std::chrono::milliseconds timeout{0};  // per attempt; 0: none
  pipelines::resources resources;
};

// Tasks that share a fate: the root, a condition or a loop (DagSpec with TriggerPolicy or
// iterator).
struct group_spec {
  enum class kind { root, condition, loop };
  kind what = kind::root;
  std::string name;  // "condition-1", "for-loop-2"
  group_id parent = 0;
  pipelines::condition when;  // condition
  source items;               // loop: a list
  int parallelism = 0;        // loop: iterations at once; 0: no limit
};

struct pipeline_parameter {
  std::string name;
  parameter_kind kind;
  std::optional<json> default_value;  // none: the caller must give it
};

struct graph {
  std::string name;
  std::string description;
  std::vector<pipeline_parameter> parameters;
  std::vector<component_spec> components;
  std::vector<task_spec> tasks;
  std::vector<group_spec> groups;  // [0] is the root
};

// Checks what a graph must hold: names that are unique and can be folders, required inputs bound to
// sources that exist and have the input's type, parameters that are used, loop items used inside
// their loop, no task that waits for itself. Throws error(invalid_argument) naming "task.field".
void validate(const graph& graph);

// A condition as text: "train.accuracy > 0.95 && flavour == \"large\"".
std::string to_text(const condition& condition, const graph& graph);

// A source as text: "train.accuracy", "flavour", "0.95".
std::string to_text(const source& from, const graph& graph);

// The graph in Graphviz' language; conditions and loops are clusters, data flows along solid edges,
// after() along dashed ones.
std::string to_dot(const graph& graph);

// The same as a Mermaid flowchart.
std::string to_mermaid(const graph& graph);

}  // namespace mizzen::pipelines
