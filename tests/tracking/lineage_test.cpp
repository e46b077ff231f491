#include "temporary_folder.hpp"

#include <mizzen/tracking.hpp>

#include <gmock/gmock.h>

#include <vector>

namespace mizzen::tracking {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string> names(const lineage_graph& graph) {
  std::vector<std::string> out;
  for (const lineage_node& node : graph.nodes) out.push_back(node.name);
  return out;
}

class lineage_of_a_store : public testing::Test {
 protected:
  std::string node(const std::string& name, const std::string& kind = "step") {
    return lineage_.record({.kind = kind, .name = name});
  }

  temporary_folder folder_;
  client client_{client_options{.uri = folder_.file("mlflow.db")}};
  lineage lineage_ = client_.lineage();
};

TEST_F(lineage_of_a_store, a_node_is_known_by_kind_name_and_version) {
  const std::string id =
      lineage_.record({.kind = "dataset", .name = "d", .version = "1", .attributes = {{"a", "1"}}});
  EXPECT_EQ(
      lineage_.record(
          {.kind = "dataset", .name = "d", .version = "1", .attributes = {{"a", "2"}, {"b", "3"}}}),
      id);
  EXPECT_NE(lineage_.record({.kind = "dataset", .name = "d", .version = "2"}), id);
  EXPECT_NE(lineage_.record({.kind = "step", .name = "d", .version = "1"}), id);
  EXPECT_EQ(lineage_.get(id).attributes, (string_map{{"a", "2"}, {"b", "3"}}));
  EXPECT_EQ(lineage_.find("dataset", "d", "1")->id, id);
  EXPECT_FALSE(lineage_.find("dataset", "d", "3"));
  EXPECT_ERROR(errc::invalid_argument, "lineage_node.kind", lineage_.record({.name = "x"}));
  EXPECT_ERROR(errc::invalid_argument, "lineage_node.name", lineage_.record({.kind = "x"}));
  EXPECT_ERROR(errc::not_found, "lineage node 'x'", lineage_.get("x"));
}

TEST_F(lineage_of_a_store, is_followed_both_ways) {
  const std::string a = node("a"), b = node("b"), c = node("c"), d = node("d"), e = node("e");
  lineage_.link(a, b, "input");
  lineage_.link(a, c, "input");
  lineage_.link(b, d, "input");
  lineage_.link(c, d, "input");
  lineage_.link(c, d, "input");
  lineage_.link(d, e, "output");
  EXPECT_THAT(names(lineage_.upstream(d)), ElementsAre("d", "b", "c", "a"));
  EXPECT_THAT(names(lineage_.downstream(b)), ElementsAre("b", "d", "e"));
  EXPECT_EQ(lineage_.upstream(d).edges.size(), 4U);
  EXPECT_THAT(names(lineage_.all()), ElementsAre("a", "b", "c", "d", "e"));
  EXPECT_ERROR(errc::not_found, "lineage node 'x'", lineage_.link(a, "x", "input"));
  EXPECT_ERROR(errc::not_found, "lineage node 'x'", lineage_.upstream("x"));
  EXPECT_ERROR(errc::invalid_argument, "lineage_edge.to", lineage_.link(a, a, "input"));
  EXPECT_ERROR(errc::invalid_argument, "lineage_edge.relation", lineage_.link(a, e, ""));
}

TEST_F(lineage_of_a_store, prints_as_a_tree) {
  const std::string a = node("a"), b = node("b"), c = node("c"), d = node("d");
  lineage_.link(a, b, "input");
  lineage_.link(a, c, "input");
  lineage_.link(b, d, "input");
  lineage_.link(c, d, "input");
  EXPECT_EQ(to_text(lineage_.upstream(d)),
            "step d\n"
            "├─ input ← step b\n"
            "│  └─ input ← step a\n"
            "└─ input ← step c\n"
            "   └─ input ← step a\n");
  EXPECT_EQ(to_text(lineage_.downstream(a)),
            "step a\n"
            "├─ input → step b\n"
            "│  └─ input → step d\n"
            "└─ input → step c\n"
            "   └─ input → step d\n");
  node("alone");
  EXPECT_THAT(to_text(lineage_.all()), testing::EndsWith("step alone\n"));
}

TEST_F(lineage_of_a_store, ends_on_circles) {
  const std::string a = node("a"), b = node("b"), c = node("c");
  lineage_.link(a, b, "x");
  lineage_.link(b, c, "x");
  lineage_.link(c, a, "x");
  EXPECT_THAT(names(lineage_.downstream(b)), ElementsAre("b", "c", "a"));
  EXPECT_EQ(to_text(lineage_.downstream(b)),
            "step b\n"
            "└─ x → step c\n"
            "   └─ x → step a\n"
            "      └─ x → step b …\n");
}

TEST_F(lineage_of_a_store, prints_as_dot) {
  const std::string a =
      lineage_.record({.kind = "dataset", .name = "with \"quotes\"", .version = "1"});
  const std::string b = node("b");
  lineage_.link(a, b, "input");
  EXPECT_EQ(to_dot(lineage_.all()),
            "digraph lineage {\n  rankdir=LR;\n  node [shape=box];\n"
            "  \"" +
                a +
                "\" [label=\"dataset: with \\\"quotes\\\"\\n1\"];\n"
                "  \"" +
                b +
                "\" [label=\"step: b\"];\n"
                "  \"" +
                a + "\" -> \"" + b + "\" [label=\"input\"];\n}\n");
}

TEST_F(lineage_of_a_store, comes_for_free_from_data_to_model_version) {
  auto run = client_.start_run("digits", {.name = "fit"});
  run.log_input({.name = "digits", .digest = "abc"});
  run.set_tag("mlflow.runName", "renamed");  // the same node all the same
  const logged_model model = run.log_model(std::vector<std::byte>(4), {.name = "net"});
  client_.register_model("clf", model);
  const auto version = lineage_.find("model_version", "clf", "1");
  ASSERT_TRUE(version);
  EXPECT_EQ(to_text(lineage_.upstream(version->id)),
            "model_version clf 1\n"
            "└─ registered ← model net " +
                model.id +
                "\n"
                "   └─ output ← run fit " +
                run.id() +
                "\n"
                "      └─ input ← dataset digits abc\n");
}

TEST_F(lineage_of_a_store, stays_with_the_store) {
  const std::string a = node("a"), b = node("b");
  lineage_.link(a, b, "input");
  client again({.uri = folder_.file("mlflow.db")});
  EXPECT_THAT(names(again.lineage().downstream(a)), ElementsAre("a", "b"));
}

}  // namespace
}  // namespace mizzen::tracking
