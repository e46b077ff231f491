#include "pipelines/scheduler.hpp"

#include "pipelines/condition.hpp"

#include <mizzen/core/checked.hpp>
#include <mizzen/core/error.hpp>

#include <algorithm>
#include <map>
#include <utility>
#include <variant>

namespace mizzen::pipelines::detail {

scheduler::scheduler(const graph& graph, json arguments, scheduler_options options)
    : graph_(graph), arguments_(std::move(arguments)), options_(options) {
  layouts_.resize(graph.groups.size());
  task_slot_.resize(graph.tasks.size());
  group_slot_.resize(graph.groups.size());
  for (task_id id = 0; id < graph.tasks.size(); ++id) {
    layout& home = layouts_[graph.tasks[id].group];
    task_slot_[id] = home.tasks.size();
    home.tasks.push_back(id);
    // A group comes after its parent in the list, so the walk to the root ends.
    for (group_id group = graph.tasks[id].group;; group = graph.groups[group].parent) {
      ++layouts_[group].subtree_tasks;
      if (group == 0) break;
    }
  }
  for (group_id id = 1; id < graph.groups.size(); ++id) {
    layout& home = layouts_[graph.groups[id].parent];
    group_slot_[id] = home.groups.size();
    home.groups.push_back(id);
    layouts_[id].depth = home.depth + 1;
  }
  known_ = graph.tasks.size();
  collect_dependencies();
  const scope_id root = make_scope(0, 0, 0);
  attach(root);
  begin(root);
  settle();
}

void scheduler::collect_dependencies() {
  task_needs_.resize(graph_.tasks.size());
  group_needs_.resize(graph_.groups.size());

  const auto crosses_loop = [&](group_id consumer, group_id producer) {
    const group_id common = common_ancestor(consumer, producer);
    for (group_id group = producer; group != common; group = graph_.groups[group].parent) {
      if (graph_.groups[group].what == group_spec::kind::loop) return true;
    }
    return false;
  };
  const auto add = [](std::map<task_id, bool>& needs, task_id producer, bool tolerant) {
    const auto [at, fresh] = needs.emplace(producer, tolerant);
    if (!fresh) at->second = at->second && tolerant;
  };
  const auto add_source = [&](std::map<task_id, bool>& needs, const source& from) {
    if (const auto* output = std::get_if<output_source>(&from)) {
      add(needs, output->task, false);
    } else if (const auto* collected = std::get_if<collected_source>(&from)) {
      add(needs, collected->task, true);
    }
  };
  const auto store = [](const std::map<task_id, bool>& needs, std::vector<dependency>& into) {
    for (const auto& [producer, tolerant] : needs) into.push_back({producer, tolerant});
  };

  for (task_id id = 0; id < graph_.tasks.size(); ++id) {
    const task_spec& task = graph_.tasks[id];
    std::map<task_id, bool> needs;
    for (const auto& [name, from] : task.inputs) add_source(needs, from);
    for (const task_id before : task.after) {
      add(needs, before, crosses_loop(task.group, graph_.tasks[before].group));
    }
    store(needs, task_needs_[id]);
  }
  for (group_id id = 1; id < graph_.groups.size(); ++id) {
    const group_spec& group = graph_.groups[id];
    std::map<task_id, bool> needs;
    if (group.what == group_spec::kind::condition) {
      for_each_source(group.when, [&](const source& from) { add_source(needs, from); });
    } else {
      add_source(needs, group.items);
    }
    store(needs, group_needs_[id]);
  }
}

// --- Finding units ------------------------------------------------------------------------------

group_id scheduler::common_ancestor(group_id a, group_id b) const {
  while (a != b) {
    group_id& deeper = layouts_[a].depth >= layouts_[b].depth ? a : b;
    deeper = graph_.groups[deeper].parent;
  }
  return a;
}

group_id scheduler::child_towards(group_id ancestor, group_id descendant) const {
  while (graph_.groups[descendant].parent != ancestor) {
    descendant = graph_.groups[descendant].parent;
  }
  return descendant;
}

scheduler::scope_id scheduler::ancestor_scope(scope_id from, group_id group) const {
  while (scopes_[from].group != group) from = scopes_[from].parent;
  return from;
}

unit_id scheduler::unit_of_task(scope_id scope, task_id task) const {
  return scopes_[scope].first + static_cast<unit_id>(task_slot_[task]);
}

unit_id scheduler::unit_of_group(scope_id scope, group_id group) const {
  const std::size_t tasks = layouts_[scopes_[scope].group].tasks.size();
  return scopes_[scope].first + static_cast<unit_id>(tasks + group_slot_[group]);
}

void scheduler::find_units(scope_id scope, task_id task, std::vector<unit_id>& found) const {
  const group_id home = graph_.tasks[task].group;
  if (scopes_[scope].group == home) {
    found.push_back(unit_of_task(scope, task));
    return;
  }
  const unit_id gate = unit_of_group(scope, child_towards(scopes_[scope].group, home));
  for (const scope_id inner : units_[gate].scopes) find_units(inner, task, found);
}

std::vector<std::size_t> scheduler::indices_of(unit_id unit) const {
  std::vector<std::size_t> indices;
  for (scope_id scope = units_[unit].scope; scope != 0; scope = scopes_[scope].parent) {
    if (scopes_[scope].index) indices.push_back(*scopes_[scope].index);
  }
  std::reverse(indices.begin(), indices.end());
  return indices;
}

std::string scheduler::label(unit_id unit) const {
  std::string label = graph_.tasks[units_[unit].id].name;
  for (const std::size_t index : indices_of(unit)) label += "[" + std::to_string(index) + "]";
  return label;
}

std::vector<unit_id> scheduler::all_tasks() const {
  std::vector<unit_id> all;
  for (unit_id unit = 0; unit < units_.size(); ++unit) {
    if (!units_[unit].is_group) all.push_back(unit);
  }
  // Units of one task are made in order of iteration, but nested loops may open in any order.
  std::sort(all.begin(), all.end(), [&](unit_id a, unit_id b) {
    if (units_[a].id != units_[b].id) return units_[a].id < units_[b].id;
    return indices_of(a) < indices_of(b);
  });
  return all;
}

// --- Values -------------------------------------------------------------------------------------

json scheduler::value_in(scope_id scope, const source& from) const {
  const auto output_of = [&](unit_id unit, const std::string& name) -> const json& {
    return units_[unit].outputs.at(name);
  };
  if (const auto* constant = std::get_if<constant_source>(&from)) return constant->value;
  if (const auto* parameter = std::get_if<parameter_source>(&from)) {
    return arguments_.at(parameter->parameter);
  }
  if (const auto* item = std::get_if<item_source>(&from)) {
    const json& whole = scopes_[ancestor_scope(scope, item->loop)].item;
    return item->member.empty() ? whole : whole.at(item->member);
  }
  const auto* collected = std::get_if<collected_source>(&from);
  const auto* output = std::get_if<output_source>(&from);
  const task_id producer = collected ? collected->task : output->task;
  const std::string& name = collected ? collected->output : output->output;
  const scope_id common =
      ancestor_scope(scope, common_ancestor(scopes_[scope].group, graph_.tasks[producer].group));
  std::vector<unit_id> units;
  find_units(common, producer, units);
  if (output) return output_of(units.at(0), name);
  json list = json::array();
  for (const unit_id unit : units) {
    if (units_[unit].state != unit_state::skipped) list.push_back(output_of(unit, name));
  }
  return list;
}

json scheduler::value(unit_id unit, const source& from) const {
  return value_in(units_[unit].scope, from);
}

std::vector<unit_id> scheduler::producers(unit_id unit, const source& from) const {
  const auto* collected = std::get_if<collected_source>(&from);
  const auto* output = std::get_if<output_source>(&from);
  if (!collected && !output) return {};
  const task_id producer = collected ? collected->task : output->task;
  const scope_id scope = units_[unit].scope;
  std::vector<unit_id> units;
  find_units(
      ancestor_scope(scope, common_ancestor(scopes_[scope].group, graph_.tasks[producer].group)),
      producer, units);
  std::erase_if(units, [&](unit_id each) { return units_[each].state == unit_state::skipped; });
  return units;
}

// --- Opening groups -----------------------------------------------------------------------------

scheduler::scope_id scheduler::make_scope(group_id group, scope_id parent, unit_id gate) {
  const layout& home = layouts_[group];
  const auto id = narrow<scope_id>(scopes_.size(), "the iterations of the pipeline");
  const auto first = narrow<unit_id>(units_.size(), "the tasks of the pipeline");
  scopes_.push_back({group, parent, gate, first,
                     static_cast<std::uint32_t>(home.tasks.size() + home.groups.size())});
  for (const task_id task : home.tasks) {
    units_.push_back({.id = task, .scope = id, .is_group = false});
  }
  for (const group_id child : home.groups) {
    units_.push_back({.id = child, .scope = id, .is_group = true});
  }
  return id;
}

// Makes the units of a scope wait for what they depend on.
void scheduler::attach(scope_id scope) {
  const unit_id first = scopes_[scope].first;
  const unit_id last = first + scopes_[scope].open;
  for (unit_id consumer = first; consumer < last; ++consumer) {
    const node& self = units_[consumer];
    for (const dependency& need : self.is_group ? group_needs_[self.id] : task_needs_[self.id]) {
      const group_id common =
          common_ancestor(scopes_[scope].group, graph_.tasks[need.producer].group);
      link(consumer, need.tolerant, need.producer, ancestor_scope(scope, common));
    }
  }
}

// Makes the consumer wait for the producer: every unit of it below the scope.
void scheduler::link(unit_id consumer, bool tolerant, task_id producer, scope_id scope) {
  if (is_final(units_[consumer].state)) return;
  const group_id home = graph_.tasks[producer].group;
  if (scopes_[scope].group == home) {
    const unit_id unit = unit_of_task(scope, producer);
    ++units_[consumer].pending;
    units_[unit].dependents.push_back({consumer, tolerant});
    if (is_final(units_[unit].state)) settling_.push_back(unit);  // again, for this edge
    return;
  }
  node& gate = units_[unit_of_group(scope, child_towards(scopes_[scope].group, home))];
  if (gate.state == unit_state::waiting) {
    ++units_[consumer].pending;
    gate.waiters.push_back({consumer, tolerant, producer});
  } else {
    for (const scope_id inner : gate.scopes) link(consumer, tolerant, producer, inner);
  }
}

// It is the scope's turn.
void scheduler::begin(scope_id scope) {
  const layout& home = layouts_[scopes_[scope].group];
  const auto count = static_cast<unit_id>(home.tasks.size() + home.groups.size());
  const unit_id first = scopes_[scope].first;
  for (unit_id unit = first; unit < first + count; ++unit) release(unit);
}

// One thing less to wait for.
void scheduler::release(unit_id consumer) {
  node& self = units_[consumer];
  if (self.state != unit_state::waiting || --self.pending != 0) return;
  if (self.is_group) {
    opening_.push_back(consumer);
  } else {
    self.state = unit_state::ready;
    ready_.push_back(consumer);
  }
}

// Everything a condition or loop waited for is there: decides it and makes its scopes.
void scheduler::open_group(unit_id gate) {
  if (units_[gate].state != unit_state::waiting) return;
  const group_id group = units_[gate].id;
  const group_spec& spec = graph_.groups[group];
  const scope_id outer = units_[gate].scope;
  if (spec.what == group_spec::kind::condition) {
    if (!holds(spec.when, [&](const source& from) { return value_in(outer, from); })) {
      close_group(gate, unit_state::skipped, false,
                  "the condition does not hold: " + to_text(spec.when, graph_));
      return;
    }
    units_[gate].state = unit_state::running;
    units_[gate].scopes.push_back(make_scope(group, outer, gate));
  } else {
    json items = value_in(outer, spec.items);
    units_[gate].state = unit_state::running;
    for (std::size_t i = 0; i < items.size(); ++i) {
      const scope_id inner = make_scope(group, outer, gate);
      scopes_[inner].index = i;
      scopes_[inner].item = std::move(items[i]);
      units_[gate].scopes.push_back(inner);
    }
    known_ = known_ + items.size() * layouts_[group].subtree_tasks - layouts_[group].subtree_tasks;
  }
  node& self = units_[gate];
  self.open_scopes = static_cast<std::uint32_t>(self.scopes.size());
  for (const scope_id inner : self.scopes) attach(inner);
  adopt(gate);
  const std::size_t at_once =
      spec.parallelism > 0 ? static_cast<std::size_t>(spec.parallelism) : self.scopes.size();
  self.next_turn = static_cast<std::uint32_t>(std::min(at_once, self.scopes.size()));
  for (std::uint32_t turn = 0; turn < self.next_turn; ++turn) begin(self.scopes[turn]);
  if (self.scopes.empty()) group_done(gate);
}

// The tasks of a group will not run: one scope in which all of them are final.
void scheduler::close_group(unit_id gate, unit_state state, bool blamed, const std::string& text) {
  node& self = units_[gate];
  if (self.state != unit_state::waiting) return;
  const scope_id inner = make_scope(self.id, self.scope, gate);
  self.state = unit_state::running;
  self.scopes.push_back(inner);
  self.open_scopes = 1;
  self.next_turn = 1;
  const unit_id first = scopes_[inner].first;
  const unit_id last = first + scopes_[inner].open;
  for (unit_id unit = first; unit < last; ++unit) {
    if (units_[unit].is_group) {
      close_group(unit, state, blamed, text);
    } else {
      finish(unit, state, blamed, text);
    }
  }
  adopt(gate);
}

// Those who waited for a task in the group now wait for its units.
void scheduler::adopt(unit_id gate) {
  for (const waiter& waiting : std::exchange(units_[gate].waiters, {})) {
    for (const scope_id inner : units_[gate].scopes) {
      link(waiting.consumer, waiting.tolerant, waiting.producer, inner);
    }
    release(waiting.consumer);
  }
}

void scheduler::group_done(unit_id gate) {
  units_[gate].state = unit_state::succeeded;
  settling_.push_back(gate);
}

// --- Ends ---------------------------------------------------------------------------------------

void scheduler::finish(unit_id unit, unit_state state, bool blamed, std::string text) {
  if (is_final(units_[unit].state)) return;
  units_[unit].state = state;
  units_[unit].blamed = blamed;
  ++finished_;
  changes_.push_back({unit, state, std::move(text)});
  settling_.push_back(unit);
}

// Works off what follows from ends and openings, without recursion along chains of tasks.
void scheduler::settle() {
  while (!settling_.empty() || !opening_.empty()) {
    if (!settling_.empty()) {
      const unit_id unit = settling_.back();
      settling_.pop_back();
      settle_one(unit);
    } else {
      const unit_id gate = opening_.back();
      opening_.pop_back();
      open_group(gate);
    }
  }
}

void scheduler::settle_one(unit_id id) {
  node& self = units_[id];
  const bool good = self.state == unit_state::succeeded || self.state == unit_state::cached;
  const bool harmless = self.state == unit_state::skipped && !self.blamed;
  for (const edge& to : std::exchange(self.dependents, {})) {
    if (good || (to.tolerant && harmless)) {
      release(to.consumer);
      continue;
    }
    if (units_[to.consumer].state != unit_state::waiting) continue;
    const std::string text = "'" + label(id) + "' " +
                             (self.state == unit_state::failed      ? "failed"
                              : self.state == unit_state::cancelled ? "was cancelled"
                                                                    : "was skipped");
    if (units_[to.consumer].is_group) {
      close_group(to.consumer, unit_state::skipped, !harmless, text);
    } else {
      finish(to.consumer, unit_state::skipped, !harmless, text);
    }
  }
  if (self.settled) return;
  self.settled = true;
  frame& home = scopes_[self.scope];
  if (--home.open > 0 || self.scope == 0) return;

  // The last of its scope: the group's next iteration begins, or the group is done.
  node& gate = units_[home.gate];
  if (gate.next_turn < gate.scopes.size()) begin(gate.scopes[gate.next_turn++]);
  if (--gate.open_scopes == 0) group_done(home.gate);
}

// --- What the runner calls ----------------------------------------------------------------------

std::optional<scheduler::start> scheduler::next(time_point now) {
  while (!waking_.empty() && waking_.top().first <= now) {
    const unit_id unit = waking_.top().second;
    waking_.pop();
    if (units_[unit].state != unit_state::backing_off) continue;
    units_[unit].state = unit_state::ready;
    ready_.push_back(unit);
  }
  while (!ready_.empty()) {
    const unit_id id = ready_.front();
    ready_.pop_front();
    node& self = units_[id];
    if (self.state != unit_state::ready) continue;
    self.state = unit_state::running;
    return start{id, self.id, ++self.attempts};
  }
  return std::nullopt;
}

std::optional<scheduler::time_point> scheduler::wake_at() const {
  if (waking_.empty() || stopped_) return std::nullopt;
  return waking_.top().first;
}

void scheduler::succeeded(unit_id unit, json outputs, bool cached) {
  units_[unit].outputs = std::move(outputs);
  finish(unit, cached ? unit_state::cached : unit_state::succeeded, false, {});
  settle();
}

void scheduler::failed(unit_id id, time_point now, std::string text) {
  node& self = units_[id];
  const retry_policy& policy = graph_.tasks[self.id].retry;
  if (!stopped_ && self.attempts <= policy.retries) {
    const std::chrono::milliseconds wait = policy.backoff.delay(self.attempts);
    // Compared as what is left, because now + wait may be beyond the clock.
    if (wait < options_.deadline - now) {
      self.state = unit_state::backing_off;
      waking_.emplace(now + wait, id);
      changes_.push_back({id, unit_state::backing_off, std::move(text), wait});
      return;
    }
    text += " (the deadline of the run leaves no time for another attempt)";
  }
  finish(id, unit_state::failed, true, std::move(text));
  if (options_.fail_fast) stop("'" + label(id) + "' failed and the run stops at the first failure");
  settle();
}

void scheduler::cancelled(unit_id unit, std::string text) {
  finish(unit, unit_state::cancelled, true, std::move(text));
  settle();
}

void scheduler::stop(const std::string& text) {
  stopped_ = true;
  for (unit_id id = 0; id < units_.size(); ++id) {
    const unit_state state = units_[id].state;
    if (is_final(state) || state == unit_state::running) continue;
    if (units_[id].is_group) {
      close_group(id, unit_state::cancelled, true, text);
    } else {
      finish(id, unit_state::cancelled, true, text);
    }
  }
  settle();
}

}  // namespace mizzen::pipelines::detail
