// One C++ program: a pipeline on real data that is tracked, gated, registered and served.
//   digits [--data=FILE] [--root=DIR] [--epochs=N] [--failures=N] [--port=N] [--keep] [--graph]
#include "steps.hpp"

#include <mizzen/pipelines.hpp>
#include <mizzen/tracking.hpp>

#include <charconv>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <string>

namespace mz = mizzen;
namespace fs = std::filesystem;

namespace {

struct options {
  fs::path data = DIGITS_CSV;
  fs::path root = "digits-quickstart";
  int epochs = 30;
  int failures = 0;
  std::uint16_t port = 8080;
  bool keep = false;
  bool graph = false;
};

template <typename T>
T number(std::string_view text, std::string_view flag) {
  T value{};
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (status != std::errc{} || end != text.data() + text.size()) {
    throw mz::error(mz::errc::invalid_argument, flag, "'" + std::string(text) + "' is no number");
  }
  return value;
}

options parse(int argc, char** argv) {
  options result;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    const std::string_view flag = argument.substr(0, argument.find('='));
    const std::string_view value =
        flag.size() < argument.size() ? argument.substr(flag.size() + 1) : std::string_view();
    if (flag == "--data")
      result.data = value;
    else if (flag == "--root")
      result.root = value;
    else if (flag == "--epochs")
      result.epochs = number<int>(value, flag);
    else if (flag == "--failures")
      result.failures = number<int>(value, flag);
    else if (flag == "--port")
      result.port = number<std::uint16_t>(value, flag);
    else if (flag == "--keep")
      result.keep = true;
    else if (flag == "--graph")
      result.graph = true;
    else
      throw mz::error(mz::errc::invalid_argument, flag,
                      "unknown; there are --data=FILE --root=DIR "
                      "--epochs=N --failures=N --port=N --keep --graph");
  }
  return result;
}

int run(const options& chosen) {
  fs::create_directories(chosen.root);
  const fs::path root = fs::absolute(chosen.root).lexically_normal();
  const std::string store = "sqlite:///" + (root / "mlflow.db").string();
  const mz::pipeline pipeline = digits::make_pipeline(fs::absolute(chosen.data).string(), store);
  if (chosen.graph) {
    std::cout << mz::pipelines::to_mermaid(pipeline.graph());
    return 0;
  }

  const mz::tracking::client tracking(store);
  const auto result =
      mz::pipelines::run(pipeline, {{"epochs", chosen.epochs}, {"failures", chosen.failures}},
                         {.root = root / "pipelines",
                          .observer = mz::pipelines::progress_printer(),
                          .tracking = &tracking});
  result.check();

  const auto accuracy = result.value_of<double>("gate", "accuracy");
  if (!result.value_of<bool>("gate", "passed")) {
    std::printf("\nThe gate stayed shut: the best accuracy is %.2f %%, 95 %% are needed.\n",
                100 * accuracy);
    return 1;
  }
  const auto version = result.value_of<int>("register", "version");
  const auto champion = tracking.get_model_version(digits::model_name, version);
  const auto lineage = tracking.lineage();
  const auto node = lineage.find("model_version", digits::model_name, std::to_string(version));

  std::printf("\nLineage of version %d:\n%s\n", version,
              node ? to_text(lineage.upstream(node->id)).c_str() : "(none)\n");
  std::printf("accuracy   %.2f %% on the test split, in process and over HTTP\n", 100 * accuracy);
  std::printf("latency    p50 %.2f ms, p99 %.2f ms per request over HTTP\n",
              result.value_of<double>("serve", "p50_ms"),
              result.value_of<double>("serve", "p99_ms"));
  std::printf("steps      %zu run, %zu from the cache\n",
              result.count(mz::pipelines::task_state::succeeded),
              result.count(mz::pipelines::task_state::cached));
  std::printf("store      %s\n", store.c_str());
  std::printf("           mlflow ui --backend-store-uri %s\n", store.c_str());
  std::printf("model      %s (digits version %d, alias champion)\n", champion.location.c_str(),
              version);
  std::printf(
      "           python3 -c \"import mlflow; mlflow.set_tracking_uri('%s'); "
      "print(mlflow.onnx.load_model('models:/digits@champion').graph.name)\"\n",
      store.c_str());
  if (!chosen.keep) {
    std::printf("serve it   %s --root=%s --keep\n", fs::read_symlink("/proc/self/exe").c_str(),
                root.c_str());
    return 0;
  }
  auto server = digits::champion_server(store, chosen.port);
  server.start();
  std::printf("serving    %s until SIGTERM or Ctrl-C\n", server.url().c_str());
  std::printf("           curl -s %s/v2/models/digits\n", server.url().c_str());
  std::fflush(stdout);
  return server.run_until_signal();
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(parse(argc, argv));
  } catch (...) {
    std::cerr << "digits: " << mz::describe(std::current_exception()) << '\n';
    return 2;
  }
}
