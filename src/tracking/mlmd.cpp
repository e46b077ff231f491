// A database of ML Metadata, version 10 of its schema
// (ml_metadata/util/metadata_source_query_config.cc and ml_metadata/proto/metadata_store.proto of
// google/ml-metadata).
#include "tracking/sqlite.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/core/id.hpp>
#include <mizzen/core/json.hpp>
#include <mizzen/core/time.hpp>
#include <mizzen/tracking/lineage_export.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <set>
#include <system_error>
#include <utility>

namespace mizzen::tracking {
namespace {

namespace fs = std::filesystem;
using detail::connection;

constexpr int schema_version = 10;

// Numbers of metadata_store.proto.
enum type_kind { execution_type = 0, artifact_type = 1, context_type = 2 };
enum event_type { input_event = 3, output_event = 4 };
constexpr int artifact_live = 2;
enum execution_state {
  running_state = 2,
  complete_state = 3,
  failed_state = 4,
  canceled_state = 6
};
constexpr int string_property = 3;

// Tables of the three kinds of things, and those of their properties, are alike.
std::string thing_tables() {
  struct thing {
    std::string name, id, own_columns;
  };
  const std::array<thing, 3> things = {{{"Artifact", "artifact_id", "uri TEXT, state INT, "},
                                        {"Execution", "execution_id", "last_known_state INT, "},
                                        {"Context", "context_id", ""}}};
  std::string out;
  for (const auto& [name, id, own] : things) {
    const std::string low = id.substr(0, id.size() - 3);
    const std::string times =
        "create_time_since_epoch INT NOT NULL DEFAULT 0, "
        "last_update_time_since_epoch INT NOT NULL DEFAULT 0, ";
    out += "CREATE TABLE " + name +
           " (id INTEGER PRIMARY KEY AUTOINCREMENT, type_id INT NOT NULL, " + own +
           "name VARCHAR(255)" + (name == "Context" ? " NOT NULL" : "") +
           ", external_id VARCHAR(255) UNIQUE, " + times + "UNIQUE (type_id, name));\n";
    out += "CREATE TABLE " + name + "Property (" + id +
           " INT NOT NULL, name VARCHAR(255) NOT NULL, is_custom_property TINYINT(1) NOT NULL, "
           "int_value INT, double_value DOUBLE, string_value TEXT, byte_value BLOB, "
           "proto_value BLOB, bool_value BOOLEAN, PRIMARY KEY (" +
           id + ", name, is_custom_property));\n";
    for (const char* column :
         {"create_time_since_epoch", "last_update_time_since_epoch", "external_id"}) {
      out += "CREATE INDEX idx_" + low + "_" + column + " ON " + name + " (" + column + ");\n";
    }
    for (const std::string type : {"int", "double", "string"}) {
      out += "CREATE INDEX idx_" + low + "_property_" + type + " ON " + name +
             "Property (name, is_custom_property, " + type + "_value) WHERE " + type +
             "_value IS NOT NULL;\n";
    }
  }
  return out;
}

constexpr const char* other_tables = R"(
CREATE INDEX idx_artifact_uri ON Artifact (uri);
CREATE TABLE Type (id INTEGER PRIMARY KEY AUTOINCREMENT, name VARCHAR(255) NOT NULL,
  version VARCHAR(255), type_kind TINYINT(1) NOT NULL, description TEXT, input_type TEXT,
  output_type TEXT, external_id VARCHAR(255) UNIQUE);
CREATE INDEX idx_type_name ON Type (name);
CREATE INDEX idx_type_external_id ON Type (external_id);
CREATE TABLE TypeProperty (type_id INT NOT NULL, name VARCHAR(255) NOT NULL, data_type INT,
  PRIMARY KEY (type_id, name));
CREATE TABLE ParentType (type_id INT NOT NULL, parent_type_id INT NOT NULL,
  PRIMARY KEY (type_id, parent_type_id));
CREATE TABLE Event (id INTEGER PRIMARY KEY AUTOINCREMENT, artifact_id INT NOT NULL,
  execution_id INT NOT NULL, type INT NOT NULL, milliseconds_since_epoch INT,
  UNIQUE (artifact_id, execution_id, type));
CREATE INDEX idx_event_execution_id ON Event (execution_id);
CREATE TABLE EventPath (event_id INT NOT NULL, is_index_step TINYINT(1) NOT NULL, step_index INT,
  step_key TEXT);
CREATE INDEX idx_eventpath_event_id ON EventPath (event_id);
CREATE TABLE ParentContext (context_id INT NOT NULL, parent_context_id INT NOT NULL,
  PRIMARY KEY (context_id, parent_context_id));
CREATE INDEX idx_parentcontext_parent_context_id ON ParentContext (parent_context_id);
CREATE TABLE Association (id INTEGER PRIMARY KEY AUTOINCREMENT, context_id INT NOT NULL,
  execution_id INT NOT NULL, UNIQUE (context_id, execution_id));
CREATE TABLE Attribution (id INTEGER PRIMARY KEY AUTOINCREMENT, context_id INT NOT NULL,
  artifact_id INT NOT NULL, UNIQUE (context_id, artifact_id));
CREATE TABLE MLMDEnv (schema_version INTEGER PRIMARY KEY);
)";

// The types that every MLMD store has, in its order.
constexpr std::array<std::pair<const char*, type_kind>, 9> simple_types = {
    {{"mlmd.Dataset", artifact_type},
     {"mlmd.Model", artifact_type},
     {"mlmd.Metrics", artifact_type},
     {"mlmd.Statistics", artifact_type},
     {"mlmd.Train", execution_type},
     {"mlmd.Transform", execution_type},
     {"mlmd.Process", execution_type},
     {"mlmd.Evaluate", execution_type},
     {"mlmd.Deploy", execution_type}}};

// "model_version" -> "mizzen.ModelVersion"
std::string type_name(const std::string& kind) {
  std::string out = "mizzen.";
  bool up = true;
  for (const char c : kind) {
    if (c == '_' || c == '-' || c == ' ') {
      up = true;
    } else {
      out += up && c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
      up = false;
    }
  }
  return out.substr(0, 255);
}

bool is_process(const std::string& kind) { return kind == "run" || kind == "step"; }

class writer {
 public:
  writer(const client& from, connection& into)
      : from_(from), on_(into), graph_(from.lineage().all()), now_(unix_millis()) {}

