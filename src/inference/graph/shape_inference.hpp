// Types and shapes of what a node makes, from those of what it takes.
#pragma once

#include "inference/graph/extents.hpp"
#include "inference/graph/ir.hpp"

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace mizzen::inference::detail {

// What is known of a value: at load some dimensions may be symbols, for a plan all are numbers.
struct inferred {
  element_type type = element_type::undefined;  // undefined for an input that is left out
  std::optional<dims> shape;
  const tensor* known = nullptr;  // the value itself, where it is constant
  value_kind kind = value_kind::tensor;
  const extents* elements = nullptr;  // what is known of them at load; see extents.hpp
};

// One node under inference. A rule reads inputs and sets outputs; what it cannot know it leaves
// unknown. Errors about the model are thrown by fail(), which names the node.
class infer_context {
 public:
  infer_context(const node& n, std::span<const inferred> in, std::span<inferred> out)
      : n_(n), in_(in.first(n.operator_inputs())), every_(in), out_(out) {}

  const node& n() const noexcept { return n_; }
  const attribute_map& attributes() const noexcept { return n_.attributes; }
  std::size_t input_count() const noexcept { return in_.size(); }
  bool has(std::size_t i) const noexcept {
    return i < in_.size() && in_[i].type != element_type::undefined;
  }
  element_type type(std::size_t i) const noexcept {
    return i < in_.size() ? in_[i].type : element_type::undefined;
  }
  // null while the rank is unknown.
  const dims* shape(std::size_t i) const noexcept {
    return has(i) && in_[i].shape ? &*in_[i].shape : nullptr;
  }
  // The value of an input; null where only a run can tell. Ask only where the output's shape hangs
  // on it: a plan looks for what was asked in vain.
  const tensor* known(std::size_t i) const noexcept {
    if (!has(i)) return nullptr;
    if (in_[i].known == nullptr && i < missed_bits) missed_ |= std::uint64_t{1} << i;
    return in_[i].known;
  }
  // Whether known() was asked for this input in vain.
  bool missed(std::size_t i) const noexcept {
    return i < missed_bits && (missed_ >> i & std::uint64_t{1}) != 0;
  }
  value_kind kind(std::size_t i) const noexcept {
    return i < in_.size() ? in_[i].kind : value_kind::tensor;
  }
  // All inputs, also those that only subgraphs use.
  std::span<const inferred> every_input() const noexcept { return every_; }
  std::size_t output_count() const noexcept { return out_.size(); }
  // As set so far.
  element_type output_type(std::size_t i) const noexcept { return out_[i].type; }
  const std::optional<dims>& output_shape(std::size_t i) const noexcept { return out_[i].shape; }
  // The elements of a known int32 or int64 input of at most one dimension.
  std::optional<std::vector<std::int64_t>> ints(std::size_t i) const;
  std::optional<std::int64_t> scalar(std::size_t i) const;
  // What is known of the elements of a vector of integers that is not constant; null: nothing.
  const extents* elements(std::size_t i) const noexcept {
    const dims* s = shape(i);
    return s != nullptr && s->size() == 1 ? in_[i].elements : nullptr;
  }
  // Number of elements of a one-dimensional input, or unknown_dim.
  std::int64_t length(std::size_t i) const;

  void set(std::size_t i, element_type type, std::optional<dims> shape = std::nullopt);
  void set_kind(std::size_t i, value_kind kind, element_type type);

  // The axis in [0, rank), or an error.
  std::size_t axis(std::int64_t value, std::size_t rank) const;
  void same_type(std::initializer_list<std::size_t> inputs) const;
  void rank_is(std::size_t i, std::size_t rank) const;
  // The one dimension that two must share; errors when both are known and differ.
  std::int64_t merge(std::int64_t a, std::int64_t b, std::string_view what) const;
  dims broadcast(const dims& a, const dims& b) const;
  // Fails unless a broadcasts to the target without enlarging it.
  void broadcasts_to(const dims& a, const dims& target) const;

  [[noreturn]] void fail(std::string_view message) const;
  // error(unimplemented): valid, but not supported here.
  [[noreturn]] void unsupported(std::string_view message) const;

 private:
  static constexpr std::size_t missed_bits = 64;

  const node& n_;
  std::span<const inferred> in_, every_;
  std::span<inferred> out_;
  mutable std::uint64_t missed_ = 0;
};

// Arithmetic on dimensions that may be symbols: unknown_dim unless the result is certain.
std::int64_t dim_add(std::int64_t a, std::int64_t b);
std::int64_t dim_mul(std::int64_t a, std::int64_t b);

// Product of dimensions, unknown_dim if one is not known (and none is 0).
std::int64_t dim_product(std::span<const std::int64_t> shape);

struct shape_rule {
  std::size_t required_inputs;
  std::size_t max_inputs;
  std::size_t max_outputs;
  void (*infer)(infer_context&);
  bool any_kind = false;  // takes sequences and optionals too
};

// null for an operator without a rule.
const shape_rule* find_shape_rule(std::string_view domain, std::string_view op_type);

// Fills out. Throws error(invalid_argument) naming the node if it cannot be right, and
// error(unimplemented) for an operator without a rule. Returns the inputs whose values the shapes
// hang on but which are not known.
std::vector<std::size_t> infer_node(const node& n, std::span<const inferred> in,
                                    std::span<inferred> out);

// Types and shapes of all values of a graph, constants included.
void infer_graph(graph& g);

}  // namespace mizzen::inference::detail
