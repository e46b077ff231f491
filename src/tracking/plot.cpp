#include "tracking/axis.hpp"
#include "tracking/scene.hpp"
#include "tracking/stroke_font.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/tracking/plot.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

namespace mizzen::tracking {
namespace {

using detail::anchor;
using detail::colour;
using detail::label;
using detail::point;
using detail::polygon;
using detail::polyline;
using detail::rectangle;

constexpr double font = 12;
constexpr double line_width = 1.8;

// The colours of Okabe and Ito, which most colour-blind people tell apart, without the yellow that
// nobody sees on white.
constexpr std::array<colour, 7> palette = {{{0, 114, 178},
                                            {213, 94, 0},
                                            {0, 158, 115},
                                            {204, 121, 167},
                                            {230, 159, 0},
                                            {86, 180, 233},
                                            {31, 41, 51}}};
constexpr colour guess_grey{154, 165, 177};

// A series without a name stands behind the others.
colour colour_of(const std::vector<series>& lines, std::size_t index) {
  if (lines[index].name.empty() && lines.size() > 1) return guess_grey;
  return palette[index % palette.size()];
}

bool is_dashed(const std::vector<series>& lines, std::size_t index) {
  return lines[index].dashed || (index / palette.size()) % 2 == 1;
}

std::string truncated(const std::string& text, double width) {
  if (detail::text_width(text, font) <= width) return text;
  std::string out = text;
  while (!out.empty() && detail::text_width(out + "…", font) > width) {
    do {
      out.pop_back();
    } while (!out.empty() && (static_cast<unsigned char>(out.back()) & 0xc0) == 0x80);
    // The first byte of the character that was cut.
    if (!out.empty() && static_cast<unsigned char>(out.back()) >= 0xc0) out.pop_back();
  }
  return out + "…";
}

// The frame, grid and texts around what is plotted, and where a value lies in it.
class plot_area {
 public:
  plot_area(const plot_options& options, detail::axis x, detail::axis y)
      : x_(std::move(x)), y_(std::move(y)) {
    drawn_.width = options.width;
    drawn_.height = options.height;
    top_ = options.title.empty() ? 16 : 38;
    bottom_ = drawn_.height - (options.x.label.empty() ? 30 : 50);
    const auto y_ticks = y_.ticks(static_cast<std::size_t>((bottom_ - top_) / 45));
    double widest = 0;
    for (const auto& one : y_ticks) {
      widest = std::max(widest, detail::text_width(one.text, font));
    }
    left_ = widest + 18 + (options.y.label.empty() ? 0 : 22);
    right_ = drawn_.width - 20;
    const auto x_ticks = x_.ticks(static_cast<std::size_t>(std::max(1.0, (right_ - left_) / 80)));

    if (!options.title.empty()) {
      add(label{.at = {(left_ + right_) / 2, 24},
                .text = truncated(options.title, drawn_.width * 0.8),
                .size = 15,
                .anchor = anchor::middle,
                .bold = true});
    }
    for (const auto& one : x_ticks) {
      const double at = x_of(one.value);
      grid({at, top_}, {at, bottom_}, one.text.empty());
      add(label{.at = {at, bottom_ + 17}, .text = one.text, .anchor = anchor::middle});
    }
    for (const auto& one : y_ticks) {
      const double at = y_of(one.value);
      grid({left_, at}, {right_, at}, one.text.empty());
      add(label{.at = {left_ - 7, at + 4}, .text = one.text, .anchor = anchor::end});
    }
    if (!options.x.label.empty()) {
      add(label{.at = {(left_ + right_) / 2, drawn_.height - 12},
                .text = options.x.label,
                .anchor = anchor::middle});
    }
    if (!options.y.label.empty()) {
      add(label{.at = {18, (top_ + bottom_) / 2},
                .text = options.y.label,
                .anchor = anchor::middle,
                .upright = true});
    }
  }

  double x_of(double value) const { return left_ + (right_ - left_) * x_.position(value); }
  double y_of(double value) const { return bottom_ - (bottom_ - top_) * y_.position(value); }
  bool can_show(double x, double y) const { return x_.can_show(x) && y_.can_show(y); }
  double left() const { return left_; }
  double right() const { return right_; }
  double top() const { return top_; }
  double bottom() const { return bottom_; }

  void add(detail::element one) {
    if (const auto* text = std::get_if<label>(&one); text != nullptr && text->text.empty()) return;
    drawn_.elements.push_back(std::move(one));
  }

  figure finished() && {
    add(rectangle{.at = {left_, top_},
                  .width = right_ - left_,
                  .height = bottom_ - top_,
                  .edge = detail::frame_grey});
    return figure(std::move(drawn_));
  }

