// The attention operators of the domain com.microsoft, as exported and optimised transformers have
// them. Source: ContribOperators.md of ONNX Runtime.
#include "inference/cpu/ops/attention_core.hpp"
#include "inference/cpu/ops/microsoft.hpp"

namespace mizzen::inference::detail {
namespace {

std::size_t size_of(integer n) noexcept { return static_cast<std::size_t>(n); }

// Dimension i of an input that may be left out; then 0.
integer dim_of(const shape_context& c, std::size_t input, std::size_t i) noexcept {
  return input < c.inputs.size() && i < c.inputs[input].shape.size() ? c.inputs[input].shape[i] : 0;
}

// A mask over keys: [batch] lengths, [batch, keys] or [batch, queries, keys] of 0 and 1; and a bias
// [1 or batch, 1 or heads, queries, keys].
class padding_mask {
 public:
  padding_mask(const plain_tensor& mask, const plain_tensor& bias, double fill, integer past,
               bool causal)
      : mask_(mask), bias_(bias), fill_(fill), past_(past), causal_(causal) {}

  double operator()(integer b, integer h, integer i, integer j) const noexcept {
    if (causal_ && j > past_ + i) return -infinity;
    double sum = 0;
    if (mask_.present()) {
      double keep = 0;
      if (mask_.rank() == 1) keep = real(j) < mask_.data[b] ? 1 : 0;
      if (mask_.rank() == 2) keep = mask_.data[b * mask_.dim(1) + j];
      if (mask_.rank() == 3) keep = mask_.data[(b * mask_.dim(1) + i) * mask_.dim(2) + j];
      if (keep <= 0) sum = fill_;
    }
    if (bias_.present()) {
      const integer bb = bias_.dim(0) == 1 ? 0 : b;
      const integer hh = bias_.dim(1) == 1 ? 0 : h;
      sum += bias_.data[((bb * bias_.dim(1) + hh) * bias_.dim(2) + i) * bias_.dim(3) + j];
    }
    return sum;
  }

 private:
  const plain_tensor& mask_;
  const plain_tensor& bias_;
  double fill_;
  integer past_;
  bool causal_;
};

// What the three have in common.
class attention_base : public plain_op {
 public:
  explicit attention_base(const compile_context& c)
      : heads_(c.n.attributes.require_int("num_heads")),
        scale_(static_cast<double>(c.n.attributes.get_float("scale", 0))),
        fill_(static_cast<double>(c.n.attributes.get_float("mask_filter_value", -10000.0F))),
        causal_(c.n.attributes.get_int("unidirectional", 0) != 0) {}

 protected:
  double scale_for(integer width) const noexcept {
    return scale_ == 0 ? 1 / std::sqrt(real(width)) : scale_;
  }

  integer heads_;
  double scale_, fill_;
  bool causal_;
};

// input [B, S, I], weights [I, q + k + v], bias, mask, past [2, B, H, P, D], attention_bias.
class attention_op final : public attention_base {
 public:
  explicit attention_op(const compile_context& c)
      : attention_base(c), sizes_(c.n.attributes.get_ints("qkv_hidden_sizes")) {
    if (c.n.attributes.get_int("do_rotary", 0) != 0) c.unsupported("do_rotary");
    if (c.n.attributes.get_int("past_present_share_buffer", 0) != 0) {
      c.unsupported("past_present_share_buffer");
    }
  }

  std::size_t workspace(const shape_context& c) const override {
    const integer rows = dim_of(c, 0, 0) * dim_of(c, 0, 1);
    return size_of(rows * dim_of(c, 1, 1)) + c.threads * size_of(dim_of(c, 0, 1) + dim_of(c, 4, 3));
  }

