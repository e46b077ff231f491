#include "inference/cpu/kernels/attention.hpp"

#include "inference/cpu/kernels/divide_up.hpp"

#include <algorithm>
#include <cstring>

namespace mizzen::inference::detail::cpu {
namespace {

// Floats of a block of scores: half of a usual L1 or, where rows are long, two tiles of them.
constexpr std::size_t score_floats = std::size_t{8} << 10;

// How the work is laid out: panels of vectors as the tiles want them.
struct layout {
  layout(const kernel_table& kernels, const attention_problem& p)
      : panel(kernels.tile_columns()),
        vector(kernels.vector_size()),
        tile_rows(static_cast<std::size_t>(kernels.tile_rows)),
        padded_keys(round_up(p.keys, vector)),
        padded_width(round_up(p.width, vector)),
        rows(std::clamp(score_floats / std::max<std::size_t>(padded_keys, 1) / tile_rows,
                        std::size_t{1}, std::size_t{4}) *
             tile_rows) {}

  std::size_t key_floats(const attention_problem& p) const { return p.depth * padded_keys; }
  std::size_t value_floats(const attention_problem& p) const { return p.keys * padded_width; }
  std::size_t scratch(const attention_problem& p) const {
    return round_up(key_floats(p), 16) + round_up(value_floats(p), 16) + rows * padded_keys +
           round_up(rows, 16);
  }

  std::size_t panel, vector, tile_rows, padded_keys, padded_width;
  std::size_t rows;  // of a block of scores
};

class head_task {
 public:
  head_task(const kernel_table& kernels, const attention_problem& p, const layout& l,
            std::size_t batch, std::size_t head, float* scratch)
      : kernels_(kernels),
        p_(p),
        l_(l),
        q_(at(p.q, batch, head)),
        k_(at(p.k, batch, head)),
        v_(at(p.v, batch, head)),
        mask_(p.mask.data == nullptr ? nullptr : at(p.mask, batch, head)),
        y_(p.y + batch * p.y_batch + head * p.y_head),
        keys_(scratch),
        values_(keys_ + round_up(l.key_floats(p), 16)),
        scores_(values_ + round_up(l.value_floats(p), 16)),
        inverse_(scores_ + l.rows * l.padded_keys) {}

  // Both operands that are walked again and again, as panels.
  void pack() {
    for (std::size_t n = 0; n < p_.keys; n += l_.panel) {
      const std::size_t width = std::min(l_.panel, l_.padded_keys - n);
      float* const to = keys_ + n * p_.depth;
      for (std::size_t i = 0; i < width; i += l_.vector) {
        const std::size_t here = std::min(l_.vector, p_.keys - n - i);
        kernels_.pack_rows(k_ + (n + i) * p_.k.row, static_cast<std::ptrdiff_t>(p_.k.row), here,
                           l_.vector, p_.depth, to + i, width);
      }
    }
    if (p_.scale != 1.0F) {
      kernels_.unary({unary_op::scale, p_.scale, 0.0F}, keys_, keys_, l_.key_floats(p_));
    }
    for (std::size_t n = 0; n < p_.width; n += l_.panel) {
      const std::size_t width = std::min(l_.panel, l_.padded_width - n);
      const std::size_t here = std::min(width, p_.width - n);
      float* to = values_ + n * p_.keys;
      for (std::size_t r = 0; r < p_.keys; ++r, to += width) {
        std::memcpy(to, v_ + r * p_.v.row + n, here * sizeof(float));
        std::fill(to + here, to + width, 0.0F);
      }
    }
  }

  void run(std::size_t first, std::size_t end) {
    if (p_.keys == 0) {
      for (std::size_t r = first; r < end; ++r) std::fill_n(y_ + r * p_.y_row, p_.width, 0.0F);
      return;
    }
    for (std::size_t r = first; r < end; r += l_.rows) block(r, std::min(l_.rows, end - r));
  }

 private:
  static const float* at(const head_rows& x, std::size_t batch, std::size_t head) {
    return x.data + batch * x.batch + head * x.head;
  }

