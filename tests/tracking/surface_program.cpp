// The C++ side of the tests of traces, webhooks, histories and logged models, on a tracking server
// or a store file:
//   surface_program trace URI PREFIX       writes traces; prints their ids, as JSON
//   surface_program read URI TRACE         prints a trace, as JSON
//   surface_program search URI EXPERIMENT QUERIES   prints the names found, a list for each of
//                                          QUERIES ([[filter, [order_by …]] …], JSON)
//   surface_program tag URI TRACE          sets and deletes tags; prints the tags
//   surface_program delete URI EXPERIMENT TRACE…    prints how many there were
//   surface_program webhooks URI HOOK      makes, changes, tries and lists webhooks; prints them
//   surface_program histories URI KEY RUN… prints pages, histories and samples
//   surface_program models URI EXPERIMENT RUN       makes logged models; prints them
#include <mizzen/core.hpp>
#include <mizzen/tracking.hpp>

#include <cmath>
#include <iostream>
#include <span>
#include <string>
#include <vector>

namespace mz = mizzen;
using namespace mz::tracking;

namespace {

using arguments = std::vector<std::string>;

mz::json parsed(const json_texts& texts) {
  mz::json values = mz::json::object();
  for (const auto& [key, text] : texts) values[key] = mz::json::parse(text);
  return values;
}

mz::json to_json(const trace_info& info) {
  mz::json out = {{"id", info.id},
                  {"experiment_id", info.experiment_id},
                  {"name", info.name},
                  {"state", to_string(info.state)},
                  {"request_time", info.request_time},
                  {"client_request_id", info.client_request_id},
                  {"request_preview", info.request_preview},
                  {"response_preview", info.response_preview},
                  {"metadata", info.metadata},
                  {"tags", info.tags}};
  if (info.duration) out["duration"] = *info.duration;
  return out;
}

mz::json to_json(const span_record& span) {
  mz::json out = {{"id", span.id},
                  {"parent_id", span.parent_id},
                  {"name", span.name},
                  {"type", span.type},
                  {"status", to_string(span.status)},
                  {"status_message", span.status_message},
                  {"start_time", span.start_time},
                  {"attributes", parsed(span.attributes)}};
  if (span.end_time) out["end_time"] = *span.end_time;
  if (!span.inputs.empty()) out["inputs"] = mz::json::parse(span.inputs);
  if (!span.outputs.empty()) out["outputs"] = mz::json::parse(span.outputs);
  for (const span_event& event : span.events) {
    out["events"].push_back({event.name, event.time, parsed(event.attributes)});
  }
  for (const span_link& link : span.links) {
    out["links"].push_back({link.trace_id, link.span_id, parsed(link.attributes)});
  }
  return out;
}

mz::json to_json(const webhook& hook) {
  return {{"id", hook.id},
          {"name", hook.name},
          {"url", hook.url},
          {"events", hook.events},
          {"status", to_string(hook.status)},
          {"description", hook.description}};
}

mz::json to_json(const metric& point) {
  return {std::isnan(point.value) ? mz::json("NaN") : mz::json(point.value), point.step,
          point.timestamp.value()};
}

mz::json to_json(const std::map<std::string, std::vector<metric>>& histories) {
  mz::json out = mz::json::object();
  for (const auto& [id, points] : histories) {
    for (const metric& point : points) out[id].push_back(to_json(point));
  }
  return out;
}

mz::json to_json(const logged_model& model) {
  mz::json out = {{"id", model.id},           {"name", model.name},
                  {"type", model.model_type}, {"status", to_string(model.status)},
                  {"run_id", model.run_id},   {"params", model.params},
                  {"tags", model.tags},       {"metrics", mz::json::array()}};
  for (const model_metric& point : model.metrics) {
    out["metrics"].push_back({point.key, point.value, point.step, point.timestamp, point.run_id,
                              point.dataset_name, point.dataset_digest});
  }
  return out;
}

mz::json write_traces(client& c, const std::string& prefix) {
  mz::json out;
  auto run = c.start_run(prefix + "assistant");
  run.finish();
  auto root = c.start_trace("answer", {.experiment = prefix + "assistant",
                                       .type = "CHAIN",
                                       .run_id = run.id(),
                                       .session = prefix + "session",
                                       .user = "ann",
                                       .client_request_id = prefix + "r7",
                                       .metadata = {{"quoted", "it's a \"value\""}},
                                       .tags = {{"team", "mizzen — ünï"}}});
  root.set_inputs({{"question", "wie spät?"}, {"n", 3}});
  {
    auto child = root.start_span("search", "RETRIEVER");
    child.set_attribute("all", {{"a", {1, -2, 0.5, "x", nullptr, true}}, {"o", {{"k", "v"}}}});
    child.set_attribute("large", 9'007'199'254'740'993);
    child.add_event("hit", {{"score", 0.5}, {"name", "x"}});
    child.add_link("tr-0123456789abcdef0123456789abcdef", "0123456789abcdef");
    child.set_inputs("wie spät?");
    child.set_outputs({"a", "b"});
    auto model = child.start_span("model", "LLM");
    model.set_attribute("mlflow.chat.tokenUsage",
                        {{"input_tokens", 3}, {"output_tokens", 4}, {"total_tokens", 7}});
    model.set_status(span_status::error, "too long");
  }
  root.set_outputs({{"answer", "late"}});
  root.end();
  out["answer"] = root.trace_id();
  out["run"] = run.id();
  out["experiment"] = run.experiment_id();

  // Written a second time, nothing is there twice.
  trace whole;
  whole.info = {.id = "tr-" + mz::random_hex_id(),
                .experiment_id = run.experiment_id(),
                .name = "given",
                .state = trace_state::error,
                .request_time = 1'700'000'000'000,
                .duration = 1'500};
  whole.spans.push_back({.id = "00000000000000ff",
                         .name = "given",
                         .status = span_status::error,
                         .start_time = 1'700'000'000'000'000'000,
                         .end_time = 1'700'000'001'500'000'000});
  c.log_trace(whole);
  c.log_trace(whole);
  out["given"] = whole.info.id;
  return out;
}

mz::json search(const client& c, const std::string& experiment, const std::string& queries) {
  mz::json out = mz::json::array();
  for (const mz::json& query : mz::json::parse(queries)) {
    mz::json names = mz::json::array();
    trace_query asked{.experiment_ids = {experiment},
                      .filter = query.at(0).get<std::string>(),
                      .order_by = query.at(1).get<std::vector<std::string>>(),
                      .max_results = 2};
    do {
      const auto found = c.search_traces(asked);
      for (const trace_info& info : found) names.push_back(info.id);
      asked.page_token = found.next_page_token;
    } while (!asked.page_token.empty());
    out.push_back(std::move(names));
  }
  return out;
}

mz::json webhooks(client& c, const std::string& url) {
  mz::json out;
  const webhook made = c.create_webhook(
      {.name = "ci", .url = url, .events = {"model_version.created"}, .description = "builds"});
  const webhook other = c.create_webhook({.name = "other",
                                          .url = url,
                                          .events = {"registered_model.created"},
                                          .status = webhook_status::disabled});
  out["changed"] = to_json(c.update_webhook(
      made.id,
      {.name = "ci2", .events = {{"model_version_tag.set", "model_version_alias.created"}}}));
  out["got"] = to_json(c.get_webhook(made.id));
  c.delete_webhook(other.id);
  out["list"] = mz::json::array();
  for (const webhook& one : c.list_webhooks()) out["list"].push_back(to_json(one));
  try {
    c.get_webhook(other.id);
  } catch (const mz::error& e) {
    out["deleted"] = to_string(e.code());
  }
  try {
    const webhook_test_result result = c.test_webhook(made.id, "model_version_tag.set");
    out["tested"] = {result.success, result.response_status, result.response_body,
                     result.error_message};
  } catch (const mz::error& e) {
    out["tested"] = to_string(e.code());
  }
  return out;
}

mz::json histories(const client& c, const std::string& key, const arguments& runs) {
  mz::json out;
  std::string token;
  do {
    const auto found = c.metric_history_page(runs[0], key, 4, token);
    mz::json one = mz::json::array();
    for (const metric& point : found) one.push_back(to_json(point));
    out["pages"].push_back(std::move(one));
    token = found.next_page_token;
  } while (!token.empty());
  out["all"] = to_json(c.metric_histories(runs, key));
  out["few"] = to_json(c.sample_metric_histories(runs, key, {.max_points = 4}));
  out["one"] = to_json(c.sample_metric_histories(runs, key, {.max_points = 1}));
  out["some"] = to_json(
      c.sample_metric_histories(runs, key, {.max_points = 3, .first_step = 2, .last_step = 7}));
  return out;
}

mz::json models(client& c, const std::string& experiment, const std::string& run) {
  string_map params;
  for (int i = 0; i < 150; ++i) params["p" + std::to_string(i)] = std::to_string(i);
  const logged_model made = c.create_logged_model(
      experiment,
      {.name = "net", .run_id = run, .model_type = "cnn", .params = params, .tags = {{"t", "v"}}});
  c.log_model_params(made.id, {{"late", "1"}});
  const std::vector<metric> points = {{"acc", 0.5, 1, 100}, {"acc", 0.625, 2, 200}};
  c.log_model_metrics(made.id, run, points, {.name = "digits", .digest = "d1"});
  c.log_model_metrics(made.id, run, points, {.name = "digits", .digest = "d1"});
  mz::json out;
  out["pending"] = to_json(c.get_logged_model(made.id));
  out["done"] = to_json(c.finalize_logged_model(made.id, logged_model_status::ready));
  const logged_model failed = c.create_logged_model(experiment, {.name = "broken"});
  out["failed"] = to_json(c.finalize_logged_model(failed.id, logged_model_status::failed));
  out["found"] = mz::json::array();
  for (const logged_model& one :
       c.search_logged_models({.experiment_ids = {experiment}, .filter = "model_type = 'cnn'"})) {
    out["found"].push_back(to_json(one));
  }
  return out;
}

}  // namespace

int main(int argc, char** argv) {
  const arguments given(argv + 1, argv + argc);
  const auto called = [&](const char* command, std::size_t least) {
    return given.size() >= least && given[0] == command;
  };
  try {
    if (given.size() < 2) throw std::invalid_argument("usage: surface_program COMMAND URI …");
    client c({.uri = given[1], .user = "tester"});
    const auto rest = [&](std::size_t from) {
      return arguments(given.begin() + from, given.end());
    };
    mz::json out;
    if (called("trace", 3)) {
      out = write_traces(c, given[2]);
    } else if (called("read", 3)) {
      const trace whole = c.get_trace(given[2]);
      out = {{"info", to_json(whole.info)}, {"spans", mz::json::array()}};
      for (const span_record& span : whole.spans) out["spans"].push_back(to_json(span));
      out["alone"] = to_json(c.get_trace_info(given[2]));
    } else if (called("search", 4)) {
      out = search(c, given[2], given[3]);
    } else if (called("tag", 3)) {
      c.set_trace_tag(given[2], "k ü", "v");
      c.set_trace_tag(given[2], "gone", "v");
      c.delete_trace_tag(given[2], "gone");
      out = c.get_trace_info(given[2]).tags;
    } else if (called("delete", 4)) {
      const arguments ids = rest(3);
      out = c.delete_traces(given[2], ids);
    } else if (called("webhooks", 3)) {
      out = webhooks(c, given[2]);
    } else if (called("histories", 4)) {
      out = histories(c, given[2], rest(3));
    } else if (called("models", 4)) {
      out = models(c, given[2], given[3]);
    } else {
      throw std::invalid_argument("there is no such command");
    }
    std::cout << out.dump(2) << '\n';
  } catch (const mz::error& e) {
    std::cerr << to_string(e.code()) << ' ' << e.what() << '\n';
    return 1;
  } catch (const std::exception& e) {
    std::cerr << e.what() << '\n';
    return 1;
  }
  return 0;
}
