#include "inference/cpu/kernels/gemm.hpp"

#include "inference/cpu/kernels/divide_up.hpp"

#include <algorithm>
#include <cstring>

namespace mizzen::inference::detail::cpu {
namespace {

constexpr std::size_t line = 16;  // floats in a cache line

// A block of the depth: rereading C costs more than a panel that spills out of L1.
constexpr std::size_t largest_depth = 768;
// Floats of a packed block of A: a quarter of a usual L2.
constexpr std::size_t a_block_floats = std::size_t{128} << 10;

std::size_t depth_block(std::size_t depth) {
  return depth <= largest_depth ? depth : divide_up(depth, divide_up(depth, largest_depth));
}

// Rows of a panel: as few panels as the tile allows, of equal height.
std::size_t balanced_rows(const kernel_table& kernels, std::size_t rows) {
  const auto most = static_cast<std::size_t>(kernels.tile_rows);
  return rows == 0 ? most : divide_up(rows, divide_up(rows, most));
}

// Width of the panel that begins at column n: whole vectors.
std::size_t panel_width(const kernel_table& kernels, std::size_t columns, std::size_t n) {
  return std::min(kernels.tile_columns(), round_up(columns - n, kernels.vector_size()));
}

std::size_t row_block(const kernel_table& kernels, std::size_t depth) {
  const auto tile = static_cast<std::size_t>(kernels.tile_rows);
  return std::max(tile, a_block_floats / std::max<std::size_t>(depth, 1) / tile * tile);
}

std::size_t a_scratch() { return a_block_floats + largest_depth * 16; }
std::size_t scratch_per_thread(const kernel_table& kernels) {
  return a_scratch() + round_up(largest_depth * kernels.tile_columns(), 16);
}

// How the index space of C is cut into tasks.
struct task_grid {
  std::size_t rows;     // of a task
  std::size_t columns;  // of a task
  std::size_t row_tasks;
  std::size_t column_tasks;
};

task_grid cut(const kernel_table& kernels, const gemm_problem& p, unsigned threads) {
  const std::size_t panel = balanced_rows(kernels, p.rows);
  const std::size_t width = kernels.tile_columns();
  task_grid grid{};
  // Rows in whole panels, so that tasks agree with the panels of a packed A.
  const std::size_t most_rows =
      std::max<std::size_t>(row_block(kernels, depth_block(p.depth)) / panel, 1) * panel;
  grid.rows = round_up(divide_up(p.rows, divide_up(p.rows, most_rows)), panel);
  grid.row_tasks = divide_up(p.rows, grid.rows);
  grid.columns = round_up(p.columns, width);
  if (threads > 1) {
    const std::size_t wanted = std::size_t{3} * threads;
    const std::size_t have = p.batch * grid.row_tasks;
    if (have < wanted) {
      const std::size_t pieces = divide_up(wanted, have);
      grid.columns = round_up(std::max(divide_up(p.columns, pieces), 2 * width), width);
    }
  }
  grid.column_tasks = divide_up(p.columns, grid.columns);
  return grid;
}

// pack_panel, with vectors where the lanes are few and each is contiguous.
void pack_lanes(const kernel_table& kernels, const float* src, std::ptrdiff_t lane,
                std::ptrdiff_t depth_stride, std::size_t count, std::size_t width,
                std::size_t depth, float* dst) {
  if (depth_stride == 1 && lane != 1 && width <= kernels.vector_size()) {
    kernels.pack_rows(src, lane, count, width, depth, dst, width);
  } else {
    pack_panel(src, lane, depth_stride, count, width, depth, dst);
  }
}

class task {
 public:
  task(const kernel_table& kernels, const gemm_problem& problem, const gemm_operands& operands,
       std::size_t index, float* scratch)
      : kernels_(kernels), p_(problem), o_(operands), index_(index), scratch_(scratch) {}

