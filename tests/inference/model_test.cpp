// Real models against ONNX Runtime: see tests/models.
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

// The folder of the models, made once per process; empty if it cannot be made.
const std::filesystem::path& model_folder() {
  static const std::filesystem::path folder = [] {
    std::filesystem::path result;
    const std::unique_ptr<FILE, int (*)(FILE*)> pipe(::popen(MIZZEN_PREPARE_MODELS, "r"), ::pclose);
    std::array<char, 4096> line{};
    if (pipe && std::fgets(line.data(), line.size(), pipe.get()) != nullptr) {
      std::string text(line.data());
      while (!text.empty() && text.back() == '\n') text.pop_back();
      if (std::filesystem::exists(text + "/.complete")) result = text;
    }
    return result;
  }();
  return folder;
}

struct difference {
  double absolute = 0.0;  // max |a - b|
  double relative = 0.0;  // max |a - b| / max |b|, the greatest over the outputs
};

void compare(const tensor& actual, const tensor& expected, difference& d) {
  ASSERT_EQ(actual.type(), expected.type());
  ASSERT_EQ(actual.shape(), expected.shape());
  ASSERT_EQ(actual.type(), element_type::float32);
  const auto a = actual.data<float>();
  const auto b = expected.data<float>();
  double largest = 0.0;
  double off = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    ASSERT_TRUE(std::isfinite(a[i])) << "element " << i;
    largest = std::max(largest, std::abs(static_cast<double>(b[i])));
    off = std::max(off, std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
  }
  d.absolute = std::max(d.absolute, off);
  ASSERT_GT(largest, 0.01) << "a reference of zeros proves nothing";
  if (off > 0.0) d.relative = std::max(d.relative, off / largest);
}

class real_model : public ::testing::TestWithParam<const char*> {};

TEST_P(real_model, agrees_with_onnx_runtime) {
  if (model_folder().empty()) {
    GTEST_SKIP() << "tests/models/prepare.sh could not make the models (see above)";
  }
  const auto folder = model_folder() / GetParam();
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
      for (const auto& [name, expected] : c.outputs) {
        compare(outputs.at(name), expected, d);
        compare(first.at(name), outputs.at(name), d);
      }
    }
    std::printf("%-18s %-9s %zu cases  max abs error %.2e  relative %.2e  last run %.1f ms\n",
                GetParam(), optimize ? "optimised" : "as is", cases.size(), d.absolute, d.relative,
                ms);
    EXPECT_LE(d.relative, 1e-4);
  }
}

INSTANTIATE_TEST_SUITE_P(models, real_model,
                         ::testing::Values("minilm", "minilm_decomposed", "magika", "ppocrv4_rec",
                                           "ppocrv4_cls", "ppocrv4_det", "digits"),
                         [](const auto& model) { return std::string(model.param); });

}  // namespace
}  // namespace mizzen::inference
