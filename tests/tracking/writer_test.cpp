// What is logged reaches the store, whatever befalls the process, the store and the log.
#include "temporary_folder.hpp"

#include <mizzen/core/json.hpp>
#include <mizzen/core/time.hpp>
#include <mizzen/tracking.hpp>

#include <gmock/gmock.h>
#include <sys/wait.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <unistd.h>
#include <vector>

namespace mizzen::tracking {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::IsEmpty;

const deadline& soon() {
  static const deadline at = deadline::after(120s);
  return at;
}

class tracked_writer : public testing::Test {
 protected:
  // A process that logs into a run while the store is locked, and is killed: nothing was drained.
  std::string killed_after(int points) {
    std::string id;
    {
      client c({.uri = db_});
      auto run = c.start_run("digits");
      id = run.id();
      run.finish();
    }
    sqlite3* other = nullptr;
    const pid_t child = fork();
    if (child == 0) {
      client c({.uri = db_, .busy_timeout = 60s});
      auto run = c.resume_run(id);
      sqlite3_open(db_.c_str(), &other);
      sqlite3_busy_timeout(other, 60'000);
      if (sqlite3_exec(other, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr) != SQLITE_OK) _exit(1);
      for (int step = 0; step < points; ++step) run.log_metric("loss", step * 0.5, {.step = step});
      kill(getpid(), SIGKILL);
    }
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_TRUE(WIFSIGNALED(status));
    EXPECT_EQ(sql(db_, "SELECT count(*) FROM metrics"), "0");
    return id;
  }
  // The files below the folder of logs.
  std::vector<std::filesystem::path> files() const {
    std::vector<std::filesystem::path> found;
    for (const auto& each : std::filesystem::recursive_directory_iterator(wal_)) {
      if (each.is_regular_file()) found.push_back(each.path());
    }
    std::sort(found.begin(), found.end());
    return found;
  }
  std::filesystem::path first_segment() const {
    for (const auto& each : files()) {
      if (each.extension() == ".wal") return each;
    }
    return {};
  }
  void flip(const std::filesystem::path& path, std::streamoff at, std::size_t count) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(at);
    file << std::string(count, 'x');
  }

