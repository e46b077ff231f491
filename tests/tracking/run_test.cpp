// Runs: what is logged comes back, and MLflow's rules hold.
#include "temporary_folder.hpp"

#include <mizzen/core/json.hpp>
#include <mizzen/core/time.hpp>
#include <mizzen/tracking.hpp>

#include <gmock/gmock.h>

#include <cmath>
#include <limits>
#include <optional>
#include <stdexcept>
#include <vector>

namespace mizzen::tracking {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class tracked_run : public testing::Test {
 protected:
  temporary_folder folder_;
  std::string db_ = folder_.file("mlflow.db");
  client client_{client_options{.uri = db_, .user = "tester"}};
};

std::vector<std::string> ids(const page<run_record>& runs) {
  std::vector<std::string> out;
  for (const run_record& r : runs) out.push_back(r.id);
  return out;
}

TEST_F(tracked_run, starts_with_what_mlflow_sets) {
  const std::int64_t before = unix_millis();
  auto run = client_.start_run(
      "digits",
      {.name = "first", .tags = {{"a", "b"}}, .params = {{"p", "1"}}, .description = "n"});
  const run_record record = run.get();
  EXPECT_EQ(record.id, run.id());
  EXPECT_EQ(record.id.size(), 32U);
  EXPECT_EQ(record.name, "first");
  EXPECT_EQ(record.user, "tester");
  EXPECT_EQ(record.status, run_status::running);
  EXPECT_GE(record.start_time, before);
  EXPECT_FALSE(record.end_time);
  EXPECT_EQ(record.params, (string_map{{"p", "1"}}));
  EXPECT_EQ(record.tags.at("a"), "b");
  EXPECT_EQ(record.tags.at("mlflow.user"), "tester");
  EXPECT_EQ(record.tags.at("mlflow.runName"), "first");
  EXPECT_EQ(record.tags.at("mlflow.source.type"), "LOCAL");
  EXPECT_EQ(record.tags.at("mlflow.note.content"), "n");
  EXPECT_THAT(record.tags.at("mlflow.source.name"), HasSubstr("mizzen_tracking_tests"));
  const experiment e = client_.get_experiment(run.experiment_id());
  EXPECT_EQ(e.name, "digits");
  EXPECT_EQ(record.artifact_uri, e.artifact_location + "/" + run.id() + "/artifacts");
}

TEST_F(tracked_run, is_named_when_it_has_no_name) {
  auto run = client_.start_run("digits");
  EXPECT_THAT(run.name(), testing::MatchesRegex("[a-z]+-[a-z]+-[0-9]+"));
  EXPECT_EQ(run.get().tags.at("mlflow.runName"), run.name());
  EXPECT_ERROR(errc::invalid_argument, "run_options.name",
               client_.start_run("x", {.name = "a", .tags = {{"mlflow.runName", "b"}}}));
}

TEST_F(tracked_run, is_finished_or_failed_as_it_says) {
  auto run = client_.start_run("digits");
  run.finish();
  EXPECT_EQ(run.get().status, run_status::finished);
  EXPECT_GE(run.get().end_time.value(), run.get().start_time);
  run.fail();
  EXPECT_EQ(run.get().status, run_status::failed);
  run.end(run_status::killed);
  EXPECT_EQ(run.get().status, run_status::killed);
}

TEST_F(tracked_run, is_finished_by_its_destructor) {
  std::string id;
  {
    id = client_.start_run("digits").id();
  }
  EXPECT_EQ(client_.get_run(id).status, run_status::finished);
}

TEST_F(tracked_run, is_failed_by_its_destructor_when_an_exception_unwinds) {
  std::string id;
  try {
    auto run = client_.start_run("digits");
    id = run.id();
    throw std::runtime_error("training went wrong");
  } catch (const std::runtime_error&) {
  }
  EXPECT_EQ(client_.get_run(id).status, run_status::failed);
}

// A run that is used while an exception is in flight, and is itself fine.
TEST_F(tracked_run, is_finished_by_its_destructor_within_a_catch) {
  struct cleanup {
    client& c;
    std::string& id;
    ~cleanup() { id = c.start_run("digits").id(); }
  };
  std::string id;
  try {
    const cleanup at_end{client_, id};
    throw std::runtime_error("elsewhere");
  } catch (const std::runtime_error&) {
  }
  EXPECT_EQ(client_.get_run(id).status, run_status::finished);
}

TEST_F(tracked_run, keeps_an_explicit_end) {
  std::string id;
  {
    auto run = client_.start_run("digits");
    id = run.id();
    run.fail();
  }
  EXPECT_EQ(client_.get_run(id).status, run_status::failed);
}

TEST_F(tracked_run, moves_with_its_duty_to_end) {
  auto first = client_.start_run("digits");
  const std::string first_id = first.id();
  auto moved = std::move(first);
  EXPECT_EQ(moved.get().status, run_status::running);
  moved = client_.start_run("digits");
  EXPECT_EQ(client_.get_run(first_id).status, run_status::finished);
  EXPECT_EQ(moved.get().status, run_status::running);
}

TEST_F(tracked_run, outlives_its_client) {
  auto run = client{client_options{.uri = folder_.file("other.db")}}.start_run("digits");
  run.log_metric("loss", 1);
  EXPECT_EQ(run.get().metrics.at("loss").value, 1);
}

TEST_F(tracked_run, destructor_reports_a_store_that_is_gone) {
  std::vector<std::string> said;
  {
    client c({.uri = folder_.file("gone.db"),
              .log = logger([&said](const log_record& r) { said.emplace_back(r.message); })});
    auto run = c.start_run("digits");
    sql(folder_.file("gone.db"), "DELETE FROM tags; DELETE FROM runs");
  }
  EXPECT_THAT(said, ElementsAre("a run could not be ended"));
}

TEST_F(tracked_run, is_resumed) {
  std::string id;
  {
    auto run = client_.start_run("digits");
    id = run.id();
    run.log_metric("loss", 2, {.step = 0});
  }
  auto run = client_.resume_run(id);
  EXPECT_EQ(run.get().status, run_status::running);
  EXPECT_FALSE(run.get().end_time);
  run.log_metric("loss", 1, {.step = 1});
  EXPECT_EQ(client_.metric_history(id, "loss").size(), 2U);
  EXPECT_ERROR(errc::not_found, "run 'nope'", client_.resume_run("nope"));
}

TEST_F(tracked_run, is_nested) {
  auto parent = client_.start_run("digits");
  auto child = parent.start_child({.name = "fold 1"});
  EXPECT_EQ(child.experiment_id(), parent.experiment_id());
  EXPECT_EQ(child.get().tags.at("mlflow.parentRunId"), parent.id());
  EXPECT_THAT(ids(client_.search_runs({.tags = {{"mlflow.parentRunId", parent.id()}}})),
              ElementsAre(child.id()));
  EXPECT_ERROR(errc::not_found, "run 'x'", client_.start_run("digits", {.parent_run_id = "x"}));
}

// --- metrics -------------------------------------------------------------------------------------

TEST_F(tracked_run, keeps_every_point) {
  auto run = client_.start_run("digits");
  const std::int64_t before = unix_millis();
  run.log_metric("loss", 0.5, {.step = 3, .timestamp = 17});
  run.log_metric("loss", 0.25, {.step = -4, .timestamp = 12});
  run.log_metric("loss", 0.125);
  const auto history = client_.metric_history(run.id(), "loss");
  ASSERT_EQ(history.size(), 3U);
  EXPECT_EQ(history[0].step, -4);
  EXPECT_EQ(history[0].value, 0.25);
  EXPECT_EQ(history[1].timestamp, 17);
  EXPECT_EQ(history[2].step, 0);
  EXPECT_GE(history[2].timestamp.value(), before);
  EXPECT_THAT(client_.metric_history(run.id(), "none"), IsEmpty());
  EXPECT_ERROR(errc::not_found, "run 'x'", client_.metric_history("x", "loss"));
}

TEST_F(tracked_run, keeps_a_point_once) {
  auto run = client_.start_run("digits");
  for (int i = 0; i < 3; ++i) run.log_metric("loss", 0.5, {.step = 1, .timestamp = 5});
  EXPECT_EQ(client_.metric_history(run.id(), "loss").size(), 1U);
}

TEST_F(tracked_run, latest_is_by_step_then_time_then_value) {
  auto run = client_.start_run("digits");
  const auto latest = [&] { return run.get().metrics.at("m"); };
  run.log_metric("m", 1, {.step = 5, .timestamp = 100});
  run.log_metric("m", 2, {.step = 4, .timestamp = 900});  // later, but of an earlier step
  EXPECT_EQ(latest().value, 1);
  run.log_metric("m", 3, {.step = 5, .timestamp = 99});
  EXPECT_EQ(latest().value, 1);
  run.log_metric("m", 0.5, {.step = 5, .timestamp = 100});  // smaller
  EXPECT_EQ(latest().value, 1);
  run.log_metric("m", 1.5, {.step = 5, .timestamp = 100});
  EXPECT_EQ(latest().value, 1.5);
  run.log_metric("m", -7, {.step = 5, .timestamp = 101});
  EXPECT_EQ(latest().value, -7);
  run.log_metric("m", 0, {.step = 6, .timestamp = 0});
  EXPECT_EQ(latest().step, 6);
  // In one batch too, whatever the order in it.
  run.log_metrics(std::vector<metric>{{"m", 9, 8, 1}, {"m", 10, 7, 2}});
  EXPECT_EQ(latest().value, 9);
}

TEST_F(tracked_run, keeps_nan_and_clamps_infinity_as_mlflow_does) {
  auto run = client_.start_run("digits");
  constexpr double infinity = std::numeric_limits<double>::infinity();
  run.log_metric("nan", std::nan(""), {.step = 1});
  run.log_metric("inf", infinity);
  run.log_metric("-inf", -infinity);
  EXPECT_TRUE(std::isnan(run.get().metrics.at("nan").value));
  EXPECT_TRUE(std::isnan(client_.metric_history(run.id(), "nan").at(0).value));
  EXPECT_EQ(run.get().metrics.at("inf").value, std::numeric_limits<double>::max());
  EXPECT_EQ(run.get().metrics.at("-inf").value, std::numeric_limits<double>::lowest());
  EXPECT_EQ(sql(db_, "SELECT value || '/' || is_nan FROM metrics WHERE key = 'nan'"), "0.0/1");
}

TEST_F(tracked_run, takes_any_number_of_points) {
  auto run = client_.start_run("digits");
  std::vector<metric> points;
  for (int i = 0; i < 2500; ++i) points.push_back({"loss", 1.0 / (i + 1), i, 1000 + i});
  run.log_metrics(points);
  EXPECT_EQ(client_.metric_history(run.id(), "loss").size(), 2500U);
  run.log_metrics({{"a", 1}, {"b", 2}}, {.step = 4});
  EXPECT_EQ(run.get().metrics.at("b").step, 4);
  // One bad point in the last piece, and nothing is written.
  points[2400].key = "no\tgood";
  for (metric& point : points) point.step += 10'000;
  EXPECT_ERROR(errc::invalid_argument, "key", run.log_metrics(points));
  EXPECT_EQ(client_.metric_history(run.id(), "loss").size(), 2500U);
}

TEST_F(tracked_run, checks_keys_as_mlflow_does) {
  auto run = client_.start_run("digits");
  for (const char* key : {"loss", "val/loss", "a.b-c_d e:f", "x/y/z", ".hidden", "größe", "0"}) {
    EXPECT_NO_THROW(run.log_metric(key, 1)) << key;
  }
  for (const char* key : {"", "a//b", "/a", "a/", ".", "..", "../a", "a/../b", "a/./b", "..a",
                          "tab\t", "new\nline", "semi;colon", "q?", "a\\b", "\xff\xfe", "\xc3"}) {
    EXPECT_ERROR(errc::invalid_argument, "metric.key", run.log_metric(key, 1));
  }
  EXPECT_NO_THROW(run.log_metric(std::string(250, 'k'), 1));
  EXPECT_ERROR(errc::invalid_argument, "metric.key", run.log_metric(std::string(251, 'k'), 1));
  EXPECT_ERROR(errc::invalid_argument, "metric.timestamp",
               run.log_metric("loss", 1, {.timestamp = -1}));
}

// --- parameters and tags -------------------------------------------------------------------------

TEST_F(tracked_run, keeps_parameters) {
  auto run = client_.start_run("digits");
  run.log_param("rate", 0.1);
  run.log_param("epochs", 20);
  run.log_param("shuffle", true);
  run.log_param("optimiser", "sgd");
  run.log_param("empty", "");
  EXPECT_EQ(run.get().params, (string_map{{"rate", "0.1"},
                                          {"epochs", "20"},
                                          {"shuffle", "True"},
                                          {"optimiser", "sgd"},
                                          {"empty", ""}}));
}

TEST_F(tracked_run, does_not_change_parameters) {
  auto run = client_.start_run("digits");
  run.log_param("rate", "0.1");
  EXPECT_NO_THROW(run.log_param("rate", "0.1"));
  EXPECT_ERROR(errc::already_exists, "param 'rate'", run.log_param("rate", "0.2"));
  EXPECT_ERROR(errc::already_exists, "param 'rate'",
               run.log_batch({.metrics = {{"m", 1}}, .params = {{"a", "1"}, {"rate", "0.2"}}}));
  EXPECT_EQ(run.get().params, (string_map{{"rate", "0.1"}}));
  EXPECT_THAT(run.get().metrics, IsEmpty());
}

TEST_F(tracked_run, refuses_long_values_instead_of_cutting_them) {
  auto run = client_.start_run("digits");
  EXPECT_NO_THROW(run.log_param("p", std::string(6000, 'x')));
  EXPECT_ERROR(errc::invalid_argument, "param.value", run.log_param("q", std::string(6001, 'x')));
  std::string accents;  // counted in characters, not bytes
  for (int i = 0; i < 8000; ++i) accents += "é";
  EXPECT_NO_THROW(run.set_tag("t", accents));
  EXPECT_ERROR(errc::invalid_argument, "tag.value", run.set_tag("t", accents + "é"));
  EXPECT_ERROR(errc::invalid_argument, "tag.value", run.set_tag("t", "broken \xe2\x82"));
  EXPECT_ERROR(errc::invalid_argument, "tag.value", run.set_tag("t", std::string("a\0b", 3)));
  EXPECT_EQ(run.get().tags.at("t"), accents);
}

TEST_F(tracked_run, sets_and_deletes_tags) {
  auto run = client_.start_run("digits");
  run.set_tag("stage", "one");
  run.set_tag("stage", "two");
  EXPECT_EQ(run.get().tags.at("stage"), "two");
  run.delete_tag("stage");
  EXPECT_EQ(run.get().tags.count("stage"), 0U);
  EXPECT_ERROR(errc::not_found, "tag 'stage'", run.delete_tag("stage"));
  run.set_tag("mlflow.runName", "renamed");
  EXPECT_EQ(run.get().name, "renamed");
}

TEST_F(tracked_run, holds_batches_to_mlflows_limits) {
  auto run = client_.start_run("digits");
  batch many;
  for (int i = 0; i < 1001; ++i) many.metrics.push_back({"m", 1, i});
  EXPECT_ERROR(errc::invalid_argument, "metrics", run.log_batch(many));
  many = {};
  for (int i = 0; i < 101; ++i) many.params["p" + std::to_string(i)] = "x";
  EXPECT_ERROR(errc::invalid_argument, "params", run.log_batch(many));
  EXPECT_NO_THROW(run.log_params(many.params));
  many = {};
  for (int i = 0; i < 950; ++i) many.metrics.push_back({"m", 1, i});
  for (int i = 0; i < 60; ++i) many.tags["t" + std::to_string(i)] = "x";
  EXPECT_ERROR(errc::invalid_argument, "metrics, params and tags", run.log_batch(many));
  EXPECT_ERROR(errc::invalid_argument, "metrics[1].key",
               run.log_batch({.metrics = {{"good", 1}, {"bad\n", 1}}}));
}

TEST_F(tracked_run, is_not_written_once_deleted) {
  auto run = client_.start_run("digits");
  sql(db_, "UPDATE runs SET lifecycle_stage = 'deleted'");
  run.log_metric("loss", 1);  // which is told what befell it by the status
  EXPECT_TRUE(client_.flush(deadline::after(std::chrono::seconds(60))));
  EXPECT_EQ(client_.status().rejected, 1U);
  EXPECT_THAT(client_.status().last_error, testing::HasSubstr("deleted"));
  EXPECT_ERROR(errc::failed_precondition, run.id(), run.log_param("a", "b"));
  EXPECT_ERROR(errc::failed_precondition, run.id(), client_.resume_run(run.id()));
  EXPECT_THAT(client_.search_runs(), IsEmpty());
  EXPECT_EQ(client_.search_runs({.stage = lifecycle_stage::deleted}).size(), 1U);
}

// --- datasets, artifacts -------------------------------------------------------------------------

TEST_F(tracked_run, keeps_inputs) {
  auto run = client_.start_run("digits");
  const dataset data{.name = "digits", .digest = "abc", .profile = R"({"num_rows": 5})"};
  run.log_input(data, {.context = "training", .tags = {{"split", "0.8"}}});
  run.log_input(data, {.context = "again"});
  const auto inputs = run.get().inputs;
  ASSERT_EQ(inputs.size(), 1U);
  EXPECT_EQ(inputs[0].dataset.name, "digits");
  EXPECT_EQ(inputs[0].dataset.profile, R"({"num_rows": 5})");
  EXPECT_EQ(inputs[0].tags, (string_map{{"mlflow.data.context", "training"}, {"split", "0.8"}}));
  auto other = client_.start_run("digits");
  other.log_input(data);
  EXPECT_EQ(sql(db_, "SELECT count(*) FROM datasets"), "1");
  EXPECT_ERROR(errc::invalid_argument, "dataset.name", run.log_input({.digest = "x"}));
  EXPECT_ERROR(errc::invalid_argument, "dataset.digest", run.log_input({.name = "x"}));
  EXPECT_ERROR(errc::invalid_argument, "dataset.digest",
               run.log_input({.name = "x", .digest = std::string(37, 'd')}));
  EXPECT_ERROR(errc::invalid_argument, "dataset.source",
               run.log_input({.name = "x", .digest = "d", .source = "{"}));
}

TEST_F(tracked_run, keeps_artifacts_in_mlflows_layout) {
  auto run = client_.start_run("digits");
  EXPECT_THAT(run.list_artifacts(), IsEmpty());
  const auto root = folder_.path() / "mlruns" / run.experiment_id() / run.id() / "artifacts";
  EXPECT_EQ(run.artifact_directory(), root);
  run.log_text("hello", "notes/hello.txt");
  run.log_text("again", "notes/hello.txt");
  run.log_json({{"a", 1}}, "a.json");
  const std::byte bytes[] = {std::byte{0}, std::byte{255}};
  run.log_bytes(bytes, "b.bin");
  EXPECT_EQ(read_file(root / "notes/hello.txt"), "again");
  EXPECT_EQ(json::parse(read_file(root / "a.json")), (json{{"a", 1}}));
  EXPECT_EQ(read_file(root / "b.bin"), std::string("\0\xff", 2));

  const auto source = folder_.path() / "source";
  std::filesystem::create_directories(source / "deep/empty");
  write_file(source / "one.txt", "1");
  write_file(source / "deep/two.txt", "22");
  run.log_artifact(source / "one.txt");
  run.log_artifact(source, "copies");
  EXPECT_EQ(read_file(root / "one.txt"), "1");
  EXPECT_EQ(read_file(root / "copies/source/deep/two.txt"), "22");

  std::vector<std::string> names;
  for (const artifact_info& a : run.list_artifacts()) {
    names.push_back(a.path + (a.is_directory ? "/" : ":" + std::to_string(a.size)));
  }
  EXPECT_THAT(names, ElementsAre("a.json:13", "b.bin:2", "copies/", "notes/", "one.txt:1"));
  EXPECT_EQ(run.list_artifacts("copies/source").size(), 2U);
}

TEST_F(tracked_run, keeps_artifacts_inside_their_folder) {
  auto run = client_.start_run("digits");
  for (const char* path : {"../x", "/etc/x", "a/../../x", "", "a//b", ".", "a\\b"}) {
    EXPECT_ERROR(errc::invalid_argument, "artifact_file", run.log_text("x", path));
  }
  EXPECT_ERROR(errc::invalid_argument, "artifact_path", run.log_artifact(db_, "../.."));
  EXPECT_ERROR(errc::not_found, "no such file", run.log_artifact(folder_.file("no such file")));
  EXPECT_ERROR(errc::invalid_argument, "local", run.log_artifact(""));
  std::filesystem::create_directories(folder_.path() / "linked/folder");
  std::filesystem::create_directory_symlink(folder_.path(), folder_.path() / "linked/folder/up");
  EXPECT_ERROR(errc::invalid_argument, "linked/folder/up",
               run.log_artifact(folder_.file("linked")));
  run.log_text("x", "a");
  EXPECT_ERROR(errc::failed_precondition, "artifact", run.log_text("x", "a/b"));
  run.log_text("x", "d/e");
  EXPECT_ERROR(errc::failed_precondition, "artifact", run.log_text("x", "d"));
  EXPECT_EQ(run.list_artifacts().size(), 2U);  // and no temporary file stayed
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(run.artifact_directory()), {}), 2);
}

