#include "inference/graph/constant_memory.hpp"

#include <mizzen/core/checked.hpp>

#include <sys/mman.h>

#include <memory>
#include <string>
#include <utility>

namespace mizzen::inference::detail {

tensor make_constant(element_type type, shape_type shape) {
  constexpr std::size_t least_bytes = std::size_t{1} << 20;
  constexpr std::size_t huge_page = std::size_t{2} << 20;
  if (bit_width(type) == 0) return {type, std::move(shape)};
  const std::size_t bytes = byte_size(type, checked_element_count(shape, "constant"));
  if (bytes < least_bytes) return {type, std::move(shape)};
  void* const p =
      ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) {
    throw error(errc::resource_exhausted, "constant",
                "no memory for " + std::to_string(bytes) + " bytes");
  }
  std::shared_ptr<void> pages(p, [bytes](void* at) { ::munmap(at, bytes); });
  // A wish: it takes longer to fill without.
  if (bytes >= huge_page) ::madvise(p, bytes, MADV_HUGEPAGE);
  return tensor::view(type, std::span(static_cast<std::byte*>(p), bytes), std::move(shape),
                      std::move(pages));
}

}  // namespace mizzen::inference::detail
