#include "inference/cpu/kernels/pool.hpp"

#include "inference/cpu/kernels/broadcast.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace mizzen::inference::detail::cpu {
namespace {

// Folds every window of one output row into `row`, one tap of the kernel at a time.
void fold_row(const kernel_table& kernels, reduce_op op, const window_2d& w, std::size_t oh,
              const float* plane, float* row) {
  for (std::size_t kh = 0; kh < w.height.kernel; ++kh) {
    const std::ptrdiff_t ih = w.height.input(oh, kh);
    if (!w.height.inside(ih)) continue;
    const float* const line = plane + static_cast<std::size_t>(ih) * w.width.in;
    for (std::size_t kw = 0; kw < w.width.kernel; ++kw) {
      const auto [first, last] = w.width.outputs_inside(kw);
      if (first == last) continue;
      const float* const from = line + w.width.input(first, kw);
      if (w.width.stride == 1) {
        kernels.accumulate(op, from, row + first, last - first);
        continue;
      }
      for (std::size_t i = 0; i < last - first; ++i) {
        const float x = from[i * w.width.stride];
        float& total = row[first + i];
        if (op == reduce_op::sum) {
          total += x;
        } else {
          total = total > x || std::isnan(total) ? total : x;
        }
      }
    }
  }
}

std::size_t planes_worth_a_thread(const window_2d& w) {
  return element_grain / (w.out_size() * w.taps() + 1) + 1;
}

void find_maximum(const window_2d& w, const float* plane, std::size_t oh, std::size_t ow,
                  float& largest, std::size_t& at_h, std::size_t& at_w) {
  bool found = false;
  for (std::size_t kh = 0; kh < w.height.kernel; ++kh) {
    const std::ptrdiff_t ih = w.height.input(oh, kh);
    if (!w.height.inside(ih)) continue;
    for (std::size_t kw = 0; kw < w.width.kernel; ++kw) {
      const std::ptrdiff_t iw = w.width.input(ow, kw);
      if (!w.width.inside(iw)) continue;
      const auto h = static_cast<std::size_t>(ih);
      const auto c = static_cast<std::size_t>(iw);
      const float x = plane[h * w.width.in + c];
      if (!found || x > largest || (std::isnan(x) && !std::isnan(largest))) {
        found = true;
        largest = x;
        at_h = h;
        at_w = c;
      }
    }
  }
}

}  // namespace

void max_pool(const kernel_table& kernels, thread_pool& pool, const window_2d& w,
              std::size_t planes, const float* x, float* y, std::int64_t* indices,
              bool column_major) {
  pool.parallel_for(planes, planes_worth_a_thread(w), [&](std::size_t begin, std::size_t end) {
    for (std::size_t p = begin; p < end; ++p) {
      const float* const plane = x + p * w.in_size();
      for (std::size_t oh = 0; oh < w.height.out; ++oh) {
        const std::size_t at = p * w.out_size() + oh * w.width.out;
        std::fill_n(y + at, w.width.out, -std::numeric_limits<float>::infinity());
        if (indices == nullptr) {
          fold_row(kernels, reduce_op::max, w, oh, plane, y + at);
          continue;
        }
        for (std::size_t ow = 0; ow < w.width.out; ++ow) {
          std::size_t h = 0;
          std::size_t c = 0;
          find_maximum(w, plane, oh, ow, y[at + ow], h, c);
          const std::size_t inside = column_major ? c * w.height.in + h : h * w.width.in + c;
          indices[at + ow] = static_cast<std::int64_t>(p * w.in_size() + inside);
        }
      }
    }
  });
}

void average_pool(const kernel_table& kernels, thread_pool& pool, const window_2d& w,
                  std::size_t planes, const float* x, float* y, bool count_padding) {
  pool.parallel_for(planes, planes_worth_a_thread(w), [&](std::size_t begin, std::size_t end) {
    for (std::size_t p = begin; p < end; ++p) {
      const float* const plane = x + p * w.in_size();
      for (std::size_t oh = 0; oh < w.height.out; ++oh) {
        float* const row = y + p * w.out_size() + oh * w.width.out;
        std::fill_n(row, w.width.out, 0.0F);
        fold_row(kernels, reduce_op::sum, w, oh, plane, row);
        const std::size_t high = w.height.taps_counted(oh, count_padding);
        for (std::size_t ow = 0; ow < w.width.out; ++ow) {
          row[ow] /= static_cast<float>(high * w.width.taps_counted(ow, count_padding));
        }
      }
    }
  });
}

}  // namespace mizzen::inference::detail::cpu
