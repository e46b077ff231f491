// If, Loop, Scan and SequenceMap: operators that run graphs of their own.
#include "inference/dynamic/elements.hpp"
#include "inference/dynamic/operations.hpp"
#include "inference/graph/subgraph.hpp"
#include "inference/passes/passes.hpp"
#include "inference/runtime/executable.hpp"

#include <limits>
#include <optional>
#include <string>
#include <utility>

namespace mizzen::inference::detail {
namespace {

// A subgraph, compiled for what its node gives it.
class body {
 public:
  body(const operation_compile_context& context, std::string_view attribute,
       std::vector<inferred> formal) {
    const compile_context& c = context.about;
    const auto source = c.n.attributes.require_graph(attribute);
    const auto facts = facts_of(c.g, c.n);
    graph g = specialise(*source, inputs_of(*source, std::move(formal), facts));
    bind_constants(g, c);
    pass_context passes{
        *context.settings.on,          context.settings.log,
        context.settings.memory_limit, context.settings.on_graph,
        *context.settings.limits,      describe(c.n) + " " + std::string(attribute) + ": ",
        context.settings.precision};
    passes.show("imported", g);
    if (context.settings.optimize) run_passes(g, passes);
    for (const value_id v : g.outputs) {
      const value& out = g.values[v];
      outputs_.push_back({out.type, out.shape, nullptr, out.kind});
    }
    captures_ = g.captures;
    formal_ = g.formal_inputs();
    executable_ = std::make_unique<const executable>(std::move(g), context.settings);
  }

  std::size_t formal_inputs() const noexcept { return formal_; }
  const std::vector<inferred>& outputs() const noexcept { return outputs_; }
  bool captures(std::size_t node_input) const noexcept {
    return std::find(captures_.begin(), captures_.end(), node_input) != captures_.end();
  }

  void release_memory() const noexcept { executable_->release_memory(); }

  // The body's outputs; the formal inputs are consumed.
  std::vector<item> run(std::vector<item> formal, const operation_context& context) const {
    for (const std::size_t k : captures_) formal.push_back(context.inputs[k]);
    return executable_->run(formal, context.state);
  }

 private:
  // Captured constants become the body's own: it may prepack them, and needs them passed no more.
  static void bind_constants(graph& g, const compile_context& c) {
    const std::size_t formal = g.formal_inputs();
    std::vector<value_id> inputs(g.inputs.begin(),
                                 g.inputs.begin() + static_cast<std::ptrdiff_t>(formal));
    std::vector<std::size_t> captures;
    for (std::size_t i = 0; i < g.captures.size(); ++i) {
      const std::size_t k = g.captures[i];
      const auto constant = c.g.values[c.n.inputs[k]].constant;
      if (constant) {
        g.values[g.inputs[formal + i]].constant = constant;
      } else {
        inputs.push_back(g.inputs[formal + i]);
        captures.push_back(k);
      }
    }
    g.inputs = std::move(inputs);
    g.captures = std::move(captures);
  }

  std::vector<std::size_t> captures_;
  std::size_t formal_ = 0;
  std::vector<inferred> outputs_;
  std::unique_ptr<const executable> executable_;
};

bool truth(const tensor& t) {
  if (t.type() != element_type::boolean || t.size() != 1) {
    throw error(errc::invalid_argument, "condition", "it must be one bool");
  }
  return t.data<bool>()[0];
}

// Of values that were to be collected over no iterations at all: what is not known is 0.
shared_tensor nothing_collected(const inferred& each, std::size_t axis, const run_state& state) {
  shape_type shape = each.shape.value_or(dims{});
  for (std::int64_t& d : shape) d = std::max<std::int64_t>(d, 0);
  shape.insert(shape.begin() + static_cast<std::ptrdiff_t>(std::min(axis, shape.size())), 0);
  return state.make(each.type, std::move(shape));
}

void store(std::span<item> outputs, std::size_t i, item value) {
  if (i < outputs.size()) outputs[i] = std::move(value);
}

void collect(std::vector<std::vector<shared_tensor>>& lists, std::vector<item>& made,
             std::size_t first) {
  for (std::size_t i = 0; i < lists.size(); ++i) {
    if (!made[first + i].one) {
      throw error(errc::invalid_argument, "body", "an output to be collected holds no tensor");
    }
    lists[i].push_back(std::move(made[first + i].one));
  }
}

class if_operation final : public operation {
 public:
  explicit if_operation(const operation_compile_context& c)
      : then_(c, "then_branch", {}), else_(c, "else_branch", {}) {}

