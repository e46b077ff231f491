#include "steps.hpp"

#include "digits.hpp"
#include "export.hpp"
#include "network.hpp"

#include <mizzen/inference.hpp>
#include <mizzen/tracking.hpp>

#include <algorithm>
#include <chrono>

namespace mz = mizzen;

namespace digits {
namespace {

std::size_t best_class(std::span<const float> probabilities) {
  return static_cast<std::size_t>(std::max_element(probabilities.begin(), probabilities.end()) -
                                  probabilities.begin());
}

mz::tracking::dataset describe(const data_set& data, const std::string& name,
                               const std::filesystem::path& path) {
  return {.name = name,
          .digest = digest(data),
          .source = mz::tracking::local_dataset_source(path.string()),
          .profile = mz::json{{"num_rows", data.size()}}.dump()};
}

// Predicted class of each image, by Mizzen's own engine.
std::vector<std::size_t> predict(const mz::inference::session& session, const data_set& data) {
  const auto images = mz::tensor::view(std::span<const float>(data.images),
                                       {static_cast<std::int64_t>(data.size()), pixels});
  const auto outputs = session.run({{"pixels", images}});
  const auto probabilities = outputs.at("probabilities").data<float>();
  std::vector<std::size_t> predicted;
  for (std::size_t row = 0; row < data.size(); ++row) {
    predicted.push_back(best_class(probabilities.subspan(row * classes, classes)));
  }
  return predicted;
}

}  // namespace

void ingest(ingest_io& io, mz::step_context& context) {
  if (context.attempt() <= io.failures) {
    throw mz::error(mz::errc::unavailable, io.csv, "out of reach (asked for by --failures)");
  }
  const data_set data = read_csv(io.csv);
  write_csv(data, io.raw->path());
  io.raw->metadata["rows"] = data.size();
}

void prepare(prepare_io& io) {
  const split_data parts = split(read_csv(io.raw->path()), static_cast<std::uint32_t>(io.seed));
  write_csv(parts.train, io.train->path());
  write_csv(parts.validation, io.validation->path());
  write_csv(parts.test, io.test->path());
}

// --8<-- [start:tracking]
void train(train_io& io, mz::step_context& context) {
  const data_set data = read_csv(io.train->path());
  const data_set validation = read_csv(io.validation->path());

  mz::tracking::client tracking(io.tracking_uri);
  auto run = tracking.start_run("digits", {.name = context.task()});
  auto lineage = tracking.lineage();
  lineage.link(context.lineage_node(),
               lineage.record({.kind = "run", .name = run.name(), .version = run.id()}), "started");
  run.log_input(describe(data, "digits-train", io.train->path()), {.context = "training"});
  run.log_param("hidden", *io.hidden);
  run.log_param("epochs", *io.epochs);
  run.log_param("rate", io.rate);

  network net(static_cast<std::size_t>(*io.hidden), 1);
  for (int epoch = 0; epoch < io.epochs; ++epoch) {
    context.cancel().check(context.task());
    const double loss =
        net.train_epoch(data, 32, static_cast<float>(io.rate), static_cast<std::uint32_t>(epoch));
    const double accuracy = net.accuracy(validation);
    run.log_metrics({{"loss", loss}, {"validation_accuracy", accuracy}}, {.step = epoch});
    if ((epoch + 1) % 10 == 0) {
      context.progress("epoch " + std::to_string(epoch + 1) + " of " + std::to_string(*io.epochs) +
                       ", loss " + std::to_string(loss));
    }
  }

  save_onnx(net, io.model->path());
  io.model_id = run.log_model(io.model->path()).id;
  io.run_id = run.id();
  run.finish();
}
// --8<-- [end:tracking]

void evaluate(evaluate_io& io) {
  const data_set test = read_csv(io.test->path());
  const auto session = mz::inference::session::load(io.model->path());
  mz::tracking::confusion_matrix matrix({"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"});
  const std::vector<std::size_t> predicted = predict(session, test);
  for (std::size_t row = 0; row < test.size(); ++row) {
    matrix.add(static_cast<std::size_t>(test.labels[row]), predicted[row]);
  }
  io.accuracy = matrix.accuracy();

  mz::tracking::client tracking(io.tracking_uri);
  auto run = tracking.resume_run(*io.run_id);
  run.log_input(describe(test, "digits-test", io.test->path()), {.context = "evaluation"});
  run.log_metric("test_accuracy", matrix.accuracy());
  run.log_text(to_svg(matrix, {.title = "Digits, test split"}), "confusion_matrix.svg");
  run.finish();
}

void gate(gate_io& io) {
  const auto best = std::max_element(io.accuracies->begin(), io.accuracies->end());
  const auto index = static_cast<std::size_t>(best - io.accuracies->begin());
  io.accuracy = *best;
  io.passed = *best >= io.least;
  io.best_id = (*io.model_ids)[index];
  io.best->write((*io.models)[index].read());
}

void register_version(register_io& io) {
  mz::tracking::client tracking(io.tracking_uri);
  const auto model = tracking.get_logged_model(*io.model_id);
  const auto version = tracking.register_model(
      model_name, model,
      {.run_id = model.run_id, .tags = {{"test_accuracy", std::to_string(*io.accuracy)}}});
  tracking.set_model_alias(model_name, "champion", version.version);
  io.version = static_cast<int>(version.version);
}

mz::serving::server champion_server(const std::string& tracking_uri, std::uint16_t port) {
  mz::tracking::client tracking(tracking_uri);
  const auto champion = tracking.get_model_version_by_alias(model_name, "champion");
  auto session =
      mz::inference::session::load(std::filesystem::path(champion.location) / "model.onnx");
  mz::serving::server server({.port = port});
  server.add_model(model_name, std::to_string(champion.version), std::move(session));
  return server;
}

void serve(serve_io& io, mz::step_context& context) {
  auto server = champion_server(io.tracking_uri, 0);
  server.start();

  const data_set test = read_csv(io.test->path());
  mz::serving::client client(server.url());
  std::vector<double> latencies;
  std::size_t right = 0;
  for (std::size_t row = 0; row < test.size(); ++row) {
    context.cancel().check(context.task());
    const auto image = mz::tensor::view(
        std::span<const float>(test.images).subspan(row * pixels, pixels), {1, pixels});
    const auto start = std::chrono::steady_clock::now();
    const auto outputs = client.infer(model_name, {{"pixels", image}});
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
    latencies.push_back(took.count());
    right += best_class(outputs.at("probabilities").data<float>()) ==
                     static_cast<std::size_t>(test.labels[row])
                 ? 1
                 : 0;
  }
  const double accuracy = static_cast<double>(right) / static_cast<double>(test.size());
  if (accuracy != io.accuracy) {
    throw mz::error(mz::errc::internal, context.task(),
                    "the served model has accuracy " + std::to_string(accuracy) +
                        ", in process it had " + std::to_string(*io.accuracy));
  }
  server.drain();

  std::sort(latencies.begin(), latencies.end());
  io.p50_ms = latencies[latencies.size() / 2];
  io.p99_ms = latencies[latencies.size() * 99 / 100];

  auto lineage = mz::tracking::client(io.tracking_uri).lineage();
  const auto version = lineage.find("model_version", model_name, std::to_string(*io.version));
  const auto endpoint = lineage.record({.kind = "endpoint", .name = "/v2/models/digits/infer"});
  if (version) lineage.link(version->id, endpoint, "served");
}

// --8<-- [start:pipeline]
mz::pipeline make_pipeline(const std::string& csv, const std::string& tracking_uri) {
  using namespace std::chrono_literals;
  return mz::pipeline("digits", [&](mz::pipeline_builder& p) {
    const auto epochs = p.parameter<int>("epochs", 30);
    const auto failures = p.parameter<int>("failures", 0);

    // Reads from outside, so it always runs; what follows is cached by content.
    auto raw =
        p.add(ingest, {.csv = csv, .failures = failures}).retry(3, {.initial = 200ms}).cache(false);
    auto data = p.add(prepare, {.raw = raw->raw});

    // The candidates are trained and evaluated side by side.
    auto [fit, check] = p.for_each(std::vector{24, 64}, [&](auto hidden) {
      auto trained = p.add(train, {.train = data->train,
                                   .validation = data->validation,
                                   .hidden = hidden,
                                   .epochs = epochs,
                                   .tracking_uri = tracking_uri});
      auto evaluated = p.add(evaluate, {.model = trained->model,
                                        .test = data->test,
                                        .run_id = trained->run_id,
                                        .tracking_uri = tracking_uri});
      return std::pair(trained, evaluated);
    });

    auto best = p.add(gate, {.accuracies = p.collect(check->accuracy),
                             .models = p.collect(fit->model),
                             .model_ids = p.collect(fit->model_id)});
    p.when(best->passed, [&] {
      auto version = p.add(
          register_version,
          {.model_id = best->best_id, .accuracy = best->accuracy, .tracking_uri = tracking_uri});
      p.add(serve, {.test = data->test,
                    .version = version->version,
                    .accuracy = best->accuracy,
                    .tracking_uri = tracking_uri})
          .cache(false);
    });
  });
}
// --8<-- [end:pipeline]

}  // namespace digits
