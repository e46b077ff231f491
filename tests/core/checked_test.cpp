#include <mizzen/core/checked.hpp>

#include <gtest/gtest.h>

#include <limits>
#include <vector>

namespace mizzen {
namespace {

template <typename Call>
errc code_of(Call call) {
  try {
    call();
  } catch (const error& e) {
    EXPECT_EQ(e.subject(), "field");
    return e.code();
  }
  ADD_FAILURE() << "nothing was thrown";
  return errc::unknown;
}

TEST(Checked, AddAndMultiplyWithinRange) {
  EXPECT_EQ(checked_add(2, 3, "field"), 5);
  EXPECT_EQ(checked_mul(std::size_t{6}, std::size_t{7}, "field"), 42U);
}

TEST(Checked, OverflowNamesTheField) {
  constexpr auto most = std::numeric_limits<std::int64_t>::max();
  EXPECT_EQ(code_of([] { checked_add(most, std::int64_t{1}, "field"); }), errc::out_of_range);
  EXPECT_EQ(code_of([] { checked_mul(most, std::int64_t{2}, "field"); }), errc::out_of_range);
  EXPECT_EQ(code_of([] { narrow<std::uint8_t>(256, "field"); }), errc::out_of_range);
  EXPECT_EQ(code_of([] { narrow<std::size_t>(-1, "field"); }), errc::out_of_range);
}

TEST(Checked, ElementCount) {
  const auto count = [](std::vector<std::int64_t> dims) {
    return checked_element_count(dims, "field");
  };
  EXPECT_EQ(count({}), 1U);
  EXPECT_EQ(count({2, 3, 4}), 24U);
  EXPECT_EQ(count({2, 0, 4}), 0U);
  EXPECT_EQ(code_of([&] { count({2, -1}); }), errc::invalid_argument);
  EXPECT_EQ(code_of([&] { count({1LL << 40, 1LL << 40}); }), errc::out_of_range);
  // A zero must not hide dimensions that no tensor can have.
  EXPECT_EQ(code_of([&] { count({0, 1LL << 40, 1LL << 40}); }), errc::out_of_range);
}

}  // namespace
}  // namespace mizzen