// --- experiments and search ----------------------------------------------------------------------

TEST_F(tracked_run, experiments_are_made_and_found) {
  const experiment made = client_.create_experiment("digits", {.tags = {{"team", "a"}}});
  EXPECT_EQ(made.tags, (string_map{{"team", "a"}}));
  EXPECT_EQ(client_.get_or_create_experiment("digits").id, made.id);
  EXPECT_EQ(client_.find_experiment("digits")->id, made.id);
  EXPECT_FALSE(client_.find_experiment("none"));
  client_.set_experiment_tag(made.id, "team", "b");
  EXPECT_EQ(client_.get_experiment(made.id).tags.at("team"), "b");
  EXPECT_ERROR(errc::already_exists, "experiment 'digits'", client_.create_experiment("digits"));
  EXPECT_ERROR(errc::not_found, "experiment 77", client_.get_experiment("77"));
  EXPECT_ERROR(errc::invalid_argument, "experiment.id", client_.get_experiment("7x"));
  EXPECT_ERROR(errc::invalid_argument, "experiment.name", client_.create_experiment(""));
  sql(db_, "UPDATE experiments SET lifecycle_stage = 'deleted' WHERE name = 'digits'");
  EXPECT_ERROR(errc::failed_precondition, "experiment 'digits'", client_.start_run("digits"));
  EXPECT_EQ(client_.list_experiments().size(), 1U);
  EXPECT_EQ(client_.list_experiments(std::nullopt).size(), 2U);
}

