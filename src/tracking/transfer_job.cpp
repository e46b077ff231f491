#include "tracking/transfer_job.hpp"

#include "tracking/artifacts.hpp"
#include "tracking/uri.hpp"
#include "tracking/validate.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/core/id.hpp>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <limits>
#include <span>
#include <system_error>

namespace mizzen::tracking::detail {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t points_at_once = 10'000;
constexpr std::size_t most_problems = 1000;
constexpr std::size_t most_ml_model = std::size_t{64} << 20;

// A name for a download, which is gone with the object.
class temporary_file {
 public:
  temporary_file() : path_(fs::temp_directory_path() / ("mizzen-transfer-" + random_hex_id())) {}
  ~temporary_file() {
    std::error_code ignored;
    fs::remove(path_, ignored);
  }
  temporary_file(const temporary_file&) = delete;
  temporary_file& operator=(const temporary_file&) = delete;
  const fs::path& path() const noexcept { return path_; }

 private:
  fs::path path_;
};

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  if (from.empty() || from == to) return;
  for (auto at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
}

// The rest of a location below another; nothing where it is elsewhere.
std::optional<std::string_view> below(std::string_view location, std::string_view root) {
  if (root.empty() || !location.starts_with(root)) return std::nullopt;
  std::string_view rest = location.substr(root.size());
  if (rest.empty()) return rest;
  if (!rest.starts_with('/')) return std::nullopt;
  return rest.substr(1);
}

std::string run_name(const source_run& run) { return "run '" + run.key + "'"; }

}  // namespace

transfer_job::transfer_job(transfer_source& from, backend& to, const transfer_options& options)
    : from_(from), to_(to), target_(to.receive()), options_(options) {}

transfer_report transfer_job::run() {
  std::vector<experiment> experiments = from_.experiments();
  if (!options_.experiments.empty()) {
    for (const std::string& name : options_.experiments) {
      const bool there = std::any_of(experiments.begin(), experiments.end(),
                                     [&](const experiment& one) { return one.name == name; });
      if (!there) {
        throw error(errc::not_found, "experiment '" + name + "'",
                    "there is no active experiment of this name to transfer");
      }
    }
    std::erase_if(experiments, [&](const experiment& one) {
      return std::find(options_.experiments.begin(), options_.experiments.end(), one.name) ==
             options_.experiments.end();
    });
  }
  // All of them before the first run, as runs may name runs of others.
  for (const experiment& one : experiments) {
    attempt("experiment '" + one.name + "'",
            [&] { experiments_[one.id] = target_->place_experiment(one).id; });
  }
  for (const experiment& one : experiments) {
    if (!experiments_.contains(one.id)) continue;
    attempt("experiment '" + one.name + "'", [&] { carry_experiment(one); });
  }
  finish_runs();
  for (transfer_problem& twice : target_->check_runs()) {
    if (report_.problems.size() < most_problems) report_.problems.push_back(std::move(twice));
  }
  if (options_.registry) {
    for (registered_model& model : from_.registered_models()) {
      registered_.emplace(model.name, std::move(model));
    }
    for (const auto& [name, model] : registered_) {
      attempt("registered model '" + name + "'", [&] { carry_registered_model(model); });
    }
  }
  for (transfer_problem& one : from_.take_problems()) {
    if (report_.problems.size() < most_problems) report_.problems.push_back(std::move(one));
  }
  report_.left_out = from_.take_left_out();
  return std::move(report_);
}

void transfer_job::report_problem(const std::string& subject, const error& why) {
  if (report_.problems.size() >= most_problems) return;
  report_.problems.push_back({subject, why.code(), why.what()});
}

void transfer_job::attempt(const std::string& subject, const std::function<void()>& work) {
  try {
    work();
  } catch (const error& e) {
    if (is_fatal(e.code())) throw;
    report_problem(subject, e);
  }
}

void transfer_job::step() {
  options_.cancel.check("transfer");
  if (options_.progress) options_.progress(report_);
}

// --- experiments and runs ------------------------------------------------------------------------

