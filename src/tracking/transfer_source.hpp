// Where a transfer reads: a store, a server, or the files of another program.
#pragma once

#include "tracking/artifact_repository.hpp"
#include "tracking/model_record.hpp"

#include <mizzen/tracking/transfer.hpp>
#include <mizzen/tracking/types.hpp>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mizzen::tracking::detail {

class backend;

// What MLflow's server keeps ids of another store in; see transfer.hpp.
inline constexpr std::string_view run_id_tag = "mizzen.run_id";
inline constexpr std::string_view model_id_tag = "mizzen.model_id";
inline constexpr std::string_view version_tag = "mizzen.model_version";
// Digest of what a run held when it was carried over last, set when all of it was there.
inline constexpr std::string_view state_tag = "mizzen.transferred";
inline constexpr std::string_view parent_tag = "mlflow.parentRunId";

// The key is what the source reads it by, and what other things of the source name it by; the
// record's own id (number) is the one to be kept. Bookkeeping tags are taken off.
struct source_run {
  std::string key = {};
  run_record record = {};
};
struct source_model {
  std::string key = {};
  model_record record = {};
};
struct source_version {
  std::int64_t key = 0;
  model_version version = {};
};

// Used by one thread. Errors of reading are thrown; is_fatal() says which end the transfer.
class transfer_source {
 public:
  transfer_source() = default;
  transfer_source(const transfer_source&) = delete;
  transfer_source& operator=(const transfer_source&) = delete;
  virtual ~transfer_source() = default;

  virtual std::vector<experiment> experiments() = 0;  // active ones
  virtual void visit_runs(const std::string& experiment_id,
                          const std::function<void(source_run)>& visit) = 0;
  virtual std::optional<source_run> find_run(const std::string& key) = 0;
  // All points of all metrics.
  virtual void visit_points(const source_run& run,
                            const std::function<void(const metric&)>& visit) = 0;
  // Changes whenever anything of the run does. Nothing where that cannot be told without reading
  // all of it.
  virtual std::optional<std::string> state_of(const source_run&) { return std::nullopt; }
  virtual std::vector<model_use> model_uses(const source_run&) { return {}; }
  virtual void visit_models(const std::string& /*experiment_id*/,
                            const std::function<void(source_model)>& /*visit*/) {}
  virtual std::vector<registered_model> registered_models() { return {}; }
  virtual std::vector<source_version> versions(const std::string& /*name*/) { return {}; }
  virtual std::shared_ptr<artifact_repository> files(const std::string& location) = 0;

  // Once, at the end: what could not be read, and what was seen but has no place in a store.
  virtual std::vector<transfer_problem> take_problems() { return {}; }
  virtual std::vector<transfer_problem> take_left_out() { return {}; }
};

std::unique_ptr<transfer_source> make_backend_source(std::shared_ptr<backend> from);

// Whether an error means that the rest will fail too.
bool is_fatal(errc code) noexcept;

// "3@1700000000000": which version it is, wherever it is kept.
std::string version_identity(std::int64_t number, std::int64_t creation_time);

}  // namespace mizzen::tracking::detail
