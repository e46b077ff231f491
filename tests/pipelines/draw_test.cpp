#include "steps.hpp"

namespace mizzen::pipelines {
namespace {

using namespace test;

const pipeline& drawn() {
  static const pipeline p{
      "drawn", [](pipeline_builder& b) {
        auto name = b.parameter<std::string>("name", "x");
        auto data = b.add(make, {});
        auto fits =
            b.for_each(std::vector{0.1, 0.2},
                       [&](auto rate) { return b.add(train, {.data = data->data, .rate = rate}); },
                       {.parallelism = 1});
        static_cast<void>(fits);
        b.when(name == "a\"b<c>\\", [&] { b.add(add, {}).after(data); });
      }};
  return p;
}

TEST(drawing, dot_has_clusters_edges_and_escapes) {
  EXPECT_EQ(to_dot(drawn().graph()), R"(digraph "drawn" {
  rankdir=TB;
  node [shape=box, style=rounded];
  t0 [label="make"];
  subgraph "cluster_g1" {
    label="for each of [0.1,0.2], 1 at once";
    style="rounded,bold";
    g1 [label="for each", shape=hexagon];
    t1 [label="train"];
  }
  subgraph "cluster_g2" {
    label="if name == \"a\\\"b<c>\\\\\"";
    style="rounded,dashed";
    g2 [label="if", shape=diamond];
    t2 [label="add"];
  }
  t0 -> t1 [label="data"];
  t0 -> t2 [style=dashed];
}
)");
}

TEST(drawing, mermaid_has_subgraphs_edges_and_escapes) {
  EXPECT_EQ(to_mermaid(drawn().graph()), R"(flowchart TB
  t0["make"]
  subgraph g1["for each of [0.1,0.2], 1 at once"]
    t1["train"]
  end
  subgraph g2["if name == #34;a#92;#34;b#60;c#62;#92;#92;#34;"]
    t2["add"]
  end
  t0 -->|"data"| t1
  t0 -.-> t2
)");
}

}  // namespace
}  // namespace mizzen::pipelines
