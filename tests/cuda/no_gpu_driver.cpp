// A CUDA driver without a GPU: what cuDNN asks of one while it builds a plan for a device that is
// only described. It takes the machine code that NVRTC made, and runs nothing.
namespace {
constexpr int success = 0;
constexpr int no_device = 100;
int here = 0;
}  // namespace

extern "C" {
int cuDriverGetVersion(int* version) {
  *version = 13000;
  return success;
}
int cuLibraryLoadData(void** library) {
  *library = &here;
  return success;
}
int cuLibraryGetKernel(void** kernel) {
  *kernel = &here;
  return success;
}
int cuLibraryUnload(void*) { return success; }
int cuKernelSetAttribute() { return success; }

#define MIZZEN_NO_DEVICE(name) \
  int name() { return no_device; }
// clang-format off: a list
MIZZEN_NO_DEVICE(cuCtxGetCurrent) MIZZEN_NO_DEVICE(cuCtxGetLimit) MIZZEN_NO_DEVICE(cuCtxPopCurrent)
MIZZEN_NO_DEVICE(cuCtxPushCurrent) MIZZEN_NO_DEVICE(cuDeviceGet) MIZZEN_NO_DEVICE(cuDeviceGetCount)
MIZZEN_NO_DEVICE(cuGetErrorName) MIZZEN_NO_DEVICE(cuGetErrorString)
MIZZEN_NO_DEVICE(cuKernelGetAttribute) MIZZEN_NO_DEVICE(cuLaunchCooperativeKernel)
MIZZEN_NO_DEVICE(cuLaunchKernel) MIZZEN_NO_DEVICE(cuLaunchKernelEx)
MIZZEN_NO_DEVICE(cuLibraryLoadFromFile) MIZZEN_NO_DEVICE(cuLinkAddData)
MIZZEN_NO_DEVICE(cuLinkComplete) MIZZEN_NO_DEVICE(cuLinkCreate) MIZZEN_NO_DEVICE(cuLinkDestroy)
MIZZEN_NO_DEVICE(cuOccupancyMaxPotentialClusterSize) MIZZEN_NO_DEVICE(cuStreamGetCtx)
// clang-format on
}
