#include <mizzen/core/deadline.hpp>

namespace mizzen {

deadline deadline::after(std::chrono::nanoseconds duration) noexcept {
  const clock::time_point now = clock::now();
  if (duration >= clock::time_point::max() - now) return never();
  return deadline(now + std::chrono::duration_cast<clock::duration>(duration));
}

bool deadline::expired() const noexcept { return !is_never() && clock::now() >= at_; }

std::chrono::nanoseconds deadline::remaining() const noexcept {
  if (is_never()) return std::chrono::nanoseconds::max();
  const clock::time_point now = clock::now();
  return now >= at_ ? std::chrono::nanoseconds::zero() : at_ - now;
}

}  // namespace mizzen
