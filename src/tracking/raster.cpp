#include "tracking/raster.hpp"

#include "tracking/stroke_font.hpp"

#include <mizzen/core/error.hpp>

#include <algorithm>
#include <cmath>
#include <string_view>
#include <utility>
#include <zlib.h>

namespace mizzen::tracking::detail {
namespace {

// Part of the pixel [at, at + 1) that [from, to) covers.
double overlap(double from, double to, std::size_t at) {
  const auto left = static_cast<double>(at);
  return std::clamp(std::min(to, left + 1) - std::max(from, left), 0.0, 1.0);
}

struct pixel_range {
  std::size_t begin = 0, end = 0;
};

// The pixels that [from, to) touches, of `count` in all.
pixel_range touched(double from, double to, std::size_t count) {
  const auto most = static_cast<double>(count);
  if (!(to > from)) return {};
  return {static_cast<std::size_t>(std::clamp(std::floor(from), 0.0, most)),
          static_cast<std::size_t>(std::clamp(std::ceil(to), 0.0, most))};
}

double distance_to_segment(point p, point a, point b) {
  const double dx = b.x - a.x, dy = b.y - a.y;
  const double length2 = dx * dx + dy * dy;
  const double t =
      length2 == 0 ? 0 : std::clamp(((p.x - a.x) * dx + (p.y - a.y) * dy) / length2, 0.0, 1.0);
  return std::hypot(p.x - a.x - t * dx, p.y - a.y - t * dy);
}

std::vector<std::vector<point>> dashes_of(const std::vector<point>& line) {
  std::vector<std::vector<point>> out;
  bool drawing = true;
  double left = dash_on;
  std::vector<point> dash;
  if (!line.empty()) dash = {line.front()};
  for (std::size_t i = 1; i < line.size(); ++i) {
    point at = line[i - 1];
    const point to = line[i];
    for (;;) {
      const double rest = std::hypot(to.x - at.x, to.y - at.y);
      if (rest < left) {
        left -= rest;
        if (drawing) dash.push_back(to);
        break;
      }
      const double share = rest == 0 ? 0 : left / rest;
      at = {at.x + (to.x - at.x) * share, at.y + (to.y - at.y) * share};
      if (drawing) {
        dash.push_back(at);
        out.push_back(std::exchange(dash, {}));
      } else {
        dash = {at};
      }
      drawing = !drawing;
      left = drawing ? dash_on : dash_off;
    }
  }
  if (drawing && dash.size() > 1) out.push_back(std::move(dash));
  return out;
}

class canvas {
 public:
  canvas(std::size_t width, std::size_t height, double scale) : scale_(scale) {
    image_.width = width;
    image_.height = height;
    image_.pixels.assign(width * height * 3, 255);
    cover_.assign(width * height, 0);
  }

  void operator()(const rectangle& r) {
    if (r.fill) box(r.at.x, r.at.y, r.at.x + r.width, r.at.y + r.height, *r.fill);
    if (!r.edge) return;
    const double right = r.at.x + r.width, bottom = r.at.y + r.height, half = 0.5;
    box(r.at.x - half, r.at.y - half, right + half, r.at.y + half, *r.edge);
    box(r.at.x - half, bottom - half, right + half, bottom + half, *r.edge);
    box(r.at.x - half, r.at.y + half, r.at.x + half, bottom - half, *r.edge);
    box(right - half, r.at.y + half, right + half, bottom - half, *r.edge);
  }

  void operator()(const polyline& l) {
    begin();
    if (l.dashed) {
      for (const auto& dash : dashes_of(l.points)) trace(dash, l.width);
    } else {
      trace(l.points, l.width);
    }
    paint(l.stroke);
  }

  void operator()(const polygon& p) {
    begin();
    fill(p.points);
    paint(p.fill);
  }

  void operator()(const label& l) {
    begin();
    const double pen = pen_width(l);
    for (const auto& stroke : text_strokes(l)) trace(stroke, pen);
    paint(l.fill);
  }

  image finished() && { return std::move(image_); }

 private:
  // Lines on whole pixels stay sharp.
  double snapped(double value) const { return std::round(value * scale_); }

