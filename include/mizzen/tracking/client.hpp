// The way into a store: experiments, runs, models, lineage.
#pragma once

#include <mizzen/core/deadline.hpp>
#include <mizzen/core/log.hpp>
#include <mizzen/tracking/lineage.hpp>
#include <mizzen/tracking/run.hpp>
#include <mizzen/tracking/search.hpp>
#include <mizzen/tracking/server_options.hpp>
#include <mizzen/tracking/trace.hpp>
#include <mizzen/tracking/types.hpp>
#include <mizzen/tracking/webhook.hpp>
#include <mizzen/tracking/writer.hpp>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mizzen::tracking {

namespace detail {
struct client_parts;
}

// What a write that has returned survives.
enum class durability {
  process,  // the death of the process, SIGKILL included. A power cut may take the last seconds
            // (since the last checkpoint), never the integrity (SQLite synchronous=NORMAL in WAL)
  power,    // a power cut too, for about 2 ms more per write (synchronous=FULL)
};

struct client_options {
  // "sqlite:///relative.db", "sqlite:////absolute.db" or a plain path. Empty: the environment's
  // MLFLOW_TRACKING_URI, else sqlite:///mlflow.db in the working directory, as MLflow has it.
  // An MLflow tracking server: "http://host:5000", "https://user:password@host/prefix".
  std::string uri = {};
  // Folder (path, file: or s3: URI) for the artifacts of experiments made here. Empty: the
  // folder mlruns beside the store's file. Stored absolute, so that MLflow finds it from anywhere.
  std::string artifact_root = {};
  tracking::durability durability = durability::process;
  // How long a call waits for other writers before error(unavailable).
  std::chrono::milliseconds busy_timeout = std::chrono::seconds(20);
  // Whether a missing or empty file becomes a new store; else it is error(not_found).
  bool create = true;
  // Who runs: column user_id and tag mlflow.user. Empty: the name of the process's user.
  std::string user = {};
  // How a tracking server is reached. artifact_root, durability of all but metrics, busy_timeout of
  // all but reads and create are for embedded stores only.
  server_options server = {};
  // The write-ahead log that metrics go through; with a server also parameters, tags and the ends
  // of runs.
  writer_options writer = {};
  // Told about what cannot be thrown: points that were refused or rejected, a store that cannot be
  // reached, a run that could not be ended by its destructor, calls of a server that are repeated.
  logger log = {};
};

struct experiment_options {
  std::string artifact_location = {};  // empty: <artifact root>/<experiment id>
  string_map tags = {};
};

struct registered_model_options {
  std::string description = {};
  string_map tags = {};
};

struct model_version_options {
  std::string run_id = {};
  std::string description = {};
  string_map tags = {};
};

// An open store: an SQLite file with the schema of MLflow 3.17 and the tables mizzen_* beside it,
// which is switched to write-ahead logging when it is opened. Cheap to copy (copies share the
// store), and safe to use from several threads; any number of clients, processes and MLflow itself
// may work on one file at once. Opened before fork() it is dead in the child, whose calls throw
// error(failed_precondition): make a client there.
//
// Opening throws: invalid_argument (uri), not_found, permission_denied (unreadable or read-only
// store), failed_precondition (a directory, or a schema of another MLflow version: both revisions
// and what mends it are named), data_loss (not a database, damaged, or tables missing), unavailable
// (busy), unimplemented (http).
class client {
 public:
  explicit client(client_options options = {});
  // As above from the URI alone. (A template so that braces always mean client_options.)
  template <typename Uri>
    requires std::convertible_to<const Uri&, std::string_view>
  explicit client(const Uri& uri)
      : client(client_options{.uri = std::string(std::string_view(uri))}) {}

  // The store's URI in MLflow's form, absolute: `mlflow ui --backend-store-uri <this>`.
  const std::string& uri() const noexcept;

  // --- experiments -------------------------------------------------------------------------------

  // Throws error(already_exists), also when a deleted experiment has the name.
  experiment create_experiment(std::string_view name, const experiment_options& options = {});
  // Throws error(not_found).
  experiment get_experiment(std::string_view id) const;
  std::optional<experiment> find_experiment(std::string_view name) const;
  // Finds it by name or makes it; safe when several processes do so at once. A deleted experiment
  // of that name is error(failed_precondition).
  experiment get_or_create_experiment(std::string_view name,
                                      const experiment_options& options = {});
  // By id. stage nullopt: active and deleted.
  std::vector<experiment> list_experiments(
      std::optional<lifecycle_stage> stage = lifecycle_stage::active) const;
  // Throws error(invalid_argument): a filter, order or page token that cannot be read. So do the
  // searches below.
  page<experiment> search_experiments(const experiment_query& query = {}) const;
  void set_experiment_tag(std::string_view id, std::string_view key, std::string_view value);

  void delete_experiment_tag(std::string_view id, std::string_view key);
  // Throws error(already_exists).
  void rename_experiment(std::string_view id, std::string_view name);
  // Into MLflow's recycle bin and back, with its runs.
  void delete_experiment(std::string_view id);
  void restore_experiment(std::string_view id);

