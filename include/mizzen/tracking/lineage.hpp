// What was made from what: one small graph, dataset -> step -> run -> model version -> endpoint,
// kept beside MLflow's tables in tables of its own (mizzen_lineage_*).
#pragma once

#include <mizzen/tracking/types.hpp>

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mizzen::tracking {

namespace detail {
class backend;
}

// A thing in the graph. (kind, name, version) identify it: recording the same three again gives the
// same node.
struct lineage_node {
  std::string kind = {};       // "dataset", "step", "run", "model", "model_version", "endpoint" …
  std::string name = {};       // "digits", a step's name, a run's name, "digits-classifier"
  std::string version = {};    // tells it from others of that name: a digest, a run id, "3"
  string_map attributes = {};  // merged on recording again: new keys are added, old ones replaced
  std::string id = {};         // given by the store; ignored by record()
};

// An arrow in the direction of the data: `to` was made from, or with, `from`.
struct lineage_edge {
  std::string from = {};  // node ids
  std::string to = {};
  std::string relation = {};  // "input", "output", "registered", "deployed" …
};

// Which way a part of the graph was followed: against the arrows, or along them.
enum class lineage_direction { upstream, downstream };

// A part of the graph, as upstream(), downstream() and all() give it; edges among its nodes only.
struct lineage_graph {
  lineage_direction direction = lineage_direction::downstream;
  // From upstream() and downstream(): the node asked for, then by distance from it. From all(): in
  // the order they were recorded.
  std::vector<lineage_node> nodes = {};
  std::vector<lineage_edge> edges = {};
};

// The lineage of a store. Cheap to copy, thread safe, keeps the store open. Errors as client, and
// error(not_found) for an id that is not in the graph, error(invalid_argument) for an empty kind
// or name; all error(unimplemented) where the store is a server: MLflow has no place for a graph.
class lineage {
 public:
  // Records a node and returns its id, which is the old one if it is known already.
  std::string record(const lineage_node& node);

  // Draws an arrow between two nodes; again is fine. Circles are possible (a run that reads what it
  // wrote), an arrow from a node to itself is error(invalid_argument).
  void link(std::string_view from, std::string_view to, std::string_view relation);

  lineage_node get(std::string_view id) const;
  std::optional<lineage_node> find(std::string_view kind, std::string_view name,
                                   std::string_view version) const;

  // All that the node was made from, or all that was made from it, itself included, to any depth.
  lineage_graph upstream(std::string_view id) const;
  lineage_graph downstream(std::string_view id) const;

  // The whole graph.
  lineage_graph all() const;

 private:
  friend class client;
  explicit lineage(std::shared_ptr<detail::backend> backend) noexcept;
  std::shared_ptr<detail::backend> backend_;
};

// An indented tree, one node a line: from the node asked for, or for all() from every node that
// nothing leads to. A node met again is marked "…" and not unfolded twice.
//   model_version digits-classifier 1
//   └─ registered ← model digits m-5f…
//      └─ output ← run brisk-heron-417 8c…
std::string to_text(const lineage_graph& graph);

// Graphviz: `dot -Tsvg`.
std::string to_dot(const lineage_graph& graph);

}  // namespace mizzen::tracking
