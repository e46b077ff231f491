#include <mizzen/core/error.hpp>
#include <mizzen/kubernetes/work_queue.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <future>
#include <map>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace mizzen::kubernetes {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using core = detail::work_queue_core<int>;
using time_point = core::time_point;

const time_point start{};

TEST(WorkQueueCore, HoldsEachItemOnceInOrder) {
  core queue({});
  for (const int item : {3, 1, 3, 2, 1}) queue.add(item);
  EXPECT_EQ(queue.size(), 3U);
  EXPECT_EQ(queue.take(), 3);
  EXPECT_EQ(queue.take(), 1);
  EXPECT_EQ(queue.take(), 2);
  EXPECT_EQ(queue.take(), std::nullopt);
}

TEST(WorkQueueCore, AnItemThatIsWorkedOnComesAgainOnlyWhenDone) {
  core queue({});
  queue.add(1);
  EXPECT_EQ(queue.take(), 1);
  queue.add(1);
  queue.add(1);
  EXPECT_EQ(queue.take(), std::nullopt) << "two workers on one item";
  queue.done(1);
  EXPECT_EQ(queue.take(), 1);
  queue.done(1);
  EXPECT_EQ(queue.take(), std::nullopt);
}

TEST(WorkQueueCore, DoneOfWhatNobodyHasDoesNothing) {
  core queue({});
  queue.add(1);
  queue.done(1);
  EXPECT_EQ(queue.size(), 1U);
}

TEST(WorkQueueCore, TheEarliestDelayCounts) {
  core queue({});
  queue.add_at(1, start + 10s);
  queue.add_at(1, start + 5s);
  queue.add_at(1, start + 20s);
  queue.add_at(2, start + 7s);
  EXPECT_EQ(queue.next_due(), start + 5s);
  queue.advance(start + 5s);
  EXPECT_EQ(queue.take(), 1);
  queue.done(1);
  EXPECT_EQ(queue.next_due(), start + 7s);
  queue.advance(start + 1h);
  EXPECT_EQ(queue.take(), 2);
  EXPECT_EQ(queue.take(), std::nullopt) << "the later delays of 1 are forgotten";
  EXPECT_EQ(queue.next_due(), std::nullopt);
}

TEST(WorkQueueCore, FailuresDoubleTheDelayUpToTheLast) {
  const rate_limit limit{.first_delay = 5ms, .last_delay = 1s, .per_second = 0};
  core queue(limit);
  time_point now = start;
  for (const auto expected : {5ms, 10ms, 20ms, 40ms, 80ms, 160ms, 320ms, 640ms, 1000ms, 1000ms}) {
    queue.add_rate_limited(1, now);
    EXPECT_EQ(queue.next_due(), now + expected);
    now += expected;
    queue.advance(now);
    EXPECT_EQ(queue.take(), 1);
    queue.done(1);
  }
  EXPECT_EQ(queue.failures(1), 10U);
  queue.forget(1);
  EXPECT_EQ(queue.failures(1), 0U);
  queue.add_rate_limited(1, now);
  EXPECT_EQ(queue.next_due(), now + 5ms);
  EXPECT_EQ(detail::delay_of_failure({}, 1'000'000), 1'000'000ms);
}

TEST(WorkQueueCore, TheBucketBoundsAllItemsTogether) {
  core queue({.first_delay = 0ms, .per_second = 10, .burst = 3});
  for (int item = 0; item < 6; ++item) queue.add_rate_limited(item, start);
  EXPECT_EQ(queue.size(), 3U);
  queue.advance(start + 100ms);
  EXPECT_EQ(queue.size(), 4U);
  queue.advance(start + 300ms);
  EXPECT_EQ(queue.size(), 6U);
  queue.add_rate_limited(7, start + 1h);
  EXPECT_EQ(queue.size(), 7U) << "it is full again";
}

TEST(WorkQueueCore, ShutDownKeepsWhatIsQueuedAndDropsWhatIsLate) {
  core queue({});
  queue.add(1);
  queue.add(2);
  queue.add_at(3, start + 1s);
  EXPECT_EQ(queue.take(), 1);
  queue.add(1);
  queue.shut_down();
  queue.add(4);
  queue.add_at(5, start + 1s);
  queue.add_rate_limited(6, start);
  queue.advance(start + 1h);
  EXPECT_EQ(queue.take(), 2);
  queue.done(2);
  EXPECT_FALSE(queue.exhausted()) << "1 was added again in time";
  queue.done(1);
  EXPECT_EQ(queue.take(), 1);
  EXPECT_TRUE(queue.exhausted());
  EXPECT_FALSE(queue.drained());
  queue.done(1);
  EXPECT_TRUE(queue.drained());
}

