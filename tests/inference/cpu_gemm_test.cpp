#include "cpu_test.hpp"
#include "inference/cpu/kernels/gemm.hpp"

#include <cstddef>
#include <vector>

namespace mizzen::inference::detail::cpu {
namespace {

MIZZEN_EVERY_ISA(gemm_kernels);

enum class pack { none, left, right, both };

struct product_case {
  std::size_t batch, rows, columns, depth;
  bool transpose_a, transpose_b;
  pack packed;
  bool epilogue;
};

struct product {
  product_case size;
  std::vector<float> a, b, c, column_bias, row_bias, residual;
  std::vector<packed_rows> a_packed;
  std::vector<packed_columns> b_packed;

  matrix_view left(std::size_t i) const {
    const float* const data = a.data() + i * size.rows * size.depth;
    if (size.transpose_a) return {data, 1, static_cast<std::ptrdiff_t>(size.rows)};
    return {data, static_cast<std::ptrdiff_t>(size.depth), 1};
  }
  matrix_view right(std::size_t i) const {
    const float* const data = b.data() + i * size.columns * size.depth;
    if (size.transpose_b) return {data, 1, static_cast<std::ptrdiff_t>(size.depth)};
    return {data, static_cast<std::ptrdiff_t>(size.columns), 1};
  }
};

float at(const matrix_view& m, std::size_t r, std::size_t c) {
  return m.data[static_cast<std::ptrdiff_t>(r) * m.row + static_cast<std::ptrdiff_t>(c) * m.column];
}

gemm_operands operands_of(const void* context, std::size_t i) {
  auto& p = *const_cast<product*>(static_cast<const product*>(context));
  gemm_operands o;
  if (p.a_packed.empty()) {
    o.a = p.left(i);
  } else {
    o.a_packed = &p.a_packed[i];
  }
  if (p.b_packed.empty()) {
    o.b = p.right(i);
  } else {
    o.b_packed = &p.b_packed[i];
  }
  o.c = p.c.data() + i * p.size.rows * p.size.columns;
  o.c_row = static_cast<std::ptrdiff_t>(p.size.columns);
  if (p.size.epilogue) {
    o.column_bias = p.column_bias.data();
    o.row_bias = p.row_bias.data();
    o.residual = p.residual.data() + i * p.size.rows * p.size.columns;
  }
  return o;
}

void check(const kernel_table& kernels, thread_pool& pool, const product_case& size) {
  product p{size, {}, {}, {}, {}, {}, {}, {}, {}};
  const std::size_t outputs = size.batch * size.rows * size.columns;
  p.a = random_floats(size.batch * size.rows * size.depth, 1);
  p.b = random_floats(size.batch * size.columns * size.depth, 2);
  p.c.assign(outputs + 1, -77.0F);
  p.column_bias = random_floats(size.columns, 3);
  p.row_bias = random_floats(size.rows, 4);
  p.residual = random_floats(outputs, 5);
  for (std::size_t i = 0; i < size.batch; ++i) {
    if (size.packed == pack::left || size.packed == pack::both) {
      p.a_packed.emplace_back(kernels, p.left(i), size.rows, size.depth);
    }
    if (size.packed == pack::right || size.packed == pack::both) {
      p.b_packed.emplace_back(kernels, p.right(i), size.depth, size.columns);
    }
  }
  gemm_problem problem;
  problem.batch = size.batch;
  problem.rows = size.rows;
  problem.columns = size.columns;
  problem.depth = size.depth;
  problem.clamp = size.epilogue;
  problem.low = -0.5F;
  problem.high = 2.5F;
  problem.context = &p;
  problem.operands = operands_of;
  if (size.epilogue) {
    problem.finish = [](const void*, std::size_t, std::size_t, std::size_t, float* c,
                        std::size_t n) {
      for (std::size_t i = 0; i < n; ++i) c[i] += 100.0F;
    };
  }
  std::vector<float> scratch(gemm_scratch(kernels, pool.size()));
  gemm(kernels, pool, problem, scratch.data());

  std::vector<double> want(outputs);
  for (std::size_t i = 0; i < size.batch; ++i) {
    for (std::size_t r = 0; r < size.rows; ++r) {
      for (std::size_t c = 0; c < size.columns; ++c) {
        double sum = 0;
        for (std::size_t k = 0; k < size.depth; ++k) {
          sum +=
              static_cast<double>(at(p.left(i), r, k)) * static_cast<double>(at(p.right(i), k, c));
        }
        const std::size_t o = (i * size.rows + r) * size.columns + c;
        if (size.epilogue) {
          sum += static_cast<double>(p.column_bias[c]) + static_cast<double>(p.row_bias[r]) +
                 static_cast<double>(p.residual[o]);
          sum = std::clamp(sum, -0.5, 2.5) + 100;
        }
        want[o] = sum;
      }
    }
  }
  EXPECT_EQ(p.c.back(), -77.0F) << "wrote beyond C";
  p.c.pop_back();
  expect_close(p.c, want, 1e-5 * std::sqrt(static_cast<double>(size.depth) + 1),
               std::to_string(size.rows) + "x" + std::to_string(size.columns) + "x" +
                   std::to_string(size.depth));
}

TEST_P(gemm_kernels, small_sizes_and_all_tails) {
  for (std::size_t rows = 1; rows <= 17; ++rows) {
    for (const std::size_t columns : {1U, 3U, 4U, 7U, 8U, 15U, 16U, 17U, 31U, 32U, 33U, 70U}) {
      check(kernels(), pool(), {1, rows, columns, 5, false, false, pack::none, true});
      check(kernels(), pool(), {1, rows, columns, 9, false, false, pack::both, true});
    }
  }
}

TEST_P(gemm_kernels, transposed_and_packed_operands) {
  for (const bool transpose_a : {false, true}) {
    for (const bool transpose_b : {false, true}) {
      for (const pack packed : {pack::none, pack::left, pack::right, pack::both}) {
        check(kernels(), pool(), {2, 37, 101, 29, transpose_a, transpose_b, packed, true});
        check(kernels(), pool(), {3, 2, 5, 7, transpose_a, transpose_b, packed, false});
      }
    }
  }
}

TEST_P(gemm_kernels, several_blocks_of_depth_rows_and_columns) {
  for (const pack packed : {pack::none, pack::both}) {
    check(kernels(), pool(), {1, 200, 130, 600, false, true, packed, true});
    check(kernels(), pool(), {1, 15, 40, 1200, true, false, packed, true});
    check(kernels(), pool(), {1, 190, 70, 1700, false, false, packed, true});
    check(kernels(), pool(), {1, 1, 300, 1030, false, false, packed, true});
    check(kernels(), pool(), {1, 400, 1, 513, false, false, packed, true});
  }
}

TEST_P(gemm_kernels, empty_dimensions) {
  check(kernels(), pool(), {1, 3, 20, 0, false, false, pack::none, true});
  check(kernels(), pool(), {1, 3, 20, 0, false, false, pack::both, false});
  check(kernels(), pool(), {0, 3, 20, 4, false, false, pack::none, false});
  check(kernels(), pool(), {2, 0, 20, 4, false, false, pack::none, false});
  check(kernels(), pool(), {2, 3, 0, 4, false, false, pack::none, false});
}

// Elements of A and vectors of C's columns may lie apart.
TEST_P(gemm_kernels, tile_takes_any_strides) {
  const auto lanes = kernels().vector_size();
  const std::size_t columns = kernels().tile_columns();
  const std::vector<float> a = random_floats(1000, 1);
  const std::vector<float> b = random_floats(9 * columns, 2);
  for (std::size_t rows = 1; rows <= static_cast<std::size_t>(kernels().tile_rows); ++rows) {
    for (const std::size_t depth : {0U, 1U, 3U, 9U}) {
      const std::ptrdiff_t plane = static_cast<std::ptrdiff_t>(rows * lanes) + 5;
      std::vector<float> c(2 * static_cast<std::size_t>(plane), -77.0F);
      gemm_tile t;
      t.rows = rows;
      t.columns = columns;
      t.depth = depth;
      t.a = a.data();
      t.a_row = 60;
      t.a_depth = 2;
      t.b = b.data();
      t.b_depth = static_cast<std::ptrdiff_t>(columns);
      t.c = c.data();
      t.c_row = static_cast<std::ptrdiff_t>(lanes);
      t.c_vector = plane;
      kernels().gemm(t);
      std::vector<double> want(c.size(), -77.0);
      for (std::size_t r = 0; r < rows; ++r) {
        for (std::size_t n = 0; n < columns; ++n) {
          double sum = 0;
          for (std::size_t k = 0; k < depth; ++k) {
            sum += static_cast<double>(a[r * 60 + k * 2]) * static_cast<double>(b[k * columns + n]);
          }
          want[n / lanes * static_cast<std::size_t>(plane) + r * lanes + n % lanes] = sum;
        }
      }
      expect_close(c, want, 1e-5);
    }
  }
}

TEST_P(gemm_kernels, nan_and_infinity_stay_in_their_row) {
  product p{{1, 16, 40, 20, false, false, pack::none, false}, {}, {}, {}, {}, {}, {}, {}, {}};
  p.a = random_floats(16 * 20, 1, 0.5F, 1);
  p.b = random_floats(20 * 40, 2, 0.5F, 1);
  p.c.assign(16 * 40, 0.0F);
  p.a[3 * 20 + 19] = nan;
  p.a[7 * 20] = inf;
  gemm_problem problem;
  problem.rows = 16;
  problem.columns = 40;
  problem.depth = 20;
  problem.clamp = true;  // relu keeps NaN
  problem.low = 0;
  problem.high = inf;
  problem.context = &p;
  problem.operands = operands_of;
  std::vector<float> scratch(gemm_scratch(kernels(), pool().size()));
  gemm(kernels(), pool(), problem, scratch.data());
  for (std::size_t r = 0; r < 16; ++r) {
    for (std::size_t c = 0; c < 40; ++c) {
      const float x = p.c[r * 40 + c];
      EXPECT_EQ(std::isnan(x), r == 3);
      EXPECT_EQ(std::isinf(x), r == 7);
    }
  }
}

}  // namespace
}  // namespace mizzen::inference::detail::cpu
