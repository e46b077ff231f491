#include "cuda/driver.hpp"

#include <mizzen/core/error.hpp>

#include <utility>

namespace mizzen::cuda {

driver::driver() : file_("the NVIDIA driver", {"libcuda.so.1", "libcuda.so"}) {
#define MIZZEN_FIND(name) name = reinterpret_cast<decltype(name)>(file_.find(MIZZEN_SYMBOL(name)));
  MIZZEN_DRIVER_FUNCTIONS(MIZZEN_FIND)
#undef MIZZEN_FIND
}

void driver::check(CUresult code, const char* what) const {
  if (code == CUDA_SUCCESS) return;
  const char* text = nullptr;
  cuGetErrorString(code, &text);
  throw error(code == CUDA_ERROR_OUT_OF_MEMORY ? errc::resource_exhausted : errc::unavailable,
              "CUDA driver", std::string(what) + ": " + (text != nullptr ? text : "unknown error"));
}

primary_context::primary_context(std::shared_ptr<const driver> d, int device)
    : driver_(std::move(d)) {
  driver_->check(driver_->cuDeviceGet(&device_, device), "cuDeviceGet");
  driver_->check(driver_->cuDevicePrimaryCtxRetain(&context_, device_), "cuDevicePrimaryCtxRetain");
}

primary_context::~primary_context() { driver_->cuDevicePrimaryCtxRelease(device_); }

}  // namespace mizzen::cuda
