// Runs with all that hangs on them, many at once, and the histories of metrics.
#include "tracking/page_token.hpp"
#include "tracking/store.hpp"
#include "tracking/store_rows.hpp"
#include "tracking/stored_value.hpp"
#include "tracking/validate.hpp"

#include <mizzen/core/json.hpp>

#include <algorithm>
#include <limits>

namespace mizzen::tracking::detail {
namespace {

constexpr std::size_t runs_at_once = 1000;

// Details of a thousand runs or fewer. ids: their ids as a JSON array, whose elements lead each
// query, so that rows come run by run and name theirs by its index.
void read_details(connection& on, const std::string& ids, std::span<run_record> runs) {
  const auto run_of = [&](const statement& row) -> run_record& {
    return runs[static_cast<std::size_t>(row.integer(0))];
  };
  {
    auto row = on.prepare(
        "SELECT j.key, m.key, m.value, m.step, m.timestamp, m.is_nan FROM json_each(?1) j "
        "CROSS JOIN latest_metrics m ON m.run_uuid = j.value");
    row.bind(ids);
    while (row.step()) {
      std::string key = row.text(1);
      metric& latest = run_of(row).metrics[key];
      latest.key = std::move(key);
      latest.value = from_stored(row.real(2), row.integer(5) != 0);
      latest.step = row.integer(3);
      latest.timestamp = row.integer(4);
    }
  }
  {
    auto row = on.prepare(
        "SELECT j.key, p.key, p.value FROM json_each(?1) j "
        "CROSS JOIN params p ON p.run_uuid = j.value");
    row.bind(ids);
    while (row.step()) run_of(row).params[row.text(1)] = row.text(2);
  }
  {
    auto row = on.prepare(
        "SELECT j.key, t.key, t.value FROM json_each(?1) j "
        "CROSS JOIN tags t ON t.run_uuid = j.value");
    row.bind(ids);
    while (row.step()) run_of(row).tags[row.text(1)] = row.text(2);
  }
  {
    auto row = on.prepare(
        "SELECT j.key, d.name, d.digest, d.dataset_source_type, d.dataset_source, "
        "d.dataset_schema, d.dataset_profile, i.input_uuid FROM json_each(?1) j "
        "CROSS JOIN inputs i ON i.destination_type = 'RUN' AND i.destination_id = j.value AND "
        "i.source_type = 'DATASET' CROSS JOIN datasets d ON d.dataset_uuid = i.source_id "
        "ORDER BY j.key, i.rowid");
    row.bind(ids);
    while (row.step()) {
      dataset_input& input = run_of(row).inputs.emplace_back();
      input.dataset = {row.text(1), row.text(2), row.text(3),
                       row.text(4), row.text(5), row.text(6)};
      auto tag = on.prepare("SELECT name, value FROM input_tags WHERE input_uuid = ?1");
      const std::string input_id = row.text(7);
      tag.bind(input_id);
      while (tag.step()) input.tags[tag.text(0)] = tag.text(1);
    }
  }
  auto row = on.prepare(
      "SELECT j.key, i.destination_id, i.source_type = 'RUN_OUTPUT' FROM json_each(?1) j "
      "CROSS JOIN inputs i ON i.source_type IN ('RUN_OUTPUT', 'RUN_INPUT') AND i.source_id = "
      "j.value AND i.destination_type IN ('MODEL_OUTPUT', 'MODEL_INPUT') ORDER BY j.key, i.rowid");
  row.bind(ids);
  while (row.step()) {
    run_record& run = run_of(row);
    (row.integer(2) != 0 ? run.model_ids : run.input_model_ids).push_back(row.text(1));
  }
}

// Whether the points of one run are best read off the primary key of the table, which is ordered
// as they are to come but holds those of all runs under the key; else they are sorted.
bool reads_in_key_order(connection& on, std::string_view run_id, std::string_view key) {
  constexpr std::int64_t few = 20'000;
  const auto count = [&](const char* literal, std::int64_t most) {
    auto row = on.prepare(literal);
    row.bind(run_id, key, most);
    return row.step() ? row.integer(0) : 0;
  };
  constexpr const char* own =
      "SELECT count(*) FROM (SELECT 1 FROM metrics WHERE run_uuid = ?1 AND key = ?2 LIMIT ?3)";
  if (count(own, few) < few) return false;
  if (count("SELECT count(*) FROM (SELECT 1 FROM latest_metrics WHERE key = ?2 AND run_uuid <> ?1 "
            "LIMIT ?3)",
            1) == 0) {
    return true;
  }
  const std::int64_t mine = count(own, std::numeric_limits<std::int64_t>::max());
  const std::int64_t bound = 4 * mine;
  return count("SELECT count(*) FROM (SELECT 1 FROM metrics WHERE key = ?2 LIMIT ?3)", bound) <
         bound;
}

void require_run(connection& on, std::string_view run_id) {
  auto run = on.prepare("SELECT 1 FROM runs WHERE run_uuid = ?1");
  if (run.bind(run_id).step()) return;
  throw error(errc::not_found, "run '" + std::string(run_id) + "'",
              "there is no such run in this store");
}

// Gives the points by timestamp, step and value until visit returns false.
template <typename Visit>
void walk_history(connection& on, std::string_view run_id, std::string_view key, Visit&& visit) {
  require_run(on, run_id);
  // A + keeps SQLite from using the indices on the run's id.
  auto row = on.prepare(reads_in_key_order(on, run_id, key)
                            ? "SELECT value, step, timestamp, is_nan FROM metrics WHERE key = ?2 "
                              "AND +run_uuid = ?1 ORDER BY timestamp, step, run_uuid, value"
                            : "SELECT value, step, timestamp, is_nan FROM metrics WHERE run_uuid = "
                              "?1 AND key = ?2 ORDER BY timestamp, step, value");
  row.bind(run_id, key);
  metric point{.key = std::string(key)};
  while (row.step()) {
    point.value = from_stored(row.real(0), row.integer(3) != 0);
    point.step = row.integer(1);
    point.timestamp = row.integer(2);
    if (!visit(std::as_const(point))) return;
  }
}

}  // namespace

run_record read_run_row(statement& row) {
  run_record run;
  run.id = row.text(0);
  run.experiment_id = std::to_string(row.integer(1));
  run.name = row.text(2);
  run.user = row.text(3);
  run.status = parse_run_status(row.text(4));
  run.stage = row.text(5) == "deleted" ? lifecycle_stage::deleted : lifecycle_stage::active;
  run.start_time = row.integer(6);
  run.end_time = row.optional_integer(7);
  run.artifact_uri = row.text(8);
  return run;
}

void read_run_details(connection& on, std::span<run_record> runs) {
  for (std::size_t first = 0; first < runs.size(); first += runs_at_once) {
    const auto part = runs.subspan(first, std::min(runs_at_once, runs.size() - first));
    json ids = json::array();
    for (const run_record& run : part) ids.push_back(run.id);
    read_details(on, ids.dump(-1, ' ', false, json::error_handler_t::replace), part);
  }
}

std::vector<metric> store::metric_history(std::string_view run_id, std::string_view key) {
  check_text("run.id", run_id);
  check_text("metric.key", key);
  return reading([&](connection& on) {
    std::vector<metric> points;
    walk_history(on, run_id, key, [&](const metric& point) {
      points.push_back(point);
      return true;
    });
    return points;
  });
}

void store::visit_metric_history(std::string_view run_id, std::string_view key,
                                 const std::function<bool(const metric&)>& visit) {
  check_text("run.id", run_id);
  check_text("metric.key", key);
  check_process();
  // A connection of its own: nobody waits for the visitor, which may read and write meanwhile.
  connection on(writer_->path(), connection::access::read, false, busy_timeout_);
  transaction scope(on, transaction::kind::read);
  walk_history(on, run_id, key, visit);
}

page<metric> store::metric_history_page(std::string_view run_id, std::string_view key,
                                        std::size_t max_results, std::string_view page_token) {
  check_text("run.id", run_id);
  check_text("metric.key", key);
  check_history_page(max_results);
  const std::int64_t offset = read_page_token(page_token);
  return reading([&](connection& on) {
    page<metric> found;
    std::int64_t at = 0;
    walk_history(on, run_id, key, [&](const metric& point) {
      if (at++ < offset) return true;
      if (found.items.size() == max_results) {
        found.next_page_token = make_page_token(offset + static_cast<std::int64_t>(max_results));
        return false;
      }
      found.items.push_back(point);
      return true;
    });
    return found;
  });
}

std::map<std::string, std::vector<metric>> store::metric_histories(
    std::span<const std::string> run_ids, std::string_view key) {
  for (const std::string& id : run_ids) check_text("run.id", id);
  check_text("metric.key", key);
  return reading([&](connection& on) {
    std::map<std::string, std::vector<metric>> histories;
    for (const std::string& id : run_ids) {
      {
        auto row = on.prepare("SELECT 1 FROM latest_metrics WHERE run_uuid = ?1 AND key = ?2");
        if (!row.bind(id, key).step() || histories.contains(id)) continue;
      }
      std::vector<metric>& points = histories[id];
      walk_history(on, id, key, [&](const metric& point) {
        points.push_back(point);
        return true;
      });
    }
    return histories;
  });
}

// As MLflow samples: the points in order of their steps, cut into max_points buckets of the same
// size (NTILE), the first of each; the last of all takes the place of the last of these.
std::map<std::string, std::vector<metric>> store::sample_metric_histories(
    std::span<const std::string> run_ids, std::string_view key, const history_sample& options) {
  for (const std::string& id : run_ids) check_text("run.id", id);
  check_text("metric.key", key);
  check_history_sample(options);
  return reading([&](connection& on) {
    std::map<std::string, std::vector<metric>> histories;
    for (const std::string& id : run_ids) {
      if (histories.contains(id)) continue;
      std::vector<metric> points;
      auto row = on.prepare(
          "WITH points AS (SELECT value, step, timestamp, is_nan, ntile(?3) OVER o AS bucket, "
          "row_number() OVER o AS place FROM metrics WHERE run_uuid = ?1 AND key = ?2 AND "
          "(?4 IS NULL OR step BETWEEN ?4 AND ?5) WINDOW o AS (ORDER BY step, timestamp, value, "
          "is_nan)), "
          "picked AS (SELECT min(place) AS place FROM points GROUP BY bucket UNION "
          "SELECT max(place) FROM points) "
          "SELECT value, step, timestamp, is_nan FROM points JOIN picked USING (place) "
          "ORDER BY place");
      row.bind(id, key, options.max_points, options.first_step, options.last_step);
      while (row.step()) {
        points.push_back({.key = std::string(key),
                          .value = from_stored(row.real(0), row.integer(3) != 0),
                          .step = row.integer(1),
                          .timestamp = row.integer(2)});
      }
      if (points.size() > options.max_points) points.erase(points.end() - 2);
      if (!points.empty()) histories[id] = std::move(points);
    }
    return histories;
  });
}

}  // namespace mizzen::tracking::detail
