// A compiled graph that can run: in one planned piece, or in stages.
#pragma once

#include "inference/runtime/item.hpp"
#include "inference/runtime/plan.hpp"

#include <algorithm>
#include <cstddef>
#include <memory>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

namespace mizzen::inference::detail {

// A part of a program and the plans it was run with, the most recently used first. Thread safe.
class stage {
 public:
  stage(const program& p, program_part part, const compile_settings& settings)
      : program_(p),
        part_(std::move(part)),
        memory_limit_(settings.memory_limit),
        cached_plans_(settings.cached_plans),
        log_(settings.log),
        pinned_(part_.inputs.size(), false) {}
  stage(const stage&) = delete;
  stage& operator=(const stage&) = delete;

  const program_part& part() const noexcept { return part_; }

  // A plan that was made for these inputs before, or null. input(i) gives input i (null: none).
  // stream: as in run_options, of inputs in a device's memory whose values count.
  template <class Input>
  std::shared_ptr<const plan> find(Input&& input, void* stream = nullptr) const {
    const std::lock_guard lock(mutex_);
    for (std::size_t i = 0; i < plans_.size(); ++i) {
      if (!fits(*plans_[i], input, stream)) continue;
      std::rotate(plans_.begin(), plans_.begin() + static_cast<std::ptrdiff_t>(i),
                  plans_.begin() + static_cast<std::ptrdiff_t>(i) + 1);
      return plans_.front();
    }
    return nullptr;
  }

  // A new plan. Where shapes depend on data, small inputs that they follow from by little
  // computation are pinned: the plan then holds for their values only. Throws data_dependent_shape
  // where that does not help: the stage must then end before that node.
  std::shared_ptr<const plan> make(std::span<const tensor* const> inputs,
                                   const cancellation& cancel, void* stream = nullptr) const;

  // Forgets the plans; runs under way keep theirs.
  void release_memory() const noexcept {
    const std::lock_guard lock(mutex_);
    plans_.clear();
  }

 private:
  template <class Input>
  bool fits(const plan& p, Input&& input, void* stream) const {
    for (std::size_t i = 0; i < part_.inputs.size(); ++i) {
      const tensor* t = input(i);
      if (t == nullptr || t->type() != program_.g.values[part_.inputs[i]].type ||
          t->shape() != p.input_shapes()[i]) {
        return false;
      }
      const tensor* pinned = p.pinned(i);
      if (pinned == nullptr) continue;
      const tensor copy = t->on_host() ? tensor() : t->to_host(stream);
      const tensor& here = t->on_host() ? *t : copy;
      if (!std::ranges::equal(pinned->bytes(), here.bytes())) return false;
    }
    return true;
  }
  std::vector<std::size_t> inputs_behind(const data_dependent_shape& e,
                                         std::span<const tensor* const> inputs) const;

  const program& program_;
  const program_part part_;
  const std::size_t memory_limit_, cached_plans_;
  const logger log_;

  mutable std::mutex mutex_;
  mutable std::vector<std::shared_ptr<const plan>> plans_;
  mutable std::vector<bool> pinned_;  // inputs that earlier plans had to pin
};

// Returns the workspace also when the run throws.
class borrowed_workspace {
 public:
  explicit borrowed_workspace(const plan& p) : plan_(p), workspace_(p.acquire()) {}
  borrowed_workspace(const borrowed_workspace&) = delete;
  borrowed_workspace& operator=(const borrowed_workspace&) = delete;
  ~borrowed_workspace() { plan_.release(std::move(workspace_)); }
  workspace& operator*() const noexcept { return *workspace_; }
  workspace* operator->() const noexcept { return workspace_.get(); }

 private:
  const plan& plan_;
  std::unique_ptr<workspace> workspace_;
};

// Immutable but for plans and for where stages end, which is found out by running; runs may
// overlap.
//
// A graph is cut at its operations, and before each node whose output shapes hang on data that
// cannot be known when the nodes before it are planned. Between the cuts values are tensors of
// their own. A part of a device with such a shape runs on the host from then on.
class executable {
 public:
  // The graph has inferred types and shapes, and has been through the passes.
  executable(graph g, const compile_settings& settings);
  executable(const executable&) = delete;
  executable& operator=(const executable&) = delete;

  const graph& g() const noexcept { return program_.g; }
  device& on() const noexcept { return *program_.on; }

  // The graph in one piece, inputs and outputs as in graph::inputs and graph::outputs; null if it
  // has operations or values that are no tensors. Its make() may throw data_dependent_shape: then
  // run() is the way.
  const stage* whole() const noexcept { return whole_.get(); }

  // The outputs of the graph, from its inputs. Throws what kernels and operations throw, and
  // cancelled / deadline_exceeded. An output that a plan makes is put into the tensor given for it
  // in `into` (as graph::outputs; null: none), if it has the type and shape, and is then that one.
  std::vector<item> run(std::span<const item> inputs, const run_state& state,
                        std::span<tensor* const> into = {}) const;

  // Gives back what is kept for the next run, in subgraphs too.
  void release_memory() const noexcept;

 private:
  struct step {
    std::shared_ptr<const stage> planned;  // null for an operation
    std::size_t node = 0;
    std::vector<value_id> dead;  // values that nothing after it needs
  };
  using step_list = std::vector<step>;
  struct frame {
    std::vector<item> values;   // by value
    std::vector<tensor*> into;  // by value; empty where nothing is given

    // The tensor that a plan writes the value into.
    std::shared_ptr<tensor> target(value_id v, element_type type, const shape_type& shape,
                                   const run_state& state) const;
  };

  step planned_step(std::size_t first, std::size_t last) const;
  std::vector<value_id> dead_after(std::size_t first, std::size_t last) const;
  void run_stage(std::shared_ptr<const stage> s, frame& f, const run_state& state) const;
  std::vector<const tensor*> tensors_for(const program_part& part, const frame& f) const;
  // False if the stage had to be split: then only what comes before rest is done.
  bool run_planned(const stage& s, frame& f, const run_state& state,
                   std::shared_ptr<const stage>& rest) const;
  void run_operation(std::size_t node, frame& f, const run_state& state) const;
  std::pair<step, step> split(const stage& s, std::size_t before) const;
  // The first node, a part of a device, becomes an operation; the rest of the stage, or null.
  std::shared_ptr<const stage> split_off_part(const stage& s) const;
  void replace(const stage& s, const step_list& by) const;
  std::shared_ptr<const step_list> steps() const;
  std::shared_ptr<const label_list> labels() const;

  program program_;
  compile_settings settings_;
  std::vector<std::size_t> last_use_;  // by value: index of the last node that takes it
  std::vector<bool> has_source_;       // by value: an input of the graph or an output of a node
  std::vector<item> constants_;        // by value
  std::unique_ptr<const stage> whole_;

  mutable std::mutex mutex_;
  mutable std::shared_ptr<const step_list> steps_;
  mutable std::shared_ptr<const label_list> labels_;  // by node; null until wanted
};

}  // namespace mizzen::inference::detail
