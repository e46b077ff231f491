// The C++ side of the tests against a real tracking server:
//   rest_program write URI             writes everything a server can hold; prints what, as JSON
//   rest_program read URI EXPERIMENT   prints what it finds, as JSON
//   rest_program download URI RUN FOLDER
//   rest_program edit URI PREFIX
//   rest_program call URI              one call; prints the code of its error, or "ok"
#include <mizzen/core.hpp>
#include <mizzen/tracking.hpp>
#include <mizzen/tracking/mlflow_error.hpp>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <limits>
#include <span>
#include <string>
#include <vector>

namespace mz = mizzen;
using namespace mz::tracking;

namespace {

mz::json to_json(const metric& m) {
  return {{"key", m.key},
          {"value", std::isnan(m.value) ? mz::json("NaN") : mz::json(m.value)},
          {"step", m.step},
          {"timestamp", m.timestamp.value()}};
}

mz::json to_json(const model_version& v) {
  return {{"version", v.version},        {"source", v.source}, {"run_id", v.run_id},
          {"status", v.status},          {"tags", v.tags},     {"aliases", v.aliases},
          {"description", v.description}};
}

int write(const std::string& uri) {
  client c({.uri = uri, .user = "tester"});
  const experiment e = c.create_experiment("written by C++", {.tags = {{"team", "mizzen"}}});
  c.set_experiment_tag(e.id, "stage", "early");
  auto parent = c.start_run("written by C++", {.name = "parent",
                                               .tags = {{"kind", "naïve — ünïcode"}},
                                               .params = {{"seed", "7"}},
                                               .description = "a *note*"});
  for (int step = 0; step < 50; ++step) {
    parent.log_metric("loss", 1.0 / (step + 1),
                      {.step = step, .timestamp = 1'700'000'000'000 + step});
  }
  parent.log_metric("odd/nan", std::numeric_limits<double>::quiet_NaN(), {.step = 3});
  parent.log_metric("odd/inf", std::numeric_limits<double>::infinity());
  // More than a batch takes.
  std::vector<metric> many;
  for (int step = 0; step < 2500; ++step) many.push_back({"many", step * 0.5, step, 1000 + step});
  parent.log_metrics(many);
  string_map params;
  for (int i = 0; i < 250; ++i) params["p" + std::to_string(i)] = std::string(4000, 'x');
  parent.log_params(params);
  parent.set_tags({{"gone", "1"}, {"quoted", R"(it's a "tag")"}});
  parent.delete_tag("gone");
  parent.log_input({.name = "digits",
                    .digest = "2b679e2b",
                    .source = local_dataset_source("/data/digits.npy"),
                    .profile = R"({"num_rows": 1797})"},
                   {.context = "training"});
  parent.log_text("hello\n", "notes/hello.txt");
  parent.log_json({{"a", {1, 2, 3}}}, "notes/odd näme +plus=name.json");
  parent.log_text("gone", "gone/soon.txt");
  parent.delete_artifacts("gone");
  const auto folder =
      std::filesystem::temp_directory_path() / ("mizzen-rest-" + mz::random_hex_id());
  std::filesystem::create_directories(folder / "data" / "deep");
  std::ofstream(folder / "data" / "one.bin") << std::string(3'000'000, 'x');
  std::ofstream(folder / "data" / "deep" / "two.txt") << "two";
  std::ofstream(folder / "data" / "empty");
  parent.log_artifact(folder / "data", "uploads");
  const logged_model model = parent.log_model(
      std::as_bytes(std::span(std::string_view("not looked into"))), {.name = "model"});
  std::filesystem::remove_all(folder);
  auto child = parent.start_child({.name = "child"});
  child.log_metric("score", 0.5);
  child.fail();
  parent.finish();

  c.create_registered_model("classifier", {.description = "of digits", .tags = {{"a", "b"}}});
  const model_version first =
      c.register_model("classifier", "runs:/" + parent.id() + "/somewhere",
                       {.description = "first", .tags = {{"quality", "poor"}}});
  const model_version second = c.register_model("classifier", "runs:/" + child.id() + "/other");
  c.set_model_alias("classifier", "champion", second.version);
  c.set_model_alias("classifier", "old", first.version);
  c.delete_model_alias("classifier", "old");
  c.set_registered_model_tag("classifier", "task", "classification");
  c.set_model_version_tag("classifier", second.version, "quality", "good");

  const model_version third = c.register_model("classifier", model);
  std::cout << mz::json{{"experiment_id", e.id},
                        {"parent", parent.id()},
                        {"child", child.id()},
                        {"model_id", model.id},
                        {"third", to_json(third)}}
                   .dump(2)
            << '\n';
  return 0;
}

int read(const std::string& uri, const std::string& name) {
  const client c({.uri = uri});
  const auto found = c.find_experiment(name);
  if (!found || c.find_experiment("there is none")) return 1;
  mz::json out;
  out["experiment"] = {{"id", found->id},
                       {"tags", found->tags},
                       {"location", found->artifact_location},
                       {"stage", to_string(found->stage)}};
  for (const experiment& e : c.list_experiments(std::nullopt)) out["experiments"].push_back(e.name);
  for (const run_record& r :
       c.search_runs({.experiment_ids = {found->id}, .order_by = {"start_time ASC"}})) {
    mz::json one = {{"id", r.id},
                    {"name", r.name},
                    {"status", to_string(r.status)},
                    {"params", r.params},
                    {"tags", r.tags},
                    {"user", r.user},
                    {"model_ids", r.model_ids},
                    {"artifact_uri", r.artifact_uri}};
    for (const auto& [key, latest] : r.metrics) {
      one["metrics"][key] = to_json(latest);
      for (const metric& m : c.metric_history(r.id, key)) one["history"][key].push_back(to_json(m));
    }
    for (const dataset_input& i : r.inputs) {
      one["inputs"].push_back({{"name", i.dataset.name},
                               {"digest", i.dataset.digest},
                               {"source", i.dataset.source},
                               {"tags", i.tags}});
    }
    for (const logged_model& m : c.list_logged_models(r.id)) {
      const logged_model again = c.get_logged_model(m.id);
      one["models"].push_back({{"id", again.id},
                               {"name", again.name},
                               {"location", again.artifact_location},
                               {"tags", again.tags}});
    }
    out["runs"].push_back(std::move(one));
  }
  out["finished"] = c.search_runs({.experiment_ids = {found->id},
                                   .status = run_status::finished,
                                   .tags = {{"quoted", R"(it's a "tag")"}}})
                        .size();
  for (const registered_model& m : c.list_registered_models()) {
    mz::json one = {{"tags", m.tags}, {"aliases", m.aliases}, {"description", m.description}};
    for (const model_version& v : c.list_model_versions(m.name)) {
      one["versions"].push_back(to_json(v));
    }
    for (const auto& [alias, version] : m.aliases) {
      one["by alias"][alias] = c.get_model_version_by_alias(m.name, alias).version;
    }
    out["registered"][m.name] = std::move(one);
  }
  std::cout << out.dump(2) << '\n';
  return 0;
}

// Everything below a run's artifacts, and of its models, into FOLDER; the files that are listed.
int download(const std::string& uri, const std::string& run_id, const std::string& folder) {
  const client c({.uri = uri});
  mz::json out = {{"top", mz::json::array()}};
  for (const artifact_info& a : c.list_artifacts(run_id)) {
    out["top"].push_back({a.path, a.is_directory, a.size});
  }
  c.download_artifacts(run_id, folder + "/all");
  for (const logged_model& m : c.list_logged_models(run_id)) {
    c.download_model(m, folder + "/models/" + m.name);
  }
  try {
    c.read_artifact(run_id, "there/is/none");
  } catch (const mz::error& e) {
    out["missing"] = to_string(e.code());
  }
  std::cout << out.dump(2) << '\n';
  return 0;
}

// Changes and deletes what PREFIX names; prints what Python is to find.
int edit(const std::string& uri, const std::string& prefix) {
  client c({.uri = uri, .user = "tester"});
  const experiment e = c.create_experiment(prefix + "first", {.tags = {{"x", "1"}}});
  c.delete_experiment_tag(e.id, "x");
  c.rename_experiment(e.id, prefix + "second");
  auto run = c.start_run(prefix + "second", {.name = "one"});
  const logged_model logged =
      run.log_model(std::as_bytes(std::span(std::string_view("x"))), {.name = "model"});
  c.set_logged_model_tag(logged.id, "a b", "c");
  c.set_logged_model_tag(logged.id, "gone", "c");
  c.delete_logged_model_tag(logged.id, "gone");
  run.finish();
  c.rename_run(run.id(), "two");
  c.delete_run(run.id());
  const bool deleted = c.get_run(run.id()).stage == lifecycle_stage::deleted;
  c.restore_run(run.id());
  c.delete_experiment(e.id);
  const bool gone = c.get_experiment(e.id).stage == lifecycle_stage::deleted;
  c.restore_experiment(e.id);

  const std::string name = prefix + "model";
  c.create_registered_model(prefix + "old", {.tags = {{"x", "1"}, {"y", "2"}}});
  c.rename_registered_model(prefix + "old", name);
  c.update_registered_model(name, "new words");
  c.delete_registered_model_tag(name, "x");
  for (int i = 0; i < 4; ++i) c.register_model(name, logged, {.tags = {{"t", "1"}}});
  c.transition_model_version(name, 1, model_stage::production);
  c.transition_model_version(name, 2, model_stage::production, true);
  c.update_model_version(name, 3, "third");
  c.delete_model_version_tag(name, 3, "t");
  c.delete_model_version(name, 4);
  mz::json latest = mz::json::array();
  for (const model_version& v : c.latest_model_versions(name)) {
    latest.push_back({v.version, to_string(v.stage)});
  }
  const model_version copy = c.copy_model_version(name, 2, prefix + "copy");
  const std::string where = c.model_version_download_uri(name, 3);
  c.create_registered_model(prefix + "doomed");
  c.delete_registered_model(prefix + "doomed");
  std::cout << mz::json{{"experiment_id", e.id},
                        {"run_id", run.id()},
                        {"model_id", logged.id},
                        {"deleted", deleted},
                        {"gone", gone},
                        {"latest", latest},
                        {"copy", to_json(copy)},
                        {"where", where},
                        {"location", logged.artifact_location}}
                   .dump(2)
            << '\n';
  return 0;
}

int call(const std::string& uri) {
  const client c({.uri = uri});
  try {
    c.list_experiments();
    std::cout << "ok\n";
  } catch (const mz::error& e) {
    std::cout << to_string(e.code()) << ' ' << e.what() << '\n';
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string command = argc >= 3 ? argv[1] : "";
  try {
    if (command == "write" && argc == 3) return write(argv[2]);
    if (command == "read" && argc == 4) return read(argv[2], argv[3]);
    if (command == "download" && argc == 5) return download(argv[2], argv[3], argv[4]);
    if (command == "edit" && argc == 4) return edit(argv[2], argv[3]);
    if (command == "call" && argc == 3) return call(argv[2]);
  } catch (const std::exception& e) {
    std::cerr << e.what() << '\n';
    return 1;
  }
  std::cerr << "usage: rest_program write|read|download|edit|call URI …\n";
  return 2;
}
