// When to send a request again: a decision without clock, socket or sleep.
#pragma once

#include <mizzen/core/deadline.hpp>
#include <mizzen/core/error.hpp>
#include <mizzen/http/message.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>

namespace mizzen::http {

// GET, HEAD, OPTIONS, TRACE: changes nothing (RFC 9110, section 9.2.1).
bool is_safe_method(std::string_view method) noexcept;

// The safe ones, PUT and DELETE: done twice it is as done once (RFC 9110, section 9.2.2).
bool is_idempotent_method(std::string_view method) noexcept;

// How long a Retry-After field asks to wait: a number of seconds, or an HTTP date in any of its
// three forms, seen from `now`; a date in the past is zero. Nothing for what is neither (RFC 9110,
// section 10.2.3). A wait beyond a year is a year.
std::optional<std::chrono::seconds> parse_retry_after(std::string_view value,
                                                      std::chrono::system_clock::time_point now);

// The time of an HTTP date ("Sun, 06 Nov 1994 08:49:37 GMT" and the two obsolete forms), or
// nothing. `now` settles the century of two-digit years.
std::optional<std::chrono::system_clock::time_point> parse_http_date(
    std::string_view text, std::chrono::system_clock::time_point now);

struct retry_policy {
  // How often a request is sent, the first time included. 1: never again.
  int max_attempts = 5;

  // The wait before the second attempt; each further one is `factor` times longer, up to max_wait.
  std::chrono::milliseconds first_wait{200};
  double factor = 2.0;
  std::chrono::milliseconds max_wait{10'000};

  // A wait is drawn evenly from [wait * (1 - jitter), wait], so that clients that failed together
  // do not come back together. From 0 to 1.
  double jitter = 0.5;

  // A server that asks (Retry-After) for more than this is not waited for.
  std::chrono::milliseconds max_retry_after{60'000};

  // Throws error(invalid_argument) that names the field.
  void check() const;
};

// Waits that grow, with jitter. A value; the same seed gives the same waits. Not thread safe.
class backoff {
 public:
  backoff(const retry_policy& policy, std::uint64_t seed);
  // Seeded from the system's entropy.
  explicit backoff(const retry_policy& policy);

  // The next wait. Grows with each call.
  std::chrono::milliseconds next() noexcept;

  // Begins anew, after a success.
  void reset() noexcept { raw_ = 0; }

 private:
  std::chrono::milliseconds first_, max_;
  double factor_, jitter_;
  double raw_ = 0;  // ms
  std::uint64_t random_;
};

// Decides over the life of one request whether it is sent again, and after which wait. A request is
// repeated when the server says that it was not carried out (429, or any 5xx with Retry-After) or
// when nothing of it had left (request_error::was_sent), and, if its method is idempotent, also
// after 500, 502, 503, 504 and a broken connection. Never for errors that a repetition cannot mend,
// and never past the deadline. Not thread safe.
//
//   retry again(policy, "GET", until);
//   for (;;) {
//     const auto answer = co_await ...;
//     const auto wait = again.after(answer, system_clock::now());
//     if (!wait) co_return answer;
//     ...sleep *wait...
//   }
class retry {
 public:
  retry(const retry_policy& policy, std::string_view method, deadline until = {});
  retry(const retry_policy& policy, std::string_view method, deadline until, std::uint64_t seed);

  // Counts one attempt. The wait before the next one; nothing when the answer or failure stands.
  std::optional<std::chrono::milliseconds> after(const response& answer,
                                                 std::chrono::system_clock::time_point now);
  std::optional<std::chrono::milliseconds> after(const error& failure);

  // Attempts so far.
  int attempts() const noexcept { return attempts_; }

 private:
  std::optional<std::chrono::milliseconds> again(std::chrono::milliseconds at_least);

  retry_policy policy_;
  backoff waits_;
  deadline until_;
  bool idempotent_;
  int attempts_ = 0;
};

}  // namespace mizzen::http
