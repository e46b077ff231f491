#include "cpu_test.hpp"
#include "inference/cpu/kernels/attention.hpp"

#include <cstddef>
#include <vector>

namespace mizzen::inference::detail::cpu {
namespace {

MIZZEN_EVERY_ISA(attention_kernels);

enum class mask_kind { none, keys, rows, queries, full };

struct attention_case {
  std::size_t batch, heads, queries, keys, depth, width;
  mask_kind mask = mask_kind::none;
};

// Rows of Q, K and V lie side by side, as one projection makes them.
void check(const kernel_table& kernels, thread_pool& pool, const attention_case& c) {
  const std::size_t most = std::max(c.queries, c.keys);
  const std::size_t columns = c.heads * (2 * c.depth + c.width);
  const std::vector<float> rows = random_floats(c.batch * most * columns, 1, -2, 2);
  const std::size_t mask_rows = c.mask == mask_kind::full ? c.heads * c.queries
                                : c.mask == mask_kind::rows || c.mask == mask_kind::queries
                                    ? c.queries
                                    : 1;
  const std::size_t mask_keys = c.mask == mask_kind::queries ? 1 : c.keys;
  std::vector<float> mask = random_floats(c.batch * mask_rows * mask_keys, 2, -1, 1);
  if (!mask.empty() && c.mask == mask_kind::keys) mask.back() = -3e38F;

  attention_problem p;
  p.batch = c.batch;
  p.heads = c.heads;
  p.queries = c.queries;
  p.keys = c.keys;
  p.depth = c.depth;
  p.width = c.width;
  p.scale = 0.37F;
  p.q = {rows.data(), most * columns, c.depth, columns};
  p.k = {rows.data() + c.heads * c.depth, most * columns, c.depth, columns};
  p.v = {rows.data() + 2 * c.heads * c.depth, most * columns, c.width, columns};
  if (c.mask != mask_kind::none) {
    p.mask = {mask.data(), mask_rows * mask_keys,
              c.mask == mask_kind::full ? c.queries * mask_keys : 0,
              mask_rows == 1 ? 0 : mask_keys};
    p.mask_key = mask_keys == 1 && c.keys != 1 ? 0 : 1;
  }
  std::vector<float> y(c.batch * c.queries * c.heads * c.width + 1, -77.0F);
  p.y = y.data();
  p.y_row = c.heads * c.width;
  p.y_head = c.width;
  p.y_batch = c.queries * p.y_row;
  std::vector<float> scratch(attention_scratch(kernels, p, pool.size()));
  attention(kernels, pool, p, scratch.data());

  std::vector<double> want(y.size(), -77.0);
  const auto of = [](const head_rows& x, std::size_t b, std::size_t h, std::size_t r,
                     std::size_t i) {
    return static_cast<double>(x.data[b * x.batch + h * x.head + r * x.row + i]);
  };
  for (std::size_t b = 0; b < c.batch; ++b) {
    for (std::size_t h = 0; h < c.heads; ++h) {
      for (std::size_t i = 0; i < c.queries; ++i) {
        std::vector<double> weights(c.keys);
        double top = -1e300;
        for (std::size_t j = 0; j < c.keys; ++j) {
          for (std::size_t d = 0; d < c.depth; ++d) {
            weights[j] += of(p.q, b, h, i, d) * of(p.k, b, h, j, d);
          }
          weights[j] *= static_cast<double>(p.scale);
          if (p.mask.data != nullptr) weights[j] += of(p.mask, b, h, i, j * p.mask_key);
          top = std::max(top, weights[j]);
        }
        double sum = 0;
        for (double& w : weights) sum += w = std::exp(w - top);
        for (std::size_t d = 0; d < c.width; ++d) {
          double out = 0;
          for (std::size_t j = 0; j < c.keys; ++j) out += weights[j] / sum * of(p.v, b, h, j, d);
          want[b * p.y_batch + i * p.y_row + h * p.y_head + d] = out;
        }
      }
    }
  }
  expect_close(y, want, 1e-5,
               std::to_string(c.queries) + "x" + std::to_string(c.keys) + "x" +
                   std::to_string(c.depth) + "x" + std::to_string(c.width));
}

TEST_P(attention_kernels, sizes_and_tails) {
  for (const std::size_t rows : {1U, 2U, 13U, 17U, 65U}) {
    for (const std::size_t width : {1U, 5U, 16U, 33U, 64U}) {
      check(kernels(), pool(), {2, 3, rows, rows, width, width});
      check(kernels(), pool(), {1, 2, rows, 19, width, 8, mask_kind::keys});
      check(kernels(), pool(), {1, 1, 3, rows, 8, width, mask_kind::full});
    }
  }
}

TEST_P(attention_kernels, masks) {
  for (const mask_kind kind :
       {mask_kind::none, mask_kind::keys, mask_kind::rows, mask_kind::queries, mask_kind::full}) {
    check(kernels(), pool(), {2, 3, 21, 37, 16, 12, kind});
    check(kernels(), pool(), {2, 1, 5, 1, 4, 4, kind});
  }
}

TEST_P(attention_kernels, long_rows) {
  check(kernels(), pool(), {1, 1, 70, 700, 32, 32, mask_kind::keys});
  check(kernels(), pool(), {1, 2, 4, 3000, 8, 8});
}

TEST_P(attention_kernels, nothing_to_do) {
  check(kernels(), pool(), {0, 2, 3, 3, 4, 4});
  check(kernels(), pool(), {2, 2, 0, 3, 4, 4});
  check(kernels(), pool(), {1, 2, 3, 0, 4, 4});
}

TEST_P(attention_kernels, exp_rows) {
  for (const std::size_t n : {1U, 4U, 7U, 16U, 33U}) {
    for (const std::size_t rows : {1U, 3U, 16U, 18U}) {
      std::vector<float> x = random_floats(rows * (n + 3), 5, -30, 30);
      const std::vector<float> given = x;
      std::vector<float> inverse(rows + 1, -77.0F);
      kernels().exp_rows(x.data(), n + 3, rows, n, inverse.data());
      std::vector<double> want(given.begin(), given.end());
      std::vector<double> want_inverse(rows + 1, -77.0);
      for (std::size_t r = 0; r < rows; ++r) {
        double* const row = want.data() + r * (n + 3);
        const double top = *std::max_element(row, row + n);
        double sum = 0;
        for (std::size_t i = 0; i < n; ++i) sum += row[i] = std::exp(row[i] - top);
        want_inverse[r] = 1 / sum;
      }
      expect_close(x, want, 1e-6);
      expect_close(inverse, want_inverse, 1e-6);
    }
  }
}

TEST_P(attention_kernels, exp_rows_keeps_nan_and_drops_what_is_far_below) {
  std::vector<float> x = {0, -3e38F, -inf, nan, 1, 2};
  std::vector<float> inverse(2);
  kernels().exp_rows(x.data(), 3, 2, 3, inverse.data());
  EXPECT_EQ(x[0], 1.0F);
  EXPECT_EQ(x[1], 0.0F);
  EXPECT_EQ(x[2], 0.0F);
  EXPECT_EQ(inverse[0], 1.0F);
  EXPECT_TRUE(std::isnan(x[4]));
  EXPECT_TRUE(std::isnan(inverse[1]));
}

TEST_P(attention_kernels, pack_rows) {
  const std::size_t lanes = kernels().vector_size();
  for (std::size_t width = 1; width <= lanes; ++width) {
    for (const std::size_t depth : {0U, 1U, 15U, 16U, 17U, 50U}) {
      for (const std::size_t rows : {width, (width + 1) / 2}) {
        const std::size_t step = width == lanes ? 2 * lanes : width;
        const std::vector<float> from = random_floats(rows * (depth + 2), 3);
        std::vector<float> to(depth * step + 1, -77.0F);
        kernels().pack_rows(from.data(), static_cast<std::ptrdiff_t>(depth + 2), rows, width, depth,
                            to.data(), step);
        EXPECT_EQ(to.back(), -77.0F) << "wrote beyond the end";
        for (std::size_t d = 0; d < depth; ++d) {
          for (std::size_t r = 0; r < width; ++r) {
            ASSERT_EQ(to[d * step + r], r < rows ? from[r * (depth + 2) + d] : 0.0F)
                << width << " " << depth << " " << rows << " at " << d << ", " << r;
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace mizzen::inference::detail::cpu
