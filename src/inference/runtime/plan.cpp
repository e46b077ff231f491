#include "inference/runtime/plan.hpp"

#include "inference/cpu/thread_pool.hpp"
#include "inference/device/part.hpp"
#include "inference/runtime/memory_planner.hpp"

#include <mizzen/core/checked.hpp>

#include <algorithm>
#include <cstdlib>
#include <limits>

namespace mizzen::inference::detail {
namespace {

// Values computed while planning are shapes, indices and the like; larger ones belong to the run.
constexpr std::size_t max_evaluated_bytes = std::size_t{1} << 16;

// Stands for the memory of values with no elements, which nobody reads.
alignas(64) std::byte empty_memory[64];

// Inputs of a part whose values the shapes in it follow from.
std::vector<std::int64_t> shape_inputs_of(const node& n) {
  if (n.domain != "mizzen" || n.op_type != part_operator) return {};
  return n.attributes.get_ints("shape_inputs");
}

bool depends_on_shape_only(const node& n) {
  return n.domain.empty() && (n.op_type == "Shape" || n.op_type == "Size");
}

}  // namespace

// Makes a plan: shapes, liveness, storage, places in the arena, slots.
class plan::builder {
 public:
  builder(plan& target, const program_part& part, std::size_t memory_limit,
          const cancellation& cancel)
      : out_(target),
        p_(target.program_),
        g_(p_.g),
        part_(part),
        limit_(memory_limit),
        cancel_(cancel) {}

  void build() {
    infer();
    find_needed();
    find_last_uses();
    place();
    lay_out();
    make_slots();
  }

 private:
  bool known(value_id v) const { return known_[v] != nullptr; }

  value_view view(value_id v) const { return describe_value(types_[v], out_.shapes_[v]); }

  void infer() {
    const std::size_t count = g_.values.size();
    out_.shapes_.resize(count);
    known_.assign(count, nullptr);
    types_.resize(count);
    for (std::size_t v = 0; v < count; ++v) {
      const value& declared = g_.values[v];
      types_[v] = declared.type;
      known_[v] = declared.constant.get();
      if (is_concrete(declared.shape)) out_.shapes_[v] = *declared.shape;
    }
    for (std::size_t i = 0; i < part_.inputs.size(); ++i) {
      const value_id v = part_.inputs[i];
      out_.shapes_[v] = out_.input_shapes_[i];
      if (out_.pinned(i) != nullptr) known_[v] = out_.pinned(i);
    }
    std::vector<inferred> in;
    std::vector<inferred> made;
    for (std::size_t i = part_.first; i < part_.last; ++i) {
      const node& n = g_.nodes[i];
      in.assign(n.inputs.size(), {});
      made.assign(n.outputs.size(), {});
      bool all_known = true;
      for (std::size_t k = 0; k < n.inputs.size(); ++k) {
        const value_id v = n.inputs[k];
        if (v == no_value) continue;
        in[k] = {types_[v], out_.shapes_[v], known_[v]};
        all_known = all_known && known(v);
      }
      const std::vector<std::size_t> missed = infer_node(n, in, made);
      const bool open = std::any_of(made.begin(), made.end(), [](const inferred& o) {
        return o.type != element_type::undefined && !is_concrete(o.shape);
      });
      if (open || !shape_inputs_of(n).empty()) {
        if (!infer_part(p_.kernels[i].get(), in, made)) ask_for_shape_inputs(i);
      }
      for (std::size_t k = 0; k < n.outputs.size(); ++k) {
        const value_id v = n.outputs[k];
        if (v == no_value || made[k].type == element_type::undefined) continue;
        if (!is_concrete(made[k].shape)) {
          std::vector<value_id> wanted;
          wanted.reserve(missed.size());
          for (const std::size_t m : missed) wanted.push_back(n.inputs[m]);
          throw data_dependent_shape(
              error(errc::unimplemented, describe(n),
                    "the shape of its output '" + g_.values[v].name +
                        "' depends on more data than a plan can be made for"),
              i, std::move(wanted));
        }
        out_.shapes_[v] = *made[k].shape;
      }
      if (n.custom) {
        check_told(n, made);
        continue;
      }
      if ((all_known || depends_on_shape_only(n)) && output_bytes(made) <= max_evaluated_bytes) {
        compute(i, made);
      }
    }
  }

