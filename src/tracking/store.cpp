#include "tracking/store.hpp"

#include "tracking/names.hpp"
#include "tracking/schema.hpp"
#include "tracking/store_rows.hpp"
#include "tracking/uri.hpp"
#include "tracking/validate.hpp"

#include <mizzen/core/time.hpp>

#include <charconv>
#include <filesystem>
#include <system_error>
#include <unistd.h>

namespace mizzen::tracking::detail {
namespace {

namespace fs = std::filesystem;

void prepare_file(const fs::path& path, bool create) {
  const std::string subject = "store '" + path.string() + "'";
  std::error_code failed;
  const fs::file_status status = fs::status(path, failed);
  if (fs::is_directory(status)) {
    throw error(errc::failed_precondition, subject,
                "it is a folder (MLflow's file stores are not supported); name an SQLite file, as "
                "sqlite:///" +
                    (path / "mlflow.db").string());
  }
  if (fs::exists(status)) return;
  if (failed && status.type() != fs::file_type::not_found) {
    throw error(errc::permission_denied, subject, "it cannot be reached: " + failed.message());
  }
  if (!create) {
    throw error(errc::not_found, subject,
                "there is no such file, and client_options::create is off");
  }
  fs::create_directories(path.parent_path(), failed);
  if (failed) {
    throw error(errc::permission_denied, subject,
                "its folder cannot be made: " + failed.message() + "; make it, or name another");
  }
}

// Write-ahead logging lets readers and one writer work at once. It stays switched on in the file.
void switch_to_wal(connection& on, std::chrono::milliseconds busy_timeout) {
  const deadline until = deadline::after(busy_timeout);
  for (;;) {
    try {
      // Where the file system has no shared memory SQLite keeps its rollback journal, which makes
      // the same promises, only slower.
      on.prepare("PRAGMA journal_mode = WAL").run();
      return;
    } catch (const error& e) {
      if (e.code() != errc::unavailable || until.expired()) throw;
    }
  }
}

std::optional<experiment> experiment_by_id(connection& on, std::int64_t number) {
  auto row = on.prepare(
      "SELECT experiment_id, name, artifact_location, lifecycle_stage, creation_time, "
      "last_update_time FROM experiments WHERE experiment_id = ?1");
  if (!row.bind(number).step()) return std::nullopt;
  return read_experiment(on, row);
}

std::optional<experiment> experiment_by_name(connection& on, std::string_view name) {
  auto row = on.prepare(
      "SELECT experiment_id, name, artifact_location, lifecycle_stage, creation_time, "
      "last_update_time FROM experiments WHERE workspace = 'default' AND name = ?1");
  if (!row.bind(name).step()) return std::nullopt;
  return read_experiment(on, row);
}

void put_experiment_tag(connection& on, std::int64_t number, std::string_view key,
                        std::string_view value) {
  on.prepare(
        "INSERT INTO experiment_tags (key, value, experiment_id) VALUES (?1, ?2, ?3) "
        "ON CONFLICT (key, experiment_id) DO UPDATE SET value = excluded.value")
      .bind(key, value, number)
      .run();
}

void check_new_experiment(std::string_view name, const experiment_options& options) {
  check_experiment_name(name);
  for (const auto& [key, value] : options.tags) check_experiment_tag(key, value);
}

experiment insert_experiment(connection& on, std::string_view name,
                             const experiment_options& options, const std::string& artifact_root) {
  const std::int64_t now = unix_millis();
  on.prepare(
        "INSERT INTO experiments (name, artifact_location, lifecycle_stage, creation_time, "
        "last_update_time, workspace) VALUES (?1, NULL, 'active', ?2, ?2, 'default')")
      .bind(name, now)
      .run();
  const std::int64_t number = on.last_row();
  const std::string location = options.artifact_location.empty()
                                   ? append_location(artifact_root, std::to_string(number))
                                   : resolve_artifact_location(options.artifact_location);
  on.prepare("UPDATE experiments SET artifact_location = ?1 WHERE experiment_id = ?2")
      .bind(location, number)
      .run();
  for (const auto& [key, value] : options.tags) put_experiment_tag(on, number, key, value);
  return *experiment_by_id(on, number);
}

}  // namespace

std::int64_t experiment_number(std::string_view id) {
  std::int64_t number = 0;
  const auto [end, failed] = std::from_chars(id.data(), id.data() + id.size(), number);
  if (failed != std::errc{} || end != id.data() + id.size()) {
    throw error(errc::invalid_argument, "experiment.id",
                "'" + std::string(id) + "' is not a decimal number");
  }
  return number;
}

experiment read_experiment(connection& on, statement& row) {
  experiment found;
  const std::int64_t number = row.integer(0);
  found.id = std::to_string(number);
  found.name = row.text(1);
  found.artifact_location = row.text(2);
  found.stage = row.text(3) == "deleted" ? lifecycle_stage::deleted : lifecycle_stage::active;
  found.creation_time = row.integer(4);
  found.last_update_time = row.integer(5);
  auto tags = on.prepare("SELECT key, value FROM experiment_tags WHERE experiment_id = ?1");
  tags.bind(number);
  while (tags.step()) found.tags[tags.text(0)] = tags.text(1);
  return found;
}

store::store(const client_options& options)
    : process_(getpid()),
      busy_timeout_(options.busy_timeout),
      synchronous_(options.durability == durability::power ? "PRAGMA synchronous = FULL"
                                                           : "PRAGMA synchronous = NORMAL"),
      log_(options.log),
      artifact_stores_(options.log) {
  const fs::path path = store_path(options.uri);
  uri_ = store_uri(path);
  artifact_root_ = options.artifact_root.empty() ? (path.parent_path() / "mlruns").string()
                                                 : resolve_artifact_location(options.artifact_root);
  check_text("client_options.user", options.user, 256);
  user_ = options.user.empty() ? process_user() : options.user;
  program_ = process_program();
  prepare_file(path, options.create);

  writer_ = std::make_unique<connection>(path.string(), connection::access::write, options.create,
                                         options.busy_timeout);
  if (writer_->is_read_only()) {
    throw error(errc::permission_denied, "store '" + path.string() + "'",
                "it is read-only; give this user write permission on the file and its folder");
  }
  prepare_schema(*writer_, options.create, append_location(artifact_root_, "0"));
  switch_to_wal(*writer_, options.busy_timeout);
  writer_->execute(synchronous_);
  // A checkpoint costs two fsyncs, whatever it carries: 4,000 pages (16 MB) make them rare.
  writer_->execute("PRAGMA foreign_keys = ON; PRAGMA wal_autocheckpoint = 4000");
  reader_ = std::make_unique<connection>(path.string(), connection::access::read, false,
                                         options.busy_timeout);
  // As in MLflow's own connections; ILIKE goes through lower().
  // 32 MiB of pages: SQLite's 2 are read anew by each search over some thousand runs.
  reader_->execute("PRAGMA case_sensitive_like = 1; PRAGMA cache_size = -32768");
}

store::~store() {
  if (is_own_process()) return;
  // Closing in a forked child would run SQLite's recovery under the parent's feet.
  if (writer_) writer_->abandon();
  if (drainer_) drainer_->abandon();
  if (reader_) reader_->abandon();
}

bool store::is_own_process() const noexcept { return process_ == getpid(); }

void store::check_process() const {
  if (is_own_process()) return;
  throw error(errc::failed_precondition, "store '" + writer_->path() + "'",
              "it was opened before fork(); make a client in the child process");
}

std::shared_ptr<artifact_repository> store::artifacts(std::string_view location) {
  check_process();
  return artifact_stores_.open(location);
}

experiment store::create_experiment(std::string_view name, const experiment_options& options) {
  check_new_experiment(name, options);
  return writing([&](connection& on) {
    if (const auto there = experiment_by_name(on, name)) {
      throw error(
          errc::already_exists, "experiment '" + std::string(name) + "'",
          there->stage == lifecycle_stage::deleted
              ? "a deleted experiment has this name; restore it with MLflow, or take another"
              : "there is one of this name already (id " + there->id + ")");
    }
    return insert_experiment(on, name, options, artifact_root_);
  });
}

experiment store::get_experiment(std::string_view id) {
  const std::int64_t number = experiment_number(id);
  auto found = reading([&](connection& on) { return experiment_by_id(on, number); });
  if (!found) {
    throw error(errc::not_found, "experiment " + std::string(id), "there is no such experiment");
  }
  return *std::move(found);
}

std::optional<experiment> store::find_experiment(std::string_view name) {
  check_text("experiment.name", name);
  return reading([&](connection& on) { return experiment_by_name(on, name); });
}

experiment store::get_or_create_experiment(std::string_view name,
                                           const experiment_options& options) {
  check_new_experiment(name, options);
  auto found = reading([&](connection& on) { return experiment_by_name(on, name); });
  if (!found) {
    found = writing([&](connection& on) -> std::optional<experiment> {
      if (auto there = experiment_by_name(on, name)) return there;
      return insert_experiment(on, name, options, artifact_root_);
    });
  }
  if (found->stage == lifecycle_stage::deleted) {
    throw error(errc::failed_precondition, "experiment '" + std::string(name) + "'",
                "it is deleted; restore it with `mlflow experiments restore --experiment-id " +
                    found->id + "`, or take another name");
  }
  return *std::move(found);
}

std::vector<experiment> store::list_experiments(std::optional<lifecycle_stage> stage) {
  return reading([&](connection& on) {
    std::vector<experiment> all;
    auto row = on.prepare(
        "SELECT experiment_id, name, artifact_location, lifecycle_stage, creation_time, "
        "last_update_time FROM experiments WHERE workspace = 'default' "
        "AND (?1 IS NULL OR lifecycle_stage = ?1) ORDER BY experiment_id");
    if (stage) {
      row.bind(to_string(*stage));
    } else {
      row.bind(nullptr);
    }
    while (row.step()) all.push_back(read_experiment(on, row));
    return all;
  });
}

void store::set_experiment_tag(std::string_view id, std::string_view key, std::string_view value) {
  check_experiment_tag(key, value);
  const std::int64_t number = experiment_number(id);
  writing([&](connection& on) {
    const auto found = experiment_by_id(on, number);
    if (!found) {
      throw error(errc::not_found, "experiment " + std::string(id), "there is no such experiment");
    }
    if (found->stage == lifecycle_stage::deleted) {
      throw error(errc::failed_precondition, "experiment '" + found->name + "'", "it is deleted");
    }
    put_experiment_tag(on, number, key, value);
  });
}

}  // namespace mizzen::tracking::detail