void transfer_job::carry_experiment(const experiment& from) {
  const std::string there = experiments_.at(from.id);
  ++report_.experiments;
  from_.visit_runs(from.id, [&](const source_run& run) {
    attempt(run_name(run), [&] { carry_run(run, there); });
    ++report_.runs;
    step();
  });
  from_.visit_models(from.id, [&](const source_model& model) {
    attempt("logged model '" + model.key + "'", [&] { carry_model(model, there); });
    step();
  });
}

const placed_entity* transfer_job::run_there(const std::string& key) {
  if (key.empty()) return nullptr;
  if (const auto known = runs_.find(key); known != runs_.end()) return &known->second;
  const auto run = from_.find_run(key);
  const auto experiment = run ? experiments_.find(run->record.experiment_id) : experiments_.end();
  std::optional<placed_entity> there;
  try {
    if (experiment != experiments_.end()) {
      there = target_->place_run(run->record, experiment->second);
    } else {
      there = target_->find_run(run ? run->record.id : key);
    }
  } catch (const error& e) {
    if (e.code() != errc::failed_precondition) throw;  // deleted over there
  }
  if (!there) return nullptr;
  return &runs_.emplace(key, *std::move(there)).first->second;
}

const placed_entity* transfer_job::model_there(const std::string& key) {
  if (const auto known = models_.find(key); known != models_.end()) return &known->second;
  auto there = target_->find_model(key);
  if (!there) return nullptr;
  return &models_.emplace(key, *std::move(there)).first->second;
}

void transfer_job::carry_run(const source_run& run, const std::string& experiment_id) {
  if (!runs_.contains(run.key))
    runs_.emplace(run.key, target_->place_run(run.record, experiment_id));
  const placed_entity& there = runs_.at(run.key);
  // Told before anything is read: what changes meanwhile is carried over by the next transfer.
  const auto state = options_.files == transfer_files::none ? std::nullopt : from_.state_of(run);
  if (state && *state == there.state && options_.files != transfer_files::all) {
    ++report_.unchanged;
    return;
  }
  run_record record = run.record;
  if (const auto parent = record.tags.find(std::string(parent_tag)); parent != record.tags.end()) {
    if (const placed_entity* const run_of = run_there(parent->second)) parent->second = run_of->id;
  }
  const std::size_t problems = report_.problems.size();
  target_->fill_run(there, record);
  carry_points(run, there.id);
  carry_params(run, there.id);
  attempt("artifacts of " + run_name(run),
          [&] { carry_files(run.record.artifact_uri, there.location); });
  // Only what is there whole is passed over by the next transfer.
  std::string whole = report_.problems.size() == problems ? state.value_or("") : "";
  std::vector<model_use> uses = from_.model_uses(run);
  if (uses.empty()) {
    target_->finish_run(there, record, whole);
  } else {
    open_.push_back({{run.key, std::move(record)}, std::move(whole), std::move(uses)});
  }
}

// All at once or, where one is refused, one by one.
void transfer_job::carry_params(const source_run& run, const std::string& id) {
  if (run.record.params.empty()) return;
  try {
    for (const auto& [key, value] : run.record.params) check_param(key, value);
    to_.log_batch(id, {}, run.record.params, {});
  } catch (const error& e) {
    if (is_fatal(e.code())) throw;
    for (const auto& param : run.record.params) {
      attempt("parameter '" + param.first + "' of " + run_name(run), [&] {
        check_param(param.first, param.second);
        to_.log_batch(id, {}, {param}, {});
      });
    }
  }
}

void transfer_job::carry_points(const source_run& run, const std::string& id) {
  std::vector<metric> points;
  const auto send = [&] {
    std::vector<logged_point> batch;
    batch.reserve(points.size());
    for (const metric& point : points) {
      batch.push_back({id, point.key, point.value, point.step, point.timestamp.value_or(0)});
    }
    send_points(run, batch);
    points.clear();
    options_.cancel.check("transfer");
  };
  // Points of one key come one after the other.
  std::string checked;
  bool is_good = true;
  from_.visit_points(run, [&](const metric& point) {
    if (point.key != checked) {
      checked = point.key;
      const std::size_t problems = report_.problems.size();
      attempt("metric '" + point.key + "' of " + run_name(run),
              [&] { check_metric(point.key, std::nullopt); });
      is_good = report_.problems.size() == problems;
    }
    if (!is_good) return;
    points.push_back(point);
    if (points.size() == points_at_once) send();
  });
  if (!points.empty()) send();
}