  // What a device computes must be known of throughout the part, not only of its outputs.
  void ask_for_shape_inputs(std::size_t i) const {
    const node& n = g_.nodes[i];
    std::vector<value_id> wanted;
    for (const std::int64_t k : shape_inputs_of(n)) {
      const value_id v = n.inputs[static_cast<std::size_t>(k)];
      if (!known(v)) wanted.push_back(v);
    }
    if (wanted.empty()) return;
    throw data_dependent_shape(
        error(errc::unimplemented, describe(n),
              "shapes in it depend on more data than a plan can be made for"),
        i, std::move(wanted));
  }

  // A shape function may take what was unknown at load for a number: what was compiled since relied
  // on what it said.
  void check_told(const node& n, const std::vector<inferred>& made) const {
    for (std::size_t k = 0; k < n.outputs.size(); ++k) {
      if (n.outputs[k] == no_value) continue;
      const value& told = g_.values[n.outputs[k]];
      bool same = told.type == made[k].type;
      same = same && (!told.shape || told.shape->size() == made[k].shape->size());
      for (std::size_t i = 0; same && told.shape && i < told.shape->size(); ++i) {
        same = (*told.shape)[i] < 0 || (*told.shape)[i] == (*made[k].shape)[i];
      }
      if (same) continue;
      throw error(errc::invalid_argument, describe(n),
                  "its shape function told " + type_text(g_, n.outputs[k]) +
                      " when the model was loaded, and now " +
                      std::string(to_string(made[k].type)) + to_string(*made[k].shape) +
                      ": what follows from an unknown dimension (-1) must be -1");
    }
  }

  // Runs a node now; its outputs become known.
  void compute(std::size_t i, const std::vector<inferred>& made) {
    const node& n = g_.nodes[i];
    std::vector<value_view> inputs(n.inputs.size());
    for (std::size_t k = 0; k < inputs.size(); ++k) {
      const value_id v = n.inputs[k];
      if (v != no_value) inputs[k] = known(v) ? view_of(*known_[v]) : view(v);
    }
    cancel_.check("run of the model");
    auto results = evaluate(*p_.kernels[i], n, inputs, made, *p_.on, &cancel_);
    for (std::size_t k = 0; k < results.size(); ++k) {
      if (n.outputs[k] == no_value) continue;
      out_.evaluated_.push_back(std::move(results[k]));
      known_[n.outputs[k]] = &out_.evaluated_.back();
    }
  }

  // Which nodes must run: those that an output hangs on, and that make any elements.
  void find_needed() {
    needed_.assign(g_.values.size(), false);
    runs_.assign(g_.nodes.size(), false);
    for (const value_id v : part_.outputs) needed_[v] = !known(v);
    for (std::size_t i = part_.last; i-- > part_.first;) {
      const node& n = g_.nodes[i];
      bool wanted = false;
      for (const value_id v : n.outputs) wanted = wanted || (v != no_value && needed_[v]);
      if (!wanted) continue;
      for (const value_id v : n.outputs) {
        runs_[i] = runs_[i] || (v != no_value && view(v).count != 0);
      }
      if (!runs_[i]) continue;
      for (const value_id v : n.inputs) {
        if (v != no_value && !known(v)) needed_[v] = true;
      }
    }
  }

  // Time is the index of the node. The uses of a view are uses of what it looks at.
  void find_last_uses() {
    last_use_.assign(g_.values.size(), 0);
    is_output_.assign(g_.values.size(), false);
    for (const value_id v : part_.outputs) is_output_[v] = true;
    for (std::size_t i = part_.last; i-- > part_.first;) {
      if (!runs_[i]) continue;
      const node& n = g_.nodes[i];
      for (const value_id v : n.inputs) {
        if (v != no_value) last_use_[v] = std::max(last_use_[v], i);
      }
      if (shares_input(i)) {
        last_use_[n.inputs[0]] = std::max(last_use_[n.inputs[0]], last_use_[n.outputs[0]]);
      }
    }
  }

  // True if the node only gives its input another shape and need not run.
  bool shares_input(std::size_t i) const {
    const node& n = g_.nodes[i];
    return p_.kernels[i]->is_view() && !is_output_[n.outputs[0]];
  }