  // Computes C[row, row + rows) x [column, column + columns).
  void run(std::size_t row, std::size_t rows, std::size_t column, std::size_t columns) {
    row_ = row;
    rows_ = rows;
    first_column_ = column;
    panel_rows_ =
        o_.a_packed != nullptr ? o_.a_packed->panel_rows : balanced_rows(kernels_, p_.rows);
    const std::size_t end = column + columns;
    const std::size_t panels = divide_up(rows, panel_rows_);
    const std::size_t width = kernels_.tile_columns();
    // Packing a block of A pays off when several panels of B pass over it.
    const bool pack_a = o_.a_packed == nullptr && panels > 1 && columns > 2 * width;
    const bool b_in_place =
        o_.b_packed == nullptr && p_.pack_b == nullptr && o_.b.column == 1 && panels <= 2;

    const std::size_t block = std::max<std::size_t>(depth_block(p_.depth), 1);
    std::size_t k = 0;
    do {
      const std::size_t depth = std::min(block, p_.depth - k);
      gemm_tile tile;
      tile.depth = depth;
      tile.accumulate = k != 0;
      const bool last = k + depth == p_.depth;
      tile.clamp = last && p_.clamp;
      tile.low = p_.low;
      tile.high = p_.high;
      tile.c_row = o_.c_row;
      tile.c_vector = kernels_.lanes;
      tile.residual_row = o_.c_row;
      tile.residual_vector = kernels_.lanes;
      if (pack_a) pack_rows(k, depth);
      for (std::size_t n = column; n < end; n += width) {
        tile.columns = std::min(width, end - n);
        set_b(tile, n, k, b_in_place && tile.columns == width);
        tile.column_bias = last && o_.column_bias != nullptr ? o_.column_bias + n : nullptr;
        prefetch_b(tile, n, end, k, depth, block, panels);
        for (std::size_t r = row; r < row + rows; r += panel_rows_) {
          tile.rows = std::min(panel_rows_, row + rows - r);
          set_a(tile, r, k, pack_a);
          const std::ptrdiff_t at =
              static_cast<std::ptrdiff_t>(r) * o_.c_row + static_cast<std::ptrdiff_t>(n);
          tile.c = o_.c + at;
          tile.row_bias = last && o_.row_bias != nullptr ? o_.row_bias + r : nullptr;
          tile.residual = last && o_.residual != nullptr ? o_.residual + at : nullptr;
          kernels_.gemm(tile);
          if (tile.prefetch != nullptr) tile.prefetch += tile.prefetch_lines * line;
        }
      }
      k += depth;
    } while (k < p_.depth);

    if (p_.finish != nullptr) {
      for (std::size_t r = row; r < row + rows; ++r) {
        p_.finish(
            p_.context, index_, r, column,
            o_.c + static_cast<std::ptrdiff_t>(r) * o_.c_row + static_cast<std::ptrdiff_t>(column),
            columns);
      }
    }
  }

 private:
  void pack_rows(std::size_t k, std::size_t depth) {
    float* to = scratch_;
    for (std::size_t r = row_; r < row_ + rows_; r += panel_rows_) {
      pack_lanes(kernels_, a_at(r, k), o_.a.row, o_.a.column,
                 std::min(panel_rows_, row_ + rows_ - r), panel_rows_, depth, to);
      to += panel_rows_ * depth;
    }
  }

  // Packed weights come from memory, each once in a run: the panel after this one is on its way
  // while the rows pass over this one.
  void prefetch_b(gemm_tile& tile, std::size_t n, std::size_t end, std::size_t k, std::size_t depth,
                  std::size_t block, std::size_t panels) const {
    tile.prefetch = nullptr;
    tile.prefetch_lines = 0;
    if (o_.b_packed == nullptr || panels < 3) return;
    const std::size_t next = n + kernels_.tile_columns();
    if (next < end) {
      tile.prefetch = b_packed_at(next, k);
    } else if (k + depth < p_.depth) {
      tile.prefetch = b_packed_at(first_column_, k + depth);
    } else {
      return;
    }
    const std::size_t floats = std::min(depth, block) * kernels_.tile_columns();
    tile.prefetch_lines = divide_up(divide_up(floats, line), panels);
  }

  const float* b_packed_at(std::size_t n, std::size_t k) const {
    return o_.b_packed->data.data() + n * p_.depth + k * panel_width(kernels_, p_.columns, n);
  }

  const float* a_at(std::size_t r, std::size_t k) const {
    return o_.a.data + static_cast<std::ptrdiff_t>(r) * o_.a.row +
           static_cast<std::ptrdiff_t>(k) * o_.a.column;
  }

  void set_a(gemm_tile& tile, std::size_t r, std::size_t k, bool packed_here) const {
    if (packed_here || o_.a_packed != nullptr) {
      const std::size_t depth = packed_here ? tile.depth : p_.depth;
      const float* const base = packed_here ? scratch_ : o_.a_packed->data.data();
      const std::size_t first = packed_here ? (r - row_) : r;
      tile.a = base + first * depth + (packed_here ? 0 : k * panel_rows_);
      tile.a_row = 1;
      tile.a_depth = static_cast<std::ptrdiff_t>(panel_rows_);
    } else {
      tile.a = a_at(r, k);
      tile.a_row = o_.a.row;
      tile.a_depth = o_.a.column;
    }
  }

  void set_b(gemm_tile& tile, std::size_t n, std::size_t k, bool in_place) const {
    if (o_.b_packed != nullptr) {
      const std::size_t width = panel_width(kernels_, p_.columns, n);
      tile.b = b_packed_at(n, k);
      tile.b_depth = static_cast<std::ptrdiff_t>(width);
      return;
    }
    const float* const from = p_.pack_b != nullptr
                                  ? nullptr
                                  : o_.b.data + static_cast<std::ptrdiff_t>(k) * o_.b.row +
                                        static_cast<std::ptrdiff_t>(n) * o_.b.column;
    if (in_place) {
      tile.b = from;
      tile.b_depth = o_.b.row;
      return;
    }
    float* const to = scratch_ + a_scratch();
    const std::size_t width = round_up(tile.columns, kernels_.vector_size());
    if (p_.pack_b != nullptr) {
      p_.pack_b(p_.context, index_, k, tile.depth, n, tile.columns, width, to);
    } else {
      pack_panel(from, o_.b.column, o_.b.row, tile.columns, width, tile.depth, to);
    }
    tile.b = to;
    tile.b_depth = static_cast<std::ptrdiff_t>(width);
  }

