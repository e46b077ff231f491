#include <mizzen/core/error.hpp>
#include <mizzen/core/time.hpp>

#include <cstdio>

namespace mizzen {

std::int64_t unix_millis(std::chrono::system_clock::time_point at) noexcept {
  return std::chrono::floor<std::chrono::milliseconds>(at.time_since_epoch()).count();
}

std::string format_rfc3339(std::chrono::system_clock::time_point at) {
  using namespace std::chrono;
  const auto millis = floor<milliseconds>(at);
  const auto day = floor<days>(millis);
  const year_month_day date(day);
  const hh_mm_ss clock(millis - day);
  char text[64];
  std::snprintf(
      text, sizeof text, "%04d-%02u-%02uT%02d:%02d:%02d.%03dZ", static_cast<int>(date.year()),
      static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
      static_cast<int>(clock.hours().count()), static_cast<int>(clock.minutes().count()),
      static_cast<int>(clock.seconds().count()), static_cast<int>(clock.subseconds().count()));
  return text;
}

namespace {

// Reads exactly `digits` decimal digits and moves on, or throws.
class rfc3339_reader {
 public:
  explicit rfc3339_reader(std::string_view text) : text_(text) {}

  int number(std::size_t digits) {
    int value = 0;
    for (std::size_t i = 0; i < digits; ++i) {
      if (at_ >= text_.size() || text_[at_] < '0' || text_[at_] > '9') fail();
      value = value * 10 + (text_[at_++] - '0');
    }
    return value;
  }
  char one_of(std::string_view accepted) {
    if (at_ >= text_.size() || accepted.find(text_[at_]) == std::string_view::npos) fail();
    return text_[at_++];
  }
  bool next_is(char c) const { return at_ < text_.size() && text_[at_] == c; }
  bool next_is_digit() const {
    return at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9';
  }
  bool done() const { return at_ == text_.size(); }
  [[noreturn]] void fail() const {
    throw error(
        errc::invalid_argument, "timestamp",
        "'" + std::string(text_.substr(0, 64)) + "' is not RFC 3339, as in 2026-11-22T08:43:00Z");
  }

 private:
  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace

std::chrono::system_clock::time_point parse_rfc3339(std::string_view text) {
  using namespace std::chrono;
  rfc3339_reader in(text);
  const int year_number = in.number(4);
  in.one_of("-");
  const int month_number = in.number(2);
  in.one_of("-");
  const int day_number = in.number(2);
  in.one_of("Tt ");
  const int hour_number = in.number(2);
  in.one_of(":");
  const int minute_number = in.number(2);
  in.one_of(":");
  const int second_number = in.number(2);
  std::int64_t nanos = 0;
  if (in.next_is('.')) {
    in.one_of(".");
    std::int64_t scale = 100'000'000;
    if (!in.next_is_digit()) in.fail();
    while (in.next_is_digit()) {
      if (scale == 0) in.fail();
      nanos += in.number(1) * scale;
      scale /= 10;
    }
  }
  int offset_minutes = 0;
  const char zone = in.one_of("Zz+-");
  if (zone == '+' || zone == '-') {
    const int hours_off = in.number(2);
    in.one_of(":");
    const int minutes_off = in.number(2);
    if (hours_off > 23 || minutes_off > 59) in.fail();
    offset_minutes = (hours_off * 60 + minutes_off) * (zone == '-' ? -1 : 1);
  }
  const year_month_day date{year(year_number), month(static_cast<unsigned>(month_number)),
                            day(static_cast<unsigned>(day_number))};
  // 60 is a leap second; the clock has none, so it reads as the following second.
  if (!in.done() || !date.ok() || hour_number > 23 || minute_number > 59 || second_number > 60)
    in.fail();
  // system_clock counts nanoseconds in 64 bits, which ends in 1677 and 2262.
  if (year_number < 1678 || year_number > 2261) in.fail();
  return sys_days(date) + hours(hour_number) + minutes(minute_number - offset_minutes) +
         seconds(second_number) + duration_cast<system_clock::duration>(nanoseconds(nanos));
}

}  // namespace mizzen
