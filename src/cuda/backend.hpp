// The GPUs of this machine; the program that links the plug-in says which kind (NVIDIA's, or the
// emulated one of the tests).
#pragma once

#include "cuda/gpu.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace mizzen::cuda {

struct gpu_info {
  std::string description;
  bool available = false;
  std::string reason;  // why it is not
};

// At least one, which may be there only to say why there is none. Looks at each call; throws
// nothing.
std::vector<gpu_info> list_gpus();

// cache: folder for compiled kernels and chosen algorithms; empty: none. Throws error(unavailable).
std::unique_ptr<gpu> open_gpu(std::uint32_t index, const std::string& cache);

}  // namespace mizzen::cuda
