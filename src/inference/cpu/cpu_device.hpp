// The processor this process runs on, as a device.
#pragma once

#include "inference/cpu/op_registry.hpp"
#include "inference/cpu/thread_pool.hpp"
#include "inference/device/device.hpp"

#include <chrono>

namespace mizzen::inference::detail {

class cpu_device final : public device {
 public:
  // See session_options.
  explicit cpu_device(unsigned threads, std::chrono::microseconds spin = {});

  std::string name() const override { return "cpu"; }
  bool supports(const node& n) const override {
    return registry_.find(n) != nullptr || registry_.find_plain(n) != nullptr;
  }
  bool accepts_post_op(const compile_context& context, const post_op& op) const override;
  std::unique_ptr<kernel> compile(const compile_context& context) const override;
  bool computes_in_floats() const noexcept override { return true; }
  bool has_bf16_products() const noexcept override;
  thread_pool& pool() override { return pool_; }
  unsigned threads() const noexcept override { return pool_.size(); }

 private:
  op_registry registry_;
  thread_pool pool_;
};

}  // namespace mizzen::inference::detail
