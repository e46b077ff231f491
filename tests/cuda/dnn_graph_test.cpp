// What the real cuDNN makes of our graphs, on a machine without a GPU: it proposes engines and
// builds plans for GPUs that are only described.
#include "cuda/dnn_graph.hpp"

#include "cuda/nvrtc.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <dlfcn.h>
#include <iostream>
#include <memory>
#include <string>

namespace mizzen::cuda {
namespace {

constexpr element_type f32 = element_type::float32;
constexpr element_type f16 = element_type::float16;
constexpr element_type bf16 = element_type::bfloat16;

// The libraries, with a driver in place of the one that a machine without a GPU lacks.
struct libraries {
  libraries() {
    if (::dlopen("libcuda.so", RTLD_NOW) == nullptr &&
        ::dlopen(MIZZEN_NO_GPU_DRIVER, RTLD_NOW) == nullptr) {
      throw error(errc::unavailable, "driver", ::dlerror());
    }
    compiler = std::make_unique<kernel_compiler>();  // which cuDNN uses too
    api = std::make_unique<dnn::functions>();
  }
  std::unique_ptr<kernel_compiler> compiler;
  std::unique_ptr<dnn::functions> api;
};

const dnn::functions* cudnn() {
  static const libraries* const all = []() -> const libraries* {
    try {
      return new libraries;
    } catch (const error& e) {
      std::cout << "SKIPPED: " << e.what() << "\n";
      return nullptr;
    }
  }();
  return all == nullptr ? nullptr : all->api.get();
}

// A text as cuDNN itself writes it for a GPU.
std::string properties(int capability, const char* name, int processors, int shared, int threads,
                       int blocks) {
  return R"({"maxGridSize":[2147483647,65535,65535],"maxBlockSize":[1024,1024,64],)"
         R"("regsPerBlock":65536,"warpSize":32,"maxSharedMemoryPerBlock":49152,)"
         R"("reservedSharedMemoryPerBlock":1024,"maxRegistersPerSM":65536,)"
         R"("maxThreadsPerBlock":1024,"pciDeviceId":0,"isTccDriver":0,"supportCoopLaunch":1,)"
         R"("totalGlobalMem":17179869184,"smClockRateKHz":1500000,"memClockRateKHz":1500000,)"
         R"("l2CacheSize":41943040,"cudaDeviceId":0,"driverVer":13000,"deviceVer":)" +
         std::to_string(capability * 10) + R"(,"multiProcessorCount":)" +
         std::to_string(processors) + R"(,"maxSharedMemoryPerBlockOptin":)" +
         std::to_string(shared) + R"(,"maxThreadsPerSM":)" + std::to_string(threads) +
         R"(,"maxCtasPerSM":)" + std::to_string(blocks) + R"(,"deviceName":")" + name + "\"}";
}

std::string t4() { return properties(75, "Tesla T4", 40, 65536, 1024, 16); }
std::string a100() { return properties(80, "NVIDIA A100", 108, 166912, 2048, 32); }
std::string h100() { return properties(90, "NVIDIA H100 80GB HBM3", 132, 232448, 2048, 32); }

view channels_last(std::size_t buffer, element_type type, const dims& shape) {
  std::vector<std::size_t> order = {0};
  for (std::size_t d = 2; d < shape.size(); ++d) order.push_back(d);
  order.push_back(1);
  return {buffer, type, 0, shape, dense_strides(shape, order)};
}

conv_step convolution(element_type type, std::size_t spatial, std::int64_t channels) {
  conv_step s;
  s.type = type;
  dims x = {2, channels};
  dims w = {64, channels};
  dims out = {2, 64};
  x.resize(2 + spatial, 14);
  w.resize(2 + spatial, 3);
  out.resize(2 + spatial, 14);
  s.x = channels_last(0, type, x);
  s.w = channels_last(1, type, w);
  s.out = channels_last(2, type, out);
  s.pads_begin = s.pads_end = s.strides = s.dilations = dims(spatial, 1);
  return s;
}

void add_tail(conv_step& s, bool residual) {
  s.has_bias = true;
  s.bias = {3, s.type, 0, {64}, {1}};
  s.act = activation::relu;
  s.has_residual = residual;
  if (residual) s.residual = channels_last(4, s.type, s.out.shape);
}

// As the plug-in chooses, but that the first plans are taken for good: they must be built.
struct proposals {
  std::size_t usable = 0;  // engines that the step may run on
  std::size_t compiled = 0;
};
template <class Step>
proposals plan(const std::string& device, const Step& s, std::size_t most = 2) {
  const dnn::functions& f = *cudnn();
  const descriptor described = described_device(f, device);
  const dnn_device on{nullptr, &described};
  dnn_problem what = problem_of(f, s);
  what.graph.finish(on);
  proposals found;
  for (const descriptor& c : configurations(what.graph, on, CUDNN_HEUR_MODE_A)) {
    if (what.exact && rounds_float32(f, c)) continue;
    if (++found.usable > most) continue;
    workspace_of(f, execution_plan(f, on, c));
    ++found.compiled;
  }
  return found;
}

struct dnn_graphs : ::testing::Test {
  void SetUp() override {
    if (cudnn() == nullptr) GTEST_SKIP() << "cuDNN or NVRTC is not here";
  }
};

TEST_F(dnn_graphs, says_what_is_wrong_with_a_device) {
  try {
    described_device(*cudnn(), "{}");
    FAIL();
  } catch (const error& e) {
    EXPECT_NE(e.message().find("maxGridSize"), std::string::npos) << e.what();
  }
}

TEST_F(dnn_graphs, convolutions_have_plans) {
  for (const std::string& device : {t4(), a100(), h100()}) {
    for (const element_type type : {f32, f16, bf16}) {
      if (type == bf16 && device == t4()) continue;  // it has none
      for (std::size_t spatial = 1; spatial <= 3; ++spatial) {
        for (const std::int64_t channels : {3, 64}) {
          for (const int tail : {0, 1, 2}) {
            conv_step s = convolution(type, spatial, channels);
            if (tail != 0) add_tail(s, tail == 2);
            const proposals found = plan(device, s);
            EXPECT_GT(found.compiled, 0U)
                << device << " type " << static_cast<int>(type) << ", " << spatial
                << " dimensions, channels " << channels << ", tail " << tail;
          }
        }
      }
    }
  }
}

TEST_F(dnn_graphs, transposed_convolutions_have_plans) {
  for (const std::string& device : {t4(), a100(), h100()}) {
    for (const element_type type : {f32, f16, bf16}) {
      if (type == bf16 && device == t4()) continue;
      for (std::size_t spatial = 1; spatial <= 3; ++spatial) {
        // As in a U-Net: the picture doubles, and the channels become half of them.
        for (const auto& [in, out] : std::vector<std::array<std::int64_t, 2>>{{64, 32}, {16, 2}}) {
          for (const std::int64_t kernel : {2, 3}) {
            conv_step s;
            s.transposed = true;
            s.type = type;
            dims x = {1, in}, w = {in, out}, y = {1, out};
            x.resize(2 + spatial, 12);
            w.resize(2 + spatial, kernel);
            y.resize(2 + spatial, 24);
            s.x = channels_last(0, type, x);
            s.w = channels_last(1, type, w);
            s.out = channels_last(2, type, y);
            s.strides = dims(spatial, 2);
            s.dilations = dims(spatial, 1);
            s.pads_begin = s.pads_end = dims(spatial, kernel == 3 ? 1 : 0);
            const proposals found = plan(device, s);
            EXPECT_GT(found.compiled, 0U)
                << device << " type " << static_cast<int>(type) << ", " << spatial
                << " dimensions, channels " << in << ", kernel " << kernel;
          }
        }
      }
    }
  }
}

// Had the graph another order, cuDNN would write and compile a kernel for each.
TEST_F(dnn_graphs, a_residual_block_has_engines_that_are_compiled_already) {
  for (const std::string& device : {t4(), a100(), h100()}) {
    conv_step s = convolution(f16, 2, 64);
    add_tail(s, true);
    EXPECT_GE(plan(device, s).usable, 8U) << device;
  }
}

TEST_F(dnn_graphs, float32_that_may_round_has_more_engines) {
  conv_step s = convolution(f32, 2, 64);
  const proposals exact = plan(h100(), s);
  s.tf32 = true;
  EXPECT_GT(plan(h100(), s).usable, exact.usable);
}

// Why such views are copied first.
TEST_F(dnn_graphs, views_that_are_aligned_less_have_hardly_an_engine) {
  conv_step s = convolution(f16, 2, 64);
  s.x.offset = 3;
  EXPECT_EQ(plan(h100(), s).usable, 0U);
  s.x.offset = 8;
  EXPECT_GT(plan(h100(), s).usable, 0U);
}

TEST_F(dnn_graphs, refuses_what_it_cannot_compute) {
  conv_step s = convolution(f16, 2, 64);
  s.out.shape[2] = 13;
  EXPECT_THROW(problem_of(*cudnn(), s), error);
}

struct attention_case {
  element_type type;
  dims scores;  // batch, heads, queries, keys
  std::int64_t kv_heads, depth, width;
  dims mask;  // strides; empty: none
  bool causal;
};

attention_step attention(const attention_case& c) {
  attention_step s;
  s.type = c.type;
  s.scale = 0.125F;
  const auto tensor = [&](std::size_t buffer, std::int64_t heads, std::int64_t rows,
                          std::int64_t depth) {
    const dims shape = {c.scores[0], heads, rows, depth};
    return view{buffer, c.type, 0, shape, dense_strides(shape, {0, 2, 1, 3})};
  };
  s.q = tensor(0, c.scores[1], c.scores[2], c.depth);
  s.k = tensor(1, c.kv_heads, c.scores[3], c.depth);
  s.v = tensor(2, c.kv_heads, c.scores[3], c.width);
  s.out = tensor(3, c.scores[1], c.scores[2], c.width);
  s.causal = c.causal;
  s.has_mask = !c.mask.empty();
  if (s.has_mask) s.mask = {4, c.type, 0, c.scores, c.mask};
  return s;
}

// Each is a kernel that cuDNN writes and NVRTC compiles.
TEST_F(dnn_graphs, attention_has_plans) {
  const std::vector<attention_case> cases = {
      {f16, {1, 12, 128, 128}, 12, 64, 64, {}, false},
      {bf16, {2, 12, 197, 197}, 12, 64, 64, {}, false},
      {f16, {2, 12, 77, 77}, 12, 64, 64, {}, true},
      {f16, {2, 12, 77, 77}, 12, 64, 64, {77, 0, 0, 1}, false},
      {f16, {2, 12, 77, 77}, 12, 64, 64, {0, 0, 77, 1}, false},
      {bf16, {2, 12, 128, 128}, 12, 32, 32, {12 * 128 * 128, 128 * 128, 128, 1}, false},
      {f16, {2, 12, 1, 77}, 12, 64, 64, {77, 0, 0, 1}, false},
      {f16, {1, 12, 64, 64}, 4, 128, 64, {}, false},
      {f16, {2, 3, 5, 7}, 3, 8, 16, {}, false},
  };
  for (const std::string& device : {a100(), h100()}) {
    for (const attention_case& c : cases) {
      EXPECT_EQ(plan(device, attention(c), 1).compiled, 1U)
          << device << " heads " << c.kv_heads << ", keys " << c.scores[3] << ", depth " << c.depth
          << ", mask " << c.mask.size() << ", causal " << c.causal;
    }
  }
}

// Columns of one product, as its rows lie: what is asked of the GPU lies apart, but runs so.
TEST_F(dnn_graphs, attention_has_plans_for_views) {
  attention_step s = attention({f16, {2, 12, 77, 77}, 12, 64, 64, {0, 0, 0, 1}, false});
  const std::int64_t row = std::int64_t{3} * 12 * 64;
  for (view* v : {&s.q, &s.k, &s.v}) {
    v->offset = static_cast<std::int64_t>(v->buffer) * 12 * 64;
    v->buffer = 0;
    v->strides = {77 * row, 64, row, 1};
  }
  EXPECT_EQ(plan(h100(), s, 1).compiled, 1U);
  EXPECT_EQ(plan(a100(), s, 1).compiled, 1U);
}

// What the plan cache keeps.
TEST_F(dnn_graphs, plans_are_written_and_read_again) {
  const dnn::functions& f = *cudnn();
  const descriptor described = described_device(f, h100());
  const dnn_device on{nullptr, &described};
  const auto again = [&](dnn_problem what) {
    what.graph.finish(on);
    const auto list = configurations(what.graph, on, CUDNN_HEUR_MODE_A);
    ASSERT_FALSE(list.empty());
    const descriptor made = execution_plan(f, on, list.front());
    const std::string text = text_of(f, made);
    ASSERT_FALSE(text.empty());
    descriptor read(f, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    read.set(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, described)
        .set(CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
             std::span<const char>(text))
        .finish();
    EXPECT_EQ(workspace_of(f, read), workspace_of(f, made));
  };
  conv_step s = convolution(f16, 2, 64);
  add_tail(s, true);
  again(problem_of(f, s));
  again(problem_of(f, attention({f16, {1, 12, 128, 128}, 12, 64, 64, {}, false})));
}

// What is then computed step by step.
TEST_F(dnn_graphs, attention_that_cudnn_does_not_have) {
  const attention_case usual = {f16, {1, 12, 128, 128}, 12, 64, 64, {}, false};
  EXPECT_EQ(plan(t4(), attention(usual)).usable, 0U);
  attention_case odd = usual;
  odd.depth = odd.width = 20;
  EXPECT_EQ(plan(h100(), attention(odd)).usable, 0U);
}

}  // namespace
}  // namespace mizzen::cuda
