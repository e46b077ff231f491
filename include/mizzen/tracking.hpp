// Front door of mizzen::tracking: experiments, runs, metrics, artifacts, models, registry, lineage,
// in a store that MLflow opens as its own.
//
//   auto run = mizzen::tracking::client{}.start_run("digits");
//   run.log_metric("loss", loss, {.step = epoch});
#pragma once

#include <mizzen/tracking/client.hpp>
#include <mizzen/tracking/content_store.hpp>
#include <mizzen/tracking/curves.hpp>
#include <mizzen/tracking/figure.hpp>
#include <mizzen/tracking/import.hpp>
#include <mizzen/tracking/lineage.hpp>
#include <mizzen/tracking/lineage_export.hpp>
#include <mizzen/tracking/mlflow_error.hpp>
#include <mizzen/tracking/plot.hpp>
#include <mizzen/tracking/process_facts.hpp>
#include <mizzen/tracking/run.hpp>
#include <mizzen/tracking/search.hpp>
#include <mizzen/tracking/system_metrics.hpp>
#include <mizzen/tracking/table.hpp>
#include <mizzen/tracking/trace.hpp>
#include <mizzen/tracking/transfer.hpp>
#include <mizzen/tracking/types.hpp>
#include <mizzen/tracking/webhook.hpp>
#include <mizzen/tracking/writer.hpp>
