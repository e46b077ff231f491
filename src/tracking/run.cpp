#include "tracking/artifacts.hpp"
#include "tracking/model_folder.hpp"
#include "tracking/run_state.hpp"
#include "tracking/validate.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/core/id.hpp>
#include <mizzen/core/json.hpp>
#include <mizzen/core/time.hpp>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <functional>
#include <system_error>

namespace mizzen::tracking {
namespace {

std::int64_t checked_timestamp(std::optional<std::int64_t> timestamp) {
  if (!timestamp) return std::max<std::int64_t>(unix_millis(), 0);
  if (*timestamp < 0) detail::check_metric("m", timestamp);  // which throws
  return *timestamp;
}

// A folder of this process, gone with the object.
class temporary_folder {
 public:
  temporary_folder()
      : path_(std::filesystem::temp_directory_path() / ("mizzen-model-" + random_hex_id())) {
    std::filesystem::create_directory(path_);
  }
  ~temporary_folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  temporary_folder(const temporary_folder&) = delete;
  temporary_folder& operator=(const temporary_folder&) = delete;
  const std::filesystem::path& path() const noexcept { return path_; }

 private:
  std::filesystem::path path_;
};

// Writes the files of a logged model between the two ends of its life in the backend.
logged_model write_model(detail::backend& backend, std::string_view run_id,
                         const model_options& options,
                         const std::function<std::uint64_t(const std::filesystem::path&)>& write) {
  detail::check_model_options(options);
  const logged_model model = backend.create_logged_model(run_id, options);
  try {
    const auto repository = backend.artifacts(model.artifact_location);
    if (const auto folder = repository->folder()) {
      const std::uint64_t size = write(*folder / "model.onnx");
      detail::write_model_folder(*folder, model, options, size);
    } else {
      const temporary_folder made;
      const std::uint64_t size = write(made.path() / "model.onnx");
      detail::write_model_folder(made.path(), model, options, size);
      detail::put_tree(*repository, made.path(), "");
    }
    backend.finish_logged_model(model);
  } catch (const std::exception& e) {
    try {
      backend.fail_logged_model(model, e.what());
    } catch (const error& second) {
      backend.log().log(log_level::warning, "tracking", "a failed model could not be marked so",
                        {{"model", model.id}, {"error", second.what()}});
    }
    throw;
  }
  return model;
}

}  // namespace

run::run(std::unique_ptr<state> held) noexcept : state_(std::move(held)) {}
run::run(run&& other) noexcept = default;

run& run::operator=(run&& other) noexcept {
  if (this != &other) run old(std::exchange(state_, std::move(other.state_)));
  return *this;
}

run::~run() {
  if (state_ && state_->sampling) state_->sampling->stop();
  if (!state_ || state_->ended || !state_->log.is_own_process()) return;
  const bool unwinding = std::uncaught_exceptions() > state_->exceptions;
  try {
    state_->end(unwinding ? run_status::failed : run_status::finished, false);
  } catch (...) {
    try {
      state_->backend->log().log(
          log_level::error, "tracking", "a run could not be ended",
          {{"run", state_->id}, {"error", describe(std::current_exception())}});
    } catch (...) {  // NOLINT(bugprone-empty-catch): out of memory while reporting
    }
  }
}

const std::string& run::id() const noexcept { return state_->id; }
const std::string& run::experiment_id() const noexcept { return state_->experiment_id; }
const std::string& run::name() const noexcept { return state_->name; }

const std::filesystem::path& run::artifact_directory() const {
  if (state_->artifacts) return *state_->artifacts;
  throw error(errc::unimplemented, "artifact location '" + state_->artifact_uri + "'",
              "it is not on this file system; see log_artifact and download_artifacts");
}

void run::log_metric(std::string_view key, double value, metric_options options) {
  detail::series& series = state_->series_of(key);
  state_->log.append(series, value, options.step, checked_timestamp(options.timestamp));
}

void run::log_metrics(std::initializer_list<std::pair<std::string_view, double>> values,
                      metric_options options) {
  // One moment for all, and nothing is written unless all can be.
  const std::int64_t timestamp = checked_timestamp(options.timestamp);
  for (const auto& [key, value] : values) state_->series_of(key);
  for (const auto& [key, value] : values) {
    state_->log.append(state_->series_of(key), value, options.step, timestamp);
  }
}

void run::log_metrics(std::span<const metric> points) {
  constexpr std::size_t most = detail::limits::metrics_per_batch;
  for (std::size_t at = 0; at < points.size(); at += most) {
    detail::check_batch(points.subspan(at, std::min(most, points.size() - at)), {}, {});
  }
  const std::int64_t now = checked_timestamp(std::nullopt);
  for (const metric& point : points) {
    state_->log.append(state_->series_of(point.key), point.value, point.step,
                       point.timestamp.value_or(now));
  }
}

void run::log_param(std::string_view key, std::string_view value) {
  log_params({{std::string(key), std::string(value)}});
}

void run::log_params(const string_map& params) {
  for (const auto& [key, value] : params) detail::check_param(key, value);
  if (state_->backend->is_remote()) return state_->append(detail::wal_kind::param, params);
  string_map piece;
  for (const auto& [key, value] : params) {
    piece.emplace(key, value);
    if (piece.size() == detail::limits::params_per_batch) {
      state_->backend->log_batch(state_->id, {}, piece, {});
      piece.clear();
    }
  }
  if (!piece.empty()) state_->backend->log_batch(state_->id, {}, piece, {});
}

void run::set_tag(std::string_view key, std::string_view value) {
  set_tags({{std::string(key), std::string(value)}});
}

void run::set_tags(const string_map& tags) {
  for (const auto& [key, value] : tags) detail::check_tag(key, value);
  if (state_->backend->is_remote()) return state_->append(detail::wal_kind::tag, tags);
  string_map piece;
  for (const auto& [key, value] : tags) {
    piece.emplace(key, value);
    if (piece.size() == detail::limits::tags_per_batch) {
      state_->backend->log_batch(state_->id, {}, {}, piece);
      piece.clear();
    }
  }
  if (!piece.empty()) state_->backend->log_batch(state_->id, {}, {}, piece);
}

void run::delete_tag(std::string_view key) {
  if (state_->backend->is_remote()) detail::settle(*state_->writer, *state_->backend);
  state_->backend->delete_tag(state_->id, key);
}

void run::log_batch(const batch& values) {
  detail::check_batch(values.metrics, values.params, values.tags);
  if (state_->backend->is_remote()) {
    log_metrics(values.metrics);
    state_->append(detail::wal_kind::param, values.params);
    state_->append(detail::wal_kind::tag, values.tags);
    return;
  }
  state_->backend->log_batch(state_->id, values.metrics, values.params, values.tags);
}

void run::log_input(const dataset& data, const input_options& options) {
  state_->backend->log_input(state_->id, data, options);
}

void run::log_artifact(const std::filesystem::path& local, std::string_view artifact_path) {
  detail::check_artifact_path("artifact_path", artifact_path, true);
  if (local.empty()) {
    throw error(errc::invalid_argument, "local", "it is empty; name a file or a folder");
  }
  // "models/" has no file name; its folder does.
  std::filesystem::path source = std::filesystem::absolute(local).lexically_normal();
  if (!source.has_filename()) source = source.parent_path();
  detail::check_artifact_path("artifact name", source.filename().string(), false);
  std::string target(artifact_path);
  if (!target.empty()) target += '/';
  target += source.filename().string();
  detail::put_tree(*state_->repository(), source, target);
}

void run::log_text(std::string_view text, std::string_view artifact_file) {
  detail::check_artifact_path("artifact_file", artifact_file, false);
  state_->repository()->put_bytes(std::as_bytes(std::span(text)), artifact_file);
}

void run::log_json(const json& value, std::string_view artifact_file) {
  std::string text;
  try {
    text = value.dump(2) + "\n";
  } catch (const json::exception& e) {
    throw error(errc::invalid_argument, artifact_file,
                std::string("it cannot be written as JSON: ") + e.what());
  }
  log_text(text, artifact_file);
}

void run::log_bytes(std::span<const std::byte> bytes, std::string_view artifact_file) {
  detail::check_artifact_path("artifact_file", artifact_file, false);
  state_->repository()->put_bytes(bytes, artifact_file);
}

std::vector<artifact_info> run::list_artifacts(std::string_view artifact_path) const {
  detail::check_artifact_path("artifact_path", artifact_path, true);
  return state_->repository()->list(artifact_path);
}

std::string run::read_artifact(std::string_view artifact_file, std::size_t most) const {
  detail::check_artifact_path("artifact_file", artifact_file, false);
  return state_->repository()->read(artifact_file, most);
}

std::filesystem::path run::download_artifacts(const std::filesystem::path& folder,
                                              std::string_view artifact_path) const {
  return detail::fetch_into(*state_->repository(), artifact_path, folder);
}

void run::delete_artifacts(std::string_view artifact_path) {
  detail::check_artifact_path("artifact_path", artifact_path, true);
  state_->repository()->remove(artifact_path);
}

logged_model run::log_model(const std::filesystem::path& onnx_file, const model_options& options) {
  std::error_code failed;
  if (!std::filesystem::is_regular_file(onnx_file, failed)) {
    throw error(errc::not_found, "model '" + onnx_file.string() + "'", "there is no such file");
  }
  detail::settle(*state_->writer, *state_->backend);  // the model takes the latest metrics along
  return write_model(*state_->backend, state_->id, options, [&](const auto& target) {
    detail::copy_tree(onnx_file, target);
    const auto size = std::filesystem::file_size(target, failed);
    return failed ? std::uint64_t{0} : std::uint64_t{size};
  });
}

logged_model run::log_model(std::span<const std::byte> onnx, const model_options& options) {
  detail::settle(*state_->writer, *state_->backend);  // the model takes the latest metrics along
  return write_model(*state_->backend, state_->id, options, [&](const auto& target) {
    detail::write_file(target, onnx);
    return std::uint64_t{onnx.size()};
  });
}

run run::start_child(run_options options) {
  options.parent_run_id = state_->id;
  detail::add_process_tags(options);
  run child(std::make_unique<state>(state_->backend, state_->writer,
                                    state_->backend->start_run(state_->experiment_id, options)));
  child.set_up(options);
  return child;
}

run run::second_handle() const {
  run other(std::make_unique<state>(state_->backend, state_->writer,
                                    run_record{.id = state_->id,
                                               .experiment_id = state_->experiment_id,
                                               .name = state_->name,
                                               .artifact_uri = state_->artifact_uri}));
  other.state_->ended = true;
  return other;
}

void run::set_up(const run_options& options) {
  if (!options.content_store.empty()) {
    state_->contents.emplace(options.content_store);
    state_->repository();  // which throws where it cannot be used
  }
  const char* variable = std::getenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING");
  const std::string_view value = variable != nullptr ? variable : "";
  if (options.system_metrics.value_or(value == "1" || value == "true" || value == "True")) {
    state_->sampling = std::make_unique<system_metrics>(*this);
  }
}

run_record run::get() const {
  detail::settle(*state_->writer, *state_->backend);
  return state_->backend->get_run(state_->id);
}

bool run::flush(deadline until) {
  return state_->writer->flush(until, detail::drain::upto::all_sinks);
}

void run::finish() { end(run_status::finished); }
void run::fail() { end(run_status::failed); }
void run::end(run_status status) {
  if (state_->sampling) state_->sampling->stop();
  state_->end(status, true);
  state_->ended = true;
}

}  // namespace mizzen::tracking
