// The parts of the value types that the codecs need without an exception in between.
#pragma once

#include <mizzen/kubernetes/quantity.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace mizzen::kubernetes::detail {

// Seconds since 1970 and nanoseconds of RFC 3339 text; nothing if it is not that.
struct instant {
  std::int64_t seconds = 0;
  std::int32_t nanos = 0;
};
// The bounds of RFC 3339: 0000-01-01T00:00:00Z and 9999-12-31T23:59:59Z.
inline constexpr std::int64_t first_second = -62'167'219'200;
inline constexpr std::int64_t last_second = 253'402'300'799;
std::optional<instant> read_rfc3339(std::string_view text) noexcept;

// Appends "2026-11-22T08:43:00Z", with a fraction of six digits if `micros` is not negative. Years
// outside 0 … 9999 are written with as many digits as they have.
void append_rfc3339(std::string& out, std::int64_t seconds, std::int32_t micros = -1);

bool is_quantity(std::string_view text) noexcept;

struct quantity_access {
  // A quantity of text that is_quantity().
  static quantity make(std::string_view text) {
    quantity made;
    made.text_ = std::string(text);
    return made;
  }
};

}  // namespace mizzen::kubernetes::detail
