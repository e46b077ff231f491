#include <mizzen/core/error.hpp>
#include <mizzen/core/time.hpp>

#include <gtest/gtest.h>

namespace mizzen {
namespace {

using namespace std::chrono;
using namespace std::chrono_literals;

TEST(Time, FormatsUtcWithMilliseconds) {
  EXPECT_EQ(format_rfc3339(system_clock::time_point(1'700'000'000'123ms)),
            "2023-11-14T22:13:20.123Z");
  EXPECT_EQ(format_rfc3339(system_clock::time_point(-1ms)), "1969-12-31T23:59:59.999Z");
}

TEST(Time, ReadsOffsetsAndFractions) {
  EXPECT_EQ(unix_millis(parse_rfc3339("2023-11-14T22:13:20.123Z")), 1'700'000'000'123);
  EXPECT_EQ(unix_millis(parse_rfc3339("2023-11-15T00:13:20+02:00")), 1'700'000'000'000);
  EXPECT_EQ(unix_millis(parse_rfc3339("2023-11-14T21:43:20.5-00:30")), 1'700'000'000'500);
  EXPECT_EQ(parse_rfc3339("1970-01-01T00:00:00.000000001Z").time_since_epoch(), 1ns);
}

TEST(Time, RefusesWhatIsNotRfc3339) {
  for (const char* text :
       {"", "2023", "2023-13-01T00:00:00Z", "2023-02-30T00:00:00Z", "2023-01-01T24:00:00Z",
        "2023-01-01T00:00:00", "2023-01-01T00:00:00.Z", "2023-01-01T00:00:00.1234567890Z",
        "2023-01-01T00:00:00Zjunk", "9999-01-01T00:00:00Z"}) {
    try {
      parse_rfc3339(text);
      ADD_FAILURE() << text;
    } catch (const error& e) {
      EXPECT_EQ(e.code(), errc::invalid_argument) << text;
    }
  }
}

}  // namespace
}  // namespace mizzen
