// MLflow's file store (mlflow/store/tracking/file_store.py, model_registry/file_store.py) as the
// source of a transfer.
#include "core/sha256.hpp"
#include "tracking/import_sources.hpp"
#include "tracking/uri.hpp"
#include "tracking/validate.hpp"
#include "tracking/yaml_reader.hpp"

#include <mizzen/core/error.hpp>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <system_error>
#include <utility>

namespace mizzen::tracking::detail {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t most_meta = std::size_t{1} << 20;
constexpr std::size_t most_dataset = std::size_t{96} << 20;  // schema and profile, escaped
constexpr std::size_t most_value = std::size_t{1} << 20;
constexpr std::size_t most_values = std::size_t{64} << 20;  // of one folder
constexpr std::size_t most_line = 4096;
constexpr std::size_t most_files = 1'000'000;  // in one folder of parameters, tags or metrics
constexpr std::size_t most_reports = 1000;

[[noreturn]] void damaged(const fs::path& path, const std::string& why) {
  throw error(errc::data_loss, "file '" + path.string() + "'", why);
}

std::string read_bounded(const fs::path& path, std::size_t most) {
  std::error_code failed;
  // A link could lead anywhere.
  if (fs::is_symlink(path, failed)) damaged(path, "it is a link, which is not followed");
  if (!fs::is_regular_file(path, failed)) damaged(path, "there is no such file");
  std::ifstream in(path, std::ios::binary);
  std::string text;
  char piece[65536];
  while (in.read(piece, sizeof piece), in.gcount() > 0) {
    text.append(piece, static_cast<std::size_t>(in.gcount()));
    if (text.size() > most) damaged(path, "it is larger than " + std::to_string(most) + " bytes");
  }
  if (in.bad() || !in.eof()) damaged(path, "it cannot be read");
  return text;
}

json read_meta(const fs::path& folder, std::size_t most = most_meta) {
  const fs::path path = folder / "meta.yaml";
  const std::string text = read_bounded(path, most);
  try {
    return read_yaml(text);
  } catch (const error& e) {
    damaged(path, e.what());
  }
}

// Folders in a folder, by name. Links are none.
std::vector<fs::path> folders_in(const fs::path& folder) {
  std::vector<fs::path> found;
  std::error_code failed;
  if (!fs::is_directory(folder, failed)) return found;
  try {
    for (const auto& entry : fs::directory_iterator(folder)) {
      if (entry.is_directory(failed) && !entry.is_symlink(failed)) found.push_back(entry.path());
    }
  } catch (const fs::filesystem_error& e) {
    throw error(errc::permission_denied, "folder '" + folder.string() + "'", e.what());
  }
  std::sort(found.begin(), found.end());
  return found;
}

// Files below a folder by their path in it, which is a key: keys may have slashes.
std::vector<std::string> keys_in(const fs::path& folder) {
  std::vector<std::string> keys;
  std::error_code failed;
  if (!fs::is_directory(folder, failed)) return keys;
  try {
    for (const auto& entry : fs::recursive_directory_iterator(folder)) {
      if (!entry.is_regular_file(failed)) continue;
      keys.push_back(entry.path().lexically_relative(folder).generic_string());
      if (keys.size() > most_files) damaged(folder, "it has more than 1,000,000 files");
    }
  } catch (const fs::filesystem_error& e) {
    throw error(errc::permission_denied, "folder '" + folder.string() + "'", e.what());
  }
  std::sort(keys.begin(), keys.end());
  return keys;
}

string_map values_in(const fs::path& folder) {
  string_map values;
  std::size_t size = 0;
  for (const std::string& key : keys_in(folder)) {
    size += (values[key] = read_bounded(folder / key, most_value)).size();
    if (size > most_values) damaged(folder, "its files have more than 64 MiB together");
  }
  return values;
}

template <typename Number>
bool parse(std::string_view text, Number& number) {
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), number);
  return failed == std::errc{} && end == text.data() + text.size() && !text.empty();
}

// As Python's float() reads what its str() writes.
bool parse_value(std::string_view text, double& number) {
  if (text == "nan") {
    number = std::numeric_limits<double>::quiet_NaN();
    return true;
  }
  if (text.starts_with('+')) text.remove_prefix(1);
  return parse(text, number);  // "inf" too
}

