// Artifacts that are made from values: dictionaries, tables, figures.
#include "tracking/run_state.hpp"
#include "tracking/table_json.hpp"
#include "tracking/validate.hpp"
#include "tracking/yaml.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/core/json.hpp>
#include <mizzen/tracking/figure.hpp>

#include <sys/file.h>

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <optional>
#include <system_error>
#include <unistd.h>

namespace mizzen::tracking {
namespace {

constexpr std::string_view logged_artifacts_tag = "mlflow.loggedArtifacts";

// A lock among all threads and processes that add to tables of one run: flock on the folder of its
// artifacts, which leaves nothing behind.
class folder_lock {
 public:
  explicit folder_lock(const std::filesystem::path& folder) {
    std::error_code failed;
    std::filesystem::create_directories(folder, failed);
    descriptor_ = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    while (descriptor_ >= 0 && ::flock(descriptor_, LOCK_EX) != 0) {
      if (errno != EINTR) break;  // a file system without locks: as MLflow, without one
    }
  }
  ~folder_lock() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  folder_lock(const folder_lock&) = delete;
  folder_lock& operator=(const folder_lock&) = delete;

 private:
  int descriptor_ = -1;
};

// What a file of a table may come to before rows are added to it.
constexpr std::size_t most_bytes = std::size_t{1} << 30;

std::optional<std::string> read_whole(const run& of, std::string_view artifact_file) {
  const auto slash = artifact_file.rfind('/');
  const std::string_view folder =
      slash == std::string_view::npos ? std::string_view() : artifact_file.substr(0, slash);
  for (const artifact_info& entry : of.list_artifacts(folder)) {
    if (entry.path == artifact_file) return of.read_artifact(artifact_file, most_bytes);
  }
  return std::nullopt;
}

// Adds {"path": …, "type": "table"} to the list in the tag by which MLflow finds tables.
void note_table(run& of, std::string_view artifact_file) {
  const string_map tags = of.get().tags;
  const auto old = tags.find(std::string(logged_artifacts_tag));
  json list = json::array();
  if (old != tags.end()) list = json::parse(old->second, nullptr, false);
  if (!list.is_array()) {
    throw error(errc::data_loss, "tag '" + std::string(logged_artifacts_tag) + "'",
                "it is not a JSON list; delete it");
  }
  const json entry = {{"path", artifact_file}, {"type", "table"}};
  if (std::find(list.begin(), list.end(), entry) != list.end()) return;
  list.push_back(entry);
  of.set_tag(logged_artifacts_tag, list.dump());
}

}  // namespace

void run::log_dict(const json& value, std::string_view artifact_file) {
  if (artifact_file.ends_with(".yml") || artifact_file.ends_with(".yaml")) {
    log_text(detail::to_yaml(value), artifact_file);
  } else {
    log_json(value, artifact_file);
  }
}

void run::log_table(const table& columns, std::string_view artifact_file) {
  detail::check_artifact_path("artifact_file", artifact_file, false);
  if (!artifact_file.ends_with(".json")) {
    throw error(errc::invalid_argument, "artifact_file",
                "'" + std::string(artifact_file) + "' must end in .json, by which MLflow reads it");
  }
  json content = detail::table_to_json(columns);
  std::optional<folder_lock> lock;
  if (state_->artifacts) lock.emplace(*state_->artifacts);
  if (const auto old = read_whole(*this, artifact_file)) {
    const std::string subject = "artifact '" + std::string(artifact_file) + "'";
    content = detail::concatenated(detail::parse_table(*old, subject), content);
  }
  std::string text;
  try {
    text = content.dump();
  } catch (const json::exception&) {
    throw error(errc::invalid_argument, "table", "it has a text that is not UTF-8");
  }
  log_text(text, artifact_file);
  note_table(*this, artifact_file);
}

void run::log_figure(const figure& drawn, std::string_view artifact_file) {
  if (artifact_file.ends_with(".svg")) {
    log_text(drawn.to_svg(), artifact_file);
  } else if (artifact_file.ends_with(".png")) {
    log_bytes(drawn.to_png(), artifact_file);
  } else {
    throw error(errc::invalid_argument, "artifact_file",
                "'" + std::string(artifact_file) + "' must end in .svg or .png");
  }
}

}  // namespace mizzen::tracking
