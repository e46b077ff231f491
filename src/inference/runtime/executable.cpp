#include "inference/runtime/executable.hpp"

#include "inference/device/part.hpp"

#include <limits>
#include <string>
#include <unordered_set>

namespace mizzen::inference::detail {
namespace {

constexpr std::size_t never = std::numeric_limits<std::size_t>::max();

// An input that a shape follows from may have this many elements to be pinned …
constexpr std::size_t most_pinned_elements = 64;
// … or this many where it is itself the shape, the axes, the lengths of a node: no value of
// max_rank dimensions needs as many, and each run compares them.
constexpr std::size_t most_pinned_operand = 4096;
// Nodes between them: what takes more to compute belongs to a run.
constexpr std::size_t most_nodes_behind = 32;

bool is_plain(const graph& g, value_id v) {
  return g.values[v].kind == value_kind::tensor && g.values[v].type != element_type::string;
}

}  // namespace

std::vector<std::size_t> stage::inputs_behind(const data_dependent_shape& e,
                                              std::span<const tensor* const> inputs) const {
  const graph& g = program_.g;
  std::vector<std::size_t> found;
  std::vector<bool> seen(g.values.size(), false);
  std::vector<std::pair<value_id, bool>> open;  // and whether it is an operand of the node itself
  for (const value_id v : e.wanted()) open.emplace_back(v, true);
  std::size_t nodes = 0;
  while (!open.empty()) {
    const auto [v, direct] = open.back();
    open.pop_back();
    if (v == no_value || seen[v]) continue;
    seen[v] = true;
    const auto at = std::find(part_.inputs.begin(), part_.inputs.end(), v);
    if (at != part_.inputs.end()) {
      const auto i = static_cast<std::size_t>(at - part_.inputs.begin());
      if (inputs[i]->size() > (direct ? most_pinned_operand : most_pinned_elements)) return {};
      found.push_back(i);
      continue;
    }
    if (g.values[v].constant) continue;
    for (std::size_t i = part_.first; i < e.node(); ++i) {
      const node& n = g.nodes[i];
      if (std::find(n.outputs.begin(), n.outputs.end(), v) == n.outputs.end()) continue;
      if (++nodes > most_nodes_behind) return {};
      // Of these the shape counts, which is known.
      if (n.op_type == "Shape" || n.op_type == "Size") break;
      for (const value_id in : n.inputs) open.emplace_back(in, false);
      break;
    }
  }
  return found;
}

std::shared_ptr<const plan> stage::make(std::span<const tensor* const> inputs,
                                        const cancellation& cancel, void* stream) const {
  std::vector<shape_type> shapes;
  shapes.reserve(inputs.size());
  for (const tensor* t : inputs) shapes.push_back(t->shape());
  std::vector<bool> pin;
  {
    const std::lock_guard lock(mutex_);
    pin = pinned_;
  }
  std::shared_ptr<const plan> made;
  while (!made) {
    std::vector<tensor> pinned;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      const bool small = inputs[i]->size() <= most_pinned_operand;
      pinned.push_back(!pin[i] || !small      ? tensor()
                       : inputs[i]->on_host() ? inputs[i]->clone()
                                              : inputs[i]->to_host(stream));
    }
    try {
      made = std::make_shared<const plan>(program_, part_, shapes, memory_limit_, std::move(pinned),
                                          cancel);
    } catch (const data_dependent_shape& e) {
      bool more = false;
      for (const std::size_t i : inputs_behind(e, inputs)) {
        more = more || !pin[i];
        pin[i] = true;
      }
      if (!more) throw;
    }
  }
  if (log_.enabled(log_level::debug)) {
    std::string text;
    for (const shape_type& shape : made->input_shapes()) {
      text += (text.empty() ? "" : ", ") + to_string(shape);
    }
    log_.log(log_level::debug, "inference", "plan made",
             {{"inputs", text}, {"steps", made->step_count()}});
  }
  // Made outside the lock: runs with known shapes need not wait. Two threads may make the same
  // plan; the second one is then used once and dropped from the end of the list.
  const std::lock_guard lock(mutex_);
  pinned_ = std::move(pin);
  if (cached_plans_ != 0) {
    plans_.insert(plans_.begin(), made);
    if (plans_.size() > cached_plans_) plans_.pop_back();
  }
  return made;
}

