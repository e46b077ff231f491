// A program made ready for one set of input shapes.
#pragma once

#include "inference/runtime/profile_log.hpp"
#include "inference/runtime/program.hpp"

#include <mizzen/core/cancellation.hpp>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

namespace mizzen::inference::detail {

// Where the memory of a value comes from.
enum class storage_kind : std::uint8_t { none, constant, arena, input, output };
struct storage {
  storage_kind kind = storage_kind::none;
  std::size_t index = 0;           // of the arena buffer, input or output
  const void* constant = nullptr;  // memory of a constant
};

// Memory of one run at a time.
struct workspace {
  std::unique_ptr<std::byte[], void (*)(std::byte*)> arena{nullptr, nullptr};
  std::vector<value_view> slots;      // inputs and outputs of all steps, in order
  std::vector<const tensor*> inputs;  // bound for the run, in the graph's order
  std::vector<tensor*> outputs;       // likewise
  std::vector<tensor> spare_outputs;  // for outputs that the caller does not want
  // On the host, for steps that want those of the caller there.
  std::vector<tensor> host_inputs, host_outputs;
  std::vector<tensor*> targets;  // what the steps write; null: nobody wants it
};

// Thrown by a plan when a shape depends on values that it does not know.
class data_dependent_shape : public error {
 public:
  data_dependent_shape(const error& e, std::size_t node, std::vector<value_id> wanted)
      : error(e), node_(node), wanted_(std::move(wanted)) {}
  std::size_t node() const noexcept { return node_; }
  // The inputs of the node whose values would tell.
  const std::vector<value_id>& wanted() const noexcept { return wanted_; }

 private:
  std::size_t node_;
  std::vector<value_id> wanted_;
};

// Every shape is known, what depends only on shapes is computed, and every buffer has its place.
// Immutable but for its stock of workspaces; runs may overlap.
class plan {
 public:
  // Throws error(resource_exhausted) if the arena and the outputs take more than the limit, and
  // data_dependent_shape. Pinned are inputs (by index; empty: none) whose values the plan may rely
  // on: it is then good for exactly these values. cancel is asked while nodes are computed. The
  // program must outlive the plan.
  plan(const program& p, const program_part& part, std::vector<shape_type> input_shapes,
       std::size_t memory_limit, std::vector<tensor> pinned, const cancellation& cancel);
  plan(const plan&) = delete;
  plan& operator=(const plan&) = delete;

  const std::vector<shape_type>& input_shapes() const noexcept { return input_shapes_; }
  // The value an input must have; null if any will do.
  const tensor* pinned(std::size_t i) const noexcept {
    return i < pinned_.size() && pinned_[i].type() != element_type::undefined ? &pinned_[i]
                                                                              : nullptr;
  }
  element_type output_type(std::size_t i) const noexcept { return outputs_[i].type; }
  const shape_type& output_shape(std::size_t i) const noexcept { return outputs_[i].shape; }
  std::size_t arena_bytes() const noexcept { return arena_bytes_; }
  std::size_t step_count() const noexcept { return steps_.size(); }

  // A workspace that no other run uses: a kept one, or a new one. Give it back after the run.
  std::unique_ptr<workspace> acquire() const;
  void release(std::unique_ptr<workspace> w) const noexcept;

  std::size_t output_count() const noexcept { return outputs_.size(); }

  // Executes with the bound inputs and outputs (null for an unwanted output). Allocates nothing
  // unless an unwanted output needs memory for the first time, or one in a device's memory is used
  // by a step on the host. Where a recorder is given, each step is an event. stream: as in
  // run_options.
  void run(workspace& w, const cancellation& cancel, run_recorder* recorder,
           void* stream = nullptr) const;

 private:
  struct step {
    std::size_t node = 0;
    const kernel* compute = nullptr;  // the program's, or one of made_
    std::size_t first_slot = 0;
    std::size_t inputs = 0;
    std::size_t outputs = 0;
    std::size_t scratch_buffer = 0;
    std::size_t scratch_bytes = 0;
  };
  struct patch {
    std::size_t slot;
    storage where;
    bool takes_device_memory = false;  // the kernel whose slot it is
  };
  struct output {
    element_type type = element_type::undefined;
    shape_type shape;
    bool copied = false;  // from another storage, after the last step
    storage from;
    bool in_place = true;  // a device's memory will do for all that write and read it
    std::size_t uses = 0;  // slots of steps, and other outputs that are copied from it
  };
  class builder;

  void* memory(const storage& s, const workspace& w) const;
  void bind_inputs(workspace& w, void* stream) const;
  void bind_outputs(workspace& w) const;
  void finish_outputs(workspace& w, void* stream) const;
  std::shared_ptr<const label_list> labels() const;

  const program& program_;
  std::vector<shape_type> input_shapes_;
  std::vector<tensor> pinned_;
  std::vector<dims> shapes_;                         // by value; slots point into it
  std::deque<tensor> evaluated_;                     // what was computed while planning
  std::vector<std::unique_ptr<const kernel>> made_;  // for these shapes only
  std::vector<step> steps_;
  std::vector<value_view> slots_;
  std::vector<patch> patches_;         // pointers that change with each run
  std::vector<patch> arena_pointers_;  // pointers that are set once per workspace
  std::vector<std::size_t> offsets_;   // by arena buffer
  std::vector<output> outputs_;
  std::vector<bool> input_on_host_;  // whether a step wants it there
  std::size_t arena_bytes_ = 0;

  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<workspace>> idle_;
  mutable std::size_t workspaces_ = 0;
  mutable std::shared_ptr<const label_list> labels_;  // of the steps; null until wanted
};

}  // namespace mizzen::inference::detail
