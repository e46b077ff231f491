// The CUDA driver, opened when it is asked for: a machine without one still loads the plug-in.
#pragma once

#include "cuda/libraries.hpp"

#include <cuda.h>
#include <memory>
#include <string>

namespace mizzen::cuda {

// clang-format off: lists that it writes otherwise each time
#define MIZZEN_DRIVER_FUNCTIONS(F) \
  F(cuInit) F(cuDriverGetVersion) F(cuDeviceGetCount) F(cuDeviceGet) F(cuDeviceGetName) \
  F(cuDeviceTotalMem) F(cuDeviceGetAttribute) F(cuDevicePrimaryCtxRetain) \
  F(cuDevicePrimaryCtxRelease) F(cuCtxPushCurrent) F(cuCtxPopCurrent) F(cuMemAlloc) \
  F(cuMemFree) F(cuMemAllocHost) F(cuMemFreeHost) F(cuMemcpyHtoDAsync) F(cuMemcpyDtoHAsync) \
  F(cuMemcpyDtoDAsync) F(cuMemsetD8Async) F(cuCtxSynchronize) \
  F(cuStreamCreate) F(cuStreamDestroy) F(cuStreamSynchronize) F(cuStreamQuery) \
  F(cuStreamWaitEvent) F(cuStreamIsCapturing) \
  F(cuModuleLoadData) F(cuModuleUnload) F(cuModuleGetFunction) F(cuLaunchKernel) \
  F(cuStreamBeginCapture) F(cuStreamEndCapture) F(cuGraphInstantiateWithFlags) \
  F(cuGraphExecDestroy) F(cuGraphDestroy) F(cuGraphLaunch) F(cuEventCreate) \
  F(cuEventRecord) F(cuEventSynchronize) F(cuEventElapsedTime) F(cuEventDestroy) \
  F(cuGetErrorString)
// clang-format on

// Throws error(unavailable) where there is no driver.
class driver {
 public:
  driver();
  driver(const driver&) = delete;
  driver& operator=(const driver&) = delete;

#define MIZZEN_MEMBER(name) decltype(&::name) name = nullptr;
  MIZZEN_DRIVER_FUNCTIONS(MIZZEN_MEMBER)
#undef MIZZEN_MEMBER

  // Throws error for a code that is not success: resource_exhausted where memory is out, else
  // unavailable.
  void check(CUresult code, const char* what) const;

 private:
  library file_;
};

// The primary context of a device, which cuDNN, cuBLASLt and torch share, as long as this lives.
class primary_context {
 public:
  primary_context(std::shared_ptr<const driver> d, int device);
  primary_context(const primary_context&) = delete;
  primary_context& operator=(const primary_context&) = delete;
  ~primary_context();

  const driver& api() const noexcept { return *driver_; }
  CUdevice device() const noexcept { return device_; }
  CUcontext get() const noexcept { return context_; }

 private:
  std::shared_ptr<const driver> driver_;
  CUdevice device_ = 0;
  CUcontext context_ = nullptr;
};

// Makes it the thread's while this lives.
class current {
 public:
  explicit current(const primary_context& c) : api_(c.api()) {
    api_.check(api_.cuCtxPushCurrent(c.get()), "cuCtxPushCurrent");
  }
  current(const current&) = delete;
  current& operator=(const current&) = delete;
  ~current() {
    CUcontext before = nullptr;
    api_.cuCtxPopCurrent(&before);
  }

 private:
  const driver& api_;
};

}  // namespace mizzen::cuda
