// The operators of com.microsoft against ONNX Runtime.
#include "inference/cpu/kernels/elements.hpp"
#include "model_cases.hpp"

#include <mizzen/inference.hpp>

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <memory>

namespace mizzen::inference {
namespace {

std::filesystem::path microsoft_folder() {
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(::popen(MIZZEN_PREPARE_MICROSOFT, "r"),
                                                   ::pclose);
  std::array<char, 4096> line{};
  if (!pipe || std::fgets(line.data(), line.size(), pipe.get()) == nullptr) return {};
  std::string text(line.data());
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return std::filesystem::exists(text + "/.complete") ? text : "";
}

void expect_equal(const tensor& got, const tensor& want, const test_case& c) {
  ASSERT_EQ(got.type(), want.type());
  ASSERT_EQ(got.shape(), want.shape());
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double a = detail::cpu::element_at(got.bytes().data(), got.type(), i);
    const double b = detail::cpu::element_at(want.bytes().data(), want.type(), i);
    ASSERT_NEAR(a, b, c.absolute + c.relative * std::abs(b)) << "element " << i;
  }
}

TEST(microsoft_ops, agree_with_onnx_runtime) {
  const auto folder = microsoft_folder();
  if (folder.empty()) GTEST_SKIP() << "tests/models/prepare.sh microsoft could not make the cases";
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (!entry.is_directory()) continue;
    SCOPED_TRACE(entry.path().filename().string());
    try {
      const auto cases = read_cases(entry.path());
      const auto s = session::load(entry.path() / "model.onnx", {.threads = 2});
      const auto outputs = s.run(cases.at(0).inputs);
      for (const auto& [name, want] : cases[0].outputs) {
        SCOPED_TRACE(name);
        expect_equal(outputs.at(name), want, cases[0]);
      }
    } catch (const std::exception& e) {
      ADD_FAILURE() << e.what();
    }
  }
}

}  // namespace
}  // namespace mizzen::inference
