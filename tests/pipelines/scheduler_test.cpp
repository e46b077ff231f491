#include "pipelines/scheduler.hpp"

#include "steps.hpp"

#include <array>
#include <map>
#include <random>
#include <set>

namespace mizzen::pipelines::detail {
namespace {

using namespace test;
using namespace std::chrono_literals;
using testing::ElementsAre;
using time_point = scheduler::time_point;

const time_point start_time = time_point(1h);

std::map<std::string, std::string> final_states(const scheduler& machine) {
  constexpr std::array names = {"waiting", "ready",  "running", "backing_off", "succeeded",
                                "cached",  "failed", "skipped", "cancelled"};
  std::map<std::string, std::string> states;
  for (const unit_id unit : machine.all_tasks()) {
    states[machine.label(unit)] = names[static_cast<std::size_t>(machine.state_of(unit))];
  }
  return states;
}

// What a task gives when it is run: nothing means that it fails.
using outcome_of = std::function<std::optional<json>(const scheduler&, const scheduler::start&)>;

// Follows every order in which tasks can be handed out and end with `workers` of them at once, and
// returns the different final states that were reached. A state of the machine is copied at each
// branch. Checks that the machine ends exactly when nothing is left.
class explorer {
 public:
  explorer(int workers, outcome_of outcome) : workers_(workers), outcome_(std::move(outcome)) {}

  std::set<std::map<std::string, std::string>> explore(const scheduler& machine) {
    visit(machine, {});
    return reached_;
  }

  std::size_t paths() const { return paths_; }

 private:
  void visit(scheduler machine, std::vector<scheduler::start> running) {
    while (static_cast<int>(running.size()) < workers_) {
      const auto next = machine.next(start_time);
      if (!next) break;
      running.push_back(*next);
    }
    if (running.empty()) {
      ++paths_;
      EXPECT_TRUE(machine.done()) << "nothing runs, nothing is ready, and yet it is not done";
      EXPECT_EQ(machine.finished_count(), machine.known_count());
      reached_.insert(final_states(machine));
      return;
    }
    EXPECT_FALSE(machine.done());
    for (std::size_t i = 0; i < running.size(); ++i) {
      scheduler branch = machine;
      std::vector<scheduler::start> rest = running;
      rest.erase(rest.begin() + static_cast<std::ptrdiff_t>(i));
      if (auto outputs = outcome_(branch, running[i])) {
        branch.succeeded(running[i].unit, std::move(*outputs), false);
      } else {
        branch.failed(running[i].unit, start_time, "failed");
      }
      visit(std::move(branch), std::move(rest));
    }
  }

