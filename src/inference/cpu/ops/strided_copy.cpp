#include "inference/cpu/ops/strided_copy.hpp"

#include "inference/cpu/thread_pool.hpp"

#include <algorithm>
#include <cstring>

namespace mizzen::inference::detail {
namespace {

struct loop {
  std::int64_t count, target, source;
};

// Outermost first; dimensions of 1 are gone, and neighbours that both arrays step through evenly
// are one.
struct loop_nest {
  std::array<loop, max_rank> loops;
  std::size_t rank = 0;
};

loop_nest make_nest(const rank_array& target, const rank_array& source,
                    std::span<const std::int64_t> shape) {
  loop_nest nest;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] == 1) continue;
    const loop next{shape[i], target[i], source[i]};
    if (nest.rank != 0) {
      loop& last = nest.loops[nest.rank - 1];
      if (last.target == next.target * next.count && last.source == next.source * next.count) {
        last = {last.count * next.count, next.target, next.source};
        continue;
      }
    }
    nest.loops[nest.rank++] = next;
  }
  if (nest.rank == 0) nest.loops[nest.rank++] = {1, 1, 1};
  return nest;
}

struct block16 {
  std::uint64_t low, high;
};

template <class T>
void copy_row(T* target, const T* source, const loop& l) {
  if (l.target == 1 && l.source == 1) {
    std::memcpy(target, source, static_cast<std::size_t>(l.count) * sizeof(T));
  } else if (l.target == 1 && l.source == 0) {
    std::fill_n(target, l.count, *source);
  } else {
    for (std::int64_t i = 0; i < l.count; ++i) target[i * l.target] = source[i * l.source];
  }
}

// target[i * Inner + j] = source[i + j * step], as where planes become channels that lie last.
template <std::int64_t Inner, class T>
void copy_few(T* target, const T* source, std::int64_t count, std::int64_t step) {
  for (std::int64_t i = 0; i < count; ++i, target += Inner) {
    T all[Inner];
    for (std::int64_t j = 0; j < Inner; ++j) all[j] = source[i + j * step];
    std::memcpy(target, all, sizeof all);
  }
}

// Two loops at once, in tiles, so that both sides touch each cache line few times.
template <class T>
void copy_plane(T* target, const T* source, const loop& outer, const loop& inner) {
  constexpr std::int64_t tile = 16;
  if (inner.source == 1 || inner.source == 0 || outer.source != 1) {
    for (std::int64_t i = 0; i < outer.count; ++i) {
      copy_row(target + i * outer.target, source + i * outer.source, inner);
    }
    return;
  }
  if (inner.target == 1 && outer.target == inner.count) {
    if (inner.count == 2) return copy_few<2>(target, source, outer.count, inner.source);
    if (inner.count == 3) return copy_few<3>(target, source, outer.count, inner.source);
    if (inner.count == 4) return copy_few<4>(target, source, outer.count, inner.source);
  }
  for (std::int64_t i0 = 0; i0 < outer.count; i0 += tile) {
    const std::int64_t i1 = std::min(i0 + tile, outer.count);
    for (std::int64_t j0 = 0; j0 < inner.count; j0 += tile) {
      const std::int64_t j1 = std::min(j0 + tile, inner.count);
      for (std::int64_t i = i0; i < i1; ++i) {
        for (std::int64_t j = j0; j < j1; ++j) {
          target[i * outer.target + j * inner.target] = source[i * outer.source + j * inner.source];
        }
      }
    }
  }
}

template <class T>
void copy_nest(void* to, const void* from, const loop_nest& nest, thread_pool& pool) {
  auto* const target = static_cast<T*>(to);
  const auto* const source = static_cast<const T*>(from);
  const loop& inner = nest.loops[nest.rank - 1];
  if (nest.rank == 1) {
    const auto count = static_cast<std::size_t>(inner.count);
    pool.parallel_for(count, grain_for(sizeof(T)), [&](std::size_t begin, std::size_t end) {
      const auto b = static_cast<std::int64_t>(begin);
      const loop part{static_cast<std::int64_t>(end) - b, inner.target, inner.source};
      copy_row(target + b * inner.target, source + b * inner.source, part);
    });
    return;
  }
  // The thread pool divides the outer loops; each index of them is one plane.
  const loop& middle = nest.loops[nest.rank - 2];
  const std::size_t outer_rank = nest.rank - 2;
  const auto plane_bytes = static_cast<std::size_t>(middle.count * inner.count) * sizeof(T);
  if (outer_rank == 0) {
    const std::size_t row_bytes = static_cast<std::size_t>(inner.count) * sizeof(T);
    pool.parallel_for(
        static_cast<std::size_t>(middle.count), grain_for(row_bytes),
        [&](std::size_t begin, std::size_t end) {
          const auto b = static_cast<std::int64_t>(begin);
          const loop part{static_cast<std::int64_t>(end) - b, middle.target, middle.source};
          copy_plane(target + b * middle.target, source + b * middle.source, part, inner);
        });
    return;
  }
  std::size_t planes = 1;
  for (std::size_t i = 0; i < outer_rank; ++i) {
    planes *= static_cast<std::size_t>(nest.loops[i].count);
  }
  pool.parallel_for(planes, grain_for(plane_bytes), [&](std::size_t begin, std::size_t end) {
    for (std::size_t p = begin; p < end; ++p) {
      auto rest = static_cast<std::int64_t>(p);
      std::int64_t t = 0;
      std::int64_t s = 0;
      for (std::size_t i = outer_rank; i-- > 0;) {
        const loop& l = nest.loops[i];
        t += rest % l.count * l.target;
        s += rest % l.count * l.source;
        rest /= l.count;
      }
      copy_plane(target + t, source + s, middle, inner);
    }
  });
}

}  // namespace

std::size_t grain_for(std::size_t bytes_per_index) noexcept {
  constexpr std::size_t bytes_per_piece = std::size_t{1} << 16;
  return std::max<std::size_t>(1, bytes_per_piece / std::max<std::size_t>(1, bytes_per_index));
}

rank_array dense_strides(std::span<const std::int64_t> shape) noexcept {
  rank_array strides{};
  std::int64_t step = 1;
  for (std::size_t i = shape.size(); i-- > 0;) {
    strides[i] = step;
    step *= shape[i];
  }
  return strides;
}

rank_array broadcast_strides(std::span<const std::int64_t> from,
                             std::span<const std::int64_t> to) noexcept {
  rank_array strides{};
  const rank_array dense = dense_strides(from);
  const std::size_t shift = to.size() - from.size();
  for (std::size_t i = 0; i < from.size(); ++i) {
    strides[i + shift] = from[i] == 1 ? 0 : dense[i];
  }
  return strides;
}

void copy_strided(void* target, const rank_array& target_strides, const void* source,
                  const rank_array& source_strides, std::span<const std::int64_t> shape,
                  std::size_t element_size, thread_pool& pool) {
  for (const std::int64_t d : shape) {
    if (d == 0) return;
  }
  const loop_nest nest = make_nest(target_strides, source_strides, shape);
  switch (element_size) {
    case 1:
      return copy_nest<std::uint8_t>(target, source, nest, pool);
    case 2:
      return copy_nest<std::uint16_t>(target, source, nest, pool);
    case 4:
      return copy_nest<std::uint32_t>(target, source, nest, pool);
    case 8:
      return copy_nest<std::uint64_t>(target, source, nest, pool);
    case 16:
      return copy_nest<block16>(target, source, nest, pool);
    default:
      throw error(errc::internal, "copy_strided", "no such element size");
  }
}

}  // namespace mizzen::inference::detail