// "<timestamp> <value> <step> …": what is behind them in rest.
bool parse_point(std::string_view line, metric& point, std::string_view& rest) {
  const auto word = [&line] {
    const std::string_view taken = line.substr(0, line.find(' '));
    line.remove_prefix(std::min(line.size(), taken.size() + 1));
    return taken;
  };
  std::int64_t timestamp = 0;
  if (!parse(word(), timestamp) || timestamp < 0 || !parse_value(word(), point.value)) return false;
  point.timestamp = timestamp;
  point.step = 0;
  // The oldest files have no steps.
  if (!line.empty() && !parse(word(), point.step)) return false;
  rest = line;
  return true;
}

template <typename Visit>
void visit_lines(const fs::path& path, Visit&& visit) {
  std::error_code failed;
  if (fs::is_symlink(path, failed)) damaged(path, "it is a link, which is not followed");
  std::ifstream in(path, std::ios::binary);
  std::string line;
  char piece[65536];
  bool more = true;
  while (more) {
    in.read(piece, sizeof piece);
    const auto got = static_cast<std::size_t>(in.gcount());
    more = got > 0;
    std::string_view rest(piece, got);
    while (!rest.empty()) {
      const auto end = rest.find('\n');
      line += rest.substr(0, end);
      if (line.size() > most_line) damaged(path, "a line has more than 4,096 characters");
      rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
      if (end == std::string_view::npos) break;
      if (line.ends_with('\r')) line.pop_back();
      if (!line.empty()) visit(std::string_view(line), true);
      line.clear();
    }
  }
  if (in.bad()) damaged(path, "it cannot be read");
  if (!line.empty()) visit(std::string_view(line), false);
}

// A file or folder is below another, whatever links lead to it.
bool is_below(const fs::path& path, const fs::path& root) {
  std::error_code failed;
  const fs::path real = fs::weakly_canonical(path, failed);
  if (failed) return false;
  const fs::path relative = real.lexically_relative(root);
  return !relative.empty() && *relative.begin() != "..";
}

class file_store_source final : public transfer_source {
 public:
  explicit file_store_source(const fs::path& folder) : root_(fs::canonical(folder)) {
    for (const fs::path& one : folders_in(root_)) {
      const std::string name = one.filename().string();
      std::error_code failed;
      if (!name.starts_with('.') && name != "models" && fs::exists(one / "meta.yaml", failed)) {
        experiments_.push_back(one);
      }
    }
    std::error_code failed;
    if (experiments_.empty() && !fs::is_directory(root_ / "models", failed)) {
      throw error(errc::invalid_argument, "folder '" + root_.string() + "'",
                  "it is no file store of MLflow: there is neither an experiment in it (a folder "
                  "with a meta.yaml) nor a folder models");
    }
  }

  std::vector<experiment> experiments() override {
    std::vector<experiment> all;
    for (const fs::path& folder : experiments_) {
      attempt("experiment '" + folder.filename().string() + "'", [&] {
        const json meta = read_meta(folder);
        if (yaml_text(meta, "lifecycle_stage") == "deleted") return;
        experiment one;
        one.id = yaml_text(meta, "experiment_id");
        if (one.id != folder.filename().string()) damaged(folder, "its meta.yaml is of another id");
        one.name = yaml_text(meta, "name");
        one.creation_time = yaml_integer(meta, "creation_time").value_or(0);
        one.last_update_time = yaml_integer(meta, "last_update_time").value_or(one.creation_time);
        one.tags = values_in(folder / "tags");
        all.push_back(std::move(one));
        const std::size_t traces = folders_in(folder / "traces").size();
        if (traces != 0) {
          left_out_.push_back({"experiment '" + folder.filename().string() + "'",
                               errc::unimplemented,
                               std::to_string(traces) + " traces; they are not imported"});
        }
      });
    }
    return all;
  }

  void visit_runs(const std::string& experiment_id,
                  const std::function<void(source_run)>& visit) override {
    for (const fs::path& folder : folders_in(root_ / experiment_id)) {
      const std::string name = folder.filename().string();
      if (name == "tags" || name == "datasets" || name == "traces" || name == "models") continue;
      std::error_code failed;
      if (!fs::exists(folder / "meta.yaml", failed)) continue;
      std::optional<source_run> run;
      attempt("run '" + name + "'", [&] { run = read_run(folder); });
      if (run && run->record.stage == lifecycle_stage::active) visit(*std::move(run));
    }
  }

