// A training loop as you may already have it (the network and the data are the quickstart's), and
// what it takes to follow it in MLflow. An embedded store, or a server:
//   training_loop [URI [EPOCHS]]     default: sqlite:///mlflow.db 60
// Afterwards, for an embedded store:  mlflow ui --backend-store-uri URI
#include "../quickstart/digits.hpp"
#include "../quickstart/export.hpp"
#include "../quickstart/network.hpp"

#include <mizzen/inference.hpp>
#include <mizzen/tracking.hpp>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

namespace mz = mizzen;

namespace {

constexpr std::size_t hidden = 48;
constexpr std::size_t batch = 32;
const std::vector<std::string> labels = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"};

// Probabilities [images, 10] by the exported model.
std::vector<double> predict(const std::filesystem::path& model, const digits::data_set& data) {
  const auto session = mz::inference::session::load(model);
  const auto images = mz::tensor::view(std::span<const float>(data.images),
                                       {static_cast<std::int64_t>(data.size()), digits::pixels});
  const auto outputs = session.run({{"pixels", images}});
  const auto probabilities = outputs.at("probabilities").data<float>();
  return {probabilities.begin(), probabilities.end()};
}

// What the finished model does on images that it has not seen, as two figures and a number.
void report(mz::tracking::run& run, const std::filesystem::path& model,
            const digits::data_set& data) {
  const std::vector<double> scores = predict(model, data);
  const std::vector<std::size_t> actual(data.labels.begin(), data.labels.end());
  mz::tracking::confusion_matrix matrix(labels);
  for (std::size_t row = 0; row < actual.size(); ++row) {
    const auto first = scores.begin() + static_cast<std::ptrdiff_t>(row * digits::classes);
    const auto best = std::max_element(first, first + digits::classes);
    matrix.add(actual[row], static_cast<std::size_t>(best - first));
  }
  run.log_metric("test_accuracy", matrix.accuracy());
  run.log_figure(draw(matrix, {.title = "test split"}), "figures/confusion.png");
  run.log_figure(draw(mz::tracking::one_vs_rest_roc(actual, scores, labels), {.title = "ROC"}),
                 "figures/roc.png");
}

int train(const std::string& uri, int epochs) {
  const digits::split_data data = digits::split(digits::read_csv(DIGITS_CSV), 7);
  const float rate = 0.02F;
  digits::network network(hidden, 1);

  // --8<-- [start:loop]
  mz::tracking::client client(uri);
  auto run = client.start_run(
      "digits", {.name = "48 hidden units",
                 .description = "A perceptron on 8 x 8 pixels, trained by plain C++ loops.",
                 .system_metrics = true});  // a thread logs CPU, memory, disk, network, GPUs
  run.log_param("hidden", hidden);
  run.log_param("rate", rate);
  run.log_input({.name = "digits", .digest = digits::digest(data.train)}, {.context = "training"});

  for (int epoch = 0; epoch < epochs; ++epoch) {
    const auto start = std::chrono::steady_clock::now();
    const double loss =
        network.train_epoch(data.train, batch, rate, static_cast<std::uint32_t>(epoch));
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
    run.log_metrics({{"train/loss", loss},
                     {"validation/accuracy", network.accuracy(data.validation)},
                     {"train/epoch_ms", took.count()}},
                    {.step = epoch});
  }
  // --8<-- [end:loop]

  const auto folder = std::filesystem::temp_directory_path() / ("mizzen-" + run.id());
  std::filesystem::create_directory(folder);
  digits::save_onnx(network, folder / "model.onnx");
  report(run, folder / "model.onnx", data.test);
  run.log_model(folder / "model.onnx",
                {.name = "digits",
                 .signature = {.inputs = {{"pixels", "float32", {-1, digits::pixels}}},
                               .outputs = {{"probabilities", "float32", {-1, digits::classes}}}}});
  std::filesystem::remove_all(folder);
  run.finish();

  const auto record = run.get();
  std::cout << client.uri() << "\nrun " << record.id << ": test accuracy "
            << record.metrics.at("test_accuracy").value << '\n';
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return train(argc > 1 ? argv[1] : "sqlite:///mlflow.db", argc > 2 ? std::stoi(argv[2]) : 60);
  } catch (...) {
    std::cerr << "training_loop: " << mz::describe(std::current_exception()) << '\n';
    return 1;
  }
}
