// Scaled dot-product attention over heads: what the operators of attention have in common.
#pragma once

#include "inference/cpu/ops/plain.hpp"
#include "inference/cpu/thread_pool.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace mizzen::inference::detail {

inline constexpr double infinity = std::numeric_limits<double>::infinity();

// [batch, heads, rows, width], or [batch, rows, heads * width] with the heads side by side.
struct head_view {
  // Rows of `columns` numbers with `head_count` heads side by side.
  head_view(double* rows_at, integer batches, integer row_count, integer head_count,
            integer head_width, integer columns)
      : data(rows_at),
        batch(batches),
        heads(head_count),
        rows(row_count),
        width(head_width),
        batch_step(row_count * columns),
        head_step(head_width),
        row_step(columns) {}
  head_view(const plain_tensor& t, integer head_count) : data(t.data) {
    batch = t.dim(0);
    if (t.rank() == 4) {
      heads = t.dim(1);
      rows = t.dim(2);
      width = t.dim(3);
      row_step = width;
      head_step = rows * width;
    } else {
      heads = head_count;
      rows = t.dim(1);
      width = t.dim(2) / heads;
      row_step = t.dim(2);
      head_step = width;
    }
    batch_step = heads * rows * width;
  }
  double* row(integer b, integer h, integer r) const noexcept {
    return data + b * batch_step + h * head_step + r * row_step;
  }

  double* data;
  integer batch, heads, rows, width;
  integer batch_step, head_step, row_step;
};

// Keys or values: what the cache holds, then the new ones.
struct cached_rows {
  // past: [batch, heads, rows, width], or left out.
  cached_rows(const plain_tensor& past, const head_view& fresh)
      : cached_rows(past.data, past.present() ? past.dim(2) : 0, fresh) {}
  cached_rows(const double* past, integer rows, const head_view& fresh)
      : past_rows(rows), past_(past), fresh_(fresh) {}
  const double* row(integer b, integer h, integer r) const noexcept {
    if (r >= past_rows) return fresh_.row(b, h, r - past_rows);
    return past_ + ((b * fresh_.heads + h) * past_rows + r) * fresh_.width;
  }
  // All of them to [batch, heads, rows, width]; nothing if `to` is left out.
  void write(const plain_tensor& to) const { write(to.data); }
  void write(double* y) const {
    if (y == nullptr) return;
    for (integer b = 0; b < fresh_.batch; ++b) {
      for (integer h = 0; h < fresh_.heads; ++h) {
        for (integer r = 0; r < past_rows + fresh_.rows; ++r) {
          y = std::copy_n(row(b, h, r), fresh_.width, y);
        }
      }
    }
  }

  integer past_rows = 0;

 private:
  const double* past_;
  const head_view& fresh_;
};

// Softmax; a query that may look at nothing has no weights at all.
inline void soften(double* scores, integer n, bool masked) {
  double top = -infinity;
  for (integer j = 0; j < n; ++j) top = std::max(top, scores[j]);
  if (masked || top == -infinity) return void(std::fill_n(scores, n, 0.0));
  double sum = 0;
  for (integer j = 0; j < n; ++j) sum += scores[j] = std::exp(scores[j] - top);
  for (integer j = 0; j < n; ++j) scores[j] /= sum;
}

struct attention_options {
  double scale = 1;
  double softcap = 0;       // 0: none
  integer total = 0;        // keys, those of the cache included
  double* shown = nullptr;  // the scores [batch, heads, rows, total], where somebody wants them
  // Which: products, with the bias, after softmax.
  enum class stage { products, biased, weights } show = stage::products;
};

// y = softmax(cap(scale q·k) + bias(b, h, i, j)) v; a head of keys serves q.heads / k.heads of the
// queries. workspace: total doubles for each thread. Keys and Values have row(b, h, j).
template <class Keys, class Values, class Bias>
void attend(const plain_run& r, const head_view& q, const Keys& keys, const Values& values,
            integer kv_heads, const head_view& y, const attention_options& o, double* workspace,
            Bias bias) {
  r.pool.parallel_for(
      static_cast<std::size_t>(q.batch * q.heads), 1,
      [&](std::size_t begin, std::size_t end, unsigned slot) {
        double* const scores = workspace + static_cast<integer>(slot) * o.total;
        patience left(r);
        for (auto bh = static_cast<integer>(begin); bh < static_cast<integer>(end); ++bh) {
          const integer b = bh / q.heads;
          const integer h = bh % q.heads;
          const integer group = h / (q.heads / kv_heads);
          for (integer i = 0; i < q.rows; ++i) {
            left.spend(o.total * (q.width + y.width + 16));
            double* const show =
                o.shown != nullptr ? o.shown + (bh * q.rows + i) * o.total : nullptr;
            const double* const query = q.row(b, h, i);
            double greatest_bias = -infinity;
            for (integer j = 0; j < o.total; ++j) {
              const double* const key = keys.row(b, group, j);
              double dot = 0;
              for (integer d = 0; d < q.width; ++d) dot += query[d] * key[d];
              dot *= o.scale;
              if (o.softcap > 0) dot = o.softcap * std::tanh(dot / o.softcap);
              const double added = bias(b, h, i, j);
              greatest_bias = std::max(greatest_bias, added);
              scores[j] = dot + added;
              if (show == nullptr) continue;
              show[j] = o.show == attention_options::stage::products ? dot : scores[j];
            }
            soften(scores, o.total, greatest_bias == -infinity);
            if (show != nullptr && o.show == attention_options::stage::weights) {
              std::copy_n(scores, o.total, show);
            }
            double* const out = y.row(b, h, i);
            std::fill_n(out, y.width, 0.0);
            for (integer j = 0; j < o.total; ++j) {
              const double* const value = values.row(b, group, j);
              for (integer d = 0; d < y.width; ++d) out[d] += scores[j] * value[d];
            }
          }
        }
      });
}

// Turns one row of a head by the angles of its position. Source: ONNX RotaryEmbedding-23.
inline void rotate(const double* from, double* to, integer width, integer half,
                   const double* cosine, const double* sine, bool interleaved) noexcept {
  std::copy_n(from, width, to);
  for (integer i = 0; i < half; ++i) {
    const integer first = interleaved ? 2 * i : i;
    const integer second = interleaved ? 2 * i + 1 : i + half;
    to[first] = cosine[i] * from[first] - sine[i] * from[second];
    to[second] = sine[i] * from[first] + cosine[i] * from[second];
  }
}

}  // namespace mizzen::inference::detail
