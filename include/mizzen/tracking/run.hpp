// The handle on a run that is being written.
#pragma once

#include <mizzen/core/deadline.hpp>
#include <mizzen/core/json_fwd.hpp>
#include <mizzen/tracking/table.hpp>
#include <mizzen/tracking/types.hpp>

#include <charconv>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace mizzen::tracking {

class figure;

namespace detail {
class backend;
class drain;
}  // namespace detail

struct metric_options {
  std::int64_t step = 0;  // any 64-bit number, also negative
  std::optional<std::int64_t> timestamp =
      std::nullopt;  // Unix milliseconds, not negative; default now
};

// What run::log_batch writes in one transaction. MLflow's limits: 1,000 metrics, 100 parameters,
// 100 tags, 1,000 of all together.
struct batch {
  std::vector<metric> metrics = {};
  string_map params = {};
  string_map tags = {};
};

// Which facts about the process (process_facts.hpp) become tags of a run that it starts.
enum class recorded_facts {
  none,
  cheap,  // what gather_process_facts() reads by default: some 0.3 ms
  all,    // also whether the Git work tree is dirty, for which it runs `git`
};

struct run_options {
  std::string name = {};  // empty: a made-up one, as "brisk-heron-417"
  string_map tags = {};   // win over those that Mizzen sets itself
  string_map params = {};
  std::string parent_run_id = {};  // makes it a nested run (tag mlflow.parentRunId)
  std::string description = {};    // tag mlflow.note.content, which MLflow's UI shows
  std::optional<std::int64_t> start_time = std::nullopt;  // Unix milliseconds; default now
  recorded_facts facts = recorded_facts::cheap;
  // Whether a thread logs system metrics (system_metrics.hpp) until the run ends. Default: whether
  // MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING is "true" or "1".
  std::optional<bool> system_metrics = std::nullopt;
  // Folder of a content_store (content_store.hpp) that keeps the run's artifacts once each; in the
  // run's folder, which stays a plain one that MLflow reads, they are links or copies. Empty: none.
  // Not for models, nor for artifacts behind a server: error(unimplemented).
  std::string content_store = {};
};

struct input_options {
  std::string context = {};  // tag mlflow.data.context: "training", "evaluation" …
  string_map tags = {};
};

struct model_options {
  std::string name = "model";      // not empty, none of / : . % " '
  model_signature signature = {};  // empty: MLflow shows none
  string_map params = {};          // parameters of the model itself
  string_map tags = {};
  string_map metadata = {};  // free text kept in the file MLmodel
};

// A run that this process writes. Move-only; obtained from client::start_run, client::resume_run or
// start_child. Keeps the store open by itself, so it may outlive its client. One that was moved
// from may only be destroyed or assigned to.
//
// Thread safety: every member but the moves, the destructor and finish/fail/end may be called from
// several threads at once on the same handle; several handles and processes may write one run.
//
// Promise: when a log_* or set_* member returns, what it wrote survives the death of the process
// (SIGKILL included). Metrics are in the write-ahead log then, from which a thread moves them to
// the store within some tens of milliseconds (see writer.hpp); everything else is in the store.
// Reads through this run and its client, and its end, wait for the metrics logged before. Against
// power loss see client_options::durability (artifact files are written whole, but not forced to
// the disk). A member that throws has written nothing, except where it says so.
//
// What can befall a metric after its call: the log is full or the disk is (the point is refused),
// or the store rejects it, because the run was deleted meanwhile. Neither is thrown at the loop:
// both are counted in client::status() and reported to client_options::log.
//
// Ending: finish() or fail() end it explicitly. A handle that is destroyed without that ends the
// run as FAILED when an exception that was thrown after the handle was made is unwinding the stack,
// else as FINISHED; it never throws (a store that cannot be written is reported to
// client_options::log). A process that is killed leaves the run RUNNING. In a child after fork()
// the handle is dead: its destructor does nothing and its members throw error(failed_precondition).
//
// Errors of all members: invalid_argument (subject names the field: "metric.key", "param.value" …);
// of all but log_metric and log_metrics: not_found (no such run), failed_precondition (the run is
// deleted), unavailable (other writers kept the store busy until client_options::busy_timeout),
// resource_exhausted (disk full), permission_denied, data_loss (damaged store).
class run {
 public:
  run(run&& other) noexcept;
  run& operator=(run&& other) noexcept;  // ends the run that was held, as the destructor does
  ~run();

  const std::string& id() const noexcept;
  const std::string& experiment_id() const noexcept;
  const std::string& name() const noexcept;

  // Absolute folder of its artifacts: <artifact root>/<experiment id>/<run id>/artifacts. Made on
  // first use. Throws error(unimplemented) if they are not on this file system but behind a server:
  // the members below work there too.
  const std::filesystem::path& artifact_directory() const;

  // Adds a point. key: at most 250 characters, letters, digits, _ - . : / and space, not a path
  // that resolves elsewhere (as "../a"); beyond ASCII any character passes, where MLflow takes
  // letters only. NaN is kept as NaN, an infinity as the largest finite
  // number of its sign, which is what MLflow does. A point logged twice is there once. Without a
  // timestamp it is of the wall clock, wherever that jumps; steps, not times, order a metric.
  // Well under a microsecond, and it does not wait for the drain (nor for the disk, unless
  // client_options::durability asks for it).
  void log_metric(std::string_view key, double value, metric_options options = {});

