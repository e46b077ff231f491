// A backend as the source of a transfer.
#include "tracking/transfer_source.hpp"

#include "core/sha256.hpp"
#include "tracking/backend.hpp"
#include "tracking/validate.hpp"

#include <mizzen/core/json.hpp>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <system_error>
#include <utility>

namespace mizzen::tracking::detail {
namespace {

constexpr std::size_t runs_at_once = 200;
constexpr std::size_t models_at_once = 100;

// What the tag says, unless it is no such id.
std::string original_id(const string_map& tags, std::string_view tag, const std::string& own) {
  const auto found = tags.find(std::string(tag));
  return found != tags.end() && is_entity_id(found->second) ? found->second : own;
}

void drop_bookkeeping(string_map& tags) {
  for (const std::string_view tag : {run_id_tag, model_id_tag, version_tag, state_tag}) {
    tags.erase(std::string(tag));
  }
}

source_run as_source(run_record record) {
  source_run run{.key = record.id, .record = std::move(record)};
  run.record.id = original_id(run.record.tags, run_id_tag, run.key);
  drop_bookkeeping(run.record.tags);
  return run;
}

source_model as_source(model_record record) {
  source_model model{.key = record.model.id, .record = std::move(record)};
  model.record.model.id = original_id(model.record.model.tags, model_id_tag, model.key);
  drop_bookkeeping(model.record.model.tags);
  return model;
}

source_version as_source(model_version version) {
  source_version out{.key = version.version, .version = std::move(version)};
  const auto found = out.version.tags.find(std::string(version_tag));
  if (found != out.version.tags.end()) {
    const char* const end = found->second.data() + found->second.size();
    std::int64_t number = 0;
    std::int64_t time = 0;
    const auto at = std::from_chars(found->second.data(), end, number);
    if (at.ec == std::errc{} && number > 0 && at.ptr != end && *at.ptr == '@' &&
        std::from_chars(at.ptr + 1, end, time).ptr == end) {
      out.version.version = number;
      out.version.creation_time = time;
    }
  }
  drop_bookkeeping(out.version.tags);
  return out;
}

class backend_source final : public transfer_source {
 public:
  explicit backend_source(std::shared_ptr<backend> from) : from_(std::move(from)) {}

  std::vector<experiment> experiments() override {
    return from_->list_experiments(lifecycle_stage::active);
  }

  void visit_runs(const std::string& experiment_id,
                  const std::function<void(source_run)>& visit) override {
    // Runs that begin meanwhile come last, so that no page is shifted.
    run_query query{.experiment_ids = {experiment_id},
                    .order_by = {"start_time ASC"},
                    .max_results = runs_at_once};
    do {
      page<run_record> found = from_->search_runs(query);
      for (run_record& record : found.items) visit(as_source(std::move(record)));
      query.page_token = std::move(found.next_page_token);
    } while (!query.page_token.empty());
  }

  std::optional<source_run> find_run(const std::string& key) override {
    try {
      run_record record = from_->get_run(key);
      if (record.stage == lifecycle_stage::deleted) return std::nullopt;
      return as_source(std::move(record));
    } catch (const error& e) {
      if (e.code() == errc::not_found || e.code() == errc::invalid_argument) return std::nullopt;
      throw;
    }
  }

  void visit_points(const source_run& run,
                    const std::function<void(const metric&)>& visit) override {
    for (const auto& [key, latest] : run.record.metrics) {
      from_->visit_metric_history(run.key, key, [&](const metric& point) {
        visit(point);
        return true;
      });
    }
  }

  std::optional<std::string> state_of(const source_run& run) override {
    const auto points = from_->count_points(run.key);
    if (!points) return std::nullopt;
    const run_record& record = run.record;
    json all = {{"name", record.name},
                {"user", record.user},
                {"status", to_string(record.status)},
                {"start", record.start_time},
                {"end", record.end_time.value_or(0)},
                {"params", record.params},
                {"tags", record.tags},
                {"points", *points},
                {"models", record.model_ids},
                {"used", record.input_model_ids}};
    for (const auto& [key, latest] : record.metrics) {
      all["latest"][key] = {latest.step, latest.timestamp.value_or(0),
                            std::to_string(latest.value)};
    }
    for (const dataset_input& input : record.inputs) {
      all["inputs"].push_back({input.dataset.name, input.dataset.digest, input.tags});
    }
    try {
      add_files(all["files"], record.artifact_uri);
    } catch (const error& e) {
      // Whoever is to copy them will say so.
      if (is_fatal(e.code())) throw;
      return std::nullopt;
    }
    return mizzen::detail::sha256_hex(all.dump(-1, ' ', false, json::error_handler_t::replace))
        .substr(0, 32);
  }

  std::vector<model_use> model_uses(const source_run& run) override {
    const bool none = run.record.model_ids.empty() && run.record.input_model_ids.empty();
    // A server's search leaves out the models that a run has read.
    if (none && !from_->is_remote()) return {};
    return from_->model_uses(run.key);
  }

  void visit_models(const std::string& experiment_id,
                    const std::function<void(source_model)>& visit) override {
    logged_model_query query{.experiment_ids = {experiment_id},
                             .order_by = {{.field = "creation_timestamp"}},
                             .max_results = models_at_once};
    do {
      page<logged_model> found = from_->search_logged_models(query);
      for (const logged_model& model : found.items) {
        visit(as_source(from_->get_model_record(model.id)));
      }
      query.page_token = std::move(found.next_page_token);
    } while (!query.page_token.empty());
  }

  std::vector<registered_model> registered_models() override {
    return from_->list_registered_models();
  }

  std::vector<source_version> versions(const std::string& name) override {
    std::vector<source_version> all;
    for (model_version& version : from_->list_model_versions(name)) {
      all.push_back(as_source(std::move(version)));
    }
    std::sort(all.begin(), all.end(), [](const source_version& a, const source_version& b) {
      return a.version.version < b.version.version;
    });
    return all;
  }

  std::shared_ptr<artifact_repository> files(const std::string& location) override {
    return from_->artifacts(location);
  }

 private:
  // Name, size and time of change of each file, where they are at hand.
  void add_files(json& list, const std::string& location) {
    const auto repository = from_->artifacts(location);
    const auto folder = repository->folder();
    visit_files(*repository, "", [&](const artifact_info& file) {
      std::int64_t changed = 0;
      if (folder) {
        std::error_code ignored;
        const auto time = std::filesystem::last_write_time(*folder / file.path, ignored);
        if (!ignored) changed = time.time_since_epoch().count();
      }
      list.push_back({file.path, file.size, changed});
    });
  }

  std::shared_ptr<backend> from_;
};

}  // namespace

std::unique_ptr<transfer_source> make_backend_source(std::shared_ptr<backend> from) {
  return std::make_unique<backend_source>(std::move(from));
}

bool is_fatal(errc code) noexcept {
  switch (code) {
    case errc::cancelled:
    case errc::deadline_exceeded:
    case errc::resource_exhausted:
    case errc::unauthenticated:
    case errc::unavailable:
    case errc::internal:
    case errc::unknown:
      return true;
    default:
      return false;
  }
}

std::string version_identity(std::int64_t number, std::int64_t creation_time) {
  return std::to_string(number) + "@" + std::to_string(creation_time);
}

}  // namespace mizzen::tracking::detail
