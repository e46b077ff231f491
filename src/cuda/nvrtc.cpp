#include "cuda/nvrtc.hpp"

#include <mizzen/core/error.hpp>

#include <array>

namespace mizzen::cuda {

kernel_compiler::kernel_compiler() : file_("NVRTC", {"libnvrtc.so.13"}) {
#define MIZZEN_FIND(name) \
  name##_ = reinterpret_cast<decltype(name##_)>(file_.find(MIZZEN_TEXT_OF(name)));
  MIZZEN_NVRTC_FUNCTIONS(MIZZEN_FIND)
#undef MIZZEN_FIND
  file_.open_beside("nvrtcVersion", "libnvrtc-builtins.so");
  int major = 0;
  int minor = 0;
  nvrtcVersion_(&major, &minor);
  version_ = std::to_string(major) + "." + std::to_string(minor);
}

std::string kernel_compiler::compile(const std::string& source, int capability) const {
  nvrtcProgram program = nullptr;
  if (nvrtcCreateProgram_(&program, source.c_str(), "part.cu", 0, nullptr, nullptr) !=
      NVRTC_SUCCESS) {
    throw error(errc::internal, "NVRTC", "no program could be made");
  }
  const std::string target = "--gpu-architecture=sm_" + std::to_string(capability);
  // Division and square roots as they stand; multiplications may join additions.
  const std::array<const char*, 2> options = {target.c_str(), "--std=c++17"};
  const nvrtcResult done =
      nvrtcCompileProgram_(program, static_cast<int>(options.size()), options.data());
  std::string module;
  std::string log;
  std::size_t size = 0;
  if (done == NVRTC_SUCCESS) {
    if (nvrtcGetCUBINSize_(program, &size) == NVRTC_SUCCESS) {
      module.resize(size);
      if (nvrtcGetCUBIN_(program, module.data()) != NVRTC_SUCCESS) module.clear();
    }
  } else if (nvrtcGetProgramLogSize_(program, &size) == NVRTC_SUCCESS) {
    log.resize(size);
    nvrtcGetProgramLog_(program, log.data());
  }
  nvrtcDestroyProgram_(&program);
  if (module.empty())
    throw error(errc::internal, "NVRTC", "a generated kernel does not compile: " + log);
  return module;
}

}  // namespace mizzen::cuda
