#include <mizzen/core/error.hpp>
#include <mizzen/core/json.hpp>

#include <gtest/gtest.h>

namespace mizzen {
namespace {

TEST(Error, NamesSubjectAndMessage) {
  const error e(errc::not_found, "experiment 'digits'", "no such experiment");
  EXPECT_STREQ(e.what(), "experiment 'digits': no such experiment");
  EXPECT_EQ(e.code(), errc::not_found);
  EXPECT_EQ(e.subject(), "experiment 'digits'");
  EXPECT_EQ(e.message(), "no such experiment");
  EXPECT_EQ(e.cause(), nullptr);
  EXPECT_TRUE(e.details().is_null());
}

TEST(Error, WithoutSubjectIsJustTheMessage) {
  EXPECT_STREQ(error(errc::internal, "", "boom").what(), "boom");
}

TEST(Error, DescribeFollowsTheChainOfCauses) {
  const auto root = std::make_exception_ptr(std::runtime_error("disk full"));
  const auto middle =
      std::make_exception_ptr(error(errc::unavailable, "store", "cannot write", root));
  const error top(errc::internal, "run", "cannot log", middle);
  EXPECT_EQ(describe(std::make_exception_ptr(top)),
            "run: cannot log (caused by: store: cannot write (caused by: disk full))");
}

TEST(Error, DescribeTakesForeignExceptions) {
  EXPECT_EQ(describe(std::make_exception_ptr(42)), "unknown exception");
  EXPECT_EQ(describe(nullptr), "no exception");
}

TEST(Error, KeepsTheServersAnswerWhole) {
  const json status = {{"kind", "Status"}, {"code", 403}};
  const error copy = error(errc::permission_denied, "pods", "forbidden", status);
  EXPECT_EQ(copy.details(), status);
}

TEST(Error, EveryCodeHasItsOwnName) {
  EXPECT_EQ(to_string(errc::cancelled), "cancelled");
  EXPECT_EQ(to_string(errc::unauthenticated), "unauthenticated");
  EXPECT_EQ(to_string(errc::data_loss), "data_loss");
}

}  // namespace
}  // namespace mizzen
