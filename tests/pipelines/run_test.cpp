#include "steps.hpp"

#include <condition_variable>
#include <mutex>
#include <thread>

namespace mizzen::pipelines {
namespace {

using namespace test;
using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
namespace fs = std::filesystem;

using running = pipeline_test;

// Lets steps of a test meet at a point.
class meeting {
 public:
  explicit meeting(int wanted) : wanted_(wanted) {}
  bool arrive(std::chrono::seconds patience = 60s) {
    std::unique_lock lock(mutex_);
    ++here_;
    changed_.notify_all();
    return changed_.wait_for(lock, patience, [&] { return here_ >= wanted_; });
  }

 private:
  const int wanted_;
  int here_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
};

TEST_F(running, data_flows_from_step_to_step) {
  const pipeline p{"p", [](pipeline_builder& b) {
                     auto data = b.add(make, {.text = b.parameter<std::string>("text")});
                     b.add(train, {.data = data->data, .rate = 0.25, .epochs = 4});
                   }};
  const run_result result = run(p, {{"text", "digits"}}, options()).check();
  EXPECT_TRUE(result.ok());
  EXPECT_EQ(result.artifact_of("train", "model").read(), "digits*4");
  EXPECT_EQ(result.value_of<double>("train", "score"), 1.0);
  EXPECT_EQ(result.value_of<int>("make", "length"), 6);
  EXPECT_EQ(result.artifact_of("make", "data").metadata, json({{"source", "digits"}}));
  // Where the header says it is, and nothing else beside it.
  EXPECT_EQ(result.folder, root / "p" / result.run_id);
  EXPECT_EQ(result.artifact_of("make", "data").path(), result.folder / "make" / "data");
  EXPECT_EQ(std::distance(fs::directory_iterator(result.folder / "make"), {}), 1);
}

TEST_F(running, arguments_are_checked_before_anything_runs) {
  const pipeline p{"p", [](pipeline_builder& b) {
                     b.add(add, {.a = b.parameter<int>("a"), .b = b.parameter<int>("b", 1)});
                   }};
  const auto refusal = [&](const json& arguments) {
    return message_of([&] { static_cast<void>(run(p, arguments, options())); });
  };
  EXPECT_THAT(refusal({}), HasSubstr("arguments.a: the parameter has no default"));
  EXPECT_THAT(refusal({{"a", "x"}}), HasSubstr("arguments.a: expected an integer"));
  EXPECT_THAT(refusal({{"a", 1}, {"c", 1}}), HasSubstr("arguments.c: the pipeline has no such"));
  EXPECT_THAT(refusal(json::array()), HasSubstr("an object"));
  EXPECT_FALSE(fs::exists(root));
  EXPECT_EQ(run(p, {{"a", 2}}, options()).value_of<int>("add", "sum"), 3);
}

TEST_F(running, a_failed_task_is_tried_again_then_succeeds) {
  std::atomic<int> calls = 0;
  std::vector<int> attempts;
  const pipeline p{"p", [&](pipeline_builder& b) {
                     b.add(component{"flaky",
                                     [&](make_io& io, context& c) {
                                       attempts.push_back(c.attempt());
                                       io.data->write("half");
                                       if (++calls < 3) throw std::runtime_error("not yet");
                                       make(io);
                                     }},
                           {})
                         .retry(5, {.initial = 1ms});
                   }};
  std::vector<std::string> events;
  run_options with_observer = options();
  with_observer.observer = [&](const event& e) {
    events.push_back(std::string(to_string(e.what)) + " " + std::string(e.task) + " " +
                     std::to_string(e.attempt));
  };
  const run_result result = run(p, {}, with_observer).check();
  EXPECT_EQ(result.task("flaky").attempts, 3);
  EXPECT_EQ(result.task("flaky").error, nullptr);
  EXPECT_EQ(result.artifact_of("flaky", "data").read(), "data");
  EXPECT_THAT(attempts, ElementsAre(1, 2, 3));
  EXPECT_THAT(events,
              ElementsAre("run_started  0", "task_started flaky 1", "task_retrying flaky 1",
                          "task_started flaky 2", "task_retrying flaky 2", "task_started flaky 3",
                          "task_finished flaky 3", "run_finished  0"));
}

TEST_F(running, a_task_that_keeps_failing_stops_what_depends_on_it_and_nothing_else) {
  const pipeline p{
      "p", [](pipeline_builder& b) {
        auto bad =
            b.add(
                 component{"bad", [](make_io&) { throw error(errc::unavailable, "disk", "gone"); }},
                 {})
                .retry(1);
        auto next = b.add(train, {.data = bad->data});
        b.add(add, {}).named("last").after(next);
        b.add(make, {}).named("apart");
      }};
  const run_result result = run(p, {}, options());
  EXPECT_THAT(states(result),
              ElementsAre("bad failed", "train skipped", "last skipped", "apart succeeded"));
  EXPECT_FALSE(result.ok());
  EXPECT_FALSE(result.cancelled);
  EXPECT_EQ(result.task("bad").attempts, 2);
  EXPECT_EQ(result.task("bad").text, "disk: gone");
  EXPECT_EQ(result.task("train").text, "'bad' failed");
  EXPECT_EQ(result.task("last").text, "'train' was skipped");
  try {
    result.check();
    FAIL() << "nothing thrown";
  } catch (const error& e) {
    EXPECT_EQ(e.code(), errc::unavailable);
    EXPECT_EQ(e.subject(), "p.bad");
    EXPECT_EQ(describe(std::make_exception_ptr(e)),
              "p.bad: the task failed after 2 attempts (caused by: disk: gone)");
  }
}

TEST_F(running, fail_fast_stops_the_rest) {
  meeting both(2);
  const pipeline p{"p", [&](pipeline_builder& b) {
                     b.add(component{"bad",
                                     [&](nothing_io&) {
                                       both.arrive();
                                       throw std::runtime_error("no");
                                     }},
                           {});
                     auto slow = b.add(component{"slow",
                                                 [&](nothing_io&, context& c) {
                                                   both.arrive();
                                                   while (true) {
                                                     c.cancel().check(c.task());
                                                     std::this_thread::sleep_for(1ms);
                                                   }
                                                 }},
                                       {});
                     b.add(make, {}).after(slow);
                   }};
  run_options fast = options();
  fast.fail_fast = true;
  const run_result result = run(p, {}, fast);
  EXPECT_THAT(states(result), ElementsAre("bad failed", "slow cancelled", "make cancelled"));
  EXPECT_TRUE(result.cancelled);
}

TEST_F(running, independent_tasks_run_side_by_side) {
  meeting all(3);
  const pipeline p{"p", [&](pipeline_builder& b) {
                     for (int i = 0; i < 3; ++i) {
                       b.add(component{"meet", [&](add_io& io) { io.sum = all.arrive() ? 1 : 0; }},
                             {});
                     }
                   }};
  run_options three = options();
  three.parallelism = 3;
  const run_result result = run(p, {}, three).check();
  for (const task_result& task : result.tasks) EXPECT_EQ(task.parameters.at("sum"), 1);
}

TEST_F(running, never_more_at_once_than_asked_for) {
  std::atomic<int> now = 0;
  std::atomic<int> most = 0;
  const pipeline p{
      "p", [&](pipeline_builder& b) {
        for (int i = 0; i < 50; ++i) {
          b.add(component{"count",
                          [&](nothing_io&) {
                            const int here = ++now;
                            int seen = most;
                            while (here > seen && !most.compare_exchange_weak(seen, here)) {
                            }
                            std::this_thread::sleep_for(100us);
                            --now;
                          }},
                {});
        }
      }};
  static_cast<void>(run(p, {}, options()).check());
  EXPECT_LE(most, 2);
}

TEST_F(running, cancellation_is_prompt_and_reaches_the_steps) {
  std::stop_source source;
  const pipeline p{"p", [&](pipeline_builder& b) {
                     auto first = b.add(component{"first",
                                                  [&](nothing_io&, context& c) {
                                                    source.request_stop();
                                                    while (true) c.cancel().check(c.task());
                                                  }},
                                        {});
                     b.add(make, {}).after(first);
                     b.add(component{"waits", [](nothing_io&) { throw std::runtime_error("x"); }},
                           {})
                         .retry(1000000, {.initial = 1h});
                   }};
  run_options cancellable = options();
  cancellable.parallelism = 1;
  cancellable.cancel.token = source.get_token();
  const run_result result = run(p, {}, cancellable);
  EXPECT_THAT(states(result), ElementsAre("first cancelled", "make cancelled", "waits cancelled"));
  EXPECT_TRUE(result.cancelled);
  EXPECT_EQ(result.task("make").text, "the run was cancelled");
  EXPECT_EQ(result.task("make").attempts, 0);
  try {
    result.check();
    FAIL() << "nothing thrown";
  } catch (const error& e) {
    EXPECT_EQ(e.code(), errc::cancelled);
  }
}

TEST_F(running, cancellation_ends_a_wait_between_attempts) {
  std::stop_source source;
  const pipeline p{"p", [&](pipeline_builder& b) {
                     b.add(component{"fails", [](nothing_io&) { throw std::runtime_error("x"); }},
                           {})
                         .retry(1, {.initial = 1h});
                   }};
  run_options cancellable = options();
  cancellable.cancel.token = source.get_token();
  cancellable.observer = [&](const event& e) {
    if (e.what == event::kind::task_retrying) source.request_stop();
  };
  EXPECT_THAT(states(run(p, {}, cancellable)), ElementsAre("fails cancelled"));
}

TEST_F(running, a_cancelled_token_starts_nothing) {
  std::stop_source source;
  source.request_stop();
  run_options cancelled = options();
  cancelled.cancel.token = source.get_token();
  const pipeline p{"p", [](pipeline_builder& b) { b.add(make, {}); }};
  EXPECT_THAT(states(run(p, {}, cancelled)), ElementsAre("make cancelled"));
}

TEST_F(running, a_deadline_leaves_no_time_for_long_waits) {
  const pipeline p{"p", [](pipeline_builder& b) {
                     b.add(component{"fails", [](nothing_io&) { throw std::runtime_error("x"); }},
                           {})
                         .retry(3, {.initial = 1h});
                   }};
  run_options bounded = options();
  bounded.cancel.deadline = deadline::after(30min);
  const run_result result = run(p, {}, bounded);
  EXPECT_THAT(states(result), ElementsAre("fails failed"));
  EXPECT_EQ(result.task("fails").attempts, 1);
  EXPECT_THAT(result.task("fails").text, HasSubstr("no time for another attempt"));
}

TEST_F(running, an_expired_deadline_cancels) {
  const pipeline p{"p", [](pipeline_builder& b) { b.add(make, {}); }};
  run_options late = options();
  late.cancel.deadline = deadline::after(-1s);
  const run_result result = run(p, {}, late);
  EXPECT_THAT(states(result), ElementsAre("make cancelled"));
  EXPECT_EQ(result.task("make").text, "the deadline of the run passed");
}

TEST_F(running, a_timeout_is_the_deadline_of_the_attempt) {
  const pipeline p{"p", [](pipeline_builder& b) {
                     b.add(component{"slow",
                                     [](nothing_io&, context& c) {
                                       while (c.attempt() == 1) c.cancel().check(c.task());
                                     }},
                           {})
                         .timeout(5ms)
                         .retry(1);
                     b.add(component{"never",
                                     [](nothing_io&, context& c) {
                                       while (true) c.cancel().check(c.task());
                                     }},
                           {})
                         .timeout(5ms);
                   }};
  const run_result result = run(p, {}, options());
  EXPECT_THAT(states(result), ElementsAre("slow succeeded", "never failed"));
  EXPECT_EQ(result.task("slow").attempts, 2);
  EXPECT_THAT(result.task("never").text, HasSubstr("the deadline passed"));
}

TEST_F(running, an_output_that_was_not_given_is_named) {
  const pipeline p{"p", [](pipeline_builder& b) {
                     b.add(component{"no-file", [](make_io& io) { io.length = 1; }}, {});
                     b.add(component{"no-number", [](make_io& io) { io.data->write("x"); }}, {});
                     b.add(component{"nan", [](train_io& io) { io.score = std::nan(""); }},
                           {.data = b.add(make, {})->data});
                   }};
  const run_result result = run(p, {}, options());
  EXPECT_THAT(result.task("no-file").text,
              HasSubstr("no-file.data: the step returned without writing this output"));
  EXPECT_THAT(result.task("no-number").text,
              HasSubstr("no-number.length: the step returned without assigning this output"));
  EXPECT_THAT(result.task("nan").text, HasSubstr("nan.score: the number is not finite"));
  EXPECT_FALSE(fs::exists(result.folder / "no-number" / "data")) << "nothing half done stays";
}

struct report_io {
  out<metrics> scores;
  out<classification_metrics> matrix;
  out<markdown> text;
};
BOOST_DESCRIBE_STRUCT(report_io, (), (scores, matrix, text))

TEST_F(running, metrics_need_no_file_but_something) {
  const auto report = [](bool log) {
    return [log](report_io& io) {
      if (log) io.scores->log("accuracy", 0.5);
      const std::vector<std::string> names = {"a"};
      io.matrix->log_confusion_matrix(names, {{1}});
      io.text->write("# Report");
    };
  };
  const pipeline p{"p", [&](pipeline_builder& b) {
                     b.add(component{"logs", report(true)}, {});
                     b.add(component{"silent", report(false)}, {});
                   }};
  const run_result result = run(p, {}, options());
  EXPECT_THAT(states(result), ElementsAre("logs succeeded", "silent failed"));
  EXPECT_EQ(result.artifact_of("logs", "scores").metadata.at("accuracy"), 0.5);
  EXPECT_THAT(result.task("silent").text, HasSubstr("silent.scores"));
}

TEST_F(running, folders_are_artifacts_too) {
  const pipeline p{
      "p", [](pipeline_builder& b) {
        auto data = b.add(component{"folder",
                                    [](make_io& io) {
                                      fs::create_directories(io.data->path() / "sub");
                                      artifact(io.data->path() / "sub" / "f").write("x");
                                      io.length = 1;
                                    }},
                          {});
        b.add(component{"read",
                        [](train_io& io) {
                          io.model->write(artifact(io.data->path() / "sub" / "f").read() + "y");
                          io.score = 1;
                        }},
              {.data = data->data});
      }};
  EXPECT_EQ(run(p, {}, options()).check().artifact_of("read", "model").read(), "xy");
}

TEST_F(running, conditions_choose) {
  run_options uncached = options();
  uncached.cache = false;
  const pipeline p{"p", [](pipeline_builder& b) {
                     auto n = b.add(add, {.a = b.parameter<int>("n")}).named("n");
                     b.when(n->sum > 3, [&] {
                        auto big = b.add(add, {.a = n->sum}).named("big");
                        b.when(n->sum > 5, [&] { b.add(add, {.a = big->sum}).named("huge"); });
                      }).otherwise([&] { b.add(add, {}).named("small"); });
                   }};
  EXPECT_THAT(states(run(p, {{"n", 1}}, uncached)),
              ElementsAre("n succeeded", "big skipped", "huge skipped", "small succeeded"));
  EXPECT_THAT(states(run(p, {{"n", 4}}, uncached)),
              ElementsAre("n succeeded", "big succeeded", "huge skipped", "small skipped"));
  const run_result result = run(p, {{"n", 6}}, uncached);
  EXPECT_THAT(states(result),
              ElementsAre("n succeeded", "big succeeded", "huge succeeded", "small skipped"));
  EXPECT_THAT(result.task("small").text, HasSubstr("the condition does not hold: !(n.sum > 3)"));
  EXPECT_TRUE(result.ok()) << "what a condition leaves out is no failure";
}

TEST_F(running, what_depends_on_a_skipped_task_is_skipped) {
  const pipeline p{"p", [](pipeline_builder& b) {
                     auto inner = std::make_shared<std::optional<task<add_io>>>();
                     b.when(b.parameter<bool>("flag"),
                            [&] { inner->emplace(b.add(add, {.a = 2})); });
                     b.add(add, {.a = (**inner)->sum}).named("user");
                     b.add(add, {}).named("follower").after(**inner);
                   }};
  EXPECT_THAT(states(run(p, {{"flag", false}}, options())),
              ElementsAre("add skipped", "user skipped", "follower skipped"));
  const run_result result = run(p, {{"flag", true}}, options()).check();
  EXPECT_EQ(result.value_of<int>("user", "sum"), 2);
}

TEST_F(running, a_step_may_be_told_and_may_tell) {
  const pipeline p{"p", [](pipeline_builder& b) {
                     b.add(component{"tells",
                                     [](nothing_io&, context& c) {
                                       EXPECT_EQ(c.pipeline(), "p");
                                       EXPECT_EQ(c.run_id(), "r1");
                                       EXPECT_EQ(c.task(), "tells");
                                       const fs::path scratch = c.scratch();
                                       EXPECT_TRUE(fs::is_empty(scratch));
                                       artifact(scratch / "x").write("y");
                                       c.progress("half way");
                                       c.log().log(log_level::info, "test", "said");
                                     }},
                           {});
                   }};
  run_options watched = options();
  watched.run_id = "r1";
  std::vector<std::string> texts;
  std::vector<std::string> logged;
  watched.observer = [&](const event& e) {
    if (e.what == event::kind::task_progress) texts.emplace_back(e.text);
    throw std::runtime_error("an observer that throws changes nothing");
  };
  std::mutex mutex;
  watched.log = logger([&](const log_record& record) {
    const std::lock_guard lock(mutex);
    logged.emplace_back(record.message);
  });
  const run_result result = run(p, {}, watched).check();
  EXPECT_THAT(texts, ElementsAre("half way"));
  EXPECT_THAT(logged, ElementsAre("said", "task finished", "run finished"));
  EXPECT_TRUE(!fs::exists(result.folder / "tells") || fs::is_empty(result.folder / "tells"))
      << "the scratch folder is gone";
  EXPECT_THAT(message_of([&] { static_cast<void>(run(p, {}, watched)); }),
              HasSubstr("a run 'r1' of the pipeline exists already"));
}

TEST_F(running, a_root_that_cannot_be_written_is_an_error) {
  artifact file(fs::temp_directory_path() / ("mizzen-" + random_hex_id()));
  file.write("");
  const pipeline p{"p", [](pipeline_builder& b) { b.add(make, {}); }};
  EXPECT_THAT(message_of([&] { static_cast<void>(run(p, {}, {.root = file.path()})); }),
              HasSubstr(file.path().string()));
  fs::remove(file.path());
}

TEST_F(running, results_say_what_they_have) {
  const pipeline p{"p", [](pipeline_builder& b) { b.add(make, {}); }};
  const run_result result = run(p, {}, options()).check();
  EXPECT_THAT(message_of([&] { static_cast<void>(result.task("mak")); }),
              HasSubstr("it has: make"));
  EXPECT_THAT(message_of([&] { static_cast<void>(result.artifact_of("make", "x")); }),
              HasSubstr("make.x"));
  EXPECT_THAT(message_of([&] { static_cast<void>(result.value_of<bool>("make", "length")); }),
              HasSubstr("make.length: expected a boolean"));
}

TEST_F(running, an_empty_pipeline_is_done) {
  EXPECT_TRUE(run(pipeline("p", [](pipeline_builder&) {}), {}, options()).check().tasks.empty());
}

}  // namespace
}  // namespace mizzen::pipelines
