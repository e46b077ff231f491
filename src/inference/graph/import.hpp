// From an ONNX model to the graph.
#pragma once

#include "inference/graph/custom.hpp"
#include "inference/graph/ir.hpp"
#include "inference/onnx/model.hpp"
#include "inference/onnx/tensor_data.hpp"

#include <mizzen/inference/session.hpp>

#include <map>
#include <string>
#include <vector>

namespace mizzen::inference::detail {

struct imported_model {
  graph g;
  std::vector<value_info> inputs;   // as declared, in the order of graph::inputs
  std::vector<value_info> outputs;  // as declared
  std::map<std::string, std::string> metadata;
};

// Versions of the default operator set that this engine knows the meaning of.
inline constexpr std::int64_t min_opset = 1;
inline constexpr std::int64_t max_opset = 28;

// Copies what it needs. Initializers and Constant nodes become constant values; an input with an
// initializer of its name is that constant. Calls of the model's own functions are replaced by
// their bodies. What a subgraph uses of the graph around it becomes an input of both the subgraph
// and its node (graph::captures). Throws error naming the field of the model.
imported_model import_model(const model_proto& model, tensor_source& source,
                            const custom_operators& custom);

}  // namespace mizzen::inference::detail
