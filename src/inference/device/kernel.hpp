// The contract between the engine and the code that computes one node: what every operator on every
// device implements.
#pragma once

#include "inference/graph/ir.hpp"

#include <mizzen/core/cancellation.hpp>

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

namespace mizzen::inference::detail {

class thread_pool;

// A value as a kernel sees it at run time. All dimensions are known, and the memory is dense.
// Memory of engine-made values is 64-byte aligned; that of the caller's tensors only to its type.
// data is null for an input or output that is left out; it may be anything for 0 elements. It is
// memory of the device only for kernels that take such.
struct value_view {
  void* data = nullptr;
  element_type type = element_type::undefined;
  std::span<const std::int64_t> shape;
  std::size_t count = 0;  // product of shape
  bool on_device = false;

  bool present() const noexcept { return data != nullptr; }
  template <class T>
  T* as() const noexcept {
    return static_cast<T*>(data);
  }
};

// Everything known about a node when it is compiled: once per session, before any input is seen.
struct compile_context {
  const node& n;
  const graph& g;
  unsigned threads;

  std::size_t input_count() const noexcept { return n.inputs.size(); }
  bool has_input(std::size_t i) const noexcept {
    return i < n.inputs.size() && n.inputs[i] != no_value;
  }
  bool has_output(std::size_t i) const noexcept {
    return i < n.outputs.size() && n.outputs[i] != no_value;
  }
  // The value behind an input or output; its shape may be unknown or hold unknown dimensions.
  const value& input(std::size_t i) const { return g.values[n.inputs[i]]; }
  const value& output(std::size_t i) const { return g.values[n.outputs[i]]; }
  // Type of an input; undefined when it is left out.
  element_type input_type(std::size_t i) const noexcept;
  element_type output_type(std::size_t i) const noexcept;
  // The constant behind an input, to prepack; null when it is left out or not constant. Keep what
  // you derive, not the pointer: the graph is gone after load. (A kernel that derives nothing gets
  // the constant again as an ordinary input of run().)
  std::shared_ptr<const tensor> constant(std::size_t i) const noexcept;

  // Throws error(unimplemented) naming the node: for types and attribute values you do not handle.
  [[noreturn]] void unsupported(std::string_view what) const;
  // Throws error(invalid_argument) naming the node: for what the ONNX specification forbids.
  [[noreturn]] void invalid(std::string_view what) const;
};

// Concrete types and shapes of one plan, before memory is assigned (data pointers are null, in
// scratch_bytes() all of them; look at shape.data() or type to see whether an optional one is
// there: type is undefined when it is not).
struct shape_context {
  std::span<const value_view> inputs;
  std::span<const value_view> outputs;
  unsigned threads;
};

// One execution of a node.
struct run_context {
  std::span<const value_view> inputs;
  std::span<const value_view> outputs;
  std::span<std::byte> scratch;  // as many bytes as scratch_bytes() said, 64-byte aligned
  thread_pool& pool;
  const cancellation* cancel = nullptr;  // of the run; null: nobody stops it
  void* stream = nullptr;                // run_options::stream

  // Where one call may take long, to be asked at each outer row or so: throws cancelled or
  // deadline_exceeded.
  void check_cancelled() const {
    if (cancel != nullptr) cancel->check("run of the model");
  }
};

// A compiled node. Immutable after construction: run() is called from several threads at once with
// distinct contexts, and neither allocates nor keeps state. Shapes were checked by shape inference
// before (ranks, broadcasts and inner dimensions fit), values in the data were not (an index that a
// Gather reads must be range-checked).
class kernel {
 public:
  kernel() = default;
  kernel(const kernel&) = delete;
  kernel& operator=(const kernel&) = delete;
  virtual ~kernel() = default;

  // A kernel for just these shapes, which the plan keeps and asks and runs in place of this one;
  // null where one fits all. Inputs whose values the plan knows have their data.
  virtual std::unique_ptr<kernel> for_shapes(const shape_context&) const { return nullptr; }

  // Temporary memory that run() needs for these shapes.
  virtual std::size_t scratch_bytes(const shape_context&) const { return 0; }

  // True if run() is right when output 0 lies in exactly the memory of this input (the
  // engine sees to the sizes, and that nobody needs the input afterwards).
  virtual bool may_overwrite(std::size_t /*input*/) const { return false; }

  // False if run() never looks at the data of this input, because what it needs was prepacked: the
  // engine may then free the constant behind it. Its shape stays known.
  virtual bool reads_input(std::size_t /*input*/) const { return true; }

  // True if output 0 is always the bytes of input 0 under another shape (Reshape, Squeeze …): the
  // engine then shares the memory instead of calling run() wherever it can.
  virtual bool is_view() const { return false; }

  // Follows the operator's name in a profile.
  virtual std::string_view remark() const noexcept { return {}; }

  // True if inputs and outputs may be in the memory of the device, and outputs that nobody wants
  // null. run() may then return before the work is done, if there is a stream and no data of the
  // host that it is done with.
  virtual bool takes_device_memory() const { return false; }

  virtual void run(const run_context& context) const = 0;
};

using compile_function = std::unique_ptr<kernel> (*)(const compile_context&);

// Whether the kernel of a node can apply one more post-op after those it has.
using accepts_post_op_function = bool (*)(const compile_context&, const post_op&);

// One operator in a range of opset versions.
struct op_definition {
  compile_function compile = nullptr;
  accepts_post_op_function accepts_post_op = nullptr;  // null: none
};

}  // namespace mizzen::inference::detail
