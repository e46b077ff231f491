// The schema of a store: MLflow's tables, and Mizzen's beside them.
#pragma once

#include "tracking/sqlite.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace mizzen::tracking::detail {

// schema/mlflow_schema.sql: comments "-- key: value" and the statements.
extern const std::string_view mlflow_schema_sql;

// What the header of a schema script says.
struct schema_header {
  std::string mlflow_version;
  std::string revision;            // of Alembic; MLflow's table alembic_version holds it
  std::vector<std::string> older;  // revisions that `mlflow db upgrade` brings to this one
};
schema_header read_schema_header(std::string_view sql);

// Makes the schema in an empty database, or checks the one that is there; then brings Mizzen's own
// tables to this version. Safe when several processes do so at once. default_artifact_location is
// the one of the experiment Default, which every MLflow store has.
void prepare_schema(connection& on, bool create, const std::string& default_artifact_location);

}  // namespace mizzen::tracking::detail
