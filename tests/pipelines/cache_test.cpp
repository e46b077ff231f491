#include "steps.hpp"

#include <sys/wait.h>

#include <csignal>
#include <thread>
#include <unistd.h>

namespace mizzen::pipelines {
namespace {

using namespace test;
using testing::ElementsAre;
using testing::HasSubstr;
namespace fs = std::filesystem;

class caching : public pipeline_test {
 protected:
  // What the tests change between two runs.
  struct variation {
    std::string text = "data";
    double rate = 0.5;
    std::string task_version;
    std::string component_version;
    std::string pipeline = "p";
    bool cache = true;
  };

  run_result run_with(const variation& with, bool cache = true) {
    const pipeline p{with.pipeline, [&](pipeline_builder& b) {
                       auto data = b.add(make, {.text = with.text});
                       b.add(component{"train", train, {.version = with.component_version}},
                             {.data = data->data, .rate = with.rate})
                           .version(with.task_version)
                           .cache(with.cache);
                     }};
    run_options o = options();
    o.cache = cache;
    return run(p, {}, o).check();
  }

  // The files under root/cache.
  std::vector<fs::path> entries() const {
    std::vector<fs::path> found;
    for (const auto& entry : fs::recursive_directory_iterator(root / "cache")) {
      if (entry.is_regular_file()) found.push_back(entry.path());
    }
    return found;
  }
};

constexpr auto both_cached = [] { return ElementsAre("make cached", "train cached"); };
constexpr auto both_run = [] { return ElementsAre("make succeeded", "train succeeded"); };
constexpr auto second_run = [] { return ElementsAre("make cached", "train succeeded"); };

TEST_F(caching, an_unchanged_step_is_not_run_again) {
  const run_result first = run_with({});
  EXPECT_THAT(states(first), both_run());
  const run_result second = run_with({});
  EXPECT_THAT(states(second), both_cached());
  EXPECT_EQ(second.task("train").attempts, 0);
  EXPECT_EQ(second.task("train").cache_key, first.task("train").cache_key);
  EXPECT_EQ(second.value_of<double>("train", "score"), 1.5);
  EXPECT_EQ(second.artifact_of("train", "model").read(), "data*3");
  EXPECT_EQ(second.artifact_of("make", "data").metadata, json({{"source", "data"}}));
}

TEST_F(caching, whatever_changes_makes_it_run) {
  static_cast<void>(run_with({}));
  EXPECT_THAT(states(run_with({.rate = 0.6})), second_run()) << "parameter";
  EXPECT_THAT(states(run_with({.task_version = "2"})), second_run()) << "task's version";
  EXPECT_THAT(states(run_with({.component_version = "2"})), second_run()) << "component's version";
  EXPECT_THAT(states(run_with({.text = "other"})), both_run()) << "content of the input";
  EXPECT_THAT(states(run_with({.pipeline = "q"})), both_run()) << "pipeline";
  EXPECT_THAT(states(run_with({.cache = false})), second_run()) << "switched off for the task";
  EXPECT_THAT(states(run_with({}, false)), both_run()) << "switched off for the run";
  EXPECT_THAT(states(run_with({})), both_cached()) << "and what was is still there";
}

TEST_F(caching, the_same_content_from_another_step_is_the_same_input) {
  const auto build = [](const std::string& version) {
    return pipeline{"p", [&](pipeline_builder& b) {
                      auto data = b.add(make, {}).version(version);
                      b.add(train, {.data = data->data});
                    }};
  };
  static_cast<void>(run(build("1"), {}, options()).check());
  EXPECT_THAT(states(run(build("2"), {}, options())),
              ElementsAre("make succeeded", "train cached"));
}

TEST_F(caching, metadata_of_an_input_counts) {
  const auto build = [](const std::string& note) {
    return pipeline{"p", [&](pipeline_builder& b) {
                      auto data = b.add(component{"note",
                                                  [](make_io& io) {
                                                    io.data->write("same");
                                                    io.data->metadata["note"] = *io.text;
                                                    io.length = 4;
                                                  }},
                                        {.text = note});
                      b.add(train, {.data = data->data});
                    }};
  };
  static_cast<void>(run(build("1"), {}, options()).check());
  EXPECT_THAT(states(run(build("2"), {}, options())),
              ElementsAre("note succeeded", "train succeeded"));
}

TEST_F(caching, damaged_or_missing_outputs_are_a_miss) {
  const auto spoil = [&](const std::function<void(const fs::path&)>& change) {
    fs::remove_all(root);
    const run_result first = run_with({});
    change(first.artifact_of("train", "model").path());
    const run_result again = run_with({});
    EXPECT_EQ(again.artifact_of("train", "model").read(), "data*3");
    EXPECT_THAT(states(run_with({})), both_cached()) << "the new result took its place";
    return states(again);
  };
  EXPECT_THAT(spoil([](const fs::path& path) { artifact(path).write("data*4"); }), second_run());
  EXPECT_THAT(spoil([](const fs::path& path) { artifact(path).write("data"); }), second_run());
  EXPECT_THAT(spoil([](const fs::path& path) { fs::remove(path); }), second_run());
  EXPECT_THAT(spoil([](const fs::path& path) {
                fs::remove(path);
                fs::create_directory(path);
              }),
              second_run());
}

TEST_F(caching, damaged_entries_are_a_miss) {
  const auto spoil = [&](const std::function<std::string(std::string)>& change) {
    fs::remove_all(root);
    static_cast<void>(run_with({}));
    const std::vector<fs::path> files = entries();
    EXPECT_EQ(files.size(), 2U);
    for (const fs::path& file : files) artifact(file).write(change(slurp(file)));
    return states(run_with({}));
  };
  const auto edit = [&](const std::function<void(json&)>& change) {
    return spoil([&](const std::string& text) {
      json entry = json::parse(text);
      change(entry);
      return entry.dump();
    });
  };
  EXPECT_THAT(spoil([](const std::string&) { return ""; }), both_run());
  EXPECT_THAT(spoil([](const std::string& text) { return text.substr(0, text.size() / 2); }),
              both_run());
  EXPECT_THAT(spoil([](std::string text) {
                text[text.find("parameters") + 1] ^= 1;
                return text;
              }),
              both_run());
  EXPECT_THAT(edit([](json& entry) { entry["format"] = 99; }), both_run());
  EXPECT_THAT(edit([](json& entry) { entry["key"] = "x"; }), both_run());
  EXPECT_THAT(edit([](json& entry) { entry["parameters"] = 1; }), both_run());
  EXPECT_THAT(edit([](json& entry) { entry = json::array(); }), both_run());
  // Not even an entry that was put together with care leads out of the root.
  EXPECT_THAT(edit([](json&) {}), both_cached()) << "the edit alone does no harm";
}

TEST_F(caching, a_moved_root_keeps_its_cache) {
  static_cast<void>(run_with({}));
  const fs::path before = root;
  root = before.string() + "-moved";
  fs::rename(before, root);
  EXPECT_THAT(states(run_with({})), both_cached());
}

TEST_F(caching, a_failed_step_leaves_no_entry) {
  static std::atomic<int> calls;
  calls = 0;
  const pipeline p{"p", [](pipeline_builder& b) {
                     b.add(component{"fails",
                                     [](make_io& io) {
                                       make(io);
                                       if (++calls == 1) throw std::runtime_error("after writing");
                                     }},
                           {});
                   }};
  EXPECT_THAT(states(run(p, {}, options())), ElementsAre("fails failed"));
  EXPECT_THAT(states(run(p, {}, options())), ElementsAre("fails succeeded"));
  EXPECT_THAT(states(run(p, {}, options())), ElementsAre("fails cached"));
}

TEST_F(caching, the_events_say_cached) {
  static_cast<void>(run_with({}));
  std::vector<std::string> finished;
  run_options watched = options();
  watched.observer = [&](const event& e) {
    if (e.what == event::kind::task_finished) {
      finished.push_back(std::string(e.task) + " " + std::string(to_string(e.state)));
    }
  };
  const pipeline p{"p", [](pipeline_builder& b) {
                     b.add(component{"train", train}, {.data = b.add(make, {})->data});
                   }};
  static_cast<void>(run(p, {}, watched).check());
  EXPECT_THAT(finished, ElementsAre("make cached", "train cached"));
}

TEST_F(caching, several_runs_at_once_share_a_root) {
  std::vector<std::jthread> threads;
  std::atomic<int> good = 0;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int j = 0; j < 5; ++j) {
        const run_result result = run_with({.rate = j * 0.25});
        if (result.artifact_of("train", "model").read() == "data*3" &&
            result.value_of<double>("train", "score") == j * 0.25 * 3) {
          ++good;
        }
      }
    });
  }
  threads.clear();
  EXPECT_EQ(good, 20);
  EXPECT_THAT(states(run_with({.rate = 0.25})), both_cached());
}

