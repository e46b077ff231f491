#include "tracking/search_sql.hpp"

#include "tracking/store_rows.hpp"
#include "tracking/validate.hpp"

#include <mizzen/core/error.hpp>

#include <algorithm>

namespace mizzen::tracking::detail {
namespace {

constexpr std::size_t most_values = 30'000;     // SQLite binds 32,766
constexpr std::size_t most_kept = 4'000'000;    // rows of a search, 32 MB
constexpr std::size_t pattern_length = 50'000;  // bytes, SQLite's bound for LIKE

}  // namespace

std::string sql_text::bound(value held) {
  if (values_.size() == most_values) {
    throw error(errc::invalid_argument, "filter",
                "it holds more than 30,000 values; ask for less at once");
  }
  values_.push_back(std::move(held));
  return "?" + std::to_string(values_.size());
}

std::vector<std::int64_t> found_rows::read(connection& on, const sql_text& query,
                                           std::int64_t offset, std::size_t count) {
  auto row = on.prepare("PRAGMA data_version");
  const std::int64_t version = row.step() ? row.integer(0) : -1;
  if (rows_.empty() || version != version_ || !(query == query_)) {
    rows_.clear();
    // A first page is mostly the only one: SQLite then sorts no more than is asked for.
    const bool whole = offset > 0;
    query.run(
        on, [&](statement& found) { rows_.push_back(found.integer(0)); },
        whole ? "" : " LIMIT " + std::to_string(count));
    if (!whole) return std::exchange(rows_, {});
    query_ = query;
    version_ = version;
  }
  const std::size_t from = std::min(static_cast<std::size_t>(offset), rows_.size());
  const std::size_t to = std::min(from + count, rows_.size());
  std::vector<std::int64_t> part(rows_.begin() + static_cast<std::ptrdiff_t>(from),
                                 rows_.begin() + static_cast<std::ptrdiff_t>(to));
  if (rows_.size() > most_kept) rows_ = {};
  return part;
}

std::string comparison(sql_text& sql, const std::string& column, const clause& c) {
  const auto value = [&]() -> sql_text::value {
    if (const auto* text = std::get_if<std::string>(&c.value)) return *text;
    if (const auto* integer = std::get_if<std::int64_t>(&c.value)) return *integer;
    return std::get<double>(c.value);
  };
  const auto binary = [&](std::string_view op) {
    return column + std::string(op) + sql.bound(value());
  };
  switch (c.op) {
    case comparator::equal:
      return binary(" = ");
    case comparator::not_equal:
      return binary(" != ");
    case comparator::greater:
      return binary(" > ");
    case comparator::greater_equal:
      return binary(" >= ");
    case comparator::less:
      return binary(" < ");
    case comparator::less_equal:
      return binary(" <= ");
    case comparator::like:
    case comparator::ilike:
      if (std::get<std::string>(c.value).size() > pattern_length) {
        throw error(errc::invalid_argument, "filter", "a pattern of LIKE has at most 50,000 bytes");
      }
      return c.op == comparator::like
                 ? binary(" LIKE ")
                 : "lower(" + column + ") LIKE lower(" + sql.bound(value()) + ")";
    case comparator::in:
    case comparator::not_in: {
      std::string list;
      for (const std::string& text : std::get<std::vector<std::string>>(c.value)) {
        list += (list.empty() ? "" : ", ") + sql.bound(text);
      }
      return column + (c.op == comparator::in ? " IN (" : " NOT IN (") + list + ")";
    }
    case comparator::is_null:
    case comparator::is_not_null:
      break;
  }
  throw error(errc::internal, "filter", "NULL is no value of a column");
}

void add_side_clause(sql_text& sql, const side_table& table, const clause& c,
                     std::string_view extra) {
  const auto part = [](std::string_view text) { return std::string(text); };
  sql << (c.op == comparator::is_null ? " AND NOT EXISTS" : " AND EXISTS") << " (SELECT 1 FROM "
      << table.name << " t WHERE " << table.join << " AND t." << table.key << " = "
      << sql.bound(c.key);
  if (c.op != comparator::is_null && c.op != comparator::is_not_null) {
    const std::string fits = comparison(sql, "t." + part(table.value), c);
    sql << " AND " << fits;
  }
  sql << extra << ")";
}

void check_max_results(std::size_t wanted, std::size_t most) {
  if (wanted >= 1 && wanted <= most) return;
  throw error(
      errc::invalid_argument, "max_results",
      "it is " + std::to_string(wanted) + "; a page has 1 to " + std::to_string(most) + " results");
}

void add_page(sql_text& sql, std::size_t max_results, std::int64_t offset) {
  sql << " LIMIT " << std::to_string(max_results + 1) << " OFFSET " << std::to_string(offset);
}

void add_experiments(sql_text& sql, const std::vector<std::string>& ids) {
  if (ids.empty()) {
    sql << "experiment_id IN (SELECT experiment_id FROM experiments WHERE workspace = 'default' "
           "AND lifecycle_stage = 'active')";
    return;
  }
  sql << "experiment_id IN (";
  for (std::size_t i = 0; i < ids.size(); ++i) {
    std::int64_t number = 0;
    try {
      number = experiment_number(ids[i]);
    } catch (const error& e) {
      throw error(e.code(), "experiment_ids[" + std::to_string(i) + "]", e.message());
    }
    sql << (i == 0 ? "" : ", ") << sql.bound(number);
  }
  sql << ")";
}

[[noreturn]] void refuse_twice(std::size_t index) {
  throw error(errc::invalid_argument, "order_by[" + std::to_string(index) + "]",
              "an element before it orders by the same; leave one of them out");
}

}  // namespace mizzen::tracking::detail
