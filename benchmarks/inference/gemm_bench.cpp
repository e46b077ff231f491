// Matrix products on one thread: GFLOP/s and the share of what the processor's FMA units can do.
#include "fma_peak.hpp"
#include "inference/cpu/kernels/gemm.hpp"

#include <benchmark/benchmark.h>

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace {

using namespace mizzen::inference::detail;
using namespace mizzen::inference::detail::cpu;

struct operands {
  std::vector<float> a, b, c;
  std::optional<packed_columns> packed;
  std::size_t rows, columns, depth;
};

gemm_operands operands_of(const void* context, std::size_t) {
  auto& o = *const_cast<operands*>(static_cast<const operands*>(context));
  gemm_operands g;
  g.a = {o.a.data(), static_cast<std::ptrdiff_t>(o.depth), 1};
  if (o.packed) {
    g.b_packed = &*o.packed;
  } else {
    g.b = {o.b.data(), static_cast<std::ptrdiff_t>(o.columns), 1};
  }
  g.c = o.c.data();
  g.c_row = static_cast<std::ptrdiff_t>(o.columns);
  return g;
}

double peak_of(isa level) {
  static const double peaks[] = {
      mizzen::benchmarks::fma_peak(isa::generic), mizzen::benchmarks::fma_peak(isa::avx2),
      detect_isa() == isa::avx512 ? mizzen::benchmarks::fma_peak(isa::avx512) : 0.0};
  return peaks[static_cast<int>(level)];
}

void product(benchmark::State& state, isa level, bool packed) {
  const kernel_table& kernels = kernels_for(level);
  const auto size = [&](int i) { return static_cast<std::size_t>(state.range(i)); };
  operands o;
  o.rows = size(0);
  o.columns = size(1);
  o.depth = size(2);
  o.a.assign(o.rows * o.depth, 0.5F);
  o.b.assign(o.columns * o.depth, 0.25F);
  o.c.assign(o.rows * o.columns, 0.0F);
  if (packed) {
    const matrix_view b{o.b.data(), static_cast<std::ptrdiff_t>(o.columns), 1};
    o.packed.emplace(kernels, b, o.depth, o.columns);
  }
  thread_pool pool(1);
  gemm_problem problem;
  problem.rows = o.rows;
  problem.columns = o.columns;
  problem.depth = o.depth;
  problem.context = &o;
  problem.operands = operands_of;
  std::vector<float> scratch(gemm_scratch(kernels, 1));
  for (auto _ : state) {
    gemm(kernels, pool, problem, scratch.data());
    benchmark::DoNotOptimize(o.c.data());
    benchmark::ClobberMemory();
  }
  const double operations = 2.0 * static_cast<double>(o.rows * o.columns * o.depth);
  state.counters["FLOP/s"] = benchmark::Counter(
      operations, benchmark::Counter::kIsIterationInvariantRate, benchmark::Counter::kIs1000);
  if (peak_of(level) > 0) {
    state.counters["of_peak"] = benchmark::Counter(operations / peak_of(level),
                                                   benchmark::Counter::kIsIterationInvariantRate);
  }
}

void sizes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"M", "N", "K"});
  b->Args({512, 512, 512})->Args({1024, 1024, 1024});
  b->Args({128, 384, 384})->Args({128, 1536, 384})->Args({128, 384, 1536});  // MiniLM, 128 tokens
  b->Args({1, 1536, 384})->Args({8, 1536, 384});
  b->Unit(benchmark::kMicrosecond);
}

}  // namespace

int main(int argc, char** argv) {
  for (const isa level : {isa::avx512, isa::avx2, isa::generic}) {
    if (level > detect_isa()) continue;
    for (const bool packed : {true, false}) {
      const std::string name =
          "gemm/" + std::string(to_string(level)) + (packed ? "/packed_b" : "/plain_b");
      sizes(benchmark::RegisterBenchmark(
          name.c_str(), [=](benchmark::State& state) { product(state, level, packed); }));
    }
    benchmark::AddCustomContext("fma_peak_" + std::string(to_string(level)),
                                std::to_string(peak_of(level) / 1e9) + " GFLOP/s");
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
