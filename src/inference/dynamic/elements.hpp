// Copies of runs of elements, whatever their type: bytes or strings.
#pragma once

#include "inference/dynamic/operation.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace mizzen::inference::detail {

// Bytes of the texts of a string tensor; 0 for other types.
std::size_t text_bytes(const tensor& t);

// A tensor of empty strings that will be given texts of so many bytes: they are on the account too.
std::shared_ptr<tensor> make_strings(shape_type shape, std::size_t text_bytes,
                                     const run_state& state);

// Copies count elements. Throws error(unimplemented) for types packed into less than a byte.
void copy_elements(tensor& to, std::size_t to_first, const tensor& from, std::size_t from_first,
                   std::size_t count);

// The axis in [0, rank), or error(invalid_argument).
std::size_t checked_axis(std::int64_t axis, std::size_t rank);

// Element i of an int32 or int64 tensor.
std::int64_t integer_at(const tensor& t, std::size_t i);

// The only element of an int32 or int64 tensor; throws error(invalid_argument) if there are more.
std::int64_t only_integer(const tensor& t, std::string_view what);

// Part of a tensor along an axis: count entries from first on. With drop, count is 1 and the axis
// goes.
shared_tensor take_slice(const tensor& from, std::size_t axis, std::int64_t first,
                         std::int64_t count, bool drop, const run_state& state);

// Tensors put together along an axis: an existing one, or with stack a new one (their shapes must
// then be one). Throws error(invalid_argument) where shapes do not fit, and for no tensors at all.
shared_tensor join(std::span<const shared_tensor> parts, std::size_t axis, bool stack,
                   const run_state& state);

}  // namespace mizzen::inference::detail
