#include "tracking/backend.hpp"
#include "tracking/run_state.hpp"
#include "tracking/validate.hpp"
#include "tracking/writer.hpp"

#include <mizzen/tracking/client.hpp>

#include <algorithm>
#include <utility>

namespace mizzen::tracking {

client::client(client_options options)
    : backend_(detail::open_backend(options)), writer_(detail::open_writer(backend_, options)) {}

const std::string& client::uri() const noexcept { return backend_->uri(); }

experiment client::create_experiment(std::string_view name, const experiment_options& options) {
  return backend_->create_experiment(name, options);
}
experiment client::get_experiment(std::string_view id) const {
  return backend_->get_experiment(id);
}
std::optional<experiment> client::find_experiment(std::string_view name) const {
  return backend_->find_experiment(name);
}
experiment client::get_or_create_experiment(std::string_view name,
                                            const experiment_options& options) {
  return backend_->get_or_create_experiment(name, options);
}
std::vector<experiment> client::list_experiments(std::optional<lifecycle_stage> stage) const {
  return backend_->list_experiments(stage);
}
page<experiment> client::search_experiments(const experiment_query& query) const {
  return backend_->search_experiments(query);
}
void client::set_experiment_tag(std::string_view id, std::string_view key, std::string_view value) {
  backend_->set_experiment_tag(id, key, value);
}

run client::start_run(std::string_view experiment, run_options options) {
  detail::add_process_tags(options);
  writer_->log();  // before there is a run that could not be logged to
  const std::string id = backend_->get_or_create_experiment(experiment, {}).id;
  run started(std::make_unique<run::state>(backend_, writer_, backend_->start_run(id, options)));
  started.set_up(options);
  return started;
}
run client::resume_run(std::string_view run_id) {
  writer_->log();
  return run(std::make_unique<run::state>(backend_, writer_, backend_->resume_run(run_id)));
}
run_record client::get_run(std::string_view run_id) const {
  detail::settle(*writer_, *backend_);
  return backend_->get_run(run_id);
}
page<run_record> client::search_runs(const run_query& query) const {
  detail::settle(*writer_, *backend_);
  return backend_->search_runs(query);
}
std::vector<metric> client::metric_history(std::string_view run_id, std::string_view key) const {
  detail::settle(*writer_, *backend_);
  return backend_->metric_history(run_id, key);
}
void client::visit_metric_history(std::string_view run_id, std::string_view key,
                                  const std::function<bool(const metric&)>& visit) const {
  detail::settle(*writer_, *backend_);
  backend_->visit_metric_history(run_id, key, visit);
}
std::vector<logged_model> client::list_logged_models(std::string_view run_id) const {
  return backend_->list_logged_models(run_id);
}
logged_model client::get_logged_model(std::string_view model_id) const {
  return backend_->get_logged_model(model_id);
}
page<logged_model> client::search_logged_models(const logged_model_query& query) const {
  return backend_->search_logged_models(query);
}

namespace {

std::shared_ptr<detail::artifact_repository> artifacts_of(detail::backend& backend,
                                                          std::string_view run_id) {
  return backend.artifacts(backend.get_run(run_id).artifact_uri);
}

}  // namespace

std::vector<artifact_info> client::list_artifacts(std::string_view run_id,
                                                  std::string_view artifact_path) const {
  detail::check_artifact_path("artifact_path", artifact_path, true);
  return artifacts_of(*backend_, run_id)->list(artifact_path);
}
std::string client::read_artifact(std::string_view run_id, std::string_view artifact_file,
                                  std::size_t most) const {
  detail::check_artifact_path("artifact_file", artifact_file, false);
  return artifacts_of(*backend_, run_id)->read(artifact_file, most);
}
std::filesystem::path client::download_artifacts(std::string_view run_id,
                                                 const std::filesystem::path& folder,
                                                 std::string_view artifact_path) const {
  return detail::fetch_into(*artifacts_of(*backend_, run_id), artifact_path, folder);
}
void client::download_model(const logged_model& model, const std::filesystem::path& folder) const {
  detail::fetch_tree(*backend_->artifacts(model.artifact_location), "", folder);
}

registered_model client::create_registered_model(std::string_view name,
                                                 const registered_model_options& options) {
  return backend_->create_registered_model(name, options);
}
registered_model client::get_registered_model(std::string_view name) const {
  return backend_->get_registered_model(name);
}
std::vector<registered_model> client::list_registered_models() const {
  return backend_->list_registered_models();
}
page<registered_model> client::search_registered_models(const registered_model_query& query) const {
  return backend_->search_registered_models(query);
}
model_version client::register_model(std::string_view name, const logged_model& model,
                                     const model_version_options& options) {
  return backend_->register_model(name, model.uri, options);
}
model_version client::register_model(std::string_view name, std::string_view source,
                                     const model_version_options& options) {
  return backend_->register_model(name, source, options);
}
model_version client::get_model_version(std::string_view name, std::int64_t version) const {
  return backend_->get_model_version(name, version);
}
model_version client::get_model_version_by_alias(std::string_view name,
                                                 std::string_view alias) const {
  return backend_->get_model_version_by_alias(name, alias);
}
std::vector<model_version> client::list_model_versions(std::string_view name) const {
  return backend_->list_model_versions(name);
}
page<model_version> client::search_model_versions(const model_version_query& query) const {
  return backend_->search_model_versions(query);
}
void client::set_model_alias(std::string_view name, std::string_view alias, std::int64_t version) {
  backend_->set_model_alias(name, alias, version);
}
void client::delete_model_alias(std::string_view name, std::string_view alias) {
  backend_->delete_model_alias(name, alias);
}
void client::set_registered_model_tag(std::string_view name, std::string_view key,
                                      std::string_view value) {
  backend_->set_registered_model_tag(name, key, value);
}
void client::set_model_version_tag(std::string_view name, std::int64_t version,
                                   std::string_view key, std::string_view value) {
  backend_->set_model_version_tag(name, version, key, value);
}

bool client::flush(deadline until) { return writer_->flush(until, detail::drain::upto::all_sinks); }
writer_status client::status() const { return writer_->status(); }

// --- changes and deletion ------------------------------------------------------------------------

void client::delete_experiment_tag(std::string_view id, std::string_view key) {
  backend_->delete_experiment_tag(id, key);
}
void client::rename_experiment(std::string_view id, std::string_view name) {
  backend_->rename_experiment(id, name);
}
void client::delete_experiment(std::string_view id) {
  detail::settle(*writer_, *backend_);
  backend_->set_experiment_stage(id, lifecycle_stage::deleted);
}
void client::restore_experiment(std::string_view id) {
  backend_->set_experiment_stage(id, lifecycle_stage::active);
}
void client::rename_run(std::string_view run_id, std::string_view name) {
  backend_->rename_run(run_id, name);
}
void client::delete_run(std::string_view run_id) {
  detail::settle(*writer_, *backend_);  // what was logged before cannot be written after
  backend_->set_run_stage(run_id, lifecycle_stage::deleted);
}
void client::restore_run(std::string_view run_id) {
  backend_->set_run_stage(run_id, lifecycle_stage::active);
}
page<metric> client::metric_history_page(std::string_view run_id, std::string_view key,
                                         std::size_t max_results,
                                         std::string_view page_token) const {
  detail::settle(*writer_, *backend_);
  return backend_->metric_history_page(run_id, key, max_results, page_token);
}
std::map<std::string, std::vector<metric>> client::metric_histories(
    std::span<const std::string> run_ids, std::string_view key) const {
  detail::settle(*writer_, *backend_);
  return backend_->metric_histories(run_ids, key);
}
std::map<std::string, std::vector<metric>> client::sample_metric_histories(
    std::span<const std::string> run_ids, std::string_view key,
    const history_sample& options) const {
  detail::settle(*writer_, *backend_);
  return backend_->sample_metric_histories(run_ids, key, options);
}

// --- logged models, traces, webhooks -------------------------------------------------------------

logged_model client::create_logged_model(std::string_view experiment_id,
                                         const logged_model_options& options) {
  return backend_->create_logged_model(experiment_id, options);
}
void client::log_model_params(std::string_view model_id, const string_map& params) {
  backend_->log_model_params(model_id, params);
}
void client::log_model_metrics(std::string_view model_id, std::string_view run_id,
                               std::span<const metric> points, const dataset_filter& measured_on) {
  backend_->log_model_metrics(model_id, run_id, points, measured_on);
}
logged_model client::finalize_logged_model(std::string_view model_id, logged_model_status status) {
  return backend_->finalize_logged_model(model_id, status);
}
span client::start_trace(std::string_view name, const trace_options& options) {
  return span::start(backend_, name, options);
}
void client::log_trace(const trace& whole) { backend_->log_trace(whole); }
trace client::get_trace(std::string_view trace_id) const { return backend_->get_trace(trace_id); }
trace_info client::get_trace_info(std::string_view trace_id) const {
  return backend_->get_trace_info(trace_id);
}
page<trace_info> client::search_traces(const trace_query& query) const {
  return backend_->search_traces(query);
}
void client::set_trace_tag(std::string_view trace_id, std::string_view key,
                           std::string_view value) {
  backend_->set_trace_tag(trace_id, key, value);
}
void client::delete_trace_tag(std::string_view trace_id, std::string_view key) {
  backend_->delete_trace_tag(trace_id, key);
}
std::size_t client::delete_traces(std::string_view experiment_id,
                                  std::span<const std::string> trace_ids) {
  return backend_->delete_traces(experiment_id, trace_ids);
}
std::size_t client::delete_traces_until(std::string_view experiment_id, std::int64_t time,
                                        std::optional<std::size_t> most) {
  return backend_->delete_traces_until(experiment_id, time, most);
}
webhook client::create_webhook(const webhook_options& options) {
  return backend_->create_webhook(options);
}
webhook client::get_webhook(std::string_view id) const { return backend_->get_webhook(id); }
page<webhook> client::list_webhooks(std::size_t max_results, std::string_view page_token) const {
  return backend_->list_webhooks(max_results, page_token);
}
webhook client::update_webhook(std::string_view id, const webhook_update& changes) {
  return backend_->update_webhook(id, changes);
}
void client::delete_webhook(std::string_view id) { backend_->delete_webhook(id); }
webhook_test_result client::test_webhook(std::string_view id, std::string_view event) {
  return backend_->test_webhook(id, event);
}

void client::set_logged_model_tag(std::string_view model_id, std::string_view key,
                                  std::string_view value) {
  backend_->set_logged_model_tag(model_id, key, value);
}
void client::delete_logged_model_tag(std::string_view model_id, std::string_view key) {
  backend_->delete_logged_model_tag(model_id, key);
}
void client::delete_logged_model(std::string_view model_id) {
  backend_->delete_logged_model(model_id);
}
void client::delete_registered_model_tag(std::string_view name, std::string_view key) {
  backend_->delete_registered_model_tag(name, key);
}
void client::delete_model_version_tag(std::string_view name, std::int64_t version,
                                      std::string_view key) {
  backend_->delete_model_version_tag(name, version, key);
}
registered_model client::rename_registered_model(std::string_view name, std::string_view new_name) {
  return backend_->rename_registered_model(name, new_name);
}
registered_model client::update_registered_model(std::string_view name,
                                                 std::string_view description) {
  return backend_->update_registered_model(name, description);
}
model_version client::update_model_version(std::string_view name, std::int64_t version,
                                           std::string_view description) {
  return backend_->update_model_version(name, version, description);
}
void client::delete_registered_model(std::string_view name) {
  backend_->delete_registered_model(name);
}
void client::delete_model_version(std::string_view name, std::int64_t version) {
  backend_->delete_model_version(name, version);
}
model_version client::transition_model_version(std::string_view name, std::int64_t version,
                                               model_stage stage, bool archive_existing) {
  return backend_->transition_model_version(name, version, stage, archive_existing);
}
std::vector<stage_change> client::stage_history(std::string_view name,
                                                std::optional<std::int64_t> version) const {
  return backend_->stage_history(name, version);
}
std::vector<model_version> client::latest_model_versions(
    std::string_view name, const std::vector<model_stage>& stages) const {
  std::vector<model_version> latest;
  const auto has = [](const auto& list, auto&& same) {
    return std::find_if(list.begin(), list.end(), same) != list.end();
  };
  for (model_version& version : backend_->list_model_versions(name)) {  // newest first
    const auto same = [&](model_stage stage) { return stage == version.stage; };
    if (!stages.empty() && !has(stages, same)) continue;
    if (has(latest, [&](const model_version& v) { return same(v.stage); })) continue;
    latest.push_back(std::move(version));
  }
  return latest;
}
model_version client::copy_model_version(std::string_view name, std::int64_t version,
                                         std::string_view to) {
  return backend_->copy_model_version(name, version, to);
}
std::string client::model_version_download_uri(std::string_view name, std::int64_t version) const {
  return backend_->model_version_download_uri(name, version);
}

tracking::lineage client::lineage() const { return tracking::lineage(backend_); }

}  // namespace mizzen::tracking