  void run(const plain_run& r) const override {
    const plain_tensor& x = r.in(0);
    const plain_tensor& w = r.in(1);
    const plain_tensor& past = r.in(4);
    const integer rows = x.dim(1);
    const integer columns = w.dim(1);
    double* const made = r.workspace;
    project(r, made);
    const integer q_width = sizes_.empty() ? columns / 3 : sizes_[0];
    const integer k_width = sizes_.empty() ? columns / 3 : sizes_[1];
    const integer v_width = columns - q_width - k_width;
    const auto view = [&](integer at, integer width) {
      return head_view(made + at, x.dim(0), rows, heads_, width / heads_, columns);
    };
    const head_view q = view(0, q_width);
    const head_view k = view(q_width, k_width);
    const head_view v = view(q_width + k_width, v_width);
    const integer held = past.present() ? past.dim(3) : 0;
    const cached_rows keys(past.data, held, k);
    const double* const past_values = past.present() ? past.data + past.count / 2 : nullptr;
    const cached_rows values(past_values, held, v);
    if (r.out(1).present()) {
      keys.write(r.out(1).data);
      values.write(r.out(1).data + r.out(1).count / 2);
    }
    const head_view y(r.out(0), heads_);
    const padding_mask mask(r.in(3), r.in(5), fill_, held, causal_);
    attend(r, q, keys, values, heads_, y, {.scale = scale_for(q.width), .total = held + rows},
           made + x.dim(0) * rows * columns, mask);
  }

 private:
  static void project(const plain_run& r, double* y) {
    const plain_tensor& x = r.in(0);
    const integer depth = x.dim(2);
    const integer columns = r.in(1).dim(1);
    r.pool.parallel_for(size_of(x.dim(0) * x.dim(1)), 1, [&](std::size_t begin, std::size_t end) {
      for (auto row = static_cast<integer>(begin); row < static_cast<integer>(end); ++row) {
        double* const out = y + row * columns;
        for (integer i = 0; i < columns; ++i) {
          out[i] = r.in(2).present() ? r.in(2).data[i] : 0.0;
        }
        for (integer k = 0; k < depth; ++k) {
          const double factor = x.data[row * depth + k];
          const double* const line = r.in(1).data + k * columns;
          for (integer i = 0; i < columns; ++i) out[i] += factor * line[i];
        }
      }
    });
  }

  std::vector<integer> sizes_;
};

// query, key, value, bias, key_padding_mask, attention_bias, past_key, past_value.
class multi_head_op final : public attention_base {
 public:
  explicit multi_head_op(const compile_context& c) : attention_base(c) {
    if (c.has_input(8) || c.has_input(9)) c.unsupported("a cache that is shared or has beams");
  }

  std::size_t workspace(const shape_context& c) const override {
    const std::size_t total =
        size_of(dim_of(c, 1, c.inputs[1].shape.size() == 4 ? 2 : 1) + dim_of(c, 6, 2));
    return c.inputs[0].count + c.inputs[1].count + c.inputs[2].count + c.threads * total;
  }

  void run(const plain_run& r) const override {
    double* const q_at = r.workspace;
    double* const k_at = q_at + r.in(0).count;
    double* const v_at = k_at + r.in(1).count;
    const integer hidden = r.in(0).dim(2);
    const double* const bias = r.in(3).data;
    const head_view q = biased(r.in(0), bias, q_at);
    const head_view k = biased(r.in(1), bias == nullptr ? nullptr : bias + hidden, k_at);
    const head_view v =
        biased(r.in(2), bias == nullptr ? nullptr : bias + hidden + heads_ * k.width, v_at);
    const cached_rows keys(r.in(6), k);
    const cached_rows values(r.in(7), v);
    keys.write(r.out(1));
    values.write(r.out(2));
    const head_view y(r.out(0), heads_);
    const padding_mask mask(r.in(4), r.in(5), fill_, keys.past_rows, causal_);
    attention_options o{.scale = scale_for(q.width), .total = keys.past_rows + k.rows};
    o.shown = r.out(3).data;
    attend(r, q, keys, values, heads_, y, o, v_at + r.in(2).count, mask);
  }