  mlmd_counts write() {
    on_.execute(thing_tables() + other_tables);
    on_.prepare("INSERT INTO MLMDEnv VALUES (?1)").bind(schema_version).run();
    for (const auto& [name, kind] : simple_types) types_[name] = insert_type(name, kind);
    for (const lineage_node& node : graph_.nodes) {
      if (node.kind == "run") {
        write_run(node);
      } else if (is_process(node.kind)) {
        write_step(node);
      } else {
        write_artifact(node);
      }
    }
    for (const lineage_edge& edge : graph_.edges) write_edge(edge);
    return counts_;
  }

 private:
  std::int64_t insert_type(const std::string& name, type_kind kind) {
    on_.prepare("INSERT INTO Type (name, type_kind) VALUES (?1, ?2)")
        .bind(name, static_cast<int>(kind))
        .run();
    return on_.last_row();
  }

  // The type of that name, made at its first use with these properties, which are texts.
  std::int64_t type(const std::string& name, type_kind kind,
                    std::initializer_list<const char*> properties, const char* parent = nullptr) {
    const auto known = types_.find(name);
    if (known != types_.end()) return known->second;
    const std::int64_t id = insert_type(name, kind);
    types_[name] = id;
    for (const char* property : properties) {
      on_.prepare("INSERT INTO TypeProperty VALUES (?1, ?2, ?3)")
          .bind(id, std::string_view(property), string_property)
          .run();
    }
    if (parent != nullptr) {
      on_.prepare("INSERT INTO ParentType VALUES (?1, ?2)").bind(id, types_.at(parent)).run();
    }
    return id;
  }

  // Names are unique within a type and bounded; a name that is taken gets the node's id.
  std::string unique_name(std::int64_t type, const std::string& name, const std::string& id) {
    std::string out = name.substr(0, 200);
    while (!out.empty() && out.size() < name.size() &&
           (static_cast<unsigned char>(name[out.size()]) & 0xc0) == 0x80) {
      out.pop_back();
    }
    if (out.size() < name.size() || !names_.insert({type, out}).second) {
      out += " " + id;
      names_.insert({type, out});
    }
    return out;
  }

  template <typename Value>
  void property(const char* insert, std::int64_t of, std::string_view name, bool custom,
                const Value& value) {
    on_.prepare(insert).bind(of, name, custom, value).run();
  }

  static constexpr const char* artifact_text =
      "INSERT OR IGNORE INTO ArtifactProperty (artifact_id, name, is_custom_property, "
      "string_value) VALUES (?1, ?2, ?3, ?4)";
  static constexpr const char* execution_text =
      "INSERT OR IGNORE INTO ExecutionProperty (execution_id, name, is_custom_property, "
      "string_value) VALUES (?1, ?2, ?3, ?4)";
  static constexpr const char* execution_number =
      "INSERT OR IGNORE INTO ExecutionProperty (execution_id, name, is_custom_property, "
      "double_value) VALUES (?1, ?2, ?3, ?4)";