  // Several keys at one step; all are checked before the first is written.
  void log_metrics(std::initializer_list<std::pair<std::string_view, double>> values,
                   metric_options options = {});

  // Any number of points, also more than fit the log when writer_options::patience lets it wait.
  // All are checked before the first is written.
  void log_metrics(std::span<const metric> points);

  // Sets a parameter (at most 6,000 characters). A parameter cannot change: another value for a key
  // that has one is error(already_exists); the same value again is fine.
  void log_param(std::string_view key, std::string_view value);

  // Numbers are written shortest-exact, bool as Python does: "True".
  template <typename T>
    requires std::is_arithmetic_v<T>
  void log_param(std::string_view key, T value) {
    if constexpr (std::same_as<T, bool>) {
      log_param(key, std::string_view(value ? "True" : "False"));
    } else {
      char text[64];
      const auto end = std::to_chars(text, text + sizeof text, value).ptr;
      log_param(key, std::string_view(text, static_cast<std::size_t>(end - text)));
    }
  }

  // Any number of parameters; 100 at a time, each hundred in one transaction.
  void log_params(const string_map& params);

  // Sets or replaces a tag (at most 8,000 characters).
  void set_tag(std::string_view key, std::string_view value);
  void set_tags(const string_map& tags);

  // Throws error(not_found) if the run has no such tag.
  void delete_tag(std::string_view key);

  // Metrics, parameters and tags in one transaction: all or nothing.
  void log_batch(const batch& values);

  // Says that the run used a dataset; recorded in the lineage graph too (dataset -> run, "input").
  void log_input(const dataset& data, const input_options& options = {});

  // Copies a file (or a folder with all that is in it) below the artifacts, into the folder
  // artifact_path ("" is the top). Files appear whole or not at all.
  void log_artifact(const std::filesystem::path& local, std::string_view artifact_path = {});

  // Writes one artifact, as "plots/confusion.svg"; an existing one is replaced.
  void log_text(std::string_view text, std::string_view artifact_file);
  void log_json(const json& value, std::string_view artifact_file);
  void log_bytes(std::span<const std::byte> bytes, std::string_view artifact_file);

  // As YAML where the name ends in .yml or .yaml, else as JSON (MLflow's log_dict). NaN and
  // infinities are null in JSON, which has none.
  void log_dict(const json& value, std::string_view artifact_file);

  // A table that MLflow's load_table reads and its UI shows; the name ends in .json. If it is
  // there, rows are added below its own (columns that one side lacks are empty there), safely from
  // several threads and processes. Noted in the tag mlflow.loggedArtifacts. Each call writes the
  // whole file.
  //   run.log_table({{"input", {"a", "b"}}, {"score", {0.5, 0.25}}}, "eval.json");
  // Throws error(invalid_argument) for columns of several lengths or one name, error(data_loss) if
  // what is there is no table.
  void log_table(const table& columns, std::string_view artifact_file);

  // As SVG or PNG (of twice its size), by the ending of the name: .svg or .png.
  void log_figure(const figure& drawn, std::string_view artifact_file);

  // Direct entries of a folder of the artifacts, by name. Empty if it does not exist.
  std::vector<artifact_info> list_artifacts(std::string_view artifact_path = {}) const;

  // The bytes of one artifact; error(resource_exhausted) beyond `most`, error(not_found).
  std::string read_artifact(std::string_view artifact_file,
                            std::size_t most = std::size_t{64} << 20) const;

  // Copies an artifact, or a folder of them with all that is below it ("": all there are), into a
  // folder under its own name. Returns where it is: folder/<last part of artifact_path>. Throws
  // error(not_found).
  std::filesystem::path download_artifacts(const std::filesystem::path& folder,
                                           std::string_view artifact_path = {}) const;

  // Removes an artifact, or a folder of them with all that is below it; none is fine.
  void delete_artifacts(std::string_view artifact_path);

  // Keeps an ONNX model as an MLflow model: the folder loads with mlflow.onnx.load_model and
  // mlflow.pyfunc.load_model from the returned uri, and client::register_model takes the result.
  // The bytes are not looked into. Recorded in the lineage graph (run -> model, "output").
  logged_model log_model(const std::filesystem::path& onnx_file, const model_options& options = {});
  logged_model log_model(std::span<const std::byte> onnx, const model_options& options = {});

  // Starts a run nested in this one, in the same experiment.
  run start_child(run_options options = {});

  // What the store holds of it now, after what was logged before.
  run_record get() const;

  // As client::flush.
  bool flush(deadline until = deadline::never());

  // End it; a second end, and any member that writes after it, still work on the run's record as
  // they do in MLflow (a finished run may be added to), but the handle no longer ends it.
  void finish();
  void fail();
  void end(run_status status);

 private:
  friend class client;
  friend class system_metrics;
  struct state;
  explicit run(std::unique_ptr<state> held) noexcept;
  // Another handle on the same run, which does not end it.
  run second_handle() const;
  void set_up(const run_options& options);
  std::unique_ptr<state> state_;
};

}  // namespace mizzen::tracking
