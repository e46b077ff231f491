#include "inference/cpu/thread_pool.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <ctime>
#include <iterator>
#include <mutex>
#include <numeric>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <cstdlib>
#include <filesystem>
#include <sched.h>
#endif

namespace mizzen::inference::detail {
namespace {

TEST(thread_pool, covers_every_index_once) {
  for (const unsigned threads : {1U, 2U, 5U}) {
    thread_pool pool(threads);
    EXPECT_EQ(pool.size(), threads);
    for (const std::size_t count : {0U, 1U, 7U, 64U, 1001U}) {
      for (const std::size_t grain : {0U, 1U, 10U, 5000U}) {
        std::vector<std::atomic<int>> seen(count);
        pool.parallel_for(count, grain, [&](std::size_t begin, std::size_t end) {
          ASSERT_LT(begin, end);
          for (std::size_t i = begin; i < end; ++i) ++seen[i];
        });
        for (const auto& times : seen) EXPECT_EQ(times, 1);
      }
    }
  }
}

TEST(thread_pool, pieces_are_not_smaller_than_the_grain) {
  thread_pool pool(4);
  pool.parallel_for(1000, 300, [&](std::size_t begin, std::size_t end) {
    EXPECT_TRUE(end - begin >= 300 || end == 1000) << begin << " " << end;
  });
}

TEST(thread_pool, one_thread_runs_on_the_caller) {
  thread_pool pool(1);
  const auto caller = std::this_thread::get_id();
  int calls = 0;
  pool.parallel_for(1000, 1, [&](std::size_t begin, std::size_t end, unsigned slot) {
    EXPECT_EQ(std::this_thread::get_id(), caller);
    EXPECT_EQ(begin, 0U);
    EXPECT_EQ(end, 1000U);
    EXPECT_EQ(slot, 0U);
    ++calls;
  });
  EXPECT_EQ(calls, 1);
}

TEST(thread_pool, slots_are_distinct_while_inside) {
  thread_pool pool(4);
  std::vector<std::atomic<int>> busy(pool.size());
  for (int round = 0; round < 50; ++round) {
    pool.parallel_for(200, 1, [&](std::size_t, std::size_t, unsigned slot) {
      ASSERT_LT(slot, pool.size());
      EXPECT_EQ(busy[slot].fetch_add(1), 0);
      std::this_thread::yield();
      busy[slot].fetch_sub(1);
    });
  }
}

TEST(thread_pool, callers_may_come_from_several_threads) {
  thread_pool pool(3);
  std::vector<std::thread> callers;
  std::vector<std::size_t> sums(4);
  for (std::size_t c = 0; c < sums.size(); ++c) {
    callers.emplace_back([&, c] {
      for (int round = 0; round < 100; ++round) {
        std::atomic<std::size_t> sum{0};
        pool.parallel_for(257, 2, [&](std::size_t begin, std::size_t end) {
          for (std::size_t i = begin; i < end; ++i) sum += i;
        });
        sums[c] += sum;
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  for (const std::size_t sum : sums) EXPECT_EQ(sum, 100U * (256U * 257U / 2));
}

TEST(thread_pool, nested_calls_run_inline) {
  thread_pool pool(3);
  std::atomic<std::size_t> total{0};
  pool.parallel_for(16, 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      const auto outer = std::this_thread::get_id();
      pool.parallel_for(100, 1, [&](std::size_t b, std::size_t e, unsigned slot) {
        EXPECT_EQ(std::this_thread::get_id(), outer);
        EXPECT_EQ(slot, 0U);
        total += e - b;
      });
    }
  });
  EXPECT_EQ(total, 1600U);
}

TEST(thread_pool, the_first_exception_reaches_the_caller_and_the_pool_lives_on) {
  thread_pool pool(3);
  for (int round = 0; round < 50; ++round) {
    EXPECT_THROW(pool.parallel_for(100, 1,
                                   [&](std::size_t begin, std::size_t) {
                                     if (begin % 2 == 0) throw std::runtime_error("even");
                                   }),
                 std::runtime_error);
    std::atomic<std::size_t> count{0};
    pool.parallel_for(100, 1, [&](std::size_t begin, std::size_t end) { count += end - begin; });
    EXPECT_EQ(count, 100U);
  }
}

TEST(thread_pool, a_series_has_its_work_done_whether_threads_sleep_between_or_not) {
  using namespace std::chrono_literals;
  thread_pool pool(4, 100us);
  std::vector<std::thread> callers;
  std::vector<std::size_t> sums(3);
  for (std::size_t c = 0; c < sums.size(); ++c) {
    callers.emplace_back([&, c] {
      for (std::size_t round = 0; round < 20; ++round) {
        const thread_pool::series calls(pool);
        for (std::size_t call = 0; call < 20; ++call) {
          std::atomic<std::size_t> sum{0};
          pool.parallel_for(100, 1, [&](std::size_t begin, std::size_t end) {
            for (std::size_t i = begin; i < end; ++i) sum += i;
          });
          sums[c] += sum;
          // At times longer than a thread stays awake.
          if ((call + c) % 5 == 0) std::this_thread::sleep_for(round % 2 * 300us);
        }
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  for (const std::size_t sum : sums) EXPECT_EQ(sum, 400U * (99U * 100U / 2));
}

TEST(thread_pool, sleeps_once_a_series_has_ended) {
  using namespace std::chrono_literals;
  thread_pool pool(4, 1h);
  {
    const thread_pool::series calls(pool);
    // Until every thread has had work and looks for more.
    std::set<unsigned> slots;
    std::mutex mutex;
    while (slots.size() < pool.size()) {
      pool.parallel_for(64, 1, [&](std::size_t, std::size_t, unsigned slot) {
        std::this_thread::sleep_for(1ms);
        const std::lock_guard lock(mutex);
        slots.insert(slot);
      });
    }
  }
  std::this_thread::sleep_for(20ms);
  const auto processor_time = std::clock();
  std::this_thread::sleep_for(200ms);
  EXPECT_LT(std::clock() - processor_time, CLOCKS_PER_SEC / 20);
}

#if defined(__linux__)
// The ids of all threads of this process, sorted.
std::vector<pid_t> threads_of_process() {
  std::vector<pid_t> ids;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task")) {
    ids.push_back(std::atoi(entry.path().filename().c_str()));
  }
  std::ranges::sort(ids);
  return ids;
}

TEST(thread_pool, a_worker_wakes_up_beside_its_caller_not_behind_it) {
  cpu_set_t all;
  ASSERT_EQ(sched_getaffinity(0, sizeof all, &all), 0);
  if (CPU_COUNT(&all) < 2) GTEST_SKIP() << "this takes two processors";
  std::size_t first = 0;
  while (!CPU_ISSET(first, &all)) ++first;
  cpu_set_t only;
  CPU_ZERO(&only);
  CPU_SET(first, &only);

  const std::vector<pid_t> before = threads_of_process();
  thread_pool pool(2);
  std::vector<pid_t> workers;
  std::ranges::set_difference(threads_of_process(), before, std::back_inserter(workers));
  ASSERT_EQ(workers.size(), 1U);
  // Both last ran on one processor; then the worker may run anywhere again, and sleeps.
  ASSERT_EQ(sched_setaffinity(0, sizeof only, &only), 0);
  for (int round = 0; round < 20; ++round) {
    ASSERT_EQ(sched_setaffinity(workers[0], sizeof only, &only), 0);
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    ASSERT_EQ(sched_setaffinity(workers[0], sizeof all, &all), 0);
    std::atomic<int> began = 0;
    std::atomic<int> worker_on = -1;
    pool.parallel_for(2, 1, [&](std::size_t, std::size_t, unsigned slot) {
      if (slot == 1) worker_on = sched_getcpu();
      ++began;
      const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
      while (began < 2 && std::chrono::steady_clock::now() < end) {
      }
    });
    ASSERT_GE(worker_on, 0) << "the worker never came";
    EXPECT_NE(worker_on, static_cast<int>(first));
    cpu_set_t now;
    ASSERT_EQ(sched_getaffinity(workers[0], sizeof now, &now), 0);
    EXPECT_TRUE(CPU_EQUAL(&now, &all)) << "where it may run is as before";
  }
  ASSERT_EQ(sched_setaffinity(0, sizeof all, &all), 0);
}
#endif

TEST(thread_pool, starts_and_stops_without_work) {
  for (int i = 0; i < 20; ++i) thread_pool pool(4);
}

}  // namespace
}  // namespace mizzen::inference::detail
