#include "tracking/axis.hpp"

#include "tracking/scene.hpp"

#include <mizzen/core/error.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

namespace mizzen::tracking::detail {
namespace {

// Beyond this, the difference of two values may not be finite.
constexpr double greatest = 1e300;

// 1, 2 or 5 times a power of ten: the smallest that makes no more than `about` steps.
double nice_step(double span, std::size_t about) {
  const double raw = span / static_cast<double>(std::max<std::size_t>(about, 1));
  const double power = std::pow(10.0, std::floor(std::log10(raw)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= raw * (1 - 1e-9)) return factor * power;
  }
  return 10 * power;
}

int decade_of(double value) { return static_cast<int>(std::floor(std::log10(value) + 1e-9)); }

std::string tick_text(double value, double step, double most) {
  const int fine = decade_of(step);
  if (most < 1e6 && fine >= -5) return fixed_number(value, std::max(0, -fine));
  const int exponent = decade_of(most);
  return short_number(value / std::pow(10.0, exponent), std::clamp(exponent - fine, 0, 15)) + "e" +
         std::to_string(exponent);
}

std::vector<tick> linear_ticks(double lowest, double highest, std::size_t about) {
  std::vector<tick> out;
  const double step = nice_step(highest - lowest, about);
  const double most = std::max(std::abs(lowest), std::abs(highest));
  const double first = std::ceil(lowest / step - 1e-9);
  for (int i = 0; i < 100; ++i) {
    const double value = (first + i) * step;
    if (value > highest + step * 1e-9) break;
    out.push_back({value, tick_text(value, step, most)});
  }
  return out;
}

std::string power_text(int exponent) {
  if (exponent < -4 || exponent > 5) return "1e" + std::to_string(exponent);
  return fixed_number(std::pow(10.0, exponent), std::max(0, -exponent));
}

}  // namespace

axis::axis(const axis_options& options, std::string_view subject)
    : options_(options),
      lowest_(std::numeric_limits<double>::infinity()),
      highest_(-std::numeric_limits<double>::infinity()) {
  const auto check = [&](const std::optional<double>& end, std::string_view name) {
    if (!end || can_show(*end)) return;
    throw error(errc::invalid_argument, std::string(subject) + "." + std::string(name),
                options.scale == axis_scale::log
                    ? "the end of a logarithmic axis must be positive and at most 1e300"
                    : "the end of an axis must be at most 1e300");
  };
  check(options.lowest, "lowest");
  check(options.highest, "highest");
  if (options.lowest && options.highest && *options.lowest >= *options.highest) {
    throw error(errc::invalid_argument, std::string(subject) + ".lowest",
                "it is not below the highest");
  }
}

bool axis::can_show(double value) const noexcept {
  return std::abs(value) <= greatest && (options_.scale == axis_scale::linear || value > 0);
}

double axis::scaled(double value) const noexcept {
  return options_.scale == axis_scale::log ? std::log10(value) : value;
}

void axis::include(const std::vector<double>& values) {
  for (const double value : values) {
    if (!can_show(value)) continue;
    lowest_ = std::min(lowest_, scaled(value));
    highest_ = std::max(highest_, scaled(value));
  }
}

void axis::settle(double margin) {
  if (lowest_ > highest_) lowest_ = 0, highest_ = 1;  // nothing was included
  if (options_.lowest) lowest_ = scaled(*options_.lowest);
  if (options_.highest) highest_ = scaled(*options_.highest);
  // Too short to be divided: made longer where it may be.
  const double size = std::max(std::abs(lowest_), std::abs(highest_));
  if (!(highest_ - lowest_ > size * 1e-9) || highest_ - lowest_ < 1e-290) {
    const double room = size > 1e-280 ? size * 0.05 : 0.5;
    if (options_.highest) {
      lowest_ = highest_ - (options_.lowest ? 0 : room);
    } else {
      if (!options_.lowest) lowest_ -= room;
      highest_ = lowest_ + 2 * room;
    }
    if (!(highest_ > lowest_)) lowest_ -= room, highest_ += room;
    return;
  }
  const double room = (highest_ - lowest_) * margin;
  if (!options_.lowest) lowest_ -= room;
  if (!options_.highest) highest_ += room;
}

double axis::position(double value) const noexcept {
  // Far outside is far enough: what is drawn must stay finite.
  return std::clamp((scaled(value) - lowest_) / (highest_ - lowest_), -1e5, 1e5);
}

std::vector<tick> axis::ticks(std::size_t about) const {
  if (options_.scale == axis_scale::linear) return linear_ticks(lowest_, highest_, about);
  const int first = static_cast<int>(std::ceil(lowest_ - 1e-9));
  const int last = static_cast<int>(std::floor(highest_ + 1e-9));
  // Within little more than a decade, powers of ten say too little.
  if (last - first < 1) {
    std::vector<tick> out = linear_ticks(std::pow(10.0, lowest_), std::pow(10.0, highest_), about);
    std::erase_if(out, [](const tick& one) { return !(one.value > 0); });
    return out;
  }
  const int count = std::max(1, static_cast<int>(about));
  const int every = std::max(1, (last - first + count - 1) / count);
  std::vector<tick> out;
  for (int exponent = first - 1; exponent <= last; ++exponent) {
    const double power = std::pow(10.0, exponent);
    if (exponent >= first && (exponent - first) % every == 0) {
      out.push_back({power, power_text(exponent)});
    }
    if (last - first > 4) continue;
    for (int digit = 2; digit < 10; ++digit) {
      const double at = scaled(power * digit);
      if (at >= lowest_ && at <= highest_) out.push_back({power * digit, {}});
    }
  }
  return out;
}

}  // namespace mizzen::tracking::detail
