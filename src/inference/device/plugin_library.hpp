// Plug-ins, as libraries: found, loaded and asked what they have.
#pragma once

#include "inference/device/plugin.h"

#include <mizzen/core/error.hpp>
#include <mizzen/inference/device.hpp>

#include <memory>
#include <string>
#include <vector>

namespace mizzen::inference::detail {

// Stays loaded until the process ends: libraries of GPUs do not all take being unloaded.
class plugin_library {
 public:
  // Throws error(unavailable) with the reason: no such file, no plug-in, another version.
  explicit plugin_library(const std::string& path);

  const mizzen_plugin& table() const noexcept { return *table_; }
  const std::string& path() const noexcept { return path_; }

  // What the plug-in says of its devices.
  std::vector<device_info> devices() const;

 private:
  std::string path_;
  const mizzen_plugin* table_ = nullptr;
};

// The plug-in for "cuda:N": the file that MIZZEN_CUDA_PLUGIN names; else libmizzen_cuda.so beside
// the library or program that holds this code, or where the loader finds it. Throws
// error(unavailable) with the reason.
std::shared_ptr<const plugin_library> find_cuda_plugin();

// What a plug-in told: of a function that failed.
error error_of(const mizzen_error& told);

}  // namespace mizzen::inference::detail
