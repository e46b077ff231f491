// Writes down what was made from what.
#pragma once

#include "pipelines/cache.hpp"

#include <mizzen/core/log.hpp>

#include <mutex>
#include <string>

namespace mizzen::tracking {
class client;
}

namespace mizzen::pipelines::detail {

// Records steps and their artifacts in the lineage graph of a store, or does nothing without one.
// What cannot be recorded does not fail the step: it is logged and kept for the run's result.
// Thread safe.
class lineage_recorder {
 public:
  lineage_recorder(const tracking::client* client, logger log);

  // Records a step that is about to run (or was found in the cache) and what goes into it; returns
  // its node's id, empty if there is none. identity tells it from other steps of the name.
  std::string step(const std::string& name, const std::string& identity,
                   const std::map<std::string, std::string>& attributes,
                   const input_artifacts& inputs);

  // Records what came out of it.
  void outputs(const std::string& step, const stored_outputs& outputs);

  // The first thing that went wrong, empty if nothing did.
  std::string problem() const;

 private:
  void failed(const std::string& name) noexcept;

  const tracking::client* client_;
  logger log_;
  mutable std::mutex mutex_;
  std::string problem_;
};

}  // namespace mizzen::pipelines::detail
