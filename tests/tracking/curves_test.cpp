#include "temporary_folder.hpp"

#include <mizzen/tracking/curves.hpp>

#include <gmock/gmock.h>

#include <cmath>
#include <limits>
#include <vector>

namespace mizzen::tracking {
namespace {

using testing::DoubleNear;
using testing::ElementsAre;
using testing::HasSubstr;

const std::vector<std::size_t> actual = {0, 0, 1, 1};
const std::vector<double> scores = {0.1, 0.4, 0.35, 0.8};

TEST(roc_curve, goes_through_every_distinct_score) {
  const roc_curve curve = make_roc_curve(actual, scores);
  EXPECT_EQ(curve.area, 0.75);
  EXPECT_THAT(curve.false_positive_rate, ElementsAre(0, 0, 0.5, 0.5, 1));
  EXPECT_THAT(curve.true_positive_rate, ElementsAre(0, 0.5, 0.5, 1, 1));
  EXPECT_THAT(curve.thresholds,
              ElementsAre(std::numeric_limits<double>::infinity(), 0.8, 0.4, 0.35, 0.1));
  EXPECT_EQ(curve.positives, 2U);
  EXPECT_EQ(curve.negatives, 2U);
}

TEST(roc_curve, equal_scores_are_one_point) {
  const std::vector<double> same(4, 0.5);
  const roc_curve curve = make_roc_curve(actual, same);
  EXPECT_EQ(curve.area, 0.5);
  EXPECT_THAT(curve.true_positive_rate, ElementsAre(0, 1));
  const double inf = std::numeric_limits<double>::infinity();
  EXPECT_EQ(make_roc_curve(actual, std::vector<double>{-inf, -inf, inf, inf}).area, 1);
}

TEST(precision_recall_curve, average_precision) {
  const precision_recall_curve curve = make_precision_recall_curve(actual, scores);
  EXPECT_THAT(curve.average_precision, DoubleNear(5.0 / 6, 1e-15));
  EXPECT_THAT(curve.recall, ElementsAre(0, 0.5, 0.5, 1, 1));
  EXPECT_THAT(curve.precision, ElementsAre(1, 1, 0.5, DoubleNear(2.0 / 3, 1e-15), 0.5));
  // Without a negative example it is still defined.
  EXPECT_EQ(make_precision_recall_curve(std::vector<std::size_t>{1}, std::vector<double>{0.5})
                .average_precision,
            1);
}

TEST(curves, check_what_they_are_given) {
  const std::vector<std::size_t> ones = {1, 1}, zeros = {0, 0}, twos = {2, 0};
  const std::vector<double> two = {0.1, 0.2}, nan = {0.1, std::nan("")};
  EXPECT_ERROR(errc::invalid_argument, "scores", make_roc_curve(actual, two));
  EXPECT_ERROR(errc::invalid_argument, "actual", make_roc_curve(ones, two));
  EXPECT_ERROR(errc::invalid_argument, "actual", make_roc_curve(zeros, two));
  EXPECT_ERROR(errc::invalid_argument, "actual[0]", make_roc_curve(twos, two));
  EXPECT_ERROR(errc::invalid_argument, "scores[1]", make_roc_curve(zeros, nan));
  EXPECT_ERROR(errc::invalid_argument, "actual", make_roc_curve({}, {}));
  EXPECT_ERROR(errc::invalid_argument, "actual", make_precision_recall_curve(zeros, two));
  EXPECT_ERROR(errc::invalid_argument, "labels", one_vs_rest_roc(actual, scores, {}));
  EXPECT_ERROR(errc::invalid_argument, "scores", one_vs_rest_roc(actual, scores, {"a", "b"}));
  const std::vector<double> wide(12, 0.5);
  EXPECT_ERROR(errc::invalid_argument, "'c'", one_vs_rest_roc(actual, wide, {"a", "b", "c"}));
}

TEST(curves, are_drawn_with_their_areas) {
  const std::string roc = draw(make_roc_curve(actual, scores, "a <b>")).to_svg();
  EXPECT_THAT(roc, HasSubstr("a &lt;b&gt; (AUC 0.750)"));
  EXPECT_THAT(roc, HasSubstr("false positive rate"));
  EXPECT_THAT(roc, HasSubstr("<polygon"));
  const std::string both =
      draw(one_vs_rest_precision_recall(actual, std::vector<double>{1, 0, 1, 0, 0, 1, 0, 1},
                                        {"x", "y"}),
           {.title = "held out"})
          .to_svg();
  EXPECT_THAT(both, HasSubstr("x (AP 1.000)"));
  EXPECT_THAT(both, HasSubstr("y (AP 1.000)"));
  EXPECT_THAT(both, HasSubstr("held out"));
}

}  // namespace
}  // namespace mizzen::tracking
