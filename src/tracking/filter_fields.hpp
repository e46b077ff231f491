// What may stand in a filter or an order: the attributes of each entity, the words before the dot,
// and the keys that MLflow takes for others.
#pragma once

#include "tracking/filter.hpp"

#include <optional>
#include <string>
#include <string_view>

namespace mizzen::tracking::detail {

struct attribute {
  std::string_view name;
  std::string_view column;
  bool numeric = false;
  bool lists = false;    // takes IN and NOT IN
  bool ordered = true;   // may be in order_by
  bool searched = true;  // may be in a filter
};

// The attribute of this name that may be in an order, or in a filter; null if there is none.
const attribute* find_attribute(entity of, std::string_view name, bool to_order);
// Their names, for messages.
std::string attribute_names(entity of, bool to_order);

// What stands before the dot, without backticks; nothing for words that mean nothing there.
std::optional<field_kind> run_prefix(std::string_view prefix);
std::optional<field_kind> trace_prefix(std::string_view prefix);

// MLflow takes some keys of traces for others, whatever stands before them.
field_kind trace_kind(field_kind kind, std::string& key);
// The keys of runs that MLflow takes for others, also those of metrics, parameters and tags.
std::string_view without_alias(std::string_view key);

bool is_quoted(std::string_view text, char quote);
std::string_view without_backticks(std::string_view text);
std::string_view bare_key(std::string_view text);  // without quotes of any kind

}  // namespace mizzen::tracking::detail
