// Copies between arrays of one shape and different strides: what transposing, slicing, broadcasting
// and concatenating have in common.
#pragma once

#include "inference/graph/ir.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace mizzen::inference::detail {

class thread_pool;

using rank_array = std::array<std::int64_t, max_rank>;

// Strides in elements of a dense array.
rank_array dense_strides(std::span<const std::int64_t> shape) noexcept;

// Strides for reading an array of shape `from` as one of shape `to`, broadcast as ONNX does; `to`
// has at least the rank of `from`.
rank_array broadcast_strides(std::span<const std::int64_t> from,
                             std::span<const std::int64_t> to) noexcept;

// target[i·target_strides] = source[i·source_strides] for all i below shape. Strides count
// elements, may be 0 or negative in the source. element_size is 1, 2, 4, 8 or 16.
void copy_strided(void* target, const rank_array& target_strides, const void* source,
                  const rank_array& source_strides, std::span<const std::int64_t> shape,
                  std::size_t element_size, thread_pool& pool);

// Splits [0, count) into pieces that are worth a thread each when one index moves so many bytes.
std::size_t grain_for(std::size_t bytes_per_index) noexcept;

}  // namespace mizzen::inference::detail
