#include <mizzen/core/error.hpp>
#include <mizzen/kubernetes/quantity.hpp>

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <limits>

using namespace mizzen;
using mizzen::kubernetes::quantity;

namespace {

// Written by Go's resource.Quantity (k8s.io/apimachinery v0.36.3): text, String() after a round
// trip, Value(), MilliValue().
struct go_quantity {
  const char* text;
  const char* canonical;
  std::int64_t value;
  std::int64_t milli;
};

constexpr go_quantity from_go[] = {
#include "quantity_oracle.inc"
};

}  // namespace

TEST(quantity, agrees_with_go) {
  for (const go_quantity& each : from_go) {
    SCOPED_TRACE(each.text);
    const quantity read(each.text);
    EXPECT_EQ(read.to_string(), each.text);
    EXPECT_EQ(read.canonical(), each.canonical);
    EXPECT_EQ(read.value(), each.value);
    EXPECT_EQ(read.milli_value(), each.milli);
    EXPECT_EQ(quantity(each.canonical), read);
  }
}

TEST(quantity, refuses_what_go_refuses) {
  for (const char* text :
       {"",  " ", "a",   "1x",  "1kk", "1 k",  "--1",   "1.2.3", "1e", "e3", "1e3k",
        ".", "+", "1KI", "1ki", "1K",  "0x10", "1e1.5", "1e+-3", "Ki", "1iK"}) {
    EXPECT_THROW(quantity{text}, error) << text;
  }
}

TEST(quantity, arithmetic_is_exact) {
  EXPECT_EQ((quantity("100m") + "200m").to_string(), "300m");
  EXPECT_EQ((quantity("1Gi") + "1Mi").to_string(), "1025Mi");
  EXPECT_EQ((quantity("1") - "1").to_string(), "0");
  EXPECT_EQ((quantity() + "1Ki").to_string(), "1Ki");
  EXPECT_EQ((quantity("0.1") + "0.2"), quantity("0.3"));
  EXPECT_EQ((quantity("1") - "1500m").to_string(), "-500m");
}

TEST(quantity, compares_by_value) {
  EXPECT_EQ(quantity("1Gi"), quantity("1024Mi"));
  EXPECT_EQ(quantity("1e3"), quantity("1k"));
  EXPECT_LT(quantity("999m"), quantity("1"));
  EXPECT_GT(quantity("-1"), quantity("-1Ki"));
  EXPECT_EQ(quantity("0"), quantity("-0Gi"));
}

TEST(quantity, is_made_from_numbers) {
  EXPECT_EQ(quantity::of(1500).to_string(), "1500");
  EXPECT_EQ(quantity::of(2000).to_string(), "2k");
  EXPECT_EQ(quantity::of_milli(1500).to_string(), "1500m");
  EXPECT_EQ(quantity::of_bytes(std::int64_t{1} << 30).to_string(), "1Gi");
  EXPECT_EQ(quantity::of_bytes(1000).to_string(), "1k");
  EXPECT_EQ(quantity::of(std::numeric_limits<std::int64_t>::min()).value(),
            std::numeric_limits<std::int64_t>::min());
  EXPECT_DOUBLE_EQ(quantity("250m").as_double(), 0.25);
}

TEST(quantity, what_does_not_fit_is_an_error_only_where_its_value_is_needed) {
  const quantity huge("1e40");
  EXPECT_EQ(huge.to_string(), "1e40");
  EXPECT_THROW(huge.value(), error);
  EXPECT_THROW(quantity("1e29") + "1e29", error);
  EXPECT_EQ(quantity("1e-2000000000"), quantity("1n"));
  EXPECT_EQ(quantity("0e2000000000").sign(), 0);
}
