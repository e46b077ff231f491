#include "inference/cpu/kernels/int8_gemm.hpp"

#include "inference/cpu/kernels/divide_up.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace mizzen::inference::detail::cpu {
namespace {

// Rows that a panel of B passes over at once.
constexpr std::size_t block_rows = 140;
// Columns of a task at most, so that a finished block is still in cache.
constexpr std::size_t block_columns = 256;

}  // namespace

byte_range range_of(const kernel_table& kernels, const float* x, std::size_t n) noexcept {
  float low = 0;
  float high = 0;
  if (n != 0) {
    low = std::min(low, kernels.reduce(reduce_op::min, x, n));
    high = std::max(high, kernels.reduce(reduce_op::max, x, n));
  }
  byte_range range;
  range.scale = (high == low ? 1.0F : high - low) / 255.0F;
  range.zero = std::nearbyint(std::clamp(-low / range.scale, 0.0F, 255.0F));
  return range;
}

int8_weights::int8_weights(const int8_table& table, const std::int8_t* b, std::size_t depth,
                           std::size_t columns, const std::vector<float>& scales,
                           const std::vector<std::int32_t>& zeros)
    : table_(&table), depth_(depth), columns_(columns) {
  const std::size_t width = table.tile_columns;
  const std::size_t padded = round_up(columns, width);
  data_.assign(padded * quads() * 4, 0);
  scales_.assign(padded, 0.0F);
  sums_.assign(padded, 0);
  const bool any_zero =
      std::any_of(zeros.begin(), zeros.end(), [](std::int32_t z) { return z != 0; });
  if (any_zero) zeros_.assign(padded, 0);
  for (std::size_t n = 0; n < columns; ++n) {
    scales_[n] = scales.size() == 1 ? scales[0] : scales[n];
    const std::int32_t zero = !any_zero ? 0 : zeros.size() == 1 ? zeros[0] : zeros[n];
    if (any_zero) zeros_[n] = zero;
    // Wraps around as the sums do.
    sums_[n] = static_cast<std::int32_t>(0U - static_cast<std::uint32_t>(zero) *
                                                  static_cast<std::uint32_t>(depth));
  }
  for (std::size_t first = 0; first < columns; first += width) {
    const std::size_t count = std::min(width, columns - first);
    std::int8_t* const panel = data_.data() + first * quads() * 4;
    for (std::size_t k = 0; k < depth; ++k) {
      const std::int8_t* const row = b + k * columns + first;
      std::int8_t* const to = panel + k / 4 * width * 4 + k % 4;
      for (std::size_t n = 0; n < count; ++n) {
        to[n * 4] = row[n];
        sums_[first + n] += row[n];
      }
    }
  }
}

// One run of a product.
class int8_product {
 public:
  int8_product(const int8_weights& w, const int8_problem& p, std::byte* scratch)
      : w_(w), p_(p), row_sums_(reinterpret_cast<std::int32_t*>(scratch)) {
    a_ = reinterpret_cast<std::uint8_t*>(scratch + round_up(p.rows * sizeof(std::int32_t), 64));
  }

  static std::size_t scratch(const int8_weights& w, std::size_t rows) noexcept {
    return round_up(rows * sizeof(std::int32_t), 64) + round_up(rows * w.quads() * 4, 64);
  }

  void quantise(const kernel_table& kernels, thread_pool& pool) {
    range_ = range_of(kernels, p_.a, p_.rows * w_.depth_);
    const std::size_t row = w_.quads() * 4;
    pool.parallel_for(
        p_.rows, 1 + (std::size_t{16} << 10) / (row + 1), [&](std::size_t begin, std::size_t end) {
          for (std::size_t r = begin; r < end; ++r) {
            std::uint8_t* const to = a_ + r * row;
            row_sums_[r] =
                w_.table_->quantise(p_.a + r * w_.depth_, w_.depth_, range_.scale, range_.zero, to);
            std::fill(to + w_.depth_, to + row, std::uint8_t{0});
          }
        });
  }

