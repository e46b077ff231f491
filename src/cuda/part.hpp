// The graph that the engine hands over, read once from the structs of the interface.
#pragma once

#include "inference/device/plugin.h"

#include <mizzen/inference/tensor.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace mizzen::cuda {

using inference::element_type;
using dims = std::vector<std::int64_t>;

struct value {
  std::string name;
  element_type type = element_type::undefined;
  std::optional<dims> shape;  // -1 for a dimension that is not known; nullopt: not even the rank
  const void* constant = nullptr;  // dense, row-major; null: not constant

  bool is_concrete() const noexcept;
};

using value_id = std::uint32_t;
inline constexpr value_id no_value = MIZZEN_NO_VALUE;

struct node {
  std::string name, op_type, domain;
  std::int64_t opset = 0;
  std::vector<value_id> inputs, outputs;
  std::map<std::string, std::variant<std::int64_t, float, std::string, dims, std::vector<float>>,
           std::less<>>
      attributes;

  bool has(std::string_view attribute) const {
    return attributes.find(attribute) != attributes.end();
  }
  // The fallback also where the attribute has another type.
  std::int64_t get_int(std::string_view attribute, std::int64_t fallback) const;
  float get_float(std::string_view attribute, float fallback) const;
  std::string get_string(std::string_view attribute, std::string_view fallback) const;
  dims get_ints(std::string_view attribute, dims fallback = {}) const;

  bool has_input(std::size_t i) const noexcept {
    return i < inputs.size() && inputs[i] != no_value;
  }
};

struct part {
  std::vector<value> values;
  std::vector<node> nodes;
  std::vector<value_id> inputs, outputs;

  // The elements of a constant of integers; nullopt for anything else.
  std::optional<dims> ints(value_id v) const;
  // The one element of a constant of one float.
  std::optional<float> scalar(value_id v) const;
  // Those of a constant of floats.
  std::optional<std::vector<float>> floats(value_id v) const;
};

// "node 'conv1' (Conv)".
std::string describe(const node& n);

// Throws error(invalid_argument) for ids outside the graph, an order that is none, and constants of
// another size than their shape.
part read_part(const mizzen_graph& from);

// int32 or int64: what parts compute with as integers.
bool is_integer(element_type type) noexcept;

// Bytes of an element; 0 for types that are none of a GPU's here.
std::size_t size_of(element_type type) noexcept;

// Product of the dimensions.
std::int64_t count_of(const dims& shape);

}  // namespace mizzen::cuda