executable::executable(graph graph, const compile_settings& settings)
    : program_(compile_program(std::move(graph), settings)), settings_(settings) {
  const auto& g = program_.g;
  last_use_.assign(g.values.size(), 0);
  has_source_.assign(g.values.size(), false);
  bool plain = true;
  for (std::size_t i = 0; i < g.nodes.size(); ++i) {
    plain = plain && !program_.operations[i];
    for (const value_id v : g.nodes[i].inputs) {
      if (v != no_value) last_use_[v] = i;
    }
    for (const value_id v : g.nodes[i].outputs) {
      if (v != no_value) has_source_[v] = true;
    }
  }
  for (const value_id v : g.outputs) {
    last_use_[v] = never;
    plain = plain && is_plain(g, v);
  }
  for (const value_id v : g.inputs) {
    has_source_[v] = true;
    plain = plain && is_plain(g, v);
  }
  constants_.resize(g.values.size());
  for (std::size_t v = 0; v < g.values.size(); ++v) constants_[v] = g.values[v].constant;
  if (plain) {
    whole_ = std::make_unique<const stage>(
        program_, program_part{0, g.nodes.size(), g.inputs, g.outputs}, settings_);
  }
  auto list = std::make_shared<step_list>();
  for (std::size_t i = 0; i < g.nodes.size();) {
    if (program_.operations[i]) {
      list->push_back({nullptr, i, dead_after(i, i + 1)});
      ++i;
      continue;
    }
    const std::size_t first = i;
    while (i < g.nodes.size() && !program_.operations[i]) ++i;
    list->push_back(planned_step(first, i));
  }
  steps_ = std::move(list);
}

std::vector<value_id> executable::dead_after(std::size_t first, std::size_t last) const {
  std::vector<value_id> dead;
  for (std::size_t i = first; i < last; ++i) {
    for (const auto& list : {program_.g.nodes[i].inputs, program_.g.nodes[i].outputs}) {
      for (const value_id v : list) {
        if (v != no_value && last_use_[v] < last) dead.push_back(v);
      }
    }
  }
  return dead;
}

executable::step executable::planned_step(std::size_t first, std::size_t last) const {
  const auto& g = program_.g;
  program_part part{first, last, {}, {}};
  // Not by value: a graph of many stages would take the square of its size.
  std::unordered_set<value_id> seen;
  for (std::size_t i = first; i < last; ++i) {
    const node& n = g.nodes[i];
    for (const value_id v : n.inputs) {
      // What has no source is a constant of which only prepacked forms are left.
      if (v == no_value || !has_source_[v] || constants_[v].one) continue;
      if (seen.insert(v).second) part.inputs.push_back(v);
    }
    for (const value_id v : n.outputs) {
      if (v != no_value) seen.insert(v);
    }
  }
  for (std::size_t i = first; i < last; ++i) {
    for (const value_id v : g.nodes[i].outputs) {
      if (v != no_value && last_use_[v] >= last) part.outputs.push_back(v);
    }
  }
  return {std::make_shared<const stage>(program_, std::move(part), settings_), 0,
          dead_after(first, last)};
}

std::pair<executable::step, executable::step> executable::split(const stage& s,
                                                                std::size_t before) const {
  std::pair<step, step> parts{planned_step(s.part().first, before),
                              planned_step(before, s.part().last)};
  replace(s, {parts.first, parts.second});
  return parts;
}

std::shared_ptr<const stage> executable::split_off_part(const stage& s) const {
  const program_part& part = s.part();
  step_list steps{{nullptr, part.first, dead_after(part.first, part.first + 1)}};
  if (part.first + 1 < part.last) steps.push_back(planned_step(part.first + 1, part.last));
  replace(s, steps);
  return steps.back().planned;
}

// Where another run has split the stage meanwhile, this one goes on with its own parts.
void executable::replace(const stage& s, const step_list& by) const {
  const std::lock_guard lock(mutex_);
  const auto at = std::find_if(steps_->begin(), steps_->end(),
                               [&](const step& one) { return one.planned.get() == &s; });
  if (at == steps_->end()) return;
  auto list = std::make_shared<step_list>(steps_->begin(), at);
  list->insert(list->end(), by.begin(), by.end());
  list->insert(list->end(), at + 1, steps_->end());
  steps_ = std::move(list);
}

std::shared_ptr<const executable::step_list> executable::steps() const {
  const std::lock_guard lock(mutex_);
  return steps_;
}

void executable::release_memory() const noexcept {
  if (whole_) whole_->release_memory();
  for (const step& s : *steps()) {
    if (s.planned) s.planned->release_memory();
  }
  for (const auto& operation : program_.operations) {
    if (operation) operation->release_memory();
  }
  for (const auto& kernel : program_.kernels) {
    if (const part_on_host* instead = on_host(kernel.get())) instead->release_memory();
  }
}

// Of operations, whose shapes are those of the graph: a run may make others each time.
std::shared_ptr<const label_list> executable::labels() const {
  const std::lock_guard lock(mutex_);
  if (labels_) return labels_;
  const graph& g = program_.g;
  auto list = std::make_shared<label_list>();
  for (const node& n : g.nodes) {
    list->push_back(label_of(n, g, [&](value_id v) { return type_text(g, v); }));
    if (n.op_type == part_operator) list->back().fused += " on the processor";
  }
  labels_ = std::move(list);
  return labels_;
}