  void box(double left, double top, double right, double bottom, const colour& with) {
    left = snapped(left), right = std::max(snapped(right), left + 1);
    top = snapped(top), bottom = std::max(snapped(bottom), top + 1);
    const auto columns = touched(left, right, image_.width);
    const auto rows = touched(top, bottom, image_.height);
    for (std::size_t y = rows.begin; y < rows.end; ++y) {
      for (std::size_t x = columns.begin; x < columns.end; ++x) {
        blend(y * image_.width + x, with, overlap(left, right, x) * overlap(top, bottom, y));
      }
    }
  }

  // Shapes are first gathered as the share of each pixel that they cover, so that overlapping
  // strokes of one shape do not show.
  void begin() {
    left_ = image_.width, right_ = 0;
    top_ = image_.height, bottom_ = 0;
  }

  void cover(std::size_t x, std::size_t y, float share) {
    float& now = cover_[y * image_.width + x];
    now = std::max(now, share);
    left_ = std::min(left_, x), right_ = std::max(right_, x + 1);
    top_ = std::min(top_, y), bottom_ = std::max(bottom_, y + 1);
  }

  void paint(const colour& with) {
    for (std::size_t y = top_; y < bottom_; ++y) {
      for (std::size_t x = left_; x < right_; ++x) {
        const std::size_t at = y * image_.width + x;
        blend(at, with, std::exchange(cover_[at], 0.0F));
      }
    }
  }

  void trace(const std::vector<point>& line, double width) {
    const double half = width * scale_ / 2;
    // A pen thinner than a pixel covers part of it.
    const double most = std::min(1.0, width * scale_);
    const double reach = half + 0.5;
    const auto scaled = [&](point p) { return point{p.x * scale_, p.y * scale_}; };
    for (std::size_t i = line.size() == 1 ? 0 : 1; i < line.size(); ++i) {
      const point a = scaled(line[i == 0 ? 0 : i - 1]), b = scaled(line[i]);
      const auto rows =
          touched(std::min(a.y, b.y) - reach, std::max(a.y, b.y) + reach, image_.height);
      for (std::size_t y = rows.begin; y < rows.end; ++y) {
        // The part of the segment that is near this row.
        const double middle = static_cast<double>(y) + 0.5;
        double from = std::min(a.x, b.x), to = std::max(a.x, b.x);
        if (a.y != b.y) {
          const auto at = [&](double level) {
            const double t = std::clamp((level - a.y) / (b.y - a.y), 0.0, 1.0);
            return a.x + t * (b.x - a.x);
          };
          const double one = at(middle - reach), two = at(middle + reach);
          from = std::min(one, two), to = std::max(one, two);
        }
        const auto columns = touched(from - reach, to + reach, image_.width);
        for (std::size_t x = columns.begin; x < columns.end; ++x) {
          const point centre{static_cast<double>(x) + 0.5, middle};
          const double share = std::min(reach - distance_to_segment(centre, a, b), most);
          if (share > 0) cover(x, y, static_cast<float>(share));
        }
      }
    }
  }

  // Even-odd, with four lines of samples to a pixel and exact ends of each.
  void fill(const std::vector<point>& corners) {
    constexpr int samples = 4;
    if (corners.size() < 3) return;
    double lowest = corners[0].y, highest = corners[0].y;
    for (const point& p : corners) {
      lowest = std::min(lowest, p.y);
      highest = std::max(highest, p.y);
    }
    const auto rows = touched(lowest * scale_, highest * scale_, image_.height);
    std::vector<double> crossings;
    std::vector<float> shares(image_.width);
    for (std::size_t y = rows.begin; y < rows.end; ++y) {
      std::fill(shares.begin(), shares.end(), 0.0F);
      for (int sample = 0; sample < samples; ++sample) {
        const double level = static_cast<double>(y) + (sample + 0.5) / samples;
        crossings.clear();
        for (std::size_t i = 0; i < corners.size(); ++i) {
          const point& p = corners[i];
          const point& q = corners[(i + 1) % corners.size()];
          const double py = p.y * scale_, qy = q.y * scale_;
          if ((py <= level) == (qy <= level)) continue;
          crossings.push_back((p.x + (level - py) / (qy - py) * (q.x - p.x)) * scale_);
        }
        std::sort(crossings.begin(), crossings.end());
        for (std::size_t i = 0; i + 1 < crossings.size(); i += 2) {
          const auto columns = touched(crossings[i], crossings[i + 1], image_.width);
          for (std::size_t x = columns.begin; x < columns.end; ++x) {
            shares[x] += static_cast<float>(overlap(crossings[i], crossings[i + 1], x) / samples);
          }
        }
      }
      for (std::size_t x = 0; x < image_.width; ++x) {
        if (shares[x] > 0) cover(x, y, std::min(shares[x], 1.0F));
      }
    }
  }

