#include <mizzen/core/error.hpp>
#include <mizzen/kubernetes/serialization.hpp>
#include <mizzen/kubernetes/table.hpp>

#include <algorithm>
#include <utility>

namespace mizzen::kubernetes {
namespace {

[[noreturn]] void damaged(const std::string& field, std::string_view why) {
  throw error(errc::data_loss, field, why);
}

std::string text_in(const json& from, const char* member, const std::string& place) {
  const auto at = from.find(member);
  if (at == from.end() || at->is_null()) return {};
  if (!at->is_string()) damaged(place + "." + member, "is no string");
  return at->get<std::string>();
}

const json* list_in(const json& from, const char* member) {
  const auto at = from.find(member);
  if (at == from.end() || at->is_null()) return nullptr;
  if (!at->is_array()) damaged(member, "is no list");
  return &*at;
}

table_column read_column(const json& from, const std::string& place) {
  if (!from.is_object()) damaged(place, "is no object");
  table_column column;
  column.name = text_in(from, "name", place);
  column.type = text_in(from, "type", place);
  column.format = text_in(from, "format", place);
  column.description = text_in(from, "description", place);
  const auto priority = from.find("priority");
  if (priority != from.end() && priority->is_number_integer()) {
    column.priority = priority->get<std::int32_t>();
  }
  return column;
}

table_row read_row(json& from, std::size_t columns, const std::string& place) {
  if (!from.is_object()) damaged(place, "is no object");
  const auto cells = from.find("cells");
  if (cells == from.end() || !cells->is_array()) damaged(place + ".cells", "is no list");
  if (cells->size() != columns) damaged(place + ".cells", "are not as many as there are columns");
  table_row row;
  for (json& each : *cells) row.cells.push_back(std::move(each));
  const auto object = from.find("object");
  if (object != from.end()) row.object = std::move(*object);
  return row;
}

std::string cell_text(const json& cell) {
  if (cell.is_null()) return "<none>";
  return cell.is_string() ? cell.get<std::string>() : cell.dump();
}

}  // namespace

table parse_table(std::string_view text) {
  json from;
  try {
    from = detail::parse_json(text);
  } catch (const error& e) {
    damaged("table", e.message());
  }
  if (!from.is_object() || from.value("kind", json()) != "Table") {
    damaged("kind", "the answer is no Table: the server does not print this resource");
  }
  table result;
  if (const json* columns = list_in(from, "columnDefinitions")) {
    for (const json& each : *columns) {
      const std::string place = "columnDefinitions[" + std::to_string(result.columns.size()) + "]";
      result.columns.push_back(read_column(each, place));
    }
  }
  if (list_in(from, "rows")) {
    for (json& each : from["rows"]) {
      const std::string place = "rows[" + std::to_string(result.rows.size()) + "]";
      result.rows.push_back(read_row(each, result.columns.size(), place));
    }
  }
  const auto metadata = from.find("metadata");
  if (metadata != from.end() && metadata->is_object()) {
    result.resource_version = text_in(*metadata, "resourceVersion", "metadata");
    result.continue_token = text_in(*metadata, "continue", "metadata");
  }
  return result;
}

std::string table::text(bool wide) const {
  std::vector<std::size_t> shown;
  for (std::size_t i = 0; i < columns.size(); ++i) {
    if (wide || columns[i].priority == 0) shown.push_back(i);
  }
  std::vector<std::vector<std::string>> lines(1);
  for (const std::size_t i : shown) {
    std::string& title = lines.front().emplace_back(columns[i].name);
    std::ranges::transform(title, title.begin(), [](char c) {
      return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    });
  }
  for (const table_row& row : rows) {
    auto& line = lines.emplace_back();
    for (const std::size_t i : shown) {
      line.push_back(i < row.cells.size() ? cell_text(row.cells[i]) : "");
    }
  }
  std::string result;
  for (const auto& line : lines) {
    for (std::size_t i = 0; i < line.size(); ++i) {
      result += line[i];
      if (i + 1 == line.size()) break;
      std::size_t width = 0;
      for (const auto& other : lines) width = std::max(width, other[i].size());
      result.append(width - line[i].size() + 3, ' ');
    }
    result += '\n';
  }
  return result;
}

}  // namespace mizzen::kubernetes
