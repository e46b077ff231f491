#include "tracking/nvml.hpp"

#include <dlfcn.h>
#include <utility>

namespace mizzen::tracking::detail {

// The parts of nvml.h (NVML API reference, ABI stable since version 11) that are used.
struct nvml::library {
  using device = void*;
  struct memory {
    unsigned long long total, free, used;
  };
  struct utilization {
    unsigned gpu, memory;
  };
  static constexpr int success = 0;

  void* handle = nullptr;
  bool initialised = false;
  std::vector<device> devices;

  int (*init)() = nullptr;
  int (*shutdown)() = nullptr;
  const char* (*error_string)(int) = nullptr;
  int (*count)(unsigned*) = nullptr;
  int (*by_index)(unsigned, device*) = nullptr;
  int (*name)(device, char*, unsigned) = nullptr;
  int (*memory_info)(device, memory*) = nullptr;
  int (*rates)(device, utilization*) = nullptr;
  int (*power_usage)(device, unsigned*) = nullptr;
  int (*power_limit)(device, unsigned*) = nullptr;

  library() = default;
  library(const library&) = delete;
  library& operator=(const library&) = delete;
  ~library() {
    if (initialised) shutdown();
    if (handle != nullptr) ::dlclose(handle);
  }

  template <typename Function>
  bool find(Function& into, const char* symbol) {
    into = reinterpret_cast<Function>(::dlsym(handle, symbol));
    return into != nullptr;
  }
};

nvml::nvml(std::unique_ptr<library> loaded) : library_(std::move(loaded)) {}
nvml::~nvml() = default;

std::unique_ptr<nvml> nvml::open(std::string& reason) {
  auto found = std::make_unique<library>();
  found->handle = ::dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
  if (found->handle == nullptr) {
    const char* why = ::dlerror();
    reason = why != nullptr ? why : "libnvidia-ml.so.1 cannot be loaded";
    return nullptr;
  }
  const bool whole = found->find(found->init, "nvmlInit_v2") &&
                     found->find(found->shutdown, "nvmlShutdown") &&
                     found->find(found->error_string, "nvmlErrorString") &&
                     found->find(found->count, "nvmlDeviceGetCount_v2") &&
                     found->find(found->by_index, "nvmlDeviceGetHandleByIndex_v2") &&
                     found->find(found->name, "nvmlDeviceGetName") &&
                     found->find(found->memory_info, "nvmlDeviceGetMemoryInfo") &&
                     found->find(found->rates, "nvmlDeviceGetUtilizationRates") &&
                     found->find(found->power_usage, "nvmlDeviceGetPowerUsage") &&
                     found->find(found->power_limit, "nvmlDeviceGetEnforcedPowerLimit");
  if (!whole) {
    reason = "libnvidia-ml.so.1 lacks functions that are needed: the driver is too old";
    return nullptr;
  }
  if (const int failed = found->init(); failed != library::success) {
    reason = "nvmlInit: " + std::string(found->error_string(failed));
    return nullptr;
  }
  found->initialised = true;
  unsigned count = 0;
  if (const int failed = found->count(&count); failed != library::success) {
    reason = "nvmlDeviceGetCount: " + std::string(found->error_string(failed));
    return nullptr;
  }
  for (unsigned i = 0; i < count; ++i) {
    library::device device = nullptr;
    // A device that may not be used keeps its number.
    if (found->by_index(i, &device) != library::success) device = nullptr;
    found->devices.push_back(device);
  }
  return std::unique_ptr<nvml>(new nvml(std::move(found)));
}

std::vector<std::string> nvml::names() const {
  std::vector<std::string> out;
  for (const library::device device : library_->devices) {
    char text[96] = {};
    if (device != nullptr) library_->name(device, text, sizeof text);
    out.emplace_back(text);
  }
  return out;
}

std::vector<gpu_state> nvml::read() const {
  std::vector<gpu_state> out;
  for (const library::device device : library_->devices) {
    gpu_state& state = out.emplace_back();
    if (device == nullptr) continue;
    library::memory memory{};
    if (library_->memory_info(device, &memory) == library::success) {
      state.memory_used = memory.used;
      state.memory_total = memory.total;
    }
    library::utilization rates{};
    if (library_->rates(device, &rates) == library::success) state.utilization = rates.gpu;
    unsigned power = 0, limit = 0;
    if (library_->power_usage(device, &power) == library::success) state.power = power;
    if (library_->power_limit(device, &limit) == library::success) state.power_limit = limit;
  }
  return out;
}

}  // namespace mizzen::tracking::detail
