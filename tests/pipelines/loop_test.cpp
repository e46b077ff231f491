#include "steps.hpp"

#include <mutex>
#include <numeric>

namespace mizzen::pipelines {
namespace {

using namespace test;
using testing::ElementsAre;
using testing::HasSubstr;

using loops = pipeline_test;

struct sum_io {
  in<std::vector<int>> numbers;
  out<int> sum;
};
BOOST_DESCRIBE_STRUCT(sum_io, (), (numbers, sum))
void sum(sum_io& io) { io.sum = std::accumulate(io.numbers->begin(), io.numbers->end(), 0); }

struct list_io {
  int count = 3;
  out<std::vector<int>> numbers;
};
BOOST_DESCRIBE_STRUCT(list_io, (), (count, numbers))
void list(list_io& io) {
  std::vector<int> numbers(static_cast<std::size_t>(io.count));
  std::iota(numbers.begin(), numbers.end(), 1);
  io.numbers = numbers;
}

struct join_io {
  in<std::vector<dataset>> parts;
  out<dataset> whole;
};
BOOST_DESCRIBE_STRUCT(join_io, (), (parts, whole))
void join(join_io& io) {
  std::string text;
  for (const dataset& part : *io.parts) text += part.read() + ";";
  io.whole->write(text);
}

struct point {
  int x = 1;
  int y = 10;
};
BOOST_DESCRIBE_STRUCT(point, (), (x, y))

TEST_F(loops, fan_out_and_collect) {
  const pipeline p{"p", [](pipeline_builder& b) {
                     auto made = b.for_each(std::vector<std::string>{"a", "b", "c"},
                                            [&](auto text) { return b.add(make, {.text = text}); });
                     b.add(join, {.parts = b.collect(made->data)});
                     b.add(sum, {.numbers = b.collect(made->length)});
                   }};
  const run_result result = run(p, {}, options()).check();
  EXPECT_EQ(result.artifact_of("join", "whole").read(), "a;b;c;");
  EXPECT_EQ(result.value_of<int>("sum", "sum"), 3);
  EXPECT_EQ(result.artifact_of("make[1]", "data").path(), result.folder / "make" / "1" / "data");
}

TEST_F(loops, the_list_may_be_an_output_or_a_parameter) {
  const pipeline p{"p", [](pipeline_builder& b) {
                     auto numbers = b.add(list, {.count = 4});
                     auto doubled = b.for_each(
                         numbers->numbers, [&](auto n) { return b.add(add, {.a = n, .b = n}); });
                     b.add(sum, {.numbers = b.collect(doubled->sum)}).named("total");
                     b.for_each(b.parameter<std::vector<point>>("points"), [&](auto item) {
                       b.add(add, {.a = item[&point::x], .b = item[&point::y]}).named("point");
                     });
                   }};
  const json points = json::parse(R"([{"x": 5}, {"x": 1, "y": 2}])");
  const run_result result = run(p, {{"points", points}}, options()).check();
  EXPECT_EQ(result.value_of<int>("total", "sum"), 20);
  EXPECT_EQ(result.value_of<int>("point[0]", "sum"), 15) << "members left out keep their default";
  EXPECT_EQ(result.value_of<int>("point[1]", "sum"), 3);
  EXPECT_THAT(message_of([&] { static_cast<void>(run(p, {{"points", {{{"z", 5}}}}}, options())); }),
              HasSubstr("arguments.points[0].z"));
}

TEST_F(loops, an_empty_list_gives_an_empty_collection) {
  const pipeline p{"p", [](pipeline_builder& b) {
                     auto t = b.for_each(std::vector<int>{},
                                         [&](auto n) { return b.add(add, {.a = n}); });
                     b.add(sum, {.numbers = b.collect(t->sum)});
                   }};
  const run_result result = run(p, {}, options()).check();
  EXPECT_THAT(states(result), ElementsAre("sum succeeded"));
  EXPECT_EQ(result.value_of<int>("sum", "sum"), 0);
}

TEST_F(loops, nest) {
  const pipeline p{"p", [](pipeline_builder& b) {
                     auto inner = b.for_each(std::vector{1, 2}, [&](auto x) {
                       auto base = b.add(add, {.a = x}).named("base");
                       return b.for_each(std::vector{10, 20, 30}, [&](auto y) {
                         return b.add(add, {.a = base->sum, .b = y}).named("pair");
                       });
                     });
                     b.add(sum, {.numbers = b.collect(inner->sum)});
                   }};
  const run_result result = run(p, {}, options()).check();
  EXPECT_EQ(result.value_of<int>("pair[1][2]", "sum"), 32);
  EXPECT_EQ(result.value_of<int>("sum", "sum"), 3 * 3 + 2 * 60);
}

TEST_F(loops, a_collection_inside_the_outer_loop_is_of_the_inner_one) {
  const pipeline p{"p", [](pipeline_builder& b) {
                     auto sums = b.for_each(std::vector{1, 2}, [&](auto x) {
                       auto inner = b.for_each(std::vector{10, 20}, [&](auto y) {
                         return b.add(add, {.a = x, .b = y});
                       });
                       return b.add(sum, {.numbers = b.collect(inner->sum)}).named("row");
                     });
                     b.add(sum, {.numbers = b.collect(sums->sum)}).named("all");
                   }};
  const run_result result = run(p, {}, options()).check();
  EXPECT_EQ(result.value_of<int>("row[0]", "sum"), 32);
  EXPECT_EQ(result.value_of<int>("row[1]", "sum"), 34);
  EXPECT_EQ(result.value_of<int>("all", "sum"), 66);
}

TEST_F(loops, a_condition_in_a_loop_leaves_some_out) {
  const pipeline p{"p", [](pipeline_builder& b) {
                     std::optional<task<add_io>> kept;
                     b.for_each(std::vector{1, 2, 3, 4}, [&](auto n) {
                       b.when(n > 2, [&] { kept = b.add(add, {.a = n}).named("kept"); });
                     });
                     b.add(sum, {.numbers = b.collect((*kept)->sum)});
                     b.add(add, {}).named("later").after(*kept);
                   }};
  const run_result result = run(p, {}, options()).check();
  EXPECT_THAT(states(result), ElementsAre("kept[0] skipped", "kept[1] skipped", "kept[2] succeeded",
                                          "kept[3] succeeded", "sum succeeded", "later succeeded"));
  EXPECT_EQ(result.value_of<int>("sum", "sum"), 7);
}

TEST_F(loops, one_failed_iteration_stops_the_collection_only) {
  const pipeline p{"p", [](pipeline_builder& b) {
                     auto t = b.for_each(std::vector{1, 2, 3}, [&](auto n) {
                       return b.add(component{"picky",
                                              [](add_io& io) {
                                                if (io.a == 2) throw std::runtime_error("two");
                                                io.sum = *io.a;
                                              }},
                                    {.a = n});
                     });
                     b.add(sum, {.numbers = b.collect(t->sum)});
                   }};
  EXPECT_THAT(states(run(p, {}, options())), ElementsAre("picky[0] succeeded", "picky[1] failed",
                                                         "picky[2] succeeded", "sum skipped"));
}

TEST_F(loops, parallelism_bounds_the_iterations_at_once) {
  std::mutex mutex;
  std::vector<std::string> order;
  const pipeline p{"p", [&](pipeline_builder& b) {
                     b.for_each(std::vector{0, 1, 2},
                                [&](auto n) {
                                  auto first = b.add(component{"first",
                                                               [&](add_io& io, context& c) {
                                                                 const std::lock_guard lock(mutex);
                                                                 order.push_back(c.task());
                                                                 io.sum = *io.a;
                                                               }},
                                                     {.a = n});
                                  b.add(component{"second",
                                                  [&](add_io& io, context& c) {
                                                    const std::lock_guard lock(mutex);
                                                    order.push_back(c.task());
                                                    io.sum = *io.a;
                                                  }},
                                        {.a = first->sum});
                                },
                                {.parallelism = 1});
                   }};
  static_cast<void>(run(p, {}, options()).check());
  EXPECT_THAT(order, ElementsAre("first[0]", "second[0]", "first[1]", "second[1]", "first[2]",
                                 "second[2]"));
}

TEST_F(loops, a_skipped_loop_shows_as_one_skipped_task) {
  const pipeline p{"p", [](pipeline_builder& b) {
                     b.when(b.parameter<bool>("go"), [&] {
                       b.for_each(std::vector{1, 2}, [&](auto n) { b.add(add, {.a = n}); });
                     });
                   }};
  EXPECT_THAT(states(run(p, {{"go", false}}, options())), ElementsAre("add skipped"));
  EXPECT_THAT(states(run(p, {{"go", true}}, options())),
              ElementsAre("add[0] succeeded", "add[1] succeeded"));
}

TEST_F(loops, items_are_part_of_the_cache_key) {
  const auto build = [](const std::vector<int>& items) {
    return pipeline{"p", [&](pipeline_builder& b) {
                      b.for_each(items, [&](auto n) { b.add(add, {.a = n}); });
                    }};
  };
  static_cast<void>(run(build({1, 2}), {}, options()).check());
  EXPECT_THAT(states(run(build({2, 3, 1}), {}, options())),
              ElementsAre("add[0] cached", "add[1] succeeded", "add[2] cached"));
}

}  // namespace
}  // namespace mizzen::pipelines
