// The entities of tracking, as values. Names and meanings are MLflow's
// (mlflow/protos/service.proto and model_registry.proto, MLflow 3.17); every time is in
// milliseconds since 1970-01-01 UTC, which is what mizzen::unix_millis() returns.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mizzen::tracking {

// Tags, parameters, attributes. An ordered map, so that what is printed is stable.
using string_map = std::map<std::string, std::string>;

// RunStatus of MLflow. A run is `running` until somebody ends it: a killed process leaves it so.
enum class run_status { running, scheduled, finished, failed, killed };

// MLflow's spelling: "RUNNING", "FINISHED" …
std::string_view to_string(run_status status) noexcept;

// Reads MLflow's spelling. Throws error(invalid_argument).
run_status parse_run_status(std::string_view text);

// Whether an experiment or run is in use or in MLflow's recycle bin.
enum class lifecycle_stage { active, deleted };

std::string_view to_string(lifecycle_stage stage) noexcept;

struct experiment {
  std::string id = {};  // a decimal number in an embedded store
  std::string name = {};
  std::string artifact_location = {};  // absolute path or URI under which its runs keep their files
  lifecycle_stage stage = lifecycle_stage::active;
  std::int64_t creation_time = 0;
  std::int64_t last_update_time = 0;
  string_map tags = {};
};

// One point of a metric.
struct metric {
  std::string key = {};
  double value = 0;  // NaN and infinities are kept; see run::log_metric
  std::int64_t step = 0;
  // When it was measured. Absent in what is logged: now. Never absent in what is read.
  std::optional<std::int64_t> timestamp = std::nullopt;
};

// A part of a metric's history.
struct history_sample {
  std::size_t max_points = 320;  // of each run: 1 to 2,500
  // Only steps from first to last; both or none.
  std::optional<std::int64_t> first_step = std::nullopt;
  std::optional<std::int64_t> last_step = std::nullopt;
};

// A dataset that a run read (or wrote). Identity within an experiment: name and digest.
struct dataset {
  std::string name = {};              // at most 500 characters
  std::string digest = {};            // at most 36 characters; says which content it was
  std::string source_type = "local";  // "local", "http", "code" …
  std::string source = "{}";          // JSON text, as {"uri": "…"}; see local_dataset_source
  std::string schema = {};            // JSON text, empty when unknown
  std::string profile = {};           // JSON text, as {"num_rows": 1797}; empty when unknown
};

// The JSON text that MLflow's "local" dataset source reads back.
std::string local_dataset_source(std::string_view path);

// A dataset of a run, with the tags of that use; MLflow's UI shows "mlflow.data.context".
struct dataset_input {
  tracking::dataset dataset = {};
  string_map tags = {};
};

// Everything about a run but its metrics' histories and artifacts.
struct run_record {
  std::string id = {};  // 32 hexadecimal digits
  std::string experiment_id = {};
  std::string name = {};
  std::string user = {};
  run_status status = run_status::running;
  lifecycle_stage stage = lifecycle_stage::active;
  std::int64_t start_time = 0;
  std::optional<std::int64_t> end_time = {};
  std::string artifact_uri = {};
  // Latest point per key: the one with the largest step, then timestamp, then value.
  std::map<std::string, metric> metrics = {};
  string_map params = {};
  string_map tags = {};
  std::vector<dataset_input> inputs = {};
  std::vector<std::string> model_ids = {};        // logged models that it produced
  std::vector<std::string> input_model_ids = {};  // and read; a server's search does not tell
};

// A file or folder among a run's artifacts.
struct artifact_info {
  std::string path = {};  // relative to the run's artifact root, '/' between parts
  bool is_directory = false;
  std::uint64_t size = 0;  // bytes; 0 for a folder
};

// Name, NumPy type name ("float32", "int64", "str" …) and dimensions (-1: any) of one tensor.
struct tensor_spec {
  std::string name = {};
  std::string dtype = "float32";
  std::vector<std::int64_t> shape = {};
};

// What a model takes and gives (mlflow.models.ModelSignature).
struct model_signature {
  std::vector<tensor_spec> inputs = {};
  std::vector<tensor_spec> outputs = {};
};

// LoggedModelStatus of MLflow: pending until its files are there.
enum class logged_model_status { unspecified, pending, ready, failed };

// MLflow's spelling: "UNSPECIFIED", "PENDING", "READY", "FAILED".
std::string_view to_string(logged_model_status status) noexcept;

// A point that describes a logged model.
struct model_metric {
  std::string key = {};
  double value = 0;
  std::int64_t step = 0;
  std::int64_t timestamp = 0;
  std::string run_id = {};  // that measured it
  std::string dataset_name = {};
  std::string dataset_digest = {};
};

// A model that a run produced, as MLflow 3 keeps it (table logged_models).
struct logged_model {
  std::string id = {};    // "m-" and 32 hexadecimal digits
  std::string name = {};  // as given to log_model
  std::string uri = {};   // "models:/m-…", what MLflow's load_model and register_model take
  std::string artifact_location = {};  // folder with the file MLmodel
  std::string experiment_id = {};
  std::string run_id = {};
  std::int64_t creation_time = 0;
  string_map tags = {};
  std::int64_t last_update_time = 0;
  std::string model_type = {};  // free text, as "classifier"; empty when unknown
  logged_model_status status = logged_model_status::unspecified;
  std::string status_message = {};
  string_map params = {};
  std::vector<model_metric> metrics = {};
};

struct logged_model_options {
  std::string name = "model";  // as model_options::name
  std::string run_id = {};     // that made it; empty: none
  std::string model_type = {};
  string_map params = {};
  string_map tags = {};
};

struct registered_model {
  std::string name = {};
  std::string description = {};
  std::int64_t creation_time = 0;
  std::int64_t last_update_time = 0;
  string_map tags = {};
  std::map<std::string, std::int64_t> aliases = {};  // alias -> version
};

// Where a version stands, in MLflow's older way of saying it; aliases are the newer one.
enum class model_stage { none, staging, production, archived };

// MLflow's spelling: "None", "Staging", "Production", "Archived".
std::string_view to_string(model_stage stage) noexcept;

struct model_version {
  std::string name = {};
  std::int64_t version = 0;  // 1, 2 … within the name
  std::string source = {};   // where the files are: "models:/m-…", a path or a URI
  // Folder with the file MLmodel when it is on this machine, else the same as source.
  std::string location = {};
  std::string run_id = {};  // empty when unknown
  std::string status = {};  // "READY" once it can be used
  std::string description = {};
  std::int64_t creation_time = 0;
  std::int64_t last_update_time = 0;
  string_map tags = {};
  std::vector<std::string> aliases = {};
  model_stage stage = model_stage::none;
};

// One move of a model version between MLflow's stages.
struct stage_change {
  std::string name = {};  // of the registered model
  std::int64_t version = 0;
  model_stage from = model_stage::none;
  model_stage to = model_stage::none;
  std::string user = {};
  std::int64_t time = 0;
};

}  // namespace mizzen::tracking