TEST_F(tracked_run, runs_are_searched) {
  auto a = client_.start_run("one", {.start_time = 1000});
  auto b = client_.start_run("one", {.tags = {{"k", "v"}}, .start_time = 2000});
  auto c = client_.start_run("two", {.start_time = 3000});
  b.fail();
  EXPECT_THAT(ids(client_.search_runs()), ElementsAre(c.id(), b.id(), a.id()));
  EXPECT_THAT(ids(client_.search_runs({.order_by = {"start_time ASC"}})),
              ElementsAre(a.id(), b.id(), c.id()));
  EXPECT_THAT(ids(client_.search_runs({.experiment_ids = {a.experiment_id()}})),
              ElementsAre(b.id(), a.id()));
  EXPECT_THAT(ids(client_.search_runs({.status = run_status::failed})), ElementsAre(b.id()));
  EXPECT_THAT(ids(client_.search_runs({.tags = {{"k", "v"}}})), ElementsAre(b.id()));
  const auto first = client_.search_runs({.max_results = 1});
  EXPECT_THAT(ids(first), ElementsAre(c.id()));
  EXPECT_THAT(ids(client_.search_runs({.max_results = 1, .page_token = first.next_page_token})),
              ElementsAre(b.id()));
  EXPECT_ERROR(errc::invalid_argument, "experiment_ids",
               client_.search_runs({.experiment_ids = {"' OR 1=1 --"}}));
}

