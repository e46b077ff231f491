#include "temporary_folder.hpp"

#include <mizzen/core/json.hpp>
#include <mizzen/tracking/lineage_export.hpp>

#include <gmock/gmock.h>

#include <string>

namespace mizzen::tracking {
namespace {

class lineage_export : public testing::Test {
 protected:
  const temporary_folder folder_;
  client client_{{.uri = folder_.file("mlflow.db")}};
};

TEST_F(lineage_export, an_empty_store) {
  EXPECT_EQ(to_openlineage(client_), "");
  EXPECT_EQ(export_mlmd(client_, folder_.file("mlmd.db")).executions, 0U);
  EXPECT_EQ(sql(folder_.file("mlmd.db"), "SELECT schema_version FROM MLMDEnv"), "10");
  EXPECT_ERROR(errc::already_exists, "mlmd.db", export_mlmd(client_, folder_.file("mlmd.db")));
  EXPECT_ERROR(errc::invalid_argument, "file", export_mlmd(client_, ""));
  EXPECT_ERROR(errc::not_found, "run", to_openlineage(client_, {.run_ids = {"nobody"}}));
}

TEST_F(lineage_export, events_are_in_the_order_of_time) {
  auto later = client_.start_run("a", {.start_time = 2000, .facts = recorded_facts::none});
  auto first = client_.start_run("b", {.start_time = 1000, .facts = recorded_facts::none});
  first.finish();
  const auto events = openlineage_events(
      client_, {.run_ids = {later.id(), first.id()}, .job_namespace = "n", .producer = "urn:x"});
  ASSERT_EQ(events.size(), 3U);
  EXPECT_EQ(events[0]["eventTime"], "1970-01-01T00:00:01.000Z");
  EXPECT_EQ(events[0]["eventType"], "START");
  EXPECT_EQ(events[0]["job"]["name"], "b");
  EXPECT_EQ(events[0]["job"]["namespace"], "n");
  EXPECT_EQ(events[0]["producer"], "urn:x");
  EXPECT_EQ(events[1]["job"]["name"], "a");
  EXPECT_EQ(events[2]["eventType"], "COMPLETE");
  std::string id = events[2]["run"]["runId"];
  std::erase(id, '-');
  EXPECT_EQ(id, first.id());
}

TEST_F(lineage_export, names_that_are_taken_or_long_stay_apart) {
  lineage graph = client_.lineage();
  const std::string name(300, 'x');
  graph.record({.kind = "thing", .name = name, .version = "1"});
  graph.record({.kind = "thing", .name = name, .version = "2"});
  graph.record({.kind = "thing", .name = "a", .version = "b c"});
  graph.record({.kind = "thing", .name = "a b", .version = "c"});
  EXPECT_EQ(export_mlmd(client_, folder_.file("mlmd.db")).artifacts, 4U);
  EXPECT_EQ(sql(folder_.file("mlmd.db"), "SELECT count(DISTINCT name) FROM Artifact"), "4");
}

}  // namespace
}  // namespace mizzen::tracking
