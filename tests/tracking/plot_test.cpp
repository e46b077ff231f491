#include "temporary_folder.hpp"
#include "tracking/axis.hpp"
#include "tracking/raster.hpp"
#include "tracking/stroke_font.hpp"

#include <mizzen/tracking/plot.hpp>

#include <gmock/gmock.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

namespace mizzen::tracking {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

std::vector<std::string> labels_of(const axis_options& options, std::vector<double> values,
                                   std::size_t about) {
  detail::axis a(options, "x");
  a.include(values);
  a.settle(0);
  std::vector<std::string> texts;
  for (const auto& one : a.ticks(about)) {
    if (!one.text.empty()) texts.push_back(one.text);
  }
  return texts;
}

TEST(axis, ticks_are_round_numbers) {
  EXPECT_THAT(labels_of({}, {0, 1}, 5), ElementsAre("0.0", "0.2", "0.4", "0.6", "0.8", "1.0"));
  EXPECT_THAT(labels_of({}, {-3, 17}, 4), ElementsAre("0", "5", "10", "15"));
  EXPECT_THAT(labels_of({}, {0, 2'500'000}, 5),
              ElementsAre("0e6", "0.5e6", "1e6", "1.5e6", "2e6", "2.5e6"));
  EXPECT_THAT(labels_of({}, {0, 3e-7}, 3), ElementsAre("0e-7", "1e-7", "2e-7", "3e-7"));
  EXPECT_THAT(labels_of({.scale = axis_scale::log}, {0.001, 100}, 6),
              ElementsAre("0.001", "0.01", "0.1", "1", "10", "100"));
  EXPECT_THAT(labels_of({.scale = axis_scale::log}, {1e-9, 1e6}, 3),
              ElementsAre("1e-9", "0.0001", "10", "1e6"));
  EXPECT_THAT(labels_of({.scale = axis_scale::log}, {2, 8}, 3), ElementsAre("2", "4", "6", "8"));
}

TEST(axis, has_room_where_the_data_has_none) {
  for (const double value : {0.0, 5.0, -5.0, 1e300, -1e300, 1e-300}) {
    for (const axis_scale scale : {axis_scale::linear, axis_scale::log}) {
      detail::axis a({.scale = scale}, "x");
      a.include({value, std::nan(""), std::numeric_limits<double>::infinity()});
      a.settle(0.05);
      EXPECT_LE(a.ticks(6).size(), 100U);
      if (!a.can_show(value)) continue;
      EXPECT_GT(a.position(value), 0) << value;
      EXPECT_LT(a.position(value), 1) << value;
    }
  }
  detail::axis wide({}, "x");
  wide.include({-1e300, 1e300});
  wide.settle(0.05);
  EXPECT_NEAR(wide.position(0), 0.5, 1e-9);
  EXPECT_FALSE(wide.ticks(5).empty());
}

TEST(plot, checks_what_it_is_given) {
  EXPECT_ERROR(errc::invalid_argument, "lines[1].y",
               draw_lines({{.y = {1}}, {.x = {1, 2}, .y = {1}}}));
  EXPECT_ERROR(errc::invalid_argument, "width", draw_lines({{.y = {1}}}, {.width = 5}));
  EXPECT_ERROR(errc::invalid_argument, "height", draw_lines({{.y = {1}}}, {.height = 5000}));
  EXPECT_ERROR(errc::invalid_argument, "plot_options.x.lowest",
               draw_lines({{.y = {1}}}, {.x = {.lowest = 2, .highest = 2}}));
  EXPECT_ERROR(errc::invalid_argument, "plot_options.y.lowest",
               draw_lines({{.y = {1}}}, {.y = {.scale = axis_scale::log, .lowest = 0}}));
  EXPECT_ERROR(errc::invalid_argument, "plot_options.y.highest",
               draw_lines({{.y = {1}}}, {.y = {.highest = std::nan("")}}));
  const figure drawn = draw_lines({{.y = {1, 2}}});
  EXPECT_ERROR(errc::invalid_argument, "scale", drawn.to_png(0));
  EXPECT_ERROR(errc::invalid_argument, "scale", drawn.to_png(std::nan("")));
  EXPECT_ERROR(errc::out_of_range, "scale",
               draw_lines({{.y = {1}}}, {.width = 4000, .height = 4000}).to_png(4));
}

TEST(plot, draws_whatever_it_is_given) {
  const double nan = std::nan(""), inf = std::numeric_limits<double>::infinity();
  for (const auto& y : std::vector<std::vector<double>>{
           {}, {nan}, {inf, -inf}, {1}, {1, nan, 2, nan}, {-1e308, 1e308}, {5e-324, 0}, {-1, -2}}) {
    for (const axis_scale scale : {axis_scale::linear, axis_scale::log}) {
      const figure drawn = draw_lines({{.name = "it", .y = y, .markers = true, .filled = true}},
                                      {.y = {.scale = scale}});
      const std::string svg = drawn.to_svg();
      EXPECT_THAT(svg, Not(HasSubstr("nan")));
      EXPECT_THAT(svg, Not(HasSubstr("inf")));
      EXPECT_GT(drawn.to_png(1).size(), 100U);
    }
  }
}

TEST(plot, gaps_interrupt_a_line) {
  const auto lines = [](const std::string& svg) {
    std::size_t count = 0;
    for (auto at = svg.find("#0072b2"); at != std::string::npos; at = svg.find("#0072b2", at + 1)) {
      ++count;
    }
    return count;
  };
  const plot_options bare{.legend = false};
  EXPECT_EQ(lines(draw_lines({{.name = "a", .y = {1, 2, 3}}}, bare).to_svg()), 1U);
  EXPECT_EQ(lines(draw_lines({{.name = "a", .y = {1, 2, std::nan(""), 3}}}, bare).to_svg()), 2U);
}

TEST(plot, long_lines_are_thinned_but_keep_their_peaks) {
  std::vector<double> y(200'000, 1.0);
  y[123'456] = 5;
  const std::string svg = draw_lines({{.name = "a", .y = y}}).to_svg();
  EXPECT_LT(svg.size(), 60'000U);
  // The peak is the highest point: 5 % below the top of the frame.
  EXPECT_THAT(svg, HasSubstr("392.58,33 "));
}

TEST(plot, is_the_same_each_time_and_everywhere) {
  const std::vector<series> lines = {{.name = "a", .y = {0.5, 1.5}}};
  const std::string before = draw_lines(lines).to_svg();
  EXPECT_EQ(before, draw_lines(lines).to_svg());
  EXPECT_EQ(draw_lines(lines).to_png(), draw_lines(lines).to_png());
}

TEST(histogram, counts) {
  const std::vector<double> values = {0, 0.5, 1, 1.5, 2, std::nan("")};
  const histogram two = make_histogram(values, {.bins = 2});
  EXPECT_THAT(two.edges, ElementsAre(0, 1, 2));
  EXPECT_THAT(two.counts, ElementsAre(2U, 3U));
  EXPECT_EQ(two.left_out, 1U);
  const histogram part = make_histogram(values, {.bins = 1, .lowest = 1, .highest = 4});
  EXPECT_THAT(part.counts, ElementsAre(3U));
  EXPECT_EQ(part.left_out, 3U);
  const histogram one = make_histogram(std::vector<double>(10, 7.0));
  EXPECT_EQ(std::accumulate(one.counts.begin(), one.counts.end(), std::uint64_t{0}), 10U);
  EXPECT_EQ(make_histogram({}).counts.size(), 1U);
  EXPECT_ERROR(errc::invalid_argument, "bins", make_histogram(values, {.bins = 0}));
  EXPECT_ERROR(errc::invalid_argument, "lowest",
               make_histogram(values, {.lowest = 1, .highest = 0}));
  EXPECT_THAT(draw(two).to_svg(), HasSubstr("0 to 1: 2"));
  EXPECT_ERROR(errc::invalid_argument, "histogram.edges", draw(histogram{}));
  EXPECT_ERROR(errc::invalid_argument, "edges[1]", draw(histogram{.edges = {1, 1}, .counts = {1}}));
}

TEST(raster, covers_pixels_by_their_share) {
  detail::scene s{.width = 8, .height = 8};
  s.elements = {
      detail::rectangle{.at = {1, 1}, .width = 2, .height = 2, .fill = detail::colour{0, 0, 0}},
      detail::polygon{.points = {{4, 1}, {6.5, 1}, {6.5, 3}, {4, 3}}, .fill = {0, 0, 0}},
      detail::polyline{.points = {{1, 5.5}, {7, 5.5}}, .stroke = {255, 0, 0}, .width = 1}};
  const detail::image picture = detail::rasterise(s, 1);
  ASSERT_EQ(picture.pixels.size(), 8U * 8 * 3);
  const auto red = [&](std::size_t x, std::size_t y) { return picture.pixels[(y * 8 + x) * 3]; };
  const auto green = [&](std::size_t x, std::size_t y) {
    return picture.pixels[(y * 8 + x) * 3 + 1];
  };
  EXPECT_EQ(red(0, 0), 255);
  EXPECT_EQ(red(1, 1), 0);
  EXPECT_EQ(red(2, 2), 0);
  EXPECT_EQ(red(3, 1), 255);
  EXPECT_EQ(red(4, 1), 0);
  EXPECT_EQ(red(6, 2), 128);  // half covered
  EXPECT_EQ(red(7, 2), 255);
  EXPECT_EQ(green(3, 5), 0);
  EXPECT_EQ(green(3, 4), 255);
  EXPECT_EQ(green(3, 6), 255);
}

TEST(stroke_font, has_a_glyph_for_each_character) {
  EXPECT_GT(detail::text_width("mm", 12), detail::text_width("ii", 12));
  EXPECT_EQ(detail::text_width("é", 12), detail::text_width("e", 12));
  EXPECT_TRUE(detail::text_strokes({.text = " "}).empty());
  for (char c = '!'; c <= '~'; ++c) {
    EXPECT_FALSE(detail::text_strokes({.text = std::string(1, c)}).empty()) << c;
  }
  // Not UTF-8, cut short, and unknown: boxes, and no more.
  for (const std::string text : {"\xff", "\xe2\x82", "\xc3", "漢", "\xf8\x88"}) {
    EXPECT_FALSE(detail::text_strokes({.text = text}).empty());
  }
  // Anchors, and turned text.
  const auto end =
      detail::text_strokes({.at = {50, 50}, .text = "H", .anchor = detail::anchor::end});
  EXPECT_NEAR(end[1][0].x, 50, 1e-9);
  const auto up = detail::text_strokes({.at = {50, 50}, .text = "H", .upright = true});
  EXPECT_NEAR(up[0][1].x, 50, 1e-9);
  EXPECT_LT(up[0][0].x, 50);
  EXPECT_LT(up[1][0].y, 50);
}

}  // namespace
}  // namespace mizzen::tracking
