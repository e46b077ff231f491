#include "tracking/table_json.hpp"

#include <mizzen/core/error.hpp>

#include <cmath>
#include <map>
#include <set>
#include <vector>

namespace mizzen::tracking::detail {
namespace {

json cell_to_json(const table_cell& cell) {
  return std::visit(
      [](const auto& value) -> json {
        if constexpr (std::is_same_v<std::decay_t<decltype(value)>, std::monostate>) {
          return nullptr;
        } else if constexpr (std::is_same_v<std::decay_t<decltype(value)>, double>) {
          return std::isfinite(value) ? json(value) : json(nullptr);
        } else {
          return value;
        }
      },
      cell.value());
}

[[noreturn]] void damaged(std::string_view subject, std::string_view what) {
  throw error(errc::data_loss, subject,
              "it is not a table that can be added to: " + std::string(what) +
                  "; give another name, or remove it");
}

}  // namespace

json table_to_json(const table& columns) {
  if (columns.empty()) throw error(errc::invalid_argument, "table", "it has no column");
  const std::size_t rows = columns.front().values.size();
  std::set<std::string_view> names;
  json out = {{"columns", json::array()}, {"data", json::array()}};
  for (const table_column& column : columns) {
    if (!names.insert(column.name).second) {
      throw error(errc::invalid_argument, "table column '" + column.name + "'",
                  "there are two of that name");
    }
    if (column.values.size() != rows) {
      throw error(errc::invalid_argument, "table column '" + column.name + "'",
                  std::to_string(column.values.size()) + " values, the first column has " +
                      std::to_string(rows));
    }
    out["columns"].push_back(column.name);
  }
  for (std::size_t row = 0; row < rows; ++row) {
    json cells = json::array();
    for (const table_column& column : columns) cells.push_back(cell_to_json(column.values[row]));
    out["data"].push_back(std::move(cells));
  }
  return out;
}

json concatenated(const json& first, const json& more) {
  json out = first;
  json& columns = out["columns"];
  std::map<json, std::size_t> place;
  for (std::size_t i = 0; i < columns.size(); ++i) place.emplace(columns[i], i);
  std::vector<std::size_t> to;
  for (const json& name : more["columns"]) {
    const auto [at, added] = place.emplace(name, columns.size());
    if (added) columns.push_back(name);
    to.push_back(at->second);
  }
  for (json& row : out["data"]) {
    while (row.size() < columns.size()) row.push_back(nullptr);
  }
  for (const json& row : more["data"]) {
    json cells(columns.size(), nullptr);
    for (std::size_t i = 0; i < row.size(); ++i) cells[to[i]] = row[i];
    out["data"].push_back(std::move(cells));
  }
  return out;
}

json parse_table(std::string_view text, std::string_view subject) {
  json out = json::parse(text, nullptr, false);
  if (out.is_discarded()) damaged(subject, "it is not JSON");
  if (!out.is_object() || !out.contains("columns") || !out["columns"].is_array() ||
      !out.contains("data") || !out["data"].is_array()) {
    damaged(subject, "there are no lists \"columns\" and \"data\"");
  }
  std::set<json> names;
  for (const json& name : out["columns"]) {
    if (!names.insert(name).second) damaged(subject, "two columns have one name");
  }
  for (const json& row : out["data"]) {
    if (!row.is_array() || row.size() != out["columns"].size()) {
      damaged(subject, "a row has not one cell for each column");
    }
  }
  out.erase("index");
  return out;
}

}  // namespace mizzen::tracking::detail