// Pages after the first come from what the search has found, unless something was written since.
TEST_F(tracked_run, pages_of_a_search_are_those_of_the_store_as_it_is) {
  std::vector<std::string> made;
  for (int i = 0; i < 7; ++i) {
    auto one = client_.start_run("pages", {.params = {{"p", std::to_string(i)}}, .start_time = i});
    made.push_back(one.id());
    one.finish();
  }
  run_query query{.filter = "params.p LIKE '%'", .order_by = {"start_time ASC"}, .max_results = 2};
  const auto next = [&] {
    const auto found = client_.search_runs(query);
    query.page_token = found.next_page_token;
    return ids(found);
  };
  EXPECT_THAT(next(), ElementsAre(made[0], made[1]));
  EXPECT_THAT(next(), ElementsAre(made[2], made[3]));
  const std::string behind_the_second = query.page_token;
  EXPECT_THAT(next(), ElementsAre(made[4], made[5]));
  EXPECT_THAT(next(), ElementsAre(made[6]));
  EXPECT_EQ(query.page_token, "");

  query.page_token = behind_the_second;
  client_.delete_run(made[0]);
  EXPECT_THAT(next(), ElementsAre(made[5], made[6])) << "one place on, as the first is gone";
  client{client_options{.uri = db_}}.restore_run(made[0]);  // by another client
  query.page_token = behind_the_second;
  EXPECT_THAT(next(), ElementsAre(made[4], made[5]));
  query.page_token = behind_the_second;
  query.filter = "params.p = '6'";
  EXPECT_THAT(next(), IsEmpty()) << "another search";
}

