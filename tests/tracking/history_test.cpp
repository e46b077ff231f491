// Histories of metrics by pages, of several runs, and samples of them.
#include "temporary_folder.hpp"

#include <mizzen/tracking.hpp>

#include <gmock/gmock.h>

#include <cmath>
#include <limits>
#include <vector>

namespace mizzen::tracking {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class histories : public testing::Test {
 protected:
  std::string made(int points) {
    auto run = client_.start_run("h");
    for (int i = 0; i < points; ++i)
      run.log_metric("m", i * 0.5, {.step = i, .timestamp = 100 - i});
    return run.id();
  }
  static std::vector<std::int64_t> steps(const std::vector<metric>& points) {
    std::vector<std::int64_t> found;
    for (const metric& point : points) found.push_back(point.step);
    return found;
  }

  temporary_folder folder_;
  client client_{client_options{.uri = folder_.file("mlflow.db")}};
};

TEST_F(histories, come_in_pages) {
  const std::string id = made(7);
  std::vector<std::int64_t> seen;
  std::string token;
  int pages = 0;
  do {
    const auto found = client_.metric_history_page(id, "m", 3, token);
    for (const metric& point : found) seen.push_back(point.step);
    token = found.next_page_token;
    ++pages;
  } while (!token.empty());
  EXPECT_EQ(pages, 3);
  EXPECT_THAT(seen, ElementsAre(6, 5, 4, 3, 2, 1, 0));  // by timestamp
  EXPECT_EQ(client_.metric_history_page(id, "m", 7).next_page_token, "");
  EXPECT_THAT(client_.metric_history_page(id, "none"), IsEmpty());
  EXPECT_ERROR(errc::not_found, "run", client_.metric_history_page("nobody", "m"));
  EXPECT_ERROR(errc::invalid_argument, "max_results", client_.metric_history_page(id, "m", 0));
  EXPECT_ERROR(errc::invalid_argument, "max_results", client_.metric_history_page(id, "m", 25'001));
  EXPECT_ERROR(errc::invalid_argument, "page_token", client_.metric_history_page(id, "m", 1, "!"));
}

TEST_F(histories, come_of_several_runs) {
  const std::vector<std::string> ids = {made(2), made(0), made(3), "nobody"};
  const auto found = client_.metric_histories(ids, "m");
  EXPECT_EQ(found.size(), 2U);
  EXPECT_THAT(steps(found.at(ids[0])), ElementsAre(1, 0));
  EXPECT_THAT(steps(found.at(ids[2])), ElementsAre(2, 1, 0));
}

TEST_F(histories, are_sampled_evenly) {
  const std::vector<std::string> ids = {made(10), made(2), "nobody"};
  const auto sampled = [&](const history_sample& how) {
    return steps(client_.sample_metric_histories(ids, "m", how).at(ids[0]));
  };
  EXPECT_THAT(sampled({.max_points = 20}), ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8, 9));
  EXPECT_THAT(sampled({.max_points = 5}), ElementsAre(0, 2, 4, 6, 9));
  EXPECT_THAT(sampled({.max_points = 1}), ElementsAre(9));
  EXPECT_THAT(sampled({.max_points = 3, .first_step = 2, .last_step = 6}), ElementsAre(2, 4, 6));
  const auto both = client_.sample_metric_histories(ids, "m", {.max_points = 3});
  EXPECT_THAT(steps(both.at(ids[1])), ElementsAre(0, 1));
  EXPECT_THAT(client_.sample_metric_histories(ids, "none"), IsEmpty());

  EXPECT_EQ(both.size(), 2U);
  EXPECT_ERROR(errc::invalid_argument, "max_points", sampled({.max_points = 0}));
  EXPECT_ERROR(errc::invalid_argument, "last_step", sampled({.first_step = 1}));
  EXPECT_ERROR(errc::invalid_argument, "last_step", sampled({.first_step = 2, .last_step = 1}));
}

TEST_F(histories, keep_nan_in_samples) {
  auto run = client_.start_run("h");
  run.log_metric("m", std::numeric_limits<double>::quiet_NaN(), {.step = 1});
  const std::vector<std::string> ids = {run.id()};
  EXPECT_TRUE(std::isnan(client_.sample_metric_histories(ids, "m").at(ids[0]).at(0).value));
}

}  // namespace
}  // namespace mizzen::tracking
