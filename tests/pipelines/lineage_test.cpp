#include "steps.hpp"

#include <mizzen/tracking/client.hpp>

#include <algorithm>

namespace mizzen::pipelines {
namespace {

using namespace test;
using testing::ElementsAre;

class lineage : public pipeline_test {
 protected:
  lineage() { std::filesystem::create_directories(root); }

  static pipeline build() {
    return {"p", [](pipeline_builder& b) {
              auto data = b.add(make, {});
              b.add(train, {.data = data->data});
              b.add(component{"show",
                              [](train_io& io, context& c) {
                                io.model->write(c.lineage_node());
                                io.score = 1;
                              }},
                    {.data = data->data})
                  .cache(false);
            }};
  }

  // "kind name -relation-> kind name", sorted.
  std::vector<std::string> arrows() const {
    const tracking::lineage_graph all = client().lineage().all();
    const auto text = [&](const std::string& id) {
      const auto node = std::find_if(all.nodes.begin(), all.nodes.end(),
                                     [&](const auto& each) { return each.id == id; });
      return node->kind + " " + node->name;
    };
    std::vector<std::string> lines;
    for (const auto& edge : all.edges) {
      lines.push_back(text(edge.from) + " -" + edge.relation + "-> " + text(edge.to));
    }
    std::sort(lines.begin(), lines.end());
    return lines;
  }

  tracking::client client() const { return tracking::client((root / "lineage.db").string()); }
};

TEST_F(lineage, goes_from_artifact_through_step_to_artifact) {
  const tracking::client store = client();
  run_options tracked = options();
  tracked.tracking = &store;
  const run_result first = run(build(), {}, tracked).check();
  EXPECT_EQ(first.lineage_error, "");
  const auto expected = ElementsAre(
      "dataset p/make.data -input-> step p/show", "dataset p/make.data -input-> step p/train",
      "step p/make -output-> dataset p/make.data", "step p/show -output-> model p/show.model",
      "step p/train -output-> model p/train.model");
  EXPECT_THAT(arrows(), expected);

  // The step was told its node; the model's version is the digest of its content.
  const auto node = store.lineage().get(first.artifact_of("show", "model").read());
  EXPECT_EQ(node.kind, "step");
  EXPECT_EQ(node.version, first.run_id) << "a step that is not cached is told apart by its run";
  const auto step = store.lineage().find("step", "p/train", first.task("train").cache_key);
  ASSERT_TRUE(step);
  EXPECT_EQ(store.lineage().upstream(step->id).nodes.size(), 3U);

  // A second run takes the first two from the cache: the same nodes again, and a new `show`.
  static_cast<void>(run(build(), {}, tracked).check());
  EXPECT_EQ(store.lineage().all().nodes.size(), 6U + 2U);
}

TEST_F(lineage, without_a_client_a_step_has_no_node) {
  const run_result result = run(build(), {}, options()).check();
  EXPECT_EQ(result.artifact_of("show", "model").read(), "");
}

}  // namespace
}  // namespace mizzen::pipelines
