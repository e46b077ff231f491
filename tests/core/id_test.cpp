#include <mizzen/core/id.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

namespace mizzen {
namespace {

TEST(Id, HexIdsAreWellFormedAndDiffer) {
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) {
    const std::string id = random_hex_id();
    EXPECT_EQ(id.size(), 32U);
    EXPECT_EQ(id.find_first_not_of("0123456789abcdef"), std::string::npos);
    EXPECT_TRUE(seen.insert(id).second);
  }
}

TEST(Id, UuidIsVersion4) {
  EXPECT_THAT(random_uuid(),
              testing::ContainsRegex(
                  "^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"));
}

}  // namespace
}  // namespace mizzen
