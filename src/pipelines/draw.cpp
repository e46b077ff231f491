// Text and drawings of a graph.
#include "pipelines/condition.hpp"

#include <mizzen/pipelines/graph.hpp>

#include <set>
#include <string>
#include <utility>
#include <variant>

namespace mizzen::pipelines {
namespace {

std::string dot_text(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    if (c == '\n') {
      quoted += "\\n";
    } else {
      quoted += c;
    }
  }
  return quoted + "\"";
}

// Mermaid takes HTML's character references inside quotes.
std::string mermaid_text(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    constexpr std::string_view special = "\"#&<>;`\\\n";
    if (special.find(c) != std::string_view::npos) {
      quoted += "#" + std::to_string(static_cast<int>(c)) + ";";
    } else {
      quoted += c;
    }
  }
  return quoted + "\"";
}

std::string group_text(const group_spec& group, const graph& graph) {
  if (group.what == group_spec::kind::condition) return "if " + to_text(group.when, graph);
  std::string text = "for each of " + to_text(group.items, graph);
  if (group.parallelism > 0) text += ", " + std::to_string(group.parallelism) + " at once";
  return text;
}

// An arrow between two nodes; a node is a task or (inner end of a condition or loop) a group.
struct arrow {
  std::string from, to, label;
  bool data = true;
  auto operator<=>(const arrow&) const = default;
};

std::string task_node(task_id id) { return "t" + std::to_string(id); }
std::string group_node(group_id id) { return "g" + std::to_string(id); }

void add_arrow(std::set<arrow>& arrows, const source& from, const std::string& to) {
  if (const auto* output = std::get_if<output_source>(&from)) {
    arrows.insert({task_node(output->task), to, output->output});
  } else if (const auto* collected = std::get_if<collected_source>(&from)) {
    arrows.insert({task_node(collected->task), to, collected->output + "[]"});
  }
}

std::set<arrow> arrows_of(const graph& graph) {
  std::set<arrow> arrows;
  for (task_id id = 0; id < graph.tasks.size(); ++id) {
    for (const auto& [name, from] : graph.tasks[id].inputs) add_arrow(arrows, from, task_node(id));
    for (const task_id before : graph.tasks[id].after) {
      arrows.insert({task_node(before), task_node(id), "", false});
    }
  }
  for (group_id id = 1; id < graph.groups.size(); ++id) {
    const group_spec& group = graph.groups[id];
    if (group.what == group_spec::kind::loop) {
      add_arrow(arrows, group.items, group_node(id));
    } else {
      detail::for_each_source(group.when,
                              [&](const source& from) { add_arrow(arrows, from, group_node(id)); });
    }
  }
  return arrows;
}

void dot_group(std::string& text, const graph& graph, group_id group, const std::string& indent) {
  for (task_id id = 0; id < graph.tasks.size(); ++id) {
    if (graph.tasks[id].group != group) continue;
    text += indent + task_node(id) + " [label=" + dot_text(graph.tasks[id].name) + "];\n";
  }
  for (group_id id = 1; id < graph.groups.size(); ++id) {
    if (graph.groups[id].parent != group) continue;
    const bool loop = graph.groups[id].what == group_spec::kind::loop;
    text += indent + "subgraph " + dot_text("cluster_" + group_node(id)) + " {\n";
    text += indent + "  label=" + dot_text(group_text(graph.groups[id], graph)) + ";\n";
    text += indent + "  style=" + (loop ? "\"rounded,bold\"" : "\"rounded,dashed\"") + ";\n";
    text += indent + "  " + group_node(id) + " [label=" + dot_text(loop ? "for each" : "if") +
            ", shape=" + (loop ? "hexagon" : "diamond") + "];\n";
    dot_group(text, graph, id, indent + "  ");
    text += indent + "}\n";
  }
}

void mermaid_group(std::string& text, const graph& graph, group_id group,
                   const std::string& indent) {
  for (task_id id = 0; id < graph.tasks.size(); ++id) {
    if (graph.tasks[id].group != group) continue;
    text += indent + task_node(id) + "[" + mermaid_text(graph.tasks[id].name) + "]\n";
  }
  for (group_id id = 1; id < graph.groups.size(); ++id) {
    if (graph.groups[id].parent != group) continue;
    text += indent + "subgraph " + group_node(id) + "[" +
            mermaid_text(group_text(graph.groups[id], graph)) + "]\n";
    mermaid_group(text, graph, id, indent + "  ");
    text += indent + "end\n";
  }
}

std::string output_text(task_id task, const std::string& output, const graph& graph) {
  return graph.tasks[task].name + "." + output;
}

}  // namespace

std::string to_text(const source& from, const graph& graph) {
  if (const auto* constant = std::get_if<constant_source>(&from)) {
    return constant->value.dump(-1, ' ', false, json::error_handler_t::replace);
  }
  if (const auto* parameter = std::get_if<parameter_source>(&from)) return parameter->parameter;
  if (const auto* output = std::get_if<output_source>(&from)) {
    return output_text(output->task, output->output, graph);
  }
  if (const auto* item = std::get_if<item_source>(&from)) {
    return item->member.empty() ? "item" : "item." + item->member;
  }
  const auto& collected = std::get<collected_source>(from);
  return "all " + output_text(collected.task, collected.output, graph);
}

std::string to_text(const condition& condition, const graph& graph) {
  using kind = pipelines::condition::kind;
  if (condition.what == kind::compare) {
    return to_text(condition.left, graph) + " " + std::string(to_string(condition.op)) + " " +
           to_text(condition.right, graph);
  }
  const auto part = [&](const pipelines::condition& operand) {
    const std::string text = to_text(operand, graph);
    return operand.what == kind::compare && condition.what != kind::negation ? text
                                                                             : "(" + text + ")";
  };
  if (condition.what == kind::negation) return "!" + part(condition.operands.at(0));
  std::string text;
  for (const auto& operand : condition.operands) {
    if (!text.empty()) text += condition.what == kind::all_of ? " && " : " || ";
    text += part(operand);
  }
  return text;
}

std::string to_dot(const graph& graph) {
  std::string text = "digraph " + dot_text(graph.name) + " {\n";
  text += "  rankdir=TB;\n  node [shape=box, style=rounded];\n";
  dot_group(text, graph, 0, "  ");
  for (const arrow& each : arrows_of(graph)) {
    text += "  " + each.from + " -> " + each.to;
    text += each.data ? " [label=" + dot_text(each.label) + "];\n" : " [style=dashed];\n";
  }
  return text + "}\n";
}

std::string to_mermaid(const graph& graph) {
  std::string text = "flowchart TB\n";
  mermaid_group(text, graph, 0, "  ");
  for (const arrow& each : arrows_of(graph)) {
    text += "  " + each.from;
    text += each.data ? " -->|" + mermaid_text(each.label) + "| " : " -.-> ";
    text += each.to + "\n";
  }
  return text;
}

}  // namespace mizzen::pipelines
