#include "steps.hpp"

namespace mizzen::pipelines {
namespace {

using namespace test;
using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

const task_spec& task_named(const graph& graph, std::string_view name) {
  for (const task_spec& task : graph.tasks) {
    if (task.name == name) return task;
  }
  throw error(errc::not_found, name, "no such task in the test's pipeline");
}

TEST(dsl, a_pipeline_is_a_plain_value) {
  const pipeline p{"p", [](pipeline_builder& b) {
                     auto data = b.add(make, {.text = b.parameter<std::string>("text", "t")});
                     b.add(train, {.data = data->data, .rate = 2, .epochs = 7}).named("fit");
                   }};
  const graph& g = p.graph();
  ASSERT_EQ(g.tasks.size(), 2U);
  EXPECT_EQ(g.parameters[0].name, "text");
  EXPECT_EQ(g.parameters[0].default_value, json("t"));
  EXPECT_THAT(g.tasks[0].inputs, ElementsAre(Pair("text", source(parameter_source{"text"}))));
  EXPECT_THAT(g.tasks[1].inputs, ElementsAre(Pair("data", source(output_source{0, "data"})),
                                             Pair("epochs", source(constant_source{7})),
                                             Pair("rate", source(constant_source{2.0}))));
  EXPECT_EQ(g.tasks[1].name, "fit");

  const component_spec& spec = g.components[g.tasks[1].component];
  EXPECT_EQ(spec.name, "train") << "from train_io";
  EXPECT_EQ(spec.input_artifacts, (std::vector<input_artifact>{{"data", "system.Dataset", false}}));
  EXPECT_EQ(spec.input_parameters,
            (std::vector<input_parameter>{{"rate", parameter_kind::number, json(0.5)},
                                          {"epochs", parameter_kind::integer, json(3)}}));
  EXPECT_EQ(spec.output_artifacts,
            (std::vector<output_artifact>{{"model", "system.Model", false}}));
  EXPECT_EQ(spec.output_parameters,
            (std::vector<output_parameter>{{"score", parameter_kind::number}}));
}

TEST(dsl, settings_are_recorded) {
  const pipeline p{"p", [](pipeline_builder& b) {
                     auto first = b.add(make, {});
                     b.add(make, {})
                         .after(first)
                         .retry(3, {.initial = 1s, .factor = 3, .most = 5s})
                         .cache(false)
                         .version("7")
                         .timeout(2s)
                         .cpus(1.5)
                         .memory("4Gi")
                         .gpus(2, "amd.com/gpu");
                   }};
  const task_spec& task = task_named(p.graph(), "make-2");
  EXPECT_THAT(task.after, ElementsAre(0U));
  EXPECT_EQ(task.retry.retries, 3);
  EXPECT_EQ(task.retry.backoff.delay(1), 1s);
  EXPECT_EQ(task.retry.backoff.delay(2), 3s);
  EXPECT_EQ(task.retry.backoff.delay(3), 5s);
  EXPECT_EQ(task.retry.backoff.delay(100000), 5s);
  EXPECT_FALSE(task.cache);
  EXPECT_EQ(task.version, "7");
  EXPECT_EQ(task.timeout, 2s);
  EXPECT_EQ(task.resources.cpus, 1.5);
  EXPECT_EQ(task.resources.memory, "4Gi");
  EXPECT_EQ(task.resources.gpus, 2);
  EXPECT_EQ(task.resources.gpu_type, "amd.com/gpu");
}

TEST(dsl, settings_that_cannot_be_are_refused) {
  pipeline("p", [](pipeline_builder& b) {
    auto t = b.add(make, {});
    EXPECT_THROW(t.retry(-1), error);
    EXPECT_THROW(t.retry(1, {.factor = 0.5}), error);
    EXPECT_THROW(t.timeout(-1ms), error);
    EXPECT_THROW(t.cpus(-1), error);
    EXPECT_THROW(t.gpus(-1), error);
    for (const char* bad : {"4GB", "Gi", "1.2.3", "-1", ".", "4 Gi"}) {
      EXPECT_THROW(t.memory(bad), error) << bad;
    }
    for (const char* good : {"4Gi", "512M", "1.5Gi", "1000"}) t.memory(good);
  });
}

TEST(dsl, a_second_task_gets_a_number_and_names_are_unique) {
  const pipeline p{"p", [](pipeline_builder& b) {
                     b.add(make, {});
                     b.add(make, {}).named("make-3");
                     b.add(make, {});
                     b.add(make, {});
                   }};
  std::vector<std::string> names;
  for (const task_spec& task : p.graph().tasks) names.push_back(task.name);
  EXPECT_THAT(names, ElementsAre("make", "make-3", "make-4", "make-5"));
  EXPECT_THAT(message_of([] {
                pipeline("p", [](pipeline_builder& b) {
                  b.add(make, {}).named("x");
                  b.add(make, {}).named("x");
                });
              }),
              HasSubstr("x: two tasks have this name"));
}

TEST(dsl, two_steps_of_one_struct_need_names) {
  const auto other = [](make_io& io) { make(io); };
  EXPECT_THAT(message_of([&] {
                pipeline("p", [&](pipeline_builder& b) {
                  b.add(make, {});
                  b.add(other, {});
                });
              }),
              HasSubstr("component{\"name\", function}"));
  const pipeline p{"p", [&](pipeline_builder& b) {
                     b.add(make, {});
                     b.add(component{"other", other, {.version = "2", .description = "d"}}, {});
                   }};
  EXPECT_EQ(p.graph().components[1].name, "other");
  EXPECT_EQ(p.graph().components[1].version, "2");
}

TEST(dsl, steps_that_hide_state_or_give_nothing_are_not_cached) {
  int state = 0;
  const pipeline p{"p", [&](pipeline_builder& b) {
                     b.add(component{"capturing", [&state](make_io&) { ++state; }}, {});
                     b.add([](nothing_io&) {}, {});
                     b.add(make, {});
                   }};
  EXPECT_FALSE(task_named(p.graph(), "capturing").cache);
  EXPECT_FALSE(task_named(p.graph(), "nothing").cache);
  EXPECT_TRUE(task_named(p.graph(), "make").cache);
}

TEST(dsl, conditions_are_trees) {
  const pipeline p{
      "p", [](pipeline_builder& b) {
        auto size = b.parameter<std::string>("size", "s");
        auto t = b.add(train, {.data = b.add(make, {})->data});
        b.when(t->score > 0.5 && 1 >= t->score && (size == "l" || !(size != "m")), [&] {
           b.add(train, {.data = b.add(make, {})->data});
         }).otherwise([&] { b.add(add, {}); });
      }};
  const graph& g = p.graph();
  ASSERT_EQ(g.groups.size(), 3U);
  EXPECT_EQ(to_text(g.groups[1].when, g),
            "train.score > 0.5 && train.score <= 1 && (size == \"l\" || (!(size != \"m\")))");
  EXPECT_EQ(g.groups[2].when.what, condition::kind::negation);
  EXPECT_EQ(task_named(g, "train-2").group, 1U);
  EXPECT_EQ(task_named(g, "make-2").group, 1U);
  EXPECT_EQ(task_named(g, "add").group, 2U);
}

TEST(dsl, an_input_may_be_handed_on) {
  const pipeline p{"p", [](pipeline_builder& b) {
                     auto first = b.add(train, {.data = b.add(make, {})->data, .rate = 9});
                     b.add(train, {.data = first->data, .rate = first->rate});
                   }};
  EXPECT_EQ(task_named(p.graph(), "train-2").inputs, task_named(p.graph(), "train").inputs);
}

TEST(dsl, a_parameter_is_declared_once) {
  const pipeline p{"p", [](pipeline_builder& b) {
                     b.add(add, {.a = b.parameter<int>("n", 1), .b = b.parameter<int>("n", 1)});
                   }};
  EXPECT_EQ(p.graph().parameters.size(), 1U);
  EXPECT_THAT(message_of([] {
                pipeline("p", [](pipeline_builder& b) {
                  b.add(add, {.a = b.parameter<int>("n", 1), .b = b.parameter<int>("n", 2)});
                });
              }),
              HasSubstr("declared twice"));
}

struct base_type : artifact {
  static constexpr std::string_view type_name = "acme.Base";
};
struct derived_type : base_type {
  static constexpr std::string_view type_name = "acme.Derived";
};
static_assert(std::is_constructible_v<in<artifact>, const out<derived_type>&>);
static_assert(std::is_constructible_v<in<base_type>, const out<derived_type>&>);
static_assert(detail::feeds<derived_type, base_type>);
static_assert(!detail::feeds<base_type, derived_type>);
static_assert(!detail::feeds<int, double>);
static_assert(!detail::feeds<dataset, model>);
static_assert(!std::is_constructible_v<in<int>, double>, "a fraction would be lost");
static_assert(!std::is_constructible_v<in<bool>, int>);
static_assert(!std::is_constructible_v<in<dataset>, dataset>);

}  // namespace
}  // namespace mizzen::pipelines
