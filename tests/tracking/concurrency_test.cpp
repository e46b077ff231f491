// Several threads and several processes on one store.
#include "temporary_folder.hpp"

#include <mizzen/tracking.hpp>

#include <gmock/gmock.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <memory>
#include <thread>
#include <unistd.h>
#include <vector>

namespace mizzen::tracking {
namespace {

using namespace std::chrono_literals;

class shared_store : public testing::Test {
 protected:
  temporary_folder folder_;
  std::string db_ = folder_.file("mlflow.db");
};

TEST_F(shared_store, threads_log_into_one_run) {
  client c({.uri = db_});
  auto run = c.start_run("digits");
  std::vector<std::thread> threads;
  std::atomic<bool> done = false;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&run, t] {
      const std::string own = "own/" + std::to_string(t);
      for (int i = 0; i < 250; ++i) {
        run.log_metric(own, i, {.step = i});
        run.log_metric("shared", t, {.step = i, .timestamp = t});
        if (i % 50 == 0) run.set_tag("thread", own);
      }
      run.log_param(own, t);
      run.log_text(own, own + ".txt");
    });
  }
  std::thread reader([&] {
    while (!done) {
      for (const run_record& r : c.search_runs()) {
        for (const auto& [key, m] : r.metrics) ASSERT_GE(m.step, 0) << key;
      }
    }
  });
  for (std::thread& thread : threads) thread.join();
  done = true;
  reader.join();
  for (int t = 0; t < 4; ++t) {
    EXPECT_EQ(c.metric_history(run.id(), "own/" + std::to_string(t)).size(), 250U);
  }
  EXPECT_EQ(c.metric_history(run.id(), "shared").size(), 1000U);
  EXPECT_EQ(run.get().params.size(), 4U);
  EXPECT_EQ(run.list_artifacts("own").size(), 4U);
  EXPECT_EQ(run.get().metrics.at("shared").value, 3);  // of the last step the latest timestamp
}

// Runs work in a child process; its exit status, 0 when work returned true.
template <typename Work>
pid_t in_child(Work work) {
  const pid_t child = fork();
  if (child != 0) return child;
  bool good = false;
  try {
    good = work();
  } catch (const std::exception& e) {
    fprintf(stderr, "child: %s\n", e.what());
  }
  _exit(good ? 0 : 1);
}