// A process that dies in the middle of a step, of moving outputs or of the cache's work: whatever
// it leaves, a later run computes what was not finished, and believes nothing half done.
TEST_F(caching, a_killed_process_leaves_nothing_that_is_believed) {
  const auto build = [](bool die) {
    return pipeline{"p", [die](pipeline_builder& b) {
                      auto data = b.add(make, {});
                      b.add(component{"train",
                                      [die](train_io& io) {
                                        io.model->write("half a mod");
                                        io.score = 1;
                                        if (die) std::raise(SIGKILL);
                                        train(io);
                                      }},
                            {.data = data->data})
                          .cache(true);
                    }};
  };
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    static_cast<void>(run(build(true), {}, {.root = root, .parallelism = 1}));
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  const run_result result = run(build(false), {}, options()).check();
  EXPECT_THAT(states(result), second_run());
  EXPECT_EQ(result.artifact_of("train", "model").read(), "data*3");
}

// As above at any moment: children are killed at random times and the store must stay good.
TEST_F(caching, processes_killed_at_random_do_no_harm) {
  const auto build = [] {
    return pipeline{"p", [](pipeline_builder& b) {
                      std::optional<task<make_io>> last;
                      for (int i = 0; i < 8; ++i) {
                        auto next =
                            b.add(make, {.text = std::string(50'000, static_cast<char>('a' + i))});
                        if (last) next.after(*last);
                        last = next;
                      }
                    }};
  };
  for (int round = 0; round < 20; ++round) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      try {
        static_cast<void>(run(build(), {}, {.root = root, .parallelism = 1}));
      } catch (...) {
        _exit(3);
      }
      _exit(0);
    }
    std::this_thread::sleep_for(std::chrono::microseconds(round * 300));
    kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
  }
  const run_result result = run(build(), {}, options()).check();
  for (const task_result& task : result.tasks) {
    EXPECT_EQ(task.artifacts.at("data").read().size(), 50'000U);
  }
  EXPECT_EQ(run(build(), {}, options()).count(task_state::cached), 8U);
}

}  // namespace
}  // namespace mizzen::pipelines