  std::int64_t insert_execution(std::int64_t type_id, const std::string& name,
                                const std::string& external_id, int state, std::int64_t created,
                                std::int64_t updated) {
    on_.prepare(
           "INSERT INTO Execution (type_id, last_known_state, name, external_id, "
           "create_time_since_epoch, last_update_time_since_epoch) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")
        .bind(type_id, state, name, external_id, created, updated)
        .run();
    ++counts_.executions;
    return on_.last_row();
  }

  void write_run(const lineage_node& node) {
    const std::int64_t run_type =
        type("mizzen.Run", execution_type, {"run_id", "run_name", "status", "user"});
    std::optional<run_record> record;
    try {
      record = from_.get_run(node.version);
    } catch (const error& e) {
      // A run of another store, or one that was removed for good: the graph still tells of it.
      if (e.code() != errc::not_found) throw;
    }
    int state = complete_state;
    std::int64_t start = now_, end = now_;
    if (record) {
      if (record->status == run_status::running || record->status == run_status::scheduled) {
        state = running_state;
      }
      if (record->status == run_status::failed) state = failed_state;
      if (record->status == run_status::killed) state = canceled_state;
      start = record->start_time;
      end = record->end_time.value_or(start);
    }
    const std::int64_t id = insert_execution(run_type, unique_name(run_type, node.version, node.id),
                                             "mizzen:" + node.id, state, start, end);
    executions_[node.id] = id;
    property(execution_text, id, "run_id", false, node.version);
    property(execution_text, id, "run_name", false, node.name);
    for (const auto& [key, value] : node.attributes) {
      property(execution_text, id, key, true, value);
    }
    if (!record) return;
    property(execution_text, id, "status", false, std::string(to_string(record->status)));
    property(execution_text, id, "user", false, record->user);
    for (const auto& [key, value] : record->params) {
      property(execution_text, id, "param/" + key, true, value);
    }
    for (const auto& [key, latest] : record->metrics) {
      // SQL has no NaN.
      if (std::isnan(latest.value)) {
        property(execution_text, id, "metric/" + key, true, std::string("NaN"));
      } else {
        property(execution_number, id, "metric/" + key, true, latest.value);
      }
    }
    const std::int64_t context = experiment(record->experiment_id);
    contexts_of_[node.id] = context;
    on_.prepare("INSERT OR IGNORE INTO Association (context_id, execution_id) VALUES (?1, ?2)")
        .bind(context, id)
        .run();
  }

  std::int64_t experiment(const std::string& id) {
    const auto known = experiments_.find(id);
    if (known != experiments_.end()) return known->second;
    const std::int64_t type_id = type("mizzen.Experiment", context_type, {"experiment_id"});
    const tracking::experiment made = from_.get_experiment(id);
    on_.prepare(
           "INSERT INTO Context (type_id, name, external_id, create_time_since_epoch, "
           "last_update_time_since_epoch) VALUES (?1, ?2, ?3, ?4, ?5)")
        .bind(type_id, unique_name(type_id, made.name, id), "mizzen:experiment:" + id,
              made.creation_time, made.last_update_time)
        .run();
    ++counts_.contexts;
    const std::int64_t context = on_.last_row();
    on_.prepare(
           "INSERT INTO ContextProperty (context_id, name, is_custom_property, string_value) "
           "VALUES (?1, 'experiment_id', 0, ?2)")
        .bind(context, id)
        .run();
    return experiments_[id] = context;
  }

  void write_step(const lineage_node& node) {
    const std::int64_t step_type =
        type(type_name(node.kind), execution_type, {"step_name", "version"});
    const std::int64_t id = insert_execution(
        step_type,
        unique_name(step_type, node.name + (node.version.empty() ? "" : " ") + node.version,
                    node.id),
        "mizzen:" + node.id, complete_state, now_, now_);
    executions_[node.id] = id;
    property(execution_text, id, "step_name", false, node.name);
    property(execution_text, id, "version", false, node.version);
    for (const auto& [key, value] : node.attributes) {
      property(execution_text, id, key, true, value);
    }
  }

  void write_artifact(const lineage_node& node) {
    const char* parent = node.kind == "dataset"                                 ? "mlmd.Dataset"
                         : node.kind == "model" || node.kind == "model_version" ? "mlmd.Model"
                                                                                : nullptr;
    const std::int64_t type_id =
        type(type_name(node.kind), artifact_type, {"name", "version"}, parent);
    std::string uri;
    for (const char* key : {"uri", "source", "url"}) {
      const auto found = node.attributes.find(key);
      if (uri.empty() && found != node.attributes.end()) uri = found->second;
    }
    on_.prepare(
           "INSERT INTO Artifact (type_id, uri, state, name, external_id, "
           "create_time_since_epoch, last_update_time_since_epoch) "
           "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)")
        .bind(type_id, uri, artifact_live,
              unique_name(type_id, node.name + (node.version.empty() ? "" : " ") + node.version,
                          node.id),
              "mizzen:" + node.id, now_)
        .run();
    ++counts_.artifacts;
    const std::int64_t id = on_.last_row();
    artifacts_[node.id] = id;
    property(artifact_text, id, "name", false, node.name);
    property(artifact_text, id, "version", false, node.version);
    for (const auto& [key, value] : node.attributes) {
      property(artifact_text, id, key, true, value);
    }
  }

