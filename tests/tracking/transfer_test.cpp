// Transfers between embedded stores. To and from MLflow's server: transfer_test.py.
#include "temporary_folder.hpp"
#include "tracking/client_parts.hpp"

#include <mizzen/core/json.hpp>
#include <mizzen/tracking.hpp>

#include <gmock/gmock.h>

#include <cmath>
#include <filesystem>
#include <limits>
#include <map>
#include <stop_token>

namespace mizzen::tracking {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

// All that a client tells of a store, but for where it keeps its files.
json everything(const client& c) {
  json all;
  for (const experiment& e : c.list_experiments()) {
    json one = {{"id", e.id}, {"tags", e.tags}, {"created", e.creation_time}};
    for (const run_record& r :
         c.search_runs({.experiment_ids = {e.id}, .order_by = {"run_id ASC"}})) {
      json run = {{"name", r.name},
                  {"user", r.user},
                  {"start", r.start_time},
                  {"end", r.end_time.value_or(-1)},
                  {"params", r.params},
                  {"tags", r.tags},
                  {"made", r.model_ids},
                  {"read", r.input_model_ids},
                  {"status", to_string(r.status)}};
      for (const auto& [key, latest] : r.metrics) {
        for (const metric& m : c.metric_history(r.id, key)) {
          run["points"][key].push_back({std::to_string(m.value), m.step, m.timestamp.value()});
        }
        run["latest"][key] = {std::to_string(latest.value), latest.step};
      }
      for (const dataset_input& i : r.inputs) {
        run["inputs"].push_back({i.dataset.name, i.dataset.digest, i.dataset.source_type,
                                 i.dataset.source, i.dataset.schema, i.dataset.profile, i.tags});
      }
      const std::filesystem::path root = r.artifact_uri;
      if (std::filesystem::exists(root)) {
        for (const auto& file : std::filesystem::recursive_directory_iterator(root)) {
          if (!file.is_regular_file()) continue;
          run["files"][file.path().lexically_relative(root).string()] = read_file(file.path());
        }
      }
      for (const logged_model& m : c.list_logged_models(r.id)) {
        run["models"][m.id] = {{"name", m.name}, {"tags", m.tags}, {"created", m.creation_time}};
      }
      one["runs"][r.id] = std::move(run);
    }
    all["experiments"][e.name] = std::move(one);
  }
  for (const registered_model& m : c.list_registered_models()) {
    json one = {{"tags", m.tags}, {"aliases", m.aliases}, {"words", m.description}};
    for (const model_version& v : c.list_model_versions(m.name)) {
      one["versions"].push_back({v.version, v.run_id, v.status, v.description, v.creation_time,
                                 v.tags, v.aliases, to_string(v.stage)});
    }
    all["registered"][m.name] = std::move(one);
  }
  const lineage_graph graph = c.lineage().all();
  std::map<std::string, std::string> names;
  for (const lineage_node& n : graph.nodes) names[n.id] = n.kind + " " + n.name + " " + n.version;
  for (const lineage_edge& e : graph.edges) {
    all["lineage"][names.at(e.from) + " -> " + names.at(e.to)] = e.relation;
  }
  return all;
}

class transfers : public testing::Test {
 protected:
  client open(const std::string& name) {
    const auto folder = folder_.path() / name;
    return client(client_options{.uri = (folder / "mlflow.db").string(), .user = "tester"});
  }

