// SQL in the making: the clauses of a filter and the terms of an order on MLflow's tables, with the
// meaning that MLflow's own SQL gives them (SqlAlchemyStore._search_runs and its like). Values are
// always bound, never written into the text.
#pragma once

#include "tracking/filter.hpp"
#include "tracking/page_token.hpp"
#include "tracking/sqlite.hpp"

#include <mizzen/tracking/search.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace mizzen::tracking::detail {

// A query, with the values that it binds.
class sql_text {
 public:
  sql_text& operator<<(std::string_view part) {
    text_ += part;
    return *this;
  }

  using value = std::variant<std::string, std::int64_t, double>;
  // The name of the parameter that stands for this value.
  std::string bound(value held);

  // Runs it, with `end` behind it, and gives each row to `take`.
  template <typename Take>
  void run(connection& on, Take&& take, std::string_view end = {}) const {
    const connection::once prepared(on, text_ + std::string(end));
    statement row = prepared.use();
    for (std::size_t i = 0; i < values_.size(); ++i) {
      const int index = static_cast<int>(i) + 1;
      if (const auto* text = std::get_if<std::string>(&values_[i])) {
        row.bind_one(index, std::string_view(*text));
      } else if (const auto* integer = std::get_if<std::int64_t>(&values_[i])) {
        row.bind_one(index, *integer);
      } else {
        row.bind_one(index, std::get<double>(values_[i]));
      }
    }
    while (row.step()) take(row);
  }

  friend bool operator==(const sql_text&, const sql_text&) = default;

 private:
  std::string text_;
  std::vector<value> values_;
};

// What a search has found, in its order, kept for its further pages as long as nothing is written:
// they need not search again. Not thread safe.
class found_rows {
 public:
  // The integers that the query gives in its first column, from the offset on. Within a
  // transaction.
  std::vector<std::int64_t> read(connection& on, const sql_text& query, std::int64_t offset,
                                 std::size_t count);

 private:
  sql_text query_;
  std::int64_t version_ = -1;  // SQLite's number of the last change by another connection
  std::vector<std::int64_t> rows_;
};

// `column <op> value`.
std::string comparison(sql_text& sql, const std::string& column, const clause& c);

// Where an entity keeps what hangs on it under keys.
struct side_table {
  std::string_view name;
  std::string_view join;  // with the row that is searched; the table is t
  std::string_view key = "key";
  std::string_view value = "value";
};

// Whether a row of the side table is there (or not), and fits; `extra` is SQL for its end.
void add_side_clause(sql_text& sql, const side_table& table, const clause& c,
                     std::string_view extra = {});

// Throws error(invalid_argument), subject "max_results".
void check_max_results(std::size_t wanted, std::size_t most);
// One row more than wanted says whether there is a next page.
void add_page(sql_text& sql, std::size_t max_results, std::int64_t offset);

template <typename T>
void cut_page(page<T>& found, std::size_t max_results, std::int64_t offset) {
  if (found.items.size() <= max_results) return;
  found.items.resize(max_results);
  found.next_page_token = make_page_token(offset + static_cast<std::int64_t>(max_results));
}

// "experiment_id IN (…)": these, or all active ones.
void add_experiments(sql_text& sql, const std::vector<std::string>& ids);

[[noreturn]] void refuse_twice(std::size_t index);

}  // namespace mizzen::tracking::detail
