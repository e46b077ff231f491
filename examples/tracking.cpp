// A run in an embedded store: metrics, parameters, an artifact, and how it came about. Afterwards
// MLflow opens it:  mlflow ui --backend-store-uri <the URI that is printed>
#include <mizzen/tracking.hpp>

#include <cmath>
#include <filesystem>
#include <iostream>
#include <unistd.h>

namespace mz = mizzen;

int main() {
  const auto folder =
      std::filesystem::temp_directory_path() / ("mizzen-tracking-" + std::to_string(getpid()));
  mz::tracking::client client({.uri = (folder / "mlflow.db").string()});

  // --8<-- [start:readme]
  auto run = client.start_run("digits", {.name = "first", .params = {{"rate", "0.1"}}});
  run.log_input({.name = "digits", .digest = "1797-rows"}, {.context = "training"});
  for (int epoch = 0; epoch < 10; ++epoch) {
    run.log_metric("loss", std::exp(-0.3 * epoch), {.step = epoch});
  }
  mz::tracking::confusion_matrix matrix({"even", "odd"});
  matrix.add(0, 0);
  matrix.add(1, 1);
  run.log_text(to_svg(matrix, {.title = "test split"}), "confusion.svg");
  run.finish();
  // --8<-- [end:readme]

  const auto record = client.get_run(run.id());
  std::cout << client.uri() << "\nrun " << record.name << ": "
            << client.metric_history(record.id, "loss").size() << " points, last loss "
            << record.metrics.at("loss").value << '\n'
            << to_text(client.lineage().all());
  std::filesystem::remove_all(folder);
  return record.status == mz::tracking::run_status::finished ? 0 : 1;
}
