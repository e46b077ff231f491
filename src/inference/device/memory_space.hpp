// Memory other than the host's: of one GPU, through its plug-in.
#pragma once

#include "inference/device/plugin_library.hpp"

#include <mizzen/inference/tensor.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace mizzen::inference::detail {

// Thread safe. Stays open until the process ends.
class memory_space {
 public:
  // Throws what the plug-in says.
  memory_space(std::shared_ptr<const plugin_library> library, std::uint32_t index);
  memory_space(const memory_space&) = delete;
  memory_space& operator=(const memory_space&) = delete;
  ~memory_space();

  const std::string& name() const noexcept { return name_; }  // "cuda:0"

  // Freed with its last holder. Throws error(resource_exhausted).
  std::shared_ptr<void> allocate(std::size_t bytes, bool zeroed) const;

  // Of elements between two places, of which null is the host and one is this. Waits unless both
  // are this and there is a stream.
  void copy(void* to, bool to_device, const void* from, bool from_device, std::size_t bytes,
            void* stream) const;

  // For all work in a stream; null: all work on the GPU.
  void wait(void* stream) const;

  // A tensor with memory of a space (null: the host's), not zeroed where it is a device's.
  static tensor make(const std::shared_ptr<const memory_space>& space, element_type type,
                     shape_type shape) {
    return tensor::make(space, type, std::move(shape));
  }

  static tensor read_only(tensor t) {
    t.read_only_ = true;
    return t;
  }

  // Copies bytes between any two spaces, of which two GPUs go through the host.
  static void copy(const memory_space* to_space, void* to, const memory_space* from_space,
                   const void* from, std::size_t bytes, void* stream);

  // Of a tensor; null: the host's.
  static const memory_space* of(const tensor& t) noexcept { return t.space_.get(); }

 private:
  std::shared_ptr<const plugin_library> library_;
  std::string name_;
  mizzen_memory* memory_ = nullptr;
};

// The space of "cuda:N", opened once; null for "cpu". Throws error(not_found) for other names and
// error(unavailable) with the reason for a GPU that is not there.
std::shared_ptr<const memory_space> find_memory_space(std::string_view device);

// The index N of "cuda:N", 0 of "cuda"; -1 for any other name.
std::int64_t cuda_index(std::string_view name) noexcept;

}  // namespace mizzen::inference::detail
