// Kills processes that log metrics, at random points, and holds the store against what they were
// promised: nothing acknowledged is missing, nothing is there twice.
//   kill_campaign KILLS [SEED]
// Each process takes over what the one before left (so that it is killed while it opens the store,
// adopts, appends, rotates, drains, and between the store's commit and the note of it) and logs
// from two threads. What is acknowledged is counted in memory that the parent shares. Now and then
// all is drained, and the store is read with plain SQLite; then a new one is begun.
#include "in_child.hpp"

#include <mizzen/core/deadline.hpp>
#include <mizzen/core/id.hpp>
#include <mizzen/tracking.hpp>

#include <sys/mman.h>
#include <sys/wait.h>

#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <sqlite3.h>
#include <string>
#include <thread>
#include <unistd.h>

namespace {

using namespace mizzen::tracking;
using mizzen::tracking::test::in_child;
using namespace std::chrono_literals;

constexpr int threads = 2;
constexpr int kills_per_store = 200;
constexpr std::int64_t most_points = 1'000'000;  // of one thread of one process

// Of one process, told while it lives.
struct promises {
  std::array<std::atomic<std::int64_t>, threads> acknowledged;
};

client open(const std::string& db) {
  // The smallest segments there are, so that they are rotated.
  return client({.uri = db, .busy_timeout = 60s, .writer = {.segment_size = 256 << 10}});
}

void log_points(run& into, promises& told, int process, int thread) {
  const std::string key = "t" + std::to_string(thread);
  const bool burst = process % 4 == 0;  // fast enough to reach the next segments
  for (std::int64_t i = 0; i < most_points; ++i) {
    const std::int64_t step = process * most_points + i;
    into.log_metric(key, static_cast<double>(step), {.step = step});
    told.acknowledged[static_cast<std::size_t>(thread)].store(i + 1, std::memory_order_release);
    if (!burst ? i % 20 == 0 : i > 12'000) std::this_thread::sleep_for(100us);
  }
}

// Never returns.
[[noreturn]] void work(const std::string& db, const std::string& run_id, promises& told,
                       int process) {
  try {
    client c = open(db);
    run into = c.resume_run(run_id);
    std::thread other([&] { log_points(into, told, process, 1); });
    log_points(into, told, process, 0);
    other.join();
  } catch (const std::exception& e) {
    std::fprintf(stderr, "process %d: %s\n", process, e.what());
  }
  _exit(1);
}

// Runs a query; visit(statement) for each row.
template <typename Visit>
bool query(const std::string& db, const char* sql, Visit visit) {
  sqlite3* handle = nullptr;
  sqlite3_stmt* row = nullptr;
  bool good = sqlite3_open(db.c_str(), &handle) == SQLITE_OK &&
              sqlite3_prepare_v2(handle, sql, -1, &row, nullptr) == SQLITE_OK;
  while (good && sqlite3_step(row) == SQLITE_ROW) good = visit(row);
  sqlite3_finalize(row);
  sqlite3_close(handle);
  return good;
}

// What the store holds of the processes, against what they were told.
bool verify(const std::string& db, const promises* told, int processes, std::int64_t& points) {
  std::vector<std::array<std::int64_t, threads>> found(static_cast<std::size_t>(processes));
  const bool read = query(
      db,
      "SELECT substr(key, 2), step / 1000000, count(*), count(DISTINCT step), max(step % 1000000), "
      "sum(value <> step) FROM metrics GROUP BY 1, 2",
      [&](sqlite3_stmt* row) {
        const int thread = sqlite3_column_int(row, 0);
        const auto process = static_cast<std::size_t>(sqlite3_column_int64(row, 1));
        const std::int64_t count = sqlite3_column_int64(row, 2);
        if (process >= found.size() || thread < 0 || thread >= threads) return false;
        found[process][static_cast<std::size_t>(thread)] = count;
        const bool once = sqlite3_column_int64(row, 3) == count;
        const bool first_ones = sqlite3_column_int64(row, 4) == count - 1;
        const bool right = sqlite3_column_int64(row, 5) == 0;
        if (once && first_ones && right) return true;
        std::fprintf(stderr, "process %zu, thread %d: %s\n", process, thread,
                     !once        ? "points are there twice"
                     : first_ones ? "values are wrong"
                                  : "points are missing");
        return false;
      });
  if (!read) return false;
  for (std::size_t process = 0; process < found.size(); ++process) {
    for (std::size_t thread = 0; thread < threads; ++thread) {
      const std::int64_t promised = told[process].acknowledged[thread];
      const std::int64_t there = found[process][thread];
      points += promised;
      // One more may be there: it was logged, and the kill forestalled the acknowledgement.
      if (there == promised || there == promised + 1) continue;
      std::fprintf(stderr, "process %zu, thread %zu: %lld points acknowledged, %lld in the store\n",
                   process, thread, static_cast<long long>(promised),
                   static_cast<long long>(there));
      return false;
    }
  }
  return query(db, "PRAGMA integrity_check", [](sqlite3_stmt* row) {
    const bool whole =
        std::string(reinterpret_cast<const char*>(sqlite3_column_text(row, 0))) == "ok";
    if (!whole) std::fprintf(stderr, "integrity_check failed\n");
    return whole;
  });
}

// A new store and so many kills.
bool campaign(const std::string& folder, int kills, std::mt19937& random, std::int64_t& points) {
  const std::string db = folder + "/mlflow.db";
  void* memory = mmap(nullptr, sizeof(promises) * kills_per_store, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return false;
  auto* told = new (memory) promises[kills_per_store]();
  std::string run_id(32, '\0');
  std::array<int, 2> channel{};
  if (pipe(channel.data()) != 0) return false;
  bool good = in_child([&] {
    client c = open(db);
    run made = c.start_run("kills");
    return write(channel[1], made.id().data(), 32) == 32;
  });
  good = good && read(channel[0], run_id.data(), 32) == 32;
  close(channel[0]);
  close(channel[1]);
  for (int process = 0; good && process < kills; ++process) {
    promises& its = told[process];
    const pid_t child = fork();
    if (child == 0) work(db, run_id, its, process);
    // Half of them at any time from the fork on, the others once they log.
    if (process % 2 == 0) {
      const auto until = mizzen::deadline::after(60s);
      while (its.acknowledged[0] == 0 && !until.expired()) std::this_thread::sleep_for(50us);
    }
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 8000));
    kill(child, SIGKILL);
    int status = 0;
    waitpid(child, &status, 0);
    good = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    if (!good) std::fprintf(stderr, "process %d ended by itself\n", process);
  }
  good =
      good && in_child([&] {
        client c = open(db);
        const bool drained = c.flush(mizzen::deadline::after(300s));
        const writer_status status = c.status();
        if (!drained || status.rejected != 0 || !status.last_error.empty()) {
          std::fprintf(stderr, "drained: %d, rejected: %llu, last error: %s\n", drained,
                       static_cast<unsigned long long>(status.rejected), status.last_error.c_str());
          return false;
        }
        return true;
      });
  good = good && verify(db, told, kills, points);
  // Nothing is left of the logs either.
  for (const auto& each : std::filesystem::recursive_directory_iterator(db + ".mizzen-wal")) {
    if (!good) continue;
    std::fprintf(stderr, "left behind: %s\n", each.path().c_str());
    good = false;
  }
  munmap(memory, sizeof(promises) * kills_per_store);
  return good;
}

}  // namespace

int main(int argc, char** argv) {
  const int kills = argc > 1 ? std::atoi(argv[1]) : 0;
  if (kills <= 0) {
    std::fprintf(stderr, "usage: kill_campaign KILLS [SEED]\n");
    return 2;
  }
  const unsigned seed =
      argc > 2 ? static_cast<unsigned>(std::atoi(argv[2])) : std::random_device()();
  std::mt19937 random(seed);
  std::int64_t points = 0;
  const auto began = std::chrono::steady_clock::now();
  for (int done = 0; done < kills; done += kills_per_store) {
    const auto folder =
        std::filesystem::temp_directory_path() / ("mizzen-kills-" + mizzen::random_hex_id());
    std::filesystem::create_directories(folder);
    if (!campaign(folder.string(), std::min(kills - done, kills_per_store), random, points)) {
      std::fprintf(stderr, "failed with seed %u; what is left is in %s\n", seed, folder.c_str());
      return 1;
    }
    std::filesystem::remove_all(folder);
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  std::printf("%d kills in %.0f s, %lld acknowledged points, none lost, none doubled\n", kills,
              took.count(), static_cast<long long>(points));
  return 0;
}