  // One of everything; the id of the run that made the models.
  static std::string fill(client& c) {
    c.create_experiment("digits", {.tags = {{"team", "a"}}});
    auto parent = c.start_run("digits", {.name = "parent", .tags = {{"kind", "naïve"}}});
    for (int step = 0; step < 3000; ++step) {
      parent.log_metric("loss", 1.0 / (step + 1), {.step = step, .timestamp = 1000 + step});
    }
    parent.log_metric("odd", std::numeric_limits<double>::quiet_NaN(), {.timestamp = 5});
    parent.log_metric("odd", std::numeric_limits<double>::infinity(), {.timestamp = 6});
    for (int i = 0; i < 150; ++i) parent.log_param("p" + std::to_string(i), i);
    parent.log_text("hello", "notes/deep/hello.txt");
    parent.log_input({.name = "set", .digest = "d1", .schema = R"({"a":1})"},
                     {.context = "training"});
    auto child = parent.start_child({.name = "child"});
    child.fail();
    const std::byte bytes[] = {std::byte{1}};
    const logged_model net =
        parent.log_model(bytes, {.name = "net", .params = {{"d", "3"}}, .tags = {{"t", "v"}}});
    parent.finish();
    c.create_registered_model("digits", {.description = "words", .tags = {{"task", "x"}}});
    c.register_model("digits", net, {.description = "first", .tags = {{"q", "1"}}});
    c.register_model("digits", net);
    c.register_model("digits", "runs:/" + parent.id() + "/notes");
    c.delete_model_version("digits", 2);
    c.set_model_alias("digits", "champion", 3);
    c.transition_model_version("digits", 1, model_stage::staging);
    c.copy_model_version("digits", 3, "a copy");
    auto other = c.start_run("other", {.name = "goes on"});
    other.log_metric("m", 1);
    c.flush();
    sql(c.uri().substr(10), "INSERT INTO inputs VALUES ('" + std::string(32, 'a') +
                                "', 'RUN_INPUT', '" + other.id() + "', 'MODEL_INPUT', '" + net.id +
                                "', 0)");
    auto graph = c.lineage();
    graph.link(graph.find("model", "net", net.id)->id,
               graph.record({.kind = "run", .name = "goes on", .version = other.id()}), "input");
    return parent.id();
  }

