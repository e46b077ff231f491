#include "steps.hpp"

#include <cstdint>
#include <limits>
#include <optional>

namespace mizzen::pipelines {
namespace {

using test::message_of;
using testing::HasSubstr;

struct grid_point {
  double rate = 0.1;
  std::vector<int> layers = {8};
  std::optional<std::string> note;
};
BOOST_DESCRIBE_STRUCT(grid_point, (), (rate, layers, note))

template <class T>
T there_and_back(const T& value) {
  return from_value<T>(to_value(value, "x"), "x");
}

TEST(parameters, keep_their_value_through_json) {
  EXPECT_EQ(there_and_back(true), true);
  EXPECT_EQ(there_and_back(std::numeric_limits<std::int64_t>::min()),
            std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(there_and_back(std::numeric_limits<std::uint64_t>::max()),
            std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(there_and_back(0.1), 0.1);
  EXPECT_EQ(there_and_back(0.1F), 0.1F);
  EXPECT_EQ(there_and_back(std::string("ü\"")), "ü\"");
  EXPECT_EQ(there_and_back(std::vector<bool>{true, false}), (std::vector<bool>{true, false}));
  EXPECT_EQ(there_and_back(std::map<std::string, int>{{"a", 1}}),
            (std::map<std::string, int>{{"a", 1}}));
  EXPECT_EQ(there_and_back(std::optional<int>()), std::nullopt);
  EXPECT_EQ(there_and_back(json({{"a", {1, "b"}}})), json({{"a", {1, "b"}}}));
  const auto point = there_and_back(grid_point{0.3, {1, 2}, "n"});
  EXPECT_EQ(point.rate, 0.3);
  EXPECT_EQ(point.layers, (std::vector{1, 2}));
  EXPECT_EQ(point.note, "n");
}

TEST(parameters, kinds_are_those_of_kfp) {
  EXPECT_EQ(to_string(kind_of<std::string>()), "STRING");
  EXPECT_EQ(to_string(kind_of<std::int64_t>()), "NUMBER_INTEGER");
  EXPECT_EQ(to_string(kind_of<float>()), "NUMBER_DOUBLE");
  EXPECT_EQ(to_string(kind_of<bool>()), "BOOLEAN");
  EXPECT_EQ(to_string(kind_of<std::vector<double>>()), "LIST");
  EXPECT_EQ(to_string(kind_of<grid_point>()), "STRUCT");
  EXPECT_EQ(to_string(kind_of<std::optional<int>>()), "NUMBER_INTEGER");
}

TEST(parameters, what_does_not_fit_is_refused_by_name) {
  EXPECT_THAT(message_of([] { from_value<int>("3", "t.n"); }),
              HasSubstr("t.n: expected an integer, got \"3\""));
  EXPECT_THAT(message_of([] { from_value<int>(1.5, "t.n"); }), HasSubstr("expected an integer"));
  EXPECT_THAT(message_of([] { from_value<int>(true, "t.n"); }), HasSubstr("expected an integer"));
  EXPECT_THAT(message_of([] { from_value<std::int8_t>(300, "t.n"); }), HasSubstr("t.n"));
  EXPECT_THAT(message_of([] { from_value<unsigned>(-1, "t.n"); }), HasSubstr("t.n"));
  EXPECT_THAT(message_of([] { from_value<bool>(1, "t.n"); }), HasSubstr("expected a boolean"));
  EXPECT_THAT(message_of([] { from_value<float>(1e300, "t.n"); }), HasSubstr("t.n"));
  EXPECT_THAT(message_of([] { from_value<std::string>(1, "t.n"); }), HasSubstr("a string"));
  EXPECT_THAT(message_of([] { from_value<std::vector<int>>(json{1, "x"}, "t.n"); }),
              HasSubstr("t.n[1]"));
  EXPECT_THAT(message_of([] { from_value<grid_point>({{"rate", "x"}}, "t.p"); }),
              HasSubstr("t.p.rate"));
  EXPECT_THAT(message_of([] { from_value<grid_point>({{"rats", 1}}, "t.p"); }),
              HasSubstr("t.p.rats: the struct has no such member"));
  EXPECT_EQ(from_value<double>(3, "x"), 3.0) << "an integer is a number";
}

TEST(parameters, numbers_that_json_cannot_hold_are_refused) {
  EXPECT_THAT(message_of([] { to_value(std::numeric_limits<double>::infinity(), "t.x"); }),
              HasSubstr("t.x"));
  EXPECT_THAT(message_of([] { to_value(std::vector{1.0, std::nan("")}, "t.x"); }),
              HasSubstr("t.x[1]"));
  EXPECT_THAT(message_of([] { in<std::int8_t> n = 1000; }), HasSubstr("does not fit"));
}

TEST(parameters, an_input_reads_as_its_value) {
  in<double> rate = 1;
  in<std::string> text = "abc";
  in<std::vector<double>> list = {1, 0.5};
  EXPECT_EQ(rate * 2, 2.0);
  EXPECT_EQ(text->size(), 3U);
  EXPECT_EQ(list->at(1), 0.5);
  EXPECT_THROW(static_cast<void>(*in<int>()), error);
  out<double> score;
  EXPECT_THROW(static_cast<void>(*score), error);
  score = 2;
  EXPECT_EQ(*score, 2.0);
}

}  // namespace
}  // namespace mizzen::pipelines
