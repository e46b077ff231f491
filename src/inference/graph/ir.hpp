// The graph between the file and the device: what the passes work on.
#pragma once

#include <mizzen/inference/tensor.hpp>
#include <mizzen/inference/value.hpp>

#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace mizzen::inference {
struct custom_operator;
}  // namespace mizzen::inference

namespace mizzen::inference::detail {

struct graph;

using inference::to_string;

// Dimensions of a value. A number ≥ 0 is known; a negative one is a symbol. Equal symbols are equal
// numbers, but for unknown_dim, which tells nothing; some have a name (graph::symbols). At run time
// all dimensions are known.
using dims = std::vector<std::int64_t>;
inline constexpr std::int64_t unknown_dim = -1;

// Most dimensions a value may have, so that kernels can keep indices in fixed arrays; a model with
// more is refused when it is loaded. Of the standard operators' tests none has more than 8.
inline constexpr std::size_t max_rank = 8;

// Greatest dimension: leaves room for sums of dimensions, strides and pads in 64 bits.
inline constexpr std::int64_t max_dimension = std::int64_t{1} << 48;

using attribute_value = std::variant<std::int64_t, float, std::string, std::vector<std::int64_t>,
                                     std::vector<float>, std::vector<std::string>,
                                     std::shared_ptr<const tensor>, std::shared_ptr<const graph>>;

// Attributes of a node. A getter with a fallback returns it when the attribute is absent, and
// throws error(invalid_argument) naming the attribute when it has another type; require_… throws as
// well when it is absent.
class attribute_map {
 public:
  void set(std::string name, attribute_value value);
  void erase(std::string_view name);
  bool has(std::string_view name) const noexcept { return find(name) != nullptr; }
  const attribute_value* find(std::string_view name) const noexcept;

  std::int64_t get_int(std::string_view name, std::int64_t fallback) const;
  float get_float(std::string_view name, float fallback) const;
  std::string get_string(std::string_view name, std::string_view fallback) const;
  std::vector<std::int64_t> get_ints(std::string_view name,
                                     std::vector<std::int64_t> fallback = {}) const;
  std::vector<float> get_floats(std::string_view name) const;
  std::vector<std::string> get_strings(std::string_view name) const;
  std::shared_ptr<const tensor> get_tensor(std::string_view name) const;  // null when absent
  std::shared_ptr<const graph> require_graph(std::string_view name) const;
  std::int64_t require_int(std::string_view name) const;

  auto begin() const { return entries_.begin(); }
  auto end() const { return entries_.end(); }

 private:
  std::map<std::string, attribute_value, std::less<>> entries_;
};

// An element-wise step that a node applies to its output while it is still in registers or cache.
// Applied in the order of node::post_ops. Binary ones take another input of the node, which
// broadcasts to the output as in ONNX Add; it may be a constant (prepack it) or not.
enum class post_op_kind : std::uint8_t {
  relu,
  leaky_relu,  // alpha
  clip,        // alpha = least, beta = greatest
  sigmoid,
  tanh,
  gelu_erf,
  gelu_tanh,
  silu,
  hard_sigmoid,  // clip(alpha * x + beta, 0, 1)
  hard_swish,    // x * clip(alpha * x + beta, 0, 1); alpha = 1/6, beta = 0.5 in ONNX
  scale,         // alpha * x + beta
  add,           // x + input
  mul,           // x * input
};
std::string_view to_string(post_op_kind kind) noexcept;

struct post_op {
  post_op_kind kind;
  float alpha = 0.0F;
  float beta = 0.0F;
  int input = -1;  // index into node::inputs for add and mul
};

using value_id = std::uint32_t;
inline constexpr value_id no_value = std::numeric_limits<value_id>::max();

struct value {
  std::string name;
  element_type type = element_type::undefined;  // of the elements, for any kind
  value_kind kind = value_kind::tensor;
  std::optional<dims> shape;  // nullopt while not even the rank is known, and for other kinds
  std::shared_ptr<const tensor> constant;  // set for initializers and folded values
};

struct node {
  std::string name;
  std::string op_type;
  std::string domain;      // "" is the default domain; "mizzen" holds operators made by passes
  std::int64_t opset = 0;  // version of the domain that the model imports
  std::vector<value_id> inputs;   // no_value for an optional input that is left out
  std::vector<value_id> outputs;  // no_value for an optional output that nobody wants
  attribute_map attributes;
  std::vector<post_op> post_ops;
  // How many of the inputs, at the end, are there only because subgraphs of the node use them.
  std::size_t captured = 0;
  // Where the operator is the application's own; see custom_operator.hpp.
  std::shared_ptr<const custom_operator> custom;

  // Number of inputs of the operator itself: captured ones and those of binary post-ops come after.
  std::size_t operator_inputs() const noexcept;
};

// "node 'conv1' (Conv)": the subject of errors about a node.
std::string describe(const node& n);

// The error of something within a node, with the node as its subject.
error named(const node& n, const error& e);

// Nodes are in topological order. Values are never removed, only orphaned; ids stay valid.
struct graph {
  std::string name;
  std::vector<value> values;
  std::vector<node> nodes;
  std::vector<value_id> inputs;
  std::vector<value_id> outputs;
  std::vector<std::string> symbols;  // name of dimension -2 - i
  std::int64_t nameless = 0;         // how many symbols without a name follow those
  // In a subgraph, which stands in an attribute of a node, the last inputs are values of the graph
  // around it: for each its index into that node's inputs.
  std::vector<std::size_t> captures;

  std::size_t formal_inputs() const noexcept { return inputs.size() - captures.size(); }
  value_id add_value(value v);
  bool has_name(std::int64_t dimension) const noexcept;
  std::string dimension_text(std::int64_t dimension) const;  // "?" for one without a name
};

// Who makes and who uses each value; index into graph::nodes. Valid until the graph changes.
struct graph_index {
  explicit graph_index(const graph& g);
  static constexpr std::size_t none = std::numeric_limits<std::size_t>::max();
  std::vector<std::size_t> producer;
  std::vector<std::vector<std::size_t>> consumers;
  std::vector<bool> is_output;

  // True if exactly one node input uses the value and it is no graph output.
  bool single_use(value_id v) const { return consumers[v].size() == 1 && !is_output[v]; }
};

// "float32[batch,64]", "int64[…]" where not even the rank is known, "float32[…]@sequence".
std::string type_text(const graph& g, value_id v);

// One line per node, for people.
std::string to_text(const graph& g);

}  // namespace mizzen::inference::detail
