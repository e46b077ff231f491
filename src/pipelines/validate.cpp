// What a graph must hold before anything of it may run or be compiled.
#include "pipelines/condition.hpp"
#include "pipelines/files.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/pipelines/graph.hpp>

#include <algorithm>
#include <set>
#include <utility>
#include <variant>

namespace mizzen::pipelines {
namespace {

using detail::check_name;
using detail::for_each_source;

template <class List>
auto find_named(const List& list, const std::string& name) -> decltype(list.data()) {
  const auto at =
      std::find_if(list.begin(), list.end(), [&](const auto& each) { return each.name == name; });
  return at == list.end() ? nullptr : &*at;
}

[[noreturn]] void wrong(const std::string& subject, const std::string& message) {
  throw error(errc::invalid_argument, subject, message);
}

class validator {
 public:
  explicit validator(const graph& graph) : graph_(graph) {}

  void check() {
    check_groups();
    check_tasks();
    for (const task_spec& task : graph_.tasks) check_inputs(task);
    for (group_id id = 1; id < graph_.groups.size(); ++id) check_group_sources(id);
    for (const pipeline_parameter& parameter : graph_.parameters) {
      if (!used_parameters_.contains(parameter.name)) {
        wrong(parameter.name, "the pipeline parameter is not used by any task or condition");
      }
    }
    check_cycles();
  }

 private:
  // What a source gives.
  struct kind_of_source {
    bool artifact = false;
    bool list = false;                   // of artifacts
    std::string type;                    // of an artifact
    std::optional<parameter_kind> kind;  // of a parameter; none: depends on the item's type
  };

  void check_groups() const {
    if (graph_.groups.empty() || graph_.groups[0].what != group_spec::kind::root) {
      wrong("groups[0]", "the first group is the root");
    }
    for (group_id id = 1; id < graph_.groups.size(); ++id) {
      if (graph_.groups[id].parent >= id || graph_.groups[id].what == group_spec::kind::root) {
        wrong(graph_.groups[id].name, "a group is a condition or a loop and follows its parent");
      }
    }
  }

  void check_tasks() const {
    std::set<std::string_view> names;
    for (const task_spec& task : graph_.tasks) {
      check_name(task.name, "task.name");
      if (!names.insert(task.name).second) wrong(task.name, "two tasks have this name");
      if (task.component >= graph_.components.size()) wrong(task.name, "no such component");
      if (task.group >= graph_.groups.size()) wrong(task.name, "no such group");
    }
  }

  bool inside(group_id inner, group_id outer) const {
    while (inner != outer && inner != 0) inner = graph_.groups[inner].parent;
    return inner == outer;
  }

  // Is there a loop around the producer that is not around the consumer?
  bool leaves_loop(group_id producer, group_id consumer) const {
    for (group_id group = producer; group != 0; group = graph_.groups[group].parent) {
      if (graph_.groups[group].what == group_spec::kind::loop && !inside(consumer, group)) {
        return true;
      }
    }
    return false;
  }

