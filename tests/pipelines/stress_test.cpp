#include "steps.hpp"

#include <numeric>
#include <random>

namespace mizzen::pipelines {
namespace {

using namespace test;
using stress = pipeline_test;

// A thousand tasks, each adding up to two earlier ones; the result is that of a plain loop.
TEST_F(stress, a_thousand_tasks_in_a_random_graph) {
  constexpr int count = 1000;
  std::mt19937 random(7);
  std::vector<int> expected;
  const pipeline p{
      "p", [&](pipeline_builder& b) {
        std::vector<task<add_io>> tasks;
        for (int i = 0; i < count; ++i) {
          add_io inputs{.a = i % 7};
          int sum = i % 7;
          if (i > 0) {
            const auto from = random() % static_cast<unsigned>(i);
            inputs.b = tasks[from]->sum;
            sum += expected[from] % 1000;
          }
          tasks.push_back(
              b.add([](add_io& io) { io.sum = io.a + io.b % 1000; }, inputs).cache(false));
          if (i > 1) tasks.back().after(tasks[random() % static_cast<unsigned>(i)]);
          expected.push_back(sum);
        }
      }};
  run_options four = options();
  four.parallelism = 4;
  std::size_t finished = 0;
  four.observer = [&](const event& e) {
    if (e.what != event::kind::task_finished) return;
    EXPECT_GE(e.finished, ++finished);
    EXPECT_EQ(e.known, static_cast<std::size_t>(count));
  };
  const run_result result = run(p, {}, four).check();
  EXPECT_EQ(finished, static_cast<std::size_t>(count));
  ASSERT_EQ(result.tasks.size(), static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < count; ++i) {
    EXPECT_EQ(result.tasks[i].parameters.at("sum"), expected[i]) << result.tasks[i].name;
  }
}

TEST_F(stress, random_failures_retries_and_loops) {
  std::atomic<int> calls = 0;
  const pipeline p{"p", [&](pipeline_builder& b) {
                     std::vector<int> items(100);
                     std::iota(items.begin(), items.end(), 0);
                     b.for_each(items, [&](auto n) {
                       auto first = b.add(component{"first",
                                                    [&](add_io& io, context& c) {
                                                      ++calls;
                                                      c.progress("working");
                                                      if (c.attempt() <= io.a % 3) {
                                                        throw std::runtime_error("again");
                                                      }
                                                      io.sum = *io.a;
                                                    }},
                                          {.a = n})
                                        .retry(2);
                       b.when(first->sum >= 50, [&] {
                         b.add(component{"second", [&](add_io& io) { io.sum = *io.a; }},
                               {.a = first->sum});
                       });
                     });
                   }};
  run_options four = options();
  four.parallelism = 4;
  std::atomic<int> seen = 0;
  four.observer = [&](const event&) { ++seen; };
  const run_result result = run(p, {}, four).check();
  EXPECT_EQ(result.tasks.size(), 200U);
  EXPECT_EQ(result.count(task_state::succeeded), 150U);
  EXPECT_EQ(result.count(task_state::skipped), 50U);
  EXPECT_EQ(calls, 34 * 1 + 33 * 2 + 33 * 3);
  // run started and finished; per call started and said; per retry; per task finished; second
  // started
  EXPECT_EQ(seen, 2 + calls * 2 + (33 + 66) + 200 + 50);
}

TEST_F(stress, a_long_chain_does_not_need_a_deep_stack) {
  constexpr int count = 20'000;
  const pipeline p{"p", [](pipeline_builder& b) {
                     std::optional<task<nothing_io>> last;
                     for (int i = 0; i < count; ++i) {
                       auto next = b.add(component{"link",
                                                   [](nothing_io&, context& c) {
                                                     if (c.task() == "link")
                                                       throw std::runtime_error("x");
                                                   }},
                                         {});
                       if (last) next.after(*last);
                       last = next;
                     }
                   }};
  const run_result result = run(p, {}, options());
  EXPECT_EQ(result.count(task_state::failed), 1U);
  EXPECT_EQ(result.count(task_state::skipped), static_cast<std::size_t>(count - 1));
}

}  // namespace
}  // namespace mizzen::pipelines
