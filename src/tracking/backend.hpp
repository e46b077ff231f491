// What client, run and lineage stand on: an embedded store, or a tracking server.
#pragma once

#include "tracking/artifact_repository.hpp"
#include "tracking/model_record.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/tracking/client.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mizzen::tracking::detail {

class transfer_target;

// A point on its way from the log to the store. The views live as long as the call.
struct logged_point {
  std::string_view run_id;
  std::string_view key;
  double value;
  std::int64_t step;
  std::int64_t timestamp;
};

// A failure that passes, whatever its code says: something in front of the server answered in its
// place, or the server asks to be left alone for a while.
class passing_error : public error {
 public:
  explicit passing_error(const error& what, std::chrono::milliseconds wait = {})
      : error(what), wait_(wait) {}
  // What the other side asked for; 0: nothing.
  std::chrono::milliseconds wait() const noexcept { return wait_; }

 private:
  std::chrono::milliseconds wait_;
};

// Members mean what the public members of client, run and lineage of the same name say, and throw
// what is said there. Every one is thread safe, and is one change: all of it happens or nothing,
// but where the server's API has no such call (see rest_backend).
class backend {
 public:
  backend() = default;
  backend(const backend&) = delete;
  backend& operator=(const backend&) = delete;
  virtual ~backend() = default;

  // What client::uri() gives.
  virtual const std::string& uri() const noexcept = 0;
  virtual const logger& log() const noexcept = 0;
  // Whether this is the process that opened it: after fork() the child must not use it.
  virtual bool is_own_process() const noexcept = 0;
  // Makes calls that wait for a server, and all later ones, fail with error(cancelled): for a
  // process that must end although its server is dead. Nothing to do for an embedded store.
  virtual void interrupt() noexcept {}

  // The same store for who repeats by himself what fails, as the drain does: a call is tried once,
  // and what passes is told apart by passing_error. Null: this one is like that.
  virtual std::shared_ptr<backend> without_patience() const { return nullptr; }

  // Whether it is reached over a network: then parameters and tags go through the log too.
  virtual bool is_remote() const noexcept { return false; }

  // --- experiments -------------------------------------------------------------------------------

  virtual experiment create_experiment(std::string_view name,
                                       const experiment_options& options) = 0;
  virtual experiment get_experiment(std::string_view id) = 0;
  virtual std::optional<experiment> find_experiment(std::string_view name) = 0;
  virtual experiment get_or_create_experiment(std::string_view name,
                                              const experiment_options& options) = 0;
  virtual std::vector<experiment> list_experiments(std::optional<lifecycle_stage> stage) = 0;
  virtual page<experiment> search_experiments(const experiment_query& query) = 0;
  virtual void set_experiment_tag(std::string_view id, std::string_view key,
                                  std::string_view value) = 0;

  // --- runs --------------------------------------------------------------------------------------

  virtual run_record start_run(std::string_view experiment_id, const run_options& options) = 0;
  virtual run_record resume_run(std::string_view run_id) = 0;
  // ended: when it did (Unix milliseconds); default now. Ignored where the status ends nothing.
  virtual void end_run(std::string_view run_id, run_status status,
                       std::optional<std::int64_t> ended = std::nullopt) = 0;
  virtual run_record get_run(std::string_view run_id) = 0;
  virtual page<run_record> search_runs(const run_query& query) = 0;

  virtual void log_metric(std::string_view run_id, std::string_view key, double value,
                          std::int64_t step, std::int64_t timestamp) = 0;
  // Checked by the caller (check_batch). Idempotent: points, parameters and tags that are there
  // already stay as they are, so that a batch whose answer was lost may be sent again.
  virtual void log_batch(std::string_view run_id, std::span<const metric> metrics,
                         const string_map& params, const string_map& tags) = 0;
  // Points of any runs and in any number, for the drain of the log. Idempotent. An embedded store
  // writes them in one transaction; this does it by log_batch, run by run, a thousand at a time.
  virtual void log_points(std::span<const logged_point> points);
  virtual void delete_tag(std::string_view run_id, std::string_view key) = 0;
  virtual void log_input(std::string_view run_id, const dataset& data,
                         const input_options& options) = 0;
  virtual std::vector<metric> metric_history(std::string_view run_id, std::string_view key) = 0;
  virtual void visit_metric_history(std::string_view run_id, std::string_view key,
                                    const std::function<bool(const metric&)>& visit) = 0;

