// Kernels and constants that sessions with one weight_cache share.
#pragma once

#include "inference/device/kernel.hpp"

#include <mizzen/inference/weight_cache.hpp>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

namespace mizzen::inference::detail {

// A hash that nobody can find collisions of who does not know its random key: a polynomial over
// the words modulo 2^61 - 1, twice.
class keyed_hash {
 public:
  using value = std::array<std::uint64_t, 2>;

  keyed_hash();
  value operator()(std::span<const std::byte> bytes) const noexcept;

 private:
  std::array<std::uint64_t, 4> key_{};
};

// The view of a weight_cache that compilation has.
class shared_weights {
 public:
  // null: nothing is shared.
  explicit shared_weights(std::shared_ptr<weight_cache> cache) : cache_(std::move(cache)) {}

  // The kernel of a node: one that holds equal weights already, or a new one by compile(). Two
  // nodes are one where all that a kernel may look at while it is compiled is equal.
  std::shared_ptr<const kernel> kernel_for(
      const compile_context& c, const std::function<std::unique_ptr<kernel>()>& compile) const;

  // A constant that kernels read when they run, or an equal one.
  std::shared_ptr<const tensor> constant(std::shared_ptr<const tensor> own) const;

 private:
  // Empty for a node that holds no weights to speak of.
  std::string key_of(const compile_context& c) const;
  void append(std::string& key, const tensor& t) const;

  std::shared_ptr<weight_cache> cache_;
};

}  // namespace mizzen::inference::detail
