#include <mizzen/core/error.hpp>
#include <mizzen/kubernetes/time.hpp>

#include <kubernetes/codec/values.hpp>

#include <array>
#include <cstdio>

namespace mizzen::kubernetes {

namespace detail {

std::optional<instant> read_rfc3339(std::string_view text) noexcept {
  std::size_t at = 0;
  bool good = true;
  const auto number = [&](std::size_t digits) {
    int value = 0;
    for (std::size_t i = 0; i < digits; ++i, ++at) {
      if (at >= text.size() || text[at] < '0' || text[at] > '9') {
        good = false;
        return 0;
      }
      value = value * 10 + (text[at] - '0');
    }
    return value;
  };
  const auto expect = [&](char c) {
    if (at < text.size() && text[at] == c) {
      ++at;
    } else {
      good = false;
    }
  };
  const int year = number(4);
  expect('-');
  const int month = number(2);
  expect('-');
  const int day = number(2);
  expect('T');
  const int hour = number(2);
  expect(':');
  const int minute = number(2);
  expect(':');
  const int second = number(2);
  if (!good) return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year(year),
                                         std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day))};
  if (!date.ok() || hour > 23 || minute > 59 || second > 59) return std::nullopt;

  instant result;
  if (at < text.size() && text[at] == '.') {
    std::size_t digits = 0;
    std::int32_t unit = 100'000'000;
    for (++at; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at, ++digits) {
      result.nanos += (text[at] - '0') * unit;
      unit /= 10;
    }
    if (digits == 0) return std::nullopt;
  }
  int offset = 0;  // minutes
  if (at < text.size() && text[at] == 'Z') {
    ++at;
  } else {
    if (at >= text.size() || (text[at] != '+' && text[at] != '-')) return std::nullopt;
    const int sign = text[at++] == '-' ? -1 : 1;
    const int hours = number(2);
    expect(':');
    const int minutes = number(2);
    if (!good || hours > 23 || minutes > 59) return std::nullopt;
    offset = sign * (hours * 60 + minutes);
  }
  if (at != text.size()) return std::nullopt;
  const std::int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
  result.seconds = days * 86'400 + hour * 3'600 + minute * 60 + second - offset * 60;
  // In UTC it may have become a year that cannot be written again.
  if (result.seconds < first_second || result.seconds > last_second) return std::nullopt;
  return result;
}

void append_rfc3339(std::string& out, std::int64_t seconds, std::int32_t micros) {
  std::int64_t days = seconds / 86'400;
  std::int64_t rest = seconds % 86'400;
  if (rest < 0) {
    rest += 86'400;
    --days;
  }
  // From days since 1970 to a date of the Gregorian calendar, in eras of 400 years that begin in
  // March; std::chrono::year would stop at 32767.
  days += 719'468;
  const std::int64_t era = (days >= 0 ? days : days - 146'096) / 146'097;
  const std::int64_t day_of_era = days - era * 146'097;
  const std::int64_t year_of_era =
      (day_of_era - day_of_era / 1'460 + day_of_era / 36'524 - day_of_era / 146'096) / 365;
  const std::int64_t day_of_year =
      day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const std::int64_t shifted_month = (5 * day_of_year + 2) / 153;
  const auto day = static_cast<int>(day_of_year - (153 * shifted_month + 2) / 5 + 1);
  const auto month = static_cast<int>(shifted_month < 10 ? shifted_month + 3 : shifted_month - 9);
  const std::int64_t year = year_of_era + era * 400 + (month <= 2 ? 1 : 0);
  std::array<char, 64> buffer{};
  int size = std::snprintf(buffer.data(), buffer.size(), "%04lld-%02d-%02dT%02d:%02d:%02d",
                           static_cast<long long>(year), month, day, static_cast<int>(rest / 3'600),
                           static_cast<int>(rest / 60 % 60), static_cast<int>(rest % 60));
  out.append(buffer.data(), static_cast<std::size_t>(size));
  if (micros >= 0) {
    size = std::snprintf(buffer.data(), buffer.size(), ".%06d", micros);
    out.append(buffer.data(), static_cast<std::size_t>(size));
  }
  out += 'Z';
}

namespace {

instant parse(std::string_view text) {
  const auto read = read_rfc3339(text);
  if (!read) {
    throw error(errc::invalid_argument, text.substr(0, 60),
                "not a time in the form of 2006-01-02T15:04:05Z");
  }
  return *read;
}

}  // namespace
}  // namespace detail

time time::parse(std::string_view text) {
  return {std::chrono::sys_seconds(std::chrono::seconds(detail::parse(text).seconds))};
}

std::string time::to_string() const {
  std::string text;
  detail::append_rfc3339(text, at.time_since_epoch().count());
  return text;
}

micro_time micro_time::parse(std::string_view text) {
  const detail::instant read = detail::parse(text);
  return {std::chrono::sys_seconds(std::chrono::seconds(read.seconds)) +
          std::chrono::microseconds(read.nanos / 1'000)};
}

std::string micro_time::to_string() const {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(at);
  std::string text;
  detail::append_rfc3339(text, seconds.time_since_epoch().count(),
                         static_cast<std::int32_t>((at - seconds).count()));
  return text;
}

}  // namespace mizzen::kubernetes