  // --- logged models -----------------------------------------------------------------------------

  // A logged model is made pending, its files are written to its folder, then it is made ready.
  virtual logged_model create_logged_model(std::string_view run_id,
                                           const model_options& options) = 0;
  virtual void finish_logged_model(const logged_model& model) = 0;
  virtual void fail_logged_model(const logged_model& model, std::string_view reason) = 0;
  virtual logged_model get_logged_model(std::string_view model_id) = 0;
  virtual std::vector<logged_model> list_logged_models(std::string_view run_id) = 0;
  virtual page<logged_model> search_logged_models(const logged_model_query& query) = 0;

  virtual page<metric> metric_history_page(std::string_view run_id, std::string_view key,
                                           std::size_t max_results,
                                           std::string_view page_token) = 0;
  virtual std::map<std::string, std::vector<metric>> metric_histories(
      std::span<const std::string> run_ids, std::string_view key) = 0;
  virtual std::map<std::string, std::vector<metric>> sample_metric_histories(
      std::span<const std::string> run_ids, std::string_view key,
      const history_sample& options) = 0;
  virtual logged_model create_logged_model(std::string_view experiment_id,
                                           const logged_model_options& options) = 0;
  virtual void log_model_params(std::string_view model_id, const string_map& params) = 0;
  virtual void log_model_metrics(std::string_view model_id, std::string_view run_id,
                                 std::span<const metric> points,
                                 const dataset_filter& measured_on) = 0;
  virtual logged_model finalize_logged_model(std::string_view model_id,
                                             logged_model_status status) = 0;

  // --- traces ------------------------------------------------------------------------------------

  virtual void log_trace(const trace& whole) = 0;
  virtual trace get_trace(std::string_view trace_id) = 0;
  virtual trace_info get_trace_info(std::string_view trace_id) = 0;
  virtual page<trace_info> search_traces(const trace_query& query) = 0;
  virtual void set_trace_tag(std::string_view trace_id, std::string_view key,
                             std::string_view value) = 0;
  virtual void delete_trace_tag(std::string_view trace_id, std::string_view key) = 0;
  virtual std::size_t delete_traces(std::string_view experiment_id,
                                    std::span<const std::string> trace_ids) = 0;
  virtual std::size_t delete_traces_until(std::string_view experiment_id, std::int64_t time,
                                          std::optional<std::size_t> most) = 0;

  // --- webhooks ----------------------------------------------------------------------------------

  virtual webhook create_webhook(const webhook_options& options) = 0;
  virtual webhook get_webhook(std::string_view id) = 0;
  virtual page<webhook> list_webhooks(std::size_t max_results, std::string_view page_token) = 0;
  virtual webhook update_webhook(std::string_view id, const webhook_update& changes) = 0;
  virtual void delete_webhook(std::string_view id) = 0;
  virtual webhook_test_result test_webhook(std::string_view id, std::string_view event) = 0;

  // --- model registry ----------------------------------------------------------------------------

  virtual registered_model create_registered_model(std::string_view name,
                                                   const registered_model_options& options) = 0;
  virtual registered_model get_registered_model(std::string_view name) = 0;
  virtual std::vector<registered_model> list_registered_models() = 0;
  virtual page<registered_model> search_registered_models(const registered_model_query& query) = 0;
  virtual model_version register_model(std::string_view name, std::string_view source,
                                       const model_version_options& options) = 0;
  virtual model_version get_model_version(std::string_view name, std::int64_t version) = 0;
  virtual model_version get_model_version_by_alias(std::string_view name,
                                                   std::string_view alias) = 0;
  virtual std::vector<model_version> list_model_versions(std::string_view name) = 0;
  virtual page<model_version> search_model_versions(const model_version_query& query) = 0;
  virtual void set_model_alias(std::string_view name, std::string_view alias,
                               std::int64_t version) = 0;
  virtual void delete_model_alias(std::string_view name, std::string_view alias) = 0;
  virtual void set_registered_model_tag(std::string_view name, std::string_view key,
                                        std::string_view value) = 0;
  virtual void set_model_version_tag(std::string_view name, std::int64_t version,
                                     std::string_view key, std::string_view value) = 0;

