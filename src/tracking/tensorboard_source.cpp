// Event files of TensorBoard as the source of a transfer.
#include "core/sha256.hpp"
#include "tracking/event_reader.hpp"
#include "tracking/import_sources.hpp"
#include "tracking/validate.hpp"

#include <mizzen/core/error.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <system_error>
#include <utility>

namespace mizzen::tracking::detail {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t most_runs = 1'000'000;
constexpr std::size_t most_tags = 100'000;  // of a run
constexpr std::size_t most_reports = 1000;

struct event_run {
  std::string name;
  std::vector<fs::path> files;  // in TensorBoard's order
};

// The runs of a folder, by path.
std::map<std::string, event_run> find_runs(const fs::path& root) {
  std::map<std::string, event_run> runs;
  try {
    for (const auto& entry : fs::recursive_directory_iterator(root)) {
      std::error_code ignored;
      if (!entry.is_regular_file(ignored)) continue;
      const std::string file = entry.path().filename().string();
      if (file.find("tfevents") == std::string::npos) continue;
      const std::string path = entry.path().parent_path().lexically_relative(root).generic_string();
      event_run& run = runs[path];
      run.name = path == "." ? root.filename().string() : path;
      run.files.push_back(entry.path());
      if (runs.size() > most_runs) {
        throw error(errc::resource_exhausted, "folder '" + root.string() + "'",
                    "it has more than 1,000,000 runs");
      }
    }
  } catch (const fs::filesystem_error& e) {
    throw error(errc::permission_denied, "folder '" + root.string() + "'", e.what());
  }
  for (auto& [path, run] : runs) std::sort(run.files.begin(), run.files.end());
  return runs;
}

// Unix milliseconds; nothing where a clock cannot have said so.
std::optional<std::int64_t> millis(double wall_time) {
  constexpr double most = 1e12;  // seconds: the year 33658
  if (!(wall_time >= 0 && wall_time < most)) return std::nullopt;
  return std::llround(wall_time * 1000);
}

// A tag as a key of MLflow, without regard to others.
std::string plain_key(std::string_view tag) {
  std::string key;
  std::size_t characters = 0;
  for (const char c : tag) {
    const bool first_byte = (static_cast<unsigned char>(c) & 0xc0U) != 0x80;
    if (first_byte && ++characters > limits::key_length) break;
    key += c;
  }
  try {
    check_key("tag", key);
    return key;
  } catch (const error&) {  // one by one, then
  }
  std::string mended;
  for (const char c : key) {
    const char one[] = {'a', c, 'a', '\0'};
    bool good = true;
    try {
      check_key("tag", one);
    } catch (const error&) {
      good = static_cast<unsigned char>(c) >= 0x80;
    }
    mended += good ? c : '_';
  }
  try {
    check_key("tag", mended);
    return mended;
  } catch (const error&) {  // a path that leads elsewhere, or bytes that are no text
    for (char& c : mended) {
      if (static_cast<unsigned char>(c) >= 0x80 || c == '/' || c == '.') c = '_';
    }
  }
  return mended.empty() ? "_" : mended;
}

class tensorboard_source final : public transfer_source {
 public:
  tensorboard_source(const fs::path& folder, std::string experiment)
      : experiment_(std::move(experiment)), runs_(find_runs(folder)) {}

  std::vector<experiment> experiments() override {
    if (runs_.empty()) return {};
    return {{.id = "tensorboard", .name = experiment_}};
  }

  void visit_runs(const std::string&, const std::function<void(source_run)>& visit) override {
    for (const auto& [path, run] : runs_) visit(as_source(path, run));
  }

  std::optional<source_run> find_run(const std::string& key) override {
    const auto found = runs_.find(key);
    if (found == runs_.end()) return std::nullopt;
    return as_source(key, found->second);
  }

