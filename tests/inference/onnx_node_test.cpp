// The node tests of the onnx package: every case is either right or refused as unimplemented.
#include "inference/cpu/kernels/elements.hpp"
#include "model_cases.hpp"

#include <mizzen/inference.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <map>
#include <memory>
#include <set>

namespace mizzen::inference {
namespace {

// Prints the folder of the cases; empty if it cannot be made.
std::filesystem::path case_folder() {
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(::popen(MIZZEN_PREPARE_NODES, "r"), ::pclose);
  std::array<char, 4096> line{};
  if (!pipe || std::fgets(line.data(), line.size(), pipe.get()) == nullptr) return {};
  std::string text(line.data());
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return std::filesystem::exists(text + "/.complete") ? text : "";
}

template <class T>
double at(const tensor& t, std::size_t i) {
  return static_cast<double>(t.data<T>()[i]);
}

double number(const tensor& t, std::size_t i) {
  switch (t.type()) {
    case element_type::float32:
      return at<float>(t, i);
    case element_type::float64:
      return at<double>(t, i);
    case element_type::boolean:
      return at<bool>(t, i);
    case element_type::int8:
      return at<std::int8_t>(t, i);
    case element_type::int16:
      return at<std::int16_t>(t, i);
    case element_type::int32:
      return at<std::int32_t>(t, i);
    case element_type::int64:
      return at<std::int64_t>(t, i);
    case element_type::uint8:
      return at<std::uint8_t>(t, i);
    case element_type::uint16:
      return at<std::uint16_t>(t, i);
    case element_type::uint32:
      return at<std::uint32_t>(t, i);
    case element_type::uint64:
      return at<std::uint64_t>(t, i);
    default:
      if (!detail::cpu::has_elements(t.type())) {
        throw std::runtime_error("type " + std::string(to_string(t.type())));
      }
      return detail::cpu::element_at(t.bytes().data(), t.type(), i);
  }
}

double epsilon_of(element_type type) {
  if (type == element_type::float16) return 0x1p-10;
  if (type == element_type::bfloat16) return 0x1p-7;
  return type == element_type::float32 ? 0x1p-23 : 0;
}

// Empty if equal within the tolerance of the case, else what differs.
std::string difference(const tensor& actual, const tensor& expected, const test_case& c) {
  if (actual.type() != expected.type()) return "type " + std::string(to_string(actual.type()));
  if (actual.shape() != expected.shape()) {
    return "shape " + to_string(actual.shape()) + " instead of " + to_string(expected.shape());
  }
  // Answers computed in their own precision carry its rounding noise where they cancel out.
  double largest = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double b = std::abs(number(expected, i));
    if (std::isfinite(b)) largest = std::max(largest, b);
  }
  const double noise = 4 * epsilon_of(expected.type()) * largest;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    const double a = number(actual, i);
    const double b = number(expected, i);
    if (a == b || (std::isnan(a) && std::isnan(b))) continue;
    if (!(std::abs(a - b) <= std::max(c.absolute, noise) + c.relative * std::abs(b))) {
      return "element " + std::to_string(i) + ": " + std::to_string(a) + " instead of " +
             std::to_string(b);
    }
  }
  return {};
}

// The cases of Bernoulli were drawn without a seed: what can be asked is that all are 0 or 1.
std::string difference_of_draws(const tensor& actual, const tensor& expected) {
  if (actual.type() != expected.type() || actual.shape() != expected.shape())
    return "type or shape";
  for (std::size_t i = 0; i < actual.size(); ++i) {
    if (const double a = number(actual, i); a != 0 && a != 1) return std::to_string(a);
  }
  return {};
}

TEST(onnx_nodes, are_right_or_refused) {
  const auto folder = case_folder();
  if (folder.empty()) GTEST_SKIP() << "tests/models/prepare.sh nodes could not make the cases";
  std::set<std::filesystem::path> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.is_directory()) names.insert(entry.path());
  }
  std::size_t right = 0;
  std::size_t refused = 0;
  std::size_t wrong = 0;
  for (const auto& path : names) {
    try {
      const auto cases = read_cases(path);
      const auto s = session::load(path / "model.onnx", {.threads = 1});
      const auto outputs = s.run(cases.at(0).inputs);
      std::string off;
      for (const auto& [name, expected] : cases[0].outputs) {
        const bool drawn = path.filename().string().starts_with("test_bernoulli");
        const std::string found = drawn ? difference_of_draws(outputs.at(name), expected)
                                        : difference(outputs.at(name), expected, cases[0]);
        if (!found.empty()) off = name + ": " + found;
      }
      if (off.empty()) {
        ++right;
      } else {
        ++wrong;
        ADD_FAILURE() << path.filename().string() << ": " << off;
      }
    } catch (const error& e) {
      if (e.code() == errc::unimplemented) {
        ++refused;
        if (std::getenv("MIZZEN_VERBOSE") != nullptr) {
          std::printf("%s: %s\n", path.filename().c_str(), e.what());
        }
      } else {
        ++wrong;
        ADD_FAILURE() << path.filename().string() << ": " << e.what();
      }
    }
  }
  std::printf("ONNX node tests: %zu right, %zu refused as unimplemented, %zu wrong, of %zu\n",
              right, refused, wrong, names.size());
  EXPECT_GT(right, std::size_t{MIZZEN_LEAST_RIGHT});
}

}  // namespace
}  // namespace mizzen::inference
