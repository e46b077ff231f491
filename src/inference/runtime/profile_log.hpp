// How runs report to a profile.
#pragma once

#include "inference/graph/ir.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

namespace mizzen::inference::detail {

// What a report says of a node.
struct node_label {
  std::string name, op_type, fused, outputs, inputs;
};
using label_list = std::vector<node_label>;

// shape_text(v) is the type and shape of a value as far as the caller knows them: "float32[2,3]".
template <class ShapeText>
node_label label_of(const node& n, const graph& g, ShapeText&& shape_text) {
  node_label label{n.name, n.domain.empty() ? n.op_type : n.domain + "." + n.op_type, {}, {}, {}};
  for (const post_op& op : n.post_ops) label.fused += "+" + std::string(to_string(op.kind));
  for (const value_id v : n.outputs) {
    if (v == no_value) continue;
    if (label.name.empty()) label.name = "-> " + g.values[v].name;
    label.outputs += (label.outputs.empty() ? "" : ", ") + shape_text(v);
  }
  for (const value_id v : n.inputs) {
    if (v != no_value) label.inputs += (label.inputs.empty() ? "" : ", ") + shape_text(v);
  }
  return label;
}

using profile_clock = std::chrono::steady_clock;

struct profile_event {
  const node_label* label = nullptr;  // null: the whole run
  profile_clock::time_point start;
  profile_clock::duration took{0};
  profile_clock::duration inside{0};  // of it, in events within this one
};

// The state of a profile. Thread safe.
class profile_log {
 public:
  struct sum {
    std::uint64_t count = 0;
    profile_clock::duration total{0};
  };
  struct kept_event {
    profile_event event;
    std::uint32_t thread = 0;
    std::uint64_t run = 0;
  };
  struct content {
    std::uint64_t runs = 0;
    profile_clock::duration total{0};
    profile_clock::time_point origin = profile_clock::now();
    std::map<const node_label*, sum> sums;
    std::vector<kept_event> events;
    std::vector<std::shared_ptr<const label_list>> labels;  // that the rest points into
    std::vector<std::thread::id> threads;
  };

  void add(std::span<const profile_event> events,
           std::span<const std::shared_ptr<const label_list>> labels);
  void clear();
  // Calls read(content) while nothing changes.
  template <class Read>
  auto with(Read&& read) const {
    const std::lock_guard lock(mutex_);
    return read(content_);
  }

 private:
  mutable std::mutex mutex_;
  content content_;
};

// The events of one run, on the thread that runs it. Those of a run that throws are lost.
class run_recorder {
 public:
  // begin() and end() enclose an event; events between them are within it.
  void begin(const node_label* label) {
    open_.push_back(events_.size());
    events_.push_back({label, profile_clock::now(), {}, {}});
  }
  void end() {
    profile_event& event = events_[open_.back()];
    event.took = profile_clock::now() - event.start;
    open_.pop_back();
    if (!open_.empty()) events_[open_.back()].inside += event.took;
  }

  // Keeps the labels for as long as the profile needs them.
  const label_list& keep(const std::shared_ptr<const label_list>& labels) {
    if (labels_.empty() || labels_.back() != labels) labels_.push_back(labels);
    return *labels;
  }

  void commit(profile_log& to) const { to.add(events_, labels_); }

 private:
  std::vector<profile_event> events_;
  std::vector<std::size_t> open_;
  std::vector<std::shared_ptr<const label_list>> labels_;
};

}  // namespace mizzen::inference::detail
