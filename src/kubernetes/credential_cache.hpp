// When a credential is asked for anew: decided without I/O and without a clock.
#pragma once

#include <mizzen/kubernetes/exec_credential.hpp>

#include <chrono>
#include <cstdint>
#include <optional>

namespace mizzen::kubernetes::detail {

using wall_clock = std::chrono::system_clock;

// Keeps the one credential that all requests use, and says when another one is due. Whoever asks
// for it sees to it that only one refresh runs at a time, however many requests wait.
class credential_cache {
 public:
  // A credential counts as expired a little before it is, so that it does not expire on the way.
  static constexpr std::chrono::seconds leeway{10};

  // Each credential that differs from the one before has a number of its own, from 1 on; zero:
  // there is none yet.
  std::uint64_t generation() const noexcept { return generation_; }
  const std::optional<exec_credential>& current() const noexcept { return current_; }

  // True if a request at this time must wait for another credential.
  bool due(wall_clock::time_point now) const noexcept {
    if (!current_ || refused_) return true;
    // Far expiry times must not overflow.
    return current_->expires && now >= *current_->expires - leeway;
  }

  // The server has refused a request that went out with this generation. When another one has come
  // meanwhile, that says nothing about it.
  void refuse(std::uint64_t generation) noexcept {
    if (generation == generation_) refused_ = true;
  }

  // What a refresh has brought; true if it differs from what there was.
  bool put(exec_credential fresh);

  // A refresh has failed: true if what there is may still be used, because it was neither refused
  // nor has it really expired.
  bool keep(wall_clock::time_point now) noexcept;

 private:
  std::optional<exec_credential> current_;
  std::uint64_t generation_ = 0;
  bool refused_ = false;
};

// Says when files are to be looked at again.
class look_schedule {
 public:
  explicit look_schedule(std::chrono::milliseconds period) : period_(period) {}

  bool due(wall_clock::time_point now) const noexcept {
    // A clock that was set back must not keep an old file for long.
    return !last_ || now < *last_ || now - *last_ >= period_;
  }
  void looked(wall_clock::time_point now) noexcept { last_ = now; }

 private:
  std::chrono::milliseconds period_;
  std::optional<wall_clock::time_point> last_;
};

}  // namespace mizzen::kubernetes::detail
