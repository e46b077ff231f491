// The embedded store as the drain of the log writes it: many points in one transaction.
#include "tracking/store.hpp"
#include "tracking/stored_value.hpp"

#include <algorithm>
#include <numeric>
#include <string>
#include <tuple>

namespace mizzen::tracking::detail {
namespace {

constexpr std::size_t rows_at_once = 32;

// INSERT of so many points of one series: ?1 is the key, ?2 the run, then value, timestamp, step
// and is_nan of each.
std::string insert_sql(std::size_t rows) {
  std::string sql =
      "INSERT OR IGNORE INTO metrics (key, value, timestamp, run_uuid, step, is_nan) VALUES ";
  for (std::size_t i = 0; i < rows; ++i) {
    const std::size_t first = 3 + i * 4;
    sql += (i == 0 ? "(?1,?" : ",(?1,?") + std::to_string(first) + ",?" +
           std::to_string(first + 1) + ",?2,?" + std::to_string(first + 2) + ",?" +
           std::to_string(first + 3) + ")";
  }
  return sql;
}

void insert_rows(connection& on, std::span<const logged_point* const> points) {
  static const std::string many = insert_sql(rows_at_once);
  static const std::string one = insert_sql(1);
  while (!points.empty()) {
    const std::size_t count = points.size() >= rows_at_once ? rows_at_once : 1;
    auto insert = on.prepare(count == 1 ? one.c_str() : many.c_str());
    insert.bind(points[0]->key, points[0]->run_id);
    int parameter = 3;
    for (const logged_point* point : points.first(count)) {
      const stored_value stored = to_stored(point->value);
      insert.bind_one(parameter++, stored.value);
      insert.bind_one(parameter++, point->timestamp);
      insert.bind_one(parameter++, point->step);
      insert.bind_one(parameter++, stored.is_nan);
    }
    insert.run();
    points = points.subspan(count);
  }
}

// Moves the latest point on to the last of these, by step, then timestamp, then value
// (SqlAlchemyStore._update_latest_metrics_if_necessary).
void update_latest(connection& on, std::span<const logged_point* const> points) {
  const auto rank = [](const logged_point* point) {
    return std::tuple(point->step, point->timestamp, to_stored(point->value).value);
  };
  const logged_point& latest =
      **std::max_element(points.begin(), points.end(),
                         [&](const auto* a, const auto* b) { return rank(a) < rank(b); });
  const stored_value stored = to_stored(latest.value);
  on.prepare(
        "INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid) "
        "VALUES (?1, ?2, ?3, ?4, ?5, ?6) "
        "ON CONFLICT (key, run_uuid) DO UPDATE SET value = excluded.value, "
        "timestamp = excluded.timestamp, step = excluded.step, is_nan = excluded.is_nan "
        "WHERE (excluded.step, excluded.timestamp, excluded.value) > "
        "(latest_metrics.step, ifnull(latest_metrics.timestamp, 0), latest_metrics.value)")
      .bind(latest.key, stored.value, latest.timestamp, latest.step, stored.is_nan, latest.run_id)
      .run();
}

}  // namespace

void store::log_points(std::span<const logged_point> points) {
  check_process();
  // By run and key, so that few pages of the indexes are touched at a time; within, as logged.
  std::vector<const logged_point*> sorted(points.size());
  std::transform(points.begin(), points.end(), sorted.begin(),
                 [](const logged_point& point) { return &point; });
  const auto of = [](const logged_point* point) { return std::tie(point->run_id, point->key); };
  std::stable_sort(sorted.begin(), sorted.end(),
                   [&](const auto* a, const auto* b) { return of(a) < of(b); });

  const std::scoped_lock lock(writer_mutex_);
  if (!drainer_) {
    drainer_ = std::make_unique<connection>(writer_->path(), connection::access::write, false,
                                            busy_timeout_);
    // That the run is there is looked up once for all its points, not for each of them.
    drainer_->execute("PRAGMA foreign_keys = OFF; PRAGMA wal_autocheckpoint = 4000; " +
                      std::string(synchronous_));
  }
  connection& on = *drainer_;
  transaction scope(on, transaction::kind::write);
  for (std::size_t at = 0; at < sorted.size();) {
    std::size_t end = at + 1;
    while (end < sorted.size() && of(sorted[end]) == of(sorted[at])) ++end;
    if (at == 0 || sorted[at]->run_id != sorted[at - 1]->run_id) {
      require_active_run(on, sorted[at]->run_id);
    }
    const auto series = std::span(sorted).subspan(at, end - at);
    insert_rows(on, series);
    update_latest(on, series);
    at = end;
  }
  scope.commit();
}

}  // namespace mizzen::tracking::detail
