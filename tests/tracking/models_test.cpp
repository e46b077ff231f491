// Logged models and the registry. That MLflow loads them is checked by mlflow_test.py.
#include "temporary_folder.hpp"
#include "tracking/model_folder.hpp"

#include <mizzen/core/json.hpp>
#include <mizzen/tracking.hpp>

#include <gmock/gmock.h>

#include <cmath>
#include <thread>
#include <vector>

namespace mizzen::tracking {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class models : public testing::Test {
 protected:
  logged_model log(const model_options& options = {}) { return run_.log_model(bytes_, options); }

  temporary_folder folder_;
  std::string db_ = folder_.file("mlflow.db");
  client client_{client_options{.uri = db_}};
  run run_ = client_.start_run("digits", {.params = {{"rate", "0.1"}}});
  std::vector<std::byte> bytes_ = {std::byte{8}, std::byte{9}};
};

TEST_F(models, are_logged_as_mlflow_3_does) {
  run_.log_metric("accuracy", 0.97, {.step = 4});
  const logged_model model = log({.name = "net", .params = {{"depth", "3"}}, .tags = {{"t", "v"}}});
  EXPECT_THAT(model.id, testing::MatchesRegex("m-[0-9a-f]+"));
  EXPECT_EQ(model.uri, "models:/" + model.id);
  EXPECT_EQ(model.run_id, run_.id());
  const auto folder =
      folder_.path() / "mlruns" / run_.experiment_id() / "models" / model.id / "artifacts";
  EXPECT_EQ(model.artifact_location, folder.string());
  EXPECT_EQ(read_file(folder / "model.onnx"), "\x08\x09");
  EXPECT_THAT(read_file(folder / "MLmodel"), HasSubstr("loader_module: mlflow.onnx"));
  EXPECT_THAT(read_file(folder / "MLmodel"), HasSubstr("model_id: " + model.id));
  EXPECT_THAT(run_.get().model_ids, ElementsAre(model.id));
  EXPECT_EQ(client_.get_logged_model(model.id).name, "net");
  EXPECT_EQ(client_.get_logged_model(model.id).tags.at("t"), "v");
  EXPECT_EQ(client_.list_logged_models(run_.id()).size(), 1U);
  EXPECT_EQ(sql(db_, "SELECT status FROM logged_models"), "2");
  EXPECT_EQ(sql(db_,
                "SELECT group_concat(param_key || '=' || param_value) FROM (SELECT * FROM "
                "logged_model_params ORDER BY param_key)"),
            "depth=3,rate=0.1");
  EXPECT_EQ(sql(db_, "SELECT metric_value FROM logged_model_metrics"), "0.97");
}

TEST_F(models, come_from_files_too) {
  write_file(folder_.path() / "some.onnx", "onnx bytes");
  const logged_model model = run_.log_model(folder_.path() / "some.onnx");
  EXPECT_EQ(read_file(std::filesystem::path(model.artifact_location) / "model.onnx"), "onnx bytes");
  EXPECT_ERROR(errc::not_found, "none.onnx", run_.log_model(folder_.path() / "none.onnx"));
}

TEST_F(models, options_are_checked_before_anything_is_written) {
  EXPECT_ERROR(errc::invalid_argument, "model.name", log({.name = ""}));
  EXPECT_ERROR(errc::invalid_argument, "model.name", log({.name = "a/b"}));
  EXPECT_ERROR(errc::invalid_argument, "model.signature.inputs[1].dtype",
               log({.signature = {.inputs = {{"a"}, {"b", "float99"}}}}));
  EXPECT_ERROR(errc::invalid_argument, "model.signature.outputs[0].shape",
               log({.signature = {.outputs = {{"a", "float32", {-2}}}}}));
  EXPECT_ERROR(errc::invalid_argument, "model.signature.inputs[0].name",
               log({.signature = {.inputs = {{""}, {"b"}}}}));
  EXPECT_EQ(sql(db_, "SELECT count(*) FROM logged_models"), "0");
}

TEST_F(models, that_could_not_be_written_are_marked_so) {
  write_file(folder_.path() / "mlruns", "a file where a folder must be");
  EXPECT_ERROR(errc::failed_precondition, "artifact", log());
  EXPECT_EQ(sql(db_, "SELECT status FROM logged_models"), "3");
  EXPECT_THAT(run_.get().model_ids, IsEmpty());
}

TEST_F(models, are_registered_in_versions) {
  const logged_model model = log();
  const model_version first =
      client_.register_model("clf", model, {.description = "d", .tags = {{"a", "b"}}});
  EXPECT_EQ(first.version, 1);
  EXPECT_EQ(first.status, "READY");
  EXPECT_EQ(first.source, model.uri);
  EXPECT_EQ(first.location, model.artifact_location);
  EXPECT_EQ(first.run_id, run_.id());
  EXPECT_EQ(first.description, "d");
  EXPECT_EQ(first.tags, (string_map{{"a", "b"}}));
  EXPECT_EQ(client_.register_model("clf", "runs:/" + run_.id() + "/model").source, model.uri);
  run_.log_text("x", "plain/MLmodel");
  const model_version plain = client_.register_model("clf", "runs:/" + run_.id() + "/plain");
  EXPECT_EQ(plain.location, (run_.artifact_directory() / "plain").string());
  EXPECT_EQ(plain.run_id, run_.id());
  EXPECT_EQ(client_.register_model("clf", folder_.path().string()).location, folder_.path());

  std::vector<std::int64_t> versions;
  for (const model_version& v : client_.list_model_versions("clf")) versions.push_back(v.version);
  EXPECT_THAT(versions, ElementsAre(4, 3, 2, 1));
  EXPECT_EQ(json::parse(client_.get_logged_model(model.id).tags.at("mlflow.modelVersions")),
            json::parse(R"([{"name": "clf", "version": 1}, {"name": "clf", "version": 2}])"));

  EXPECT_ERROR(errc::not_found, "logged model 'm-0'", client_.register_model("clf", "models:/m-0"));
  EXPECT_ERROR(errc::not_found, "run 'x'", client_.register_model("clf", "runs:/x/model"));
  EXPECT_ERROR(errc::invalid_argument, "source", client_.register_model("clf", ""));
  EXPECT_ERROR(errc::invalid_argument, "source",
               client_.register_model("clf", "runs:/" + run_.id() + "/../.."));
  EXPECT_ERROR(errc::invalid_argument, "registered_model.name",
               client_.register_model("a/b", model));
  EXPECT_ERROR(errc::not_found, "model version 'clf' 9", client_.get_model_version("clf", 9));
  EXPECT_EQ(client_.list_model_versions("clf").size(), 4U);
}

TEST_F(models, have_aliases_and_tags) {
  const logged_model model = log();
  client_.register_model("clf", model);
  client_.register_model("clf", model);
  client_.set_model_alias("clf", "champion", 1);
  client_.set_model_alias("clf", "first", 1);
  EXPECT_THAT(client_.get_model_version("clf", 1).aliases, ElementsAre("champion", "first"));
  client_.set_model_alias("clf", "champion", 2);
  EXPECT_EQ(client_.get_model_version_by_alias("clf", "champion").version, 2);
  client_.delete_model_alias("clf", "champion");
  EXPECT_ERROR(errc::not_found, "alias 'champion'",
               client_.get_model_version_by_alias("clf", "champion"));
  EXPECT_ERROR(errc::not_found, "model version", client_.set_model_alias("clf", "x", 3));
  for (const char* alias : {"", "latest", "Latest", "v1", "V22", "a b", "a/b"}) {
    EXPECT_ERROR(errc::invalid_argument, "alias", client_.set_model_alias("clf", alias, 1));
  }
  client_.set_registered_model_tag("clf", "task", "a");
  client_.set_registered_model_tag("clf", "task", "b");
  client_.set_model_version_tag("clf", 2, "checked", "yes");
  const registered_model registered = client_.get_registered_model("clf");
  EXPECT_EQ(registered.tags, (string_map{{"task", "b"}}));
  EXPECT_EQ(registered.aliases, (std::map<std::string, std::int64_t>{{"first", 1}}));
  EXPECT_EQ(client_.get_model_version("clf", 2).tags, (string_map{{"checked", "yes"}}));
  EXPECT_ERROR(errc::not_found, "registered model 'none'",
               client_.set_registered_model_tag("none", "a", "b"));
}

TEST_F(models, are_registered_by_name) {
  client_.create_registered_model("b", {.description = "d", .tags = {{"x", "y"}}});
  client_.create_registered_model("a");
  EXPECT_ERROR(errc::already_exists, "registered model 'a'", client_.create_registered_model("a"));
  EXPECT_EQ(client_.get_registered_model("b").description, "d");
  EXPECT_EQ(client_.list_registered_models().size(), 2U);
  EXPECT_EQ(client_.list_registered_models()[0].name, "a");
  EXPECT_ERROR(errc::not_found, "registered model 'c'", client_.list_model_versions("c"));
  EXPECT_THAT(client_.list_model_versions("a"), IsEmpty());
}

TEST_F(models, get_distinct_versions_from_many_threads) {
  const logged_model model = log();
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int k = 0; k < 5; ++k) client_.register_model("clf", model);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(client_.list_model_versions("clf").front().version, 20);
}

