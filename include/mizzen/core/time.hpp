// Wall-clock time as the formats around us write it.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace mizzen {

// Milliseconds since 1970-01-01 UTC, the unit of every MLflow timestamp.
std::int64_t unix_millis(
    std::chrono::system_clock::time_point at = std::chrono::system_clock::now()) noexcept;

// RFC 3339 in UTC with milliseconds: "2026-11-22T08:43:00.123Z".
std::string format_rfc3339(std::chrono::system_clock::time_point at);

// Reads RFC 3339 with any offset and up to nine fractional digits. Throws error(invalid_argument)
// that quotes the text.
std::chrono::system_clock::time_point parse_rfc3339(std::string_view text);

}  // namespace mizzen
