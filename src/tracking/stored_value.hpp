// The value of a metric in MLflow's tables, whose columns know neither NaN nor infinity
// (SqlAlchemyStore.sanitize_metric_value).
#pragma once

#include <cmath>
#include <limits>

namespace mizzen::tracking::detail {

struct stored_value {
  double value;
  bool is_nan;
};

inline stored_value to_stored(double value) {
  if (std::isnan(value)) return {0.0, true};
  constexpr double most = std::numeric_limits<double>::max();
  if (std::isinf(value)) return {value > 0 ? most : -most, false};
  return {value, false};
}

inline double from_stored(double value, bool is_nan) {
  return is_nan ? std::numeric_limits<double>::quiet_NaN() : value;
}

}  // namespace mizzen::tracking::detail
