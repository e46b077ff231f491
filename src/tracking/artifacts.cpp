#include "tracking/artifacts.hpp"

#include "tracking/files.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/core/id.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <fcntl.h>
#include <functional>
#include <string>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace mizzen::tracking::detail {
namespace {

namespace fs = std::filesystem;

// Calls `fill` with a descriptor of a temporary file, then gives that file the target's name.
void replace_file(const fs::path& target, const std::function<void(const descriptor&)>& fill) {
  make_folders(target.parent_path());
  const fs::path temporary = target.parent_path() / (".mizzen-" + random_hex_id() + ".tmp");
  try {
    descriptor out = open_file(temporary, O_WRONLY | O_CREAT | O_EXCL, 0666);
    fill(out);
    close_file(out, target);
    if (::rename(temporary.c_str(), target.c_str()) != 0) fail_on(target, errno);
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
}

void copy_one(const fs::path& source, const fs::path& target) {
  const descriptor in = open_file(source, O_RDONLY);
  replace_file(target, [&](const descriptor& out) {
    std::vector<std::byte> buffer(std::size_t{256} * 1024);
    for (;;) {
      const auto got = ::read(in.get(), buffer.data(), buffer.size());
      if (got < 0) {
        if (errno == EINTR) continue;
        fail_on(source, errno);
      }
      if (got == 0) return;
      write_all(out, std::span(buffer).first(static_cast<std::size_t>(got)), target);
    }
  });
}

[[noreturn]] void refuse_kind(const fs::path& path) {
  throw error(errc::invalid_argument, "artifact '" + path.string() + "'",
              "it is neither a file nor a folder");
}

std::vector<fs::path> files_below(const fs::path& folder) {
  std::vector<fs::path> files;
  try {
    for (const auto& entry : fs::recursive_directory_iterator(folder)) {
      // Links to folders could lead round in circles, and leaving them out would lose files.
      if (entry.is_directory() && !entry.is_symlink()) continue;
      if (!entry.is_regular_file()) refuse_kind(entry.path());
      files.push_back(entry.path());
    }
  } catch (const fs::filesystem_error& e) {
    fail_on(folder, e.code().value());
  }
  return files;
}

}  // namespace

void write_file(const fs::path& target, std::span<const std::byte> bytes) {
  replace_file(target, [&](const descriptor& out) { write_all(out, bytes, target); });
}

void write_file(const fs::path& target, std::string_view text) {
  write_file(target, std::as_bytes(std::span(text)));
}

std::vector<fs::path> files_of(const fs::path& source) {
  std::error_code failed;
  const fs::file_status status = fs::status(source, failed);
  if (status.type() == fs::file_type::not_found) fail_on(source, ENOENT);
  if (failed) fail_on(source, failed.value());
  if (fs::is_regular_file(status)) return {source};
  if (!fs::is_directory(status)) refuse_kind(source);
  return files_below(source);
}

void copy_tree(const fs::path& source, const fs::path& target) {
  // Listed before anything is copied, so that a target inside the source does not grow for ever.
  const std::vector<fs::path> files = files_of(source);
  std::error_code failed;
  if (!fs::is_directory(source, failed)) {
    copy_one(source, target);
    return;
  }
  make_folders(target);
  for (const fs::path& file : files) copy_one(file, target / file.lexically_relative(source));
}

std::vector<artifact_info> list_folder(const fs::path& root, std::string_view path) {
  std::vector<artifact_info> entries;
  const fs::path folder = root / path;
  std::error_code failed;
  if (!fs::is_directory(folder, failed)) return entries;
  try {
    for (const auto& entry : fs::directory_iterator(folder)) {
      const std::string name = entry.path().filename().string();
      if (name.starts_with(".mizzen-") && name.ends_with(".tmp")) continue;  // not finished
      artifact_info info;
      info.path = path.empty() ? name : std::string(path) + "/" + name;
      info.is_directory = entry.is_directory(failed);
      if (!info.is_directory) {
        const auto size = entry.file_size(failed);
        info.size = failed ? 0 : size;
      }
      entries.push_back(std::move(info));
    }
  } catch (const fs::filesystem_error& e) {
    fail_on(folder, e.code().value());
  }
  std::sort(entries.begin(), entries.end(),
            [](const artifact_info& a, const artifact_info& b) { return a.path < b.path; });
  return entries;
}

}  // namespace mizzen::tracking::detail
