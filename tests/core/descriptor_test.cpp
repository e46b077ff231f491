#include "core/descriptor.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <fcntl.h>
#include <string>
#include <unistd.h>
#include <utility>

namespace mizzen::detail {
namespace {

bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

std::array<descriptor, 2> make_pipe() {
  std::array<int, 2> ends{};
  EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  return {descriptor(ends[0]), descriptor(ends[1])};
}

TEST(DescriptorTest, ClosesWithItsOwnerAndMoves) {
  int number = -1;
  {
    auto [read, write] = make_pipe();
    number = read.get();
    descriptor other = std::move(read);
    EXPECT_FALSE(read);  // NOLINT(bugprone-use-after-move): what is left is said in the header
    EXPECT_EQ(other.get(), number);
    other = std::move(write);
    EXPECT_TRUE(is_open(other.get()));
  }
  EXPECT_FALSE(is_open(number));
}

TEST(DescriptorTest, ReleaseAndClose) {
  auto [read, write] = make_pipe();
  const int number = read.release();
  EXPECT_FALSE(read);
  EXPECT_TRUE(is_open(number));
  descriptor again(number);
  EXPECT_EQ(again.close(), 0);
  EXPECT_FALSE(is_open(number));
  EXPECT_EQ(again.close(), 0);
  EXPECT_EQ(descriptor(number).close(), EBADF);
}

TEST(DescriptorTest, WritesAllOrSaysWhy) {
  auto [read, write] = make_pipe();
  EXPECT_EQ(write_all(write.get(), "abc"), 0);
  std::array<char, 8> got{};
  EXPECT_EQ(::read(read.get(), got.data(), got.size()), 3);
  EXPECT_EQ(std::string(got.data(), 3), "abc");
  EXPECT_EQ(write_all_at(write.get(), "abc", 1), ESPIPE);
  const descriptor full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  if (full) {
    EXPECT_EQ(write_all(full.get(), "abc"), ENOSPC);
  }
}

TEST(DescriptorTest, WhatAnErrnoSays) {
  EXPECT_EQ(errc_of_errno(EROFS), errc::permission_denied);
  EXPECT_EQ(errc_of_errno(ENOSPC), errc::resource_exhausted);
  EXPECT_EQ(errc_of_errno(ENOENT), errc::not_found);
  EXPECT_EQ(errc_of_errno(EISDIR), errc::failed_precondition);
  EXPECT_EQ(errc_of_errno(EIO), errc::unavailable);
  try {
    throw_errno(ENOSPC, "file 'x'", "it cannot be written");
  } catch (const error& e) {
    EXPECT_EQ(e.code(), errc::resource_exhausted);
    EXPECT_STREQ(e.what(), "file 'x': it cannot be written: No space left on device");
  }
}

}  // namespace
}  // namespace mizzen::detail
