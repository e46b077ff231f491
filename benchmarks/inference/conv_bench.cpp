// Convolutions of known networks on one thread: GFLOP/s.
#include "inference/cpu/kernels/conv_channels_last.hpp"

#include <benchmark/benchmark.h>

#include <cstddef>
#include <string>
#include <vector>

namespace {

using namespace mizzen::inference::detail;
using namespace mizzen::inference::detail::cpu;

window_axis axis(std::size_t in, std::size_t kernel, std::size_t stride) {
  window_axis a;
  a.in = in;
  a.kernel = kernel;
  a.stride = stride;
  a.pad_begin = a.pad_end = kernel / 2;
  a.out = (in + 2 * a.pad_begin - kernel) / stride + 1;
  return a;
}

struct layer {
  const char* name;
  channels_last_shape shape;
};

channels_last_shape square(std::size_t in, std::size_t out, std::size_t size, std::size_t kernel,
                           std::size_t stride, std::size_t groups = 1) {
  const window_axis a = axis(size, kernel, stride);
  return {1, in, out, groups, {{window_axis{}, a, a}}};
}

const std::vector<layer>& layers() {
  static const std::vector<layer> all = {
      {"resnet50_first_7x7s2", square(3, 64, 224, 7, 2)},
      {"resnet50_64_3x3", square(64, 64, 56, 3, 1)},
      {"resnet50_256_3x3", square(256, 256, 14, 3, 1)},
      {"resnet50_512_3x3", square(512, 512, 7, 3, 1)},
      {"resnet50_64_256_1x1", square(64, 256, 56, 1, 1)},
      {"resnet50_1024_256_1x1", square(1024, 256, 14, 1, 1)},
      {"ocr_depthwise_3x3", {1, 128, 128, 128, {{window_axis{}, axis(12, 3, 1), axis(160, 3, 1)}}}},
      {"ocr_depthwise_5x5", {1, 256, 256, 256, {{window_axis{}, axis(6, 5, 1), axis(160, 5, 1)}}}},
      {"mobilenet_depthwise_3x3s2", square(64, 64, 112, 3, 2, 64)},
      {"ocr_128_256_1x1", {1, 128, 256, 1, {{window_axis{}, axis(6, 1, 1), axis(160, 1, 1)}}}},
  };
  return all;
}

double operations(const channels_last_shape& s) {
  return 2.0 * static_cast<double>(s.batch * s.out_channels * s.window.out_size() *
                                   s.in_per_group() * s.window.taps());
}

void convolve(benchmark::State& state, isa level, const channels_last_shape& shape) {
  const kernel_table& kernels = kernels_for(level);
  thread_pool pool(1);
  const conv_method method = conv_method_for(shape);
  const std::vector<float> x(shape.batch * shape.in_channels * shape.window.in_size(), 0.5F);
  const std::vector<float> w(shape.out_channels * shape.in_per_group() * shape.window.taps(),
                             0.25F);
  std::vector<float> y(shape.batch * shape.out_channels * shape.window.out_size());
  const channels_last_weights weights(kernels, shape, method, w.data());
  aligned_floats scratch(conv_channels_last_scratch(kernels, shape, method, 1));
  for (auto _ : state) {
    conv_channels_last(kernels, pool, shape, weights, x.data(), y.data(), {}, scratch.data());
    benchmark::DoNotOptimize(y.data());
    benchmark::ClobberMemory();
  }
  state.counters["FLOP/s"] =
      benchmark::Counter(operations(shape), benchmark::Counter::kIsIterationInvariantRate,
                         benchmark::Counter::kIs1000);
}

}  // namespace

int main(int argc, char** argv) {
  for (const isa level : {isa::avx512, isa::avx2, isa::generic}) {
    if (level > detect_isa()) continue;
    for (const layer& l : layers()) {
      const std::string name = "conv/" + std::string(to_string(level)) + "/" + l.name;
      benchmark::RegisterBenchmark(name.c_str(), [&l, level](benchmark::State& state) {
        convolve(state, level, l.shape);
      })->Unit(benchmark::kMicrosecond);
    }
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