// Keys that most runs have are looked for by going through the table, the others by the index.
TEST_F(tracked_run, searches_find_common_keys_and_rare_ones) {
  std::vector<std::string> made;
  for (int i = 0; i < 30; ++i) {
    auto one =
        client_.start_run("keys", {.params = {{"common", std::to_string(i % 3)}}, .start_time = i});
    if (i == 4 || i == 20) one.log_param("rare", std::to_string(i));
    made.push_back(one.id());
    one.finish();
  }
  const auto found = [&](const char* filter) {
    return ids(client_.search_runs({.filter = filter, .order_by = {"start_time ASC"}}));
  };
  EXPECT_EQ(found("params.common = '1'").size(), 10U);
  EXPECT_THAT(found("params.rare = '20'"), ElementsAre(made[20]));
  EXPECT_THAT(found("params.rare LIKE '%' AND params.common = '1'"), ElementsAre(made[4]));
  EXPECT_THAT(found("params.none = '1'"), IsEmpty());
}

TEST(run_status, reads_what_it_writes) {
  for (const run_status status : {run_status::running, run_status::scheduled, run_status::finished,
                                  run_status::failed, run_status::killed}) {
    EXPECT_EQ(parse_run_status(to_string(status)), status);
  }
  EXPECT_ERROR(errc::invalid_argument, "run.status", parse_run_status("DONE"));
}