  const kernel_table& kernels_;
  const gemm_problem& p_;
  const gemm_operands& o_;
  std::size_t index_;
  float* scratch_;
  std::size_t row_ = 0;
  std::size_t rows_ = 0;
  std::size_t panel_rows_ = 0;
  std::size_t first_column_ = 0;
};

}  // namespace

void pack_panel(const float* src, std::ptrdiff_t lane, std::ptrdiff_t depth_stride,
                std::size_t count, std::size_t width, std::size_t depth, float* dst) {
  if (lane == 1) {
    for (std::size_t d = 0; d < depth; ++d, src += depth_stride, dst += width) {
      std::memcpy(dst, src, count * sizeof(float));
      std::fill(dst + count, dst + width, 0.0F);
    }
    return;
  }
  // A few depths at a time, so that the lines written stay in L1 between lanes.
  constexpr std::size_t step = 16;
  for (std::size_t d = 0; d < depth; d += step) {
    const std::size_t end = std::min(depth, d + step);
    for (std::size_t l = 0; l < count; ++l) {
      const float* const from = src + static_cast<std::ptrdiff_t>(l) * lane;
      for (std::size_t i = d; i < end; ++i) {
        dst[i * width + l] = from[static_cast<std::ptrdiff_t>(i) * depth_stride];
      }
    }
    for (std::size_t i = d; i < end; ++i) {
      std::fill(dst + i * width + count, dst + (i + 1) * width, 0.0F);
    }
  }
}

packed_rows::packed_rows(const kernel_table& kernels, matrix_view a, std::size_t rows,
                         std::size_t k)
    : panel_rows(balanced_rows(kernels, rows)), depth(k), data(round_up(rows, panel_rows) * depth) {
  for (std::size_t r = 0; r < rows; r += panel_rows) {
    pack_lanes(kernels, a.data + static_cast<std::ptrdiff_t>(r) * a.row, a.row, a.column,
               std::min(panel_rows, rows - r), panel_rows, depth, data.data() + r * depth);
  }
}

packed_columns::packed_columns(const kernel_table& kernels, matrix_view b, std::size_t k,
                               std::size_t columns)
    : panel_columns(kernels.tile_columns()),
      depth(k),
      data(aligned_floats::uninitialised(round_up(columns, kernels.vector_size()) * depth)) {
  // By a few rows at a time, which are then read along.
  constexpr std::size_t step = 16;
  for (std::size_t d = 0; d < depth; d += step) {
    for (std::size_t n = 0; n < columns; n += panel_columns) {
      const std::size_t width = panel_width(kernels, columns, n);
      pack_panel(b.data + static_cast<std::ptrdiff_t>(n) * b.column +
                     static_cast<std::ptrdiff_t>(d) * b.row,
                 b.column, b.row, std::min(panel_columns, columns - n), width,
                 std::min(step, depth - d), data.data() + n * depth + d * width);
    }
  }
}

std::size_t gemm_scratch(const kernel_table& kernels, unsigned threads) {
  return scratch_per_thread(kernels) * threads;
}

void gemm(const kernel_table& kernels, thread_pool& pool, const gemm_problem& p, float* scratch) {
  if (p.batch == 0 || p.rows == 0 || p.columns == 0) return;
  const task_grid grid = cut(kernels, p, pool.size());
  const std::size_t per_product = grid.row_tasks * grid.column_tasks;
  // Tasks too small to be worth waking a thread for are handed out several at a time.
  const std::size_t work = grid.rows * std::min(grid.columns, p.columns) * (p.depth + 16);
  const std::size_t grain = std::max<std::size_t>(1, (std::size_t{256} << 10) / (work + 1));
  pool.parallel_for(p.batch * per_product, grain,
                    [&](std::size_t begin, std::size_t end, unsigned slot) {
                      float* const mine = scratch + slot * scratch_per_thread(kernels);
                      for (std::size_t t = begin; t < end; ++t) {
                        const std::size_t i = t / per_product;
                        const std::size_t row = t % per_product / grid.column_tasks * grid.rows;
                        const std::size_t column = t % grid.column_tasks * grid.columns;
                        const gemm_operands operands = p.operands(p.context, i);
                        task(kernels, p, operands, i, mine)
                            .run(row, std::min(grid.rows, p.rows - row), column,
                                 std::min(grid.columns, p.columns - column));
                      }
                    });
}

}  // namespace mizzen::inference::detail::cpu
