// Walks tensors that broadcast to a common shape, as runs along the innermost dimension.
#pragma once

#include "inference/cpu/thread_pool.hpp"

#include <mizzen/core/error.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace mizzen::inference::detail::cpu {

// The least number of elements worth a thread of its own.
inline constexpr std::size_t element_grain = std::size_t{16} << 10;

// How Inputs tensors lie over the output: dimensions of 1 dropped, neighbours joined wherever every
// tensor runs through both in one stride.
template <std::size_t Inputs>
struct broadcast_plan {
  static constexpr std::size_t most_dimensions = 16;

  // inputs broadcast to output by the rules of NumPy, which is the caller's to check. Throws
  // error(unimplemented) for more than 16 dimensions that cannot be joined.
  broadcast_plan(std::span<const std::int64_t> output,
                 const std::array<std::span<const std::int64_t>, Inputs>& inputs) {
    std::array<std::size_t, Inputs> next{};  // stride of the next outer dimension of each input
    next.fill(1);
    for (std::size_t back = 1; back <= output.size(); ++back) {
      const auto size = static_cast<std::size_t>(output[output.size() - back]);
      std::array<std::size_t, Inputs> stride{};
      for (std::size_t i = 0; i < Inputs; ++i) {
        const std::size_t have = back <= inputs[i].size()
                                     ? static_cast<std::size_t>(inputs[i][inputs[i].size() - back])
                                     : 1;
        stride[i] = have == 1 ? 0 : next[i];
        next[i] *= have;
      }
      count *= size;
      if (size != 1) push(size, stride);
    }
  }

  std::size_t count = 1;  // elements of the output
  std::size_t rank = 0;
  // Innermost first.
  std::array<std::size_t, most_dimensions> sizes{};
  std::array<std::array<std::size_t, Inputs>, most_dimensions> strides{};

 private:
  void push(std::size_t size, const std::array<std::size_t, Inputs>& stride) {
    if (rank > 0) {
      bool joined = true;
      for (std::size_t i = 0; i < Inputs; ++i) {
        joined = joined && stride[i] == strides[rank - 1][i] * sizes[rank - 1];
      }
      if (joined) {
        sizes[rank - 1] *= size;
        return;
      }
    }
    if (rank == most_dimensions) {
      throw error(errc::unimplemented, "broadcast",
                  "more than 16 dimensions that cannot be joined");
    }
    sizes[rank] = size;
    strides[rank] = stride;
    ++rank;
  }
};

// Calls fn(output offset, input offsets, input steps, n) for runs that cover the output, from
// several threads. A step is 0 (the same element all along) or 1: the inputs are dense, so that the
// innermost dimension over 1 of any of them is contiguous.
template <std::size_t Inputs, typename Fn>
void for_each_run(thread_pool& pool, const broadcast_plan<Inputs>& plan, Fn&& fn) {
  if (plan.count == 0) return;
  const std::size_t run = plan.rank == 0 ? 1 : plan.sizes[0];
  std::array<std::size_t, Inputs> steps{};
  if (plan.rank != 0) steps = plan.strides[0];
  if (plan.rank <= 1) {
    pool.parallel_for(run, element_grain, [&](std::size_t begin, std::size_t end) {
      std::array<std::size_t, Inputs> at{};
      for (std::size_t i = 0; i < Inputs; ++i) at[i] = begin * steps[i];
      fn(begin, at, steps, end - begin);
    });
    return;
  }
  const std::size_t outer = plan.count / run;
  pool.parallel_for(outer, element_grain / run + 1, [&](std::size_t begin, std::size_t end) {
    std::array<std::size_t, broadcast_plan<Inputs>::most_dimensions> index{};
    std::array<std::size_t, Inputs> at{};
    std::size_t rest = begin;
    for (std::size_t d = 1; d < plan.rank; ++d) {
      index[d] = rest % plan.sizes[d];
      rest /= plan.sizes[d];
      for (std::size_t i = 0; i < Inputs; ++i) at[i] += index[d] * plan.strides[d][i];
    }
    for (std::size_t r = begin; r < end; ++r) {
      fn(r * run, at, steps, run);
      for (std::size_t d = 1; d < plan.rank; ++d) {
        const bool wraps = ++index[d] == plan.sizes[d];
        for (std::size_t i = 0; i < Inputs; ++i) {
          at[i] += plan.strides[d][i];
          if (wraps) at[i] -= plan.sizes[d] * plan.strides[d][i];
        }
        if (!wraps) break;
        index[d] = 0;
      }
    }
  });
}

}  // namespace mizzen::inference::detail::cpu
