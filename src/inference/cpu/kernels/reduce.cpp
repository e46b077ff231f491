#include "inference/cpu/kernels/reduce.hpp"

#include "inference/cpu/kernels/broadcast.hpp"
#include "inference/cpu/kernels/saturate.hpp"

#include <array>
#include <cmath>
#include <limits>
#include <type_traits>

namespace mizzen::inference::detail::cpu {
namespace {

// The shape with neighbours of the same kind joined, so that kept and reduced dimensions alternate;
// innermost first.
struct axes_plan {
  static constexpr std::size_t most = 16;
  struct axis {
    std::size_t size;
    std::size_t stride;
  };

  axes_plan(std::span<const std::int64_t> shape, std::span<const bool> reduced) {
    std::size_t stride = 1;
    bool previous = false;
    bool first = true;
    for (std::size_t d = shape.size(); d-- > 0;) {
      const auto size = static_cast<std::size_t>(shape[d]);
      if (size != 1) {
        if (first) inner_reduced = reduced[d];
        auto& axes = reduced[d] ? inside : kept;
        std::size_t& count = reduced[d] ? inside_rank : kept_rank;
        if (!first && previous == reduced[d]) {
          axes[count - 1].size *= size;
        } else {
          if (count == most) {
            throw error(errc::unimplemented, "axes", "more than 32 groups of dimensions");
          }
          axes[count++] = {size, stride};
        }
        previous = reduced[d];
        first = false;
        (reduced[d] ? inside_count : kept_count) *= size;
      }
      stride *= size;
    }
  }

