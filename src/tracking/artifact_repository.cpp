#include "tracking/artifact_repository.hpp"

#include "tracking/artifacts.hpp"
#include "tracking/uri.hpp"
#include "tracking/validate.hpp"

#include <mizzen/core/error.hpp>

#include <fstream>
#include <system_error>
#include <utility>

namespace mizzen::tracking::detail {
namespace {

namespace fs = std::filesystem;

// What a download may come to, so that a server cannot make it endless.
constexpr std::size_t most_entries = 1'000'000;
constexpr std::size_t most_depth = 100;

[[noreturn]] void refuse_missing(std::string_view path) {
  throw error(errc::not_found, "artifact '" + std::string(path) + "'", "there is none");
}

class local final : public artifact_repository {
 public:
  explicit local(fs::path folder) : folder_(std::move(folder)) {}

  void put_bytes(std::span<const std::byte> bytes, std::string_view path) override {
    write_file(folder_ / path, bytes);
  }
  void put_file(const fs::path& from, std::string_view path) override {
    copy_tree(from, folder_ / path);
  }
  std::vector<artifact_info> list(std::string_view path) override {
    return list_folder(folder_, path);
  }
  void fetch_file(std::string_view path, const fs::path& target) override {
    const fs::path source = folder_ / path;
    std::error_code failed;
    if (!fs::is_regular_file(source, failed)) refuse_missing(path);
    copy_tree(source, target);
  }
  std::string read(std::string_view path, std::size_t most) override {
    const fs::path source = folder_ / path;
    std::error_code failed;
    if (!fs::is_regular_file(source, failed)) refuse_missing(path);
    std::ifstream in(source, std::ios::binary);
    std::string bytes;
    char piece[65536];
    while (in.read(piece, sizeof piece), in.gcount() > 0) {
      bytes.append(piece, static_cast<std::size_t>(in.gcount()));
      if (bytes.size() > most) {
        throw error(errc::resource_exhausted, "artifact '" + std::string(path) + "'",
                    "it is larger than " + std::to_string(most) + " bytes");
      }
    }
    if (in.bad() || !in.eof()) {
      throw error(errc::unavailable, "artifact '" + source.string() + "'", "it cannot be read");
    }
    return bytes;
  }
  void remove(std::string_view path) override {
    std::error_code failed;
    fs::remove_all(path.empty() ? folder_ : folder_ / path, failed);
    if (failed) {
      throw error(errc::permission_denied, "artifact '" + (folder_ / path).string() + "'",
                  "it cannot be removed: " + failed.message());
    }
  }
  std::optional<fs::path> folder() const override { return folder_; }

 private:
  const fs::path folder_;
};

void visit_below(artifact_repository& of, const std::string& path,
                 const std::vector<artifact_info>& entries, std::size_t depth, std::size_t& count,
                 const std::function<void(const artifact_info&)>& visit) {
  const auto refuse = [&](const std::string& what, std::string_view why) {
    throw error(errc::data_loss, "artifact '" + what + "'", why);
  };
  if (depth > most_depth) refuse(path, "its folders are nested more than 100 deep");
  for (const artifact_info& entry : entries) {
    if (++count > most_entries) refuse(path, "it has more than 1,000,000 entries");
    // Names come from elsewhere: none may lead out of the folder.
    const std::string prefix = path.empty() ? "" : path + "/";
    const bool below = entry.path.size() > prefix.size() && entry.path.starts_with(prefix);
    const std::string name = below ? entry.path.substr(prefix.size()) : "";
    if (name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos ||
        name.find('\0') != std::string::npos) {
      refuse(entry.path, "it is listed in the folder '" + path + "', where it cannot be");
    }
    if (entry.is_directory) {
      visit_below(of, entry.path, of.list(entry.path), depth + 1, count, visit);
    } else {
      visit(entry);
    }
  }
}

}  // namespace

std::shared_ptr<artifact_repository> file_repository(std::string_view location) {
  auto folder = local_folder(location);
  if (folder) return std::make_shared<local>(*std::move(folder));
  throw error(errc::unimplemented, "artifact location '" + std::string(location) + "'",
              "it is not on this file system, not behind the tracking server (mlflow-artifacts:) "
              "and not in an object store (s3://), which is all that can be read and written");
}

void put_tree(artifact_repository& into, const fs::path& source, std::string_view path) {
  if (const auto folder = into.folder()) {
    copy_tree(source, *folder / path);
    return;
  }
  for (const fs::path& file : files_of(source)) {
    // A file is its own tree.
    const std::string below =
        file == source ? "" : file.lexically_relative(source).generic_string();
    into.put_file(file, append_location(path, below));
  }
}

void visit_files(artifact_repository& of, std::string_view path,
                 const std::function<void(const artifact_info&)>& visit) {
  std::size_t count = 0;
  visit_below(of, std::string(path), of.list(path), 0, count, visit);
}

void fetch_tree(artifact_repository& from, std::string_view path, const fs::path& target) {
  if (const auto folder = from.folder()) {
    std::error_code failed;
    if (!fs::exists(*folder / path, failed)) {
      if (path.empty()) return;  // nothing was logged yet
      refuse_missing(path);
    }
    copy_tree(path.empty() ? *folder : *folder / path, target);
    return;
  }
  const std::vector<artifact_info> entries = from.list(path);
  if (entries.empty() && !path.empty()) {
    from.fetch_file(path, target);
    return;
  }
  std::size_t count = 0;
  visit_below(from, std::string(path), entries, 0, count, [&](const artifact_info& file) {
    const std::string below = path.empty() ? file.path : file.path.substr(path.size() + 1);
    from.fetch_file(file.path, target / below);
  });
}

fs::path fetch_into(artifact_repository& from, std::string_view path, const fs::path& folder) {
  check_artifact_path("artifact_path", path, true);
  fs::path target = path.empty() ? folder : folder / fs::path(path).filename();
  fetch_tree(from, path, target);
  return target;
}

}  // namespace mizzen::tracking::detail
