// Traces in MLflow's tables trace_info, trace_tags, trace_request_metadata and spans.
#include "tracking/page_token.hpp"
#include "tracking/store.hpp"
#include "tracking/store_rows.hpp"
#include "tracking/trace_check.hpp"
#include "tracking/trace_content.hpp"
#include "tracking/uri.hpp"
#include "tracking/validate.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/core/json.hpp>

#include <array>
#include <cmath>
#include <utility>

namespace mizzen::tracking::detail {
namespace {

constexpr const char* location_tag = "mlflow.trace.spansLocation";
constexpr const char* in_this_store = "TRACKING_STORE";
constexpr const char* session_key = "mlflow.trace.session";
constexpr const char* tokens_key = "mlflow.trace.tokenUsage";
constexpr const char* cost_key = "mlflow.trace.cost";

// MLflow keeps these in columns of trace_info instead, and gives them back as metadata.
constexpr std::array<const char*, 6> token_names = {"input_tokens",
                                                    "output_tokens",
                                                    "total_tokens",
                                                    "cache_read_input_tokens",
                                                    "cache_creation_input_tokens",
                                                    "cache_creation_input_tokens_above_1hr"};
constexpr std::array<const char*, 3> cost_names = {"input_cost", "output_cost", "total_cost"};

error no_such_trace(std::string_view id) {
  return {errc::not_found, "trace '" + std::string(id) + "'",
          "there is no such trace in this store"};
}

json object_of(const string_map& metadata, const char* key) {
  const auto found = metadata.find(key);
  if (found == metadata.end()) return json::object();
  json object = json::parse(found->second, nullptr, false);
  return object.is_object() ? object : json::object();
}

std::optional<double> real_in(const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_number()) return std::nullopt;
  const double value = found->get<double>();
  return std::isfinite(value) ? std::optional(value) : std::nullopt;
}

std::optional<std::int64_t> integer_in(const json& object, const char* key) {
  const auto value = real_in(object, key);
  if (!value || *value != std::floor(*value) || std::abs(*value) >= 0x1p63) return std::nullopt;
  return static_cast<std::int64_t>(*value);
}

void put_tag(connection& on, std::string_view id, std::string_view key, std::string_view value) {
  on.prepare(
        "INSERT INTO trace_tags (key, value, request_id) VALUES (?1, ?2, ?3) "
        "ON CONFLICT (key, request_id) DO UPDATE SET value = excluded.value")
      .bind(key, value, id)
      .run();
}

void put_info(connection& on, const trace_info& info) {
  const json tokens = object_of(info.metadata, tokens_key);
  const json cost = object_of(info.metadata, cost_key);
  const auto session = info.metadata.find(session_key);
  auto row = on.prepare(
      "INSERT INTO trace_info (request_id, experiment_id, timestamp_ms, execution_time_ms, status, "
      "client_request_id, request_preview, response_preview, trace_name, session_id, input_tokens, "
      "output_tokens, total_tokens, cache_read_input_tokens, cache_creation_input_tokens, "
      "cache_creation_input_tokens_above_1hr, input_cost, output_cost, total_cost) VALUES (?1, "
      "CAST(?2 AS INTEGER), ?3, ?4, ?5, nullif(?6, ''), nullif(?7, ''), nullif(?8, ''), "
      "nullif(?9, ''), ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19) "
      "ON CONFLICT (request_id) DO UPDATE SET experiment_id = excluded.experiment_id, "
      "timestamp_ms = excluded.timestamp_ms, execution_time_ms = excluded.execution_time_ms, "
      "status = excluded.status, client_request_id = excluded.client_request_id, "
      "request_preview = ifnull(excluded.request_preview, request_preview), "
      "response_preview = ifnull(excluded.response_preview, response_preview), "
      "trace_name = ifnull(excluded.trace_name, trace_name), "
      "session_id = ifnull(excluded.session_id, session_id), "
      "input_tokens = ifnull(excluded.input_tokens, input_tokens), "
      "output_tokens = ifnull(excluded.output_tokens, output_tokens), "
      "total_tokens = ifnull(excluded.total_tokens, total_tokens), "
      "cache_read_input_tokens = ifnull(excluded.cache_read_input_tokens, "
      "cache_read_input_tokens), "
      "cache_creation_input_tokens = ifnull(excluded.cache_creation_input_tokens, "
      "cache_creation_input_tokens), "
      "cache_creation_input_tokens_above_1hr = "
      "ifnull(excluded.cache_creation_input_tokens_above_1hr, "
      "cache_creation_input_tokens_above_1hr), "
      "input_cost = ifnull(excluded.input_cost, input_cost), "
      "output_cost = ifnull(excluded.output_cost, output_cost), "
      "total_cost = ifnull(excluded.total_cost, total_cost), "
      "db_payload_generation = db_payload_generation + 1");
  row.bind(info.id, info.experiment_id, info.request_time, info.duration, to_string(info.state),
           info.client_request_id, info.request_preview, info.response_preview, info.name);
  int index = 10;
  if (session != info.metadata.end()) {
    row.bind_one(index, std::string_view(session->second));
  } else {
    row.bind_one(index, nullptr);
  }
  for (const char* name : token_names) row.bind_one(++index, integer_in(tokens, name));
  for (const char* name : cost_names) row.bind_one(++index, real_in(cost, name));
  row.run();
}

void put_span(connection& on, const trace_info& info, const span_record& span) {
  const auto attribute = [&](const char* key) {
    const auto found = span.attributes.find(key);
    return found == span.attributes.end() ? json() : json::parse(found->second, nullptr, false);
  };
  const json cost = attribute("mlflow.llm.cost");
  const auto text = [](const json& value) {
    return value.is_string() ? value.get<std::string>() : std::string();
  };
  const std::string model = text(attribute("mlflow.llm.model"));
  const std::string provider = text(attribute("mlflow.llm.provider"));
  const std::string content = stored_span(span, info.id);
  auto row = on.prepare(
      "INSERT INTO spans (trace_id, experiment_id, span_id, parent_span_id, name, type, status, "
      "start_time_unix_nano, end_time_unix_nano, content, input_cost, output_cost, total_cost, "
      "model_name, model_provider) VALUES (?1, CAST(?2 AS INTEGER), ?3, nullif(?4, ''), ?5, ?6, "
      "?7, ?8, ?9, ?10, ?11, ?12, ?13, nullif(substr(?14, 1, 500), ''), "
      "nullif(substr(?15, 1, 500), '')) "
      "ON CONFLICT (trace_id, span_id) DO UPDATE SET experiment_id = excluded.experiment_id, "
      "parent_span_id = excluded.parent_span_id, name = excluded.name, type = excluded.type, "
      "status = excluded.status, start_time_unix_nano = excluded.start_time_unix_nano, "
      "end_time_unix_nano = excluded.end_time_unix_nano, content = excluded.content, "
      "input_cost = excluded.input_cost, output_cost = excluded.output_cost, "
      "total_cost = excluded.total_cost, model_name = excluded.model_name, "
      "model_provider = excluded.model_provider");
  row.bind(info.id, info.experiment_id, span.id, span.parent_id, span.name, span.type,
           to_string(span.status), span.start_time, span.end_time, content,
           real_in(cost, cost_names[0]), real_in(cost, cost_names[1]), real_in(cost, cost_names[2]),
           model, provider);
  row.run();
}

// Where the spans of a trace are; nothing where there is no such trace.
std::optional<std::string> spans_location(connection& on, std::string_view id) {
  auto row = on.prepare(
      "SELECT t.value FROM trace_info i LEFT JOIN trace_tags t ON t.request_id = i.request_id AND "
      "t.key = 'mlflow.trace.spansLocation' WHERE i.request_id = ?1");
  if (!row.bind(id).step()) return std::nullopt;
  return row.text(0);
}

void require_trace(connection& on, std::string_view id) {
  if (!spans_location(on, id)) throw no_such_trace(id);
}

// What MLflow synthesises as metadata of the columns: {"input_tokens": 3}, keys in this order.
template <typename Names, typename Value>
std::string joined(const Names& names, statement& row, int first, Value&& value) {
  std::string text;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const int column = first + static_cast<int>(i);
    if (row.is_null(column)) continue;
    text += (text.empty() ? "{\"" : ", \"") + std::string(names[i]) + "\": " + value(column);
  }
  return text.empty() ? text : text + "}";
}

}  // namespace

