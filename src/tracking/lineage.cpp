#include "tracking/backend.hpp"

#include <mizzen/tracking/lineage.hpp>

#include <unordered_map>
#include <unordered_set>
#include <utility>

namespace mizzen::tracking {

lineage::lineage(std::shared_ptr<detail::backend> backend) noexcept
    : backend_(std::move(backend)) {}

std::string lineage::record(const lineage_node& node) { return backend_->record_node(node); }
void lineage::link(std::string_view from, std::string_view to, std::string_view relation) {
  backend_->link_nodes(from, to, relation);
}
lineage_node lineage::get(std::string_view id) const { return backend_->get_node(id); }
std::optional<lineage_node> lineage::find(std::string_view kind, std::string_view name,
                                          std::string_view version) const {
  return backend_->find_node(kind, name, version);
}
lineage_graph lineage::upstream(std::string_view id) const {
  return backend_->reachable_nodes(id, lineage_direction::upstream);
}
lineage_graph lineage::downstream(std::string_view id) const {
  return backend_->reachable_nodes(id, lineage_direction::downstream);
}
lineage_graph lineage::all() const { return backend_->all_nodes(); }

namespace {

std::string title(const lineage_node& node) {
  std::string text = node.kind + " " + node.name;
  if (!node.version.empty()) text += " " + node.version;
  return text;
}

class tree_printer {
 public:
  explicit tree_printer(const lineage_graph& graph)
      : upstream_(graph.direction == lineage_direction::upstream) {
    for (const lineage_node& node : graph.nodes) nodes_[node.id] = &node;
    for (const lineage_edge& edge : graph.edges) {
      branches_[upstream_ ? edge.to : edge.from].push_back(&edge);
      reached_.insert(upstream_ ? edge.from : edge.to);
    }
  }

  void print(const lineage_node& root) {
    if (!printed_.insert(root.id).second) return;
    text_ += title(root) + "\n";
    print_branches(root.id, "");
  }
  bool is_reached(const lineage_node& node) const { return reached_.contains(node.id); }
  std::string take() { return std::move(text_); }

 private:
  // The depth of the recursion is that of the tree: bounded by printing each node once.
  void print_branches(const std::string& id, const std::string& indent) {
    const auto found = branches_.find(id);
    if (found == branches_.end()) return;
    for (std::size_t i = 0; i < found->second.size(); ++i) {
      const lineage_edge& edge = *found->second[i];
      const bool last = i + 1 == found->second.size();
      const std::string& other = upstream_ ? edge.from : edge.to;
      const auto node = nodes_.find(other);
      if (node == nodes_.end()) continue;
      text_ += indent + (last ? "└─ " : "├─ ") + edge.relation + (upstream_ ? " ← " : " → ") +
               title(*node->second);
      if (!printed_.insert(other).second) {
        text_ += branches_.contains(other) ? " …\n" : "\n";
        continue;
      }
      text_ += "\n";
      print_branches(other, indent + (last ? "   " : "│  "));
    }
  }

  bool upstream_;
  std::unordered_map<std::string, const lineage_node*> nodes_;
  std::unordered_map<std::string, std::vector<const lineage_edge*>> branches_;
  std::unordered_set<std::string> reached_;
  std::unordered_set<std::string> printed_;
  std::string text_;
};

std::string dot_quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

}  // namespace

std::string to_text(const lineage_graph& graph) {
  tree_printer printer(graph);
  for (const lineage_node& node : graph.nodes) {
    if (!printer.is_reached(node)) printer.print(node);
  }
  // What is left is in circles, or is the node asked for when a circle leads back to it.
  for (const lineage_node& node : graph.nodes) printer.print(node);
  return printer.take();
}

std::string to_dot(const lineage_graph& graph) {
  std::string text = "digraph lineage {\n  rankdir=LR;\n  node [shape=box];\n";
  for (const lineage_node& node : graph.nodes) {
    text += "  " + dot_quoted(node.id) + " [label=" + dot_quoted(node.kind + ": " + node.name);
    if (!node.version.empty()) {
      text.pop_back();
      std::string version = dot_quoted(node.version);
      text += "\\n" + version.substr(1);
    }
    text += "];\n";
  }
  for (const lineage_edge& edge : graph.edges) {
    text += "  " + dot_quoted(edge.from) + " -> " + dot_quoted(edge.to) +
            " [label=" + dot_quoted(edge.relation) + "];\n";
  }
  return text + "}\n";
}

}  // namespace mizzen::tracking
