#include "tracking/raster.hpp"
#include "tracking/scene.hpp"
#include "tracking/stroke_font.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/tracking/figure.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

namespace mizzen::tracking {
namespace {

using detail::anchor;
using detail::colour;
using detail::label;
using detail::rectangle;

constexpr std::size_t most_labels = 100;
constexpr double most_pixels = 64e6;

// From near white to a deep blue, evenly in lightness, so that it also reads in grey.
constexpr colour lightest{247, 251, 255};
constexpr colour darkest{8, 48, 107};

colour shade(double share) {
  const auto mix = [share](int from, int to) {
    return static_cast<std::uint8_t>(std::lround(from + (to - from) * share));
  };
  return {mix(lightest.red, darkest.red), mix(lightest.green, darkest.green),
          mix(lightest.blue, darkest.blue)};
}

}  // namespace

figure::figure(detail::scene drawn)
    : scene_(std::make_shared<const detail::scene>(std::move(drawn))) {}

double figure::width() const noexcept { return scene_->width; }
double figure::height() const noexcept { return scene_->height; }

std::string figure::to_svg() const { return detail::scene_to_svg(*scene_); }

std::vector<std::byte> figure::to_png(double scale) const {
  if (!(scale >= 0.25 && scale <= 8)) {
    throw error(errc::invalid_argument, "scale", "0.25 to 8 are allowed");
  }
  if (scene_->width * scale * scene_->height * scale > most_pixels) {
    throw error(errc::out_of_range, "scale",
                "the image would have more than 64 million pixels; make it smaller");
  }
  return detail::to_png(detail::rasterise(*scene_, scale));
}

confusion_matrix::confusion_matrix(std::vector<std::string> labels) : labels_(std::move(labels)) {
  if (labels_.empty() || labels_.size() > most_labels) {
    throw error(errc::invalid_argument, "confusion_matrix.labels",
                "there are " + std::to_string(labels_.size()) + "; 1 to 100 can be shown");
  }
  counts_.resize(labels_.size() * labels_.size());
}

void confusion_matrix::add(std::size_t actual, std::size_t predicted) {
  const std::size_t worst = std::max(actual, predicted);
  if (worst >= labels_.size()) {
    throw error(errc::out_of_range, actual == worst ? "actual" : "predicted",
                "class " + std::to_string(worst) + " of " + std::to_string(labels_.size()) +
                    " labels; classes count from 0");
  }
  ++counts_[actual * labels_.size() + predicted];
}

void confusion_matrix::add(std::span<const std::size_t> actual,
                           std::span<const std::size_t> predicted) {
  if (actual.size() != predicted.size()) {
    throw error(errc::invalid_argument, "predicted",
                std::to_string(predicted.size()) + " predictions for " +
                    std::to_string(actual.size()) + " true classes");
  }
  for (std::size_t i = 0; i < actual.size(); ++i) add(actual[i], predicted[i]);
}

std::uint64_t confusion_matrix::count(std::size_t actual, std::size_t predicted) const {
  if (std::max(actual, predicted) >= labels_.size()) {
    throw error(errc::out_of_range, "confusion_matrix", "there is no such class");
  }
  return counts_[actual * labels_.size() + predicted];
}

std::uint64_t confusion_matrix::total() const noexcept {
  return std::accumulate(counts_.begin(), counts_.end(), std::uint64_t{0});
}

double confusion_matrix::accuracy() const noexcept {
  std::uint64_t right = 0;
  for (std::size_t i = 0; i < labels_.size(); ++i) right += counts_[i * labels_.size() + i];
  const std::uint64_t all = total();
  return all == 0 ? 0.0 : static_cast<double>(right) / static_cast<double>(all);
}

figure draw(const confusion_matrix& matrix, const figure_options& options) {
  if (options.cell < 8 || options.cell > 400) {
    throw error(errc::invalid_argument, "figure_options.cell",
                std::to_string(options.cell) + " pixels; 8 to 400 are allowed");
  }
  const std::vector<std::string>& labels = matrix.labels();
  const double cell = options.cell;
  const auto side = cell * static_cast<double>(labels.size());
  const double font = std::clamp(cell * 0.32, 5.0, 16.0);

  double label_width = 0;
  for (const std::string& name : labels) {
    label_width = std::max(label_width, detail::text_width(name, font) + 8);
  }
  // Long labels stand on end below their columns.
  const bool upright = label_width > cell;
  const double left = label_width + font * 2 + 12;
  const double top = options.title.empty() ? 16 : font * 2 + 28;
  const double below = (upright ? label_width : font * 1.8) + font * 2 + 14;
  const double scale_width = 18;
  const double scale_left = left + side + 24;

  detail::scene drawn{.width = scale_left + scale_width + font * 8 + 16,
                      .height = top + side + below};
  const auto add = [&](detail::element one) { drawn.elements.push_back(std::move(one)); };
  if (!options.title.empty()) {
    add(label{.at = {left + side / 2, font + 14},
              .text = options.title,
              .size = font * 1.25,
              .anchor = anchor::middle,
              .bold = true});
    add(label{.at = {left + side / 2, top - 8},
              .text = "accuracy " + detail::fixed_number(matrix.accuracy() * 100, 2) + " % of " +
                      std::to_string(matrix.total()),
              .size = font * 0.9,
              .anchor = anchor::middle});
  }

  for (std::size_t row = 0; row < labels.size(); ++row) {
    std::uint64_t row_total = 0;
    for (std::size_t column = 0; column < labels.size(); ++column) {
      row_total += matrix.count(row, column);
    }
    const double y = top + cell * static_cast<double>(row);
    add(label{.at = {left - 6, y + cell / 2 + font * 0.35},
              .text = labels[row],
              .size = font,
              .anchor = anchor::end});
    for (std::size_t column = 0; column < labels.size(); ++column) {
      const std::uint64_t count = matrix.count(row, column);
      const double share =
          row_total == 0 ? 0 : static_cast<double>(count) / static_cast<double>(row_total);
      const double x = left + cell * static_cast<double>(column);
      const std::string number = std::to_string(count);
      add(rectangle{.at = {x, y},
                    .width = cell,
                    .height = cell,
                    .fill = shade(share),
                    .title = labels[row] + " as " + labels[column] + ": " + number});
      const double fitting = cell * 0.9 / (static_cast<double>(number.size()) * 0.62);
      const double size = std::min(font, fitting);
      add(label{.at = {x + cell / 2, y + cell / 2 + size * 0.35},
                .text = number,
                .size = size,
                .anchor = anchor::middle,
                .fill = share > 0.5  ? detail::white
                        : count == 0 ? detail::faded
                                     : detail::ink});
    }
  }
  for (std::size_t column = 0; column < labels.size(); ++column) {
    const double x = left + cell * (static_cast<double>(column) + 0.5);
    const double y = top + side;
    if (upright) {
      add(label{.at = {x + font * 0.35, y + 6},
                .text = labels[column],
                .size = font,
                .anchor = anchor::end,
                .upright = true});
    } else {
      add(label{.at = {x, y + font * 1.4},
                .text = labels[column],
                .size = font,
                .anchor = anchor::middle});
    }
  }
  add(rectangle{.at = {left, top}, .width = side, .height = side, .edge = detail::frame_grey});
  add(label{.at = {left + side / 2, top + side + below - 8},
            .text = "predicted",
            .size = font,
            .anchor = anchor::middle});
  add(label{.at = {font + 4, top + side / 2},
            .text = "actual",
            .size = font,
            .anchor = anchor::middle,
            .upright = true});

  constexpr int steps = 20;
  for (int i = 0; i < steps; ++i) {
    add(rectangle{.at = {scale_left, top + side * i / steps},
                  .width = scale_width,
                  .height = side / steps + (i + 1 < steps ? 0.5 : 0),
                  .fill = shade(1 - (i + 0.5) / steps)});
  }
  const double beside = scale_left + scale_width + 6;
  add(label{.at = {beside, top + font}, .text = "100 %", .size = font * 0.9});
  add(label{.at = {beside, top + side}, .text = "0 % of its row", .size = font * 0.9});
  return figure(std::move(drawn));
}

std::string to_svg(const confusion_matrix& matrix, const figure_options& options) {
  return draw(matrix, options).to_svg();
}

}  // namespace mizzen::tracking