  // Of bytes that are there already: into whole fours, as uint8.
  void take(thread_pool& pool, const integer_problem& integers) {
    sums_ = integers.y;
    range_.zero = static_cast<float>(integers.a_zero + (integers.is_signed ? 128 : 0));
    const std::size_t row = w_.quads() * 4;
    pool.parallel_for(p_.rows, 1 + (std::size_t{16} << 10) / (row + 1),
                      [&](std::size_t begin, std::size_t end) {
                        for (std::size_t r = begin; r < end; ++r) {
                          std::uint8_t* const to = a_ + r * row;
                          const std::uint8_t* const from = integers.a + r * w_.depth_;
                          if (integers.is_signed) {
                            w_.table_->flip(from, w_.depth_, to);
                          } else {
                            std::copy(from, from + w_.depth_, to);
                          }
                          std::fill(to + w_.depth_, to + row, std::uint8_t{0});
                          row_sums_[r] = std::accumulate(to, to + w_.depth_, std::int32_t{0});
                        }
                      });
  }

  void run(thread_pool& pool) const {
    const std::size_t panel = w_.table_->tile_columns;
    const std::size_t columns = std::max(block_columns / panel, std::size_t{1}) * panel;
    const std::size_t across = divide_up(w_.columns_, columns);
    const std::size_t down = divide_up(p_.rows, block_rows);
    pool.parallel_for(across * down, 1, [&](std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end; ++i) {
        const std::size_t row = i / across * block_rows;
        const std::size_t column = i % across * columns;
        block(row, std::min(block_rows, p_.rows - row), column,
              std::min(columns, w_.columns_ - column));
      }
    });
  }

 private:
  void block(std::size_t row, std::size_t rows, std::size_t column, std::size_t columns) const {
    const std::size_t panel = w_.table_->tile_columns;
    const std::size_t most = w_.table_->tile_rows;
    const std::size_t tile_rows = divide_up(rows, divide_up(rows, most));
    int8_tile t;
    t.quads = w_.quads();
    t.a_row = w_.quads() * 4;
    t.a_zero = static_cast<std::int32_t>(range_.zero);
    t.a_scale = range_.scale;
    t.c_row = w_.columns_;
    for (std::size_t n = column; n < column + columns; n += panel) {
      t.columns = std::min(panel, column + columns - n);
      t.b = w_.data_.data() + n * w_.quads() * 4;
      t.b_scale = w_.scales_.data() + n;
      t.b_sums = w_.sums_.data() + n;
      t.b_zero = w_.zeros_.empty() ? nullptr : w_.zeros_.data() + n;
      t.bias = p_.bias == nullptr ? nullptr : p_.bias + n;
      for (std::size_t r = row; r < row + rows; r += tile_rows) {
        t.rows = std::min(tile_rows, row + rows - r);
        t.a = a_ + r * t.a_row;
        t.row_sums = row_sums_ + r;
        if (sums_ != nullptr) {
          t.sums = sums_ + r * t.c_row + n;
        } else {
          t.c = p_.c + r * t.c_row + n;
        }
        t.residual = p_.residual == nullptr ? nullptr : p_.residual + r * t.c_row + n;
        w_.table_->tile(t);
      }
    }
    if (p_.finish == nullptr) return;
    for (std::size_t r = row; r < row + rows; ++r) {
      p_.finish(p_.context, r, column, p_.c + r * w_.columns_ + column, columns);
    }
  }

  const int8_weights& w_;
  const int8_problem& p_;
  std::int32_t* row_sums_;
  std::uint8_t* a_;
  byte_range range_;
  std::int32_t* sums_ = nullptr;
};

std::size_t int8_scratch(const int8_weights& weights, std::size_t rows) noexcept {
  return int8_product::scratch(weights, rows);
}

void multiply_int8(const kernel_table& kernels, thread_pool& pool, const int8_weights& weights,
                   const int8_problem& problem, std::byte* scratch) {
  if (problem.rows == 0 || weights.columns() == 0) return;
  int8_product product(weights, problem, scratch);
  product.quantise(kernels, pool);
  product.run(pool);
}

void multiply_integers(thread_pool& pool, const int8_weights& weights,
                       const integer_problem& problem, std::byte* scratch) {
  if (problem.rows == 0 || weights.columns() == 0) return;
  int8_problem p;
  p.rows = problem.rows;
  int8_product product(weights, p, scratch);
  product.take(pool, problem);
  product.run(pool);
}

}  // namespace mizzen::inference::detail::cpu
