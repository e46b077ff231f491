// Front door of mizzen::tracking: experiments, runs, metrics, artifacts, models, registry, lineage,
// in a store that MLflow opens as its own.
//
//   auto run = mizzen::tracking::client{}.start_run("digits");
//   run.log_metric("loss", loss, {.step = epoch});
#pragma once

#include <mizzen/tracking/client.hpp>
#include <mizzen/tracking/figure.hpp>
#include <mizzen/tracking/lineage.hpp>
#include <mizzen/tracking/run.hpp>
#include <mizzen/tracking/types.hpp>
#include <mizzen/tracking/writer.hpp>