// Random calls against the plainest possible model.
TEST(WorkQueueCore, AgreesWithAModel) {
  for (std::uint64_t seed = 0; seed < 3000; ++seed) {
    std::mt19937_64 random(seed);
    core queue({.per_second = 0});
    std::vector<int> order;
    std::set<int> wanted, held;
    std::map<int, time_point> later;
    time_point now = start;
    const auto add = [&](int item) {
      if (!wanted.insert(item).second) return;
      if (!held.contains(item)) order.push_back(item);
    };
    for (int i = 0; i < 100; ++i) {
      const int item = static_cast<int>(random() % 5);
      switch (random() % 5) {
        case 0:
          queue.add(item);
          add(item);
          break;
        case 1: {
          // No two at the same moment: their order would be open.
          const auto when =
              now + std::chrono::milliseconds(1 + random() % 50) + std::chrono::nanoseconds(i);
          queue.add_at(item, when);
          const auto [at, fresh] = later.emplace(item, when);
          if (!fresh) at->second = std::min(at->second, when);
          break;
        }
        case 2: {
          const auto got = queue.take();
          ASSERT_EQ(got.has_value(), !order.empty()) << seed;
          if (!got) break;
          ASSERT_EQ(*got, order.front()) << seed;
          order.erase(order.begin());
          wanted.erase(*got);
          ASSERT_TRUE(held.insert(*got).second) << "two workers on one item";
          break;
        }
        case 3:
          queue.done(item);
          if (held.erase(item) == 1 && wanted.contains(item)) order.push_back(item);
          break;
        default: {
          now += std::chrono::milliseconds(random() % 20);
          queue.advance(now);
          std::vector<std::pair<time_point, int>> due;
          for (const auto& [key, when] : later) {
            if (when <= now) due.emplace_back(when, key);
          }
          std::sort(due.begin(), due.end());
          for (const auto& [when, key] : due) {
            later.erase(key);
            add(key);
          }
        }
      }
      ASSERT_EQ(queue.size(), order.size()) << seed;
    }
  }
}

struct load {
  std::array<std::atomic<int>, 8> inside = {};
  std::array<std::atomic<int>, 8> done = {};
};

asio::awaitable<void> work(work_queue<int>& queue, load& seen) {
  while (auto item = co_await queue.get()) {
    const auto at = static_cast<std::size_t>(*item);
    EXPECT_EQ(seen.inside[at].fetch_add(1), 0) << "one item, two workers";
    std::this_thread::yield();
    ++seen.done[at];
    --seen.inside[at];
    queue.done(*item);
  }
}

TEST(WorkQueue, ManyThreadsNeverWorkOnOneItemTogether) {
  asio::thread_pool pool(4);
  work_queue<int> queue(pool.get_executor());
  load seen;
  std::vector<std::future<void>> workers;
  for (int i = 0; i < 6; ++i) {
    workers.push_back(asio::co_spawn(pool, work(queue, seen), asio::use_future));
  }
  for (int i = 0; i < 20'000; ++i) queue.add(i % 8);
  asio::co_spawn(pool, queue.drain(), asio::use_future).get();
  for (auto& worker : workers) worker.get();
  for (const auto& done : seen.done) EXPECT_GT(done.load(), 0);
  EXPECT_EQ(queue.size(), 0U);
}

asio::awaitable<int> count(work_queue<int>& queue) {
  int taken = 0;
  while (auto item = co_await queue.get()) {
    ++taken;
    queue.done(*item);
    if (taken == 3) queue.shut_down();
  }
  co_return taken;
}

TEST(WorkQueue, DelaysAndRetriesArrive) {
  asio::io_context context;
  work_queue<int> queue(context.get_executor());
  queue.add_after(1, 20ms);
  queue.add_after(2, 1ms);
  queue.add_rate_limited(3);
  auto taken = asio::co_spawn(context, count(queue), asio::use_future);
  context.run();
  EXPECT_EQ(taken.get(), 3);
}

TEST(WorkQueue, GetIsCancelled) {
  asio::io_context context;
  work_queue<int> queue(context.get_executor());
  asio::cancellation_signal signal;
  std::exception_ptr failure;
  asio::co_spawn(context, queue.get(),
                 asio::bind_cancellation_slot(
                     signal.slot(), [&](std::exception_ptr e, const auto&) { failure = e; }));
  asio::post(context, [&] { signal.emit(asio::cancellation_type::terminal); });
  context.run();
  ASSERT_TRUE(failure);
  try {
    std::rethrow_exception(failure);
  } catch (const error& e) {
    EXPECT_EQ(e.code(), errc::cancelled);
  }
}

TEST(WorkQueue, AnAlarmThatIsSetKeepsNothingAlive) {
  asio::io_context context;
  {
    work_queue<std::string> queue(context.get_executor());
    queue.add_after("late", 1h);
  }
  context.run();  // returns: nothing is pending
}

}  // namespace
}  // namespace mizzen::kubernetes
