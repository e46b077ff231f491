// A graph compiled for a device: what plans are made from.
#pragma once

#include "inference/device/device.hpp"
#include "inference/dynamic/operation.hpp"
#include "inference/graph/shape_inference.hpp"

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

namespace mizzen::inference::detail {

struct program {
  graph g;
  std::shared_ptr<device> on;
  // Parallel to graph::nodes: each has one or the other.
  std::vector<std::shared_ptr<const kernel>> kernels;
  std::vector<std::unique_ptr<operation>> operations;
};

// Compiles every node, and frees the constants that nothing reads any more.
program compile_program(graph g, const compile_settings& settings);

// Nodes [first, last) of a program, none of them an operation, with the values that they take from
// before and leave for after.
struct program_part {
  std::size_t first = 0;
  std::size_t last = 0;
  std::vector<value_id> inputs;
  std::vector<value_id> outputs;
};

// True if all dimensions are numbers.
bool is_concrete(const std::optional<dims>& shape) noexcept;

// A view without data of a value of this type and shape.
value_view describe_value(element_type type, std::span<const std::int64_t> shape);

// Runs one node now, into new tensors of the inferred shapes. Inputs that are left out have no
// type; those of Shape and Size need no data. Used to fold constants and to compute shapes; the
// kernel is one of the CPU.
std::vector<tensor> evaluate(const kernel& k, const node& n, std::span<const value_view> inputs,
                             std::span<const inferred> outputs, device& on,
                             const cancellation* cancel = nullptr);

// A view on a constant.
value_view view_of(const tensor& t);

// Bytes of a value.
std::size_t value_bytes(const value_view& v);

// Bytes that the outputs of a node take; SIZE_MAX if not all are known or of fixed size.
std::size_t output_bytes(std::span<const inferred> outputs);

}  // namespace mizzen::inference::detail
