// Internal: what a handle holds whose work goes on in the background.
#pragma once

#include <memory>
#include <utility>

namespace mizzen::kubernetes::detail {

// Shares what works on, and tells it to halt() when the handle is destroyed or assigned to. Move
// only.
template <class T>
class halting {
 public:
  halting() = default;
  explicit halting(std::shared_ptr<T> work) noexcept : work_(std::move(work)) {}
  halting(halting&&) noexcept = default;
  halting& operator=(halting&& other) noexcept {
    if (this != &other) {
      if (work_) work_->halt();
      work_ = std::move(other.work_);
    }
    return *this;
  }
  ~halting() {
    if (work_) work_->halt();
  }

  T* operator->() const noexcept { return work_.get(); }
  const std::shared_ptr<T>& share() const noexcept { return work_; }

 private:
  std::shared_ptr<T> work_;
};

}  // namespace mizzen::kubernetes::detail
