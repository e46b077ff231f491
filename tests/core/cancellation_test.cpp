#include <mizzen/core/cancellation.hpp>

#include <gtest/gtest.h>

namespace mizzen {
namespace {

using namespace std::chrono_literals;

errc check_code(const cancellation& cancel) {
  try {
    cancel.check("work");
  } catch (const error& e) {
    EXPECT_EQ(e.subject(), "work");
    return e.code();
  }
  return errc::unknown;
}

TEST(Cancellation, DefaultNeverStops) {
  const cancellation cancel;
  EXPECT_FALSE(cancel.requested());
  EXPECT_NO_THROW(cancel.check("work"));
}

TEST(Cancellation, TokenStops) {
  std::stop_source source;
  const cancellation cancel{source.get_token(), {}};
  EXPECT_FALSE(cancel.requested());
  source.request_stop();
  EXPECT_TRUE(cancel.requested());
  EXPECT_EQ(check_code(cancel), errc::cancelled);
}

TEST(Cancellation, DeadlineStops) {
  const cancellation cancel{{}, deadline::after(0ns)};
  EXPECT_TRUE(cancel.requested());
  EXPECT_EQ(check_code(cancel), errc::deadline_exceeded);
}

TEST(Deadline, NeverAndSaturation) {
  EXPECT_TRUE(deadline::never().is_never());
  EXPECT_FALSE(deadline::never().expired());
  EXPECT_EQ(deadline::never().remaining(), std::chrono::nanoseconds::max());
  EXPECT_TRUE(deadline::after(std::chrono::nanoseconds::max()).is_never());
}

TEST(Deadline, EarlierWins) {
  const auto soon = deadline::after(1s);
  EXPECT_EQ(earlier(soon, deadline::never()), soon);
  EXPECT_EQ(earlier(deadline::never(), soon), soon);
  EXPECT_GT(soon.remaining(), 0ns);
  EXPECT_LE(soon.remaining(), 1s);
  EXPECT_EQ(deadline::after(-1s).remaining(), 0ns);
}

}  // namespace
}  // namespace mizzen