  void blend(std::size_t at, const colour& with, double share) {
    const double weight = share * with.opacity;
    if (weight <= 0) return;
    std::uint8_t* pixel = &image_.pixels[at * 3];
    for (const std::uint8_t part : {with.red, with.green, with.blue}) {
      *pixel = static_cast<std::uint8_t>(std::lround(*pixel + (part - *pixel) * weight));
      ++pixel;
    }
  }

  double scale_;
  image image_;
  std::vector<float> cover_;
  std::size_t left_ = 0, right_ = 0, top_ = 0, bottom_ = 0;  // what cover_ holds
};

class png_file {
 public:
  void chunk(std::string_view type, const std::vector<std::uint8_t>& data) {
    number(static_cast<std::uint32_t>(data.size()));
    const std::size_t begin = bytes_.size();
    for (const char c : type) bytes_.push_back(static_cast<std::byte>(c));
    for (const std::uint8_t b : data) bytes_.push_back(static_cast<std::byte>(b));
    const auto* counted = reinterpret_cast<const Bytef*>(bytes_.data() + begin);
    number(static_cast<std::uint32_t>(
        ::crc32_z(::crc32_z(0, nullptr, 0), counted, bytes_.size() - begin)));
  }
  void raw(std::string_view text) {
    for (const char c : text) bytes_.push_back(static_cast<std::byte>(c));
  }
  std::vector<std::byte> finished() && { return std::move(bytes_); }

 private:
  void number(std::uint32_t value) {
    for (const int shift : {24, 16, 8, 0}) bytes_.push_back(static_cast<std::byte>(value >> shift));
  }
  std::vector<std::byte> bytes_;
};

std::vector<std::uint8_t> big_endian(std::uint32_t a, std::uint32_t b) {
  std::vector<std::uint8_t> out;
  for (const std::uint32_t value : {a, b}) {
    for (const int shift : {24, 16, 8, 0}) out.push_back(static_cast<std::uint8_t>(value >> shift));
  }
  return out;
}

}  // namespace

image rasterise(const scene& drawn, double scale) {
  canvas onto(static_cast<std::size_t>(std::ceil(drawn.width * scale)),
              static_cast<std::size_t>(std::ceil(drawn.height * scale)), scale);
  for (const element& one : drawn.elements) std::visit(onto, one);
  return std::move(onto).finished();
}

std::vector<std::byte> to_png(const image& picture) {
  const std::size_t row = picture.width * 3;
  std::vector<std::uint8_t> lines;
  lines.reserve((row + 1) * picture.height);
  for (std::size_t y = 0; y < picture.height; ++y) {
    lines.push_back(0);  // filter type none: flat areas need no other
    const auto from = picture.pixels.begin() + static_cast<std::ptrdiff_t>(y * row);
    lines.insert(lines.end(), from, from + static_cast<std::ptrdiff_t>(row));
  }
  uLongf size = ::compressBound(lines.size());
  std::vector<std::uint8_t> packed(size);
  if (::compress2(packed.data(), &size, lines.data(), lines.size(), 6) != Z_OK) {
    throw error(errc::internal, "figure", "deflating its pixels failed");
  }
  packed.resize(size);

  auto header = big_endian(static_cast<std::uint32_t>(picture.width),
                           static_cast<std::uint32_t>(picture.height));
  header.insert(header.end(), {8, 2, 0, 0, 0});  // 8 bits, RGB, deflate, no filter, not interlaced
  png_file file;
  file.raw("\x89PNG\r\n\x1a\n");
  file.chunk("IHDR", header);
  file.chunk("IDAT", packed);
  file.chunk("IEND", {});
  return std::move(file).finished();
}

}  // namespace mizzen::tracking::detail
