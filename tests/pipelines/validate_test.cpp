#include "steps.hpp"

namespace mizzen::pipelines {
namespace {

using namespace test;
using testing::HasSubstr;

// What is wrong with the pipeline that body builds.
std::string refusal(const std::function<void(pipeline_builder&)>& body) {
  return message_of([&] { pipeline("p", body); });
}

struct many_io {
  in<std::vector<int>> numbers;
  in<std::vector<dataset>> data;
};
BOOST_DESCRIBE_STRUCT(many_io, (), (numbers, data))
void many(many_io&) {}

struct numbers_io {
  in<std::vector<int>> numbers;
};
BOOST_DESCRIBE_STRUCT(numbers_io, (), (numbers))
void numbers(numbers_io&) {}

TEST(validation, a_required_input_is_named) {
  EXPECT_THAT(refusal([](pipeline_builder& b) { b.add(train, {}).named("fit"); }),
              HasSubstr("fit.data: the input artifact is not wired"));
  EXPECT_THAT(refusal([](pipeline_builder& b) { b.add(many, {}); }),
              HasSubstr("many.numbers: the input has no default"));
}

TEST(validation, names_can_be_folders) {
  EXPECT_THAT(message_of([] { pipeline("a/b", [](pipeline_builder&) {}); }),
              HasSubstr("pipeline.name"));
  EXPECT_THAT(message_of([] { pipeline("cache", [](pipeline_builder&) {}); }),
              HasSubstr("folder of the cache"));
  EXPECT_THAT(refusal([](pipeline_builder& b) { b.add(make, {}).named(".."); }),
              HasSubstr("'..' cannot be a name"));
}

TEST(validation, an_unused_parameter_is_named) {
  EXPECT_THAT(refusal([](pipeline_builder& b) { b.parameter<int>("epochs", 3); }),
              HasSubstr("epochs: the pipeline parameter is not used"));
}

TEST(validation, a_circle_is_shown) {
  const std::string text = refusal([](pipeline_builder& b) {
    auto one = b.add(add, {}).named("one");
    auto two = b.add(add, {.a = one->sum}).named("two");
    auto three = b.add(add, {}).named("three").after(two);
    b.add(add, {}).named("apart");
    one.after(three);
  });
  EXPECT_THAT(text, HasSubstr("waits for itself"));
  EXPECT_THAT(text, HasSubstr("one -> two"));
  EXPECT_THAT(text, testing::Not(HasSubstr("apart")));
  EXPECT_THAT(refusal([](pipeline_builder& b) {
                auto self = b.add(add, {});
                self.after(self);
              }),
              HasSubstr("add -> add"));
}

TEST(validation, a_condition_cannot_wait_for_what_it_decides) {
  EXPECT_THAT(refusal([](pipeline_builder& b) {
                auto decides = b.add(add, {}).named("decides");
                b.when(decides->sum > 0, [&] { decides.after(b.add(add, {}).named("inner")); });
              }),
              HasSubstr("waits for itself"));
}

TEST(validation, a_loop_cannot_wait_for_its_own_collection) {
  EXPECT_THAT(refusal([](pipeline_builder& b) {
                auto outer = b.add(add, {}).named("outer");
                b.for_each(std::vector{1, 2}, [&](auto item) {
                  auto inner = b.add(add, {.a = item});
                  outer.after(inner);
                  b.add(add, {.a = outer->sum});
                });
              }),
              HasSubstr("waits for itself"));
}

TEST(validation, outputs_of_a_loop_are_collected) {
  EXPECT_THAT(refusal([](pipeline_builder& b) {
                auto t =
                    b.for_each(std::vector{1, 2}, [&](auto i) { return b.add(add, {.a = i}); });
                b.add(add, {.a = t->sum}).named("sum");
              }),
              HasSubstr("sum.a: 'add' runs once per iteration of its loop: take all of its outputs "
                        "with p.collect"));
  EXPECT_THAT(refusal([](pipeline_builder& b) {
                auto t = b.add(add, {});
                b.add(numbers, {.numbers = b.collect(t->sum)});
              }),
              HasSubstr("nothing to collect"));
}

TEST(validation, the_item_of_a_loop_stays_in_it) {
  EXPECT_THAT(refusal([](pipeline_builder& b) {
                auto item = b.for_each(std::vector{1, 2}, [&](auto i) {
                  b.add(add, {.a = i});
                  return i;
                });
                b.add(add, {.a = item}).named("outside");
              }),
              HasSubstr("outside.a: the item of a loop is known only"));
}

// Graphs that a compiler of another language might hand in.
TEST(validation, a_graph_made_by_hand_is_checked_too) {
  const pipeline good{"p", [](pipeline_builder& b) {
                        auto data = b.add(make, {.text = b.parameter<std::string>("text")});
                        b.when(data->length > 3, [&] { b.add(train, {.data = data->data}); });
                      }};
  EXPECT_NO_THROW(validate(good.graph()));
  const auto spoil = [&](const std::function<void(graph&)>& change) {
    graph bad = good.graph();
    change(bad);
    return message_of([&] { validate(bad); });
  };
  EXPECT_THAT(spoil([](graph& g) { g.tasks[1].name = g.tasks[0].name; }), HasSubstr("two tasks"));
  EXPECT_THAT(spoil([](graph& g) { g.tasks[1].component = 9; }), HasSubstr("no such component"));
  EXPECT_THAT(spoil([](graph& g) { g.tasks[1].group = 9; }), HasSubstr("no such group"));
  EXPECT_THAT(spoil([](graph& g) { g.tasks[1].after = {9}; }), HasSubstr("train.after"));
  EXPECT_THAT(spoil([](graph& g) { g.tasks[1].inputs["dta"] = constant_source{1}; }),
              HasSubstr("train.dta: the component 'train' has no such input"));
  EXPECT_THAT(spoil([](graph& g) { g.tasks[1].inputs["data"] = output_source{0, "nope"}; }),
              HasSubstr("'make' has no output 'nope'"));
  EXPECT_THAT(spoil([](graph& g) { g.tasks[1].inputs["data"] = output_source{7, "data"}; }),
              HasSubstr("no known task"));
  EXPECT_THAT(spoil([](graph& g) { g.tasks[1].inputs["data"] = output_source{0, "length"}; }),
              HasSubstr("train.data: what it is wired to is no system.Dataset"));
  EXPECT_THAT(spoil([](graph& g) { g.tasks[1].inputs["rate"] = constant_source{"x"}; }),
              HasSubstr("train.rate: what it is wired to has another type than NUMBER_DOUBLE"));
  EXPECT_THAT(spoil([](graph& g) { g.tasks[0].inputs["text"] = parameter_source{"x"}; }),
              HasSubstr("no pipeline parameter 'x'"));
  EXPECT_THAT(spoil([](graph& g) { g.groups[1].when.left = output_source{0, "data"}; }),
              HasSubstr("not artifacts"));
  EXPECT_THAT(spoil([](graph& g) { g.groups[1].parent = 1; }), HasSubstr("follows its parent"));
  EXPECT_THAT(spoil([](graph& g) { g.groups.clear(); }), HasSubstr("the first group is the root"));
}

}  // namespace
}  // namespace mizzen::pipelines
