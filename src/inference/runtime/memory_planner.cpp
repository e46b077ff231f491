#include "inference/runtime/memory_planner.hpp"

#include <mizzen/core/checked.hpp>

#include <algorithm>
#include <numeric>

namespace mizzen::inference::detail {

std::size_t plan_memory(std::vector<planned_buffer>& buffers) {
  constexpr std::size_t alignment = 64;
  std::vector<std::size_t> order(buffers.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return buffers[a].bytes != buffers[b].bytes ? buffers[a].bytes > buffers[b].bytes : a < b;
  });
  std::size_t total = 0;
  std::vector<std::size_t> placed;  // by offset
  for (const std::size_t i : order) {
    planned_buffer& b = buffers[i];
    b.bytes = checked_add(b.bytes, alignment - 1, "arena") / alignment * alignment;
    std::size_t offset = 0;
    for (const std::size_t j : placed) {
      const planned_buffer& other = buffers[j];
      const bool together = b.first <= other.last && other.first <= b.last;
      if (!together || other.bytes == 0) continue;
      if (checked_add(offset, b.bytes, "arena") <= other.offset) break;
      offset = std::max(offset, other.offset + other.bytes);
    }
    b.offset = offset;
    total = std::max(total, checked_add(offset, b.bytes, "arena"));
    placed.insert(std::upper_bound(placed.begin(), placed.end(), i,
                                   [&](std::size_t x, std::size_t y) {
                                     return buffers[x].offset < buffers[y].offset;
                                   }),
                  i);
  }
  return total;
}

}  // namespace mizzen::inference::detail