int status_of(pid_t child) {
  int status = -1;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

TEST_F(shared_store, processes_log_into_one_store) {
  // Made by one of the children: they meet on a file that is not there yet.
  std::array<pid_t, 3> children{};
  for (std::size_t i = 0; i < children.size(); ++i) {
    children[i] = in_child([&, i] {
      client c({.uri = db_, .busy_timeout = 120s});
      auto run = c.start_run("shared", {.name = "process " + std::to_string(i)});
      for (int step = 0; step < 300; ++step) run.log_metric("loss", step, {.step = step});
      run.log_model(std::vector<std::byte>(16));
      c.register_model("clf", "runs:/" + run.id() + "/model");
      return true;
    });
  }
  for (const pid_t child : children) EXPECT_EQ(status_of(child), 0);
  const client c({.uri = db_});
  const auto runs = c.search_runs();
  ASSERT_EQ(runs.size(), children.size());
  for (const run_record& r : runs) {
    EXPECT_EQ(r.status, run_status::finished);
    EXPECT_EQ(c.metric_history(r.id, "loss").size(), 300U);
  }
  EXPECT_EQ(c.list_model_versions("clf").front().version, 3);
  EXPECT_EQ(c.list_experiments().size(), 2U);
  EXPECT_EQ(sql(db_, "PRAGMA integrity_check"), "ok");
}

TEST_F(shared_store, is_dead_in_a_forked_child) {
  client c({.uri = db_});
  auto run = c.start_run("digits");
  const pid_t child = in_child([&] {
    const auto logging = error_of([&] { run.log_metric("loss", 1); });
    const auto reading = error_of([&] { c.search_runs(); });
    {
      auto dropped = std::move(run);
    }  // must neither end the run nor touch the file
    return logging && logging->code() == errc::failed_precondition && reading &&
           reading->code() == errc::failed_precondition;
  });
  EXPECT_EQ(status_of(child), 0);
  EXPECT_EQ(run.get().status, run_status::running);
  run.log_metric("loss", 1);
  EXPECT_EQ(c.metric_history(run.id(), "loss").size(), 1U);
}

TEST_F(shared_store, a_killed_process_leaves_its_run_running) {
  std::array<int, 2> channel{};
  ASSERT_EQ(pipe(channel.data()), 0);
  const pid_t child = in_child([&] {
    client c({.uri = db_});
    auto run = c.start_run("digits");
    run.log_metric("loss", 0.5);
    [[maybe_unused]] const auto sent = write(channel[1], run.id().data(), run.id().size());
    for (;;) pause();
    return false;
  });
  std::string id(32, '\0');
  ASSERT_EQ(read(channel[0], id.data(), id.size()), 32);
  kill(child, SIGKILL);
  EXPECT_EQ(status_of(child), 128 + SIGKILL);
  close(channel[0]);
  close(channel[1]);
  const client c({.uri = db_});
  EXPECT_EQ(c.get_run(id).status, run_status::running);
  EXPECT_EQ(c.get_run(id).metrics.at("loss").value, 0.5);
}

// No room for another byte: the limit on the size of files stands in for a full disk.
TEST_F(shared_store, stays_whole_when_it_cannot_grow) {
  const pid_t child = in_child([&] {
    std::signal(SIGXFSZ, SIG_IGN);
    client c({.uri = db_});
    auto run = c.start_run("digits");
    rlimit limit{};
    getrlimit(RLIMIT_FSIZE, &limit);
    const rlimit before = limit;
    limit.rlim_cur = std::filesystem::file_size(db_ + "-wal") + 100'000;
    setrlimit(RLIMIT_FSIZE, &limit);
    // Metrics are taken by the log, as far as its segments were allocated before.
    for (int step = 0; step < 100'000; ++step) run.log_metric("loss", 1, {.step = step});
    const std::uint64_t taken = c.status().acknowledged;
    int written = 0;
    const auto failure = error_of([&] {
      for (; written < 100'000; ++written) run.set_tag("t" + std::to_string(written), "v");
    });
    const auto artifact = error_of([&] { run.log_text(std::string(1'000'000, 'x'), "big.txt"); });
    setrlimit(RLIMIT_FSIZE, &before);
    run.log_metric("after", 1);
    return failure &&
           (failure->code() == errc::unavailable || failure->code() == errc::resource_exhausted) &&
           artifact && run.list_artifacts().empty() && taken > 0 && c.flush(deadline::after(60s)) &&
           c.metric_history(run.id(), "loss").size() == taken &&
           run.get().tags.count("t" + std::to_string(written)) == 0;
  });
  EXPECT_EQ(status_of(child), 0);
  EXPECT_EQ(sql(db_, "PRAGMA integrity_check"), "ok");
}

TEST_F(shared_store, waits_for_another_writer) {
  client c({.uri = db_});
  auto run = c.start_run("digits");
  sqlite3* other = nullptr;
  ASSERT_EQ(sqlite3_open(db_.c_str(), &other), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(other, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr), SQLITE_OK);
  std::thread release([&] {
    std::this_thread::sleep_for(100ms);
    sqlite3_exec(other, "COMMIT", nullptr, nullptr, nullptr);
  });
  EXPECT_NO_THROW(run.set_tag("a", "b"));
  EXPECT_NO_THROW(run.log_metric("loss", 1));
  EXPECT_TRUE(run.flush(deadline::after(60s)));
  release.join();
  sqlite3_close(other);
}

TEST_F(shared_store, gives_up_at_the_deadline_and_reads_meanwhile) {
  client c({.uri = db_, .busy_timeout = 50ms});
  auto run = c.start_run("digits");
  sqlite3* other = nullptr;
  ASSERT_EQ(sqlite3_open(db_.c_str(), &other), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(other, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr), SQLITE_OK);
  EXPECT_ERROR(errc::unavailable, db_, run.set_tag("a", "b"));
  EXPECT_NO_THROW(run.log_metric("loss", 1));
  EXPECT_FALSE(run.flush(deadline::after(200ms)));
  EXPECT_EQ(run.get().status, run_status::running);  // readers do not wait for ever
  ASSERT_EQ(sqlite3_exec(other, "COMMIT", nullptr, nullptr, nullptr), SQLITE_OK);
  sqlite3_close(other);
  EXPECT_TRUE(run.flush(deadline::after(60s)));
  EXPECT_EQ(c.metric_history(run.id(), "loss").size(), 1U);
}

}  // namespace
}  // namespace mizzen::tracking
