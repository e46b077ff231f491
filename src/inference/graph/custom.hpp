// The operators that an application gives to a session, as nodes of its graph see them.
#pragma once

#include "inference/graph/shape_inference.hpp"

#include <mizzen/inference/custom_operator.hpp>

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mizzen::inference::detail {

// The operators of one session, by what models call them.
class custom_operators {
 public:
  // Throws error(invalid_argument) naming the operator: for one without a name or a function, of a
  // reserved domain, there twice, or of a name that the engine has itself.
  explicit custom_operators(std::span<const custom_operator> list);

  // null if there is none.
  std::shared_ptr<const custom_operator> find(std::string_view domain, std::string_view op_type,
                                              std::int64_t version) const;

 private:
  std::map<std::string, std::vector<std::shared_ptr<const custom_operator>>> by_name_;
};

// "ai.onnx" is the default domain, "".
std::string domain_of(std::string_view domain);

// The shape rule of a node with an operator of its own.
shape_rule custom_rule(const custom_operator& op);

// The types and shapes that a node's shape function gives for these inputs, as infer_node().
struct custom_inference {
  infer_context& context;
  std::vector<std::optional<shape_type>> shapes;  // of the inputs; unknown dimensions are -1
};

// Makes the views that functions of custom operators are given.
struct custom_access {
  static custom_node node_view(const node& n) { return custom_node(n); }
  static custom_shapes shapes(const node& n, custom_inference& state) { return {n, state}; }
  static custom_run run(const node& n, const custom_call& call) { return {n, call}; }
  template <bool writable>
  static basic_operand<writable> operand(element_type type, std::span<const std::int64_t> shape,
                                         std::size_t count, void* data) noexcept {
    basic_operand<writable> made;
    made.type_ = type;
    made.shape_ = shape;
    made.count_ = count;
    made.data_ = data;
    return made;
  }
};

// Calls a function of a custom operator: what it throws comes out as an error.
template <class Call>
auto call_custom(std::string_view function, Call&& call) {
  try {
    return call();
  } catch (const error&) {
    throw;
  } catch (const std::exception& e) {
    throw error(errc::unknown, function, e.what(), std::current_exception());
  }
}

}  // namespace mizzen::inference::detail