// All at once or, where they are refused, key by key.
void transfer_job::send_points(const source_run& run, std::span<const logged_point> points) {
  try {
    to_.log_points(points);
    report_.points += points.size();
  } catch (const error& e) {
    if (is_fatal(e.code())) throw;
    std::map<std::string_view, std::vector<logged_point>> by_key;
    for (const logged_point& point : points) by_key[point.key].push_back(point);
    if (by_key.size() == 1) throw;
    for (const auto& some : by_key) {
      attempt("metric '" + std::string(some.first) + "' of " + run_name(run),
              [&] { send_points(run, some.second); });
    }
  }
}

void transfer_job::finish_runs() {
  for (open_run& open : open_) {
    attempt(run_name(open.run), [&] {
      const placed_entity& there = runs_.at(open.run.key);
      std::vector<model_use> uses;
      for (model_use& use : open.uses) {
        const placed_entity* const model = model_there(use.model_id);
        if (model == nullptr) {
          throw error(errc::not_found, "logged model '" + use.model_id + "'",
                      "the run made or read it, but it was not transferred");
        }
        use.model_id = model->id;
        uses.push_back(use);
      }
      target_->link_models(there, uses);
      target_->finish_run(there, open.run.record, open.state);
    });
  }
  open_.clear();
}

// --- files ---------------------------------------------------------------------------------------

void transfer_job::carry_files(const std::string& from, const std::string& to,
                               const std::function<std::string(std::string)>& edit) {
  if (options_.files == transfer_files::none || from.empty()) return;
  const auto source = from_.files(from);
  const auto folder = source->folder();
  std::shared_ptr<artifact_repository> target;  // not asked for where there is nothing to copy
  bool is_same = false;
  // One listing per folder.
  std::map<std::string, std::map<std::string, std::uint64_t>> there;
  const auto is_there = [&](const artifact_info& file) {
    const std::string parent = fs::path(file.path).parent_path().generic_string();
    auto known = there.find(parent);
    if (known == there.end()) {
      known = there.emplace(parent, std::map<std::string, std::uint64_t>()).first;
      for (const artifact_info& one : target->list(parent)) {
        if (!one.is_directory) known->second[one.path] = one.size;
      }
    }
    const auto found = known->second.find(file.path);
    return found != known->second.end() && found->second == file.size;
  };
  visit_files(*source, "", [&](const artifact_info& file) {
    if (!target) {
      target = to_.artifacts(to);
      // A file store that is imported into a store beside it, which has its artifacts there too.
      std::error_code differ;
      is_same = folder && target->folder() && fs::equivalent(*folder, *target->folder(), differ);
    }
    if (is_same) return;
    options_.cancel.check("transfer");
    if (edit && file.path == "MLmodel") {
      const std::string text = edit(source->read(file.path, most_ml_model));
      target->put_bytes(std::as_bytes(std::span(text)), file.path);
    } else if (options_.files == transfer_files::missing && is_there(file)) {
      return;
    } else if (folder) {
      target->put_file(*folder / file.path, file.path);
    } else if (const auto into = target->folder()) {
      source->fetch_file(file.path, *into / file.path);
    } else {
      const temporary_file between;
      source->fetch_file(file.path, between.path());
      target->put_file(between.path(), file.path);
    }
    ++report_.files;
    report_.bytes += file.size;
  });
}

// --- logged models -------------------------------------------------------------------------------

void transfer_job::carry_model(const source_model& model, const std::string& experiment_id) {
  model_record record = model.record;
  const std::string run_key = record.model.run_id;
  if (const placed_entity* const run = run_there(run_key)) record.model.run_id = run->id;
  const placed_entity there = target_->place_model(record, experiment_id);
  models_[model.key] = there;
  carry_files(record.model.artifact_location, there.location, [&](std::string text) {
    // It names itself, its run and its folder.
    replace_all(text, model.key, there.id);
    replace_all(text, run_key, record.model.run_id);
    replace_all(text, record.model.artifact_location, there.location);
    return text;
  });
  for (model_metric& one : record.metrics) {
    const placed_entity* const run = run_there(one.run_id);
    if (run == nullptr) {
      report_problem("logged model '" + model.key + "'",
                     error(errc::not_found, "run '" + one.run_id + "'",
                           "it measured the metric '" + one.point.key +
                               "' of this model, but was not transferred"));
    }
    one.run_id = run == nullptr ? "" : run->id;
  }
  std::erase_if(record.metrics, [](const model_metric& one) { return one.run_id.empty(); });
  target_->fill_model(there, record);
  ++report_.models;
}

