// Which task of a graph may run when: a state machine without threads, clock or files.
#pragma once

#include <mizzen/pipelines/graph.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <queue>
#include <string>
#include <utility>
#include <vector>

namespace mizzen::pipelines::detail {

// A task (or the entry of a condition or loop) in one iteration of the loops around it.
using unit_id = std::uint32_t;

enum class unit_state : std::uint8_t {
  waiting,      // for what it depends on, or for its turn in a loop
  ready,        // to be handed out by next()
  running,      // handed out; for a group: its tasks are under way
  backing_off,  // between two attempts
  succeeded,
  cached,
  failed,
  skipped,
  cancelled
};

constexpr bool is_final(unit_state state) noexcept { return state >= unit_state::succeeded; }

struct scheduler_options {
  bool fail_fast = false;
  std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();
};

// Feed it what happened, ask it what to do next. Everything is O(edges) over a whole run. Not
// thread safe. The graph is valid and outlives it; arguments hold every pipeline parameter.
class scheduler {
 public:
  using time_point = std::chrono::steady_clock::time_point;

  struct start {
    unit_id unit;
    task_id task;
    int attempt;  // from 1
  };

  // A task that reached a final state, or backs off.
  struct change {
    unit_id unit;
    unit_state state;
    std::string text;
    std::chrono::milliseconds wait{0};
  };

  scheduler(const graph& graph, json arguments, scheduler_options options = {});

  // The next task to run now, in the order of the graph where there is a choice; marks it running.
  std::optional<start> next(time_point now);

  // When next() may have more without anything being reported: the earliest end of a wait.
  std::optional<time_point> wake_at() const;

  // How a running task ended. outputs: its output parameters, by name.
  void succeeded(unit_id unit, json outputs, bool cached);
  void failed(unit_id unit, time_point now, std::string text);  // tried again as its policy says
  void cancelled(unit_id unit, std::string text);

  // Starts nothing any more; what is not running is cancelled.
  void stop(const std::string& text);
  bool stopped() const noexcept { return stopped_; }

  // True when every task is in a final state.
  bool done() const noexcept { return scopes_[0].open == 0; }

  std::size_t ready_count() const noexcept { return ready_.size(); }
  std::size_t finished_count() const noexcept { return finished_; }
  std::size_t known_count() const noexcept { return known_; }

  // What changed since the last call.
  std::vector<change> take_changes() { return std::exchange(changes_, {}); }

  // --- What a unit is ---
  task_id task_of(unit_id unit) const { return units_[unit].id; }
  unit_state state_of(unit_id unit) const { return units_[unit].state; }
  int attempts_of(unit_id unit) const { return units_[unit].attempts; }

  // Indices of the loops around it, outermost first.
  std::vector<std::size_t> indices_of(unit_id unit) const;

  // "train", in loops "train[2][0]".
  std::string label(unit_id unit) const;

  // --- Inputs of a running unit ---

  // Value of a parameter input.
  json value(unit_id unit, const source& from) const;

  // Units whose output an artifact input takes: one, or those collected, in order.
  std::vector<unit_id> producers(unit_id unit, const source& from) const;

  // All units of tasks in order of task, then of iteration.
  std::vector<unit_id> all_tasks() const;

 private:
  using scope_id = std::uint32_t;

  struct dependency {
    task_id producer;
    bool tolerant;  // a producer skipped by a condition does not matter
  };

  struct edge {
    unit_id consumer;
    bool tolerant;
  };

  // A consumer of a task inside a group that is not open yet.
  struct waiter {
    unit_id consumer;
    bool tolerant;
    task_id producer;
  };

  struct node {
    std::size_t id;  // task_id or group_id
    scope_id scope;
    std::uint32_t pending = 1;  // dependencies not met, and one for its scope's turn
    unit_state state = unit_state::waiting;
    bool is_group;
    bool settled = false;  // counted in its scope
    bool blamed = false;   // failed, or skipped because something failed
    int attempts = 0;
    std::vector<edge> dependents = {};
    json outputs = {};                  // task: its output parameters
    std::vector<scope_id> scopes = {};  // group: one per iteration
    std::vector<waiter> waiters = {};   // group
    std::uint32_t open_scopes = 0;      // group
    std::uint32_t next_turn = 0;        // group: the next scope to begin
  };

  // One iteration of a group: its tasks, then its child groups, in consecutive units.
  struct frame {
    group_id group;
    scope_id parent;
    unit_id gate;  // the unit of the group in the parent
    unit_id first;
    std::uint32_t open = 0;  // units not final
    std::optional<std::size_t> index = {};
    json item = {};
  };

  struct layout {
    std::vector<task_id> tasks;
    std::vector<group_id> groups;
    std::size_t depth = 0;
    std::size_t subtree_tasks = 0;
  };

  void collect_dependencies();
  group_id common_ancestor(group_id a, group_id b) const;
  group_id child_towards(group_id ancestor, group_id descendant) const;
  scope_id ancestor_scope(scope_id from, group_id group) const;
  unit_id unit_of_task(scope_id scope, task_id task) const;
  unit_id unit_of_group(scope_id scope, group_id group) const;
  void find_units(scope_id scope, task_id task, std::vector<unit_id>& found) const;

  scope_id make_scope(group_id group, scope_id parent, unit_id gate);
  void attach(scope_id scope);
  void link(unit_id consumer, bool tolerant, task_id producer, scope_id scope);
  void begin(scope_id scope);
  void open_group(unit_id gate);
  void adopt(unit_id gate);
  void close_group(unit_id gate, unit_state state, bool blamed, const std::string& text);
  void release(unit_id consumer);
  void finish(unit_id unit, unit_state state, bool blamed, std::string text);
  void settle();
  void settle_one(unit_id unit);
  void group_done(unit_id gate);
  json value_in(scope_id scope, const source& from) const;

  const graph& graph_;
  json arguments_;
  scheduler_options options_;
  std::vector<layout> layouts_;          // by group
  std::vector<std::size_t> task_slot_;   // by task: its place in its group
  std::vector<std::size_t> group_slot_;  // by group: its place in its parent
  std::vector<std::vector<dependency>> task_needs_, group_needs_;

  std::deque<node> units_;  // grows while references to its elements are held
  std::deque<frame> scopes_;
  std::deque<unit_id> ready_;
  using wake = std::pair<time_point, unit_id>;
  std::priority_queue<wake, std::vector<wake>, std::greater<>> waking_;
  std::vector<unit_id> settling_;  // final, what follows is to be done
  std::vector<unit_id> opening_;   // groups that wait for nothing any more
  std::vector<change> changes_;
  std::size_t finished_ = 0;
  std::size_t known_ = 0;
  bool stopped_ = false;
};

}  // namespace mizzen::pipelines::detail
