#include <mizzen/http/client.hpp>
#include <mizzen/http/retry.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <random>
#include <string>

namespace mizzen::http {
namespace {

using std::chrono::milliseconds;

std::uint64_t entropy() {
  std::random_device device;
  return (std::uint64_t{device()} << 32) | device();
}

// splitmix64: small, and good enough to spread waits.
double uniform(std::uint64_t& state) noexcept {
  state += 0x9e3779b97f4a7c15U;
  std::uint64_t z = state;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
  z ^= z >> 31;
  return static_cast<double>(z >> 11) * 0x1.0p-53;
}

std::string_view trimmed(std::string_view text) noexcept {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

// Reads an HTTP date from left to right; `good` turns false at the first thing that does not fit.
struct date_reader {
  std::string_view rest;
  bool good = true;

  void skip(std::string_view text) {
    good = good && rest.starts_with(text);
    if (good) rest.remove_prefix(text.size());
  }

  int digits(std::size_t count) {
    if (!good || rest.size() < count) {
      good = false;
      return 0;
    }
    int value = 0;
    for (const char c : rest.substr(0, count)) {
      if (c < '0' || c > '9') {
        good = false;
        return 0;
      }
      value = value * 10 + (c - '0');
    }
    rest.remove_prefix(count);
    return value;
  }

  // The index of the name that stands here.
  template <std::size_t count>
  unsigned one_of(const std::array<std::string_view, count>& names) {
    for (unsigned i = 0; good && i < count; ++i) {
      if (rest.starts_with(names[i])) {
        rest.remove_prefix(names[i].size());
        return i;
      }
    }
    good = false;
    return 0;
  }
};

constexpr std::array<std::string_view, 7> short_days = {"Sun", "Mon", "Tue", "Wed",
                                                        "Thu", "Fri", "Sat"};
constexpr std::array<std::string_view, 7> long_days = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                                       "Thursday", "Friday", "Saturday"};
constexpr std::array<std::string_view, 12> months = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

}  // namespace

bool is_safe_method(std::string_view method) noexcept {
  return method == "GET" || method == "HEAD" || method == "OPTIONS" || method == "TRACE";
}

bool is_idempotent_method(std::string_view method) noexcept {
  return is_safe_method(method) || method == "PUT" || method == "DELETE";
}

// RFC 9110, section 5.6.7.
std::optional<std::chrono::system_clock::time_point> parse_http_date(
    std::string_view text, std::chrono::system_clock::time_point now) {
  using namespace std::chrono;
  date_reader in{trimmed(text)};
  int y = 0;
  unsigned m = 0;
  int d = 0;
  int hour = 0;
  int minute = 0;
  int second = 0;
  const auto read_time = [&] {
    hour = in.digits(2);
    in.skip(":");
    minute = in.digits(2);
    in.skip(":");
    second = in.digits(2);
  };
  const auto comma = in.rest.find(',');
  if (comma == 3) {  // Sun, 06 Nov 1994 08:49:37 GMT
    in.one_of(short_days);
    in.skip(", ");
    d = in.digits(2);
    in.skip(" ");
    m = in.one_of(months) + 1;
    in.skip(" ");
    y = in.digits(4);
    in.skip(" ");
    read_time();
    in.skip(" GMT");
  } else if (comma != std::string_view::npos) {  // Sunday, 06-Nov-94 08:49:37 GMT
    in.one_of(long_days);
    in.skip(", ");
    d = in.digits(2);
    in.skip("-");
    m = in.one_of(months) + 1;
    in.skip("-");
    y = in.digits(2);
    in.skip(" ");
    read_time();
    in.skip(" GMT");
    // A year that looks more than 50 years ahead is the one of the last century.
    const int this_year = static_cast<int>(year_month_day(floor<days>(now)).year());
    y += this_year / 100 * 100;
    if (y > this_year + 50) y -= 100;
  } else {  // Sun Nov  6 08:49:37 1994
    in.one_of(short_days);
    in.skip(" ");
    m = in.one_of(months) + 1;
    in.skip(" ");
    if (in.rest.starts_with(' ')) {
      in.skip(" ");
      d = in.digits(1);
    } else {
      d = in.digits(2);
    }
    in.skip(" ");
    read_time();
    in.skip(" ");
    y = in.digits(4);
  }
  const year_month_day date{year(y), month(m), day(static_cast<unsigned>(d))};
  // Differences between years beyond these do not fit into nanoseconds.
  const bool fits = y >= 1900 && y <= 2200;
  if (!in.good || !in.rest.empty() || !fits || !date.ok() || hour > 23 || minute > 59 ||
      second > 60) {
    return std::nullopt;
  }
  return sys_days(date) + hours(hour) + minutes(minute) + seconds(second);
}

std::optional<std::chrono::seconds> parse_retry_after(std::string_view value,
                                                      std::chrono::system_clock::time_point now) {
  using namespace std::chrono;
  constexpr seconds year = hours(24 * 365);
  value = trimmed(value);
  if (value.empty()) return std::nullopt;
  const bool number = std::ranges::all_of(value, [](char c) { return c >= '0' && c <= '9'; });
  if (number) {
    std::int64_t count = 0;
    const auto [end, ec] = std::from_chars(value.data(), value.data() + value.size(), count);
    if (ec == std::errc::result_out_of_range) return year;
    return std::min(seconds(count), year);
  }
  const auto date = parse_http_date(value, now);
  if (!date) return std::nullopt;
  return std::clamp(ceil<seconds>(*date - now), seconds(0), year);
}

void retry_policy::check() const {
  const auto require = [](bool holds, std::string_view field, std::string_view why) {
    if (!holds) {
      throw error(errc::invalid_argument, "retry_policy." + std::string(field), why);
    }
  };
  require(max_attempts >= 1, "max_attempts", "must be at least 1");
  require(first_wait.count() >= 0, "first_wait", "must not be negative");
  require(max_wait >= first_wait, "max_wait", "must not be shorter than first_wait");
  require(factor >= 1 && factor <= 100, "factor", "must be from 1 to 100");
  require(jitter >= 0 && jitter <= 1, "jitter", "must be from 0 to 1");
  require(max_retry_after.count() >= 0, "max_retry_after", "must not be negative");
}

backoff::backoff(const retry_policy& policy, std::uint64_t seed)
    : first_(policy.first_wait),
      max_(policy.max_wait),
      factor_(policy.factor),
      jitter_(policy.jitter),
      random_(seed) {
  policy.check();
}

backoff::backoff(const retry_policy& policy) : backoff(policy, entropy()) {}

milliseconds backoff::next() noexcept {
  const auto ceiling = static_cast<double>(max_.count());
  raw_ = std::min(raw_ > 0 ? raw_ * factor_ : static_cast<double>(first_.count()), ceiling);
  const double wait = raw_ * (1 - jitter_ * uniform(random_));
  return milliseconds(std::llround(wait));
}

retry::retry(const retry_policy& policy, std::string_view method, deadline until)
    : retry(policy, method, until, entropy()) {}

retry::retry(const retry_policy& policy, std::string_view method, deadline until,
             std::uint64_t seed)
    : policy_(policy),
      waits_(policy, seed),
      until_(until),
      idempotent_(is_idempotent_method(method)) {}

std::optional<milliseconds> retry::after(const response& answer,
                                         std::chrono::system_clock::time_point now) {
  ++attempts_;
  std::optional<std::chrono::seconds> asked;
  if (const std::string* field = answer.headers.find("Retry-After")) {
    asked = parse_retry_after(*field, now);
  }
  const bool refused = answer.status == 429 || (answer.status >= 500 && asked);
  const bool passing = answer.status == 500 || (answer.status >= 502 && answer.status <= 504);
  if (!refused && !(passing && idempotent_)) return std::nullopt;
  if (asked && *asked > policy_.max_retry_after) return std::nullopt;
  return again(asked.value_or(std::chrono::seconds(0)));
}

std::optional<milliseconds> retry::after(const error& failure) {
  ++attempts_;
  if (failure.code() != errc::unavailable) return std::nullopt;
  const auto* request = dynamic_cast<const request_error*>(&failure);
  const bool sent = request == nullptr || request->was_sent();
  if (sent && !idempotent_) return std::nullopt;
  return again(milliseconds(0));
}

std::optional<milliseconds> retry::again(milliseconds at_least) {
  if (attempts_ >= policy_.max_attempts) return std::nullopt;
  // What the server asks for is a floor; the jitter comes on top of it.
  const milliseconds own = waits_.next();
  const milliseconds wait = at_least.count() > 0 ? at_least + own / 4 : own;
  if (until_.remaining() <= wait) return std::nullopt;
  return wait;
}

}  // namespace mizzen::http
