// MLflow's language of filters and orders, read into clauses. No I/O: the clauses are compiled to
// SQL by store_search.cpp. Public: its rules are told in <mizzen/tracking/search.hpp>.
//
// MLflow reads it with a general SQL tokenizer (sqlparse 0.6), whose rules shine through: a key may
// be written with any chain of names and dots, `from` is a key only in quotes, 12a is a key but
// 1.2a is not, AND may be left out. What is read here is read as there; what that tokenizer lets
// through only by accident (comments, arithmetic, calls, subscripts inside a key) is refused.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace mizzen::tracking::detail {

// What is searched. Each has its own attributes and operators.
enum class entity { run, experiment, registered_model, model_version, logged_model, trace };

// metadata and span are of traces.
enum class field_kind { metric, param, tag, attribute, dataset, metadata, span };

enum class comparator {
  equal,
  not_equal,
  greater,
  greater_equal,
  less,
  less_equal,
  like,
  ilike,
  in,
  not_in,
  is_null,
  is_not_null,
};

struct clause {
  field_kind kind = field_kind::attribute;
  std::string key = {};  // of an attribute: the column's name, or run_name (the tag mlflow.runName)
  comparator op = comparator::equal;
  // Nothing for IS [NOT] NULL, texts for IN and NOT IN.
  std::variant<std::monostate, std::string, std::int64_t, double, std::vector<std::string>> value =
      {};
};

struct order_term {
  field_kind kind = field_kind::attribute;
  std::string key = {};  // of an attribute: the column's name
  bool ascending = true;
};

// Bounds of untrusted text: bytes, clauses of a filter, texts of a list.
inline constexpr std::size_t filter_length = 1'000'000;
inline constexpr std::size_t filter_clauses = 500;
inline constexpr std::size_t filter_list = 10'000;

// The clauses of a filter, all of which must hold. Throws error(invalid_argument) with the subject
// "filter".
std::vector<clause> parse_filter(entity of, std::string_view text);

// One element of order_by, which errors name by its index. Not for logged models, whose orders are
// structured.
order_term parse_order(entity of, std::string_view text, std::size_t index);

// The column of a logged model by the name that an order gives it; empty if there is none.
std::string_view logged_model_column(std::string_view name);

}  // namespace mizzen::tracking::detail