  std::array<axis, most> kept{};
  std::array<axis, most> inside{};  // the reduced ones
  std::size_t kept_rank = 0;
  std::size_t inside_rank = 0;
  std::size_t kept_count = 1;
  std::size_t inside_count = 1;
  bool inner_reduced = true;
};

std::size_t offset_of(std::span<const axes_plan::axis> axes, std::size_t index) {
  std::size_t offset = 0;
  for (const axes_plan::axis& a : axes) {
    offset += index % a.size * a.stride;
    index /= a.size;
  }
  return offset;
}

// What a reduction keeps per element: the operation itself, without its last step (mean, root …).
reduce_op core_of(reduction kind) {
  switch (kind) {
    case reduction::max:
      return reduce_op::max;
    case reduction::min:
      return reduce_op::min;
    case reduction::product:
      return reduce_op::product;
    case reduction::l1:
      return reduce_op::sum_abs;
    case reduction::l2:
    case reduction::sum_square:
      return reduce_op::sum_square;
    default:
      return reduce_op::sum;
  }
}

template <typename T>
T neutral(reduce_op op) {
  using limits = std::numeric_limits<T>;
  if (op == reduce_op::max) return limits::has_infinity ? -limits::infinity() : limits::lowest();
  if (op == reduce_op::min) return limits::has_infinity ? limits::infinity() : limits::max();
  return op == reduce_op::product ? T{1} : T{0};
}

// a op b, b a new element; integers wrap around.
template <typename T>
T step(reduce_op op, T a, T b) {
  using W = std::conditional_t<std::is_integral_v<T>, std::uint64_t, T>;
  switch (op) {
    case reduce_op::sum:
      return static_cast<T>(W(a) + W(b));
    case reduce_op::sum_abs:
      return static_cast<T>(W(a) + (b < 0 ? W(0) - W(b) : W(b)));
    case reduce_op::sum_square:
      return static_cast<T>(W(a) + W(b) * W(b));
    case reduce_op::product:
      return static_cast<T>(W(a) * W(b));
    case reduce_op::max:
      return a > b || a != a ? a : b;
    case reduce_op::min:
      return a < b || a != a ? a : b;
  }
  return a;
}

// a op b, both results of the same reduction.
template <typename T>
T join(reduce_op op, T a, T b) {
  return step(op == reduce_op::sum_abs || op == reduce_op::sum_square ? reduce_op::sum : op, a, b);
}

template <typename T>
T reduce_run(const kernel_table& kernels, reduce_op op, const T* x, std::size_t n) {
  if constexpr (std::is_same_v<T, float>) {
    return kernels.reduce(op, x, n);
  } else {
    T total = neutral<T>(op);
    for (std::size_t i = 0; i < n; ++i) total = step(op, total, x[i]);
    return total;
  }
}

template <typename T>
void accumulate_run(const kernel_table& kernels, reduce_op op, const T* x, T* total,
                    std::size_t n) {
  if constexpr (std::is_same_v<T, float>) {
    kernels.accumulate(op, x, total, n);
  } else {
    for (std::size_t i = 0; i < n; ++i) total[i] = step(op, total[i], x[i]);
  }
}

// sum of e^(x - shift)
template <typename T>
double exp_sum_run(const kernel_table& kernels, const T* x, T shift, std::size_t n) {
  if constexpr (std::is_same_v<T, float>) {
    return static_cast<double>(kernels.exp_sum(x, shift, n));
  } else {
    double total = 0;
    for (std::size_t i = 0; i < n; ++i) {
      total += std::exp(static_cast<double>(x[i]) - static_cast<double>(shift));
    }
    return total;
  }
}

// Finite, so that a largest element of -infinity gives e^(-infinity) = 0 and not NaN.
template <typename T>
T finite_shift(T largest) {
  if constexpr (std::is_floating_point_v<T>) {
    return std::isinf(largest) ? T{0} : largest;
  } else {
    return largest;
  }
}

template <typename T>
T finish(reduction kind, T total, std::size_t count) {
  switch (kind) {
    case reduction::mean:
      if constexpr (std::is_integral_v<T>) {
        return count == 0 ? T{0} : static_cast<T>(total / static_cast<T>(count));
      } else {
        return total / static_cast<T>(count);
      }
    case reduction::l2:
      return saturate<T>(std::sqrt(static_cast<double>(total)));
    case reduction::log_sum:
      return saturate<T>(std::log(static_cast<double>(total)));
    default:
      return total;
  }
}

// y = op over the reduced axes, element by element of y, where the innermost axis is reduced.
template <typename T, typename Run, typename Join>
void reduce_inner(thread_pool& pool, const axes_plan& plan, const T* x, T* y, T start, Run run,
                  Join joined) {
  const bool runs = plan.inside_rank != 0;
  const std::size_t length = runs ? plan.inside[0].size : 1;
  const std::size_t repeats = runs && length != 0 ? plan.inside_count / length : 1;
  const std::span kept(plan.kept.data(), plan.kept_rank);
  const std::span outer(plan.inside.data() + (runs ? 1 : 0), runs ? plan.inside_rank - 1 : 0);
  pool.parallel_for(plan.kept_count, element_grain / (plan.inside_count + 1) + 1,
                    [&](std::size_t begin, std::size_t end) {
                      for (std::size_t k = begin; k < end; ++k) {
                        const T* const from = x + offset_of(kept, k);
                        T total = start;
                        for (std::size_t r = 0; r < repeats && plan.inside_count != 0; ++r) {
                          total = joined(total, run(k, from + offset_of(outer, r), length));
                        }
                        y[k] = total;
                      }
                    });
}

// As above where the innermost axis is kept: whole runs of y at a time.
template <typename T, typename Add>
void reduce_outer(thread_pool& pool, const axes_plan& plan, const T* x, T* y, T start, Add add) {
  // A run's pieces, so that one long run still makes work for several threads.
  constexpr std::size_t piece = 1024;
  const std::size_t length = plan.kept[0].size;
  if (length == 0) return;
  const std::size_t pieces = (length - 1) / piece + 1;
  const std::span outer(plan.kept.data() + 1, plan.kept_rank - 1);
  const std::span inside(plan.inside.data(), plan.inside_rank);
  const std::size_t rows = plan.kept_count / length;
  const std::size_t work = plan.inside_count * std::min(length, piece);
  pool.parallel_for(rows * pieces, element_grain / (work + 1) + 1,
                    [&](std::size_t begin, std::size_t end) {
                      for (std::size_t t = begin; t < end; ++t) {
                        const std::size_t first = t % pieces * piece;
                        const std::size_t n = std::min(piece, length - first);
                        const std::size_t to = t / pieces * length + first;
                        const T* const from = x + offset_of(outer, t / pieces) + first;
                        std::fill_n(y + to, n, start);
                        for (std::size_t r = 0; r < plan.inside_count; ++r) {
                          add(to, from + offset_of(inside, r), n);
                        }
                      }
                    });
}

template <typename T>
void reduce_core(const kernel_table& kernels, thread_pool& pool, const axes_plan& plan,
                 reduce_op op, const T* x, T* y) {
  const T start = neutral<T>(op);
  if (plan.inner_reduced) {
    reduce_inner(
        pool, plan, x, y, start,
        [&](std::size_t, const T* from, std::size_t n) { return reduce_run(kernels, op, from, n); },
        [&](T a, T b) { return join(op, a, b); });
  } else {
    reduce_outer(pool, plan, x, y, start, [&](std::size_t to, const T* from, std::size_t n) {
      accumulate_run(kernels, op, from, y + to, n);
    });
  }
}

// log(sum e^x) by way of the largest elements, which y holds and the results replace.
template <typename T>
void log_sum_exp(const kernel_table& kernels, thread_pool& pool, const axes_plan& plan, const T* x,
                 T* y) {
  const std::span kept(plan.kept.data(), plan.kept_rank);
  const std::span inside(plan.inside.data(), plan.inside_rank);
  const bool runs = plan.inner_reduced && plan.inside_rank != 0;
  const std::size_t length = runs ? plan.inside[0].size : 1;
  const std::span outer = runs ? inside.subspan(1) : inside;
  const std::size_t repeats = length == 0 ? 0 : plan.inside_count / length;
  pool.parallel_for(plan.kept_count, element_grain / (plan.inside_count + 1) + 1,
                    [&](std::size_t begin, std::size_t end) {
                      for (std::size_t k = begin; k < end; ++k) {
                        const T* const from = x + offset_of(kept, k);
                        const T shift = finite_shift(y[k]);
                        double total = 0;
                        for (std::size_t r = 0; r < repeats; ++r) {
                          const T* const run = from + offset_of(outer, r);
                          total += exp_sum_run(kernels, run, shift, length);
                        }
                        y[k] = saturate<T>(std::log(total) + static_cast<double>(shift));
                      }
                    });
}

}  // namespace

template <typename T>
void reduce(const kernel_table& kernels, thread_pool& pool, reduction kind, const T* x,
            std::span<const std::int64_t> shape, std::span<const bool> reduced, T* y) {
  const axes_plan plan(shape, reduced);
  if (plan.kept_count == 0) return;
  if (kind == reduction::log_sum_exp) {
    reduce_core(kernels, pool, plan, reduce_op::max, x, y);
    log_sum_exp(kernels, pool, plan, x, y);
    return;
  }
  reduce_core(kernels, pool, plan, core_of(kind), x, y);
  if (kind == reduction::mean || kind == reduction::l2 || kind == reduction::log_sum) {
    for (std::size_t i = 0; i < plan.kept_count; ++i) {
      y[i] = finish(kind, y[i], plan.inside_count);
    }
  }
}

#define MIZZEN_REDUCE(T)                                                          \
  template void reduce<T>(const kernel_table&, thread_pool&, reduction, const T*, \
                          std::span<const std::int64_t>, std::span<const bool>, T*);
MIZZEN_REDUCE(float)
MIZZEN_REDUCE(double)
MIZZEN_REDUCE(std::int32_t)
MIZZEN_REDUCE(std::int64_t)
#undef MIZZEN_REDUCE

}  // namespace mizzen::inference::detail::cpu
