// A device: compiles nodes into kernels. The seam where plug-ins (libmizzen_cuda.so) come in.
#pragma once

#include "inference/device/kernel.hpp"
#include "inference/device/memory_space.hpp"

#include <mizzen/inference/device.hpp>
#include <mizzen/inference/session.hpp>

#include <memory>
#include <string>

namespace mizzen::inference::detail {

// Of a device that computes parts of a graph rather than single nodes: other nodes, and what is
// computed while loading and planning, are left to the processor. Thread safe.
class part_compiler {
 public:
  part_compiler() = default;
  part_compiler(const part_compiler&) = delete;
  part_compiler& operator=(const part_compiler&) = delete;
  virtual ~part_compiler() = default;

  // Whether the node may be in a part, whatever its unknown dimensions turn out to be.
  virtual bool supports(const graph& g, const node& n) const = 0;

  // A graph without subgraphs whose types and shapes are all known. The kernel has its inputs and
  // outputs; the constants stay where they are for as long as it lives. Throws
  // error(unimplemented) for shapes it lacks.
  virtual std::unique_ptr<kernel> compile(const graph& g) const = 0;
};

// One per session. compile() and the questions before it are called while the session loads, from
// one thread; kernels live no longer than their device.
class device {
 public:
  virtual ~device() = default;
  virtual std::string name() const = 0;

  // Whether the device has the operator at all, whatever its types.
  virtual bool supports(const node& n) const = 0;
  virtual bool accepts_post_op(const compile_context& context, const post_op& op) const = 0;

  // Throws error(unimplemented) for types and attributes it lacks.
  virtual std::unique_ptr<kernel> compile(const compile_context& context) const = 0;

  // Whether float32 is what it computes half-width floats in, so that a graph had better be float32
  // inside.
  virtual bool computes_in_floats() const noexcept { return false; }

  // Null for a device that computes node by node.
  virtual const part_compiler* parts() const { return nullptr; }

  // The memory in which its parts take and leave values; null: only the host's.
  virtual std::shared_ptr<const memory_space> memory() const { return nullptr; }

  // Whether it has products of bfloat16 that are faster than those of float32; see
  // graph/precision.hpp.
  virtual bool has_bf16_products() const noexcept { return false; }

  virtual thread_pool& pool() = 0;
  virtual unsigned threads() const noexcept = 0;
};

// Makes the device that the options name ("cpu"). Throws error(not_found) for an unknown name and
// error(unavailable) with the reason for one that is not there.
std::unique_ptr<device> make_device(const session_options& options);

}  // namespace mizzen::inference::detail
