// What a figure is made of, and how it becomes SVG. raster.hpp makes pixels of the same.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace mizzen::tracking::detail {

struct colour {
  std::uint8_t red = 0, green = 0, blue = 0;
  double opacity = 1;
};

inline constexpr colour white{255, 255, 255};
inline constexpr colour ink{31, 41, 51};
inline constexpr colour faded{154, 165, 177};
inline constexpr colour frame_grey{82, 96, 109};
inline constexpr colour grid_grey{228, 231, 235};

// In CSS pixels from the upper left corner, y downwards.
struct point {
  double x = 0, y = 0;
};

struct rectangle {
  point at = {};
  double width = 0, height = 0;
  std::optional<colour> fill = {};
  std::optional<colour> edge = {};  // one pixel wide
  std::string title = {};           // shown by SVG viewers under the pointer
};

struct polyline {
  std::vector<point> points = {};
  colour stroke = {};
  double width = 1;
  bool dashed = false;
};

struct polygon {
  std::vector<point> points = {};
  colour fill = {};
};

enum class anchor { start, middle, end };

struct label {
  point at = {};  // on the base line
  std::string text = {};
  double size = 12;
  detail::anchor anchor = detail::anchor::start;
  colour fill = ink;
  bool bold = false;
  bool upright = false;  // turned by 90 degrees, to be read from below
};

using element = std::variant<rectangle, polyline, polygon, label>;

// Drawn in their order, on white.
struct scene {
  double width = 0, height = 0;
  std::vector<element> elements = {};
};

inline constexpr double dash_on = 6, dash_off = 4;

std::string scene_to_svg(const scene& drawn);

// A number with at most `digits` decimals and no trailing zeros, whatever the locale is.
std::string short_number(double value, int digits);
// As above with all decimals.
std::string fixed_number(double value, int digits);

}  // namespace mizzen::tracking::detail
