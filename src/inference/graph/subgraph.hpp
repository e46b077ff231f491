// The bodies of control flow: types and shapes inside them, and of what they make.
#pragma once

#include "inference/graph/shape_inference.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mizzen::inference::detail {

// A copy of the subgraph for inputs of these types and shapes (formal ones, then captured ones, as
// graph::inputs), with all its values inferred. Constants among the captured inputs become
// constants of the copy.
graph specialise(const graph& body, std::span<const inferred> inputs);

// What a copy made by specialise() has at its outputs.
std::vector<inferred> outputs_of(const graph& body);

// What is known of the inputs of a node's subgraph: its formal inputs as given, and the captured
// ones from the node's own inputs.
std::vector<inferred> inputs_of(const graph& body, std::vector<inferred> formal,
                                std::span<const inferred> node_inputs);

// What holds for both; the types must be one. Throws error(invalid_argument) naming the subject.
inferred common(const inferred& a, const inferred& b, std::string_view subject);

// A loop's formal inputs such that they hold in every iteration: those at [first, first + count)
// are set anew by each iteration, from the outputs of the body that start at first_output.
// Dimensions that an iteration changes become unknown.
std::vector<inferred> settle(const graph& body, std::vector<inferred> formal, std::size_t first,
                             std::size_t count, std::size_t first_output,
                             std::span<const inferred> node_inputs, std::string_view subject);

// What is inferred of the inputs of a node in its graph.
std::vector<inferred> facts_of(const graph& g, const node& n);

// How the inputs and outputs of a Scan are to be read. Source: ONNX Scan, versions 8 and 9.
struct scan_signature {
  explicit scan_signature(const node& n);

  bool batched;             // version 8: each value has a batch dimension before all others
  std::size_t first;        // index of the first state among the inputs (after the lengths)
  std::size_t states = 0;   // handed from iteration to iteration
  std::size_t scanned = 0;  // inputs of which each iteration gets a slice

  std::vector<std::int64_t> input_axes, input_reversed, output_axes, output_reversed;

  // The axis in [0, rank) along which input or output i is sliced or stacked.
  std::size_t input_axis(std::size_t i, std::size_t rank) const {
    return axis(input_axes, i, rank);
  }
  std::size_t output_axis(std::size_t i, std::size_t rank) const {
    return axis(output_axes, i, rank);
  }

 private:
  std::size_t axis(const std::vector<std::int64_t>& axes, std::size_t i, std::size_t rank) const;
  std::string subject_;
};

// The formal inputs of the body of a Loop, Scan or SequenceMap, from what is known of the inputs of
// the node. Throws error(invalid_argument) where numbers of inputs and outputs do not fit.
std::vector<inferred> body_inputs(const node& n, std::span<const inferred> in);

}  // namespace mizzen::inference::detail