 private:
  void grid(point from, point to, bool minor) {
    colour grey = detail::grid_grey;
    if (minor) grey.opacity = 0.5;
    add(polyline{.points = {from, to}, .stroke = grey});
  }

  detail::axis x_, y_;
  double left_ = 0, right_ = 0, top_ = 0, bottom_ = 0;
  detail::scene drawn_;
};

void check_size(const plot_options& options) {
  const auto check = [](unsigned value, std::string_view subject) {
    if (value >= 160 && value <= 4000) return;
    throw error(errc::invalid_argument, subject,
                std::to_string(value) + " pixels; 160 to 4000 are allowed");
  };
  check(options.width, "plot_options.width");
  check(options.height, "plot_options.height");
}

// Of each column of pixels the first, lowest, highest and last point, in their order.
std::vector<point> thinned(std::vector<point> line, double width) {
  const bool ascending =
      std::is_sorted(line.begin(), line.end(), [](point a, point b) { return a.x < b.x; });
  if (!ascending || static_cast<double>(line.size()) < width * 6) return line;
  std::vector<point> out;
  for (std::size_t begin = 0; begin < line.size();) {
    std::size_t end = begin, low = begin, high = begin;
    for (; end < line.size() && std::floor(line[end].x) == std::floor(line[begin].x); ++end) {
      if (line[end].y < line[low].y) low = end;
      if (line[end].y > line[high].y) high = end;
    }
    std::array<std::size_t, 4> keep = {begin, low, high, end - 1};
    std::sort(keep.begin(), keep.end());
    for (std::size_t i = 0; i < keep.size(); ++i) {
      if (i == 0 || keep[i] != keep[i - 1]) out.push_back(line[keep[i]]);
    }
    begin = end;
  }
  return out;
}

// The part of a segment inside the area (Liang and Barsky), or false if there is none.
bool clip(point& a, point& b, const plot_area& area) {
  double from = 0, to = 1;
  const double dx = b.x - a.x, dy = b.y - a.y;
  const auto side = [&](double step, double room) {
    if (step == 0) return room >= 0;
    const double t = room / step;
    if (step < 0) from = std::max(from, t);
    if (step > 0) to = std::min(to, t);
    return from <= to;
  };
  const bool inside = side(-dx, a.x - area.left()) && side(dx, area.right() - a.x) &&
                      side(-dy, a.y - area.top()) && side(dy, area.bottom() - a.y);
  if (!inside) return false;
  const point start = a;
  if (to < 1) b = {start.x + dx * to, start.y + dy * to};
  if (from > 0) a = {start.x + dx * from, start.y + dy * from};
  return true;
}

// What of an unbroken line lies inside the area.
std::vector<std::vector<point>> clipped(const std::vector<point>& line, const plot_area& area) {
  std::vector<std::vector<point>> out;
  bool joined = false;
  const std::size_t segments = line.size() == 1 ? 1 : line.size() - 1;
  for (std::size_t i = 0; i < segments; ++i) {
    point a = line[i], b = line[std::min(i + 1, line.size() - 1)];
    const point end = b;
    if (!clip(a, b, area)) {
      joined = false;
      continue;
    }
    if (!joined) out.push_back({a});
    out.back().push_back(b);
    joined = b.x == end.x && b.y == end.y;
  }
  return out;
}

std::vector<double> x_values(const series& line) {
  if (!line.x.empty()) return line.x;
  std::vector<double> counted(line.y.size());
  for (std::size_t i = 0; i < counted.size(); ++i) counted[i] = static_cast<double>(i);
  return counted;
}

// Adds points along a line, a few pixels apart.
void note_way(std::vector<point>& seen, const std::vector<point>& line) {
  constexpr double apart = 10;
  for (std::size_t i = 1; i < line.size(); ++i) {
    const double dx = line[i].x - line[i - 1].x, dy = line[i].y - line[i - 1].y;
    const int pieces = 1 + static_cast<int>(std::hypot(dx, dy) / apart);
    for (int k = 0; k < pieces; ++k) {
      seen.push_back({line[i - 1].x + dx * k / pieces, line[i - 1].y + dy * k / pieces});
    }
  }
}

// Returns points along what was drawn, for the legend to keep away from.
std::vector<point> draw_line(plot_area& area, const series& line, const colour& with, bool dashed) {
  std::vector<point> seen;
  std::vector<point> piece;
  const std::vector<double> x = x_values(line);
  const auto finish = [&] {
    if (piece.empty()) return;
    for (auto& part :
         clipped(thinned(std::exchange(piece, {}), area.right() - area.left()), area)) {
      // A lone point is a dot.
      const bool dot = part.size() == 2 && part[0].x == part[1].x && part[0].y == part[1].y;
      note_way(seen, part);
      if (line.filled && !dot) {
        std::vector<point> below = part;
        below.push_back({part.back().x, area.bottom()});
        below.push_back({part.front().x, area.bottom()});
        area.add(
            polygon{.points = std::move(below), .fill = {with.red, with.green, with.blue, 0.12}});
      }
      area.add(polyline{.points = std::move(part),
                        .stroke = with,
                        .width = dot ? 2 * line_width : line_width,
                        .dashed = dashed && !dot});
    }
  };
  for (std::size_t i = 0; i < line.y.size(); ++i) {
    if (!area.can_show(x[i], line.y[i])) {
      finish();
      continue;
    }
    const point at{area.x_of(x[i]), area.y_of(line.y[i])};
    piece.push_back(at);
    const bool inside =
        at.x >= area.left() && at.x <= area.right() && at.y >= area.top() && at.y <= area.bottom();
    if (line.markers && inside) {
      area.add(polyline{.points = {at, at}, .stroke = with, .width = 3 * line_width});
    }
  }
  finish();
  return seen;
}

void draw_legend(plot_area& area, const std::vector<series>& lines,
                 const std::vector<point>& seen) {
  constexpr double row = 18, sample = 24, inset = 10;
  const double room = (area.right() - area.left()) * 0.6;
  const auto most =
      static_cast<std::size_t>(std::max(1.0, (area.bottom() - area.top() - 4 * inset) / row));
  std::vector<std::size_t> shown;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (!lines[i].name.empty()) shown.push_back(i);
  }
  if (shown.empty()) return;
  const std::size_t all = shown.size();
  if (all > most) shown.resize(most - 1);
  std::vector<std::string> texts;
  for (const std::size_t i : shown) texts.push_back(truncated(lines[i].name, room));
  if (all > shown.size()) texts.push_back("and " + std::to_string(all - shown.size()) + " more");
  double widest = 0;
  for (const std::string& text : texts) widest = std::max(widest, detail::text_width(text, font));
  const double width = widest + sample + 24;
  const double height = static_cast<double>(texts.size()) * row + 8;