  temporary_folder folder_;
  std::string db_ = folder_.file("mlflow.db");
  std::filesystem::path wal_ = db_ + ".mizzen-wal";
};

TEST_F(tracked_writer, stores_what_is_logged_and_leaves_nothing_behind) {
  {
    client c({.uri = db_});
    auto run = c.start_run("digits");
    for (int step = 0; step < 20'000; ++step) {
      run.log_metric("loss", step, {.step = step});
      if (step % 100 == 0) run.log_metrics({{"a", 1}, {"b", 2}}, {.step = step});
    }
    EXPECT_TRUE(run.flush(soon()));
    const writer_status status = c.status();
    EXPECT_EQ(status.acknowledged, 20'400U);
    EXPECT_EQ(status.drained, 20'400U);
    EXPECT_EQ(status.refused + status.rejected + status.adopted, 0U);
    EXPECT_GT(status.log_size, 0U);
    EXPECT_THAT(status.last_error, IsEmpty());
    EXPECT_EQ(sql(db_, "SELECT count(*) FROM metrics"), "20400");
    EXPECT_EQ(sql(db_, "SELECT value FROM latest_metrics WHERE key = 'loss'"), "19999.0");
  }
  EXPECT_THAT(files(), IsEmpty());
}

TEST_F(tracked_writer, a_clock_that_goes_backwards_changes_no_order) {
  client c({.uri = db_});
  auto run = c.start_run("digits");
  for (int step = 0; step < 100; ++step) {
    run.log_metric("loss", step, {.step = step, .timestamp = 1'000'000 - step});
  }
  EXPECT_EQ(run.get().metrics.at("loss").step, 99);
  EXPECT_EQ(c.metric_history(run.id(), "loss").size(), 100U);
}

TEST_F(tracked_writer, a_clock_that_goes_backwards_ends_no_run_before_it_began) {
  client c({.uri = db_});
  constexpr std::int64_t tomorrow = 86'400'000;
  const std::int64_t start = unix_millis() + tomorrow;
  auto run = c.start_run("digits", {.start_time = start});
  run.log_metric("loss", 1);  // of now, a day before
  run.finish();
  const run_record found = c.get_run(run.id());
  EXPECT_EQ(found.start_time, start);
  EXPECT_EQ(found.end_time, start);
  EXPECT_LT(found.metrics.at("loss").timestamp, start);
}

TEST_F(tracked_writer, the_next_start_drains_what_a_killed_process_left) {
  const std::string id = killed_after(10'000);
  client c({.uri = db_, .create = false});
  EXPECT_TRUE(c.flush(soon()));
  EXPECT_EQ(c.status().adopted, 10'000U);
  const auto history = c.metric_history(id, "loss");
  ASSERT_EQ(history.size(), 10'000U);
  EXPECT_EQ(c.get_run(id).metrics.at("loss").value, 9'999 * 0.5);
  EXPECT_THAT(files(), IsEmpty());
}

TEST_F(tracked_writer, a_read_waits_for_what_a_killed_process_left) {
  const std::string id = killed_after(1'000);
  EXPECT_EQ(client({.uri = db_}).metric_history(id, "loss").size(), 1'000U);
}

TEST_F(tracked_writer, a_read_finds_what_a_process_left_meanwhile) {
  const client before({.uri = db_});
  const std::string id = killed_after(1'000);
  EXPECT_EQ(before.metric_history(id, "loss").size(), 1'000U);
  EXPECT_EQ(before.status().adopted, 1'000U);
  EXPECT_THAT(files(), IsEmpty());
}

TEST_F(tracked_writer, goes_on_where_another_stopped) {
  const std::string id = killed_after(1'000);
  // As when the process that took the log over died after the store's commit.
  const auto segment = first_segment();
  const std::string before = read_file(segment);
  const auto name = segment.parent_path();
  EXPECT_EQ(client({.uri = db_}).metric_history(id, "loss").size(), 1'000U);
  std::filesystem::create_directories(name);
  write_file(segment, before);
  EXPECT_EQ(client({.uri = db_}).metric_history(id, "loss").size(), 1'000U);
  EXPECT_THAT(files(), IsEmpty());
}

TEST_F(tracked_writer, says_what_a_damaged_log_lost) {
  const std::string id = killed_after(1'000);
  flip(first_segment(), 4096 + 500 * 32, 64);  // two of the points
  std::mutex mutex;
  std::vector<std::string> messages;
  client c({.uri = db_, .log = logger([&](const log_record& record) {
                          const std::scoped_lock lock(mutex);
                          messages.emplace_back(record.message);
                        })});
  EXPECT_TRUE(c.flush(soon()));
  EXPECT_EQ(c.metric_history(id, "loss").size(), 998U);
  EXPECT_THAT(c.status().last_error, HasSubstr("2 damaged cells"));
  const std::scoped_lock lock(mutex);
  EXPECT_THAT(messages, testing::Contains(HasSubstr("damaged")));
}

TEST_F(tracked_writer, sets_a_segment_aside_that_it_cannot_read) {
  killed_after(1'000);
  const auto segment = first_segment();
  flip(segment, 20, 4);
  client c({.uri = db_});
  EXPECT_TRUE(c.flush(soon()));
  EXPECT_THAT(c.status().last_error, HasSubstr("damaged"));
  EXPECT_TRUE(std::filesystem::exists(segment.string() + ".damaged"));
  EXPECT_FALSE(std::filesystem::exists(segment));
}

TEST_F(tracked_writer, leaves_the_log_of_a_living_process_alone) {
  client first({.uri = db_});
  auto run = first.start_run("digits");
  const auto before = files();
  {
    client second({.uri = db_});
    auto other = second.start_run("digits");
    other.log_metric("loss", 1);
    EXPECT_TRUE(second.flush(soon()));
    EXPECT_EQ(second.status().adopted, 0U);
  }
  EXPECT_EQ(files().front().parent_path(), before.front().parent_path());
  run.log_metric("loss", 2);
  EXPECT_EQ(first.metric_history(run.id(), "loss").size(), 1U);
}

TEST_F(tracked_writer, keeps_what_the_store_rejects) {
  client c({.uri = db_});
  auto good = c.start_run("digits");
  auto bad = c.start_run("digits");
  sql(db_, "UPDATE runs SET lifecycle_stage = 'deleted' WHERE run_uuid = '" + bad.id() + "'");
  for (int step = 0; step < 100; ++step) {
    good.log_metric("loss", step, {.step = step});
    bad.log_metric("loss", std::nan(""), {.step = step, .timestamp = 5});
  }
  EXPECT_TRUE(c.flush(soon()));
  EXPECT_EQ(c.metric_history(good.id(), "loss").size(), 100U);
  EXPECT_EQ(c.metric_history(bad.id(), "loss").size(), 0U);
  EXPECT_EQ(c.status().rejected, 100U);
  EXPECT_EQ(c.status().drained, 200U);
  std::ifstream kept(wal_ / "rejected.jsonl");
  std::string line;
  int lines = 0;
  while (std::getline(kept, line)) {
    const json entry = json::parse(line);
    EXPECT_EQ(entry.at("run_id"), bad.id());
    EXPECT_EQ(entry.at("metric"), "loss");
    EXPECT_EQ(entry.at("value"), "NaN");
    EXPECT_EQ(entry.at("step"), lines++);
    EXPECT_EQ(entry.at("timestamp"), 5);
    EXPECT_THAT(entry.at("error").get<std::string>(), HasSubstr("deleted"));
  }
  EXPECT_EQ(lines, 100);
}

TEST_F(tracked_writer, tries_again_what_fails_and_leaves_the_rest_to_the_next_start) {
  std::string id;
  sqlite3* other = nullptr;
  {
    client c({.uri = db_, .busy_timeout = 20ms, .writer = {.close_timeout = 50ms}});
    auto run = c.start_run("digits");
    id = run.id();
    ASSERT_EQ(sqlite3_open(db_.c_str(), &other), SQLITE_OK);
    ASSERT_EQ(sqlite3_exec(other, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr), SQLITE_OK);
    run.log_metric("loss", 1);
    EXPECT_FALSE(c.flush(deadline::after(300ms)));
    EXPECT_THAT(c.status().last_error, HasSubstr("store"));
    EXPECT_EQ(c.status().drained, 0U);
    ASSERT_EQ(sqlite3_exec(other, "COMMIT", nullptr, nullptr, nullptr), SQLITE_OK);
    EXPECT_TRUE(c.flush(soon()));
    ASSERT_EQ(sqlite3_exec(other, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr), SQLITE_OK);
    run.log_metric("loss", 2, {.step = 1});
  }  // the store is still locked
  EXPECT_FALSE(files().empty());
  ASSERT_EQ(sqlite3_exec(other, "COMMIT", nullptr, nullptr, nullptr), SQLITE_OK);
  sqlite3_close(other);
  EXPECT_EQ(client({.uri = db_}).metric_history(id, "loss").size(), 2U);
  EXPECT_THAT(files(), IsEmpty());
}

TEST_F(tracked_writer, refuses_what_it_has_no_room_for_without_throwing) {
  client c({.uri = db_,
            .busy_timeout = 20ms,
            .writer = {.segment_size = 256 << 10, .total_size = 600 << 10}});
  auto run = c.start_run("digits");
  sqlite3* other = nullptr;
  ASSERT_EQ(sqlite3_open(db_.c_str(), &other), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(other, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr), SQLITE_OK);
  for (int step = 0; step < 30'000; ++step) run.log_metric("loss", step, {.step = step});
  const writer_status full = c.status();
  EXPECT_EQ(full.acknowledged + full.refused, 30'000U);
  EXPECT_GT(full.refused, 10'000U);
  ASSERT_EQ(sqlite3_exec(other, "COMMIT", nullptr, nullptr, nullptr), SQLITE_OK);
  sqlite3_close(other);
  EXPECT_TRUE(c.flush(soon()));
  EXPECT_EQ(c.metric_history(run.id(), "loss").size(), full.acknowledged);
  run.log_metric("after", 1);
  EXPECT_EQ(run.get().metrics.count("after"), 1U);
}

TEST_F(tracked_writer, checks_its_options) {
  EXPECT_ERROR(errc::invalid_argument, "segment_size",
               client({.uri = db_, .writer = {.segment_size = 5}}));
  EXPECT_ERROR(errc::invalid_argument, "total_size",
               client({.uri = db_, .writer = {.total_size = 4 << 20}}));
}

TEST_F(tracked_writer, starts_no_run_that_it_cannot_log) {
  write_file(folder_.file("file"), "");
  client c({.uri = db_, .writer = {.directory = folder_.path() / "file" / "wal"}});
  EXPECT_TRUE(error_of([&] { c.start_run("digits"); }));
  EXPECT_THAT(c.search_runs(), IsEmpty());
}

}  // namespace
}  // namespace mizzen::tracking