 private:
  head_view biased(const plain_tensor& x, const double* bias, double* to) const {
    const integer width = x.dim(-1);
    for (integer i = 0; i < x.count; ++i) {
      to[i] = x.data[i] + (bias != nullptr && x.rank() == 3 ? bias[i % width] : 0.0);
    }
    plain_tensor copy = x;
    copy.data = to;
    return {copy, heads_};
  }
};

// query, key, value, past_key, past_value, seqlens_k, total_sequence_length, cos_cache, sin_cache,
// position_ids, attention_bias.
class group_query_op final : public plain_op {
 public:
  explicit group_query_op(const compile_context& c)
      : heads_(c.n.attributes.require_int("num_heads")),
        kv_heads_(c.n.attributes.require_int("kv_num_heads")),
        scale_(static_cast<double>(c.n.attributes.get_float("scale", 0))),
        softcap_(static_cast<double>(c.n.attributes.get_float("softcap", 0))),
        window_(c.n.attributes.get_int("local_window_size", -1)),
        rotary_(c.n.attributes.get_int("do_rotary", 0) != 0),
        interleaved_(c.n.attributes.get_int("rotary_interleaved", 0) != 0) {
    for (std::size_t i = 10; i < c.n.inputs.size(); ++i) {
      if (c.has_input(i)) c.unsupported("input " + std::to_string(i));
    }
    if (c.has_output(3)) c.unsupported("the output of scores");
    if (c.n.attributes.get_int("smooth_softmax", 0) > 0) c.unsupported("smooth_softmax");
    if (!c.has_output(1) || !c.has_output(2)) c.unsupported("no outputs for the cache");
    if (rotary_ && (!c.has_input(7) || !c.has_input(8))) c.invalid("do_rotary needs its caches");
  }

  // The turned queries, the scores.
  std::size_t workspace(const shape_context& c) const override {
    const integer queries = dim_of(c, 0, 0) * dim_of(c, 0, 1) * dim_of(c, 0, 2);
    return size_of(queries) + c.threads * size_of(c.outputs[1].shape[2]);
  }

  void run(const plain_run& r) const override {
    const plain_tensor& x = r.in(0);
    const bool packed = !r.in(1).present();
    const integer batch = x.dim(0);
    const integer rows = x.dim(1);
    const integer width = x.dim(2) / (packed ? heads_ + 2 * kv_heads_ : heads_);
    const head_view given(x.data, batch, rows, heads_, width, x.dim(2));
    const integer kv_columns = kv_heads_ * width;
    const head_view k =
        packed ? head_view(x.data + heads_ * width, batch, rows, kv_heads_, width, x.dim(2))
               : head_view(r.in(1).data, batch, rows, kv_heads_, width, kv_columns);
    const head_view v = packed ? head_view(x.data + heads_ * width + kv_columns, batch, rows,
                                           kv_heads_, width, x.dim(2))
                               : head_view(r.in(2).data, batch, rows, kv_heads_, width, kv_columns);
    const head_view q(r.workspace, batch, rows, heads_, width, heads_ * width);
    const head_view keys(r.out(1), kv_heads_);
    const head_view values(r.out(2), kv_heads_);
    const integer total = r.in(6).number(0, 0, keys.rows, "total_sequence_length");
    const bool prompt = rows == total;
    const auto past_of = [&](integer b) {
      const integer last = r.in(5).number(b, 0, std::max<integer>(total, 1) - 1, "seqlens_k");
      return prompt ? 0 : std::max<integer>(0, last + 1 - rows);
    };
    for (integer b = 0; b < batch; ++b) {
      const integer held = past_of(b);
      fill(r.in(3), keys, b, held);
      fill(r.in(4), values, b, held);
      if (held + rows > keys.rows) throw error(errc::out_of_range, "seqlens_k", "beyond the cache");
      for (integer s = 0; s < rows; ++s) {
        for (integer h = 0; h < heads_; ++h) {
          turn(r, b, s, held, given.row(b, h, s), q.row(b, h, s), width);
        }
        for (integer h = 0; h < kv_heads_; ++h) {
          turn(r, b, s, held, k.row(b, h, s), keys.row(b, h, held + s), width);
          std::copy_n(v.row(b, h, s), width, values.row(b, h, held + s));
        }
      }
    }
    const head_view y(r.out(0), heads_);
    const double scale = scale_ == 0 ? 1 / std::sqrt(real(width)) : scale_;
    attend(r, q, keys, values, kv_heads_, y, {.scale = scale, .softcap = softcap_, .total = total},
           r.workspace + batch * rows * heads_ * width,
           [&](integer b, integer, integer i, integer j) {
             const integer at = (prompt ? 0 : past_of(b)) + i;
             return j > at || (window_ >= 0 && j <= at - window_) ? -infinity : 0.0;
           });
  }

