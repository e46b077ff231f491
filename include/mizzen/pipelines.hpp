// Front door of mizzen::pipelines: typed pipelines in C++, and a runner for this process.
//
//   struct train_io {
//     mz::in<mz::dataset> data;
//     mz::in<double> rate = 0.1;
//     mz::out<mz::model> model;
//     mz::out<double> accuracy;
//   };
//   BOOST_DESCRIBE_STRUCT(train_io, (), (data, rate, model, accuracy))
//   void train(train_io& io) { io.model->write(fit(io.data->read(), io.rate)); io.accuracy = 0.97;
//   }
//
//   mz::pipeline digits{"digits", [](mz::pipeline_builder& p) {
//     auto data = p.add(ingest, {.url = p.parameter<std::string>("url")});
//     auto fit  = p.add(train, {.data = data->data, .rate = 0.05}).retry(3);
//     p.when(fit->accuracy > 0.95, [&] { p.add(publish, {.model = fit->model}); });
//   }};
//   mz::pipelines::run(digits, {{"url", "…"}}).check();
#pragma once

#include <mizzen/core.hpp>
#include <mizzen/pipelines/artifact.hpp>
#include <mizzen/pipelines/component.hpp>
#include <mizzen/pipelines/context.hpp>
#include <mizzen/pipelines/graph.hpp>
#include <mizzen/pipelines/io.hpp>
#include <mizzen/pipelines/main.hpp>
#include <mizzen/pipelines/parameter.hpp>
#include <mizzen/pipelines/pipeline.hpp>
#include <mizzen/pipelines/run.hpp>

#include <boost/describe/class.hpp>

namespace mizzen {

using pipelines::artifact;
using pipelines::classification_metrics;
using pipelines::component;
using pipelines::dataset;
using pipelines::html;
using pipelines::in;
using pipelines::markdown;
using pipelines::metrics;
using pipelines::model;
using pipelines::out;
using pipelines::pipeline;
using pipelines::pipeline_builder;
using pipelines::reference;
using step_context = pipelines::context;

}  // namespace mizzen
