// One axis of a plot: which values it shows, where, and its ticks.
#pragma once

#include <mizzen/tracking/plot.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace mizzen::tracking::detail {

struct tick {
  double value = 0;
  std::string text = {};  // empty: a line of the grid only
};

class axis {
 public:
  // `subject` names the options in errors ("plot_options.x").
  axis(const axis_options& options, std::string_view subject);

  // Whether the axis can show this value: finite, and positive where it is logarithmic.
  bool can_show(double value) const noexcept;

  // Widens the axis to values that it can show.
  void include(const std::vector<double>& values);

  // Fixes the ends; `margin` is the share of the length left free at ends that are not given.
  void settle(double margin);

  // 0 at the lower end, 1 at the upper; outside of that for values beyond.
  double position(double value) const noexcept;

  // Ascending; about as many as asked for with a text.
  std::vector<tick> ticks(std::size_t about) const;

 private:
  double scaled(double value) const noexcept;

  axis_options options_;
  double lowest_, highest_;  // scaled; before settle(), of what was included
};

}  // namespace mizzen::tracking::detail