  kind_of_source look_up(const source& from, group_id user, const std::string& subject) {
    if (const auto* constant = std::get_if<constant_source>(&from)) {
      return {false,
              false,
              {},
              constant->value.is_null() ? std::nullopt : kind_of_value(constant->value)};
    }
    if (const auto* parameter = std::get_if<parameter_source>(&from)) {
      const auto* declared = find_named(graph_.parameters, parameter->parameter);
      if (!declared)
        wrong(subject, "there is no pipeline parameter '" + parameter->parameter + "'");
      used_parameters_.insert(parameter->parameter);
      return {false, false, {}, declared->kind};
    }
    if (const auto* item = std::get_if<item_source>(&from)) {
      const bool known = item->loop < graph_.groups.size() &&
                         graph_.groups[item->loop].what == group_spec::kind::loop;
      if (!known || !inside(user, item->loop)) {
        wrong(subject, "the item of a loop is known only to the tasks of that loop");
      }
      return {};
    }
    const auto* collected = std::get_if<collected_source>(&from);
    const auto* output = std::get_if<output_source>(&from);
    const task_id producer = collected ? collected->task : output->task;
    const std::string& name = collected ? collected->output : output->output;
    if (producer >= graph_.tasks.size()) wrong(subject, "it takes an output of no known task");
    const task_spec& task = graph_.tasks[producer];
    const bool from_loop = leaves_loop(task.group, user);
    if (output && from_loop) {
      wrong(subject, "'" + task.name + "' runs once per iteration of its loop: take all of its " +
                         "outputs with p.collect(…)");
    }
    if (collected && !from_loop) {
      wrong(subject, "there is nothing to collect: '" + task.name + "' is in no loop that ends " +
                         "before this task");
    }
    const component_spec& component = graph_.components[task.component];
    if (const auto* artifact = find_named(component.output_artifacts, name)) {
      return {true, collected != nullptr, artifact->type, std::nullopt};
    }
    if (const auto* parameter = find_named(component.output_parameters, name)) {
      return {false, false, {}, collected ? parameter_kind::list : parameter->kind};
    }
    wrong(subject, "'" + task.name + "' has no output '" + name + "'");
  }

  static std::optional<parameter_kind> kind_of_value(const json& value) {
    if (value.is_string()) return parameter_kind::string;
    if (value.is_boolean()) return parameter_kind::boolean;
    if (value.is_number_integer()) return parameter_kind::integer;
    if (value.is_number()) return parameter_kind::number;
    if (value.is_array()) return parameter_kind::list;
    return parameter_kind::structure;
  }

  static bool fits(std::optional<parameter_kind> given, parameter_kind wanted) {
    // A structure may be any JSON; an integer constant is a number too.
    return !given || *given == wanted || wanted == parameter_kind::structure ||
           (*given == parameter_kind::integer && wanted == parameter_kind::number);
  }

  void check_inputs(const task_spec& task) {
    const component_spec& component = graph_.components[task.component];
    for (const input_parameter& input : component.input_parameters) {
      if (!input.default_value && !task.inputs.contains(input.name)) {
        wrong(task.name + "." + input.name, "the input has no default and nothing is given for it");
      }
    }
    for (const input_artifact& input : component.input_artifacts) {
      if (!task.inputs.contains(input.name)) {
        wrong(task.name + "." + input.name, "the input artifact is not wired to an output");
      }
    }
    for (const auto& [name, from] : task.inputs) {
      const std::string subject = task.name + "." + name;
      const kind_of_source given = look_up(from, task.group, subject);
      if (const auto* parameter = find_named(component.input_parameters, name)) {
        if (given.artifact || !fits(given.kind, parameter->kind)) {
          wrong(subject, "what it is wired to has another type than " +
                             std::string(to_string(parameter->kind)));
        }
      } else if (const auto* artifact = find_named(component.input_artifacts, name)) {
        // Inheritance between artifact types is C++'s business; here a base shows as its name.
        if (!given.artifact || given.list != artifact->list) {
          wrong(subject,
                "what it is wired to is no " + artifact->type + (artifact->list ? " list" : ""));
        }
      } else {
        wrong(subject, "the component '" + component.name + "' has no such input");
      }
    }
    for (const task_id before : task.after) {
      if (before >= graph_.tasks.size()) wrong(task.name + ".after", "no such task");
    }
  }

  void check_group_sources(group_id id) {
    const group_spec& group = graph_.groups[id];
    if (group.what == group_spec::kind::loop) {
      const kind_of_source given = look_up(group.items, group.parent, group.name + ".items");
      if (given.artifact || (given.kind && *given.kind != parameter_kind::list)) {
        wrong(group.name + ".items", "a loop runs over a list");
      }
      return;
    }
    for_each_source(group.when, [&](const source& from) {
      if (look_up(from, group.parent, group.name).artifact) {
        wrong(group.name, "a condition compares parameters, not artifacts");
      }
    });
  }

