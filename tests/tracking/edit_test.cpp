// Names, deletion and restoration, stages and copies, in an embedded store.
#include "temporary_folder.hpp"

#include <mizzen/tracking.hpp>

#include <gmock/gmock.h>

namespace mizzen::tracking {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class edited_store : public testing::Test {
 protected:
  std::vector<std::int64_t> latest(const std::vector<model_stage>& stages = {}) {
    std::vector<std::int64_t> numbers;
    for (const model_version& v : client_.latest_model_versions("m", stages)) {
      numbers.push_back(v.version);
    }
    return numbers;
  }

  temporary_folder folder_;
  client client_{client_options{.uri = folder_.file("mlflow.db"), .user = "tester"}};
};

TEST_F(edited_store, experiments_are_renamed_deleted_and_restored) {
  const std::string id = client_.create_experiment("a", {.tags = {{"x", "1"}}}).id;
  client_.create_experiment("taken");
  client_.rename_experiment(id, "b");
  EXPECT_EQ(client_.get_experiment(id).name, "b");
  EXPECT_ERROR(errc::already_exists, "taken", client_.rename_experiment(id, "taken"));
  client_.delete_experiment_tag(id, "x");
  EXPECT_THAT(client_.get_experiment(id).tags, IsEmpty());
  EXPECT_ERROR(errc::not_found, "x", client_.delete_experiment_tag(id, "x"));
  const std::string run_id = client_.start_run("b").id();
  client_.delete_experiment(id);
  EXPECT_EQ(client_.get_experiment(id).stage, lifecycle_stage::deleted);
  EXPECT_EQ(client_.get_run(run_id).stage, lifecycle_stage::deleted);
  EXPECT_ERROR(errc::failed_precondition, id, client_.delete_experiment(id));
  EXPECT_ERROR(errc::failed_precondition, id, client_.rename_experiment(id, "c"));
  client_.restore_experiment(id);
  EXPECT_EQ(client_.get_run(run_id).stage, lifecycle_stage::active);
  EXPECT_ERROR(errc::not_found, "77", client_.delete_experiment("77"));
}

TEST_F(edited_store, runs_are_renamed_deleted_and_restored) {
  const std::string id = client_.start_run().id();
  client_.rename_run(id, "better");
  EXPECT_EQ(client_.get_run(id).name, "better");
  EXPECT_EQ(client_.get_run(id).tags.at("mlflow.runName"), "better");
  client_.delete_run(id);
  EXPECT_EQ(client_.get_run(id).stage, lifecycle_stage::deleted);
  EXPECT_ERROR(errc::failed_precondition, id, client_.rename_run(id, "x"));
  client_.restore_run(id);
  EXPECT_EQ(client_.get_run(id).stage, lifecycle_stage::active);
  EXPECT_ERROR(errc::not_found, "none", client_.delete_run("none"));
}

TEST_F(edited_store, registered_models_are_renamed_described_and_deleted) {
  client_.create_registered_model("m", {.tags = {{"x", "1"}, {"y", "2"}}});
  client_.register_model("m", "/somewhere", {.tags = {{"t", "1"}}});
  client_.set_model_alias("m", "best", 1);
  EXPECT_EQ(client_.update_registered_model("m", "new words").description, "new words");
  client_.delete_registered_model_tag("m", "x");
  client_.create_registered_model("taken");
  EXPECT_ERROR(errc::already_exists, "taken", client_.rename_registered_model("m", "taken"));
  EXPECT_EQ(client_.rename_registered_model("m", "n").tags, (string_map{{"y", "2"}}));
  const model_version moved = client_.get_model_version_by_alias("n", "best");
  EXPECT_EQ(moved.tags, (string_map{{"t", "1"}}));
  EXPECT_ERROR(errc::not_found, "m", client_.get_registered_model("m"));
  client_.delete_registered_model("n");
  EXPECT_ERROR(errc::not_found, "n", client_.get_registered_model("n"));
  EXPECT_ERROR(errc::not_found, "n", client_.delete_registered_model("n"));
}

TEST_F(edited_store, versions_move_through_stages_and_away) {
  for (int i = 0; i < 3; ++i) client_.register_model("m", "/somewhere", {.tags = {{"t", "1"}}});
  EXPECT_THAT(latest(), ElementsAre(3));
  client_.transition_model_version("m", 1, model_stage::production);
  EXPECT_EQ(client_.transition_model_version("m", 2, model_stage::production, true).stage,
            model_stage::production);
  EXPECT_EQ(client_.get_model_version("m", 1).stage, model_stage::archived);
  EXPECT_THAT(latest(), ElementsAre(3, 2, 1));
  EXPECT_THAT(latest({model_stage::production}), ElementsAre(2));
  EXPECT_ERROR(errc::invalid_argument, "archive_existing",
               client_.transition_model_version("m", 1, model_stage::none, true));
  EXPECT_EQ(client_.update_model_version("m", 3, "third").description, "third");
  client_.delete_model_version_tag("m", 3, "t");
  EXPECT_THAT(client_.get_model_version("m", 3).tags, IsEmpty());
  EXPECT_EQ(client_.model_version_download_uri("m", 3), "/somewhere");

  const model_version copy = client_.copy_model_version("m", 2, "other");
  EXPECT_EQ(copy.name, "other");
  EXPECT_EQ(copy.source, "models:/m/2");
  EXPECT_EQ(copy.location, "/somewhere");
  EXPECT_EQ(copy.tags, (string_map{{"t", "1"}}));
  EXPECT_EQ(copy.stage, model_stage::none);

  client_.set_model_alias("m", "best", 3);
  client_.delete_model_version("m", 3);
  EXPECT_ERROR(errc::not_found, "m", client_.get_model_version("m", 3));
  EXPECT_THAT(client_.get_registered_model("m").aliases, IsEmpty());
  EXPECT_ERROR(errc::not_found, "m 3", client_.delete_model_version("m", 3));
  EXPECT_EQ(client_.register_model("m", "/somewhere").version, 4);
}

TEST_F(edited_store, logged_models_are_tagged_and_deleted) {
  auto run = client_.start_run();
  const std::string id =
      run.log_model(std::as_bytes(std::span(std::string_view("x"))), {.name = "model"}).id;
  client_.set_logged_model_tag(id, "a", "b");
  EXPECT_EQ(client_.get_logged_model(id).tags.at("a"), "b");
  client_.delete_logged_model_tag(id, "a");
  EXPECT_ERROR(errc::not_found, "a", client_.delete_logged_model_tag(id, "a"));
  client_.delete_logged_model(id);
  EXPECT_ERROR(errc::not_found, id, client_.get_logged_model(id));
  EXPECT_ERROR(errc::not_found, id, client_.set_logged_model_tag(id, "a", "b"));
}

}  // namespace
}  // namespace mizzen::tracking
