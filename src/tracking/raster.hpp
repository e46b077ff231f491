// A scene as pixels, with smoothed edges, and pixels as a PNG file.
#pragma once

#include "tracking/scene.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace mizzen::tracking::detail {

struct image {
  std::size_t width = 0, height = 0;
  std::vector<std::uint8_t> pixels = {};  // red, green, blue; row after row
};

// The scene `scale` times its size. The caller bounds both.
image rasterise(const scene& drawn, double scale);

// PNG (ISO/IEC 15948), 8-bit RGB, not interlaced.
std::vector<std::byte> to_png(const image& picture);

}  // namespace mizzen::tracking::detail
