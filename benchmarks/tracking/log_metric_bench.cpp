// What logging costs the training loop: one point at a time, in batches, from several threads, and
// with the promise against power cuts. The store is on the disk that TMPDIR names.
#include <mizzen/core/id.hpp>
#include <mizzen/tracking.hpp>

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <vector>

namespace {

using namespace mizzen::tracking;

class store_folder {
 public:
  store_folder()
      : path_(std::filesystem::temp_directory_path() /
              ("mizzen-bench-" + mizzen::random_hex_id())) {}
  ~store_folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  client open(durability promise = durability::process) const {
    return client({.uri = (path_ / "mlflow.db").string(), .durability = promise});
  }

 private:
  std::filesystem::path path_;
};

void log_one(benchmark::State& state, durability promise) {
  const store_folder folder;
  auto run = folder.open(promise).start_run("bench");
  std::int64_t step = 0;
  std::vector<double> micros;
  for (auto _ : state) {
    const auto before = std::chrono::steady_clock::now();
    run.log_metric("loss", 1.0 / static_cast<double>(step + 1), {.step = step});
    micros.push_back(
        std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - before)
            .count());
    ++step;
  }
  std::sort(micros.begin(), micros.end());
  const auto at = [&](double share) {
    return micros[std::min(micros.size() - 1,
                           static_cast<std::size_t>(share * static_cast<double>(micros.size())))];
  };
  state.counters["p50_us"] = at(0.5);
  state.counters["p99_us"] = at(0.99);
  state.counters["p99.9_us"] = at(0.999);
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK_CAPTURE(log_one, survives_kill, durability::process)->Iterations(20000);
BENCHMARK_CAPTURE(log_one, survives_power_cut, durability::power)->Iterations(500);

void log_batch_of(benchmark::State& state) {
  const store_folder folder;
  auto run = folder.open().start_run("bench");
  std::vector<metric> points(static_cast<std::size_t>(state.range(0)));
  std::int64_t step = 0;
  for (auto _ : state) {
    for (metric& point : points) point = {"loss", 0.5, step++};
    run.log_metrics(points);
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(log_batch_of)->Arg(10)->Arg(1000)->Unit(benchmark::kMicrosecond);

void log_from_threads(benchmark::State& state) {
  static std::unique_ptr<store_folder> folder;
  static std::unique_ptr<run> shared;
  if (state.thread_index() == 0) {
    folder = std::make_unique<store_folder>();
    shared = std::make_unique<run>(folder->open().start_run("bench"));
  }
  const std::string key = "loss/" + std::to_string(state.thread_index());
  std::int64_t step = 0;
  for (auto _ : state) shared->log_metric(key, 0.5, {.step = step++});
  state.SetItemsProcessed(state.iterations());
  if (state.thread_index() == 0) {
    shared.reset();
    folder.reset();
  }
}
BENCHMARK(log_from_threads)->Threads(2)->Iterations(5000)->UseRealTime();

void read_history(benchmark::State& state) {
  const store_folder folder;
  client c = folder.open();
  auto run = c.start_run("bench");
  std::vector<metric> points;
  for (std::int64_t i = 0; i < state.range(0); ++i) points.push_back({"loss", 0.5, i, i});
  run.log_metrics(points);
  for (auto _ : state) benchmark::DoNotOptimize(c.metric_history(run.id(), "loss"));
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(read_history)->Arg(100)->Arg(100'000)->Unit(benchmark::kMicrosecond);

void search_runs(benchmark::State& state) {
  const store_folder folder;
  client c = folder.open();
  for (std::int64_t i = 0; i < state.range(0); ++i) {
    auto run = c.start_run("bench", {.params = {{"rate", "0.1"}}});
    run.log_metric("loss", 0.5);
    run.finish();
  }
  for (auto _ : state) benchmark::DoNotOptimize(c.search_runs({.max_results = 100}));
}
BENCHMARK(search_runs)->Arg(1000)->Unit(benchmark::kMicrosecond);

void open_store(benchmark::State& state) {
  const store_folder folder;
  {
    client c = folder.open();
  }
  for (auto _ : state) benchmark::DoNotOptimize(folder.open());
}
BENCHMARK(open_store)->Unit(benchmark::kMicrosecond);

}  // namespace

BENCHMARK_MAIN();
