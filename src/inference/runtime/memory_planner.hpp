// Where in one arena each buffer of a run lies.
#pragma once

#include <cstddef>
#include <vector>

namespace mizzen::inference::detail {

// A buffer and the steps, first to last, during which its content counts.
struct planned_buffer {
  std::size_t bytes = 0;
  std::size_t first = 0;
  std::size_t last = 0;
  std::size_t offset = 0;  // the result
};

// Sets the offsets (multiples of 64) so that buffers alive at one time do not overlap, the largest
// first, each in the lowest place that is free. Returns the bytes of the arena. Throws
// error(out_of_range) on overflow.
std::size_t plan_memory(std::vector<planned_buffer>& buffers);

}  // namespace mizzen::inference::detail