  void event(std::int64_t artifact, std::int64_t execution, event_type kind) {
    on_.prepare(
           "INSERT OR IGNORE INTO Event (artifact_id, execution_id, type, "
           "milliseconds_since_epoch) VALUES (?1, ?2, ?3, ?4)")
        .bind(artifact, execution, static_cast<int>(kind), now_)
        .run();
    counts_.events += static_cast<std::size_t>(on_.changes());
  }

  // What a run takes and gives is attributed to its experiment.
  void attribute(const std::string& run_node, std::int64_t artifact) {
    const auto context = contexts_of_.find(run_node);
    if (context == contexts_of_.end()) return;
    on_.prepare("INSERT OR IGNORE INTO Attribution (context_id, artifact_id) VALUES (?1, ?2)")
        .bind(context->second, artifact)
        .run();
  }

  void write_edge(const lineage_edge& edge) {
    const auto find = [](const auto& in, const std::string& id) {
      const auto found = in.find(id);
      return found == in.end() ? std::int64_t{0} : found->second;
    };
    const std::int64_t from_artifact = find(artifacts_, edge.from);
    const std::int64_t to_artifact = find(artifacts_, edge.to);
    const std::int64_t from_execution = find(executions_, edge.from);
    const std::int64_t to_execution = find(executions_, edge.to);
    if (from_artifact != 0 && to_execution != 0) {
      event(from_artifact, to_execution, input_event);
      attribute(edge.to, from_artifact);
    } else if (from_execution != 0 && to_artifact != 0) {
      event(to_artifact, from_execution, output_event);
      attribute(edge.from, to_artifact);
    } else if (from_artifact != 0 && to_artifact != 0) {
      const std::int64_t link_type = type("mizzen.Link", execution_type, {"relation"});
      const std::int64_t id = insert_execution(
          link_type,
          unique_name(link_type, edge.relation + " " + edge.from + " " + edge.to, edge.relation),
          "mizzen:" + edge.relation + ":" + edge.from + ":" + edge.to, complete_state, now_, now_);
      property(execution_text, id, "relation", false, edge.relation);
      event(from_artifact, id, input_event);
      event(to_artifact, id, output_event);
    } else if (from_execution != 0 && to_execution != 0) {
      const auto node = std::find_if(graph_.nodes.begin(), graph_.nodes.end(),
                                     [&](const lineage_node& n) { return n.id == edge.from; });
      property(execution_text, to_execution, edge.relation + " of", true,
               node->name + (node->version.empty() ? "" : " ") + node->version);
    }
  }

  const client& from_;
  connection& on_;
  const lineage_graph graph_;
  const std::int64_t now_;
  mlmd_counts counts_;
  std::map<std::string, std::int64_t> types_, artifacts_, executions_, experiments_, contexts_of_;
  std::set<std::pair<std::int64_t, std::string>> names_;
};

}  // namespace

mlmd_counts export_mlmd(const client& from, const fs::path& file) {
  std::error_code failed;
  if (file.empty()) throw error(errc::invalid_argument, "file", "it is empty; name a new file");
  if (fs::exists(file, failed)) {
    throw error(errc::already_exists, "file '" + file.string() + "'",
                "it is there already; name a new one, or remove it");
  }
  // Whole or not at all.
  const fs::path aside = file.string() + "." + random_hex_id() + ".tmp";
  mlmd_counts counts;
  try {
    {
      connection on(aside.string(), connection::access::write, true, std::chrono::seconds(1));
      detail::transaction all(on, detail::transaction::kind::write);
      counts = writer(from, on).write();
      all.commit();
      // One file, without a log beside it.
      on.execute("PRAGMA wal_checkpoint(TRUNCATE)");
      on.execute("PRAGMA journal_mode=DELETE");
    }
    fs::rename(aside, file, failed);
    if (failed) {
      throw error(errc::unavailable, "file '" + file.string() + "'", failed.message());
    }
  } catch (...) {
    for (const char* suffix : {"", "-wal", "-shm", "-journal"}) {
      fs::remove(aside.string() + suffix, failed);
    }
    throw;
  }
  return counts;
}

}  // namespace mizzen::tracking
