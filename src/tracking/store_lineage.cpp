// Lineage: the tables mizzen_lineage_*.
#include "tracking/store.hpp"
#include "tracking/validate.hpp"

#include <mizzen/core/id.hpp>
#include <mizzen/core/json.hpp>
#include <mizzen/core/time.hpp>

#include <deque>
#include <unordered_set>

namespace mizzen::tracking::detail {
namespace {

void check_node(const lineage_node& node) {
  if (node.kind.empty() || node.name.empty()) {
    throw error(errc::invalid_argument,
                node.kind.empty() ? "lineage_node.kind" : "lineage_node.name",
                "it is empty; say what it is");
  }
  check_text("lineage_node.kind", node.kind);
  check_text("lineage_node.name", node.name);
  check_text("lineage_node.version", node.version);
  for (const auto& [key, value] : node.attributes) {
    check_text("lineage_node.attributes.key", key);
    check_text("lineage_node.attributes['" + key + "']", value);
  }
}

// Columns: id, kind, name, version, attributes.
lineage_node read_node(const connection& on, statement& row) {
  lineage_node node;
  node.id = row.text(0);
  node.kind = row.text(1);
  node.name = row.text(2);
  node.version = row.text(3);
  const json attributes = json::parse(row.text(4), nullptr, false);
  if (!attributes.is_object()) {
    throw error(errc::data_loss, "store '" + on.path() + "'",
                "the attributes of lineage node " + node.id + " are not JSON; restore a backup");
  }
  for (const auto& [key, value] : attributes.items()) {
    node.attributes[key] = value.is_string() ? value.get<std::string>() : value.dump();
  }
  return node;
}

std::optional<lineage_node> node_by_identity(connection& on, std::string_view kind,
                                             std::string_view name, std::string_view version) {
  auto row = on.prepare(
      "SELECT id, kind, name, version, attributes FROM mizzen_lineage_nodes WHERE kind = ?1 AND "
      "name = ?2 AND version = ?3");
  if (!row.bind(kind, name, version).step()) return std::nullopt;
  return read_node(on, row);
}

lineage_node node_by_id(connection& on, std::string_view id) {
  auto row = on.prepare(
      "SELECT id, kind, name, version, attributes FROM mizzen_lineage_nodes WHERE id = ?1");
  if (!row.bind(id).step()) {
    throw error(errc::not_found, "lineage node '" + std::string(id) + "'",
                "it is not in this store's graph; record it first");
  }
  return read_node(on, row);
}

std::vector<lineage_edge> edges_at(connection& on, std::string_view id,
                                   lineage_direction direction) {
  std::vector<lineage_edge> edges;
  auto row = on.prepare(direction == lineage_direction::upstream
                            ? "SELECT from_id, to_id, relation FROM mizzen_lineage_edges WHERE "
                              "to_id = ?1 ORDER BY rowid"
                            : "SELECT from_id, to_id, relation FROM mizzen_lineage_edges WHERE "
                              "from_id = ?1 ORDER BY rowid");
  row.bind(id);
  while (row.step()) edges.push_back({row.text(0), row.text(1), row.text(2)});
  return edges;
}

}  // namespace

std::string record_node_in(connection& on, const lineage_node& node) {
  const std::optional<lineage_node> known =
      node_by_identity(on, node.kind, node.name, node.version);
  if (!known) {
    const std::string id = random_hex_id();
    on.prepare(
          "INSERT INTO mizzen_lineage_nodes (id, kind, name, version, attributes, created_time) "
          "VALUES (?1, ?2, ?3, ?4, ?5, ?6)")
        .bind(id, node.kind, node.name, node.version, json(node.attributes).dump(), unix_millis())
        .run();
    return id;
  }
  string_map merged = node.attributes;
  merged.insert(known->attributes.begin(), known->attributes.end());
  if (merged != known->attributes) {
    on.prepare("UPDATE mizzen_lineage_nodes SET attributes = ?1 WHERE id = ?2")
        .bind(json(merged).dump(), known->id)
        .run();
  }
  return known->id;
}

std::string run_node_in(connection& on, std::string_view run_id) {
  {
    auto row =
        on.prepare("SELECT id FROM mizzen_lineage_nodes WHERE kind = 'run' AND version = ?1");
    if (row.bind(run_id).step()) return row.text(0);
  }
  std::string name;
  {
    auto row = on.prepare("SELECT name FROM runs WHERE run_uuid = ?1");
    if (row.bind(run_id).step()) name = row.text(0);
  }
  return record_node_in(on, {.kind = "run", .name = name, .version = std::string(run_id)});
}

void link_nodes_in(connection& on, std::string_view from, std::string_view to,
                   std::string_view relation) {
  on.prepare(
        "INSERT OR IGNORE INTO mizzen_lineage_edges (from_id, to_id, relation, created_time) "
        "VALUES (?1, ?2, ?3, ?4)")
      .bind(from, to, relation, unix_millis())
      .run();
}

std::string store::record_node(const lineage_node& node) {
  check_node(node);
  return writing([&](connection& on) { return record_node_in(on, node); });
}

void store::link_nodes(std::string_view from, std::string_view to, std::string_view relation) {
  check_text("lineage_edge.from", from);
  check_text("lineage_edge.to", to);
  check_text("lineage_edge.relation", relation);
  if (relation.empty()) {
    throw error(errc::invalid_argument, "lineage_edge.relation",
                "it is empty; say how they relate");
  }
  if (from == to) {
    throw error(errc::invalid_argument, "lineage_edge.to",
                "it is the node the arrow starts from; nothing is made from itself");
  }
  writing([&](connection& on) {
    node_by_id(on, from);
    node_by_id(on, to);
    link_nodes_in(on, from, to, relation);
  });
}

lineage_node store::get_node(std::string_view id) {
  check_text("lineage_node.id", id);
  return reading([&](connection& on) { return node_by_id(on, id); });
}

std::optional<lineage_node> store::find_node(std::string_view kind, std::string_view name,
                                             std::string_view version) {
  check_text("lineage_node.kind", kind);
  check_text("lineage_node.name", name);
  check_text("lineage_node.version", version);
  return reading([&](connection& on) { return node_by_identity(on, kind, name, version); });
}

lineage_graph store::reachable_nodes(std::string_view id, lineage_direction direction) {
  check_text("lineage_node.id", id);
  return reading([&](connection& on) {
    lineage_graph graph;
    graph.direction = direction;
    std::unordered_set<std::string> seen{std::string(id)};
    std::deque<std::string> next{std::string(id)};
    while (!next.empty()) {
      const std::string here = std::move(next.front());
      next.pop_front();
      graph.nodes.push_back(node_by_id(on, here));
      for (lineage_edge& edge : edges_at(on, here, direction)) {
        const std::string& other = direction == lineage_direction::upstream ? edge.from : edge.to;
        if (seen.insert(other).second) next.push_back(other);
        graph.edges.push_back(std::move(edge));
      }
    }
    return graph;
  });
}

lineage_graph store::all_nodes() {
  return reading([&](connection& on) {
    lineage_graph graph;
    {
      auto row = on.prepare(
          "SELECT id, kind, name, version, attributes FROM mizzen_lineage_nodes ORDER BY rowid");
      while (row.step()) graph.nodes.push_back(read_node(on, row));
    }
    auto row =
        on.prepare("SELECT from_id, to_id, relation FROM mizzen_lineage_edges ORDER BY rowid");
    while (row.step()) graph.edges.push_back({row.text(0), row.text(1), row.text(2)});
    return graph;
  });
}

}  // namespace mizzen::tracking::detail
