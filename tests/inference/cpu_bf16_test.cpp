#include "cpu_test.hpp"
#include "inference/cpu/kernels/bf16_gemm.hpp"
#include "inference/cpu/kernels/elements.hpp"

#include <cstddef>
#include <cstring>
#include <memory>
#include <vector>

namespace mizzen::inference::detail::cpu {
namespace {

// Every table with products that this processor can run, and AMX's over emulated tiles.
std::vector<const half_table*> tables_with_products() {
  std::vector<const half_table*> tables{&emulated_amx()};
  for (const half_table* t : half_tables()) {
    if (t->multiply != nullptr) tables.push_back(t);
  }
  return tables;
}

class bf16_products : public ::testing::TestWithParam<const half_table*> {
 protected:
  thread_pool& pool() { return pool_; }

 private:
  thread_pool pool_{3};
};

INSTANTIATE_TEST_SUITE_P(cpu, bf16_products, ::testing::ValuesIn(tables_with_products()),
                         [](const auto& of) { return std::string(of.param->name); });

double rounded(float v) { return static_cast<double>(to_float(to_bfloat16(v))); }

struct product_case {
  std::size_t rows, columns, depth;
  bool epilogue = false;
  bool transposed = false;
};

void check(const half_table& table, thread_pool& pool, const product_case& size) {
  const auto [rows, columns, depth, epilogue, transposed] = size;
  const std::string what = std::string(table.name) + " " + std::to_string(rows) + "x" +
                           std::to_string(columns) + "x" + std::to_string(depth);
  const std::vector<float> values = random_floats(rows * depth, 1);
  const std::vector<float> b = random_floats(depth * columns, 2);
  const std::vector<float> bias = random_floats(columns, 3);
  const std::vector<float> residual = random_floats(rows * columns, 4);
  // Of exactly its size, so that a sanitizer sees what is read beyond.
  const auto a = std::make_unique<float[]>(values.size());
  std::copy(values.begin(), values.end(), a.get());
  const matrix_view view = transposed
                               ? matrix_view{b.data(), 1, static_cast<std::ptrdiff_t>(depth)}
                               : matrix_view{b.data(), static_cast<std::ptrdiff_t>(columns), 1};
  const bf16_weights weights(table, view, depth, columns);

  std::vector<float> c(rows * columns + 1, -77.0F);
  bf16_problem p;
  p.rows = rows;
  p.a = a.get();
  p.c = c.data();
  if (epilogue) {
    p.bias = bias.data();
    p.residual = residual.data();
    p.finish = [](const void*, std::size_t, std::size_t, float* x, std::size_t n) {
      for (std::size_t i = 0; i < n; ++i) x[i] += 100.0F;
    };
  }
  const std::size_t bytes = bf16_scratch(weights, rows);
  const auto scratch = std::make_unique<std::byte[]>(bytes);
  std::memset(scratch.get(), 0xFF, bytes);  // NaNs
  multiply_bf16(pool, weights, p, scratch.get());

  std::vector<double> want(c.size(), -77.0);
  for (std::size_t r = 0; r < rows; ++r) {
    for (std::size_t n = 0; n < columns; ++n) {
      double sum = 0;
      for (std::size_t k = 0; k < depth; ++k) {
        sum += rounded(a[r * depth + k]) * rounded(b[transposed ? n * depth + k : k * columns + n]);
      }
      if (epilogue) {
        sum += static_cast<double>(bias[n]) + static_cast<double>(residual[r * columns + n]) + 100;
      }
      want[r * columns + n] = sum;
    }
  }
  // Of what is summed, of either sign, in floats.
  const double tolerance = 1e-6 * std::sqrt(static_cast<double>(depth) + 1) + (epilogue ? 1e-5 : 0);
  expect_close(c, want, tolerance, what);
}

TEST_P(bf16_products, every_edge_of_a_tile) {
  for (std::size_t rows = 1; rows <= 33; ++rows) {
    for (const std::size_t columns : {1, 15, 16, 17, 31, 32, 33, 70}) {
      for (const std::size_t depth : {1, 2, 31, 32, 33, 65}) {
        check(*GetParam(), pool(), {rows, columns, depth});
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST_P(bf16_products, bias_residual_and_what_follows) {
  for (const bool transposed : {false, true}) {
    check(*GetParam(), pool(), {37, 300, 50, true, transposed});
    check(*GetParam(), pool(), {1, 40, 129, true, transposed});
    check(*GetParam(), pool(), {5, 17, 3, true, transposed});
  }
}

TEST_P(bf16_products, blocks_of_rows) {
  check(*GetParam(), pool(), {300, 48, 40, true});
  check(*GetParam(), pool(), {70, 33, 3000, true});
}

TEST_P(bf16_products, nothing_to_do) {
  check(*GetParam(), pool(), {0, 8, 8});
  check(*GetParam(), pool(), {4, 8, 0});
}

}  // namespace
}  // namespace mizzen::inference::detail::cpu
