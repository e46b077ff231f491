// The lineage of a store for others: OpenLineage events, and a database of ML Metadata (MLMD).
#pragma once

#include <mizzen/core/json_fwd.hpp>
#include <mizzen/tracking/client.hpp>

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

namespace mizzen::tracking {

struct openlineage_options {
  // Runs to tell of, by id. Empty: all runs in the lineage graph.
  std::vector<std::string> run_ids = {};
  // Namespace of the jobs, and of datasets and models, whose names are unique in it.
  std::string job_namespace = "mizzen";
  // URI of what tells it (BaseEvent.producer).
  std::string producer = "urn:mizzen:tracking";
};

// Run events of OpenLineage 2-0-2, in the order of their times: START of each run and, when it has
// ended, COMPLETE, FAIL or ABORT (killed). The job is the run's experiment; the run's id is its
// own, as a UUID; inputs are its datasets, outputs its models and the versions registered of them.
// Facets: parent, documentation (the run's note), source code location (Git), job type, and of
// datasets version, schema (MLflow's column and tensor specifications) and source.
// Throws error(not_found) for a run that is not there, and what the store throws.
std::vector<json> openlineage_events(const client& from, const openlineage_options& options = {});

// The same as text, one event a line (NDJSON), which OpenLineage's file transport reads and writes.
std::string to_openlineage(const client& from, const openlineage_options& options = {});

struct mlmd_counts {
  std::size_t artifacts = 0, executions = 0, contexts = 0, events = 0;
};

// Writes the whole lineage graph into a new SQLite file with the schema of ML Metadata 1.17
// (version 10), which its MetadataStore opens. Runs and steps are executions (types mizzen.Run,
// mizzen.Step), experiments contexts (mizzen.Experiment), all other nodes artifacts (mizzen.Dataset
// and mizzen.Model, subtypes of mlmd.Dataset and mlmd.Model; mizzen.ModelVersion, mizzen.Endpoint
// …). Parameters, metrics and attributes are custom properties. An arrow between two artifacts
// becomes an execution of the type mizzen.Link, one between two executions the custom property
// "<relation> of" of the second, with the name of the first. Throws error(already_exists) if there
// is a file, and what the store throws.
mlmd_counts export_mlmd(const client& from, const std::filesystem::path& file);

}  // namespace mizzen::tracking
