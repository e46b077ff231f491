#pragma once

#include <mizzen/core/error.hpp>

#include <gtest/gtest.h>

namespace mizzen::test {

// The error that a call throws; the test fails if it throws none.
template <class Fn>
error caught(Fn&& fn) {
  try {
    fn();
  } catch (const error& e) {
    return e;
  }
  ADD_FAILURE() << "no mizzen::error was thrown";
  return error(errc::unknown, "", "");
}

}  // namespace mizzen::test