  // The corner with the fewest points below it.
  point best{};
  std::size_t fewest = seen.size() + 1;
  for (const bool low : {false, true}) {
    for (const bool right : {true, false}) {
      const point at{right ? area.right() - inset - width : area.left() + inset,
                     low ? area.bottom() - inset - height : area.top() + inset};
      const auto covered =
          static_cast<std::size_t>(std::count_if(seen.begin(), seen.end(), [&](const point& p) {
            return p.x >= at.x && p.x <= at.x + width && p.y >= at.y && p.y <= at.y + height;
          }));
      if (covered < fewest) fewest = covered, best = at;
    }
  }
  area.add(rectangle{.at = best,
                     .width = width,
                     .height = height,
                     .fill = colour{255, 255, 255, 0.85},
                     .edge = detail::grid_grey});
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const double y = best.y + 4 + row * (static_cast<double>(i) + 0.5);
    if (i < shown.size()) {
      area.add(polyline{.points = {{best.x + 8, y}, {best.x + 8 + sample, y}},
                        .stroke = colour_of(lines, shown[i]),
                        .width = line_width,
                        .dashed = is_dashed(lines, shown[i])});
    }
    area.add(label{.at = {best.x + sample + 15, y + 4}, .text = texts[i]});
  }
}

}  // namespace

figure draw_lines(const std::vector<series>& lines, const plot_options& options) {
  check_size(options);
  detail::axis x(options.x, "plot_options.x"), y(options.y, "plot_options.y");
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const series& line = lines[i];
    if (!line.x.empty() && line.x.size() != line.y.size()) {
      throw error(
          errc::invalid_argument, "lines[" + std::to_string(i) + "].y",
          std::to_string(line.y.size()) + " values for " + std::to_string(line.x.size()) + " of x");
    }
    x.include(x_values(line));
    y.include(line.y);
  }
  x.settle(0);
  y.settle(0.05);
  plot_area area(options, std::move(x), std::move(y));
  std::vector<point> seen;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const auto drawn = draw_line(area, lines[i], colour_of(lines, i), is_dashed(lines, i));
    seen.insert(seen.end(), drawn.begin(), drawn.end());
  }
  if (options.legend) draw_legend(area, lines, seen);
  return std::move(area).finished();
}