  bool reads_input(std::size_t i) const override {
    return i == 0 || then_.captures(i) || else_.captures(i);
  }
  void release_memory() const noexcept override {
    then_.release_memory();
    else_.release_memory();
  }

  void run(const operation_context& c, std::span<item> outputs) const override {
    auto made = (truth(c.one(0)) ? then_ : else_).run({}, c);
    for (std::size_t i = 0; i < outputs.size(); ++i) outputs[i] = std::move(made[i]);
  }

 private:
  body then_, else_;
};

class loop_operation final : public operation {
 public:
  explicit loop_operation(const operation_compile_context& c)
      : body_(c, "body", body_inputs(c.about.n, facts_of(c.about.g, c.about.n))) {
    own_inputs_ = c.about.n.operator_inputs();
  }

  bool reads_input(std::size_t i) const override { return i < own_inputs_ || body_.captures(i); }
  void release_memory() const noexcept override { body_.release_memory(); }

  void run(const operation_context& c, std::span<item> outputs) const override {
    const tensor* trips = own_inputs_ > 0 ? c.optional_one(0) : nullptr;
    const tensor* condition = own_inputs_ > 1 ? c.optional_one(1) : nullptr;
    const std::int64_t most = trips != nullptr ? only_integer(*trips, "trip count")
                                               : std::numeric_limits<std::int64_t>::max();
    bool go_on = condition == nullptr || truth(*condition);
    const std::size_t carried = body_.formal_inputs() - 2;
    const std::size_t collected = body_.outputs().size() - 1 - carried;
    std::vector<item> state;
    state.push_back(condition != nullptr ? c.inputs[1] : item(bool_tensor(true, c.state)));
    for (std::size_t i = 0; i < carried; ++i) state.push_back(c.inputs[i + 2]);
    std::vector<std::vector<shared_tensor>> lists(collected);
    for (std::int64_t i = 0; i < most && go_on; ++i) {
      c.state.cancel.check("run of a loop");
      auto iteration = c.state.make(element_type::int64, {});
      iteration->data<std::int64_t>()[0] = i;
      std::vector<item> given;
      given.reserve(carried + 2);
      given.emplace_back(shared_tensor(std::move(iteration)));
      for (item& s : state) given.push_back(std::move(s));
      std::vector<item> made = body_.run(std::move(given), c);
      if (!made[0].one) throw error(errc::invalid_argument, "condition", "it holds no tensor");
      go_on = truth(*made[0].one);
      collect(lists, made, carried + 1);
      for (std::size_t k = 0; k <= carried; ++k) state[k] = std::move(made[k]);
    }
    for (std::size_t i = 0; i < carried; ++i) store(outputs, i, std::move(state[i + 1]));
    for (std::size_t i = 0; i < collected && carried + i < outputs.size(); ++i) {
      outputs[carried + i] = lists[i].empty()
                                 ? nothing_collected(body_.outputs()[carried + 1 + i], 0, c.state)
                                 : join(lists[i], 0, true, c.state);
    }
  }

 private:
  static shared_tensor bool_tensor(bool value, const run_state& state) {
    auto t = state.make(element_type::boolean, {});
    t->data<bool>()[0] = value;
    return t;
  }