trace_info read_trace_row(connection& on, statement& row) {
  trace_info info;
  info.id = row.text(0);
  info.experiment_id = std::to_string(row.integer(1));
  info.request_time = row.integer(2);
  info.duration = row.optional_integer(3);
  info.state = read_trace_state(row.text(4));
  info.client_request_id = row.text(5);
  info.request_preview = row.text(6);
  info.response_preview = row.text(7);
  info.name = row.text(8);
  {
    auto pair = on.prepare("SELECT key, value FROM trace_request_metadata WHERE request_id = ?1");
    pair.bind(info.id);
    while (pair.step()) info.metadata[pair.text(0)] = pair.text(1);
  }
  {
    auto pair = on.prepare("SELECT key, value FROM trace_tags WHERE request_id = ?1");
    pair.bind(info.id);
    while (pair.step()) info.tags[pair.text(0)] = pair.text(1);
  }
  for (const char* key : {session_key, tokens_key, cost_key}) info.metadata.erase(key);
  info.tags.erase("mlflow.traceName");
  if (!row.is_null(9)) info.metadata[session_key] = row.text(9);
  const std::string tokens =
      joined(token_names, row, 10, [&](int column) { return std::to_string(row.integer(column)); });
  const std::string cost = joined(cost_names, row, 10 + static_cast<int>(token_names.size()),
                                  [&](int column) { return json(row.real(column)).dump(); });
  if (!tokens.empty()) info.metadata[tokens_key] = tokens;
  if (!cost.empty()) info.metadata[cost_key] = cost;
  return info;
}

