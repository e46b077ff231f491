#include "tracking/schema.hpp"

#include <mizzen/core/time.hpp>

#include <algorithm>
#include <set>

namespace mizzen::tracking::detail {
namespace {

// Version of Mizzen's own tables, in mizzen_schema. A change of their shape raises it and adds a
// step to upgrade_own_tables.
constexpr std::int64_t own_version = 1;

constexpr const char* own_tables_1 = R"(
CREATE TABLE mizzen_schema (version INTEGER NOT NULL);
INSERT INTO mizzen_schema VALUES (1);
CREATE TABLE mizzen_lineage_nodes (
  id VARCHAR(32) NOT NULL PRIMARY KEY,
  kind TEXT NOT NULL,
  name TEXT NOT NULL,
  version TEXT NOT NULL,
  attributes TEXT NOT NULL,
  created_time BIGINT NOT NULL,
  UNIQUE (kind, name, version)
);
CREATE TABLE mizzen_lineage_edges (
  from_id VARCHAR(32) NOT NULL REFERENCES mizzen_lineage_nodes (id) ON DELETE CASCADE,
  to_id VARCHAR(32) NOT NULL REFERENCES mizzen_lineage_nodes (id) ON DELETE CASCADE,
  relation TEXT NOT NULL,
  created_time BIGINT NOT NULL,
  PRIMARY KEY (from_id, to_id, relation)
);
CREATE INDEX mizzen_lineage_edges_to ON mizzen_lineage_edges (to_id);
)";

std::set<std::string> tables_of(connection& on) {
  std::set<std::string> names;
  auto rows = on.prepare("SELECT name FROM sqlite_master WHERE type = 'table'");
  while (rows.step()) names.insert(rows.text(0));
  return names;
}

// The names after CREATE TABLE in a schema script.
std::vector<std::string> tables_in(std::string_view sql) {
  constexpr std::string_view intro = "\nCREATE TABLE ";
  std::vector<std::string> names;
  for (auto at = sql.find(intro); at != std::string_view::npos; at = sql.find(intro, at)) {
    at += intro.size();
    std::string_view name = sql.substr(at, sql.find_first_of(" (\n", at) - at);
    if (name.starts_with('"')) name = name.substr(1, name.size() - 2);
    names.emplace_back(name);
  }
  return names;
}

void create_mlflow_tables(connection& on, const std::string& default_artifact_location) {
  on.execute(std::string(mlflow_schema_sql));
  const std::int64_t now = unix_millis();
  on.prepare(
        "INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage, "
        "creation_time, last_update_time, workspace) "
        "VALUES (0, 'Default', ?1, 'active', ?2, ?2, 'default')")
      .bind(default_artifact_location, now)
      .run();
}

void check_mlflow_tables(connection& on, const std::set<std::string>& present) {
  const std::string subject = "store '" + on.path() + "'";
  const schema_header ours = read_schema_header(mlflow_schema_sql);
  if (!present.contains("alembic_version")) {
    throw error(errc::failed_precondition, subject,
                "it is a database of something else: it has tables, but not MLflow's "
                "alembic_version; name another file");
  }
  std::string revision;
  {
    auto row = on.prepare("SELECT version_num FROM alembic_version");
    if (row.step()) revision = row.text(0);
  }
  if (revision != ours.revision) {
    const bool older =
        std::find(ours.older.begin(), ours.older.end(), revision) != ours.older.end();
    const std::string versions = "its schema is at revision '" + revision +
                                 "', this library works with '" + ours.revision + "' (MLflow " +
                                 ours.mlflow_version + "); ";
    throw error(
        errc::failed_precondition, subject,
        versions + (older ? "it is older: back it up, then run `mlflow db upgrade sqlite:///" +
                                on.path() + "` with MLflow " + ours.mlflow_version
                          : "that revision is unknown here, probably of a newer MLflow: use a "
                            "newer Mizzen, or a store of its own"));
  }
  std::string missing;
  for (const std::string& table : tables_in(mlflow_schema_sql)) {
    if (present.contains(table)) continue;
    missing += missing.empty() ? table : ", " + table;
  }
  if (!missing.empty()) {
    throw error(errc::data_loss, subject,
                "tables of MLflow's schema are missing (" + missing + "); restore a backup");
  }
}

void upgrade_own_tables(connection& on, const std::set<std::string>& present) {
  if (!present.contains("mizzen_schema")) {
    on.execute(own_tables_1);
    return;
  }
  std::int64_t version = 0;
  {
    auto row = on.prepare("SELECT max(version) FROM mizzen_schema");
    if (row.step()) version = row.integer(0);
  }
  if (version != own_version) {
    throw error(errc::failed_precondition, "store '" + on.path() + "'",
                "its tables mizzen_* are at version " + std::to_string(version) +
                    ", this library knows " + std::to_string(own_version) +
                    "; use the newer Mizzen that wrote it");
  }
  for (const char* table : {"mizzen_lineage_nodes", "mizzen_lineage_edges"}) {
    if (present.contains(table)) continue;
    throw error(errc::data_loss, "store '" + on.path() + "'",
                std::string("the table ") + table + " is missing; restore a backup");
  }
}

}  // namespace

schema_header read_schema_header(std::string_view sql) {
  schema_header header;
  while (sql.starts_with("--")) {
    const std::string_view line = sql.substr(0, sql.find('\n'));
    sql.remove_prefix(std::min(sql.size(), line.size() + 1));
    const auto colon = line.find(": ");
    if (colon == std::string_view::npos) continue;
    const std::string_view key = line.substr(3, colon - 3);
    const std::string value(line.substr(colon + 2));
    if (key == "mlflow") header.mlflow_version = value;
    if (key == "revision") header.revision = value;
    if (key == "older") header.older.push_back(value);
  }
  return header;
}

void prepare_schema(connection& on, bool create, const std::string& default_artifact_location) {
  {
    transaction look(on, transaction::kind::read);
    const auto present = tables_of(on);
    if (present.empty() && !create) {
      throw error(errc::not_found, "store '" + on.path() + "'",
                  "it is empty, and client_options::create is off");
    }
    if (!present.empty()) {
      check_mlflow_tables(on, present);
      if (present.contains("mizzen_schema")) {
        upgrade_own_tables(on, present);
        return;
      }
    }
  }
  // Looked at again under the write lock: another process may have been quicker.
  transaction work(on, transaction::kind::write);
  const auto present = tables_of(on);
  if (present.empty()) {
    create_mlflow_tables(on, default_artifact_location);
  } else {
    check_mlflow_tables(on, present);
  }
  upgrade_own_tables(on, present);
  work.commit();
}

}  // namespace mizzen::tracking::detail