  void place() {
    where_.assign(g_.values.size(), {});
    for (std::size_t v = 0; v < g_.values.size(); ++v) {
      if (known_[v] != nullptr) where_[v] = {storage_kind::constant, 0, known_[v]->bytes().data()};
    }
    for (std::size_t i = 0; i < part_.inputs.size(); ++i) {
      where_[part_.inputs[i]] = {storage_kind::input, i, nullptr};
    }
    out_.input_on_host_.assign(part_.inputs.size(), false);
    out_.outputs_.resize(part_.outputs.size());
    for (std::size_t i = 0; i < part_.outputs.size(); ++i) {
      const value_id v = part_.outputs[i];
      out_.outputs_[i].type = types_[v];
      out_.outputs_[i].shape = out_.shapes_[v];
      out_.outputs_[i].copied = where_[v].kind != storage_kind::none;
      if (where_[v].kind == storage_kind::none) where_[v] = {storage_kind::output, i, nullptr};
      out_.outputs_[i].from = where_[v];
    }
    for (std::size_t i = part_.first; i < part_.last; ++i) {
      if (runs_[i]) place_node(i);
    }
  }

  void place_node(std::size_t i) {
    const node& n = g_.nodes[i];
    if (shares_input(i)) {
      where_[n.outputs[0]] = where_[n.inputs[0]];
      if (where_[n.inputs[0]].kind == storage_kind::arena) {
        auto& buffer = buffers_[where_[n.inputs[0]].index];
        buffer.last = std::max(buffer.last, last_use_[n.outputs[0]]);
      }
      return;
    }
    for (std::size_t k = 0; k < n.outputs.size(); ++k) {
      const value_id v = n.outputs[k];
      if (v == no_value || where_[v].kind != storage_kind::none) continue;
      const std::size_t bytes = value_bytes(view(v));
      const std::size_t last = std::max(last_use_[v], i);
      std::size_t buffer = k == 0 ? buffer_to_overwrite(i, bytes) : graph_index::none;
      if (buffer == graph_index::none) {
        buffer = buffers_.size();
        buffers_.push_back({bytes, i, last, 0});
      } else {
        buffers_[buffer].last = last;
      }
      where_[v] = {storage_kind::arena, buffer, nullptr};
    }
    plan::step s;
    s.node = i;
    std::vector<value_view> in(n.inputs.size());
    std::vector<value_view> out(n.outputs.size());
    for (std::size_t k = 0; k < in.size(); ++k) {
      const value_id v = n.inputs[k];
      if (v != no_value) in[k] = known(v) ? view_of(*known_[v]) : view(v);
    }
    for (std::size_t k = 0; k < out.size(); ++k) {
      if (n.outputs[k] != no_value) out[k] = view(n.outputs[k]);
    }
    s.compute = p_.kernels[i].get();
    try {
      if (auto own = s.compute->for_shapes({in, out, p_.on->threads()})) {
        s.compute = own.get();
        out_.made_.push_back(std::move(own));
      }
    } catch (const error& e) {
      throw named(n, e);
    }
    for (value_view& v : in) v.data = nullptr;
    s.scratch_bytes = s.compute->scratch_bytes({in, out, p_.on->threads()});
    s.scratch_buffer = buffers_.size();
    buffers_.push_back({s.scratch_bytes, i, i, 0});
    out_.steps_.push_back(s);
  }

  // The buffer of an input that dies here and that the kernel may write its output over.
  std::size_t buffer_to_overwrite(std::size_t i, std::size_t bytes) const {
    const node& n = g_.nodes[i];
    for (std::size_t k = 0; k < n.inputs.size(); ++k) {
      const value_id v = n.inputs[k];
      if (v == no_value || where_[v].kind != storage_kind::arena) continue;
      if (!p_.kernels[i]->may_overwrite(k)) continue;
      const std::size_t buffer = where_[v].index;
      const auto uses = std::count_if(n.inputs.begin(), n.inputs.end(), [&](value_id other) {
        return other != no_value && where_[other].kind == storage_kind::arena &&
               where_[other].index == buffer;
      });
      if (uses == 1 && buffers_[buffer].last <= i && value_bytes(view(v)) == bytes) return buffer;
    }
    return graph_index::none;
  }

  void lay_out() {
    out_.arena_bytes_ = plan_memory(buffers_);
    std::size_t total = out_.arena_bytes_;
    for (std::size_t i = 0; i < out_.outputs_.size(); ++i) {
      total = checked_add(total, value_bytes(view(part_.outputs[i])), "memory of a run");
    }
    if (total > limit_) {
      throw error(errc::resource_exhausted, "memory of a run",
                  "these inputs take " + std::to_string(total) + " bytes, more than the limit of " +
                      std::to_string(limit_) + ": raise session_options.memory_limit");
    }
    for (const planned_buffer& b : buffers_) out_.offsets_.push_back(b.offset);
  }