std::shared_ptr<tensor> executable::frame::target(value_id v, element_type type,
                                                  const shape_type& shape,
                                                  const run_state& state) const {
  tensor* const given = into.empty() ? nullptr : into[v];
  const bool fits = given != nullptr && given->type() == type && given->shape() == shape;
  if (fits && !given->read_only()) return {std::shared_ptr<void>(), given};
  return state.make(type, shape);
}

std::vector<item> executable::run(std::span<const item> inputs, const run_state& state,
                                  std::span<tensor* const> into) const {
  const auto& g = program_.g;
  frame f;
  f.values.resize(g.values.size());
  for (std::size_t i = 0; i < g.inputs.size(); ++i) f.values[g.inputs[i]] = inputs[i];
  if (!into.empty()) {
    f.into.resize(g.values.size());
    for (std::size_t i = 0; i < into.size(); ++i) f.into[g.outputs[i]] = into[i];
  }
  const auto list = steps();
  const auto end_step = [&](const step& s) {
    for (const value_id v : s.dead) f.values[v] = {};
  };
  for (const step& s : *list) {
    state.cancel.check("run of the model");
    if (s.planned) {
      run_stage(s.planned, f, state);
    } else {
      run_operation(s.node, f, state);
    }
    end_step(s);
  }
  std::vector<item> outputs;
  outputs.reserve(g.outputs.size());
  for (const value_id v : g.outputs) {
    outputs.push_back(f.values[v].empty() ? constants_[v] : f.values[v]);
  }
  return outputs;
}

void executable::run_stage(std::shared_ptr<const stage> s, frame& f, const run_state& state) const {
  std::shared_ptr<const stage> rest;
  while (!run_planned(*s, f, state, rest)) {
    state.cancel.check("run of the model");
    s = std::move(rest);
  }
}

std::vector<const tensor*> executable::tensors_for(const program_part& part, const frame& f) const {
  std::vector<const tensor*> inputs;
  inputs.reserve(part.inputs.size());
  for (const value_id v : part.inputs) {
    const tensor* t = f.values[v].one.get();
    const std::string subject = "value '" + program_.g.values[v].name + "'";
    if (t == nullptr) throw error(errc::invalid_argument, subject, "it holds no tensor");
    if (t->rank() > max_rank) throw error(errc::unimplemented, subject, "too many dimensions");
    inputs.push_back(t);
  }
  return inputs;
}

bool executable::run_planned(const stage& s, frame& f, const run_state& state,
                             std::shared_ptr<const stage>& rest) const {
  const program_part& part = s.part();
  const auto input = [&](std::size_t i) { return f.values[part.inputs[i]].one.get(); };
  std::shared_ptr<const plan> p = s.find(input);
  if (!p) {
    try {
      p = s.make(tensors_for(part, f), state.cancel);
    } catch (const data_dependent_shape& e) {
      if (e.node() == part.first) {
        const part_on_host* const instead = on_host(program_.kernels[part.first].get());
        if (instead == nullptr) throw;
        instead->warn(e);
        run_operation(part.first, f, state);
        rest = split_off_part(s);
        return rest == nullptr;
      }
      const auto [before, after] = split(s, e.node());
      rest = after.planned;
      std::shared_ptr<const stage> none;
      // What comes before the node was planned to there just now, and so it is again.
      if (!run_planned(*before.planned, f, state, none)) run_stage(none, f, state);
      return false;
    }
  }
  const borrowed_workspace w(*p);
  for (std::size_t i = 0; i < part.inputs.size(); ++i) w->inputs[i] = input(i);
  for (std::size_t i = 0; i < part.outputs.size(); ++i) {
    const value_id v = part.outputs[i];
    const std::shared_ptr<tensor> made = f.target(v, p->output_type(i), p->output_shape(i), state);
    w->outputs[i] = made.get();
    f.values[v].one = made;
  }
  p->run(*w, state.cancel, state.recorder);
  return true;
}

void executable::run_operation(std::size_t at, frame& f, const run_state& state) const {
  const node& n = program_.g.nodes[at];
  std::vector<item> inputs(n.inputs.size());
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const value_id v = n.inputs[i];
    if (v != no_value) inputs[i] = constants_[v].empty() ? f.values[v] : constants_[v];
  }
  std::vector<item> outputs(n.outputs.size());
  if (state.recorder != nullptr) state.recorder->begin(&state.recorder->keep(labels())[at]);
  try {
    if (const part_on_host* instead = on_host(program_.kernels[at].get())) {
      std::vector<item> made = instead->run(inputs, state);
      std::move(made.begin(), made.end(), outputs.begin());
    } else {
      program_.operations[at]->run({inputs, state}, outputs);
    }
  } catch (const error& e) {
    throw named(n, e);
  }
  if (state.recorder != nullptr) state.recorder->end();
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    if (n.outputs[i] != no_value) f.values[n.outputs[i]] = std::move(outputs[i]);
  }
}

}  // namespace mizzen::inference::detail
