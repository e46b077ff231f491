#include "temporary_folder.hpp"

#include <mizzen/tracking/figure.hpp>

#include <gmock/gmock.h>

#include <vector>

namespace mizzen::tracking {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(confusion_matrix, counts) {
  confusion_matrix m({"cat", "dog"});
  const std::vector<std::size_t> actual = {0, 0, 1, 1}, predicted = {0, 1, 1, 1};
  m.add(actual, predicted);
  EXPECT_EQ(m.count(0, 1), 1U);
  EXPECT_EQ(m.count(1, 1), 2U);
  EXPECT_EQ(m.total(), 4U);
  EXPECT_EQ(m.accuracy(), 0.75);
  EXPECT_EQ(confusion_matrix({"a"}).accuracy(), 0.0);
}

TEST(confusion_matrix, checks_what_it_is_given) {
  confusion_matrix m({"cat", "dog"});
  EXPECT_ERROR(errc::out_of_range, "actual", m.add(2, 0));
  EXPECT_ERROR(errc::out_of_range, "predicted", m.add(0, 2));
  EXPECT_ERROR(errc::out_of_range, "confusion_matrix", m.count(0, 2));
  EXPECT_ERROR(errc::invalid_argument, "predicted",
               m.add(std::vector<std::size_t>{0}, std::vector<std::size_t>{}));
  EXPECT_ERROR(errc::invalid_argument, "labels", confusion_matrix({}));
  EXPECT_ERROR(errc::invalid_argument, "labels",
               confusion_matrix(std::vector<std::string>(101, "x")));
  EXPECT_ERROR(errc::invalid_argument, "cell", to_svg(m, {.cell = 0}));
  EXPECT_EQ(m.total(), 0U);
}

TEST(confusion_matrix, is_drawn_as_svg) {
  confusion_matrix m({"<cat> & dog", "b"});
  for (int i = 0; i < 41; ++i) m.add(0, 0);
  m.add(1, 0);
  m.add(1, 1);
  const std::string svg = to_svg(m, {.title = "test \"split\""});
  EXPECT_THAT(svg, testing::StartsWith("<svg xmlns=\"http://www.w3.org/2000/svg\""));
  EXPECT_THAT(svg, testing::EndsWith("</svg>\n"));
  EXPECT_THAT(svg, HasSubstr("test &quot;split&quot;"));
  EXPECT_THAT(svg, HasSubstr("&lt;cat&gt; &amp; dog"));
  EXPECT_THAT(svg, Not(HasSubstr("<cat>")));
  EXPECT_THAT(svg, HasSubstr("accuracy 97.67 % of 43"));
  EXPECT_THAT(svg, HasSubstr(">41</text>"));
  EXPECT_THAT(svg, HasSubstr("#08306b"));  // a whole row on the diagonal
  EXPECT_THAT(svg, HasSubstr("#f7fbff"));  // none
  EXPECT_THAT(svg, HasSubstr("predicted"));
  EXPECT_THAT(svg, HasSubstr("actual"));
}

}  // namespace
}  // namespace mizzen::tracking