  void visit_points(const source_run& run,
                    const std::function<void(const metric&)>& visit) override {
    // By tag: whether its metadata told of another plugin than scalars, and its key.
    std::map<std::string, std::string> plugins;
    std::map<std::string, std::string> keys;
    std::map<std::string, std::string> tags;  // by key
    std::map<std::string, std::string> others;
    const auto key_of = [&](const std::string& tag) -> const std::string& {
      if (const auto known = keys.find(tag); known != keys.end()) return known->second;
      if (keys.size() == most_tags) {
        throw error(errc::resource_exhausted, "run '" + run.record.name + "'",
                    "it has more than 100,000 tags");
      }
      std::string key = plain_key(tag);
      const bool cut = key.size() < tag.size();
      if (cut || !tags.try_emplace(key, tag).second) {
        while (key.size() > limits::key_length - 9 ||
               (!key.empty() && (static_cast<unsigned char>(key.back()) & 0xc0U) == 0x80)) {
          key.pop_back();
        }
        if (!key.empty() && static_cast<unsigned char>(key.back()) >= 0xc0) key.pop_back();
        key += "_" + mizzen::detail::sha256_hex(tag).substr(0, 8);
        tags.try_emplace(key, tag);
      }
      return keys.emplace(tag, std::move(key)).first->second;
    };
    read(runs_.at(run.key), true, [&](const event_record& event) {
      const auto time = millis(event.wall_time);
      for (const event_value& value : event.values) {
        if (!value.plugin.empty() && plugins.size() < most_tags) {
          plugins.try_emplace(value.tag, value.plugin);
        }
        const auto plugin = plugins.find(value.tag);
        const bool other = plugin != plugins.end() && plugin->second != "scalars";
        if (!value.number || other) {
          if (others.size() < most_reports) {
            others.try_emplace(value.tag, other ? plugin->second : std::string(value.kind));
          }
          continue;
        }
        if (!time) {
          report(run, "an event at step " + std::to_string(event.step) + " has no time");
          continue;
        }
        visit({key_of(value.tag), *value.number, event.step, *time});
      }
    });
    for (const auto& [tag, kind] : others) {
      if (left_out_.size() == most_reports) break;
      left_out_.push_back({"tag '" + tag + "' of run '" + run.record.name + "'",
                           errc::unimplemented,
                           "it is of the kind '" + (kind.empty() ? "unknown" : kind) +
                               "'; only scalars are imported"});
    }
    for (const auto& [tag, key] : keys) {
      if (key == tag || left_out_.size() == most_reports) continue;
      left_out_.push_back({"tag '" + tag + "' of run '" + run.record.name + "'",
                           errc::invalid_argument,
                           "MLflow has no such key: it is the metric '" + key + "'"});
    }
  }

  std::optional<std::string> state_of(const source_run& run) override {
    std::string all;
    for (const fs::path& file : runs_.at(run.key).files) {
      std::error_code ignored;
      all += file.filename().string() + " " + std::to_string(fs::file_size(file, ignored)) + "\n";
    }
    return mizzen::detail::sha256_hex(all).substr(0, 32);
  }

  std::shared_ptr<artifact_repository> files(const std::string& location) override {
    return file_repository(location);
  }

  std::vector<transfer_problem> take_problems() override { return std::move(problems_); }
  std::vector<transfer_problem> take_left_out() override { return std::move(left_out_); }

 private:
  source_run as_source(const std::string& path, const event_run& run) {
    source_run out{.key = path};
    run_record& record = out.record;
    record.id = mizzen::detail::sha256_hex("tensorboard\n" + path + "\n" +
                                           run.files.front().filename().string())
                    .substr(0, 32);
    record.experiment_id = "tensorboard";
    record.name = run.name;
    record.status = run_status::finished;
    record.tags = {{"mlflow.source.name", "TensorBoard"}, {"mlflow.source.type", "LOCAL"}};
    double first = std::numeric_limits<double>::infinity();
    double last = 0;
    read(run, false, [&](const event_record& event) {
      if (!millis(event.wall_time)) return;
      first = std::min(first, event.wall_time);
      last = std::max(last, event.wall_time);
    });
    record.start_time = millis(first).value_or(0);
    record.end_time = std::max(record.start_time, millis(last).value_or(0));
    return out;
  }

  // All events of all files; what is damaged is noted and passed over.
  void read(const event_run& run, bool report_damage,
            const std::function<void(const event_record&)>& visit) {
    for (const fs::path& path : run.files) {
      std::optional<event_file_reader> file;
      std::size_t damaged = 0;
      for (;;) {
        std::optional<event_record> event;
        try {
          if (!file) file.emplace(path);
          event = file->next();
          if (!event) break;
        } catch (const error& e) {
          if (report_damage && damaged++ < 10 && problems_.size() < most_reports) {
            problems_.push_back({e.subject(), e.code(), e.message()});
          }
          if (!file || !file->can_go_on()) break;
          continue;
        }
        visit(*event);
      }
      if (report_damage && file && file->passed_over() != 0 && left_out_.size() < most_reports) {
        left_out_.push_back(
            {"event file '" + path.string() + "'", errc::unimplemented,
             std::to_string(file->passed_over()) + " events are larger than any scalar"});
      }
    }
  }

  void report(const source_run& run, const std::string& what) {
    if (problems_.size() >= most_reports) return;
    problems_.push_back({"run '" + run.record.name + "'", errc::data_loss, what});
  }

  std::string experiment_;
  std::map<std::string, event_run> runs_;
  std::vector<transfer_problem> problems_;
  std::vector<transfer_problem> left_out_;
};

}  // namespace

std::unique_ptr<transfer_source> make_tensorboard_source(const fs::path& folder,
                                                         std::string experiment) {
  return std::make_unique<tensorboard_source>(folder, std::move(experiment));
}

}  // namespace mizzen::tracking::detail
