#include "tracking/scene.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/tracking/curves.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

namespace mizzen::tracking {
namespace {

// What is called positive at each distinct score, from the highest on.
struct operating_point {
  double threshold;
  std::uint64_t true_positives, false_positives;
};

void check_lengths(std::size_t actual, std::size_t scores, std::size_t columns) {
  if (columns == 0) throw error(errc::invalid_argument, "labels", "there are none");
  if (scores / columns != actual || scores % columns != 0) {
    throw error(errc::invalid_argument, "scores",
                std::to_string(scores) + " scores for " + std::to_string(actual) + " examples of " +
                    std::to_string(columns) + " column" + (columns == 1 ? "" : "s"));
  }
}

// `positive` is the class that counts, of `classes`; scores are every columns-th from the first.
std::vector<operating_point> operating_points(std::span<const std::size_t> actual,
                                              std::span<const double> scores, std::size_t columns,
                                              std::size_t column, std::size_t positive,
                                              std::size_t classes) {
  for (std::size_t i = 0; i < actual.size(); ++i) {
    if (actual[i] >= classes) {
      throw error(errc::invalid_argument, "actual[" + std::to_string(i) + "]",
                  "class " + std::to_string(actual[i]) + " of " + std::to_string(classes) +
                      "; classes count from 0");
    }
    if (std::isnan(scores[i * columns + column])) {
      throw error(errc::invalid_argument, "scores[" + std::to_string(i * columns + column) + "]",
                  "it is NaN");
    }
  }
  std::vector<std::size_t> order(actual.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto score = [&](std::size_t i) { return scores[i * columns + column]; };
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return score(a) > score(b); });
  std::vector<operating_point> points;
  std::uint64_t hits = 0, misses = 0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    ++(actual[order[i]] == positive ? hits : misses);
    if (i + 1 < order.size() && score(order[i + 1]) == score(order[i])) continue;
    points.push_back({score(order[i]), hits, misses});
  }
  return points;
}

void require_examples(std::uint64_t count, std::string_view kind, const std::string& name) {
  if (count > 0) return;
  throw error(errc::invalid_argument, name.empty() ? "actual" : "actual ('" + name + "')",
              "there is no " + std::string(kind) + " example; the curve is not defined");
}

double share(std::uint64_t part, std::uint64_t whole) {
  return static_cast<double>(part) / static_cast<double>(whole);
}

roc_curve roc_of(const std::vector<operating_point>& points, std::string name) {
  roc_curve curve{.name = std::move(name)};
  if (!points.empty()) {
    curve.positives = points.back().true_positives;
    curve.negatives = points.back().false_positives;
  }
  require_examples(curve.positives, "positive", curve.name);
  require_examples(curve.negatives, "negative", curve.name);
  curve.false_positive_rate = {0};
  curve.true_positive_rate = {0};
  curve.thresholds = {std::numeric_limits<double>::infinity()};
  for (const operating_point& p : points) {
    const double x = share(p.false_positives, curve.negatives);
    const double y = share(p.true_positives, curve.positives);
    curve.area +=
        (x - curve.false_positive_rate.back()) * (y + curve.true_positive_rate.back()) / 2;
    curve.false_positive_rate.push_back(x);
    curve.true_positive_rate.push_back(y);
    curve.thresholds.push_back(p.threshold);
  }
  return curve;
}

precision_recall_curve precision_recall_of(const std::vector<operating_point>& points,
                                           std::string name) {
  precision_recall_curve curve{.name = std::move(name)};
  if (!points.empty()) {
    curve.positives = points.back().true_positives;
    curve.negatives = points.back().false_positives;
  }
  require_examples(curve.positives, "positive", curve.name);
  curve.precision = {1};
  curve.recall = {0};
  curve.thresholds = {std::numeric_limits<double>::infinity()};
  for (const operating_point& p : points) {
    const double recall = share(p.true_positives, curve.positives);
    const double precision = share(p.true_positives, p.true_positives + p.false_positives);
    curve.average_precision += (recall - curve.recall.back()) * precision;
    curve.precision.push_back(precision);
    curve.recall.push_back(recall);
    curve.thresholds.push_back(p.threshold);
  }
  return curve;
}

template <typename Curve, typename Make>
std::vector<Curve> one_vs_rest(std::span<const std::size_t> actual, std::span<const double> scores,
                               const std::vector<std::string>& labels, const Make& make) {
  check_lengths(actual.size(), scores.size(), labels.size());
  std::vector<Curve> curves;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    curves.push_back(
        make(operating_points(actual, scores, labels.size(), i, i, labels.size()), labels[i]));
  }
  return curves;
}