  void make_slots() {
    for (plan::step& s : out_.steps_) {
      const node& n = g_.nodes[s.node];
      s.first_slot = out_.slots_.size();
      s.inputs = n.inputs.size();
      s.outputs = n.outputs.size();
      const bool takes_device_memory = s.compute->takes_device_memory();
      for (const value_id v : n.inputs) add_slot(v, takes_device_memory);
      for (const value_id v : n.outputs) add_slot(v, takes_device_memory);
    }
    for (const plan::output& o : out_.outputs_) {
      if (o.copied && o.from.kind == storage_kind::output) ++out_.outputs_[o.from.index].uses;
    }
  }

  void add_slot(value_id v, bool takes_device_memory) {
    value_view slot;
    if (v != no_value) {
      slot = view(v);
      const storage& where = where_[v];
      const std::size_t index = out_.slots_.size();
      if (slot.count == 0) {
        slot.data = empty_memory;
      } else if (where.kind == storage_kind::constant) {
        slot.data = const_cast<void*>(where.constant);
      } else if (where.kind == storage_kind::arena) {
        out_.arena_pointers_.push_back({index, where});
      } else if (where.kind != storage_kind::none) {
        out_.patches_.push_back({index, where, takes_device_memory});
        if (where.kind == storage_kind::output) {
          ++out_.outputs_[where.index].uses;
          out_.outputs_[where.index].in_place &= takes_device_memory;
        } else if (!takes_device_memory) {
          out_.input_on_host_[where.index] = true;
        }
      }
    }
    out_.slots_.push_back(slot);
  }

  plan& out_;
  const program& p_;
  const graph& g_;
  const program_part& part_;
  std::size_t limit_;
  const cancellation& cancel_;
  std::vector<const tensor*> known_;  // by value
  std::vector<element_type> types_;
  std::vector<bool> needed_, runs_, is_output_;
  std::vector<std::size_t> last_use_;
  std::vector<storage> where_;
  std::vector<planned_buffer> buffers_;
};

plan::plan(const program& p, const program_part& part, std::vector<shape_type> input_shapes,
           std::size_t memory_limit, std::vector<tensor> pinned, const cancellation& cancel)
    : program_(p), input_shapes_(std::move(input_shapes)), pinned_(std::move(pinned)) {
  builder(*this, part, memory_limit, cancel).build();
}

std::unique_ptr<workspace> plan::acquire() const {
  {
    const std::lock_guard lock(mutex_);
    if (!idle_.empty()) {
      auto w = std::move(idle_.back());
      idle_.pop_back();
      return w;
    }
    // Giving one back must not allocate: there is room for all that are out.
    idle_.reserve(++workspaces_);
  }
  auto w = std::make_unique<workspace>();
  const std::size_t size = std::max<std::size_t>(arena_bytes_, 64);
  auto* memory = static_cast<std::byte*>(std::aligned_alloc(64, size));
  if (memory == nullptr) {
    throw error(errc::resource_exhausted, "memory of a run",
                "no memory for " + std::to_string(size) + " bytes");
  }
  w->arena = {memory, [](std::byte* p) { std::free(p); }};
  w->slots = slots_;
  w->inputs.resize(input_shapes_.size());
  w->outputs.resize(outputs_.size());
  w->spare_outputs.resize(outputs_.size());
  w->targets.resize(outputs_.size());
  w->host_inputs.resize(input_shapes_.size());
  w->host_outputs.resize(outputs_.size());
  for (const patch& p : arena_pointers_) {
    w->slots[p.slot].data = memory + offsets_[p.where.index];
  }
  return w;
}

void plan::release(std::unique_ptr<workspace> w) const noexcept {
  const std::lock_guard lock(mutex_);
  idle_.push_back(std::move(w));
}

void* plan::memory(const storage& s, const workspace& w) const {
  switch (s.kind) {
    case storage_kind::none:
      return nullptr;
    case storage_kind::constant:
      return const_cast<void*>(s.constant);
    case storage_kind::arena:
      return w.arena.get() + offsets_[s.index];
    case storage_kind::input:
      return const_cast<void*>(w.inputs[s.index]->address());
    case storage_kind::output:
      return w.targets[s.index] == nullptr ? nullptr
                                           : const_cast<void*>(w.targets[s.index]->address());
  }
  return nullptr;
}

std::shared_ptr<const label_list> plan::labels() const {
  const std::lock_guard lock(mutex_);
  if (labels_) return labels_;
  auto list = std::make_shared<label_list>();
  for (const step& s : steps_) {
    list->push_back(label_of(program_.g.nodes[s.node], program_.g, [&](value_id v) {
      return std::string(to_string(program_.g.values[v].type)) + to_string(shapes_[v]);
    }));
    list->back().fused += s.compute->remark();
  }
  labels_ = std::move(list);
  return labels_;
}

// Copies of inputs in a device's memory that steps want on the host.
void plan::bind_inputs(workspace& w, void* stream) const {
  for (std::size_t i = 0; i < w.inputs.size(); ++i) {
    const tensor& t = *w.inputs[i];
    if (t.on_host() || !input_on_host_[i]) continue;
    tensor& copy = w.host_inputs[i];
    if (copy.type() == element_type::undefined) copy = tensor(t.type(), t.shape());
    copy.copy_from(t, stream);
  }
}

void plan::bind_outputs(workspace& w) const {
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    const output& o = outputs_[i];
    tensor* const wanted = w.outputs[i];
    w.targets[i] = wanted;
    if (wanted == nullptr) {
      // A part on a device need not make it where nobody else takes it.
      if (o.copied ? o.uses == 0 : o.uses == 1 && o.in_place) continue;
      tensor& spare = w.spare_outputs[i];
      if (spare.type() == element_type::undefined) spare = tensor(o.type, o.shape);
      w.targets[i] = &spare;
    } else if (!wanted->on_host() && !o.copied && !o.in_place) {
      tensor& host = w.host_outputs[i];
      if (host.type() == element_type::undefined) host = tensor(o.type, o.shape);
      w.targets[i] = &host;
    }
  }
}