  // --- changes and deletion ----------------------------------------------------------------------

  virtual void rename_experiment(std::string_view id, std::string_view name) = 0;
  virtual void set_experiment_stage(std::string_view id, lifecycle_stage stage) = 0;
  virtual void delete_experiment_tag(std::string_view id, std::string_view key) = 0;
  virtual void set_run_stage(std::string_view run_id, lifecycle_stage stage) = 0;
  virtual void rename_run(std::string_view run_id, std::string_view name) = 0;
  virtual void set_logged_model_tag(std::string_view model_id, std::string_view key,
                                    std::string_view value) = 0;
  virtual void delete_logged_model_tag(std::string_view model_id, std::string_view key) = 0;
  virtual void delete_logged_model(std::string_view model_id) = 0;
  virtual registered_model rename_registered_model(std::string_view name,
                                                   std::string_view new_name) = 0;
  virtual registered_model update_registered_model(std::string_view name,
                                                   std::string_view description) = 0;
  virtual void delete_registered_model(std::string_view name) = 0;
  virtual void delete_registered_model_tag(std::string_view name, std::string_view key) = 0;
  virtual model_version update_model_version(std::string_view name, std::int64_t version,
                                             std::string_view description) = 0;
  virtual void delete_model_version(std::string_view name, std::int64_t version) = 0;
  virtual void delete_model_version_tag(std::string_view name, std::int64_t version,
                                        std::string_view key) = 0;
  virtual model_version transition_model_version(std::string_view name, std::int64_t version,
                                                 model_stage stage, bool archive_existing) = 0;
  virtual std::vector<stage_change> stage_history(std::string_view name,
                                                  std::optional<std::int64_t> version) = 0;
  virtual model_version copy_model_version(std::string_view name, std::int64_t version,
                                           std::string_view to) = 0;
  virtual std::string model_version_download_uri(std::string_view name, std::int64_t version) = 0;

  // --- artifacts ---------------------------------------------------------------------------------

  // Where the files of an artifact location (of a run, an experiment, a model) are kept. Throws
  // error(unimplemented) for a location that cannot be reached from here.
  virtual std::shared_ptr<artifact_repository> artifacts(std::string_view location) = 0;

  // --- transfers ---------------------------------------------------------------------------------

  virtual model_record get_model_record(std::string_view model_id) = 0;
  virtual std::vector<model_use> model_uses(std::string_view run_id) = 0;
  // How many points each metric of a run has; nothing where only reading them all would tell.
  virtual std::optional<std::map<std::string, std::uint64_t>> count_points(
      std::string_view run_id) = 0;
  // Lives no longer than the backend.
  virtual std::unique_ptr<transfer_target> receive() = 0;
  // Held as long as the result lives. Throws error(unavailable) where it is held already.
  virtual std::shared_ptr<void> lock_for_transfer() { return nullptr; }

  // --- lineage -----------------------------------------------------------------------------------

  virtual std::string record_node(const lineage_node& node) = 0;
  virtual void link_nodes(std::string_view from, std::string_view to,
                          std::string_view relation) = 0;
  virtual lineage_node get_node(std::string_view id) = 0;
  virtual std::optional<lineage_node> find_node(std::string_view kind, std::string_view name,
                                                std::string_view version) = 0;
  virtual lineage_graph reachable_nodes(std::string_view id, lineage_direction direction) = 0;
  virtual lineage_graph all_nodes() = 0;
};

// Opens what the options' URI names: a file the embedded store, http(s):// a tracking server (which
// is not called yet). Throws what client's constructor says.
std::shared_ptr<backend> open_backend(const client_options& options);

}  // namespace mizzen::tracking::detail