  // --- runs --------------------------------------------------------------------------------------

  // Starts a run in the experiment of that name, which is made if need be. Tags that MLflow's
  // client would set are set: mlflow.user, mlflow.runName, mlflow.source.name (the program),
  // mlflow.source.type, mlflow.source.git.*; and facts about the process (run_options::facts).
  run start_run(std::string_view experiment = "Default", run_options options = {});
  // Goes on writing a run: marks it RUNNING again. Throws error(not_found).
  run resume_run(std::string_view run_id);
  // Throws error(not_found).
  run_record get_run(std::string_view run_id) const;
  page<run_record> search_runs(const run_query& query = {}) const;
  void rename_run(std::string_view run_id, std::string_view name);
  // Into MLflow's recycle bin and back. A deleted run can be read, not written.
  void delete_run(std::string_view run_id);
  void restore_run(std::string_view run_id);
  // All points of one metric by timestamp, then step, then value, as MLflow orders them. Empty if
  // there are none; throws error(not_found) if there is no such run.
  std::vector<metric> metric_history(std::string_view run_id, std::string_view key) const;
  // As above, point by point in bounded memory, of one moment, however long it takes; visit may use
  // this client. It ends when visit returns false.
  void visit_metric_history(std::string_view run_id, std::string_view key,
                            const std::function<bool(const metric&)>& visit) const;
  // As metric_history, a page at a time: 1 to 25,000 points.
  page<metric> metric_history_page(std::string_view run_id, std::string_view key,
                                   std::size_t max_results = 25'000,
                                   std::string_view page_token = {}) const;
  // All points of one metric of several runs, by run id; those that have none, or that are not
  // there, are left out.
  std::map<std::string, std::vector<metric>> metric_histories(std::span<const std::string> run_ids,
                                                              std::string_view key) const;
  // As above but few points of each run, spread evenly over all of them by step, the first and the
  // last among them: what a chart needs.
  std::map<std::string, std::vector<metric>> sample_metric_histories(
      std::span<const std::string> run_ids, std::string_view key,
      const history_sample& options = {}) const;

  // --- logged models -----------------------------------------------------------------------------

  // Logged models of a run, oldest first; one by its id ("m-…").
  std::vector<logged_model> list_logged_models(std::string_view run_id) const;
  logged_model get_logged_model(std::string_view model_id) const;
  page<logged_model> search_logged_models(const logged_model_query& query = {}) const;
  // A model whose files come from elsewhere (run::log_model does all of it for an ONNX model): it
  // is pending until finalize_logged_model.
  logged_model create_logged_model(std::string_view experiment_id,
                                   const logged_model_options& options = {});
  // Any number; a parameter that the model has already is error(already_exists).
  void log_model_params(std::string_view model_id, const string_map& params);
  // Points that a run measured of the model, on a dataset where one is named; they are logged as
  // metrics of the run too. NaN, which MLflow has no place for here, is error(invalid_argument).
  void log_model_metrics(std::string_view model_id, std::string_view run_id,
                         std::span<const metric> points, const dataset_filter& measured_on = {});
  // status: ready or failed.
  logged_model finalize_logged_model(std::string_view model_id, logged_model_status status);
  void set_logged_model_tag(std::string_view model_id, std::string_view key,
                            std::string_view value);
  void delete_logged_model_tag(std::string_view model_id, std::string_view key);
  // Its files stay, as in MLflow.
  void delete_logged_model(std::string_view model_id);

  // --- artifacts ---------------------------------------------------------------------------------

  // As run::list_artifacts, read_artifact and download_artifacts, of any run.
  std::vector<artifact_info> list_artifacts(std::string_view run_id,
                                            std::string_view artifact_path = {}) const;
  std::string read_artifact(std::string_view run_id, std::string_view artifact_file,
                            std::size_t most = std::size_t{64} << 20) const;
  std::filesystem::path download_artifacts(std::string_view run_id,
                                           const std::filesystem::path& folder,
                                           std::string_view artifact_path = {}) const;
  // All files of a logged model, into the folder itself.
  void download_model(const logged_model& model, const std::filesystem::path& folder) const;

  // --- model registry ----------------------------------------------------------------------------

  // Throws error(already_exists).
  registered_model create_registered_model(std::string_view name,
                                           const registered_model_options& options = {});
  registered_model get_registered_model(std::string_view name) const;
  std::vector<registered_model> list_registered_models() const;
  page<registered_model> search_registered_models(const registered_model_query& query = {}) const;
  // Makes the next version of a registered model, and the registered model if need be. Recorded in
  // the lineage graph (model or run -> model_version, "registered").
  model_version register_model(std::string_view name, const logged_model& model,
                               const model_version_options& options = {});
  // As above from a source: "models:/m-…", "runs:/<run id>/<path>", a path or a URI.
  model_version register_model(std::string_view name, std::string_view source,
                               const model_version_options& options = {});
  model_version get_model_version(std::string_view name, std::int64_t version) const;
  model_version get_model_version_by_alias(std::string_view name, std::string_view alias) const;
  // Newest first.
  std::vector<model_version> list_model_versions(std::string_view name) const;
  page<model_version> search_model_versions(const model_version_query& query = {}) const;
  // Points an alias ("champion") at a version, from wherever it pointed. "latest" and "v1" forms
  // are reserved by MLflow.
  void set_model_alias(std::string_view name, std::string_view alias, std::int64_t version);
  void delete_model_alias(std::string_view name, std::string_view alias);
  void set_registered_model_tag(std::string_view name, std::string_view key,
                                std::string_view value);
  void set_model_version_tag(std::string_view name, std::int64_t version, std::string_view key,
                             std::string_view value);