 private:
  // What the cache holds of one sequence, the rest zero.
  static void fill(const plain_tensor& past, const head_view& to, integer b, integer held) {
    for (integer h = 0; h < to.heads; ++h) {
      std::fill_n(to.row(b, h, 0), to.rows * to.width, 0.0);
      if (!past.present()) continue;
      const integer rows = std::min(held, past.dim(2));
      std::copy_n(past.data + (b * to.heads + h) * past.dim(2) * to.width, rows * to.width,
                  to.row(b, h, 0));
    }
  }

  void turn(const plain_run& r, integer b, integer s, integer held, const double* from, double* to,
            integer width) const {
    if (!rotary_) return void(std::copy_n(from, width, to));
    const plain_tensor& cosine = r.in(7);
    const plain_tensor& sine = r.in(8);
    integer at = held + s;
    if (r.in(9).present()) {
      at = r.in(9).number(b * r.in(0).dim(1) + s, 0, cosine.dim(0) - 1, "position_ids");
    }
    if (at >= cosine.dim(0)) throw error(errc::out_of_range, "cos_cache", "it is too short");
    const integer half = cosine.dim(1);
    rotate(from, to, width, half, cosine.data + at * half, sine.data + at * half, interleaved_);
  }

  integer heads_, kv_heads_;
  double scale_, softcap_;
  integer window_;
  bool rotary_, interleaved_;
};

// input, position_ids, cos_cache [positions, half], sin_cache.
class rotary_op final : public plain_op {
 public:
  explicit rotary_op(const compile_context& c)
      : heads_(c.n.attributes.get_int("num_heads", 0)),
        rotated_(c.n.attributes.get_int("rotary_embedding_dim", 0)),
        interleaved_(c.n.attributes.get_int("interleaved", 0) != 0) {
    if (c.n.attributes.get_int("is_packed_batching", 0) != 0) c.unsupported("packed batches");
    if (c.n.attributes.get_float("scale", 1) != 1.0F) c.unsupported("attribute 'scale'");
  }

  void run(const plain_run& r) const override {
    const plain_tensor& x = r.in(0);
    const plain_tensor& cosine = r.in(2);
    const integer half = cosine.dim(1);
    const integer heads =
        heads_ != 0 || rotated_ != 0 || x.rank() == 4 ? heads_ : x.dim(2) / (2 * half);
    const head_view from(x, heads);
    const head_view to(r.out(0), heads);
    if (2 * half > from.width) throw error(errc::invalid_argument, "cos_cache", "it is too wide");
    for (integer b = 0; b < from.batch; ++b) {
      for (integer s = 0; s < from.rows; ++s) {
        const bool one = r.in(1).count == 1;
        const integer start =
            r.in(1).number(one ? 0 : b * from.rows + s, 0, cosine.dim(0) - 1, "position_ids");
        const integer at = start + (one ? s : 0);
        if (at >= cosine.dim(0)) throw error(errc::out_of_range, "cos_cache", "it is too short");
        for (integer h = 0; h < from.heads; ++h) {
          rotate(from.row(b, h, s), to.row(b, h, s), from.width, half, cosine.data + at * half,
                 r.in(3).data + at * half, interleaved_);
        }
      }
    }
  }

 private:
  integer heads_, rotated_;
  bool interleaved_;
};

}  // namespace

void register_microsoft_attention(op_registry& registry) {
  const auto add = [&](std::string_view op, compile_function compile) {
    registry.add_plain(op, {compile}, 1, any_opset, microsoft_domain);
  };
  add("Attention", compile_plain<attention_op>);
  add("GroupQueryAttention", compile_plain<group_query_op>);
  add("MultiHeadAttention", compile_plain<multi_head_op>);
  add("RotaryEmbedding", compile_plain<rotary_op>);
}

}  // namespace mizzen::inference::detail
