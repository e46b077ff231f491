// Where a transfer writes: an embedded store, which takes ids as they are, or a tracking server,
// which chooses its own.
#pragma once

#include "tracking/transfer_source.hpp"

#include <mizzen/tracking/types.hpp>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mizzen::tracking::detail {

// A run or logged model over there.
struct placed_entity {
  std::string id = {};
  std::string location = {};  // of its artifacts
  std::string state = {};     // state_tag; empty where it is not kept
};

// Used by one thread. Every member may be called again for the same thing, and leaves it there
// once. Records are those of the source with ids, tags and sources already rewritten, but for the
// id of the thing itself. A run or model that is deleted over there is error(failed_precondition).
class transfer_target {
 public:
  transfer_target() = default;
  transfer_target(const transfer_target&) = delete;
  transfer_target& operator=(const transfer_target&) = delete;
  virtual ~transfer_target() = default;

  // The experiment of that name, made if need be; tags that it lacks are set.
  virtual experiment place_experiment(const experiment& from) = 0;

  // Finds or makes it. The run is not filled yet.
  virtual placed_entity place_run(const run_record& from, const std::string& experiment_id) = 0;
  // One that was placed by this or another transfer.
  virtual std::optional<placed_entity> find_run(const std::string& id) = 0;
  // Name, tags and inputs.
  virtual void fill_run(const placed_entity& run, const run_record& from) = 0;
  virtual void link_models(const placed_entity& run, std::span<const model_use> uses) = 0;
  // Status and times, and that all of it is there.
  virtual void finish_run(const placed_entity& run, const run_record& from,
                          std::string_view state) = 0;

  // After all runs: what is there twice and cannot be mended.
  virtual std::vector<transfer_problem> check_runs() { return {}; }

  virtual placed_entity place_model(const model_record& from, const std::string& experiment_id) = 0;
  virtual std::optional<placed_entity> find_model(const std::string& id) = 0;
  // Parameters, tags, metrics and status; the files are there.
  virtual void fill_model(const placed_entity& model, const model_record& from) = 0;

  // Made with its description if need be; tags that it lacks are set.
  virtual void place_registered_model(const registered_model& from) = 0;
  // Its number over there. model_id: of the logged model that it was made from, or empty.
  virtual std::int64_t place_version(const model_version& from, const std::string& model_id) = 0;
};

}  // namespace mizzen::tracking::detail
