#include "pipelines/files.hpp"

#include "core/sha256.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/core/id.hpp>

#include <algorithm>
#include <array>
#include <fstream>
#include <memory>
#include <vector>

namespace mizzen::pipelines::detail {
namespace {

namespace fs = std::filesystem;

std::string digest_of_file(const fs::path& path, const cancellation& cancel) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw error(errc::unavailable, path.string(), "the file cannot be read");
  constexpr std::size_t chunk = std::size_t{256} * 1024;
  const auto buffer = std::make_unique_for_overwrite<char[]>(chunk);
  mizzen::detail::sha256 hash;
  do {
    cancel.check(path.string());
    file.read(buffer.get(), static_cast<std::streamsize>(chunk));
    hash.update({buffer.get(), static_cast<std::size_t>(file.gcount())});
  } while (file);
  if (file.bad()) throw error(errc::unavailable, path.string(), "reading the file failed");
  return hash.hex();
}

// Every part is framed by its length, so that no two trees read alike.
void frame(mizzen::detail::sha256& hash, std::string_view part) {
  hash.update(std::to_string(part.size())).update(":").update(part);
}

}  // namespace

std::string digest_of(const fs::path& path, const cancellation& cancel) {
  try {
    const fs::file_status status = fs::status(path);
    if (fs::is_regular_file(status)) return digest_of_file(path, cancel);
    if (!fs::exists(status)) throw error(errc::not_found, path.string(), "there is no such file");
    if (!fs::is_directory(status)) {
      throw error(errc::invalid_argument, path.string(), "neither a file nor a folder");
    }
    std::vector<fs::path> entries;
    for (const auto& entry : fs::recursive_directory_iterator(path)) {
      entries.push_back(entry.path());
    }
    std::sort(entries.begin(), entries.end());
    mizzen::detail::sha256 hash;
    frame(hash, "folder");
    for (const fs::path& entry : entries) {
      frame(hash, entry.lexically_relative(path).generic_string());
      const fs::file_status kind = fs::symlink_status(entry);
      if (fs::is_symlink(kind)) {
        frame(hash, "link");
        frame(hash, fs::read_symlink(entry).string());
      } else if (fs::is_directory(kind)) {
        frame(hash, "folder");
      } else if (fs::is_regular_file(kind)) {
        frame(hash, "file");
        frame(hash, digest_of_file(entry, cancel));
      } else {
        throw error(errc::invalid_argument, entry.string(), "neither a file nor a folder");
      }
    }
    return hash.hex();
  } catch (const fs::filesystem_error& problem) {
    throw error(errc::unavailable, path.string(), problem.code().message(),
                std::current_exception());
  }
}

void write_whole(const fs::path& path, std::string_view bytes) {
  const fs::path beside = path.string() + "." + random_hex_id() + ".tmp";
  {
    std::ofstream file(beside, std::ios::binary | std::ios::trunc);
    file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    file.close();
    if (!file) {
      discard(beside);
      throw error(errc::unavailable, path.string(), "the file cannot be written (disk full?)");
    }
  }
  std::error_code problem;
  fs::rename(beside, path, problem);
  if (problem) {
    discard(beside);
    throw error(errc::unavailable, path.string(), problem.message());
  }
}

void move_whole(const fs::path& from, const fs::path& to) {
  std::error_code problem;
  fs::rename(from, to, problem);
  if (problem) {
    discard(to);  // a folder is not replaced by a rename
    fs::rename(from, to, problem);
  }
  if (problem) throw error(errc::unavailable, to.string(), problem.message());
}

void create_folder(const fs::path& path) {
  std::error_code problem;
  fs::create_directories(path, problem);
  if (problem) {
    throw error(errc::unavailable, path.string(),
                "the folder cannot be made: " + problem.message());
  }
}

void discard(const fs::path& path) noexcept {
  std::error_code ignored;
  fs::remove_all(path, ignored);
}

void check_name(std::string_view name, std::string_view subject) {
  constexpr std::size_t longest = 128;
  constexpr std::string_view marks = "-_. ";
  const auto alphanumeric = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  };
  const bool fine = !name.empty() && name.size() <= longest && alphanumeric(name.front()) &&
                    std::all_of(name.begin(), name.end(), [&](char c) {
                      return alphanumeric(c) || marks.find(c) != std::string_view::npos;
                    });
  if (!fine) {
    throw error(errc::invalid_argument, subject,
                "'" + std::string(name) +
                    "' cannot be a name: use up to 128 letters, digits, '-', '_', '.' and spaces, "
                    "starting with a letter or digit");
  }
}

}  // namespace mizzen::pipelines::detail
