// Real models whose inputs are padded to buckets of shapes, against the same models without.
#include "model_cases.hpp"

#include <mizzen/inference.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>

namespace mizzen::inference {
namespace {

const std::filesystem::path& models() {
  static const std::filesystem::path folder = prepared(MIZZEN_PREPARE_MODELS);
  return folder;
}

// The first rows of a tensor, those of a batch repeated where it has too few.
tensor rows(const tensor& t, std::int64_t n) {
  shape_type shape = t.shape();
  const std::int64_t have = shape[0];
  shape[0] = n;
  tensor result(t.type(), shape);
  const std::size_t row = t.bytes().size() / static_cast<std::size_t>(have);
  for (std::int64_t i = 0; i < n; ++i) {
    const auto from = t.bytes().subspan(static_cast<std::size_t>(i % have) * row, row);
    std::ranges::copy(from, result.mutable_bytes().begin() +
                                static_cast<std::ptrdiff_t>(static_cast<std::size_t>(i) * row));
  }
  return result;
}

void expect_close(const tensor_map& actual, const tensor_map& expected) {
  for (const auto& [name, t] : expected) {
    ASSERT_EQ(actual.at(name).shape(), t.shape()) << name;
    const auto a = actual.at(name).data<float>();
    const auto b = t.data<float>();
    for (std::size_t i = 0; i < b.size(); ++i) {
      ASSERT_NEAR(a[i], b[i], 1e-4F * std::max(1.0F, std::abs(b[i]))) << name << "[" << i << "]";
    }
  }
}

// Every batch from 1 to 5 with one of three plans.
void batches(const char* name, const char* symbol) {
  if (models().empty()) GTEST_SKIP() << "the models cannot be made";
  const auto folder = models() / name;
  std::atomic<int> plans = 0;
  session_options options;
  options.shape_buckets = {{symbol, {1, 2, 5}}};
  options.log = logger([&](const log_record& r) { plans += r.message == "plan made" ? 1 : 0; },
                       log_level::debug);
  const auto bucketed = session::load(folder / "model.onnx", options);
  const auto plain = session::load(folder / "model.onnx");
  const auto cases = read_cases(folder);
  for (const std::int64_t n : {1, 2, 3, 4, 5, 3}) {
    tensor_map in;
    for (const auto& [input, t] : cases[0].inputs) in.emplace(input, rows(t, n));
    expect_close(bucketed.run(in), plain.run(in));
  }
  EXPECT_EQ(plans, 3);
}

TEST(bucket_models, digits) { batches("digits", "batch"); }
TEST(bucket_models, magika) { batches("magika", "unk__214"); }

TEST(bucket_models, minilm_in_any_length) {
  if (models().empty()) GTEST_SKIP() << "the models cannot be made";
  const auto folder = models() / "minilm";
  const auto plain = session::load(folder / "model.onnx");
  const auto bucketed = session::load(
      folder / "model.onnx", {.shape_buckets = {{"batch", {1, 4}}, {"sequence", {16, 64, 256}}}});
  for (const test_case& one : read_cases(folder)) {
    expect_close(bucketed.run(one.inputs), plain.run(one.inputs));
  }
}

}  // namespace
}  // namespace mizzen::inference