  std::optional<source_run> find_run(const std::string& key) override {
    const fs::path folder = run_folder(key);
    if (folder.empty()) return std::nullopt;
    source_run run = read_run(folder);
    if (run.record.stage == lifecycle_stage::deleted) return std::nullopt;
    return run;
  }

  void visit_points(const source_run& run,
                    const std::function<void(const metric&)>& visit) override {
    const fs::path folder = run_folder(run.key) / "metrics";
    for (const std::string& key : keys_in(folder)) {
      std::size_t number = 0;
      metric point{.key = key};
      visit_lines(folder / key, [&](std::string_view line, bool whole) {
        ++number;
        std::string_view rest;  // the dataset, which only a logged model's metrics keep
        if (parse_point(line, point, rest)) {
          visit(point);
        } else if (whole) {
          report_line(folder / key, number);
        }  // else its writer is at it, or died
      });
    }
  }

  std::optional<std::string> state_of(const source_run& run) override {
    const fs::path folder = run_folder(run.key);
    mizzen::detail::sha256 digest;
    std::vector<std::string> files = keys_in(folder);
    for (const std::string& file : files) {
      std::error_code ignored;
      const auto size = fs::file_size(folder / file, ignored);
      const auto time = fs::last_write_time(folder / file, ignored).time_since_epoch().count();
      digest.update(file + "\n" + std::to_string(size) + " " + std::to_string(time) + "\n");
    }
    return digest.hex().substr(0, 32);
  }

  std::vector<model_use> model_uses(const source_run& run) override {
    std::vector<model_use> uses;
    const fs::path folder = run_folder(run.key);
    for (const fs::path& one : folders_in(folder / "outputs")) {
      const json meta = read_meta(one);
      if (yaml_text(meta, "destination_type") != "MODEL_OUTPUT") continue;
      uses.push_back({yaml_text(meta, "destination_id"), yaml_integer(meta, "step").value_or(0)});
    }
    for (const fs::path& one : folders_in(folder / "inputs")) {
      const json meta = read_meta(one);
      if (yaml_text(meta, "source_type") != "MODEL") continue;
      uses.push_back({.model_id = yaml_text(meta, "source_id"), .made = false});
    }
    return uses;
  }

  void visit_models(const std::string& experiment_id,
                    const std::function<void(source_model)>& visit) override {
    for (const fs::path& folder : folders_in(root_ / experiment_id / "models")) {
      std::optional<source_model> model;
      attempt("logged model '" + folder.filename().string() + "'",
              [&] { model = read_model(folder, experiment_id); });
      if (model) visit(*std::move(model));
    }
  }

  std::vector<registered_model> registered_models() override {
    std::vector<registered_model> all;
    for (const fs::path& folder : folders_in(root_ / "models")) {
      attempt("registered model '" + folder.filename().string() + "'", [&] {
        const json meta = read_meta(folder);
        registered_model one;
        one.name = yaml_text(meta, "name");
        if (one.name != folder.filename().string()) {
          damaged(folder, "its meta.yaml is of another name");
        }
        one.description = yaml_text(meta, "description");
        one.creation_time = yaml_integer(meta, "creation_timestamp").value_or(0);
        one.last_update_time =
            yaml_integer(meta, "last_updated_timestamp").value_or(one.creation_time);
        one.tags = values_in(folder / "tags");
        for (const auto& [alias, text] : values_in(folder / "aliases")) {
          std::int64_t number = 0;
          if (!parse(text, number)) damaged(folder / "aliases" / alias, "it is no version");
          one.aliases[alias] = number;
        }
        all.push_back(std::move(one));
      });
    }
    return all;
  }

