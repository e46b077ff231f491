// Rewrites of the graph between import and compilation, one file per pass.
#pragma once

#include "inference/device/device.hpp"
#include "inference/graph/ir.hpp"
#include "inference/runtime/loading_limits.hpp"

#include <mizzen/core/log.hpp>

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace mizzen::inference::detail {

struct pass_context {
  device& host;  // computes constants
  const logger& log;
  std::size_t budget;  // bytes that new constants may still take
  // Shown the graph as text; see session_options::on_graph. May be empty.
  const std::function<void(std::string_view, const std::string&)>& on_graph;
  loading_limits& limits;
  std::string prefix = {};                         // of the names it is shown under
  element_type precision = element_type::float32;  // see session_options::inference_precision
  bool fold_dequantised = true;  // whether DequantizeLinear is computed when its input is constant
  // … but for those that the device takes itself: its parts keep weights as they are.
  bool leave_dequantised = false;

  void show(std::string_view pass, const graph& g) const {
    if (on_graph) on_graph(prefix + std::string(pass), to_text(g));
  }
};

// Each pass takes a graph with inferred types and shapes and leaves one. Each returns whether it
// changed anything. None changes what the graph computes but for the rounding of floats.

// Nodes whose inputs are all constant become constants, and Shape of a fixed shape too.
bool fold_constants(graph& g, pass_context& context);

// An If whose condition is constant becomes the nodes of its branch.
bool inline_branches(graph& g, pass_context& context);

// Nodes that hand their input on: Identity, Dropout, Cast to the same type, arithmetic with a
// neutral constant, Reshape, Slice and Transpose that change nothing.
bool remove_identities(graph& g, pass_context& context);

// Halves become floats between the nodes of a graph that computes in them, where the device would
// widen them in each node. Values that are seen outside keep their type, and what the last bit of a
// value decides (comparisons, ArgMax, Floor …) is decided by the half.
bool widen_halves(graph& g, pass_context& context);

// Decomposed LayerNormalization, Gelu and HardSwish become one node.
bool recognise_patterns(graph& g, pass_context& context);

// A product with one-hot rows becomes a Gather, and what is done to each row that a Gather picks is
// done to its table.
bool recognise_lookups(graph& g, pass_context& context);

// Scaled dot-product attention in the forms that exporters write becomes one node of the domain
// "mizzen"; projections of one input become one product.
bool fuse_attention(graph& g, pass_context& context);

// Dynamic quantisation, a product of integers and the way back to floats become one node of the
// domain "mizzen".
bool fuse_quantised(graph& g, pass_context& context);

// What stands behind a Squeeze behind a convolution, and does not mind, changes places with it.
bool sink_squeeze(graph& g, pass_context& context);

// Operators between DequantizeLinear and QuantizeLinear become those of bytes. In the domain mizzen
// QLinearConv and QLinearMatMul have ONNX's inputs (uint8 and constant weights) and a constant bias
// of int32 as input 8; QLinearAdd and QLinearMul are com.microsoft's; all have attributes low and
// high, the bounds of their bytes, and a tensor table of 256 bytes that these go through at the
// end. ByteTable(x, table) is that alone.
bool fuse_quantised_graph(graph& g, pass_context& context);

// A ByteTable goes into the node of the domain mizzen before it. Part of fuse_quantised_graph().
bool join_byte_tables(graph& g);

// BatchNormalization, and Mul and Add with constants per channel, go into the weights of the Conv
// or ConvTranspose before them.
bool fold_into_conv(graph& g, pass_context& context);

// Element-wise nodes become post-ops of the Conv, Gemm or MatMul before them, where the device's
// kernel takes them.
bool fuse_post_ops(graph& g, pass_context& context);

// What a device computes together becomes one node for it; see partition.hpp.
bool assign_parts(graph& g, pass_context& context);

// Convolutions, and what stands between them, take pictures whose channels lie last. Other passes
// do not look for what this one makes: it comes after them.
bool assign_layout(graph& g, pass_context& context);

// Transposes of transposes become one, and those that move nothing a Reshape.
bool merge_transposes(graph& g, pass_context& context);

// A pointwise convolution and the depthwise one behind it, with a large value between them, become
// one node that makes that value line by line.
bool fuse_strips(graph& g, pass_context& context);

// Products of floats may be computed in bfloat16 where the session allows it.
bool lower_precision(graph& g, pass_context& context);

// Nodes whose outputs nobody uses, and the outputs nobody uses of those that stay.
bool remove_dead_code(graph& g, pass_context& context);

// All of them, in order, until nothing changes.
void run_passes(graph& g, pass_context& context);

// For passes: a new constant of the graph.
value_id add_constant(graph& g, std::string name, tensor t);

// What passes share.

// Every use of one value becomes a use of another, graph outputs included.
void replace_uses(graph& g, value_id from, value_id to);

// Removes the marked nodes.
void erase_nodes(graph& g, const std::vector<bool>& dead);

// The value of a constant with one float element; nullopt for anything else.
std::optional<float> constant_scalar(const graph& g, value_id v);

}  // namespace mizzen::inference::detail
