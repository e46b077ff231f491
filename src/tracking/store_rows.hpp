// Entities as the rows of the store hold them, for the members of store that read them.
#pragma once

#include "tracking/sqlite.hpp"

#include <mizzen/tracking/trace.hpp>
#include <mizzen/tracking/types.hpp>

#include <optional>
#include <span>
#include <string_view>

namespace mizzen::tracking::detail {

// Each read_… takes a row of a SELECT of these columns, in this order.
inline constexpr std::string_view run_columns =
    "runs.run_uuid, runs.experiment_id, runs.name, runs.user_id, runs.status, "
    "runs.lifecycle_stage, runs.start_time, runs.end_time, runs.artifact_uri";
run_record read_run_row(statement& row);
// Adds metrics, parameters, tags, inputs and models to the runs, with a handful of statements for
// each thousand of them.
void read_run_details(connection& on, std::span<run_record> runs);

inline constexpr std::string_view experiment_columns =
    "experiment_id, name, artifact_location, lifecycle_stage, creation_time, last_update_time";
experiment read_experiment(connection& on, statement& row);

inline constexpr std::string_view logged_model_columns =
    "model_id, name, artifact_location, experiment_id, source_run_id, creation_timestamp_ms";
logged_model read_logged_model(connection& on, statement& row);

inline constexpr std::string_view model_version_columns =
    "name, version, source, run_id, status, description, creation_time, last_updated_time, "
    "storage_location";
model_version read_version(connection& on, statement& row);

inline constexpr std::string_view trace_columns =
    "request_id, experiment_id, timestamp_ms, execution_time_ms, status, client_request_id, "
    "request_preview, response_preview, trace_name, session_id, input_tokens, output_tokens, "
    "total_tokens, cache_read_input_tokens, cache_creation_input_tokens, "
    "cache_creation_input_tokens_above_1hr, input_cost, output_cost, total_cost";
trace_info read_trace_row(connection& on, statement& row);

std::optional<registered_model> registered_model_by_name(connection& on, std::string_view name);

// The number of an experiment. Throws error(invalid_argument), "experiment.id".
std::int64_t experiment_number(std::string_view id);

}  // namespace mizzen::tracking::detail
