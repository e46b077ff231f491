#include <mizzen/core/error.hpp>
#include <mizzen/core/json.hpp>
#include <mizzen/tracking/types.hpp>

namespace mizzen::tracking {

std::string_view to_string(run_status status) noexcept {
  switch (status) {
    case run_status::running:
      return "RUNNING";
    case run_status::scheduled:
      return "SCHEDULED";
    case run_status::finished:
      return "FINISHED";
    case run_status::failed:
      return "FAILED";
    case run_status::killed:
      return "KILLED";
  }
  return "RUNNING";
}

run_status parse_run_status(std::string_view text) {
  for (const run_status status : {run_status::running, run_status::scheduled, run_status::finished,
                                  run_status::failed, run_status::killed}) {
    if (text == to_string(status)) return status;
  }
  throw error(
      errc::invalid_argument, "run.status",
      "'" + std::string(text) + "' is none of RUNNING, SCHEDULED, FINISHED, FAILED and KILLED");
}

std::string_view to_string(lifecycle_stage stage) noexcept {
  return stage == lifecycle_stage::deleted ? "deleted" : "active";
}

std::string local_dataset_source(std::string_view path) {
  return json{{"uri", path}}.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::string_view to_string(logged_model_status status) noexcept {
  switch (status) {
    case logged_model_status::pending:
      return "PENDING";
    case logged_model_status::ready:
      return "READY";
    case logged_model_status::failed:
      return "FAILED";
    case logged_model_status::unspecified:
      break;
  }
  return "UNSPECIFIED";
}

std::string_view to_string(model_stage stage) noexcept {
  switch (stage) {
    case model_stage::none:
      return "None";
    case model_stage::staging:
      return "Staging";
    case model_stage::production:
      return "Production";
    case model_stage::archived:
      return "Archived";
  }
  return "None";
}

}  // namespace mizzen::tracking
