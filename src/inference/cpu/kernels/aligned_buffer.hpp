// Memory of the kernels' own: packed weights.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>

namespace mizzen::inference::detail::cpu {

// Floats aligned to a cache line, zeroed. Throws std::bad_alloc.
class aligned_floats {
 public:
  static constexpr std::size_t alignment = 64;

  aligned_floats() = default;
  explicit aligned_floats(std::size_t count)
      : data_(count == 0 ? nullptr
                         : static_cast<float*>(
                               ::operator new(count * sizeof(float), std::align_val_t{alignment}))),
        size_(count) {
    std::uninitialized_fill_n(data_.get(), count, 0.0F);
  }

  float* data() noexcept { return data_.get(); }
  const float* data() const noexcept { return data_.get(); }
  std::size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }

 private:
  struct release {
    void operator()(float* p) const noexcept { ::operator delete(p, std::align_val_t{alignment}); }
  };
  std::unique_ptr<float[], release> data_;
  std::size_t size_ = 0;
};

}  // namespace mizzen::inference::detail::cpu
