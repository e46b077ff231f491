// Lines over axes, and histograms.
//
//   run.log_figure(draw_lines({{.name = "training", .x = epochs, .y = losses},
//                              {.name = "validation", .x = epochs, .y = validation}},
//                             {.title = "loss", .y = {.scale = axis_scale::log}}),
//                  "loss.svg");
#pragma once

#include <mizzen/tracking/figure.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace mizzen::tracking {

enum class axis_scale { linear, log };

struct axis_options {
  std::string label = {};
  axis_scale scale = axis_scale::linear;
  // Ends of the axis; default: what the data needs. On a logarithmic axis they must be positive.
  std::optional<double> lowest = std::nullopt;
  std::optional<double> highest = std::nullopt;
};

struct plot_options {
  std::string title = {};
  axis_options x = {};
  axis_options y = {};
  unsigned width = 640;  // pixels of the whole figure, 160 to 4000
  unsigned height = 420;
  bool legend = true;  // drawn where a series has a name
};

// One line. x and y are of one length; x empty: 0, 1, 2 … A point that is not finite, or not
// positive on a logarithmic axis, interrupts the line.
struct series {
  std::string name = {};  // in the legend; empty: not there
  std::vector<double> x = {};
  std::vector<double> y = {};
  bool dashed = false;
  bool markers = false;  // a dot at each point
  bool filled = false;   // the area below it is tinted
};

// Lines over common axes. Of a series with far more points than pixels, in ascending order of x,
// the first, last, lowest and highest point of each column of pixels are drawn, which looks the
// same. Throws error(invalid_argument): lengths that differ, a size or an end of an axis out of
// range.
figure draw_lines(const std::vector<series>& lines, const plot_options& options = {});

// How many values fall into each of a row of intervals.
struct histogram {
  std::vector<double> edges = {};  // ascending, one more than counts
  // counts[i]: values in [edges[i], edges[i + 1]), in the last one with its upper end.
  std::vector<std::uint64_t> counts = {};
  std::uint64_t left_out = 0;  // values that were not finite, or outside the range asked for
};

struct histogram_options {
  // 1 to 10,000 intervals of equal width; default: by the rule of Freedman and Diaconis, at least
  // by that of Sturges, at most 500.
  std::optional<std::size_t> bins = std::nullopt;
  // Default: from the least to the greatest finite value.
  std::optional<double> lowest = std::nullopt;
  std::optional<double> highest = std::nullopt;
};

// Throws error(invalid_argument) for a number of bins out of range, or lowest >= highest.
histogram make_histogram(std::span<const double> values, const histogram_options& options = {});

figure draw(const histogram& bins, const plot_options& options = {});

}  // namespace mizzen::tracking
