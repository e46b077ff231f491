#include "serving/metrics.hpp"

#include "serving/repository.hpp"

#include <mizzen/core/error.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace mizzen::serving::detail {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

TEST(Metrics, HistogramBucketsAreCumulativeAndInclusive) {
  histogram h;
  for (const auto each : {std::chrono::nanoseconds(0), std::chrono::nanoseconds(100us),
                          std::chrono::nanoseconds(101us), std::chrono::nanoseconds(20s)}) {
    h.observe(each);
  }
  const auto now = h.read();
  EXPECT_EQ(now.cumulative[0], 2U);  // 0 and exactly 100 µs
  EXPECT_EQ(now.cumulative[1], 3U);
  EXPECT_EQ(now.cumulative[histogram::bounds.size() - 1], 3U);
  EXPECT_EQ(now.cumulative.back(), 4U);
  EXPECT_NEAR(now.sum, 20.000201, 1e-9);
}

TEST(Metrics, TextFormat) {
  counter c;
  c.add(3);
  exposition to;
  to.family("a_total", "counter", "Help.");
  to.sample({}, c.value());
  to.sample({{"model", "a\"b\\c\nd"}, {"x", "y"}}, 0.5);
  histogram h;
  h.observe(1ms);
  to.family("b_seconds", "histogram", "Help.");
  to.sample({{"m", "1"}}, h);
  const std::string text = to.take();
  EXPECT_THAT(text, HasSubstr("# HELP a_total Help.\n# TYPE a_total counter\na_total 3\n"));
  EXPECT_THAT(text, HasSubstr("a_total{model=\"a\\\"b\\\\c\\nd\",x=\"y\"} 0.5\n"));
  EXPECT_THAT(text, HasSubstr("b_seconds_bucket{m=\"1\",le=\"0.0005\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("b_seconds_bucket{m=\"1\",le=\"0.001\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("b_seconds_bucket{m=\"1\",le=\"+Inf\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("b_seconds_sum{m=\"1\"} 0.001\nb_seconds_count{m=\"1\"} 1\n"));
}

TEST(Metrics, CountsFromManyThreads) {
  counter c;
  histogram h;
  gauge g;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 10'000; ++i) {
        const gauge_hold hold(g);
        c.add();
        h.observe(1ms);
      }
    });
  }
  for (std::thread& each : threads) each.join();
  EXPECT_EQ(c.value(), 40'000U);
  EXPECT_EQ(h.read().cumulative.back(), 40'000U);
  EXPECT_EQ(g.value(), 0);
}

TEST(Repository, TheNewestVersionAnswers) {
  repository models;
  const auto model = make_model({}, [](const infer_call&) { return inference::tensor_map{}; });
  for (const char* version : {"9", "10", "beta", "1"}) models.add("m", version, model);
  EXPECT_EQ(models.find("m", "")->version, "10");
  EXPECT_EQ(models.find("m", "9")->version, "9");
  EXPECT_THAT(models.versions("m"), testing::ElementsAre("beta", "1", "9", "10"));
  EXPECT_TRUE(models.remove("m", "10"));
  EXPECT_FALSE(models.remove("m", "10"));
  EXPECT_EQ(models.find("m", "")->version, "9");
  const auto code = [](auto call) {
    try {
      call();
    } catch (const error& e) {
      return e.code();
    }
    return errc::unknown;
  };
  EXPECT_EQ(code([&] { models.add("m", "9", model); }), errc::already_exists);
  EXPECT_EQ(code([&] { models.add("", "9", model); }), errc::invalid_argument);
  EXPECT_EQ(code([&] { models.add("n", "", model); }), errc::invalid_argument);
  EXPECT_EQ(code([&] { models.find("x", ""); }), errc::not_found);
  EXPECT_EQ(code([&] { models.find("m", "7"); }), errc::not_found);
}

}  // namespace
}  // namespace mizzen::serving::detail