  void block(std::size_t first, std::size_t rows) {
    const std::size_t per_tile = divide_up(rows, divide_up(rows, l_.tile_rows));
    gemm_tile t;
    t.depth = p_.depth;
    t.a_row = static_cast<std::ptrdiff_t>(p_.q.row);
    t.c_row = static_cast<std::ptrdiff_t>(l_.padded_keys);
    t.c_vector = static_cast<std::ptrdiff_t>(l_.vector);
    t.residual_row = static_cast<std::ptrdiff_t>(p_.mask.row);
    t.residual_vector = static_cast<std::ptrdiff_t>(l_.vector);
    const bool fused_mask = mask_ != nullptr && p_.mask_key == 1;
    for (std::size_t n = 0; n < p_.keys; n += l_.panel) {
      t.columns = std::min(l_.panel, p_.keys - n);
      t.b = keys_ + n * p_.depth;
      t.b_depth = static_cast<std::ptrdiff_t>(std::min(l_.panel, l_.padded_keys - n));
      if (fused_mask && p_.mask.row == 0) t.column_bias = mask_ + n;
      for (std::size_t r = 0; r < rows; r += per_tile) {
        t.rows = std::min(per_tile, rows - r);
        t.a = q_ + (first + r) * p_.q.row;
        t.c = scores_ + r * l_.padded_keys + n;
        if (fused_mask && p_.mask.row != 0) t.residual = mask_ + (first + r) * p_.mask.row + n;
        kernels_.gemm(t);
      }
    }
    if (mask_ != nullptr && !fused_mask) {
      for (std::size_t r = 0; r < rows; ++r) {
        float* const row = scores_ + r * l_.padded_keys;
        kernels_.binary(binary_op::add, row, 1, mask_ + (first + r) * p_.mask.row, 0, row, p_.keys);
      }
    }
    kernels_.exp_rows(scores_, l_.padded_keys, rows, p_.keys, inverse_);
    multiply_values(first, rows, per_tile);
  }

  void multiply_values(std::size_t first, std::size_t rows, std::size_t per_tile) {
    gemm_tile t;
    t.depth = p_.keys;
    t.a_row = static_cast<std::ptrdiff_t>(l_.padded_keys);
    t.c_row = static_cast<std::ptrdiff_t>(p_.y_row);
    t.c_vector = static_cast<std::ptrdiff_t>(l_.vector);
    for (std::size_t r = 0; r < rows; r += per_tile) {
      t.rows = std::min(per_tile, rows - r);
      t.a = scores_ + r * l_.padded_keys;
      for (std::size_t n = 0; n < p_.width; n += l_.panel) {
        t.columns = std::min(l_.panel, p_.width - n);
        t.b = values_ + n * p_.keys;
        t.b_depth = static_cast<std::ptrdiff_t>(std::min(l_.panel, l_.padded_width - n));
        t.c = y_ + (first + r) * p_.y_row + n;
        kernels_.gemm(t);
      }
    }
    for (std::size_t r = 0; r < rows; ++r) {
      float* const row = y_ + (first + r) * p_.y_row;
      kernels_.unary({unary_op::scale, inverse_[r], 0.0F}, row, row, p_.width);
    }
  }

  const kernel_table& kernels_;
  const attention_problem& p_;
  const layout& l_;
  const float *q_, *k_, *v_, *mask_;
  float *y_, *keys_, *values_, *scores_, *inverse_;
};

}  // namespace

std::size_t attention_scratch(const kernel_table& kernels, const attention_problem& problem,
                              unsigned threads) {
  return layout(kernels, problem).scratch(problem) * threads;
}

void attention(const kernel_table& kernels, thread_pool& pool, const attention_problem& p,
               float* scratch) {
  if (p.batch == 0 || p.heads == 0 || p.queries == 0 || p.width == 0) return;
  const layout l(kernels, p);
  // Heads are cut only where there are too few of them: each piece packs the keys again.
  const std::size_t units = p.batch * p.heads;
  const std::size_t wanted = pool.size() == 1 ? 1 : std::size_t{2} * pool.size();
  const std::size_t blocks = divide_up(p.queries, l.rows);
  const std::size_t pieces = std::min(blocks, divide_up(wanted, units));
  const std::size_t rows = divide_up(blocks, pieces) * l.rows;
  pool.parallel_for(units * pieces, 1, [&](std::size_t begin, std::size_t end, unsigned slot) {
    float* const mine = scratch + slot * l.scratch(p);
    for (std::size_t i = begin; i < end; ++i) {
      const std::size_t unit = i / pieces;
      const std::size_t first = i % pieces * rows;
      if (first >= p.queries) continue;
      head_task task(kernels, p, l, unit / p.heads, unit % p.heads, mine);
      task.pack();
      task.run(first, std::min(first + rows, p.queries));
    }
  });
}

}  // namespace mizzen::inference::detail::cpu
