// What statuses mean among Mizzen's errors.
#include <mizzen/http/status.hpp>

#include <gtest/gtest.h>

namespace mizzen::http {
namespace {

TEST(Status, HasTheNearestErrc) {
  EXPECT_EQ(errc_of_status(400), errc::invalid_argument);
  EXPECT_EQ(errc_of_status(401), errc::unauthenticated);
  EXPECT_EQ(errc_of_status(404), errc::not_found);
  EXPECT_EQ(errc_of_status(405), errc::unimplemented);
  EXPECT_EQ(errc_of_status(409), errc::aborted);
  EXPECT_EQ(errc_of_status(429), errc::resource_exhausted);
  EXPECT_EQ(errc_of_status(503), errc::unavailable);
  EXPECT_EQ(errc_of_status(504), errc::deadline_exceeded);
}

TEST(Status, ThatSaysNothingIsUnknown) {
  for (const int status : {-1, 0, 302, 418, 500, 599, 999}) {
    EXPECT_EQ(errc_of_status(status), errc::unknown) << status;
  }
}

}  // namespace
}  // namespace mizzen::http
