// Writes what an archive holds below one path of this machine, and nowhere else.
#pragma once

#include "kubernetes/tar.hpp"

#include <mizzen/kubernetes/cp.hpp>

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace mizzen::kubernetes::detail {

// The archive is not trusted. Every folder on the way is opened relative to the one above it,
// without following links, so that neither names nor links that came earlier lead out. Blocking.
// Errors: data_loss for what tries to, resource_exhausted, failed_precondition for what this
// machine refuses.
class untar {
 public:
  // to: what `name`, the one entry at the top of the archive, is called here; the folder that it
  // lies in must exist.
  untar(const std::filesystem::path& to, std::string name, std::uint64_t max_size,
        std::string subject);
  ~untar();
  untar(const untar&) = delete;
  untar& operator=(const untar&) = delete;

  void begin(const tar_entry& entry);
  void write(std::string_view content);

  // Sets what folders could not have until all was in them.
  copy_result finish();

 private:
  struct folder_entry {
    std::vector<std::string> parts;
    std::uint32_t mode;
    std::int64_t mtime;
  };

  std::vector<std::string> place_of(std::string_view path) const;
  int open_folder(const std::vector<std::string>& parts, std::size_t depth, bool make) const;
  void end_file();
  [[noreturn]] void fail(std::string_view path, std::string_view doing) const;

  std::filesystem::path above_;
  std::string local_name_;
  std::string name_;
  std::uint64_t max_size_;
  std::string subject_;
  int root_ = -1;
  int file_ = -1;
  tar_entry current_;
  std::uint64_t left_ = 0;
  std::vector<folder_entry> folders_;
  copy_result result_;
};

}  // namespace mizzen::kubernetes::detail
