#include "inference/passes/passes.hpp"
#include "inference/runtime/program.hpp"

#include <mizzen/core/cancellation.hpp>
#include <mizzen/core/checked.hpp>

#include <algorithm>
#include <chrono>

namespace mizzen::inference::detail {
namespace {

// A small model must not unfold into a large one (a ConstantOfShape of a billion elements): folding
// stops at outputs much larger than what they are made from.
constexpr std::size_t always_folded_bytes = std::size_t{1} << 20;

// Whether it turns quantised weights into floats and had better not yet.
bool is_left(const graph& g, const node& n, const pass_context& context) {
  if (n.op_type != "DequantizeLinear") return false;
  return !context.fold_dequantised ||
         (context.leave_dequantised && context.host.parts()->supports(g, n));
}

bool is_shape_query(const graph& g, const node& n) {
  return n.domain.empty() && (n.op_type == "Shape" || n.op_type == "Size") &&
         is_concrete(g.values[n.inputs[0]].shape);
}

// One stretch of folding: stopped by whoever loads the model, and by the time that is left for it.
class folding_time {
 public:
  explicit folding_time(loading_limits& limits)
      : limits_(limits),
        cancel_{limits.cancel.token,
                earlier(limits.cancel.deadline, deadline::after(limits.folding))} {}
  folding_time(const folding_time&) = delete;
  folding_time& operator=(const folding_time&) = delete;
  ~folding_time() {
    const auto took = std::chrono::steady_clock::now() - start_;
    limits_.folding = std::max(limits_.folding - took, std::chrono::nanoseconds(0));
  }

  const cancellation& cancel() const noexcept { return cancel_; }

  // Whether the error says that the time is over, and nothing else.
  bool ended_by(const error& e) const noexcept {
    return e.code() == errc::deadline_exceeded && !limits_.cancel.requested();
  }

 private:
  loading_limits& limits_;
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  const cancellation cancel_;
};

// False if its outputs are larger than what folding may make.
bool fold_operation(graph& g, const node& n, pass_context& context, const folding_time& time) {
  const auto account =
      std::make_shared<memory_account>(std::min(always_folded_bytes, context.budget));
  std::vector<item> in(n.inputs.size());
  for (std::size_t k = 0; k < in.size(); ++k) {
    if (n.inputs[k] != no_value) in[k] = g.values[n.inputs[k]].constant;
  }
  std::vector<item> out(n.outputs.size());
  const auto op = compile_operation({{n, g, context.host.threads()}, {}});
  try {
    op->run({in, {time.cancel(), account}}, out);
  } catch (const error& e) {
    if (e.code() == errc::resource_exhausted || time.ended_by(e)) return false;
    throw named(n, e);
  }
  for (std::size_t k = 0; k < out.size(); ++k) {
    if (n.outputs[k] == no_value) continue;
    value& v = g.values[n.outputs[k]];
    context.budget -= std::min(context.budget, out[k].one->bytes().size());
    v.type = out[k].one->type();
    v.shape = out[k].one->shape();
    v.constant = std::make_shared<const tensor>(out[k].one->clone());
  }
  return true;
}

// Lets go of constants when the last node that uses them is folded: where weights are rearranged or
// widened, they are then not held in both forms all at once.
class constant_users {
 public:
  explicit constant_users(const graph& g) : count_(g.values.size(), 0) {
    for (const node& n : g.nodes) {
      for (const value_id v : n.inputs) {
        if (v != no_value) ++count_[v];
      }
    }
    for (const value_id v : g.outputs) ++count_[v];
  }

  void folded(graph& g, const node& n) {
    for (const value_id v : n.inputs) {
      if (v != no_value && --count_[v] == 0) g.values[v].constant.reset();
    }
  }

 private:
  std::vector<std::size_t> count_;
};

}  // namespace

bool fold_constants(graph& g, pass_context& context) {
  std::vector<bool> dead(g.nodes.size(), false);
  constant_users users(g);
  bool changed = false;
  for (std::size_t i = 0; i < g.nodes.size(); ++i) {
    const node& n = g.nodes[i];
    const bool all_constant = std::all_of(n.inputs.begin(), n.inputs.end(), [&](value_id v) {
      return v == no_value || g.values[v].constant;
    });
    if (n.custom || (!all_constant && !is_shape_query(g, n))) continue;
    context.limits.check();
    if (context.limits.folding == std::chrono::nanoseconds(0)) break;
    const folding_time time(context.limits);
    if (is_left(g, n, context)) continue;
    if (runs_as_operation(n, g)) {
      dead[i] = all_constant && may_fold(n, g) && fold_operation(g, n, context, time);
      if (dead[i]) users.folded(g, n);
      changed = changed || dead[i];
      continue;
    }
    std::vector<inferred> out(n.outputs.size());
    std::size_t in_bytes = 0;
    std::vector<value_view> in(n.inputs.size());
    // A folded node may make the shape of the next one known.
    std::vector<inferred> facts(n.inputs.size());
    for (std::size_t k = 0; k < n.inputs.size(); ++k) {
      if (n.inputs[k] == no_value) continue;
      const value& v = g.values[n.inputs[k]];
      facts[k] = {v.type, v.shape, v.constant.get()};
      in[k] = v.constant ? view_of(*v.constant) : describe_value(v.type, *v.shape);
      if (v.constant) in_bytes = checked_add(in_bytes, v.constant->bytes().size(), "constants");
    }
    infer_node(n, facts, out);
    for (std::size_t k = 0; k < n.outputs.size(); ++k) {
      if (n.outputs[k] == no_value) out[k].type = element_type::undefined;
    }
    const std::size_t bytes = output_bytes(out);
    const std::size_t most =
        std::max(always_folded_bytes, checked_mul<std::size_t>(in_bytes, 2, "constants"));
    if (bytes > most || bytes > context.budget) continue;
    const auto k = context.host.compile({n, g, context.host.threads()});
    std::vector<tensor> results;
    try {
      results = evaluate(*k, n, in, out, context.host, &time.cancel());
    } catch (const error& e) {
      if (time.ended_by(e)) continue;
      throw;
    }
    context.budget -= bytes;
    for (std::size_t o = 0; o < n.outputs.size(); ++o) {
      if (n.outputs[o] == no_value) continue;
      value& v = g.values[n.outputs[o]];
      v.type = results[o].type();
      v.shape = results[o].shape();
      v.constant = std::make_shared<const tensor>(std::move(results[o]));
    }
    users.folded(g, n);
    dead[i] = true;
    changed = true;
  }
  erase_nodes(g, dead);
  return changed;
}

}  // namespace mizzen::inference::detail
