// The files of compiled kernels: kept, and never trusted.
#include "cuda/plan_cache.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <string>
#include <unistd.h>

namespace mizzen::cuda {
namespace {

namespace fs = std::filesystem;

class folder {
 public:
  folder() : path(fs::temp_directory_path() / ("mizzen_plan_cache_" + std::to_string(::getpid()))) {
    fs::remove_all(path);
  }
  folder(const folder&) = delete;
  folder& operator=(const folder&) = delete;
  ~folder() { fs::remove_all(path); }
  fs::path path;
};

std::string read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

TEST(plan_cache, keeps_what_it_is_given_under_its_key) {
  const folder f;
  const plan_cache cache(f.path);
  EXPECT_EQ(cache.find("gpu 1"), std::nullopt);
  const std::string content("\0binary\xff", 8);
  cache.put("gpu 1", content);
  cache.put("gpu 2", "");
  EXPECT_EQ(plan_cache(f.path).find("gpu 1"), content);
  EXPECT_EQ(cache.find("gpu 2"), "");
  EXPECT_EQ(cache.find("gpu 3"), std::nullopt);
  cache.put("gpu 1", "newer");
  EXPECT_EQ(cache.find("gpu 1"), "newer");
}

TEST(plan_cache, a_file_that_is_not_whole_is_no_entry) {
  const folder f;
  const plan_cache cache(f.path);
  cache.put("key", "the content");
  const fs::path path = cache.file_of("key");
  const std::string good = read(path);
  for (std::size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 0x20);
    write(path, bad);
    EXPECT_EQ(cache.find("key"), std::nullopt) << "byte " << i;
    write(path, good.substr(0, i));
    EXPECT_EQ(cache.find("key"), std::nullopt) << i << " bytes";
  }
  write(path, good + "x");
  EXPECT_EQ(cache.find("key"), std::nullopt);
  cache.put("key", "again");
  EXPECT_EQ(cache.find("key"), "again");
}

TEST(plan_cache, another_keys_file_is_no_entry) {
  const folder f;
  const plan_cache cache(f.path);
  cache.put("one", "1");
  fs::copy_file(cache.file_of("one"), cache.file_of("two"));
  EXPECT_EQ(cache.find("two"), std::nullopt);
}

TEST(plan_cache, is_bounded) {
  const folder f;
  const plan_cache cache(f.path, 8);
  for (int i = 0; i < 40; ++i) cache.put("key " + std::to_string(i), "x");
  const auto files = std::distance(fs::directory_iterator(f.path), fs::directory_iterator());
  EXPECT_LE(files, 8);
  EXPECT_EQ(cache.find("key 39"), "x");
}

TEST(plan_cache, without_a_folder_it_is_empty) {
  const plan_cache none{fs::path()};
  none.put("key", "x");
  EXPECT_EQ(none.find("key"), std::nullopt);
  const plan_cache unwritable("/proc/mizzen");
  unwritable.put("key", "x");
  EXPECT_EQ(unwritable.find("key"), std::nullopt);
}

}  // namespace
}  // namespace mizzen::cuda