// What is copied into the caller's outputs after the last step.
void plan::finish_outputs(workspace& w, void* stream) const {
  const auto copy = [&](tensor& to, const tensor* from, const void* memory, std::size_t bytes) {
    memory_space::copy(memory_space::of(to), const_cast<void*>(to.address()),
                       from != nullptr ? memory_space::of(*from) : nullptr, memory, bytes, stream);
  };
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    const output& o = outputs_[i];
    if (w.targets[i] == nullptr) continue;
    const std::size_t bytes = byte_size(o.type, w.targets[i]->size());
    if (o.copied) {
      const tensor* from = o.from.kind == storage_kind::input    ? w.inputs[o.from.index]
                           : o.from.kind == storage_kind::output ? w.targets[o.from.index]
                                                                 : nullptr;
      copy(*w.targets[i], from, memory(o.from, w), bytes);
    } else if (w.outputs[i] != nullptr && w.outputs[i] != w.targets[i]) {
      copy(*w.outputs[i], w.targets[i], w.targets[i]->address(), bytes);
    }
  }
}

void plan::run(workspace& w, const cancellation& cancel, run_recorder* recorder,
               void* stream) const {
  const thread_pool::series nodes(program_.on->pool());
  bind_inputs(w, stream);
  bind_outputs(w);
  for (const patch& p : patches_) {
    value_view& slot = w.slots[p.slot];
    const bool input = p.where.kind == storage_kind::input;
    const tensor* const t = input ? w.inputs[p.where.index] : w.targets[p.where.index];
    const bool copied = input && !t->on_host() && !p.takes_device_memory;
    slot.data =
        copied ? const_cast<void*>(w.host_inputs[p.where.index].address()) : memory(p.where, w);
    slot.on_device = t != nullptr && !t->on_host() && !copied;
  }
  const std::span<const value_view> slots(w.slots);
  const node_label* label = recorder != nullptr ? recorder->keep(labels()).data() : nullptr;
  for (const step& s : steps_) {
    cancel.check("run of the model");
    if (recorder != nullptr) recorder->begin(label++);
    std::byte* scratch = w.arena.get() + offsets_[s.scratch_buffer];
    try {
      s.compute->run({slots.subspan(s.first_slot, s.inputs),
                      slots.subspan(s.first_slot + s.inputs, s.outputs),
                      {scratch, s.scratch_bytes},
                      program_.on->pool(),
                      &cancel,
                      stream});
    } catch (const error& e) {
      throw named(program_.g.nodes[s.node], e);
    }
    if (recorder != nullptr) recorder->end();
  }
  finish_outputs(w, stream);
}

}  // namespace mizzen::inference::detail
