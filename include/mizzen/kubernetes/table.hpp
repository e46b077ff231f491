// Objects as the server would print them: what `kubectl get` shows.
#pragma once

#include <mizzen/core/json.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mizzen::kubernetes {

// metav1.TableColumnDefinition.
struct table_column {
  std::string name = {};
  std::string type = {};    // "string", "integer", "date" …
  std::string format = {};  // "name" for the primary column
  std::string description = {};
  std::int32_t priority = 0;  // 0: shown always; above: in wide tables only
};

// metav1.TableRow.
struct table_row {
  std::vector<json> cells = {};  // as many as there are columns
  json object = {};              // its PartialObjectMetadata
};

// metav1.Table.
struct table {
  std::vector<table_column> columns = {};
  std::vector<table_row> rows = {};
  std::string resource_version = {};
  std::string continue_token = {};

  // Columns of priority 0 (or all) in aligned text, a line per row.
  std::string text(bool wide = false) const;
};

// Throws error(data_loss) that names the field for what is no Table.
table parse_table(std::string_view text);

}  // namespace mizzen::kubernetes
