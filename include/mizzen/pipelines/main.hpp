// A command line for a pipeline.
#pragma once

#include <mizzen/pipelines/run.hpp>

namespace mizzen::pipelines {

// The whole of main() for a program that is a pipeline:
//
//   program run [--parameter=value ...] [--root=DIR] [--parallelism=N] [--no-cache] [--fail-fast]
//   program graph [--dot | --mermaid]
//   program help
//
// Without a command it runs. Values are JSON; what is not JSON, or belongs to a string parameter,
// is taken as a string. SIGINT and SIGTERM cancel the run (a second one ends the process). Returns
// 0 if the run was ok, 1 if not, 2 for wrong usage; never throws.
int main(int argc, char** argv, const pipeline& pipeline, run_options options = {});

}  // namespace mizzen::pipelines
