// A folder that is gone when the test is over, and what the tests here share.
#pragma once

#include <mizzen/core/error.hpp>
#include <mizzen/core/id.hpp>
#include <mizzen/tracking/client.hpp>

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <sqlite3.h>
#include <string>

namespace mizzen::tracking {

class temporary_folder {
 public:
  temporary_folder()
      : path_(std::filesystem::temp_directory_path() / ("mizzen-test-" + random_hex_id())) {
    std::filesystem::create_directories(path_);
  }
  ~temporary_folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  temporary_folder(const temporary_folder&) = delete;
  temporary_folder& operator=(const temporary_folder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::string file(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

// The error that work throws, or nothing.
template <typename Work>
std::optional<error> error_of(Work&& work) {
  try {
    work();
  } catch (const error& e) {
    return e;
  }
  return std::nullopt;
}

#define EXPECT_ERROR(code_, subject_, work_)                                              \
  do {                                                                                    \
    const auto failure_ = ::mizzen::tracking::error_of([&] { work_; });                   \
    ASSERT_TRUE(failure_) << "no error: " #work_;                                         \
    EXPECT_EQ(::mizzen::to_string(failure_->code()), ::mizzen::to_string(code_))          \
        << failure_->what();                                                              \
    EXPECT_NE(failure_->subject().find(subject_), std::string::npos) << failure_->what(); \
  } while (false)

inline std::string read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline void write_file(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

// Runs SQL on a store from outside the library; the first value of the first row, or "".
inline std::string sql(const std::string& path, const std::string& text) {
  sqlite3* handle = nullptr;
  std::string result;
  const auto keep = [](void* into, int count, char** values, char**) {
    auto& first = *static_cast<std::string*>(into);
    if (count > 0 && values[0] != nullptr && first.empty()) first = values[0];
    return 0;
  };
  EXPECT_EQ(sqlite3_open(path.c_str(), &handle), SQLITE_OK);
  sqlite3_busy_timeout(handle, 10000);
  char* message = nullptr;
  EXPECT_EQ(sqlite3_exec(handle, text.c_str(), keep, &result, &message), SQLITE_OK)
      << (message != nullptr ? message : "");
  sqlite3_free(message);
  sqlite3_close(handle);
  return result;
}

}  // namespace mizzen::tracking
