// What a step may know about the run it is part of.
#pragma once

#include <mizzen/core/cancellation.hpp>
#include <mizzen/core/log.hpp>

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

namespace mizzen::pipelines {

// The optional second parameter of a step: void train(train_io& io, mizzen::step_context& context).
// Valid for the duration of the call; may be used from several threads of the step.
class context {
 public:
  struct state {
    std::string pipeline;
    std::string run_id;
    std::string task;
    int attempt = 1;
    mizzen::cancellation cancel;
    mizzen::logger log;
    std::filesystem::path scratch;
    std::function<void(std::string_view)> progress;
    std::string lineage_node;
  };

  explicit context(state values);

  const std::string& pipeline() const noexcept { return state_.pipeline; }
  const std::string& run_id() const noexcept { return state_.run_id; }

  // Name of the task; in a loop with its indices: "train[2]".
  const std::string& task() const noexcept { return state_.task; }

  // 1 for the first, 2 for the first retry …
  int attempt() const noexcept { return state_.attempt; }

  // Triggered when the run is cancelled, its deadline or the task's timeout has passed. A long step
  // asks it now and then: context.cancel().check(context.task()).
  const mizzen::cancellation& cancel() const noexcept { return state_.cancel; }

  const mizzen::logger& log() const noexcept { return state_.log; }

  // An empty folder of this attempt, removed after it. Made at the first call.
  std::filesystem::path scratch() const;

  // The id of this task's node in the lineage graph of run_options::tracking, for a step that links
  // more to it (a run, a model version); empty without tracking.
  const std::string& lineage_node() const noexcept { return state_.lineage_node; }

  // Tells the observer of the run how far the step is: "epoch 3 of 10". Never throws.
  void progress(std::string_view text) const noexcept;

 private:
  state state_;
};

}  // namespace mizzen::pipelines
