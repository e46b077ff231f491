// Kernel text to machine code, by NVRTC; needs no driver and no GPU.
#pragma once

#include "cuda/libraries.hpp"

#include <nvrtc.h>
#include <string>

namespace mizzen::cuda {

// Throws error(unavailable) where NVRTC is not installed. Thread safe.
class kernel_compiler {
 public:
  kernel_compiler();
  kernel_compiler(const kernel_compiler&) = delete;
  kernel_compiler& operator=(const kernel_compiler&) = delete;

  // "13.0".
  const std::string& version() const noexcept { return version_; }

  // The module for a GPU of this compute capability (90: 9.0). Throws error(internal) with the
  // compiler's messages: a text that does not compile is a bug here.
  std::string compile(const std::string& source, int capability) const;

 private:
  library file_;
  std::string version_;
  // clang-format off: lists that it writes otherwise each time
#define MIZZEN_NVRTC_FUNCTIONS(F) \
  F(nvrtcVersion) F(nvrtcCreateProgram) F(nvrtcCompileProgram) F(nvrtcDestroyProgram) \
  F(nvrtcGetCUBINSize) F(nvrtcGetCUBIN) F(nvrtcGetProgramLogSize) F(nvrtcGetProgramLog)
// clang-format on
#define MIZZEN_MEMBER(name) decltype(&::name) name##_ = nullptr;
  MIZZEN_NVRTC_FUNCTIONS(MIZZEN_MEMBER)
#undef MIZZEN_MEMBER
};

}  // namespace mizzen::cuda