TEST_F(models, are_made_without_files) {
  const std::string experiment = run_.experiment_id();
  const logged_model made = client_.create_logged_model(experiment, {.name = "net",
                                                                     .run_id = run_.id(),
                                                                     .model_type = "cnn",
                                                                     .params = {{"a", "1"}},
                                                                     .tags = {{"t", "v"}}});
  EXPECT_EQ(made.status, logged_model_status::pending);
  EXPECT_EQ(made.model_type, "cnn");
  EXPECT_EQ(made.run_id, run_.id());
  client_.log_model_params(made.id, {{"b", "2"}});
  EXPECT_ERROR(errc::already_exists, "model.params.a",
               client_.log_model_params(made.id, {{"a", "2"}, {"c", "3"}}));
  const std::vector<metric> points = {{"acc", 0.5, 1, 100}, {"acc", 0.6, 2, 200}};
  client_.log_model_metrics(made.id, run_.id(), points, {.name = "test", .digest = "d1"});
  client_.log_model_metrics(made.id, run_.id(), points, {.name = "test", .digest = "d1"});
  const std::vector<metric> nan = {{"acc", std::nan(""), 1, 100}};
  EXPECT_ERROR(errc::invalid_argument, "metric.value",
               client_.log_model_metrics(made.id, run_.id(), nan));
  EXPECT_ERROR(errc::invalid_argument, "model.status",
               client_.finalize_logged_model(made.id, logged_model_status::pending));
  const logged_model done = client_.finalize_logged_model(made.id, logged_model_status::ready);
  EXPECT_EQ(done.status, logged_model_status::ready);
  EXPECT_EQ(done.params, (string_map{{"a", "1"}, {"b", "2"}}));
  ASSERT_EQ(done.metrics.size(), 2U);
  EXPECT_EQ(done.metrics[1].value, 0.6);
  EXPECT_EQ(done.metrics[1].dataset_name, "test");
  EXPECT_EQ(done.metrics[1].run_id, run_.id());
  EXPECT_EQ(client_.metric_history(run_.id(), "acc").size(), 2U);
  EXPECT_ERROR(errc::not_found, "m-none",
               client_.finalize_logged_model("m-none", logged_model_status::ready));
  EXPECT_ERROR(errc::not_found, "experiment 99", client_.create_logged_model("99"));
  client_.delete_logged_model(made.id);
  EXPECT_ERROR(errc::not_found, made.id, client_.log_model_params(made.id, {{"d", "4"}}));
}

