// Traces of a tracking server: what is known of them by MLflow's API (version 3), their spans by
// OTLP over HTTP.
#include "tracking/rest_backend.hpp"
#include "tracking/rest_messages.hpp"
#include "tracking/trace_check.hpp"
#include "tracking/trace_content.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/core/json.hpp>
#include <mizzen/http/message.hpp>

#include <algorithm>
#include <iterator>

namespace mizzen::tracking::detail {
namespace {

constexpr std::string_view api = "/api/3.0/mlflow/traces";
constexpr std::size_t ids_per_call = 100;
// Spans of one request, so that its body stays small.
constexpr std::size_t spans_per_call = 500;
constexpr std::size_t bytes_per_call = std::size_t{8} << 20;

std::string path_of(std::string_view id) {
  check_trace_id(id);
  return std::string(api) + "/" + http::percent_encode(id);
}

trace_info read_info(const json& answer) {
  return read_trace_info(required_field(required_field(answer, "trace"), "trace_info"));
}

}  // namespace

void rest_backend::log_trace(const trace& given) {
  check_trace(given);
  const trace whole = completed(given, false);
  // The spans first: a trace that is known has them all. Both calls replace what is there by its
  // id, so that an answer that was lost is asked for again.
  std::vector<std::string> spans;
  std::size_t size = 0;
  const auto send = [&] {
    if (spans.empty()) return;
    http::request what;
    what.method = "POST";
    what.url = uri() + "/v1/traces";
    what.headers.set("Content-Type", "application/x-protobuf");
    what.headers.set("X-MLflow-Experiment-Id", whole.info.experiment_id);
    what.body = otlp_request(spans);
    server().exchange(std::move(what), {});
    spans.clear();
    size = 0;
  };
  for (const span_record& span : whole.spans) {
    std::string message = otlp_span(span, whole.info.id);
    if (spans.size() == spans_per_call || size + message.size() > bytes_per_call) send();
    size += message.size();
    spans.push_back(std::move(message));
  }
  send();
  server().send("POST", api, {{"trace", {{"trace_info", to_json(whole.info)}}}}, repeatable::yes);
}

trace rest_backend::get_trace(std::string_view id) {
  check_trace_id(id);
  const json answer = server().get(std::string(api) + "/get",
                                   {{"trace_id", std::string(id)}, {"allow_partial", "true"}});
  const json& message = required_field(answer, "trace");
  trace whole{.info = read_trace_info(required_field(message, "trace_info"))};
  for (const json& one : list_field(message, "spans")) whole.spans.push_back(read_otlp_span(one));
  std::stable_sort(whole.spans.begin(), whole.spans.end(),
                   [](const auto& a, const auto& b) { return a.start_time < b.start_time; });
  return whole;
}

trace_info rest_backend::get_trace_info(std::string_view id) {
  return read_info(server().get(path_of(id)));
}

page<trace_info> rest_backend::search_traces(const trace_query& query) {
  json locations = json::array();
  for (const json& id : experiments_of(query.experiment_ids)) {
    locations.push_back(
        {{"type", "MLFLOW_EXPERIMENT"}, {"mlflow_experiment", {{"experiment_id", id}}}});
  }
  if (locations.empty()) return {};
  json body = {{"locations", std::move(locations)},
               {"max_results", query.max_results},
               {"order_by", query.order_by}};
  if (!query.filter.empty()) body["filter"] = query.filter;
  if (!query.page_token.empty()) body["page_token"] = query.page_token;
  const json answer = server().send("POST", std::string(api) + "/search", body, repeatable::yes);
  page<trace_info> found{.next_page_token = text_field(answer, "next_page_token")};
  for (const json& one : list_field(answer, "traces")) found.items.push_back(read_trace_info(one));
  return found;
}

void rest_backend::set_trace_tag(std::string_view id, std::string_view key,
                                 std::string_view value) {
  check_trace_tag(key, value);
  server().send("PATCH", path_of(id) + "/tags", {{"key", key}, {"value", value}}, repeatable::yes);
}

void rest_backend::delete_trace_tag(std::string_view id, std::string_view key) {
  check_trace_tag(key, "");
  server().send("DELETE", path_of(id) + "/tags", {{"key", key}}, repeatable::no);
}

std::size_t rest_backend::delete_traces(std::string_view experiment_id,
                                        std::span<const std::string> ids) {
  for (const std::string& id : ids) check_trace_id(id);
  std::size_t deleted = 0;
  for (std::size_t first = 0; first < ids.size(); first += ids_per_call) {
    const auto part = ids.subspan(first, std::min(ids_per_call, ids.size() - first));
    const json body = {{"experiment_id", experiment_id},
                       {"request_ids", std::vector<std::string>(part.begin(), part.end())}};
    const json answer = post("traces/delete-traces", body, repeatable::yes);
    deleted += static_cast<std::size_t>(integer_field(answer, "traces_deleted"));
  }
  return deleted;
}

std::size_t rest_backend::delete_traces_until(std::string_view experiment_id, std::int64_t time,
                                              std::optional<std::size_t> most) {
  json body = {{"experiment_id", experiment_id}, {"max_timestamp_millis", time}};
  if (most) body["max_traces"] = *most;
  const json answer = post("traces/delete-traces", body, most ? repeatable::no : repeatable::yes);
  return static_cast<std::size_t>(integer_field(answer, "traces_deleted"));
}

}  // namespace mizzen::tracking::detail