std::string legend(const std::string& name, std::string_view measure, double value) {
  return (name.empty() ? "" : name + " ") + "(" + std::string(measure) + " " +
         detail::fixed_number(value, 3) + ")";
}

// The curve's last point of each vertical step: what lies on one line says nothing new.
series without_collinear(series line) {
  series out{.name = std::move(line.name), .filled = line.filled};
  const auto& x = line.x;
  const auto& y = line.y;
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (i > 0 && i + 1 < x.size() &&
        (x[i] - x[i - 1]) * (y[i + 1] - y[i]) == (x[i + 1] - x[i]) * (y[i] - y[i - 1]) &&
        (x[i + 1] - x[i]) * (x[i] - x[i - 1]) >= 0 && (y[i + 1] - y[i]) * (y[i] - y[i - 1]) >= 0) {
      continue;
    }
    out.x.push_back(x[i]);
    out.y.push_back(y[i]);
  }
  return out;
}

plot_options with_defaults(plot_options options, std::string_view title, std::string_view x,
                           std::string_view y) {
  if (options.title.empty()) options.title = title;
  if (options.x.label.empty()) options.x.label = x;
  if (options.y.label.empty()) options.y.label = y;
  if (options.x.scale == axis_scale::linear) {
    options.x.lowest = options.x.lowest.value_or(0);
    options.x.highest = options.x.highest.value_or(1);
  }
  if (options.y.scale == axis_scale::linear) {
    options.y.lowest = options.y.lowest.value_or(0);
    options.y.highest = options.y.highest.value_or(1);
  }
  return options;
}

}  // namespace

roc_curve make_roc_curve(std::span<const std::size_t> actual, std::span<const double> scores,
                         std::string name) {
  check_lengths(actual.size(), scores.size(), 1);
  return roc_of(operating_points(actual, scores, 1, 0, 1, 2), std::move(name));
}

precision_recall_curve make_precision_recall_curve(std::span<const std::size_t> actual,
                                                   std::span<const double> scores,
                                                   std::string name) {
  check_lengths(actual.size(), scores.size(), 1);
  return precision_recall_of(operating_points(actual, scores, 1, 0, 1, 2), std::move(name));
}

std::vector<roc_curve> one_vs_rest_roc(std::span<const std::size_t> actual,
                                       std::span<const double> scores,
                                       const std::vector<std::string>& labels) {
  return one_vs_rest<roc_curve>(actual, scores, labels, roc_of);
}

std::vector<precision_recall_curve> one_vs_rest_precision_recall(
    std::span<const std::size_t> actual, std::span<const double> scores,
    const std::vector<std::string>& labels) {
  return one_vs_rest<precision_recall_curve>(actual, scores, labels, precision_recall_of);
}

figure draw(const roc_curve& curve, const plot_options& options) {
  return draw(std::vector{curve}, options);
}

figure draw(const std::vector<roc_curve>& curves, const plot_options& options) {
  std::vector<series> lines;
  for (const roc_curve& curve : curves) {
    lines.push_back(without_collinear({.name = legend(curve.name, "AUC", curve.area),
                                       .x = curve.false_positive_rate,
                                       .y = curve.true_positive_rate,
                                       .filled = curves.size() == 1}));
  }
  // What guessing gives.
  lines.push_back({.x = {0, 1}, .y = {0, 1}, .dashed = true});
  return draw_lines(lines,
                    with_defaults(options, "ROC", "false positive rate", "true positive rate"));
}

figure draw(const precision_recall_curve& curve, const plot_options& options) {
  return draw(std::vector{curve}, options);
}

figure draw(const std::vector<precision_recall_curve>& curves, const plot_options& options) {
  std::vector<series> lines;
  for (const precision_recall_curve& curve : curves) {
    series line{.name = legend(curve.name, "AP", curve.average_precision),
                .filled = curves.size() == 1};
    // A step: between two thresholds, the precision of the one that reaches that recall.
    for (std::size_t i = 0; i < curve.recall.size(); ++i) {
      if (i > 0) {
        line.x.push_back(curve.recall[i - 1]);
        line.y.push_back(curve.precision[i]);
      }
      line.x.push_back(curve.recall[i]);
      line.y.push_back(curve.precision[i]);
    }
    lines.push_back(without_collinear(std::move(line)));
  }
  return draw_lines(lines, with_defaults(options, "precision-recall", "recall", "precision"));
}

}  // namespace mizzen::tracking
