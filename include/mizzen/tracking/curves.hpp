// Curves that judge a classifier by its scores: receiver operating characteristic (ROC) and
// precision over recall. Definitions are those of scikit-learn (roc_curve, roc_auc_score,
// precision_recall_curve, average_precision_score).
#pragma once

#include <mizzen/tracking/plot.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace mizzen::tracking {

// One point per distinct score, from "nothing is positive" to "everything is": point i calls
// positive what scores thresholds[i] or more. The first threshold is infinity.
struct roc_curve {
  std::string name = {};
  std::vector<double> false_positive_rate = {};
  std::vector<double> true_positive_rate = {};
  std::vector<double> thresholds = {};
  double area = 0;  // under the curve (AUC), by trapezoids
  std::uint64_t positives = 0;
  std::uint64_t negatives = 0;
};

struct precision_recall_curve {
  std::string name = {};
  std::vector<double> precision = {};  // 1 where nothing is called positive
  std::vector<double> recall = {};
  std::vector<double> thresholds = {};
  double average_precision = 0;  // sum of precision times the step in recall
  std::uint64_t positives = 0;
  std::uint64_t negatives = 0;
};

// From the true classes, 1 (positive) or 0, and a score of each example: the higher, the likelier
// positive. Any order, any scale. Throws error(invalid_argument): lengths that differ, a class
// above 1, a score that is NaN, no positive, or (ROC) no negative example.
roc_curve make_roc_curve(std::span<const std::size_t> actual, std::span<const double> scores,
                         std::string name = {});
precision_recall_curve make_precision_recall_curve(std::span<const std::size_t> actual,
                                                   std::span<const double> scores,
                                                   std::string name = {});

// One curve per class, that class against all others. scores: one row per example, one column per
// label, row after row. Throws as above; a class without an example names its label.
std::vector<roc_curve> one_vs_rest_roc(std::span<const std::size_t> actual,
                                       std::span<const double> scores,
                                       const std::vector<std::string>& labels);
std::vector<precision_recall_curve> one_vs_rest_precision_recall(
    std::span<const std::size_t> actual, std::span<const double> scores,
    const std::vector<std::string>& labels);

// The legend gives the area, or the average precision, of each curve. Axis options that are left
// empty become the usual ones.
figure draw(const roc_curve& curve, const plot_options& options = {});
figure draw(const std::vector<roc_curve>& curves, const plot_options& options = {});
figure draw(const precision_recall_curve& curve, const plot_options& options = {});
figure draw(const std::vector<precision_recall_curve>& curves, const plot_options& options = {});

}  // namespace mizzen::tracking