// --- model registry ------------------------------------------------------------------------------

void transfer_job::carry_registered_model(const registered_model& model) {
  target_->place_registered_model(model);
  carry_versions(model.name, std::numeric_limits<std::int64_t>::max());
  carry_aliases(model);
}

void transfer_job::carry_versions(const std::string& name, std::int64_t last) {
  for (const source_version& version : from_.versions(name)) {
    if (version.key > last) continue;
    // Once, also where versions that are copies of each other lead back to it.
    if (!tried_.emplace(name, version.key).second) continue;
    attempt("model version '" + name + "' " + std::to_string(version.key),
            [&] { carry_version(version); });
    step();
  }
}

std::string transfer_job::source_there(const model_version& version, std::string& run_id,
                                       std::string& model_id) {
  constexpr std::string_view models = "models:/";
  constexpr std::string_view runs = "runs:/";
  std::string source = version.source;
  if (const placed_entity* const run = run_there(version.run_id)) run_id = run->id;
  if (source.starts_with(runs)) {
    const std::string key = source.substr(runs.size(), source.find('/', runs.size()) - runs.size());
    if (const placed_entity* const run = run_there(key)) {
      replace_all(source, key, run->id);
      run_id = run->id;
    }
    return source;
  }
  if (source.starts_with(models)) {
    const std::string name = source.substr(models.size());
    const auto slash = name.rfind('/');
    if (slash == std::string::npos) {
      const placed_entity* const model = model_there(name);
      if (model == nullptr) {
        throw error(errc::not_found, "logged model '" + name + "'",
                    "the version was made from it, but it was not transferred");
      }
      model_id = model->id;
      return std::string(models) + model->id;
    }
    // A copy of another version, which goes first.
    const std::string of = name.substr(0, slash);
    std::int64_t number = 0;
    std::from_chars(name.data() + slash + 1, name.data() + name.size(), number);
    const auto other = registered_.find(of);
    if (number <= 0 || other == registered_.end()) return source;
    if (of != version.name) {
      target_->place_registered_model(other->second);
      carry_versions(of, number);
    }
    const auto there = versions_.find({of, number});
    if (there == versions_.end()) return source;
    return std::string(models) + of + "/" + std::to_string(there->second);
  }
  // Below the artifacts of its run.
  if (!version.run_id.empty()) {
    const auto run = from_.find_run(version.run_id);
    const placed_entity* const there = run_there(version.run_id);
    if (run && there != nullptr) {
      if (const auto rest = below(source, run->record.artifact_uri)) {
        return append_location(there->location, *rest);
      }
    }
  }
  return source;
}

void transfer_job::carry_version(const source_version& from) {
  model_version version = from.version;
  std::string model_id;
  version.source = source_there(from.version, version.run_id, model_id);
  versions_[{version.name, from.key}] = target_->place_version(version, model_id);
  ++report_.versions;
}

void transfer_job::carry_aliases(const registered_model& model) {
  const registered_model there = to_.get_registered_model(model.name);
  for (const auto& [alias, key] : model.aliases) {
    const auto number = versions_.find({model.name, key});
    if (number == versions_.end()) continue;  // a problem already
    const auto now = there.aliases.find(alias);
    if (now != there.aliases.end() && now->second == number->second) continue;
    const std::string subject = "alias '" + alias + "' of '" + model.name + "'";
    attempt(subject, [&] {
      if (now != there.aliases.end() && !options_.move_aliases) {
        throw error(errc::already_exists, subject,
                    "it points at version " + std::to_string(now->second) + " over there, not at " +
                        std::to_string(number->second) + "; see transfer_options::move_aliases");
      }
      to_.set_model_alias(model.name, alias, number->second);
    });
  }
}

}  // namespace mizzen::tracking::detail
