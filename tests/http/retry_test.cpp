#include <mizzen/http/client.hpp>
#include <mizzen/http/retry.hpp>

#include <gtest/gtest.h>

#include <string>

namespace mizzen::http {
namespace {

using namespace std::chrono_literals;
using std::chrono::sys_days;
using std::chrono::system_clock;

// 1994-11-06 08:49:07 UTC, half a minute before the date of the RFC's examples.
const system_clock::time_point now = sys_days(std::chrono::year(1994) / 11 / 6) + 8h + 49min + 7s;

response answer(int status, const char* retry_after = nullptr) {
  response made{.status = status};
  if (retry_after) made.headers.add("Retry-After", retry_after);
  return made;
}

TEST(RetryAfter, SecondsAndTheThreeDates) {
  EXPECT_EQ(parse_retry_after("120", now), 120s);
  EXPECT_EQ(parse_retry_after(" 0 ", now), 0s);
  EXPECT_EQ(parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now), 30s);
  EXPECT_EQ(parse_retry_after("Sunday, 06-Nov-94 08:49:37 GMT", now), 30s);
  EXPECT_EQ(parse_retry_after("Sun Nov  6 08:49:37 1994", now), 30s);
  EXPECT_EQ(parse_retry_after("Sun Nov 06 08:49:37 1994", now), 30s);
  EXPECT_EQ(parse_retry_after("Sun, 06 Nov 1993 08:49:37 GMT", now), 0s);
  EXPECT_EQ(parse_retry_after("99999999999999999999999", now), 365 * 24h);
  EXPECT_EQ(parse_retry_after("Sun, 06 Nov 2190 08:49:37 GMT", now), 365 * 24h);
}

TEST(RetryAfter, TwoDigitYearsOfTheNearestCentury) {
  const auto at = parse_http_date("Sunday, 06-Nov-45 08:49:37 GMT", now);
  EXPECT_EQ(at, parse_http_date("Mon, 06 Nov 1945 08:49:37 GMT", now));
  const auto later = parse_http_date("Sunday, 06-Nov-30 00:00:00 GMT", now + 30 * 365 * 24h);
  EXPECT_EQ(later, parse_http_date("Sun, 06 Nov 2030 00:00:00 GMT", now));
}

TEST(RetryAfter, WhatIsNeither) {
  for (const char* text :
       {"", " ", "-1", "1.5", "soon", "Sun, 06 Nov 1994 08:49:37", "Sun, 31 Feb 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 GMT x", "Sun, 0",
        "Sunday, 06-Nov-1994 08:49:37 GMT", "Sun Nov", "Xyz, 06 Nov 1994 08:49:37 GMT"}) {
    EXPECT_EQ(parse_retry_after(text, now), std::nullopt) << text;
  }
}

TEST(Backoff, GrowsToItsCeilingWithinTheJitter) {
  const retry_policy policy{.first_wait = 100ms, .max_wait = 1000ms, .jitter = 0.5};
  backoff waits(policy, 1);
  for (const int ceiling : {100, 200, 400, 800, 1000, 1000, 1000}) {
    const auto wait = waits.next().count();
    EXPECT_GE(wait, ceiling / 2);
    EXPECT_LE(wait, ceiling);
  }
  waits.reset();
  EXPECT_LE(waits.next(), 100ms);
  backoff exact({.first_wait = 10ms, .factor = 3, .jitter = 0}, 1);
  EXPECT_EQ(exact.next(), 10ms);
  EXPECT_EQ(exact.next(), 30ms);
  EXPECT_EQ(exact.next(), 90ms);
}

TEST(Backoff, SameSeedSameWaitsAndTheyDiffer) {
  const retry_policy policy{.first_wait = 10s, .factor = 1, .jitter = 1};
  backoff a(policy, 7);
  backoff b(policy, 7);
  backoff c(policy, 8);
  int same = 0;
  for (int i = 0; i < 20; ++i) {
    const auto wait = a.next();
    EXPECT_EQ(wait, b.next());
    same += wait == c.next();
  }
  EXPECT_LT(same, 3);
}

TEST(Retry, WhatTheServerRefusedIsSentAgainWhateverTheMethod) {
  for (const char* method : {"GET", "POST", "PATCH"}) {
    EXPECT_TRUE(retry({}, method).after(answer(429), now)) << method;
    EXPECT_TRUE(retry({}, method).after(answer(429, "1"), now)) << method;
    EXPECT_TRUE(retry({}, method).after(answer(503, "1"), now)) << method;
    EXPECT_TRUE(retry({}, method).after(answer(500, "1"), now)) << method;
  }
}

TEST(Retry, OtherServerErrorsForIdempotentMethodsOnly) {
  for (const int status : {500, 502, 503, 504}) {
    for (const char* method : {"GET", "PUT", "DELETE"}) {
      EXPECT_TRUE(retry({}, method).after(answer(status), now)) << method << status;
    }
    for (const char* method : {"POST", "PATCH"}) {
      EXPECT_FALSE(retry({}, method).after(answer(status), now)) << method << status;
    }
  }
  for (const int status : {200, 301, 400, 401, 403, 404, 409, 410, 501}) {
    EXPECT_FALSE(retry({}, "GET").after(answer(status), now)) << status;
  }
}

TEST(Retry, WaitsAsLongAsTheServerAsks) {
  retry again({.first_wait = 100ms, .max_retry_after = 60s}, "GET");
  const auto wait = again.after(answer(503, "7"), now);
  ASSERT_TRUE(wait);
  EXPECT_GE(*wait, 7s);
  EXPECT_LE(*wait, 8s);
  EXPECT_FALSE(again.after(answer(503, "61"), now));
}

TEST(Retry, FailuresByWhetherAnythingWasSent) {
  const error gone(errc::unavailable, "GET x", "reset");
  EXPECT_TRUE(retry({}, "GET").after(gone));
  EXPECT_FALSE(retry({}, "POST").after(gone));
  EXPECT_TRUE(retry({}, "POST").after(request_error(gone, false)));
  EXPECT_FALSE(retry({}, "POST").after(request_error(gone, true)));
  EXPECT_TRUE(retry({}, "PUT").after(request_error(gone, true)));
  for (const errc code : {errc::cancelled, errc::deadline_exceeded, errc::unauthenticated,
                          errc::data_loss, errc::invalid_argument, errc::resource_exhausted}) {
    EXPECT_FALSE(retry({}, "GET").after(request_error(error(code, "x", "y"), false)));
  }
}

TEST(Retry, EndsWithItsAttemptsAndItsDeadline) {
  retry three({.max_attempts = 3}, "GET");
  EXPECT_TRUE(three.after(answer(500), now));
  EXPECT_TRUE(three.after(answer(500), now));
  EXPECT_FALSE(three.after(answer(500), now));
  EXPECT_EQ(three.attempts(), 3);
  retry once({.max_attempts = 1}, "GET");
  EXPECT_FALSE(once.after(answer(500), now));
  retry late({.first_wait = 10s}, "GET", deadline::after(1s));
  EXPECT_FALSE(late.after(answer(500), now));
}

TEST(Retry, APolicyThatMakesNoSenseNamesItsField) {
  const auto field = [](const retry_policy& policy) {
    try {
      retry(policy, "GET");
    } catch (const error& e) {
      EXPECT_EQ(e.code(), errc::invalid_argument);
      return e.subject();
    }
    return std::string("none");
  };
  EXPECT_EQ(field({}), "none");
  EXPECT_EQ(field({.max_attempts = 0}), "retry_policy.max_attempts");
  EXPECT_EQ(field({.first_wait = 2s, .max_wait = 1s}), "retry_policy.max_wait");
  EXPECT_EQ(field({.factor = 0.5}), "retry_policy.factor");
  EXPECT_EQ(field({.jitter = 1.5}), "retry_policy.jitter");
}

}  // namespace
}  // namespace mizzen::http