  body body_;
  std::size_t own_inputs_ = 0;
};

class scan_operation final : public operation {
 public:
  explicit scan_operation(const operation_compile_context& c)
      : signature_(c.about.n),
        body_(c, "body", body_inputs(c.about.n, facts_of(c.about.g, c.about.n))),
        own_inputs_(c.about.n.operator_inputs()) {}

  bool reads_input(std::size_t i) const override { return i < own_inputs_ || body_.captures(i); }
  void release_memory() const noexcept override { body_.release_memory(); }

  void run(const operation_context& c, std::span<item> outputs) const override {
    std::vector<shared_tensor> given;
    for (std::size_t i = signature_.first; i < own_inputs_; ++i) {
      c.one(i);
      given.push_back(c.inputs[i].one);
    }
    std::vector<shared_tensor> made =
        signature_.batched ? run_batch(given, c) : run_one(std::move(given), std::nullopt, c);
    for (std::size_t i = 0; i < outputs.size(); ++i) outputs[i] = std::move(made[i]);
  }

 private:
  static bool reversed(const std::vector<std::int64_t>& list, std::size_t i) {
    return i < list.size() && list[i] != 0;
  }

  // One pass over sequences of one length; the first lengths entries of each if that is given.
  std::vector<shared_tensor> run_one(std::vector<shared_tensor> given,
                                     std::optional<std::int64_t> length,
                                     const operation_context& c) const {
    const std::size_t states = signature_.states;
    std::vector<std::size_t> axes;
    std::optional<std::int64_t> count = length;
    for (std::size_t i = 0; i < signature_.scanned; ++i) {
      const tensor& t = *given[states + i];
      axes.push_back(signature_.batched ? 0 : signature_.input_axis(i, t.rank()));
      if (t.rank() == 0) throw error(errc::invalid_argument, "input", "a scalar cannot be scanned");
      const std::int64_t have = t.shape()[axes.back()];
      if (!count) count = have;
      if (length ? *length < 0 || *length > have : *count != have) {
        throw error(errc::invalid_argument, "inputs", "their sequence lengths differ");
      }
    }
    std::vector<item> state(given.begin(), given.begin() + static_cast<std::ptrdiff_t>(states));
    std::vector<std::vector<shared_tensor>> lists(body_.outputs().size() - states);
    for (std::int64_t step = 0; step < *count; ++step) {
      c.state.cancel.check("run of a scan");
      std::vector<item> formal;
      for (item& s : state) formal.push_back(std::move(s));
      for (std::size_t i = 0; i < signature_.scanned; ++i) {
        const std::int64_t at = reversed(signature_.input_reversed, i) ? *count - 1 - step : step;
        formal.emplace_back(take_slice(*given[states + i], axes[i], at, 1, true, c.state));
      }
      std::vector<item> made = body_.run(std::move(formal), c);
      collect(lists, made, states);
      for (std::size_t i = 0; i < states; ++i) {
        if (!made[i].one) throw error(errc::invalid_argument, "body", "a state holds no tensor");
        state[i] = std::move(made[i]);
      }
    }
    std::vector<shared_tensor> outputs;
    for (item& s : state) outputs.push_back(std::move(s.one));
    for (std::size_t i = 0; i < lists.size(); ++i) {
      const inferred& each = body_.outputs()[states + i];
      const std::size_t rank =
          lists[i].empty() ? each.shape.value_or(dims{}).size() + 1 : lists[i][0]->rank() + 1;
      const std::size_t axis = signature_.batched ? 0 : signature_.output_axis(i, rank);
      if (reversed(signature_.output_reversed, i)) std::reverse(lists[i].begin(), lists[i].end());
      outputs.push_back(lists[i].empty() ? nothing_collected(each, axis, c.state)
                                         : join(lists[i], axis, true, c.state));
    }
    return outputs;
  }