  // --- traces ------------------------------------------------------------------------------------

  // Begins a trace with its root span of that name; see trace.hpp for when it is written.
  span start_trace(std::string_view name, const trace_options& options = {});
  // Writes a trace that is given whole. Written again, spans and the rest replace those of before
  // by their ids; none is taken away. info.id may not be empty.
  void log_trace(const trace& whole);
  // Throws error(not_found); error(unimplemented) when an embedded store knows of the trace but has
  // not its spans (MLflow kept them in files).
  trace get_trace(std::string_view trace_id) const;
  trace_info get_trace_info(std::string_view trace_id) const;
  page<trace_info> search_traces(const trace_query& query = {}) const;
  void set_trace_tag(std::string_view trace_id, std::string_view key, std::string_view value);
  void delete_trace_tag(std::string_view trace_id, std::string_view key);
  // For good. Those of the experiment by their ids, or those that began until a time (Unix
  // milliseconds), the oldest first and at most `most`. How many there were.
  std::size_t delete_traces(std::string_view experiment_id, std::span<const std::string> trace_ids);
  std::size_t delete_traces_until(std::string_view experiment_id, std::int64_t time,
                                  std::optional<std::size_t> most = {});

  // --- webhooks of the registry ------------------------------------------------------------------

  // A tracking server calls them. An embedded store only keeps them, for a server that is started
  // on it later; what Mizzen itself changes there calls nobody.
  webhook create_webhook(const webhook_options& options);
  webhook get_webhook(std::string_view id) const;
  // Newest first. max_results: 1 to 1,000.
  page<webhook> list_webhooks(std::size_t max_results = 100,
                              std::string_view page_token = {}) const;
  webhook update_webhook(std::string_view id, const webhook_update& changes);
  void delete_webhook(std::string_view id);
  // Makes the server call it with a sample of that event (empty: its first one). Throws
  // error(unimplemented) for an embedded store.
  webhook_test_result test_webhook(std::string_view id, std::string_view event = {});

  // --- the log -----------------------------------------------------------------------------------

  // Waits until what was logged before, by all runs of this client, is in the store; also what
  // processes that died had left (when this client was opened). False: the deadline came first.
  // What the store rejected counts as done: see writer_status.
  bool flush(deadline until = deadline::never());
  // Where the log stands. Any thread may ask at any time; it never waits.
  writer_status status() const;

  void delete_registered_model_tag(std::string_view name, std::string_view key);
  void delete_model_version_tag(std::string_view name, std::int64_t version, std::string_view key);
  // Throws error(already_exists). Versions, tags and aliases go along.
  registered_model rename_registered_model(std::string_view name, std::string_view new_name);
  // Replaces the description.
  registered_model update_registered_model(std::string_view name, std::string_view description);
  model_version update_model_version(std::string_view name, std::int64_t version,
                                     std::string_view description);
  // For good: with all versions; one version, whose number is not given again. Files stay.
  void delete_registered_model(std::string_view name);
  void delete_model_version(std::string_view name, std::int64_t version);
  // Moves a version to a stage. archive_existing: the other versions in that stage (staging or
  // production) become archived. MLflow prefers aliases today.
  model_version transition_model_version(std::string_view name, std::int64_t version,
                                         model_stage stage, bool archive_existing = false);
  // Every move that Mizzen made, oldest first; of one version, or of all of the model. Kept in the
  // table mizzen_stage_history; moves that MLflow itself made are not there. A server keeps no such
  // history: error(unimplemented).
  std::vector<stage_change> stage_history(std::string_view name,
                                          std::optional<std::int64_t> version = {}) const;
  // The newest version in each stage; of these stages only, when some are given.
  std::vector<model_version> latest_model_versions(
      std::string_view name, const std::vector<model_stage>& stages = {}) const;
  // Makes a version the next version of another registered model, made if need be.
  model_version copy_model_version(std::string_view name, std::int64_t version,
                                   std::string_view to);
  // Where its files are.
  std::string model_version_download_uri(std::string_view name, std::int64_t version) const;

  // --- lineage -----------------------------------------------------------------------------------

  // The lineage graph of this store; shares it as a copy of the client would.
  tracking::lineage lineage() const;

 private:
  friend struct detail::client_parts;
  std::shared_ptr<detail::backend> backend_;
  std::shared_ptr<detail::drain> writer_;
};

}  // namespace mizzen::tracking
