// What a new run begins with, and what a dataset of a run must be: the same for every backend.
#pragma once

#include <mizzen/tracking/run.hpp>

#include <cstdint>
#include <string>

namespace mizzen::tracking::detail {

// A run about to be made: checked, with the name and the tags that MLflow's client would set.
struct run_start {
  std::string name;
  string_map tags;
  std::int64_t start_time;
};
// user and program: tags mlflow.user and mlflow.source.name. Throws error(invalid_argument).
run_start prepare_run(const run_options& options, const std::string& user,
                      const std::string& program);

// Throws error(invalid_argument); the tags of the input, mlflow.data.context among them.
string_map check_input(const dataset& data, const input_options& options);

}  // namespace mizzen::tracking::detail
