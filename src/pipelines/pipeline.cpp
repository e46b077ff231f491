#include "pipelines/files.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/pipelines/pipeline.hpp>

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

namespace mizzen::pipelines {

std::chrono::milliseconds backoff::delay(int n) const noexcept {
  const double wait =
      static_cast<double>(initial.count()) * std::pow(factor, static_cast<double>(n - 1));
  // Written so that an infinite or undefined product ends at the upper bound.
  if (!(wait < static_cast<double>(most.count()))) return most;
  return std::chrono::milliseconds(static_cast<std::chrono::milliseconds::rep>(wait));
}

namespace detail {
namespace {

component_id find_component(definition& definition, component_spec spec, step_identity identity) {
  std::vector<component_spec>& components = definition.graph.components;
  for (component_id id = 0; id < components.size(); ++id) {
    if (components[id].name != spec.name) continue;
    if (components[id] == spec && definition.identities[id] == identity) return id;
    throw error(errc::invalid_argument, spec.name,
                "two different steps are the component '" + spec.name +
                    "': give one a name of its own, component{\"name\", function}");
  }
  check_name(spec.name, "component.name");
  components.push_back(std::move(spec));
  definition.identities.push_back(identity);
  return components.size() - 1;
}

void open(definition& definition, group_spec group, std::string_view prefix) {
  const group_id id = definition.graph.groups.size();
  group.name = std::string(prefix) + std::to_string(id);
  group.parent = definition.open_groups.back();
  definition.graph.groups.push_back(std::move(group));
  definition.open_groups.push_back(id);
}

}  // namespace

std::string component_name(std::string_view signature) {
  // GCC: "… [with Io = acme::train_io; …]", clang: "… [Io = acme::train_io]".
  constexpr std::string_view key = "Io = ";
  const std::size_t begin = signature.find(key);
  std::string_view name =
      begin == std::string_view::npos ? std::string_view() : signature.substr(begin + key.size());
  // A template's arguments do not belong in a folder's name.
  name = name.substr(0, name.find_first_of(";]<"));
  if (const std::size_t colon = name.rfind(':'); colon != std::string_view::npos) {
    name.remove_prefix(colon + 1);
  }
  constexpr std::string_view suffix = "_io";
  if (name.size() > suffix.size() && name.ends_with(suffix)) name.remove_suffix(suffix.size());
  return std::string(name);
}

task_id add_task(definition& definition, component_spec spec, step_identity identity,
                 step_function step, std::map<std::string, source> inputs, bool cache) {
  graph& graph = definition.graph;
  const std::string base = spec.name;
  const component_id component = find_component(definition, std::move(spec), identity);
  const task_id id = graph.tasks.size();

  // The second task of a component is "train-2", as in KFP; a name given by hand is passed over.
  std::size_t& uses = definition.name_uses[base];
  std::string name;
  do {
    ++uses;
    name = uses == 1 ? base : base + "-" + std::to_string(uses);
  } while (!definition.names.insert(name).second);

  const component_spec& known = graph.components[component];
  task_spec task;
  task.name = std::move(name);
  task.component = component;
  task.group = definition.open_groups.back();
  task.inputs = std::move(inputs);
  // A step without outputs is run for its effect: there would be nothing to take from the cache.
  task.cache = cache && !(known.output_artifacts.empty() && known.output_parameters.empty());
  graph.tasks.push_back(std::move(task));
  definition.steps.push_back(std::move(step));
  return id;
}

void name_task(definition& definition, task_id task, std::string name) {
  std::string& current = definition.graph.tasks[task].name;
  if (name == current) return;
  check_name(name, "named");
  if (!definition.names.insert(name).second) {
    throw error(errc::invalid_argument, name, "two tasks have this name");
  }
  definition.names.erase(current);
  current = std::move(name);
}

source declare_parameter(definition& definition, std::string name, parameter_kind kind,
                         std::optional<json> default_value, parameter_check check) {
  check_name(name, "parameter");
  std::vector<pipeline_parameter>& parameters = definition.graph.parameters;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    if (parameters[i].name != name) continue;
    if (parameters[i].default_value != default_value || definition.checks[i] != check) {
      throw error(errc::invalid_argument, name,
                  "the pipeline parameter is declared twice, with different types or defaults");
    }
    return parameter_source{std::move(name)};
  }
  parameters.push_back({name, kind, std::move(default_value)});
  definition.checks.push_back(check);
  return parameter_source{std::move(name)};
}

void open_condition(definition& definition, condition when) {
  group_spec group;
  group.what = group_spec::kind::condition;
  group.when = std::move(when);
  open(definition, std::move(group), "condition-");
}

group_id open_loop(definition& definition, source items, int parallelism) {
  if (parallelism < 0) {
    throw error(errc::invalid_argument, "for_each.parallelism", "it cannot be negative");
  }
  group_spec group;
  group.what = group_spec::kind::loop;
  group.items = std::move(items);
  group.parallelism = parallelism;
  open(definition, std::move(group), "for-loop-");
  return definition.open_groups.back();
}

void close_group(definition& definition) noexcept { definition.open_groups.pop_back(); }

source collect(const source& from) {
  const auto* output = std::get_if<output_source>(&from);
  if (!output) throw error(errc::internal, "collect", "not an output of a task");
  return collected_source{output->task, output->output};
}

void check_retries(int retries, const backoff& backoff, const std::string& task) {
  if (retries < 0) {
    throw error(errc::invalid_argument, task + ".retry", "the number of retries is negative");
  }
  if (backoff.initial.count() < 0 || backoff.most.count() < 0 || !(backoff.factor >= 1.0)) {
    throw error(errc::invalid_argument, task + ".retry",
                "a backoff has times that are not negative and a factor of at least 1");
  }
}

void check_resources(double cpus, int gpus, std::string_view memory, const std::string& task) {
  if (!(cpus >= 0) || !std::isfinite(cpus)) {
    throw error(errc::invalid_argument, task + ".cpus", "the number of CPUs is not a number >= 0");
  }
  if (gpus < 0) throw error(errc::invalid_argument, task + ".gpus", "the number is negative");
  // Kubernetes' resource.Quantity in the forms in use: digits, a point, a binary or decimal suffix.
  constexpr std::string_view digits = "0123456789.";
  const std::string_view suffix =
      memory.substr(std::min(memory.find_first_not_of(digits), memory.size()));
  static const std::set<std::string_view> suffixes = {"",   "k",  "M",  "G",  "T",  "P", "E",
                                                      "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"};
  const std::string_view number = memory.substr(0, memory.size() - suffix.size());
  const bool numeric = number.empty()
                           ? memory.empty()
                           : std::count(number.begin(), number.end(), '.') <= 1 && number != ".";
  if (!numeric || !suffixes.contains(suffix)) {
    throw error(errc::invalid_argument, task + ".memory",
                "'" + std::string(memory) + "' is no Kubernetes quantity: write 512Mi or 4Gi");
  }
}

void check_timeout(std::chrono::milliseconds timeout, const std::string& task) {
  if (timeout.count() < 0) {
    throw error(errc::invalid_argument, task + ".timeout", "the timeout is negative");
  }
}

const definition& definition_of(const pipeline& pipeline) { return *pipeline.definition_; }

}  // namespace detail

pipeline::pipeline(std::string name, const std::function<void(pipeline_builder&)>& build) {
  detail::check_name(name, "pipeline.name");
  if (name == "cache") {
    throw error(errc::invalid_argument, "pipeline.name",
                "'cache' is the folder of the cache: choose another name");
  }
  auto definition = std::make_shared<detail::definition>();
  definition->graph.name = std::move(name);
  definition->graph.groups.emplace_back();
  definition->graph.groups.front().name = "root";
  pipeline_builder builder(definition);
  build(builder);
  validate(definition->graph);
  definition_ = std::move(definition);
}

}  // namespace mizzen::pipelines
