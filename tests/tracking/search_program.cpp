// Answers searches for search_differential_test.py: a JSON object a line in, one a line out.
//   search_program STORE
//   {"what": "runs", "filter": "…", "order_by": […], "max_results": 3, "page_token": "…", …}
//   {"ids": […], "token": "…"} or {"error": "…", "code": "…"}
#include <mizzen/core/error.hpp>
#include <mizzen/core/json.hpp>
#include <mizzen/tracking.hpp>

#include <concepts>
#include <iostream>
#include <string>
#include <vector>

namespace {

using namespace mizzen::tracking;
namespace mz = mizzen;

template <typename Query>
Query common(const mz::json& asked) {
  Query query;
  query.filter = asked.value("filter", "");
  query.max_results = asked.value("max_results", query.max_results);
  query.page_token = asked.value("page_token", "");
  if constexpr (requires { query.experiment_ids; }) {
    query.experiment_ids = asked.value("experiment_ids", query.experiment_ids);
  }
  if constexpr (requires { query.stage; }) {
    const std::string stage = asked.value("stage", "active");
    if (stage == "deleted") query.stage = lifecycle_stage::deleted;
    if (stage == "all") query.stage.reset();
  }
  if constexpr (std::same_as<decltype(query.order_by), std::vector<std::string>>) {
    query.order_by = asked.value("order_by", query.order_by);
  }
  return query;
}

template <typename T, typename Name>
mz::json answer(const page<T>& found, Name&& name) {
  mz::json ids = mz::json::array();
  for (const T& one : found) ids.push_back(name(one));
  return {{"ids", std::move(ids)}, {"token", found.next_page_token}};
}

mz::json search(const client& c, const mz::json& asked) {
  const std::string what = asked.at("what");
  if (what == "runs") {
    return answer(c.search_runs(common<run_query>(asked)), [](const auto& r) { return r.id; });
  }
  if (what == "experiments") {
    return answer(c.search_experiments(common<experiment_query>(asked)),
                  [](const auto& e) { return e.id; });
  }
  if (what == "registered_models") {
    return answer(c.search_registered_models(common<registered_model_query>(asked)),
                  [](const auto& m) { return m.name; });
  }
  if (what == "model_versions") {
    return answer(c.search_model_versions(common<model_version_query>(asked)),
                  [](const auto& v) { return v.name + "/" + std::to_string(v.version); });
  }
  auto query = common<logged_model_query>(asked);
  for (const mz::json& by : asked.value("order_by", mz::json::array())) {
    query.order_by.push_back({.field = by.at("field_name"),
                              .ascending = by.value("ascending", true),
                              .dataset_name = by.value("dataset_name", ""),
                              .dataset_digest = by.value("dataset_digest", "")});
  }
  for (const mz::json& data : asked.value("datasets", mz::json::array())) {
    query.datasets.push_back({data.at("dataset_name"), data.value("dataset_digest", "")});
  }
  return answer(c.search_logged_models(query), [](const auto& m) { return m.id; });
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const client c(argv[1]);
  for (std::string line; std::getline(std::cin, line);) {
    mz::json result;
    try {
      result = search(c, mz::json::parse(line));
    } catch (const mz::error& e) {
      result = {{"error", e.what()}, {"code", to_string(e.code())}};
    }
    std::cout << result.dump(-1, ' ', false, mz::json::error_handler_t::replace) << std::endl;
  }
}
