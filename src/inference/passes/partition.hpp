// Which nodes of a graph a device computes together.
#pragma once

#include "inference/graph/ir.hpp"

#include <cstddef>
#include <functional>
#include <vector>

namespace mizzen::inference::detail {

// Nodes that only compute with shapes: known before a run, they belong to whoever needs them, and
// cut nothing in two.
std::vector<bool> find_shape_nodes(const graph& g);

// Nodes that compute from data what shapes of supported nodes hang on, as the end of a Slice: the
// host has to know it before a part is made.
std::vector<bool> find_operand_nodes(const graph& g, const std::vector<bool>& shape_nodes,
                                     const std::function<bool(const node&)>& supported);

// Values that are known when a plan is made, or can be: constants, what is computed from shapes,
// integers that are inputs of the graph and of one dimension at most, and what is computed from
// these. A node with a shape that hangs on any other value is none of a part's. Of the body of a
// loop the formal inputs, such as the number of the iteration, are not: each would be compiled for.
std::vector<bool> find_planned_values(const graph& g, bool is_body = false);

struct partition {
  static constexpr std::size_t none = static_cast<std::size_t>(-1);
  std::vector<std::size_t> part;  // by node; none: not the device's
  std::size_t count = 0;
};

// Parts are convex (no way from a part out and back into it) and there is no cycle among them: a
// node's level is the most changes between the device and the host on any way to it, and a part is
// what has one level. Where there are several, those with nothing in them that `worth` is true of
// are left to the host.
partition find_parts(const graph& g, const std::vector<bool>& shape_nodes,
                     const std::function<bool(const node&)>& supported,
                     const std::function<bool(const node&)>& worth);

// Each part becomes a node DevicePart of the domain mizzen. Its attribute body is a graph that has
// the node's inputs and outputs, and the shape nodes it needs; shape_inputs are the inputs whose
// values its shapes hang on, whatever is computed between.
void replace_parts(graph& g, const std::vector<bool>& shape_nodes, const partition& parts);

// Whether the node's shapes hang on the value of this input.
bool is_shape_operand(const node& n, std::size_t input);

}  // namespace mizzen::inference::detail