  // Nodes: every task; for a group its beginning and its end. A task may start once its group has
  // begun; whoever uses a task of a loop from outside waits for the loop's end.
  void check_cycles() const {
    const std::size_t tasks = graph_.tasks.size();
    const std::size_t groups = graph_.groups.size();
    std::vector<std::vector<std::size_t>> next(tasks + 2 * groups);
    const auto beginning = [&](group_id group) { return tasks + 2 * group; };
    const auto end = [&](group_id group) { return tasks + 2 * group + 1; };
    const auto connect = [&](task_id producer, group_id user, std::size_t node) {
      next[producer].push_back(node);
      for (group_id group = graph_.tasks[producer].group; group != 0;
           group = graph_.groups[group].parent) {
        if (graph_.groups[group].what == group_spec::kind::loop && !inside(user, group)) {
          next[end(group)].push_back(node);
        }
      }
    };
    const auto connect_source = [&](const source& from, group_id user, std::size_t node) {
      if (const auto* output = std::get_if<output_source>(&from)) {
        connect(output->task, user, node);
      } else if (const auto* collected = std::get_if<collected_source>(&from)) {
        connect(collected->task, user, node);
      }
    };
    for (task_id id = 0; id < tasks; ++id) {
      const task_spec& task = graph_.tasks[id];
      for (const auto& [name, from] : task.inputs) connect_source(from, task.group, id);
      for (const task_id before : task.after) connect(before, task.group, id);
      next[beginning(task.group)].push_back(id);
      next[id].push_back(end(task.group));
    }
    for (group_id id = 1; id < groups; ++id) {
      const group_spec& group = graph_.groups[id];
      next[beginning(group.parent)].push_back(beginning(id));
      next[end(id)].push_back(end(group.parent));
      if (group.what == group_spec::kind::loop) {
        connect_source(group.items, group.parent, beginning(id));
      } else {
        for_each_source(group.when, [&](const source& from) {
          connect_source(from, group.parent, beginning(id));
        });
      }
    }

    // Kahn: what cannot be removed waits for itself.
    std::vector<std::size_t> waits(next.size(), 0);
    for (const auto& targets : next) {
      for (const std::size_t target : targets) ++waits[target];
    }
    std::vector<std::size_t> free;
    for (std::size_t node = 0; node < next.size(); ++node) {
      if (waits[node] == 0) free.push_back(node);
    }
    std::size_t removed = 0;
    while (!free.empty()) {
      const std::size_t node = free.back();
      free.pop_back();
      ++removed;
      for (const std::size_t target : next[node]) {
        if (--waits[target] == 0) free.push_back(target);
      }
    }
    if (removed == next.size()) return;

    // Walk backwards inside the rest until a node repeats: that is a circle.
    std::vector<std::size_t> previous(next.size(), 0);
    std::size_t node = 0;
    for (std::size_t from = 0; from < next.size(); ++from) {
      if (waits[from] == 0) continue;
      for (const std::size_t target : next[from]) {
        if (waits[target] > 0) {
          previous[target] = from;
          node = target;
        }
      }
    }
    std::set<std::size_t> seen;
    while (seen.insert(node).second) node = previous[node];
    std::vector<std::string> circle;
    const std::size_t start = node;
    do {
      circle.push_back(node < tasks ? graph_.tasks[node].name
                                    : graph_.groups[(node - tasks) / 2].name);
      node = previous[node];
    } while (node != start);
    std::string text = circle.front();
    for (auto name = circle.rbegin(); name != circle.rend(); ++name) text += " -> " + *name;
    wrong(circle.front() + ".after", "the task waits for itself: " + text);
  }

  const graph& graph_;
  std::set<std::string> used_parameters_;
};

}  // namespace

void validate(const graph& graph) { validator(graph).check(); }

}  // namespace mizzen::pipelines
