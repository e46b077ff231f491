// Which plug-in these tests run on: the emulated one, unless MIZZEN_CUDA_PLUGIN names another (on a
// machine with a GPU the real one).
#include <mizzen/inference/device.hpp>

#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>

namespace {

class plugin_environment final : public ::testing::Environment {
 public:
  void SetUp() override {
    ::setenv("MIZZEN_CUDA_PLUGIN", MIZZEN_EMULATED_PLUGIN, 0);
    const auto list = mizzen::inference::devices();
    if (list.at(1).available) return;
    std::cout << "SKIPPED: no GPU: " << list.at(1).reason << "\n";
    std::exit(0);
  }
};

const auto* const registered = ::testing::AddGlobalTestEnvironment(new plugin_environment);

}  // namespace
