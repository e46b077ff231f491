// Memory of the kernels' own: packed weights.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

namespace mizzen::inference::detail::cpu {

// Floats aligned to a cache line, zeroed; large ones in huge pages where the system has them, which
// spares a pass over them the misses of the TLB. Throws std::bad_alloc.
class aligned_floats {
 public:
  static constexpr std::size_t alignment = 64;

  aligned_floats() = default;
  explicit aligned_floats(std::size_t count)
      : data_(allocate(count * sizeof(float)), release{alignment_of(count * sizeof(float))}),
        size_(count) {
    std::uninitialized_fill_n(data_.get(), count, 0.0F);
  }

  // Not zeroed: for who fills all of it.
  static aligned_floats uninitialised(std::size_t count) {
    aligned_floats x;
    x.data_ = std::unique_ptr<float[], release>{allocate(count * sizeof(float)),
                                                release{alignment_of(count * sizeof(float))}};
    x.size_ = count;
    return x;
  }

  float* data() noexcept { return data_.get(); }
  const float* data() const noexcept { return data_.get(); }
  std::size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }

 private:
  static constexpr std::size_t huge_page = std::size_t{2} << 20;

  struct release {
    release() noexcept : aligned(alignment) {}
    explicit release(std::size_t to) noexcept : aligned(to) {}
    std::size_t aligned;
    void operator()(float* p) const noexcept { ::operator delete(p, std::align_val_t{aligned}); }
  };
  static std::size_t alignment_of(std::size_t bytes) noexcept {
    return bytes < huge_page ? alignment : huge_page;
  }
  static float* allocate(std::size_t bytes) {
    if (bytes == 0) return nullptr;
    void* const p = ::operator new(bytes, std::align_val_t{alignment_of(bytes)});
    // Whole pages only, so that no memory is taken beyond what was asked for.
    if (bytes >= huge_page) ::madvise(p, bytes / huge_page * huge_page, MADV_HUGEPAGE);
    take_pages(p, bytes);
    return static_cast<float*>(p);
  }
  // All of it is about to be written: taking its pages together costs a fraction of taking each
  // when it is first touched. A wish, which older systems do not know.
  static void take_pages(void* p, std::size_t bytes) noexcept {
#ifdef MADV_POPULATE_WRITE
    constexpr std::size_t page = 4096;
    const std::size_t before = (page - reinterpret_cast<std::uintptr_t>(p) % page) % page;
    if (bytes < before + 8 * page) return;
    ::madvise(static_cast<std::byte*>(p) + before, (bytes - before) / page * page,
              MADV_POPULATE_WRITE);
#else
    static_cast<void>(p), static_cast<void>(bytes);
#endif
  }
  std::unique_ptr<float[], release> data_;
  std::size_t size_ = 0;
};

}  // namespace mizzen::inference::detail::cpu
