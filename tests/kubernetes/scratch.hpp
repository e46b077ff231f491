// A folder of its own for a test, gone afterwards.
#pragma once

#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <stdlib.h>
#include <string>
#include <string_view>
#include <system_error>

namespace mizzen::kubernetes::test {

class scratch {
 public:
  scratch() {
    std::string name = (std::filesystem::temp_directory_path() / "mizzen-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no folder for the test");
    path_ = name;
  }
  ~scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  scratch(const scratch&) = delete;
  scratch& operator=(const scratch&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::filesystem::path& name) const { return path_ / name; }

  // Writes a file that only its owner can read; replaces it in one step if it is there.
  std::filesystem::path write(const std::filesystem::path& name, std::string_view text,
                              bool executable = false) const {
    const std::filesystem::path file = path_ / name;
    std::filesystem::create_directories(file.parent_path());
    const std::filesystem::path fresh = file.string() + ".new";
    std::ofstream(fresh, std::ios::binary) << text;
    using std::filesystem::perms;
    std::filesystem::permissions(
        fresh, executable ? perms::owner_all : perms::owner_read | perms::owner_write);
    std::filesystem::rename(fresh, file);
    return file;
  }

 private:
  std::filesystem::path path_;
};

}  // namespace mizzen::kubernetes::test
