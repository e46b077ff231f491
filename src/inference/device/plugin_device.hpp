// A device behind a plug-in; what it does not compute is left to the processor.
#pragma once

#include "inference/cpu/cpu_device.hpp"
#include "inference/device/device.hpp"
#include "inference/device/plugin_library.hpp"
#include "inference/dynamic/operation.hpp"

#include <cstdint>
#include <memory>
#include <string>

namespace mizzen::inference::detail {

class plugin_device final : public device {
 public:
  // Throws error(not_found) for a number that the plug-in does not have, error(unavailable) with
  // the reason for a device that cannot be used.
  plugin_device(std::shared_ptr<const plugin_library> library, std::uint32_t index,
                const session_options& options);
  ~plugin_device() override;

  std::string name() const override { return name_; }
  bool supports(const node& n) const override;
  bool accepts_post_op(const compile_context& context, const post_op& op) const override {
    return host_.accepts_post_op(context, op);
  }
  std::unique_ptr<kernel> compile(const compile_context& context) const override;
  const part_compiler* parts() const override { return parts_.get(); }
  std::shared_ptr<const memory_space> memory() const override { return memory_; }
  // Of the nodes that no part takes.
  bool computes_in_floats() const noexcept override { return host_.computes_in_floats(); }
  bool has_bf16_products() const noexcept override { return host_.has_bf16_products(); }
  thread_pool& pool() override { return host_.pool(); }
  unsigned threads() const noexcept override { return host_.threads(); }

 private:
  std::string name_;
  mutable cpu_device host_;
  std::unique_ptr<const part_compiler> parts_;
  compile_settings on_host_;  // for parts that the device refuses
  std::shared_ptr<const memory_space> memory_;
};

}  // namespace mizzen::inference::detail
