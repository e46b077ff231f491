// The embedded store: MLflow's schema in one SQLite file.
#pragma once

#include "tracking/artifact_stores.hpp"
#include "tracking/backend.hpp"
#include "tracking/search_sql.hpp"
#include "tracking/sqlite.hpp"

#include <mizzen/tracking/client.hpp>

#include <sys/types.h>

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mizzen::tracking::detail {

// Thread safe. Writers share one connection under a lock, readers another, so that a long search
// does not hold up who logs; other processes are kept apart by SQLite. Every public member is one
// transaction: all of it happens or nothing.
class store final : public backend {
 public:
  explicit store(const client_options& options);
  ~store() override;

  const std::string& uri() const noexcept override { return uri_; }
  const logger& log() const noexcept override { return log_; }
  // Whether this is the process that opened the store.
  bool is_own_process() const noexcept override;
  void interrupt() noexcept override { artifact_stores_.interrupt(); }

  experiment create_experiment(std::string_view name, const experiment_options& options) override;
  experiment get_experiment(std::string_view id) override;
  std::optional<experiment> find_experiment(std::string_view name) override;
  experiment get_or_create_experiment(std::string_view name,
                                      const experiment_options& options) override;
  std::vector<experiment> list_experiments(std::optional<lifecycle_stage> stage) override;
  page<experiment> search_experiments(const experiment_query& query) override;
  void set_experiment_tag(std::string_view id, std::string_view key,
                          std::string_view value) override;

  run_record start_run(std::string_view experiment_id, const run_options& options) override;
  run_record resume_run(std::string_view run_id) override;
  void end_run(std::string_view run_id, run_status status,
               std::optional<std::int64_t> ended) override;
  run_record get_run(std::string_view run_id) override;
  page<run_record> search_runs(const run_query& query) override;

  void log_metric(std::string_view run_id, std::string_view key, double value, std::int64_t step,
                  std::int64_t timestamp) override;
  // Checked by the caller (check_batch).
  void log_batch(std::string_view run_id, std::span<const metric> metrics, const string_map& params,
                 const string_map& tags) override;
  void log_points(std::span<const logged_point> points) override;
  void delete_tag(std::string_view run_id, std::string_view key) override;
  void log_input(std::string_view run_id, const dataset& data,
                 const input_options& options) override;
  std::vector<metric> metric_history(std::string_view run_id, std::string_view key) override;
  void visit_metric_history(std::string_view run_id, std::string_view key,
                            const std::function<bool(const metric&)>& visit) override;

  // A logged model is made pending, its files are written to its folder, then it is made ready.
  logged_model create_logged_model(std::string_view run_id, const model_options& options) override;
  void finish_logged_model(const logged_model& model) override;
  void fail_logged_model(const logged_model& model, std::string_view reason) override;
  logged_model get_logged_model(std::string_view model_id) override;
  std::vector<logged_model> list_logged_models(std::string_view run_id) override;
  page<logged_model> search_logged_models(const logged_model_query& query) override;

  registered_model create_registered_model(std::string_view name,
                                           const registered_model_options& options) override;
  registered_model get_registered_model(std::string_view name) override;
  std::vector<registered_model> list_registered_models() override;
  page<registered_model> search_registered_models(const registered_model_query& query) override;
  model_version register_model(std::string_view name, std::string_view source,
                               const model_version_options& options) override;
  model_version get_model_version(std::string_view name, std::int64_t version) override;
  model_version get_model_version_by_alias(std::string_view name, std::string_view alias) override;
  std::vector<model_version> list_model_versions(std::string_view name) override;
  page<model_version> search_model_versions(const model_version_query& query) override;
  void set_model_alias(std::string_view name, std::string_view alias,
                       std::int64_t version) override;
  void delete_model_alias(std::string_view name, std::string_view alias) override;
  void set_registered_model_tag(std::string_view name, std::string_view key,
                                std::string_view value) override;
  void set_model_version_tag(std::string_view name, std::int64_t version, std::string_view key,
                             std::string_view value) override;

  // See store_edit.cpp.
  void rename_experiment(std::string_view id, std::string_view name) override;
  void set_experiment_stage(std::string_view id, lifecycle_stage stage) override;
  void delete_experiment_tag(std::string_view id, std::string_view key) override;
  void set_run_stage(std::string_view run_id, lifecycle_stage stage) override;
  void rename_run(std::string_view run_id, std::string_view name) override;
  void set_logged_model_tag(std::string_view model_id, std::string_view key,
                            std::string_view value) override;
  void delete_logged_model_tag(std::string_view model_id, std::string_view key) override;
  void delete_logged_model(std::string_view model_id) override;
  registered_model rename_registered_model(std::string_view name,
                                           std::string_view new_name) override;
  registered_model update_registered_model(std::string_view name,
                                           std::string_view description) override;
  void delete_registered_model(std::string_view name) override;
  void delete_registered_model_tag(std::string_view name, std::string_view key) override;
  model_version update_model_version(std::string_view name, std::int64_t version,
                                     std::string_view description) override;
  void delete_model_version(std::string_view name, std::int64_t version) override;
  void delete_model_version_tag(std::string_view name, std::int64_t version,
                                std::string_view key) override;
  // See store_stages.cpp.
  model_version transition_model_version(std::string_view name, std::int64_t version,
                                         model_stage stage, bool archive_existing) override;
  std::vector<stage_change> stage_history(std::string_view name,
                                          std::optional<std::int64_t> version) override;
  model_version copy_model_version(std::string_view name, std::int64_t version,
                                   std::string_view to) override;
  std::string model_version_download_uri(std::string_view name, std::int64_t version) override;

  // See store_read.cpp, store_logged_models.cpp, store_traces.cpp and store_webhooks.cpp.
  page<metric> metric_history_page(std::string_view run_id, std::string_view key,
                                   std::size_t max_results, std::string_view page_token) override;
  std::map<std::string, std::vector<metric>> metric_histories(std::span<const std::string> run_ids,
                                                              std::string_view key) override;
  std::map<std::string, std::vector<metric>> sample_metric_histories(
      std::span<const std::string> run_ids, std::string_view key,
      const history_sample& options) override;
  logged_model create_logged_model(std::string_view experiment_id,
                                   const logged_model_options& options) override;
  void log_model_params(std::string_view model_id, const string_map& params) override;
  void log_model_metrics(std::string_view model_id, std::string_view run_id,
                         std::span<const metric> points,
                         const dataset_filter& measured_on) override;
  logged_model finalize_logged_model(std::string_view model_id,
                                     logged_model_status status) override;
  void log_trace(const trace& whole) override;
  trace get_trace(std::string_view trace_id) override;
  trace_info get_trace_info(std::string_view trace_id) override;
  page<trace_info> search_traces(const trace_query& query) override;
  void set_trace_tag(std::string_view trace_id, std::string_view key,
                     std::string_view value) override;
  void delete_trace_tag(std::string_view trace_id, std::string_view key) override;
  std::size_t delete_traces(std::string_view experiment_id,
                            std::span<const std::string> trace_ids) override;
  std::size_t delete_traces_until(std::string_view experiment_id, std::int64_t time,
                                  std::optional<std::size_t> most) override;
  webhook create_webhook(const webhook_options& options) override;
  webhook get_webhook(std::string_view id) override;
  page<webhook> list_webhooks(std::size_t max_results, std::string_view page_token) override;
  webhook update_webhook(std::string_view id, const webhook_update& changes) override;
  void delete_webhook(std::string_view id) override;
  webhook_test_result test_webhook(std::string_view id, std::string_view event) override;

  std::shared_ptr<artifact_repository> artifacts(std::string_view location) override;

  // See store_transfer.cpp.
  model_record get_model_record(std::string_view model_id) override;
  std::vector<model_use> model_uses(std::string_view run_id) override;
  std::optional<std::map<std::string, std::uint64_t>> count_points(
      std::string_view run_id) override;
  std::unique_ptr<transfer_target> receive() override;
  std::shared_ptr<void> lock_for_transfer() override;

  std::string record_node(const lineage_node& node) override;
  void link_nodes(std::string_view from, std::string_view to, std::string_view relation) override;
  lineage_node get_node(std::string_view id) override;
  std::optional<lineage_node> find_node(std::string_view kind, std::string_view name,
                                        std::string_view version) override;
  lineage_graph reachable_nodes(std::string_view id, lineage_direction direction) override;
  lineage_graph all_nodes() override;

 private:
  friend class store_target;
  void check_process() const;

  // Runs work(connection&) in a transaction on the writers' connection.
  template <typename Work>
  auto writing(Work&& work) {
    check_process();
    const std::scoped_lock lock(writer_mutex_);
    transaction scope(*writer_, transaction::kind::write);
    if constexpr (std::is_void_v<std::invoke_result_t<Work, connection&>>) {
      work(*writer_);
      scope.commit();
    } else {
      auto result = work(*writer_);
      scope.commit();
      return result;
    }
  }

  // Runs work(connection&) on one snapshot of the store.
  template <typename Work>
  auto reading(Work&& work) {
    check_process();
    const std::scoped_lock lock(reader_mutex_);
    transaction scope(*reader_, transaction::kind::read);
    auto result = work(*reader_);
    scope.commit();
    return result;
  }

  pid_t process_;
  std::chrono::milliseconds busy_timeout_;
  const char* synchronous_;  // the pragma of the durability that was asked for
  std::string uri_;
  std::string artifact_root_;
  std::string user_;
  std::string program_;
  logger log_;
  std::mutex writer_mutex_;
  std::unique_ptr<connection> writer_;
  std::unique_ptr<connection> drainer_;  // of log_points, under the writers' lock; made when needed
  std::mutex reader_mutex_;
  std::unique_ptr<connection> reader_;
  found_rows found_runs_;  // of the last search, under the readers' lock
  artifact_stores artifact_stores_;
};

// Throws not_found, or failed_precondition if the run is deleted.
void require_active_run(connection& on, std::string_view run_id);

// Inserts a point unless it is there, and moves the latest point on where the new one is later.
void insert_metric(connection& on, std::string_view run_id, std::string_view key, double value,
                   std::int64_t step, std::int64_t timestamp);

// Records a node or an edge within the caller's transaction.
std::string record_node_in(connection& on, const lineage_node& node);
// The node of a run of this store. It stays the same when the run is renamed.
std::string run_node_in(connection& on, std::string_view run_id);
void link_nodes_in(connection& on, std::string_view from, std::string_view to,
                   std::string_view relation);

}  // namespace mizzen::tracking::detail
