// What was compiled and chosen for a model is kept: the next load of the same does neither again.
#include "device_test.hpp"

#include <cstdint>
#include <cstdlib>
#include <dlfcn.h>
#include <filesystem>
#include <map>
#include <string>
#include <unistd.h>

namespace mizzen::inference {
namespace {

namespace fs = std::filesystem;

class second_load : public ::testing::Test {
 protected:
  second_load()
      : folder_(fs::temp_directory_path() / ("mizzen_second_load_" + std::to_string(::getpid()))) {
    fs::remove_all(folder_);
  }
  ~second_load() override { fs::remove_all(folder_); }

  // Loads and runs it; the results are those of the processor.
  void use(const model_builder& model, const shape_type& shape,
           gpu_options::arithmetic math = gpu_options::arithmetic::float32) {
    session_options options;
    options.device = "cuda:0";
    options.gpu = {.math = math, .cache = folder_};
    tensor_map in;
    in.emplace("x", noise(shape));
    const session s = session::load(model.bytes(), options);
    const float tolerance = math == gpu_options::arithmetic::float16 ? 2e-2F : 2e-5F;
    expect_near(s.run(in), session::load(model.bytes()).run(in), tolerance);
  }

  // When each file was written: one that is made anew shows as well as one more.
  std::map<fs::path, fs::file_time_type> files() const {
    std::map<fs::path, fs::file_time_type> list;
    if (!fs::exists(folder_)) return list;
    for (const auto& file : fs::directory_iterator(folder_)) {
      list.emplace(file.path(), file.last_write_time());
    }
    return list;
  }

  // Of the emulated GPU; 0 on a real one, where the files alone tell.
  static std::uint64_t compiled() {
    const char* path = std::getenv("MIZZEN_CUDA_PLUGIN");
    void* const library =
        path == nullptr ? nullptr : ::dlopen(path, RTLD_NOW | RTLD_NOLOAD | RTLD_LOCAL);
    if (library == nullptr) return 0;
    void* const count = ::dlsym(library, "mizzen_emulated_compiled");
    ::dlclose(library);  // the engine holds it too
    return count == nullptr ? 0 : reinterpret_cast<std::uint64_t (*)()>(count)();
  }

  // A convolution, a product, a softmax.
  static model_builder model(std::int64_t batch, std::int64_t classes = 5) {
    model_builder m;
    m.input("x", f32, {batch, 3, 8, 8})
        .initializer("filters", noise({4, 3, 3, 3}))
        .node("Conv", {"x", "filters"}, {"c"}, {{"pads", std::vector<std::int64_t>{1, 1, 1, 1}}})
        .node("Relu", {"c"}, {"r"})
        .node("GlobalAveragePool", {"r"}, {"p"})
        .node("Flatten", {"p"}, {"f"})
        .initializer("weights", noise({4, classes}))
        .node("MatMul", {"f", "weights"}, {"m"})
        .node("Softmax", {"m"}, {"y"})
        .output("y", f32, {batch, classes});
    return m;
  }

  fs::path folder_;
};

TEST_F(second_load, compiles_nothing_and_chooses_nothing) {
  use(model(2), {2, 3, 8, 8});
  const auto kept = files();
  ASSERT_FALSE(kept.empty());
  const std::uint64_t count = compiled();
  for (int i = 0; i < 2; ++i) {
    use(model(2), {2, 3, 8, 8});
    EXPECT_EQ(files(), kept);
    EXPECT_EQ(compiled(), count);
  }
}

TEST_F(second_load, of_another_model_shape_or_arithmetic_makes_its_own) {
  use(model(2), {2, 3, 8, 8});
  auto kept = files();
  const auto grows = [&] {
    const auto now = files();
    EXPECT_GT(now.size(), kept.size());
    for (const auto& [path, written] : kept) EXPECT_EQ(now.at(path), written);
    kept = now;
  };
  use(model(2, 6), {2, 3, 8, 8});
  grows();
  use(model(3), {3, 3, 8, 8});
  grows();
  use(model(2), {2, 3, 8, 8}, gpu_options::arithmetic::float16);
  grows();
}

// On the emulated GPU, which goes by the name that it is given.
TEST_F(second_load, on_another_gpu_uses_nothing_of_the_first) {
  use(model(2), {2, 3, 8, 8});
  if (!is_emulated()) GTEST_SKIP() << "a real GPU keeps its name";
  const auto kept = files();
  const std::uint64_t count = compiled();
  ::setenv("MIZZEN_EMULATED_NAME", "another", 1);
  use(model(2), {2, 3, 8, 8});
  ::unsetenv("MIZZEN_EMULATED_NAME");
  EXPECT_GT(files().size(), kept.size());
  EXPECT_GT(compiled(), count);
  const std::uint64_t both = compiled();
  use(model(2), {2, 3, 8, 8});
  EXPECT_EQ(compiled(), both);
}

// Weights are no part of what is kept: a model that was trained further compiles nothing.
TEST_F(second_load, with_other_weights_of_the_same_shapes_compiles_nothing) {
  const auto with = [](float scale) {
    model_builder m;
    tensor w = noise({6, 7});
    for (float& v : w.data<float>()) v *= scale;
    m.input("x", f32, {4, 6})
        .initializer("w", w)
        .node("MatMul", {"x", "w"}, {"m"})
        .node("Tanh", {"m"}, {"y"})
        .output("y", f32, {4, 7});
    return m;
  };
  use(with(1.0F), {4, 6});
  const auto kept = files();
  use(with(0.5F), {4, 6});
  EXPECT_EQ(files(), kept);
}

}  // namespace
}  // namespace mizzen::inference