void store::log_trace(const trace& given) {
  check_trace(given);
  const trace whole = completed(given, true);
  const trace_info& info = whole.info;
  const std::int64_t experiment = experiment_number(info.experiment_id);
  writing([&](connection& on) {
    std::string folder;
    {
      auto row = on.prepare(
          "SELECT artifact_location, lifecycle_stage FROM experiments WHERE experiment_id = ?1");
      if (!row.bind(experiment).step()) {
        throw error(errc::not_found, "experiment " + info.experiment_id,
                    "there is no such experiment in this store");
      }
      if (row.text(1) != "active") {
        throw error(errc::failed_precondition, "experiment " + info.experiment_id,
                    "it is deleted; restore it first");
      }
      folder = row.text(0);
    }
    const auto location = spans_location(on, info.id);
    if (location && !location->empty() && *location != in_this_store) {
      throw error(errc::failed_precondition, "trace '" + info.id + "'",
                  "its spans are not in this store any more (" + *location + ")");
    }
    put_info(on, info);
    on.prepare("UPDATE spans SET experiment_id = ?1 WHERE trace_id = ?2")
        .bind(experiment, info.id)
        .run();
    on.prepare(
          "UPDATE assessments SET experiment_id = ?1, trace_timestamp_ms = ?2 WHERE trace_id = ?3")
        .bind(experiment, info.request_time, info.id)
        .run();
    for (const span_record& span : whole.spans) put_span(on, info, span);
    for (const auto& [key, value] : info.tags) put_tag(on, info.id, key, value);
    put_tag(on, info.id, "mlflow.artifactLocation",
            append_location(folder, "traces/" + info.id + "/artifacts"));
    put_tag(on, info.id, location_tag, in_this_store);
    string_map metadata = info.metadata;
    for (const char* key : {session_key, tokens_key, cost_key}) metadata.erase(key);
    // Tells MLflow that times and totals are settled, and not to be made of the spans.
    metadata["mlflow.trace.infoFinalized"] = "true";
    for (const auto& [key, value] : metadata) {
      on.prepare(
            "INSERT INTO trace_request_metadata (key, value, request_id) VALUES (?1, ?2, ?3) "
            "ON CONFLICT (key, request_id) DO UPDATE SET value = excluded.value")
          .bind(key, value, info.id)
          .run();
    }
  });
}

