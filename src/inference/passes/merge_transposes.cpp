// Transposes behind each other are one, and one that moves only dimensions of 1 is a Reshape, which
// moves nothing.
#include "inference/passes/passes.hpp"

#include <algorithm>
#include <optional>
#include <vector>

namespace mizzen::inference::detail {
namespace {

using permutation = std::vector<std::int64_t>;

std::optional<permutation> permutation_of(const graph& g, const node& n) {
  if (!n.domain.empty() || n.op_type != "Transpose" || !n.post_ops.empty()) return std::nullopt;
  const auto& shape = g.values[n.inputs[0]].shape;
  permutation perm = n.attributes.get_ints("perm");
  if (!shape || perm.size() != shape->size()) return std::nullopt;
  return perm;
}

// The operand of the Reshape that does the same, if there is one.
std::optional<std::vector<std::int64_t>> as_reshape(const dims& shape, const permutation& perm) {
  std::int64_t last = -1;
  std::vector<std::int64_t> to;
  bool fills = false;
  for (std::size_t i = 0; i < perm.size(); ++i) {
    const std::int64_t d = shape[static_cast<std::size_t>(perm[i])];
    if (d == 0) return std::nullopt;
    if (d != 1 && perm[i] < last) return std::nullopt;
    if (d != 1) last = perm[i];
    if (d > 0) {
      to.push_back(d);
    } else if (perm[i] == static_cast<std::int64_t>(i)) {
      to.push_back(0);  // as it is
    } else {
      if (fills) return std::nullopt;
      fills = true;
      to.push_back(-1);
    }
  }
  // With nothing of the dimensions that stay there is no telling what the rest is.
  if (fills && std::find(to.begin(), to.end(), 0) != to.end()) return std::nullopt;
  return to;
}

}  // namespace

bool merge_transposes(graph& g, pass_context& /*context*/) {
  const graph_index index(g);
  bool changed = false;
  for (node& n : g.nodes) {
    auto perm = permutation_of(g, n);
    if (!perm) continue;
    if (const std::size_t from = index.producer[n.inputs[0]]; from != graph_index::none) {
      if (const auto first = permutation_of(g, g.nodes[from])) {
        for (std::int64_t& p : *perm) p = (*first)[static_cast<std::size_t>(p)];
        n.inputs[0] = g.nodes[from].inputs[0];
        n.attributes.set("perm", *perm);
        changed = true;
      }
    }
    const auto to = as_reshape(*g.values[n.inputs[0]].shape, *perm);
    if (!to) continue;
    n.attributes = {};
    n.op_type = "Reshape";
    n.opset = 13;
    n.inputs.push_back(add_constant(g, g.values[n.outputs[0]].name + ".shape",
                                    tensor::copy(*to, {static_cast<std::int64_t>(to->size())})));
    changed = true;
  }
  return changed;
}

}  // namespace mizzen::inference::detail
