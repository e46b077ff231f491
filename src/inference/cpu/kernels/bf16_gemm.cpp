#include "inference/cpu/kernels/bf16_gemm.hpp"

#include "inference/cpu/kernels/divide_up.hpp"

#include <algorithm>

namespace mizzen::inference::detail::cpu {
namespace {

// Bytes of the rows that a panel of B passes over at once: they stay in a usual L2.
constexpr std::size_t block_bytes = std::size_t{384} << 10;
// Columns of a task at most, so that a finished block is still in cache.
constexpr std::size_t block_columns = 256;

}  // namespace

std::size_t bf16_weights::padded_depth() const noexcept {
  return round_up(depth_, table_->depth_step);
}

bf16_weights::bf16_weights(const half_table& table, matrix_view b, std::size_t depth,
                           std::size_t columns)
    : table_(&table),
      depth_(depth),
      columns_(columns),
      data_(round_up(columns, bf16_columns) * padded_depth() / 2) {
  auto* const all = reinterpret_cast<bfloat16*>(data_.data());
  // By a few rows at a time, which are then read along, and rounded a run at a time.
  constexpr std::size_t step = 16;
  for (std::size_t k = 0; k < depth; k += step) {
    const std::size_t end = std::min(depth, k + step);
    for (std::size_t n = 0; n < columns; n += bf16_columns) {
      const std::size_t width = std::min(bf16_columns, columns - n);
      for (std::size_t d = k; d < end; ++d) {
        float line[bf16_columns];
        bfloat16 rounded[bf16_columns];
        const float* const from = b.data + static_cast<std::ptrdiff_t>(d) * b.row +
                                  static_cast<std::ptrdiff_t>(n) * b.column;
        for (std::size_t i = 0; i < width; ++i)
          line[i] = from[static_cast<std::ptrdiff_t>(i) * b.column];
        table.to_bfloat16(line, width, rounded);
        bfloat16* const to = all + n * padded_depth() + d / 2 * bf16_columns * 2 + d % 2;
        for (std::size_t i = 0; i < width; ++i) to[2 * i] = rounded[i];
      }
    }
  }
}

namespace {

// One run of a product.
class bf16_product {
 public:
  bf16_product(const bf16_weights& w, const bf16_problem& p, std::byte* scratch)
      : w_(w), p_(p), row_(w.padded_depth()), a_(reinterpret_cast<bfloat16*>(scratch)) {}

  void round(thread_pool& pool) {
    pool.parallel_for(p_.rows, 1 + (std::size_t{16} << 10) / (row_ + 1),
                      [&](std::size_t begin, std::size_t end) {
                        for (std::size_t r = begin; r < end; ++r) {
                          bfloat16* const to = a_ + r * row_;
                          w_.table().to_bfloat16(p_.a + r * w_.depth(), w_.depth(), to);
                          std::fill(to + w_.depth(), to + row_, bfloat16{});
                        }
                      });
  }

  void run(thread_pool& pool) const {
    const std::size_t most = w_.table().tile_rows;
    const std::size_t fit = std::max<std::size_t>(
        block_bytes / sizeof(bfloat16) / std::max<std::size_t>(row_, 1) / most, 1);
    const std::size_t rows = std::min(fit, std::size_t{16}) * most;
    const std::size_t across = divide_up(w_.columns(), block_columns);
    const std::size_t down = divide_up(p_.rows, rows);
    pool.parallel_for(across * down, 1, [&](std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end; ++i) {
        const std::size_t row = i / across * rows;
        const std::size_t column = i % across * block_columns;
        block(row, std::min(rows, p_.rows - row), column,
              std::min(block_columns, w_.columns() - column));
      }
    });
  }

 private:
  void block(std::size_t row, std::size_t rows, std::size_t column, std::size_t columns) const {
    const std::size_t most = w_.table().tile_rows;
    const std::size_t tile_rows = divide_up(rows, divide_up(rows, most));
    bf16_tile t;
    t.depth = row_;
    t.a_row = row_;
    t.c_row = w_.columns();
    for (std::size_t n = column; n < column + columns; n += bf16_columns) {
      t.columns = std::min(bf16_columns, column + columns - n);
      t.b = w_.panel(n);
      t.bias = p_.bias == nullptr ? nullptr : p_.bias + n;
      for (std::size_t r = row; r < row + rows; r += tile_rows) {
        t.rows = std::min(tile_rows, row + rows - r);
        t.a = a_ + r * row_;
        t.c = p_.c + r * t.c_row + n;
        t.residual = p_.residual == nullptr ? nullptr : p_.residual + r * t.c_row + n;
        w_.table().multiply(t);
      }
    }
    if (p_.finish == nullptr) return;
    for (std::size_t r = row; r < row + rows; ++r) {
      p_.finish(p_.context, r, column, p_.c + r * w_.columns() + column, columns);
    }
  }

  const bf16_weights& w_;
  const bf16_problem& p_;
  std::size_t row_;  // of A, rounded
  bfloat16* a_;
};

}  // namespace

std::size_t bf16_scratch(const bf16_weights& weights, std::size_t rows) noexcept {
  return rows * weights.padded_depth() * sizeof(bfloat16);
}

void multiply_bf16(thread_pool& pool, const bf16_weights& weights, const bf16_problem& problem,
                   std::byte* scratch) {
  if (problem.rows == 0 || weights.columns() == 0) return;
  bf16_product product(weights, problem, scratch);
  product.round(pool);
  product.run(pool);
}

}  // namespace mizzen::inference::detail::cpu