histogram make_histogram(std::span<const double> values, const histogram_options& options) {
  constexpr std::size_t most_bins = 10'000, most_chosen = 500;
  if (options.bins && (*options.bins < 1 || *options.bins > most_bins)) {
    throw error(errc::invalid_argument, "histogram_options.bins",
                std::to_string(*options.bins) + "; 1 to 10000 are allowed");
  }
  // The ends have an axis's limits.
  detail::axis range({.lowest = options.lowest, .highest = options.highest}, "histogram_options");
  std::vector<double> kept;
  for (const double value : values) {
    if (range.can_show(value) && (!options.lowest || value >= *options.lowest) &&
        (!options.highest || value <= *options.highest)) {
      kept.push_back(value);
    }
  }
  std::sort(kept.begin(), kept.end());
  double lowest = options.lowest.value_or(kept.empty() ? 0 : kept.front());
  double highest = options.highest.value_or(kept.empty() ? lowest + 1 : kept.back());
  if (!(lowest < highest)) {
    const double room = std::max(0.5, std::abs(lowest) * 1e-6);
    if (!options.lowest) lowest -= room;
    if (!options.highest) highest = std::max(highest, lowest) + room;
  }

  std::size_t bins = options.bins.value_or(1);
  if (!options.bins && kept.size() > 1) {
    const auto count = static_cast<double>(kept.size());
    const double spread = kept[kept.size() * 3 / 4] - kept[kept.size() / 4];
    const double width = 2 * spread / std::cbrt(count);
    const double by_spread = width > 0 ? std::ceil((highest - lowest) / width) : 1;
    const double chosen = std::max(by_spread, std::ceil(std::log2(count) + 1));
    bins = static_cast<std::size_t>(std::min(chosen, static_cast<double>(most_chosen)));
  }
  histogram out;
  out.left_out = values.size() - kept.size();
  out.counts.resize(bins);
  for (std::size_t i = 0; i <= bins; ++i) {
    const double share = static_cast<double>(i) / static_cast<double>(bins);
    out.edges.push_back(i == bins ? highest : lowest + (highest - lowest) * share);
  }
  for (const double value : kept) {
    const auto above = std::upper_bound(out.edges.begin(), out.edges.end(), value);
    const auto bin = static_cast<std::size_t>(above - out.edges.begin());
    ++out.counts[std::clamp<std::size_t>(bin, 1, bins) - 1];
  }
  return out;
}

figure draw(const histogram& bins, const plot_options& options) {
  check_size(options);
  if (bins.counts.empty() || bins.edges.size() != bins.counts.size() + 1) {
    throw error(errc::invalid_argument, "histogram.edges",
                std::to_string(bins.edges.size()) + " edges for " +
                    std::to_string(bins.counts.size()) + " counts; one more is needed");
  }
  for (std::size_t i = 0; i + 1 < bins.edges.size(); ++i) {
    if (bins.edges[i] < bins.edges[i + 1]) continue;
    throw error(errc::invalid_argument, "histogram.edges[" + std::to_string(i + 1) + "]",
                "it is not above the one before");
  }
  plot_options shown = options;
  const bool log = options.y.scale == axis_scale::log;
  if (!shown.y.lowest) shown.y.lowest = log ? 0.5 : 0.0;
  if (shown.y.label.empty()) shown.y.label = "count";
  detail::axis x(shown.x, "plot_options.x"), y(shown.y, "plot_options.y");
  x.include(bins.edges);
  y.include(std::vector<double>(bins.counts.begin(), bins.counts.end()));
  x.settle(0);
  y.settle(0.05);
  plot_area area(shown, std::move(x), std::move(y));
  for (std::size_t i = 0; i < bins.counts.size(); ++i) {
    const auto count = static_cast<double>(bins.counts[i]);
    if (count == 0 || !area.can_show(bins.edges[i], count)) continue;
    const double left = std::clamp(area.x_of(bins.edges[i]), area.left(), area.right());
    const double right = std::clamp(area.x_of(bins.edges[i + 1]), area.left(), area.right());
    const double top = std::clamp(area.y_of(count), area.top(), area.bottom());
    if (right <= left || top >= area.bottom()) continue;
    const double gap = right - left > 4 ? 1 : 0;
    area.add(rectangle{.at = {left, top},
                       .width = right - left - gap,
                       .height = area.bottom() - top,
                       .fill = palette[0],
                       .title = detail::short_number(bins.edges[i], 6) + " to " +
                                detail::short_number(bins.edges[i + 1], 6) + ": " +
                                std::to_string(bins.counts[i])});
  }
  return std::move(area).finished();
}

}  // namespace mizzen::tracking
