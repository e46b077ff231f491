// Few shapes instead of many: see session_options::shape_buckets.
#pragma once

#include "inference/graph/ir.hpp"

#include <mizzen/inference/session.hpp>

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace mizzen::inference::detail {

// The names that a graph gives the dimensions of its outputs; empty where it has none for one.
using output_names = std::vector<std::vector<std::string>>;
output_names names_of_outputs(const graph& g);

// Immutable.
class shape_buckets {
 public:
  using size_map = std::map<std::string, std::vector<std::int64_t>, std::less<>>;

  shape_buckets() = default;
  // found: what inference calls the dimensions of the outputs, each time it was asked. Throws
  // error(invalid_argument) as session_options says.
  shape_buckets(size_map sizes, std::span<const value_info> inputs,
                std::span<const value_info> outputs, std::span<const output_names> found,
                const graph& g);

  bool empty() const noexcept { return sizes_.empty(); }

  // The inputs of one run, some of them padded.
  struct padded {
    std::map<std::string_view, std::pair<std::int64_t, std::int64_t>> sizes;  // real, padded
    std::vector<tensor> made;  // by input; undefined: it is as it was given
    bool any() const noexcept { return !sizes.empty(); }
  };

  // Inputs in the model's order, checked. What is padded is on the host; stream: as in run_options,
  // for those that are not.
  padded pad(std::span<const value_info> inputs, std::span<const tensor* const> given,
             void* stream = nullptr) const;

  // The shape that output i would have had. Throws error(internal) if it was not padded as its
  // dimensions are called.
  shape_type cut_shape(const padded& run, std::size_t i, const tensor& made) const;

 private:
  std::int64_t size_for(std::string_view name, std::int64_t real) const;

  size_map sizes_;
  output_names outputs_;  // names that inputs give
};

// Copies what lies within both shapes; the types are one.
void copy_common(const tensor& from, tensor& to);

}  // namespace mizzen::inference::detail