TEST_F(tracked_run, gives_its_artifacts_back) {
  auto run = client_.start_run();
  run.log_text("one", "a/one.txt");
  run.log_text("two", "a/b/two.txt");
  EXPECT_EQ(run.read_artifact("a/one.txt"), "one");
  EXPECT_EQ(client_.read_artifact(run.id(), "a/b/two.txt"), "two");
  EXPECT_ERROR(errc::resource_exhausted, "a/one.txt", run.read_artifact("a/one.txt", 2));
  EXPECT_ERROR(errc::not_found, "none", run.read_artifact("none"));
  EXPECT_ERROR(errc::not_found, "none", run.download_artifacts(folder_.path() / "out", "none"));
  EXPECT_ERROR(errc::invalid_argument, "artifact_path",
               run.download_artifacts(folder_.path() / "out", "../x"));
  EXPECT_EQ(run.download_artifacts(folder_.path() / "out", "a/b"), folder_.path() / "out" / "b");
  EXPECT_EQ(read_file(folder_.path() / "out" / "b" / "two.txt"), "two");
  client_.download_artifacts(run.id(), folder_.path() / "all");
  EXPECT_EQ(read_file(folder_.path() / "all" / "a" / "one.txt"), "one");
  run.delete_artifacts("a/b");
  run.delete_artifacts("a/b");
  EXPECT_EQ(client_.list_artifacts(run.id(), "a").size(), 1U);
}

}  // namespace
}  // namespace mizzen::tracking