  // Version 8: each entry of a batch by itself; what is shorter than the longest is filled with 0.
  std::vector<shared_tensor> run_batch(const std::vector<shared_tensor>& given,
                                       const operation_context& c) const {
    for (const shared_tensor& t : given) {
      if (t->rank() == 0 || t->shape()[0] != given[0]->shape()[0]) {
        throw error(errc::invalid_argument, "inputs", "their batch sizes differ");
      }
    }
    const std::int64_t batch = given[0]->shape()[0];
    const tensor* lengths = c.optional_one(0);
    if (lengths != nullptr && static_cast<std::int64_t>(lengths->size()) != batch) {
      throw error(errc::invalid_argument, "sequence_lens",
                  "it must have one entry per batch entry");
    }
    if (batch == 0) throw error(errc::unimplemented, "inputs", "a batch of 0");
    std::vector<std::vector<shared_tensor>> rows(body_.outputs().size());
    for (std::int64_t b = 0; b < batch; ++b) {
      std::vector<shared_tensor> entry;
      for (const shared_tensor& t : given) entry.push_back(take_slice(*t, 0, b, 1, true, c.state));
      std::optional<std::int64_t> length;
      if (lengths != nullptr) length = integer_at(*lengths, static_cast<std::size_t>(b));
      auto made = run_one(std::move(entry), length, c);
      for (std::size_t i = 0; i < made.size(); ++i) rows[i].push_back(std::move(made[i]));
    }
    std::vector<shared_tensor> outputs;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (i >= signature_.states) fill_up(rows[i], c.state);
      outputs.push_back(join(rows[i], 0, true, c.state));
    }
    return outputs;
  }

  static void fill_up(std::vector<shared_tensor>& rows, const run_state& state) {
    std::int64_t longest = 0;
    for (const shared_tensor& t : rows) longest = std::max(longest, t->shape()[0]);
    for (shared_tensor& t : rows) {
      if (t->shape()[0] == longest) continue;
      shape_type shape = t->shape();
      shape[0] = longest;
      auto longer = state.make(t->type(), std::move(shape));
      copy_elements(*longer, 0, *t, 0, t->size());
      t = std::move(longer);
    }
  }

  scan_signature signature_;
  body body_;
  std::size_t own_inputs_;
};

class map_operation final : public operation {
 public:
  explicit map_operation(const operation_compile_context& c)
      : body_(c, "body", body_inputs(c.about.n, facts_of(c.about.g, c.about.n))),
        own_inputs_(c.about.n.operator_inputs()) {}

  bool reads_input(std::size_t i) const override { return i < own_inputs_ || body_.captures(i); }
  void release_memory() const noexcept override { body_.release_memory(); }

  void run(const operation_context& c, std::span<item> outputs) const override {
    const std::size_t count = c.many(0).size();
    std::vector<std::vector<shared_tensor>> lists(body_.outputs().size());
    for (std::size_t k = 0; k < count; ++k) {
      c.state.cancel.check("run of a sequence map");
      std::vector<item> formal;
      for (std::size_t i = 0; i < own_inputs_; ++i) {
        if (!c.inputs[i].many) {
          formal.push_back(c.inputs[i]);
          continue;
        }
        if (c.many(i).size() != count) {
          throw error(errc::invalid_argument, "inputs", "the lengths of its sequences differ");
        }
        formal.emplace_back(c.many(i)[k]);
      }
      std::vector<item> made = body_.run(std::move(formal), c);
      collect(lists, made, 0);
    }
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      outputs[i] =
          shared_sequence(std::make_shared<const std::vector<shared_tensor>>(std::move(lists[i])));
    }
  }

 private:
  body body_;
  std::size_t own_inputs_;
};

template <class T>
std::unique_ptr<operation> compile_as(const operation_compile_context& context) {
  return std::make_unique<T>(context);
}

}  // namespace

void add_control_operations(operation_table& table) {
  table["If"] = compile_as<if_operation>;
  table["Loop"] = compile_as<loop_operation>;
  table["Scan"] = compile_as<scan_operation>;
  table["SequenceMap"] = compile_as<map_operation>;
}

}  // namespace mizzen::inference::detail