  std::vector<source_version> versions(const std::string& name) override {
    std::vector<source_version> all;
    for (const fs::path& folder : folders_in(root_ / "models" / name)) {
      if (!folder.filename().string().starts_with("version-")) continue;
      attempt("model version '" + name + "' " + folder.filename().string(), [&] {
        const json meta = read_meta(folder);
        model_version one;
        one.name = name;
        one.version = yaml_integer(meta, "version").value_or(0);
        if (folder.filename() != "version-" + std::to_string(one.version)) {
          damaged(folder, "its meta.yaml is of another number");
        }
        const std::string stage = yaml_text(meta, "current_stage");
        if (stage == "Deleted_Internal") return;
        one.stage = read_stage(stage);
        one.run_id = yaml_text(meta, "run_id");
        one.source = moved_source(yaml_text(meta, "source"), one.run_id);
        one.status = yaml_text(meta, "status");
        one.description = yaml_text(meta, "description");
        one.creation_time = yaml_integer(meta, "creation_timestamp").value_or(0);
        one.last_update_time =
            yaml_integer(meta, "last_updated_timestamp").value_or(one.creation_time);
        one.tags = values_in(folder / "tags");
        all.push_back({one.version, std::move(one)});
      });
    }
    std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.key < b.key; });
    return all;
  }

  std::shared_ptr<artifact_repository> files(const std::string& location) override {
    const auto folder = local_folder(location);
    if (!folder || !is_below(*folder, root_)) refuse_outside(location);
    std::error_code failed;
    if (fs::is_directory(*folder, failed)) {
      for (const auto& entry : fs::recursive_directory_iterator(*folder, failed)) {
        if (entry.is_symlink(failed) && !is_below(entry.path(), root_)) {
          refuse_outside(entry.path().string());
        }
      }
    }
    return file_repository(folder->string());
  }

  std::vector<transfer_problem> take_problems() override { return std::move(problems_); }
  std::vector<transfer_problem> take_left_out() override { return std::move(left_out_); }

 private:
  [[noreturn]] void refuse_outside(const std::string& location) const {
    throw error(errc::permission_denied, "artifact location '" + location + "'",
                "it is not below '" + root_.string() +
                    "', which is all that is read; copy the "
                    "files to the folder artifacts of the run or model, and import again");
  }

  void attempt(const std::string& subject, const std::function<void()>& work) {
    try {
      work();
    } catch (const error& e) {
      if (is_fatal(e.code())) throw;
      add_problem({subject, e.code(), e.what()});
    }
  }

  // The same thing may be read more than once.
  void add_problem(transfer_problem problem) {
    if (problems_.size() >= most_reports) return;
    const bool known = std::any_of(problems_.begin(), problems_.end(), [&](const auto& one) {
      return one.subject == problem.subject && one.message == problem.message;
    });
    if (!known) problems_.push_back(std::move(problem));
  }

  void report_line(const fs::path& path, std::size_t number) {
    add_problem({"file '" + path.string() + "'", errc::data_loss,
                 "line " + std::to_string(number) + " is no point of a metric"});
  }

  // Empty where there is none.
  fs::path run_folder(const std::string& id) {
    if (!is_entity_id(id)) return {};
    for (const fs::path& one : experiments_) {
      std::error_code failed;
      if (fs::exists(one / id / "meta.yaml", failed)) return one / id;
    }
    return {};
  }

  // Where files are: beside the meta.yaml, as MLflow has it unless told otherwise and also when the
  // whole store was moved, else where it says.
  static std::string location_of(const fs::path& folder, const std::string& said) {
    std::error_code failed;
    const fs::path here = folder / "artifacts";
    if (said.empty() || fs::is_directory(here, failed)) return here.string();
    return said;
  }

  source_run read_run(const fs::path& folder) {
    const json meta = read_meta(folder);
    source_run run;
    run_record& record = run.record;
    record.id = yaml_text(meta, "run_id");
    if (record.id.empty()) record.id = yaml_text(meta, "run_uuid");
    if (record.id != folder.filename().string() || !is_entity_id(record.id)) {
      damaged(folder, "its meta.yaml is of another run, '" + record.id.substr(0, 80) + "'");
    }
    run.key = record.id;
    record.experiment_id = folder.parent_path().filename().string();
    record.user = yaml_text(meta, "user_id");
    // RunStatus of mlflow/protos/service.proto, by its numbers.
    constexpr run_status statuses[] = {run_status::running, run_status::scheduled,
                                       run_status::finished, run_status::failed,
                                       run_status::killed};
    const std::int64_t status = yaml_integer(meta, "status").value_or(1);
    if (status < 1 || status > 5) damaged(folder, "its status is " + std::to_string(status));
    record.status = statuses[status - 1];
    record.stage = yaml_text(meta, "lifecycle_stage") == "deleted" ? lifecycle_stage::deleted
                                                                   : lifecycle_stage::active;
    record.start_time = yaml_integer(meta, "start_time").value_or(0);
    record.end_time = yaml_integer(meta, "end_time");
    record.artifact_uri = location_of(folder, yaml_text(meta, "artifact_uri"));
    record.params = values_in(folder / "params");
    record.tags = values_in(folder / "tags");
    record.name = yaml_text(meta, "run_name");
    if (record.name.empty()) record.name = yaml_text(meta, "name");
    if (const auto tag = record.tags.find("mlflow.runName");
        record.name.empty() && tag != record.tags.end()) {
      record.name = tag->second;
    }
    for (const fs::path& one : folders_in(folder / "inputs")) {
      attempt("input of run '" + record.id + "'", [&] { read_input(one, record); });
    }
    return run;
  }

  void read_input(const fs::path& folder, run_record& into) {
    const json meta = read_meta(folder);
    if (yaml_text(meta, "source_type") != "DATASET") return;
    const std::string id = yaml_text(meta, "source_id");
    if (!is_entity_id(id)) damaged(folder, "the dataset that it names has no id");
    const fs::path dataset = folder.parent_path().parent_path().parent_path() / "datasets" / id;
    const json data = read_meta(dataset, most_dataset);
    into.inputs.push_back(
        {{yaml_text(data, "name"), yaml_text(data, "digest"), yaml_text(data, "source_type"),
          yaml_text(data, "source"), yaml_text(data, "schema"), yaml_text(data, "profile")},
         yaml_map(meta, "tags")});
  }

  std::optional<source_model> read_model(const fs::path& folder, const std::string& experiment_id) {
    const json meta = read_meta(folder);
    if (yaml_text(meta, "lifecycle_stage") == "deleted") return std::nullopt;
    source_model out;
    model_record& record = out.record;
    logged_model& model = record.model;
    model.id = yaml_text(meta, "model_id");
    if (model.id != folder.filename().string() || !is_entity_id(model.id)) {
      damaged(folder, "its meta.yaml is of another model");
    }
    out.key = model.id;
    model.name = yaml_text(meta, "name");
    model.uri = "models:/" + model.id;
    model.experiment_id = experiment_id;
    model.run_id = yaml_text(meta, "source_run_id");
    model.creation_time = yaml_integer(meta, "creation_timestamp").value_or(0);
    model.artifact_location = location_of(folder, yaml_text(meta, "artifact_location"));
    model.tags = values_in(folder / "tags");
    record.type = yaml_text(meta, "model_type");
    const std::int64_t status = yaml_integer(meta, "status").value_or(2);
    record.status = status == 1 ? "PENDING" : status == 3 ? "UPLOAD_FAILED" : "READY";
    record.status_message = yaml_text(meta, "status_message");
    record.last_update_time =
        yaml_integer(meta, "last_updated_timestamp").value_or(model.creation_time);
    record.params = values_in(folder / "params");
    for (const std::string& key : keys_in(folder / "metrics")) {
      std::size_t number = 0;
      visit_lines(folder / "metrics" / key, [&](std::string_view line, bool whole) {
        ++number;
        model_metric one{.point = {.key = key}};
        std::string_view rest;
        if (!parse_point(line, one.point, rest) || rest.empty()) {
          if (whole) report_line(folder / "metrics" / key, number);
          return;
        }
        // "<run> <dataset> <digest>"; the name may have blanks in it.
        const auto run_end = std::min(rest.find(' '), rest.size());
        one.run_id = rest.substr(0, run_end);
        rest.remove_prefix(std::min(rest.size(), run_end + 1));
        if (const auto digest = rest.rfind(' '); digest != std::string_view::npos) {
          one.dataset_name = rest.substr(0, digest);
          one.dataset_digest = rest.substr(digest + 1);
        }
        record.metrics.push_back(std::move(one));
        if (record.metrics.size() > most_files)
          damaged(folder, "it has more than 1,000,000 points");
      });
    }
    return out;
  }

  // A source below the artifacts of a run, where those are now.
  std::string moved_source(const std::string& source, const std::string& run_id) {
    const fs::path folder = run_folder(run_id);
    if (folder.empty()) return source;
    const std::string said = yaml_text(read_meta(folder), "artifact_uri");
    if (said.empty() || !source.starts_with(said)) return source;
    const std::string rest = source.substr(said.size());
    if (!rest.empty() && rest.front() != '/') return source;
    return location_of(folder, said) + rest;
  }

  const fs::path root_;
  std::vector<fs::path> experiments_;
  std::vector<transfer_problem> problems_;
  std::vector<transfer_problem> left_out_;
};

}  // namespace

std::unique_ptr<transfer_source> make_file_store_source(const fs::path& folder) {
  return std::make_unique<file_store_source>(folder);
}

}  // namespace mizzen::tracking::detail
