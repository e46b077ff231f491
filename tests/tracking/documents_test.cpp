#include "temporary_folder.hpp"
#include "tracking/table_json.hpp"
#include "tracking/yaml.hpp"

#include <mizzen/core/json.hpp>
#include <mizzen/tracking/figure.hpp>

#include <gmock/gmock.h>

#include <cmath>
#include <thread>
#include <vector>

namespace mizzen::tracking {
namespace {

TEST(yaml, block_style) {
  EXPECT_EQ(detail::to_yaml({{"a", 1}, {"b", {1.5, "x y", nullptr}}, {"c", {{"d", true}}}}),
            "a: 1\nb:\n  - 1.5\n  - x y\n  - null\nc:\n  d: true\n");
  EXPECT_EQ(detail::to_yaml(json::array({{{"a", 1}, {"b", 2}}, json::array({1, 2})})),
            "- a: 1\n  b: 2\n- - 1\n  - 2\n");
  EXPECT_EQ(detail::to_yaml(json::object()), "{}\n");
  EXPECT_EQ(detail::to_yaml("no"), "\"no\"\n");
  EXPECT_EQ(detail::to_yaml(1e-5), "1.0e-05\n");
  EXPECT_EQ(detail::to_yaml(std::nan("")), ".nan\n");
  EXPECT_EQ(detail::to_yaml("\x01\n\"\xc2\x85"), "\"\\x01\\n\\\"\\x85\"\n");
  EXPECT_ERROR(errc::invalid_argument, "value", detail::to_yaml("\xff"));
  json deep = 1;
  for (int i = 0; i < 300; ++i) deep = json::array({deep});
  EXPECT_ERROR(errc::invalid_argument, "value", detail::to_yaml(deep));
}

TEST(tables, are_rows_below_columns) {
  const json first = detail::table_to_json({{"a", {1, "x"}}, {"b", {true, 0.5}}});
  EXPECT_EQ(first, json::parse(R"({"columns": ["a", "b"], "data": [[1, true], ["x", 0.5]]})"));
  const json more = detail::table_to_json({{"c", {std::nan("")}}, {"a", {7U}}});
  EXPECT_EQ(
      detail::concatenated(first, more),
      json::parse(
          R"({"columns": ["a", "b", "c"], "data": [[1, true, null], ["x", 0.5, null], [7, null, null]]})"));
  EXPECT_ERROR(errc::invalid_argument, "table", detail::table_to_json({}));
  EXPECT_ERROR(errc::invalid_argument, "'a'", detail::table_to_json({{"a", {1}}, {"a", {2}}}));
  EXPECT_ERROR(errc::invalid_argument, "'b'", detail::table_to_json({{"a", {1}}, {"b", {}}}));
  for (const char* text :
       {"", "[]", "{\"columns\": 1, \"data\": []}", "{\"columns\": [\"a\"], \"data\": [[1, 2]]}",
        "{\"columns\": [\"a\", \"a\"], \"data\": []}"}) {
    EXPECT_ERROR(errc::data_loss, "it", detail::parse_table(text, "it"));
  }
}

TEST(documents, are_artifacts) {
  const temporary_folder folder;
  auto run = client({.uri = folder.file("mlflow.db")}).start_run();
  EXPECT_ERROR(errc::invalid_argument, "artifact_file", run.log_table({{"a", {1}}}, "a.csv"));
  EXPECT_ERROR(errc::invalid_argument, "artifact_file", run.log_table({{"a", {1}}}, "../a.json"));
  EXPECT_ERROR(errc::invalid_argument, "artifact_file",
               run.log_figure(draw(confusion_matrix({"a"})), "a.jpg"));
  EXPECT_ERROR(errc::invalid_argument, "table", run.log_table({{"a", {"\xff"}}}, "a.json"));
  run.log_text("not a table", "b.json");
  EXPECT_ERROR(errc::data_loss, "b.json", run.log_table({{"a", {1}}}, "b.json"));
  EXPECT_EQ(read_file(run.artifact_directory() / "b.json"), "not a table");
  run.log_figure(draw(confusion_matrix({"a"})), "c.png");
  EXPECT_TRUE(read_file(run.artifact_directory() / "c.png").starts_with("\x89PNG\r\n"));
  EXPECT_FALSE(run.get().tags.contains("mlflow.loggedArtifacts"));
}

TEST(documents, many_threads_add_to_one_table) {
  const temporary_folder folder;
  auto run = client({.uri = folder.file("mlflow.db")}).start_run();
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      for (int j = 0; j < 5; ++j) run.log_table({{"thread", {i}}, {"row", {j}}}, "t.json");
    });
  }
  for (auto& thread : threads) thread.join();
  const json table = json::parse(read_file(run.artifact_directory() / "t.json"));
  EXPECT_EQ(table["data"].size(), 20U);
  EXPECT_EQ(run.get().tags["mlflow.loggedArtifacts"], R"([{"path":"t.json","type":"table"}])");
}

}  // namespace
}  // namespace mizzen::tracking
