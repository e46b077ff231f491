#include "kubernetes/limiter.hpp"

#include "../http/loopback.hpp"

#include <mizzen/core/error.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>

namespace mizzen::kubernetes::detail {
namespace {

using namespace std::chrono_literals;
using http::test::event_loop;
using http::test::eventually;

TEST(TokenBucketTest, LetsTheBurstThroughAndThenTheRate) {
  token_bucket bucket(10, 3);
  const token_bucket::time_point start(1s);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(bucket.take(start), 0ns);
  EXPECT_EQ(bucket.take(start), 100ms);
  EXPECT_EQ(bucket.take(start), 200ms);
  // The two that were promised are gone after 200 ms; one more has come at 300 ms.
  EXPECT_EQ(bucket.take(start + 300ms), 0ns);
  EXPECT_EQ(bucket.take(start + 300ms), 100ms);
  // Rest fills it up to the burst and no further.
  for (int i = 0; i < 3; ++i) EXPECT_EQ(bucket.take(start + 1h), 0ns);
  EXPECT_GT(bucket.take(start + 1h), 0ns);
}

TEST(TokenBucketTest, ATokenCanBeGivenBack) {
  token_bucket bucket(1, 1);
  const token_bucket::time_point start(1s);
  EXPECT_EQ(bucket.take(start), 0ns);
  EXPECT_EQ(bucket.take(start), 1s);
  bucket.give_back();
  EXPECT_EQ(bucket.take(start), 1s);
  // A clock that stands still or goes back changes nothing.
  EXPECT_EQ(bucket.take(start - 5s), 2s);
}

boost::asio::awaitable<void> hold(std::shared_ptr<limiter> of, std::atomic<int>& inside,
                                  std::atomic<int>& most, std::atomic<int>& done) {
  const auto turn = co_await limiter::enter(of, {}, "test");
  const int now = ++inside;
  int seen = most.load();
  while (now > seen && !most.compare_exchange_weak(seen, now)) continue;
  co_await sleep(co_await boost::asio::this_coro::executor, 2ms, {}, "test");
  --inside;
  ++done;
}

TEST(LimiterTest, NoMoreThanSoManyAtOnce) {
  event_loop loop(3);
  const auto limits = std::make_shared<limiter>(loop.executor(), 4, 0, 1);
  std::atomic<int> inside = 0;
  std::atomic<int> most = 0;
  std::atomic<int> done = 0;
  std::vector<std::future<void>> all;
  for (int i = 0; i < 100; ++i) {
    all.push_back(boost::asio::co_spawn(loop.executor(), hold(limits, inside, most, done),
                                        boost::asio::use_future));
  }
  for (auto& each : all) each.get();
  EXPECT_EQ(done, 100);
  EXPECT_LE(most, 4);
  EXPECT_GE(most, 2);
}

boost::asio::awaitable<void> enter_and_leave(std::shared_ptr<limiter> of, cancellation cancel) {
  co_await limiter::enter(of, cancel, "test");
}

errc code_of(std::future<void>& from) {
  try {
    from.get();
  } catch (const error& e) {
    return e.code();
  }
  return errc::internal;
}

TEST(LimiterTest, WaitingEndsWithTheDeadlineAndTheToken) {
  event_loop loop;
  const auto limits = std::make_shared<limiter>(loop.executor(), 1, 0, 1);
  std::stop_source source;
  {
    const auto turn = loop.run(limiter::enter(limits, {}, "test"));
    auto late =
        boost::asio::co_spawn(loop.executor(), enter_and_leave(limits, {{}, deadline::after(20ms)}),
                              boost::asio::use_future);
    EXPECT_EQ(code_of(late), errc::deadline_exceeded);
    auto stopped =
        boost::asio::co_spawn(loop.executor(), enter_and_leave(limits, {source.get_token(), {}}),
                              boost::asio::use_future);
    source.request_stop();
    EXPECT_EQ(code_of(stopped), errc::cancelled);
  }
  // Those that gave up took no turn along.
  loop.run(enter_and_leave(limits, {{}, deadline::after(30s)}));
}

TEST(LimiterTest, ARateThatCannotBeWaitedForIsSaidAtOnce) {
  event_loop loop;
  const auto limits = std::make_shared<limiter>(loop.executor(), 0, 0.001, 1);
  loop.run(enter_and_leave(limits, {{}, deadline::after(30s)}));
  auto second =
      boost::asio::co_spawn(loop.executor(), enter_and_leave(limits, {{}, deadline::after(30s)}),
                            boost::asio::use_future);
  EXPECT_EQ(code_of(second), errc::deadline_exceeded);
}

TEST(SleepTest, ListensToTheToken) {
  event_loop loop;
  std::stop_source source;
  auto asleep = boost::asio::co_spawn(loop.executor(),
                                      sleep(loop.executor(), 1h, {source.get_token(), {}}, "test"),
                                      boost::asio::use_future);
  source.request_stop();
  EXPECT_EQ(code_of(asleep), errc::cancelled);
}

}  // namespace
}  // namespace mizzen::kubernetes::detail
