#include "tracking/content_repository.hpp"

#include <mizzen/core/error.hpp>

#include <utility>

namespace mizzen::tracking::detail {
namespace {

class through_store final : public artifact_repository {
 public:
  through_store(std::shared_ptr<artifact_repository> folder, content_store contents,
                std::string owner)
      : folder_(std::move(folder)), contents_(std::move(contents)), owner_(std::move(owner)) {}

  void put_bytes(std::span<const std::byte> bytes, std::string_view path) override {
    place(contents_.put(bytes), path);
  }
  void put_file(const std::filesystem::path& local, std::string_view path) override {
    place(contents_.put(local), path);
  }
  std::vector<artifact_info> list(std::string_view path) override { return folder_->list(path); }
  void fetch_file(std::string_view path, const std::filesystem::path& target) override {
    folder_->fetch_file(path, target);
  }
  std::string read(std::string_view path, std::size_t most) override {
    return folder_->read(path, most);
  }
  void remove(std::string_view path) override { folder_->remove(path); }
  std::optional<std::filesystem::path> folder() const override { return folder_->folder(); }

 private:
  void place(const std::string& id, std::string_view path) {
    // Referred to first: else it could be taken for garbage.
    contents_.refer(owner_, path, id);
    contents_.get(id, *folder_->folder() / path);
  }

  const std::shared_ptr<artifact_repository> folder_;
  content_store contents_;
  const std::string owner_;
};

}  // namespace

std::shared_ptr<artifact_repository> content_repository(std::shared_ptr<artifact_repository> folder,
                                                        content_store contents, std::string owner) {
  if (!folder->folder()) {
    throw error(errc::unimplemented, "run_options.content_store",
                "the artifacts of this run are not on this file system");
  }
  return std::make_shared<through_store>(std::move(folder), std::move(contents), std::move(owner));
}

}  // namespace mizzen::tracking::detail
