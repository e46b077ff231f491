// Weights are on the device once, whatever the number of shapes that a model runs in.
#include "device_test.hpp"
#include "test_stream.hpp"

#include <cstdint>
#include <optional>

namespace mizzen::inference {
namespace {

using test::count_of;

constexpr std::int64_t width = 256;
constexpr std::uint64_t half_bytes = width * width * 2;  // of the one matrix, in float16

model_builder product() {
  model_builder m;
  m.input("x", f32, {"batch", width})
      .initializer("w", noise({width, width}))
      .node("MatMul", {"x", "w"}, {"p"})
      .node("Relu", {"p"}, {"y"})
      .output("y", f32, {"batch", width});
  return m;
}

tensor_map rows(std::int64_t batch) {
  tensor_map in;
  in.emplace("x", noise({batch, width}));
  return in;
}

TEST(shared_weights, are_made_once_for_all_shapes) {
  if (!is_emulated()) GTEST_SKIP() << "only the emulated GPU counts";
  const model_builder model = product();
  const session cpu = session::load(model.bytes());
  const session device = on_device(model, gpu_options::arithmetic::float16);
  const std::uint64_t before = count_of("device_bytes");
  expect_near(device.run(rows(64)), cpu.run(rows(64)), 2e-2F);
  const std::uint64_t first = count_of("device_bytes") - before;
  const std::uint64_t setup = count_of("setup");
  // In float16 alone: in float32, as they came, they are twice that.
  EXPECT_GE(first, half_bytes);
  EXPECT_LT(first, 2 * half_bytes + 4 * 64 * width * 4);
  expect_near(device.run(rows(32)), cpu.run(rows(32)), 2e-2F);
  EXPECT_EQ(count_of("setup"), setup);
  EXPECT_LT(count_of("device_bytes") - before - first, half_bytes);
}

TEST(shared_weights, go_with_the_last_that_uses_them) {
  if (!is_emulated()) GTEST_SKIP() << "only the emulated GPU counts";
  const std::uint64_t before = count_of("device_bytes");
  const model_builder model = product();
  std::optional<session> device = on_device(model, gpu_options::arithmetic::float16);
  device->run(rows(64));
  device->run(rows(32));
  EXPECT_GT(count_of("device_bytes"), before);
  device->release_memory();
  const std::uint64_t setup = count_of("setup");
  device->run(rows(64));
  EXPECT_GT(count_of("setup"), setup);
  device.reset();
  EXPECT_EQ(count_of("device_bytes"), before);
}

}  // namespace
}  // namespace mizzen::inference