  const int workers_;
  const outcome_of outcome_;
  std::set<std::map<std::string, std::string>> reached_;
  std::size_t paths_ = 0;
};

graph plain_graph(std::size_t tasks) {
  graph g;
  g.name = "g";
  g.groups.emplace_back();
  g.components.emplace_back();
  g.components[0].name = "c";
  for (std::size_t i = 0; i < tasks; ++i) {
    task_spec task;
    task.name = std::string(1, static_cast<char>('a' + i));
    g.tasks.push_back(std::move(task));
  }
  return g;
}

// Every graph of four tasks, every choice of failures, every order: a task runs if and only if all
// before it succeeded, whatever the order.
TEST(scheduler, all_graphs_of_four_tasks_in_all_orders) {
  constexpr std::size_t tasks = 4;
  const std::vector<std::pair<std::size_t, std::size_t>> edges = {{0, 1}, {0, 2}, {0, 3},
                                                                  {1, 2}, {1, 3}, {2, 3}};
  std::size_t paths = 0;
  for (unsigned chosen = 0; chosen < 1U << edges.size(); ++chosen) {
    graph g = plain_graph(tasks);
    for (std::size_t e = 0; e < edges.size(); ++e) {
      if ((chosen >> e & 1U) != 0) g.tasks[edges[e].second].after.push_back(edges[e].first);
    }
    for (unsigned failing = 0; failing < 1U << tasks; ++failing) {
      std::map<std::string, std::string> expected;
      for (std::size_t i = 0; i < tasks; ++i) {
        bool runs = true;
        for (const task_id before : g.tasks[i].after) {
          runs = runs && expected.at(g.tasks[before].name) == "succeeded";
        }
        expected[g.tasks[i].name] = !runs                      ? "skipped"
                                    : (failing >> i & 1U) != 0 ? "failed"
                                                               : "succeeded";
      }
      explorer all(2, [&](const scheduler&, const scheduler::start& at) -> std::optional<json> {
        if ((failing >> at.task & 1U) != 0) return std::nullopt;
        return json::object();
      });
      ASSERT_THAT(all.explore(scheduler(g, json::object())), ElementsAre(expected))
          << "edges " << chosen << " failing " << failing;
      paths += all.paths();
    }
  }
  EXPECT_GT(paths, 64U * 16U);
}

// Adds its inputs; fails where the test says so.
outcome_of adding(std::set<std::string> failing = {}) {
  return [failing = std::move(failing)](const scheduler& machine,
                                        const scheduler::start& at) -> std::optional<json> {
    if (failing.contains(machine.label(at.unit))) return std::nullopt;
    return json{{"sum", 1}};
  };
}

// A diamond with a condition on one side, a loop on the other, and a collector.
graph rich_graph() {
  return pipeline("p",
                  [](pipeline_builder& b) {
                    auto top = b.add(add, {}).named("top");
                    b.when(top->sum > 0, [&] {
                       auto yes = b.add(add, {.a = top->sum}).named("yes");
                       b.add(add, {.a = yes->sum}).named("then");
                     }).otherwise([&] { b.add(add, {}).named("no"); });
                    auto each = b.for_each(std::vector{1, 2}, [&](auto n) {
                      return b.add(add, {.a = n, .b = top->sum}).named("each");
                    });
                    b.add(add, {}).named("end").after(each);
                  })
      .graph();
}

using states_map = std::map<std::string, std::string>;

TEST(scheduler, conditions_and_loops_in_all_orders) {
  const graph g = rich_graph();
  for (const int workers : {1, 2, 3}) {
    EXPECT_THAT(explorer(workers, adding()).explore(scheduler(g, json::object())),
                ElementsAre(states_map{{"top", "succeeded"},
                                       {"yes", "succeeded"},
                                       {"then", "succeeded"},
                                       {"no", "skipped"},
                                       {"each[0]", "succeeded"},
                                       {"each[1]", "succeeded"},
                                       {"end", "succeeded"}}));
    EXPECT_THAT(explorer(workers, adding({"each[1]"})).explore(scheduler(g, json::object())),
                ElementsAre(states_map{{"top", "succeeded"},
                                       {"yes", "succeeded"},
                                       {"then", "succeeded"},
                                       {"no", "skipped"},
                                       {"each[0]", "succeeded"},
                                       {"each[1]", "failed"},
                                       {"end", "skipped"}}));
    EXPECT_THAT(explorer(workers, adding({"yes"})).explore(scheduler(g, json::object())),
                ElementsAre(states_map{{"top", "succeeded"},
                                       {"yes", "failed"},
                                       {"then", "skipped"},
                                       {"no", "skipped"},
                                       {"each[0]", "succeeded"},
                                       {"each[1]", "succeeded"},
                                       {"end", "succeeded"}}));
    // The conditions cannot be decided; the loop's items can, but its tasks need the top.
    EXPECT_THAT(explorer(workers, adding({"top"})).explore(scheduler(g, json::object())),
                ElementsAre(states_map{{"top", "failed"},
                                       {"yes", "skipped"},
                                       {"then", "skipped"},
                                       {"no", "skipped"},
                                       {"each[0]", "skipped"},
                                       {"each[1]", "skipped"},
                                       {"end", "skipped"}}));
  }
}

// Random graphs with nested loops and conditions: the same end in every order, nothing forgotten.
TEST(scheduler, random_nested_graphs_end_the_same_in_any_order) {
  std::mt19937 random(3);
  const auto below = [&](unsigned n) { return static_cast<unsigned>(random()) % n; };
  for (int round = 0; round < 200; ++round) {
    const pipeline p{
        "p", [&](pipeline_builder& b) {
          std::vector<task<add_io>> known;  // usable everywhere: outside of loops
          const std::function<void(int, bool)> fill = [&](int depth, bool in_loop) {
            const unsigned count = 1 + below(2);
            for (unsigned i = 0; i < count; ++i) {
              const unsigned what = below(depth > 0 ? 4 : 2);
              if (what < 2) {
                add_io inputs;
                if (!known.empty() && below(2) == 0) {
                  inputs.a = known[below(static_cast<unsigned>(known.size()))]->sum;
                }
                auto made = b.add(add, inputs);
                if (!known.empty() && below(3) == 0) {
                  made.after(known[below(static_cast<unsigned>(known.size()))]);
                }
                if (!in_loop) known.push_back(made);
              } else if (what == 2 && !known.empty()) {
                auto& on = known[below(static_cast<unsigned>(known.size()))];
                b.when(on->sum > static_cast<int>(below(2)), [&] { fill(depth - 1, in_loop); });
              } else {
                b.for_each(std::vector<int>(below(3), 1), [&](auto) { fill(depth - 1, true); },
                           {.parallelism = static_cast<int>(below(2))});
              }
            }
          };
          fill(2, false);
        }};
    const unsigned failing = below(5);
    const auto outcome = [&](const scheduler& machine,
                             const scheduler::start& at) -> std::optional<json> {
      if (failing == 0 && machine.label(at.unit).ends_with("-2")) return std::nullopt;
      return json{{"sum", 1}};
    };
    std::set<states_map> reached;
    for (int order = 0; order < 5; ++order) {
      scheduler machine(p.graph(), json::object());
      std::vector<scheduler::start> running;
      const std::size_t workers = 1 + below(3);
      while (!machine.done()) {
        while (running.size() < workers) {
          const auto next = machine.next(start_time);
          if (!next) break;
          running.push_back(*next);
        }
        ASSERT_FALSE(running.empty()) << "stuck in round " << round;
        const auto at = running.begin() + below(static_cast<unsigned>(running.size()));
        const scheduler::start ended = *at;
        running.erase(at);
        if (auto outputs = outcome(machine, ended)) {
          machine.succeeded(ended.unit, std::move(*outputs), false);
        } else {
          machine.failed(ended.unit, start_time, "no");
        }
      }
      EXPECT_TRUE(running.empty());
      EXPECT_EQ(machine.finished_count(), machine.known_count());
      EXPECT_EQ(machine.take_changes().size(), machine.finished_count());
      reached.insert(final_states(machine));
    }
    EXPECT_EQ(reached.size(), 1U) << "round " << round;
  }
}

TEST(scheduler, waits_between_attempts_follow_the_policy) {
  graph g = plain_graph(1);
  g.tasks[0].retry = {.retries = 3, .backoff = {.initial = 10ms, .factor = 3, .most = 50ms}};
  scheduler machine(g, json::object());
  time_point now = start_time;
  const auto fail_next = [&] {
    const auto start = machine.next(now);
    ASSERT_TRUE(start);
    machine.failed(start->unit, now, "no");
  };
  fail_next();
  EXPECT_EQ(machine.wake_at(), now + 10ms);
  EXPECT_FALSE(machine.next(now + 9ms));
  now += 10ms;
  fail_next();
  EXPECT_EQ(machine.wake_at(), now + 30ms);
  now += 30ms;
  fail_next();
  EXPECT_EQ(machine.wake_at(), now + 50ms) << "the longest wait";
  now += 50ms;
  EXPECT_FALSE(machine.done());
  fail_next();
  EXPECT_TRUE(machine.done());
  EXPECT_EQ(machine.attempts_of(0), 4);
  const auto changes = machine.take_changes();
  ASSERT_EQ(changes.size(), 4U);
  EXPECT_EQ(changes[1].wait, 30ms);
  EXPECT_EQ(changes[3].state, unit_state::failed);
}

TEST(scheduler, no_wait_beyond_the_deadline) {
  graph g = plain_graph(1);
  g.tasks[0].retry = {.retries = 100, .backoff = {.initial = 10ms, .factor = 1}};
  scheduler machine(g, json::object(), {.deadline = start_time + 25ms});
  int attempts = 0;
  for (time_point now = start_time; !machine.done(); now += 10ms, ++attempts) {
    machine.failed(machine.next(now)->unit, now, "no");
  }
  EXPECT_EQ(attempts, 3) << "at 0, 10 and 20 ms";
}

TEST(scheduler, stop_cancels_what_is_not_running_at_every_moment) {
  const graph g = rich_graph();
  for (int moment = 0; moment < 8; ++moment) {
    scheduler machine(g, json::object());
    std::vector<scheduler::start> running;
    for (int i = 0; i < moment; ++i) {
      if (const auto next = machine.next(start_time)) running.push_back(*next);
      if (running.empty()) break;
      if (i % 2 == 1) {
        machine.succeeded(running.front().unit, {{"sum", 1}}, false);
        running.erase(running.begin());
      }
    }
    machine.stop("stopped");
    EXPECT_FALSE(machine.next(start_time)) << "starts nothing any more";
    EXPECT_EQ(machine.wake_at(), std::nullopt);
    EXPECT_EQ(machine.done(), running.empty());
    for (const auto& each : running) machine.cancelled(each.unit, "stopped");
    EXPECT_TRUE(machine.done()) << "moment " << moment;
    EXPECT_EQ(machine.finished_count(), machine.known_count());
    for (const auto& [name, state] : final_states(machine)) {
      EXPECT_TRUE(state == "succeeded" || state == "cancelled" || state == "skipped")
          << name << " " << state;
    }
  }
}

TEST(scheduler, stop_ends_a_wait) {
  graph g = plain_graph(2);
  g.tasks[0].retry = {.retries = 1, .backoff = {.initial = 1h}};
  g.tasks[1].after = {0};
  scheduler machine(g, json::object());
  machine.failed(machine.next(start_time)->unit, start_time, "no");
  EXPECT_FALSE(machine.done());
  machine.stop("stopped");
  EXPECT_TRUE(machine.done());
  EXPECT_FALSE(machine.next(start_time + 2h));
  EXPECT_THAT(final_states(machine), (states_map{{"a", "cancelled"}, {"b", "cancelled"}}));
}

TEST(scheduler, fail_fast_stops_after_the_last_attempt) {
  graph g = plain_graph(3);
  g.tasks[0].retry.retries = 1;
  scheduler machine(g, json::object(), {.fail_fast = true});
  const auto a = machine.next(start_time);
  const auto b = machine.next(start_time);
  machine.failed(a->unit, start_time, "no");
  EXPECT_FALSE(machine.stopped());
  const auto c = machine.next(start_time);
  const auto again = machine.next(start_time);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->attempt, 2);
  machine.failed(again->unit, start_time, "no");
  EXPECT_TRUE(machine.stopped());
  machine.succeeded(b->unit, json::object(), false);
  machine.cancelled(c->unit, "asked to");
  EXPECT_TRUE(machine.done());
  EXPECT_THAT(final_states(machine),
              (states_map{{"a", "failed"}, {"b", "succeeded"}, {"c", "cancelled"}}));
}

TEST(scheduler, known_count_grows_with_the_loops) {
  const graph g = pipeline("p", [](pipeline_builder& b) {
                    b.for_each(std::vector{1, 2, 3}, [&](auto) {
                      b.for_each(std::vector{1, 2}, [&](auto n) { b.add(add, {.a = n}); });
                      b.add(add, {});
                    });
                  }).graph();
  scheduler machine(g, json::object());
  EXPECT_EQ(machine.known_count(), 9U);
  EXPECT_EQ(machine.all_tasks().size(), 9U);
  EXPECT_EQ(machine.label(machine.all_tasks()[5]), "add[2][1]");
}

}  // namespace
}  // namespace mizzen::pipelines::detail