trace_info store::get_trace_info(std::string_view id) {
  check_trace_id(id);
  return reading([&](connection& on) {
    const connection::once select(
        on, "SELECT " + std::string(trace_columns) + " FROM trace_info WHERE request_id = ?1");
    statement row = select.use();
    if (!row.bind(id).step()) throw no_such_trace(id);
    return read_trace_row(on, row);
  });
}

trace store::get_trace(std::string_view id) {
  trace whole{.info = get_trace_info(id)};
  const auto location = whole.info.tags.find(location_tag);
  if (location == whole.info.tags.end() || location->second != in_this_store) {
    throw error(errc::unimplemented, "trace '" + std::string(id) + "'",
                "its spans are not in this store but in files (" +
                    (location == whole.info.tags.end() ? "artifacts" : location->second) +
                    "), which MLflow reads");
  }
  whole.spans = reading([&](connection& on) {
    std::vector<span_record> spans;
    auto row = on.prepare(
        "SELECT content FROM spans WHERE trace_id = ?1 ORDER BY start_time_unix_nano, rowid");
    row.bind(id);
    while (row.step()) spans.push_back(read_stored_span(row.text(0)));
    return spans;
  });
  return whole;
}

void store::set_trace_tag(std::string_view id, std::string_view key, std::string_view value) {
  check_trace_id(id);
  check_trace_tag(key, value);
  writing([&](connection& on) {
    require_trace(on, id);
    if (key != "mlflow.traceName") return put_tag(on, id, key, value);
    on.prepare("UPDATE trace_info SET trace_name = ?1 WHERE request_id = ?2").bind(value, id).run();
  });
}

void store::delete_trace_tag(std::string_view id, std::string_view key) {
  check_trace_id(id);
  check_key("trace.tag.key", key);
  writing([&](connection& on) {
    require_trace(on, id);
    if (key == "mlflow.traceName") {
      on.prepare(
            "UPDATE trace_info SET trace_name = NULL WHERE request_id = ?1 AND trace_name IS NOT "
            "NULL")
          .bind(id)
          .run();
    } else {
      on.prepare("DELETE FROM trace_tags WHERE request_id = ?1 AND key = ?2").bind(id, key).run();
    }
    if (on.changes() == 0) {
      throw error(errc::not_found, "tag '" + std::string(key) + "'", "the trace has no such tag");
    }
  });
}

namespace {

// Spans, tags and the rest go along (ON DELETE CASCADE), but for what refers without a key.
void remove_trace(connection& on, std::string_view id) {
  on.prepare("DELETE FROM review_queue_items WHERE item_type = 'trace' AND item_id = ?1")
      .bind(id)
      .run();
  on.prepare("DELETE FROM trace_info WHERE request_id = ?1").bind(id).run();
}

}  // namespace

std::size_t store::delete_traces(std::string_view experiment_id, std::span<const std::string> ids) {
  const std::int64_t experiment = experiment_number(experiment_id);
  for (const std::string& id : ids) check_trace_id(id);
  return writing([&](connection& on) {
    std::size_t deleted = 0;
    for (const std::string& id : ids) {
      {
        auto row =
            on.prepare("SELECT 1 FROM trace_info WHERE request_id = ?1 AND experiment_id = ?2");
        if (!row.bind(id, experiment).step()) continue;
      }
      remove_trace(on, id);
      ++deleted;
    }
    return deleted;
  });
}

std::size_t store::delete_traces_until(std::string_view experiment_id, std::int64_t time,
                                       std::optional<std::size_t> most) {
  const std::int64_t experiment = experiment_number(experiment_id);
  return writing([&](connection& on) {
    std::vector<std::string> ids;
    {
      auto row = on.prepare(
          "SELECT request_id FROM trace_info WHERE experiment_id = ?1 AND timestamp_ms <= ?2 "
          "ORDER BY timestamp_ms, request_id LIMIT ?3");
      row.bind(experiment, time, most ? static_cast<std::int64_t>(*most) : std::int64_t{-1});
      while (row.step()) ids.push_back(row.text(0));
    }
    for (const std::string& id : ids) remove_trace(on, id);
    return ids.size();
  });
}

}  // namespace mizzen::tracking::detail
