// How the cost of a run grows with the number of tasks: steps that do nothing, so that what is
// measured is the runner itself.
#include <mizzen/pipelines.hpp>

#include <benchmark/benchmark.h>

#include <filesystem>
#include <optional>
#include <string>

namespace mz = mizzen;

namespace {

struct empty_io {};
BOOST_DESCRIBE_STRUCT(empty_io, (), ())
void empty(empty_io&) {}

struct number_io {
  mz::in<int> n = 0;
  mz::out<int> next;
};
BOOST_DESCRIBE_STRUCT(number_io, (), (n, next))
void number(number_io& io) { io.next = io.n + 1; }

// A root that goes away with the benchmark.
class scratch {
 public:
  scratch()
      : path_(std::filesystem::temp_directory_path() / ("mizzen-bench-" + mz::random_hex_id())) {}
  ~scratch() { std::filesystem::remove_all(path_); }
  scratch(const scratch&) = delete;
  scratch& operator=(const scratch&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

void run_all(benchmark::State& state, const mz::pipeline& pipeline, unsigned threads, bool cache) {
  const scratch root;
  for (auto _ : state) {
    mz::pipelines::run(pipeline, {}, {.root = root.path(), .parallelism = threads, .cache = cache})
        .check();
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

void independent(benchmark::State& state) {
  const mz::pipeline pipeline{"bench", [&](mz::pipeline_builder& p) {
                                for (int i = 0; i < state.range(0); ++i) p.add(empty, {});
                              }};
  run_all(state, pipeline, static_cast<unsigned>(state.range(1)), false);
}

void chain(benchmark::State& state) {
  const mz::pipeline pipeline{"bench", [&](mz::pipeline_builder& p) {
                                auto last = p.add(number, {});
                                for (int i = 1; i < state.range(0); ++i) {
                                  last = p.add(number, {.n = last->next});
                                }
                              }};
  run_all(state, pipeline, static_cast<unsigned>(state.range(1)), false);
}

void fan_out(benchmark::State& state) {
  const mz::pipeline pipeline{
      "bench", [&](mz::pipeline_builder& p) {
        const std::vector<int> items(static_cast<std::size_t>(state.range(0)));
        p.for_each(items, [&](auto n) { p.add(number, {.n = n}); });
      }};
  run_all(state, pipeline, static_cast<unsigned>(state.range(1)), false);
}

// Every task found in the cache after the first round.
void cached(benchmark::State& state) {
  const mz::pipeline pipeline{"bench", [&](mz::pipeline_builder& p) {
                                for (int i = 0; i < state.range(0); ++i) p.add(number, {.n = i});
                              }};
  run_all(state, pipeline, static_cast<unsigned>(state.range(1)), true);
}

void build(benchmark::State& state) {
  for (auto _ : state) {
    const mz::pipeline pipeline{"bench", [&](mz::pipeline_builder& p) {
                                  auto last = p.add(number, {});
                                  for (int i = 1; i < state.range(0); ++i) {
                                    last = p.add(number, {.n = last->next});
                                  }
                                }};
    benchmark::DoNotOptimize(pipeline);
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

void sizes(benchmark::internal::Benchmark* bench) {
  for (const int tasks : {10, 100, 1000, 10000}) {
    for (const int threads : {1, 2}) bench->Args({tasks, threads});
  }
  bench->ArgNames({"tasks", "threads"})->UseRealTime()->Unit(benchmark::kMillisecond);
}

BENCHMARK(independent)->Apply(sizes);
BENCHMARK(chain)->Apply(sizes);
BENCHMARK(fan_out)->Apply(sizes);
BENCHMARK(cached)
    ->Args({1000, 1})
    ->ArgNames({"tasks", "threads"})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK(build)->RangeMultiplier(10)->Range(10, 10000)->Unit(benchmark::kMillisecond);

}  // namespace
