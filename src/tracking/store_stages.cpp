// Stages of model versions: MLflow's column, and Mizzen's own table of who moved what and when.
#include "tracking/store.hpp"
#include "tracking/validate.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/core/time.hpp>

#include <utility>

namespace mizzen::tracking::detail {
namespace {

std::optional<std::string> stage_of(connection& on, std::string_view name, std::int64_t version) {
  auto row = on.prepare(
      "SELECT ifnull(current_stage, 'None') FROM model_versions WHERE workspace = 'default' AND "
      "name = ?1 AND version = ?2 AND current_stage <> 'Deleted_Internal'");
  if (!row.bind(name, version).step()) return std::nullopt;
  return row.text(0);
}

error no_such_version(std::string_view name, std::int64_t version) {
  return {errc::not_found, "model '" + std::string(name) + "' version " + std::to_string(version),
          "there is no such version"};
}

// Made at the first move: a store without stages stays as it is.
constexpr const char* history_table = R"(
CREATE TABLE IF NOT EXISTS mizzen_stage_history (
  id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL,
  version INTEGER NOT NULL,
  from_stage TEXT NOT NULL,
  to_stage TEXT NOT NULL,
  user_id TEXT NOT NULL,
  changed_time BIGINT NOT NULL
))";

bool has_history(connection& on) {
  auto row = on.prepare(
      "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'mizzen_stage_history'");
  return row.step();
}

}  // namespace

model_version store::transition_model_version(std::string_view name, std::int64_t version,
                                              model_stage stage, bool archive_existing) {
  check_model_name(name);
  check_archiving(stage, archive_existing);
  const std::string to(to_string(stage));
  const std::int64_t now = unix_millis();
  writing([&](connection& on) {
    const auto move = [&](std::int64_t number, const std::string& from, const std::string& into) {
      on.prepare(
            "UPDATE model_versions SET current_stage = ?1, last_updated_time = ?2 WHERE "
            "workspace = 'default' AND name = ?3 AND version = ?4")
          .bind(into, now, name, number)
          .run();
      if (from == into) return;
      on.prepare(
            "INSERT INTO mizzen_stage_history (name, version, from_stage, to_stage, user_id, "
            "changed_time) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")
          .bind(name, number, from, into, user_, now)
          .run();
    };
    on.execute(history_table);
    const auto from = stage_of(on, name, version);
    if (!from) throw no_such_version(name, version);
    if (archive_existing) {
      std::vector<std::int64_t> others;
      {
        auto row = on.prepare(
            "SELECT version FROM model_versions WHERE workspace = 'default' AND name = ?1 AND "
            "current_stage = ?2 AND version <> ?3");
        row.bind(name, to, version);
        while (row.step()) others.push_back(row.integer(0));
      }
      for (const std::int64_t other : others) move(other, to, "Archived");
    }
    move(version, *from, to);
    on.prepare(
          "UPDATE registered_models SET last_updated_time = ?1 WHERE workspace = 'default' AND "
          "name = ?2")
        .bind(now, name)
        .run();
  });
  return get_model_version(name, version);
}

std::vector<stage_change> store::stage_history(std::string_view name,
                                               std::optional<std::int64_t> version) {
  check_model_name(name);
  return reading([&](connection& on) {
    std::vector<stage_change> out;
    if (!has_history(on)) return out;
    auto row = on.prepare(
        "SELECT version, from_stage, to_stage, user_id, changed_time FROM mizzen_stage_history "
        "WHERE name = ?1 AND (?2 IS NULL OR version = ?2) ORDER BY id");
    row.bind(name, version);
    while (row.step()) {
      out.push_back({std::string(name), row.integer(0), read_stage(row.text(1)),
                     read_stage(row.text(2)), row.text(3), row.integer(4)});
    }
    return out;
  });
}

}  // namespace mizzen::tracking::detail
