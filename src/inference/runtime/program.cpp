#include "inference/runtime/program.hpp"

#include "inference/dynamic/custom.hpp"
#include "inference/graph/constant_memory.hpp"
#include "inference/runtime/shared_weights.hpp"

#include <mizzen/core/checked.hpp>

#include <algorithm>
#include <limits>
#include <optional>
#include <string>
#include <utility>

namespace mizzen::inference::detail {
namespace {

// The nodes that cannot be compiled: told at once, not one by one as they are mended.
class refusals {
 public:
  // Throws it again unless it is of the kind that is collected.
  void add(const error& e) {
    if (e.code() != errc::unimplemented) throw error(e);
    if (!first_) first_ = e;
    if (++count_ <= most_named) {
      list_ += (list_.empty() ? "" : "; ") + e.subject() + ": " + e.message();
    }
  }

  void check() const {
    if (count_ == 0) return;
    if (count_ == 1) throw error(*first_);
    throw error(errc::unimplemented, "model.graph.node",
                std::to_string(count_) + " nodes cannot be computed: " + list_ +
                    (count_ > most_named ? " and more" : ""));
  }

 private:
  static constexpr std::size_t most_named = 50;
  std::optional<error> first_;
  std::size_t count_ = 0;
  std::string list_;
};

}  // namespace

program compile_program(graph g, const compile_settings& settings) {
  program p{std::move(g), settings.on, {}, {}};
  p.kernels.resize(p.g.nodes.size());
  p.operations.resize(p.g.nodes.size());
  std::vector<bool> read(p.g.values.size(), false);
  for (const value_id v : p.g.outputs) read[v] = true;
  // What is only prepacked is given back as soon as the last kernel has it: the weights of a model
  // then never exist twice.
  std::vector<std::size_t> users(p.g.values.size(), 0);
  for (const node& n : p.g.nodes) {
    for (const value_id v : n.inputs) {
      if (v != no_value) ++users[v];
    }
  }
  for (std::size_t i = 0; i < p.g.values.size(); ++i) {
    if (users[i] == 0 && !read[i]) p.g.values[i].constant.reset();
  }
  const shared_weights weights(settings.weights);
  refusals refused;
  for (std::size_t i = 0; i < p.g.nodes.size(); ++i) {
    const node& n = p.g.nodes[i];
    const compile_context about{n, p.g, p.on->threads()};
    settings.limits->check();
    try {
      if (runs_as_operation(n, p.g)) {
        p.operations[i] = compile_operation({about, settings});
      } else if (n.custom) {
        p.kernels[i] = compile_custom(about);
      } else {
        p.kernels[i] = weights.kernel_for(about, [&] { return p.on->compile(about); });
      }
    } catch (const error& e) {
      refused.add(e);
      continue;
    }
    for (std::size_t k = 0; k < n.inputs.size(); ++k) {
      if (n.inputs[k] == no_value) continue;
      if (p.operations[i] ? p.operations[i]->reads_input(k) : p.kernels[i]->reads_input(k)) {
        read[n.inputs[k]] = true;
      }
    }
    for (const value_id v : n.inputs) {
      if (v != no_value && --users[v] == 0 && !read[v]) p.g.values[v].constant.reset();
    }
  }
  refused.check();
  for (value& v : p.g.values) v.constant = weights.constant(std::move(v.constant));
  return p;
}

bool is_concrete(const std::optional<dims>& shape) noexcept {
  return shape && std::all_of(shape->begin(), shape->end(), [](std::int64_t d) { return d >= 0; });
}

value_view describe_value(element_type type, std::span<const std::int64_t> shape) {
  return {nullptr, type, shape, checked_element_count(shape, "value")};
}

value_view view_of(const tensor& t) {
  value_view v = describe_value(t.type(), t.shape());
  v.data = const_cast<std::byte*>(t.bytes().data());
  return v;
}

std::vector<tensor> evaluate(const kernel& k, const node& n, std::span<const value_view> inputs,
                             std::span<const inferred> outputs, device& on,
                             const cancellation* cancel) {
  std::vector<tensor> results;
  results.reserve(outputs.size());
  std::vector<value_view> out(outputs.size());
  bool empty = true;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    if (n.outputs[i] == no_value) {
      results.emplace_back();
      continue;
    }
    results.push_back(make_constant(outputs[i].type, *outputs[i].shape));
    out[i] = view_of(results[i]);
    empty = empty && out[i].count == 0;
  }
  if (empty) return results;
  const std::size_t scratch_size = k.scratch_bytes({inputs, out, on.threads()});
  tensor scratch(element_type::uint8, {narrow<std::int64_t>(scratch_size, "scratch")});
  try {
    k.run({inputs, out, scratch.mutable_bytes(), on.pool(), cancel});
  } catch (const error& e) {
    throw named(n, e);
  }
  return results;
}

std::size_t value_bytes(const value_view& v) { return byte_size(v.type, v.count); }

std::size_t output_bytes(std::span<const inferred> outputs) {
  constexpr std::size_t unknown = std::numeric_limits<std::size_t>::max();
  std::size_t total = 0;
  for (const inferred& o : outputs) {
    if (o.type == element_type::undefined) continue;
    if (!is_concrete(o.shape) || bit_width(o.type) == 0) return unknown;
    total =
        checked_add(total, byte_size(o.type, checked_element_count(*o.shape, "value")), "value");
  }
  return total;
}

}  // namespace mizzen::inference::detail
