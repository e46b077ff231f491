// Results of earlier runs, found by what they were made from.
//
// On disk: <root>/cache/<first two digits>/<key>.json, one file per result:
//   {"format": 1, "key": …, "made_by": {"pipeline", "run_id", "task", "at"},
//    "parameters": {name: value},
//    "artifacts": {name: {"type", "path" (relative to root), "digest", "metadata"}},
//    "checksum": SHA-256 of the rest as compact JSON}
// Written beside and renamed; whoever reads checks everything and takes any doubt as a miss.
#pragma once

#include <mizzen/core/cancellation.hpp>
#include <mizzen/core/log.hpp>
#include <mizzen/pipelines/artifact.hpp>
#include <mizzen/pipelines/graph.hpp>

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace mizzen::pipelines::detail {

// An artifact with what was learned about its content.
struct stored_artifact {
  artifact value;
  std::string type;
  std::string digest;     // of the content; empty if there is none or it was not asked for
  std::string name = {};  // "<pipeline>/<task>.<output>": what lineage calls it; not kept
};

struct stored_outputs {
  std::map<std::string, json> parameters;
  std::map<std::string, stored_artifact> artifacts;
};

using input_artifacts = std::map<std::string, std::vector<stored_artifact>>;

// The identity of a computation: pipeline, component and versions, parameters, contents of the
// input artifacts, names and types of the outputs. Same identity, same result.
std::string cache_key(const std::string& pipeline, const component_spec& component,
                      const task_spec& task, const std::map<std::string, json>& parameters,
                      const input_artifacts& artifacts);

struct cache_origin {
  std::string pipeline, run_id, task;
};

// Any number of threads and processes may use the same root.
class cache_store {
 public:
  cache_store(std::filesystem::path root, logger log);

  // The outputs kept under the key, after checking that they are whole and fit the component;
  // nothing if there is any doubt. Throws only if cancelled.
  std::optional<stored_outputs> find(const std::string& key, const component_spec& component,
                                     const cache_origin& asker, const cancellation& cancel) const;

  // Keeps outputs whose artifacts lie under the root. Throws error(unavailable).
  void add(const std::string& key, const stored_outputs& outputs, const cache_origin& origin) const;

 private:
  std::filesystem::path file_of(const std::string& key) const;

  std::filesystem::path root_;
  logger log_;
};

}  // namespace mizzen::pipelines::detail
