// A disk that is really full, a folder that cannot be written, a log that lost its end: nothing
// that was acknowledged is lost, nothing crashes, and it is said what happened.
#include "in_child.hpp"
#include "temporary_folder.hpp"
#include "tracking/wal_format.hpp"

#include <mizzen/tracking.hpp>

#include <gmock/gmock.h>
#include <sys/mount.h>
#include <sys/statvfs.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <sched.h>
#include <string>
#include <unistd.h>

namespace mizzen::tracking {
namespace {

using namespace std::chrono_literals;
using test::in_child;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::size_t disk_size = 16 << 20;
constexpr std::size_t least_segment = 256 << 10;

// A file system of its own, of 16 MB, which root may make.
class small_disk : public testing::Test {
 protected:
  void SetUp() override {
    const std::string size = "size=" + std::to_string(disk_size);
    mounted_ = ::mount("tmpfs", folder_.path().c_str(), "tmpfs", 0, size.c_str()) == 0;
    if (!mounted_) {
      GTEST_SKIP() << "a small tmpfs cannot be mounted here (" << std::strerror(errno)
                   << "): what happens on a full disk is not tested";
    }
  }
  void TearDown() override {
    if (mounted_) ::umount2(folder_.path().c_str(), MNT_DETACH);
  }
  // Takes all there is but so much. The drain may take some at the same time.
  void fill(std::size_t leave) const {
    const int file = ::open(filler_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ASSERT_GE(file, 0);
    int failed = ENOSPC;
    while (failed == ENOSPC) {
      struct statvfs state{};
      ASSERT_EQ(::statvfs(folder_.path().c_str(), &state), 0);
      const std::size_t free = state.f_bavail * state.f_bsize;
      if (free <= leave) break;
      failed = ::posix_fallocate(file, 0, static_cast<off_t>(free - leave));
    }
    ::close(file);
    ASSERT_EQ(failed, 0);
  }
  void make_room() const { std::filesystem::remove(filler_); }

  temporary_folder folder_;
  std::string db_ = folder_.file("mlflow.db");
  std::string filler_ = folder_.file("filler");
  bool mounted_ = false;
};

deadline soon() { return deadline::after(60s); }

TEST_F(small_disk, a_log_without_room_refuses_and_loses_nothing_that_it_took) {
  client c({.uri = db_, .busy_timeout = 500ms, .writer = {.segment_size = least_segment}});
  auto run = c.start_run("digits");
  run.log_metric("before", 1);
  ASSERT_TRUE(run.flush(soon()));
  fill(0);
  constexpr int points = 30'000;
  for (int step = 0; step < points; ++step) run.log_metric("loss", step, {.step = step});
  const writer_status full = c.status();
  EXPECT_EQ(full.acknowledged + full.refused, points + 1U);
  EXPECT_GT(full.refused, 0U);
  EXPECT_GT(full.acknowledged, detail::wal_least_cells / 2);  // segments are made beforehand
  EXPECT_FALSE(run.flush(deadline::after(200ms)));
  EXPECT_THAT(c.status().last_error, Not(IsEmpty()));
  // What goes to the store at once says so; reading still works.
  const auto failure = error_of([&] { run.set_tag("key", std::string(5000, 'x')); });
  ASSERT_TRUE(failure);
  EXPECT_EQ(to_string(failure->code()), to_string(errc::resource_exhausted)) << failure->what();
  EXPECT_EQ(run.get().status, run_status::running);
  const auto second = error_of([&] {
    client other({.uri = db_});
    other.start_run("digits");
  });
  ASSERT_TRUE(second);
  EXPECT_EQ(to_string(second->code()), to_string(errc::resource_exhausted)) << second->what();

  make_room();
  EXPECT_TRUE(run.flush(soon()));  // a read would not wait for long
  EXPECT_EQ(c.metric_history(run.id(), "loss").size() + 1, full.acknowledged);
  run.log_metric("after", 1);
  EXPECT_EQ(run.get().metrics.at("after").value, 1);
  EXPECT_EQ(c.status().refused, full.refused);
  EXPECT_EQ(sql(db_, "PRAGMA integrity_check"), "ok");
}

TEST_F(small_disk, who_is_killed_on_a_full_disk_loses_nothing) {
  std::string id;
  {
    client c({.uri = db_});
    auto run = c.start_run("digits");
    id = run.id();
  }
  std::filesystem::create_directory(folder_.path() / "told");
  const auto told = folder_.path() / "told" / "points";
  write_file(told, std::string(8, '\0'));
  const pid_t child = fork();
  if (child == 0) {
    client c({.uri = db_, .writer = {.segment_size = least_segment}});
    auto run = c.resume_run(id);
    fill(0);
    for (int step = 0; step < 30'000; ++step) run.log_metric("loss", step, {.step = step});
    const std::uint64_t taken = c.status().acknowledged;
    const int file = ::open(told.c_str(), O_WRONLY | O_CLOEXEC);
    if (::pwrite(file, &taken, sizeof taken, 0) != sizeof taken) _exit(1);
    kill(getpid(), SIGKILL);
  }
  int status = 0;
  waitpid(child, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status));
  std::uint64_t taken = 0;
  std::memcpy(&taken, read_file(told).data(), sizeof taken);
  EXPECT_GT(taken, detail::wal_least_cells / 2);
  {
    // Still full: what is left waits, and stays.
    client c({.uri = db_, .busy_timeout = 200ms, .writer = {.close_timeout = 100ms}});
    EXPECT_FALSE(c.flush(deadline::after(200ms)));
  }
  make_room();
  client c({.uri = db_});
  EXPECT_TRUE(c.flush(soon()));
  EXPECT_EQ(c.metric_history(id, "loss").size(), taken);
  EXPECT_EQ(sql(db_, "PRAGMA integrity_check"), "ok");
}

// Space is taken when a segment is made: not even a full disk is a SIGBUS.
TEST_F(small_disk, a_full_disk_starts_no_run_that_cannot_be_logged) {
  client c({.uri = db_, .writer = {.segment_size = least_segment}});
  c.get_or_create_experiment("digits");
  fill(64 << 10);
  const auto failure = error_of([&] { c.start_run("digits"); });
  ASSERT_TRUE(failure);
  EXPECT_EQ(to_string(failure->code()), to_string(errc::resource_exhausted)) << failure->what();
  EXPECT_THAT(failure->what(), HasSubstr("no room"));
  make_room();
  EXPECT_THAT(c.search_runs(), IsEmpty());
  EXPECT_NO_THROW(c.start_run("digits").log_metric("loss", 1));
}

TEST_F(small_disk, artifacts_that_do_not_fit_leave_nothing_behind) {
  client c({.uri = db_});
  auto run = c.start_run("digits");
  run.log_text("small", "small.txt");
  const auto failure = error_of([&] { run.log_text(std::string(disk_size, 'x'), "large.txt"); });
  ASSERT_TRUE(failure);
  EXPECT_EQ(to_string(failure->code()), to_string(errc::resource_exhausted)) << failure->what();
  const auto left = run.list_artifacts();
  ASSERT_EQ(left.size(), 1U);
  EXPECT_EQ(left[0].path, "small.txt");
}

// --- folders that cannot be written --------------------------------------------------------------

class locked_folder : public testing::Test {
 protected:
  void TearDown() override {
    std::filesystem::permissions(folder_.path(), std::filesystem::perms(0755));
  }
  // As a user whom permissions stop.
  template <typename Work>
  static bool as_nobody(Work work) {
    return in_child([&] {
      if (getuid() == 0 && setuid(65534) != 0) return false;
      return work();
    });
  }
  temporary_folder folder_;
  std::string db_ = folder_.file("mlflow.db");
};

// The store may be written, the folder of its log may not: no run is started that could not log.
TEST_F(locked_folder, a_run_is_not_started_where_its_log_cannot_be) {
  std::filesystem::permissions(folder_.path(), std::filesystem::perms(0777));
  const auto logs = folder_.path() / "logs";
  std::filesystem::create_directory(logs);
  std::filesystem::permissions(logs, std::filesystem::perms(0555));
  EXPECT_TRUE(as_nobody([&] {
    client c({.uri = db_, .writer = {.directory = logs}});
    const auto failure = error_of([&] { c.start_run("digits"); });
    return failure && failure->code() == errc::permission_denied &&
           failure->subject().find("logs") != std::string::npos && c.search_runs().empty();
  }));
}

// Taken away while a run is written: what was acknowledged is drained, the rest is refused.
TEST_F(locked_folder, a_folder_that_is_locked_later_stops_at_the_next_segment) {
  std::filesystem::permissions(folder_.path(), std::filesystem::perms(0777));
  const auto logs = folder_.path() / "logs";
  EXPECT_TRUE(as_nobody([&] {
    client c({.uri = db_, .writer = {.directory = logs, .segment_size = least_segment}});
    auto run = c.start_run("digits");
    run.log_metric("loss", 0, {.step = 0});
    if (!run.flush(soon())) return false;
    for (const auto& each : std::filesystem::directory_iterator(logs)) {
      std::filesystem::permissions(each.path(), std::filesystem::perms(0555));
    }
    for (int step = 1; step < 50'000; ++step) run.log_metric("loss", step, {.step = step});
    const writer_status status = c.status();
    for (const auto& each : std::filesystem::directory_iterator(logs)) {
      std::filesystem::permissions(each.path(), std::filesystem::perms(0755));
    }
    return run.flush(soon()) && status.refused > 0 &&
           status.acknowledged + status.refused == 50'000 &&
           c.metric_history(run.id(), "loss").size() == status.acknowledged;
  }));
}

// --- a log without its end -----------------------------------------------------------------------

class damaged_log : public testing::Test {
 protected:
  // A process that logs a thousand points while the store is locked, and is killed.
  void SetUp() override {
    {
      client c({.uri = db_});
      id_ = c.start_run("digits").id();
    }
    const pid_t child = fork();
    if (child == 0) {
      client c({.uri = db_, .busy_timeout = 60s, .writer = {.segment_size = least_segment}});
      auto run = c.resume_run(id_);
      sqlite3* other = nullptr;
      sqlite3_open(db_.c_str(), &other);
      sqlite3_busy_timeout(other, 60'000);
      if (sqlite3_exec(other, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr) != SQLITE_OK) _exit(1);
      for (int step = 0; step < 1000; ++step) run.log_metric("loss", step, {.step = step});
      kill(getpid(), SIGKILL);
    }
    int status = 0;
    waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status));
    for (const auto& each : std::filesystem::recursive_directory_iterator(db_ + ".mizzen-wal")) {
      if (each.path().filename() == "00000000000000000000.wal") segment_ = each.path();
    }
    ASSERT_FALSE(segment_.empty());
  }
  std::size_t drained() {
    client c({.uri = db_});
    EXPECT_TRUE(c.flush(soon()));
    last_error_ = c.status().last_error;
    return c.metric_history(id_, "loss").size();
  }

  temporary_folder folder_;
  std::string db_ = folder_.file("mlflow.db");
  std::string id_;
  std::filesystem::path segment_;
  std::string last_error_;
};

// As file systems do it after a power cut: what was there before the cut is read.
TEST_F(damaged_log, one_that_was_cut_short_gives_what_is_left) {
  constexpr std::size_t left = 4096 + 500 * 32 + 17;
  std::filesystem::resize_file(segment_, left);
  const std::size_t found = drained();
  EXPECT_GE(found, 490U);  // some cells declare the metric
  EXPECT_LT(found, 500U);
  EXPECT_THAT(last_error_, HasSubstr("cut short"));
  EXPECT_FALSE(std::filesystem::exists(segment_));
}

TEST_F(damaged_log, one_that_ends_in_rubbish_gives_what_is_before) {
  std::string bytes = read_file(segment_);
  for (std::size_t at = 4096 + 500 * 32; at < bytes.size(); ++at) {
    bytes[at] = static_cast<char>(at * 7 + at / 32 * 3 + 1);
  }
  write_file(segment_, bytes);
  const std::size_t found = drained();
  EXPECT_GE(found, 490U);
  EXPECT_LT(found, 500U);
  EXPECT_THAT(last_error_, HasSubstr("damaged"));
}

TEST_F(damaged_log, one_that_ends_in_zeros_gives_what_is_before) {
  std::string bytes = read_file(segment_);
  std::fill(bytes.begin() + 4096 + 500 * 32, bytes.end(), '\0');
  write_file(segment_, bytes);
  const std::size_t found = drained();
  EXPECT_GE(found, 490U);
  EXPECT_LT(found, 500U);
}

TEST_F(damaged_log, one_without_its_header_is_set_aside) {
  std::filesystem::resize_file(segment_, 1000);
  EXPECT_EQ(drained(), 0U);
  EXPECT_THAT(last_error_, HasSubstr("segment"));
  EXPECT_TRUE(std::filesystem::exists(segment_.string() + ".damaged"));
}

}  // namespace
}  // namespace mizzen::tracking
