// The two forms in which the API writes a point in time.
#pragma once

#include <chrono>
#include <compare>
#include <string>
#include <string_view>

namespace mizzen::kubernetes {

// metav1.Time: UTC in whole seconds, "2026-11-22T08:43:00Z".
struct time {
  std::chrono::sys_seconds at = {};

  static time now() noexcept {
    return {std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now())};
  }
  // Reads RFC 3339 with any offset; a fraction of a second is cut off, as Go does. Throws
  // error(invalid_argument) that quotes the text.
  static time parse(std::string_view text);
  std::string to_string() const;

  friend auto operator<=>(const time&, const time&) = default;
};

// metav1.MicroTime: UTC in microseconds, "2026-11-22T08:43:00.123456Z".
struct micro_time {
  std::chrono::sys_time<std::chrono::microseconds> at = {};

  static micro_time now() noexcept {
    return {std::chrono::floor<std::chrono::microseconds>(std::chrono::system_clock::now())};
  }
  // As time::parse; finer digits than microseconds are cut off.
  static micro_time parse(std::string_view text);
  std::string to_string() const;

  friend auto operator<=>(const micro_time&, const micro_time&) = default;
};

}  // namespace mizzen::kubernetes
