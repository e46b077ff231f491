// A pipeline of typed steps: fit one model per learning rate side by side, keep the best, publish
// it if it is good enough. Run it twice: the second run takes the fits from the cache.
#include <mizzen/pipelines.hpp>

#include <algorithm>
#include <iostream>

namespace mz = mizzen;

struct fit_io {
  double rate = 0.1;     // a constant
  mz::in<int> seed = 1;  // a constant or wired
  mz::out<mz::model> model;
  mz::out<double> score;
};
BOOST_DESCRIBE_STRUCT(fit_io, (), (rate, seed, model, score))
void fit(fit_io& io) {
  io.model->write("weights of seed " + std::to_string(*io.seed));
  io.score = 1.0 - io.rate / *io.seed;
}

struct best_io {
  mz::in<std::vector<double>> scores;
  mz::out<double> score;
};
BOOST_DESCRIBE_STRUCT(best_io, (), (scores, score))
void best(best_io& io) { io.score = *std::max_element(io.scores->begin(), io.scores->end()); }

struct publish_io {
  mz::in<double> score;
};
BOOST_DESCRIBE_STRUCT(publish_io, (), (score))
void publish(publish_io& io) { std::cout << "published with score " << *io.score << '\n'; }

int main() {
  // --8<-- [start:readme]
  const mz::pipeline search{
      "search", [](mz::pipeline_builder& p) {
        auto seeds = p.parameter<std::vector<int>>("seeds", {1, 2, 5});
        auto fits = p.for_each(
            seeds, [&](auto seed) { return p.add(fit, {.rate = 0.2, .seed = seed}).retry(2); });
        auto top = p.add(best, {.scores = p.collect(fits->score)});
        p.when(top->score > 0.9, [&] { p.add(publish, {.score = top->score}); });
      }};
  // --8<-- [end:readme]
  std::cout << to_mermaid(search.graph());
  const auto root = std::filesystem::temp_directory_path() / "mizzen-example-pipelines";
  for (int i = 0; i < 2; ++i) {
    mz::pipelines::run(search, {}, {.root = root, .observer = mz::pipelines::progress_printer()})
        .check();
  }
}
