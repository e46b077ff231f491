// The GPUs of this machine; the program that links the plug-in says which kind (NVIDIA's, or the
// emulated one of the tests).
#pragma once

#include "cuda/gpu.hpp"

#include <cstddef>
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

// Memory of a GPU for tensors of the application, good for every gpu opened with the same index.
// Thread safe.
class memory {
 public:
  memory() = default;
  memory(const memory&) = delete;
  memory& operator=(const memory&) = delete;
  virtual ~memory() = default;

  // Aligned to 256 bytes. Throws error(resource_exhausted).
  virtual void* allocate(std::size_t bytes, bool zero) = 0;
  // After work under way.
  virtual void release(void* at) noexcept = 0;
  // After what is in the stream (null: none). Done when it returns, unless both are on the device
  // and there is a stream.
  virtual void copy(void* to, bool to_device, const void* from, bool from_device, std::size_t bytes,
                    void* stream) = 0;
  // For what is in the stream; null: for all.
  virtual void wait(void* stream) = 0;
};

// Throws error(unavailable).
std::unique_ptr<memory> open_memory(std::uint32_t index);

// cache: folder for compiled kernels and chosen algorithms; empty: none. Throws error(unavailable).
std::unique_ptr<gpu> open_gpu(std::uint32_t index, const std::string& cache);

}  // namespace mizzen::cuda
