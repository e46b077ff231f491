// The font of PNG figures: lines and curves, so that it scales and turns. A design of Mizzen's own.
#pragma once

#include "tracking/scene.hpp"

#include <string_view>
#include <vector>

namespace mizzen::tracking::detail {

// The strokes of a label, in the coordinates of the scene. Text that is not UTF-8 and characters
// that the font lacks become boxes.
std::vector<std::vector<point>> text_strokes(const label& text);

// The width of the pen for that label.
double pen_width(const label& text);

// Width of a line of text in pixels, near enough for a viewer's sans-serif too.
double text_width(std::string_view text, double size);

}  // namespace mizzen::tracking::detail
