// libmizzen_cuda.so as it is installed, on a machine with a GPU or without.
#include "../inference/caught.hpp"
#include "device_test.hpp"

#include <cstdlib>
#include <dlfcn.h>
#include <string>

namespace mizzen::inference {
namespace {

TEST(cuda_plugin, shows_one_function) {
  void* const library = ::dlopen(MIZZEN_REAL_PLUGIN, RTLD_NOW | RTLD_LOCAL);
  ASSERT_NE(library, nullptr) << ::dlerror();
  EXPECT_NE(::dlsym(library, "mizzen_plugin_entry"), nullptr);
  EXPECT_EQ(::dlsym(library, "_ZN6mizzen4cuda9list_gpusEv"), nullptr);
}

TEST(cuda_plugin, runs_or_says_why_not) {
  ::setenv("MIZZEN_CUDA_PLUGIN", MIZZEN_REAL_PLUGIN, 1);
  const auto list = devices();
  ASSERT_GE(list.size(), 2U);
  model_builder model;
  model.input("x", f32, {2, 3}).node("Relu", {"x"}, {"y"}).output("y", f32, {2, 3});
  if (list[1].available) {
    tensor_map in;
    in.emplace("x", noise({2, 3}));
    same_on_device(model, in);
    return;
  }
  EXPECT_FALSE(list[1].reason.empty());
  const error e = test::caught([&] { on_device(model); });
  EXPECT_EQ(e.code(), errc::unavailable);
  EXPECT_EQ(e.subject(), "device 'cuda:0'");
  EXPECT_EQ(e.message(), list[1].reason);
  const auto bytes = model.bytes();
  EXPECT_NO_THROW(session::load(bytes));
}

}  // namespace
}  // namespace mizzen::inference