  temporary_folder folder_;
};

TEST_F(transfers, keep_everything_between_stores) {
  client from = open("from");
  client to = open("to");
  const std::string run = fill(from);
  const transfer_report report = transfer(from, to);
  for (const transfer_problem& p : report.problems) ADD_FAILURE() << p.subject << p.message;
  EXPECT_EQ(report.experiments, 3U);  // and Default
  EXPECT_EQ(report.runs, 3U);
  EXPECT_EQ(report.points, 3003U);
  EXPECT_EQ(report.models, 1U);
  EXPECT_EQ(report.versions, 3U);
  json before = everything(from);
  json after = everything(to);
  // Every store makes its own.
  before["experiments"].erase("Default");
  after["experiments"].erase("Default");
  EXPECT_EQ(json::diff(before, after).dump(1), "[]");

  const logged_model model = to.list_logged_models(run).at(0);
  EXPECT_THAT(model.artifact_location, HasSubstr((folder_.path() / "to").string()));
  const std::string text = read_file(std::filesystem::path(model.artifact_location) / "MLmodel");
  EXPECT_THAT(text, HasSubstr("artifact_path: \"" + model.artifact_location));
  const std::string db = folder_.file("to/mlflow.db");
  EXPECT_EQ(sql(db, "SELECT status || name FROM logged_models"), "2net");
  EXPECT_EQ(sql(db, "SELECT count(*) FROM logged_model_params"), "151");
  EXPECT_EQ(sql(db, "SELECT count(*) FROM logged_model_metrics"), "2");
  EXPECT_EQ(to.get_model_version("digits", 1).location, model.artifact_location);
  const model_version of_run = to.get_model_version("digits", 3);
  EXPECT_THAT(of_run.location, HasSubstr((folder_.path() / "to").string()));
  EXPECT_THAT(of_run.location, HasSubstr(run + "/artifacts/notes"));
  EXPECT_EQ(to.get_model_version("a copy", 1).location, of_run.location);
  EXPECT_EQ(to.get_model_version("a copy", 1).source, "models:/digits/3");
}

TEST_F(transfers, repeated_leave_nothing_twice_and_bring_what_is_new) {
  client from = open("from");
  client to = open("to");
  const std::string id = fill(from);
  transfer(from, to);
  const json once = everything(to);
  const transfer_report second = transfer(from, to);
  EXPECT_TRUE(second.complete());
  EXPECT_EQ(everything(to), once);

  auto run = from.resume_run(id);
  run.log_metric("loss", 7, {.step = 9000});
  run.log_text("more", "notes/more.txt");
  run.set_tag("kind", "other");
  run.finish();
  from.register_model("digits", "runs:/" + id + "/notes");
  const transfer_report third = transfer(from, to);
  EXPECT_TRUE(third.complete());
  EXPECT_EQ(third.files, 2U);  // and MLmodel, which is written each time
  EXPECT_EQ(to.get_run(id).metrics.at("loss").step, 9000);
  EXPECT_EQ(to.get_run(id).tags.at("kind"), "other");
  EXPECT_EQ(to.read_artifact(id, "notes/more.txt"), "more");
  EXPECT_EQ(to.get_model_version("digits", 4).run_id, id);
  // And back, where all of it is known.
  EXPECT_TRUE(transfer(to, from).complete());
  EXPECT_EQ(everything(from)["experiments"]["digits"], everything(to)["experiments"]["digits"]);
}

TEST_F(transfers, that_are_cut_off_are_made_good) {
  client from = open("from");
  client to = open("to");
  fill(from);
  client whole = open("whole");
  transfer(from, whole);
  for (int steps = 1;; ++steps) {
    std::stop_source stop;
    int left = steps;
    transfer_options options;
    options.cancel = {stop.get_token(), deadline::never()};
    options.progress = [&](const transfer_report&) {
      if (--left == 0) stop.request_stop();
    };
    if (!error_of([&] { transfer(from, to, options); })) break;
    ASSERT_LT(steps, 50);
  }
  json expected = everything(whole);
  json got = everything(to);
  expected["experiments"].erase("Default");
  got["experiments"].erase("Default");
  EXPECT_EQ(got, expected);
}

TEST_F(transfers, take_what_they_are_asked_for) {
  client from = open("from");
  client to = open("to");
  fill(from);
  const transfer_report report = transfer(
      from, to, {.experiments = {"other"}, .files = transfer_files::none, .registry = false});
  EXPECT_EQ(report.runs, 1U);
  EXPECT_FALSE(to.find_experiment("digits"));
  EXPECT_EQ(to.search_runs({}).size(), 1U);
  // The model that its run has read.
  ASSERT_THAT(report.problems, SizeIs(1));
  EXPECT_EQ(report.problems[0].code, errc::not_found);
  EXPECT_ERROR(errc::not_found, "experiment 'none'", transfer(from, to, {.experiments = {"none"}}));
  EXPECT_ERROR(errc::invalid_argument, "transfer", transfer(from, from));
}

TEST_F(transfers, report_what_is_taken_over_there) {
  client from = open("from");
  client to = open("to");
  // The same numbers, for other things.
  to.start_run("one").finish();
  to.start_run("two").finish();
  to.create_registered_model("digits", {.description = "mine"});
  to.register_model("digits", folder_.file("x"));
  to.set_model_alias("digits", "champion", 1);
  const std::string id = fill(from);
  transfer_report report = transfer(from, to);
  std::map<std::string, errc> problems;
  for (const transfer_problem& p : report.problems) problems[p.subject] = p.code;
  EXPECT_EQ(problems,
            (std::map<std::string, errc>{{"model version 'digits' 1", errc::already_exists},
                                         {"alias 'champion' of 'digits'", errc::already_exists}}));
  EXPECT_EQ(to.get_registered_model("digits").description, "mine");
  EXPECT_EQ(to.get_experiment(to.get_run(id).experiment_id).name, "digits");
  EXPECT_NE(to.get_run(id).experiment_id, from.get_run(id).experiment_id);
  EXPECT_EQ(to.find_experiment("one")->id, "1");

  report = transfer(from, to, {.move_aliases = true});
  EXPECT_THAT(report.problems, SizeIs(1));
  EXPECT_EQ(to.get_registered_model("digits").aliases.at("champion"), 3);

  // A parameter cannot change; the rest of the run goes along. What is deleted stays so.
  sql(folder_.file("from/mlflow.db"), "UPDATE params SET value = 'new' WHERE key = 'p7'");
  from.resume_run(id).set_tag("late", "yes");
  report = transfer(from, to, {.registry = false});
  ASSERT_THAT(report.problems, SizeIs(1));
  EXPECT_THAT(report.problems[0].subject, HasSubstr("parameter 'p7'"));
  EXPECT_EQ(to.get_run(id).tags.at("late"), "yes");
  to.delete_run(id);
  report = transfer(from, to, {.registry = false});
  EXPECT_EQ(to.get_run(id).stage, lifecycle_stage::deleted);
  ASSERT_FALSE(report.complete());
  EXPECT_EQ(report.problems[0].code, errc::failed_precondition);
}

TEST_F(transfers, out_of_one_store_go_one_at_a_time) {
  client from = open("from");
  const auto store = detail::client_parts::of(from).backend;
  const auto held = store->lock_for_transfer();
  EXPECT_ERROR(errc::unavailable, "store", store->lock_for_transfer());
}

}  // namespace
}  // namespace mizzen::tracking