TEST(yaml_quoted, escapes_what_yaml_could_not_read_back) {
  EXPECT_EQ(detail::yaml_quoted("plain: é 😀"), "\"plain: é 😀\"");
  EXPECT_EQ(detail::yaml_quoted("a\"b\\c\n\x7f"), "\"a\\\"b\\\\c\\u000a\\u007f\"");
  EXPECT_EQ(detail::yaml_quoted("\u2028\u0085"), "\"\\u2028\\u0085\"");
}

TEST_F(models, move_between_stages) {
  client_.register_model("staged", "/somewhere/1");
  client_.register_model("staged", "/somewhere/2");
  EXPECT_EQ(client_.get_model_version("staged", 1).stage, model_stage::none);
  EXPECT_TRUE(client_.stage_history("staged").empty());
  const auto move = [&](std::int64_t version, model_stage to, bool archive_existing = false) {
    return client_.transition_model_version("staged", version, to, archive_existing).stage;
  };
  EXPECT_EQ(move(1, model_stage::production), model_stage::production);
  EXPECT_EQ(move(1, model_stage::production), model_stage::production);  // no move
  EXPECT_EQ(move(2, model_stage::production, true), model_stage::production);
  EXPECT_EQ(client_.get_model_version("staged", 1).stage, model_stage::archived);
  const auto all = client_.stage_history("staged");
  ASSERT_EQ(all.size(), 3U);
  EXPECT_EQ(all[0].from, model_stage::none);
  EXPECT_EQ(all[0].to, model_stage::production);
  EXPECT_EQ(all[1].version, 1);
  EXPECT_EQ(all[1].from, model_stage::production);
  EXPECT_EQ(all[1].to, model_stage::archived);
  EXPECT_EQ(all[2].version, 2);
  EXPECT_FALSE(all[2].user.empty());
  EXPECT_GT(all[2].time, 0);
  EXPECT_EQ(client_.stage_history("staged", 2).size(), 1U);
  EXPECT_ERROR(errc::invalid_argument, "archive", move(1, model_stage::none, true));
  EXPECT_ERROR(errc::not_found, "version 9", move(9, model_stage::staging));
  EXPECT_ERROR(errc::not_found, "9", client_.get_model_version("staged", 9));
  EXPECT_EQ(client_.stage_history("staged").size(), 3U);
}

}  // namespace
}  // namespace mizzen::tracking
