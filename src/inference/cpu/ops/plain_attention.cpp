// Attention, LinearAttention, CausalConvWithState, RotaryEmbedding: what transformers
// are made of.
#include "inference/cpu/ops/attention_core.hpp"

namespace mizzen::inference::detail {
namespace {

// What is added to the scores: the mask, causality, the window, the padding of the cache.
class attention_bias {
 public:
  attention_bias(const plain_run& r, integer q_rows, integer past, bool causal, integer left,
                 integer right)
      : mask_(r.in(3)),
        lengths_(r.in(6)),
        q_rows_(q_rows),
        past_(past),
        causal_(causal),
        left_(left),
        right_(right) {
    if (!mask_.present()) return;
    const integer rank = mask_.rank();
    integer step = 1;
    for (integer d = 1; d <= rank; ++d) {
      steps_[static_cast<std::size_t>(d - 1)] = d > 1 && mask_.dim(-d) == 1 ? 0 : step;
      step *= mask_.dim(-d);
    }
  }

  // The sequence lengths are data: checked before they are used.
  void check(integer keys) const {
    for (integer b = 0; lengths_.present() && b < lengths_.count; ++b) {
      lengths_.number(b, 0, keys, "nonpad_kv_seqlen");
    }
  }

  double at(integer b, integer h, integer i, integer j) const noexcept {
    double bias = 0;
    if (mask_.present()) {
      if (j >= mask_.dim(-1)) return -infinity;
      const double m = mask_.data[b * steps_[3] + h * steps_[2] + i * steps_[1] + j * steps_[0]];
      bias = mask_.type != element_type::boolean ? m : m != 0 ? 0.0 : -infinity;
    }
    const double length = lengths_.present() ? lengths_.data[b] : 0;
    if (lengths_.present() && real(j) >= length) return -infinity;
    const integer offset =
        lengths_.present() && past_ == 0 ? static_cast<integer>(length) - q_rows_ : past_;
    const integer ahead = j - (i + offset);
    if (causal_ && ahead > 0) return -infinity;
    if ((left_ >= 0 && -ahead > left_) || (right_ >= 0 && ahead > right_)) return -infinity;
    return bias;
  }

 private:
  const plain_tensor& mask_;
  const plain_tensor& lengths_;
  std::array<integer, 4> steps_{};  // from the last dimension on; 0 where it broadcasts
  integer q_rows_, past_;
  bool causal_;
  integer left_, right_;
};

// Source: ONNX Attention-25; 23 and 24 lack inputs and attributes, which are then absent.
class attention_op final : public plain_op {
 public:
  explicit attention_op(const compile_context& c) {
    const attribute_map& a = c.n.attributes;
    causal_ = a.get_int("is_causal", 0) != 0;
    q_heads_ = a.get_int("q_num_heads", 0);
    kv_heads_ = a.get_int("kv_num_heads", 0);
    scale_ = static_cast<double>(a.get_float("scale", 0));
    has_scale_ = a.has("scale");
    softcap_ = static_cast<double>(a.get_float("softcap", 0));
    scores_mode_ = a.get_int("qk_matmul_output_mode", 0);
    left_ = a.get_int("left_window_size", -1);
    right_ = a.get_int("right_window_size", -1);
    if (scores_mode_ < 0 || scores_mode_ > 3) c.invalid("qk_matmul_output_mode must be 0 to 3");
    if (left_ < -1 || right_ < -1) c.invalid("a window size is less than -1");
    if (has_scale_ && scale_ < 0) c.invalid("scale is negative");
  }

  std::size_t workspace(const shape_context& c) const override {
    const auto rows = [](const value_view& v) {
      return v.shape.size() < 3 ? 0 : static_cast<std::size_t>(v.shape[v.shape.size() - 2]);
    };
    const std::size_t past = c.inputs.size() > 4 ? rows(c.inputs[4]) : 0;
    return c.threads * (rows(c.inputs[1]) + past);
  }

  void run(const plain_run& r) const override {
    const head_view q(r.in(0), q_heads_);
    const head_view k(r.in(1), kv_heads_);
    const head_view v(r.in(2), kv_heads_);
    const head_view y(r.out(0), q.heads);
    const cached_rows keys(r.in(4), k);
    const cached_rows values(r.in(5), v);
    keys.write(r.out(1));
    values.write(r.out(2));
    const integer total = keys.past_rows + k.rows;
    const attention_bias bias(r, q.rows, keys.past_rows, causal_, left_, right_);
    bias.check(total);
    const double scale = has_scale_ ? scale_ : 1 / std::sqrt(real(q.width));
    attention_options o{.scale = scale, .softcap = softcap_, .total = total};
    o.shown = r.out(3).data;
    using stage = attention_options::stage;
    o.show = scores_mode_ < 2    ? stage::products
             : scores_mode_ == 2 ? stage::biased
                                 : stage::weights;
    attend(r, q, keys, values, k.heads, y, o, r.workspace,
           [&](integer b, integer h, integer i, integer j) { return bias.at(b, h, i, j); });
  }

 private:
  bool causal_ = false;
  bool has_scale_ = false;
  integer q_heads_ = 0, kv_heads_ = 0, scores_mode_ = 0, left_ = -1, right_ = -1;
  double scale_ = 0, softcap_ = 0;
};

// Source: ONNX LinearAttention-27: a state [width of keys, width of values] per head that decays,
// is corrected (delta rule) and written at each step, and read by the query.
class linear_attention_op final : public plain_op {
 public:
  explicit linear_attention_op(const compile_context& c)
      : q_heads_(c.n.attributes.require_int("q_num_heads")),
        kv_heads_(c.n.attributes.require_int("kv_num_heads")),
        scale_(static_cast<double>(c.n.attributes.get_float("scale", 0))) {
    const std::string rule = c.n.attributes.get_string("update_rule", "gated_delta");
    gated_ = rule == "gated" || rule == "gated_delta";
    delta_ = rule == "delta" || rule == "gated_delta";
    if (!gated_ && !delta_ && rule != "linear") c.invalid("unknown update_rule '" + rule + "'");
    if (gated_ != c.has_input(4)) c.invalid("'decay' does not go with update_rule " + rule);
    if (delta_ != c.has_input(5)) c.invalid("'beta' does not go with update_rule " + rule);
  }

  std::size_t workspace(const shape_context& c) const override {
    const integer keys = c.inputs[0].shape[2] / q_heads_;
    const integer values = c.inputs[2].shape[2] / kv_heads_;
    return static_cast<std::size_t>(c.inputs[0].shape[0] * kv_heads_ * keys * values + values);
  }

  void run(const plain_run& r) const override {
    const head_view q(r.in(0), q_heads_);
    const head_view k(r.in(1), kv_heads_);
    const head_view v(r.in(2), kv_heads_);
    const head_view y(r.out(0), q_heads_);
    const plain_tensor& past = r.in(3);
    const plain_tensor& decay = r.in(4);
    const plain_tensor& beta = r.in(5);
    const integer state_size = k.width * v.width;
    double* const correction = r.workspace;
    double* const states = r.out(1).present() ? r.out(1).data : correction + v.width;
    if (past.present()) {
      std::copy_n(past.data, q.batch * kv_heads_ * state_size, states);
    } else {
      std::fill_n(states, q.batch * kv_heads_ * state_size, 0.0);
    }
    const double scale = scale_ == 0 ? 1 / std::sqrt(real(k.width)) : scale_;
    const integer group = q_heads_ / kv_heads_;
    patience left(r);
    for (integer b = 0; b < q.batch; ++b) {
      for (integer h = 0; h < kv_heads_; ++h) {
        double* const state = states + (b * kv_heads_ + h) * state_size;
        for (integer t = 0; t < q.rows; ++t) {
          left.spend((2 + group) * state_size);
          const double* const key = k.row(b, h, t);
          const double* const value = v.row(b, h, t);
          if (gated_) fade(state, decay, b, t, h, k, v.width);
          std::copy_n(value, v.width, correction);
          if (delta_) {
            const double rate =
                beta.data[(b * q.rows + t) * beta.dim(2) + (beta.dim(2) == 1 ? 0 : h)];
            for (integer m = 0; m < v.width; ++m) {
              double held = 0;
              for (integer d = 0; d < k.width; ++d) held += state[d * v.width + m] * key[d];
              correction[m] = rate * (value[m] - held);
            }
          }
          for (integer d = 0; d < k.width; ++d) {
            for (integer m = 0; m < v.width; ++m) state[d * v.width + m] += key[d] * correction[m];
          }
          for (integer g = h * group; g < (h + 1) * group; ++g) {
            const double* const query = q.row(b, g, t);
            double* const out = y.row(b, g, t);
            for (integer m = 0; m < v.width; ++m) {
              double sum = 0;
              for (integer d = 0; d < k.width; ++d) sum += query[d] * state[d * v.width + m];
              out[m] = scale * sum;
            }
          }
        }
      }
    }
  }

 private:
  // decay: a logarithm for each head, or for each row of its state.
  static void fade(double* state, const plain_tensor& decay, integer b, integer t, integer h,
                   const head_view& k, integer columns) {
    const bool per_row = decay.dim(2) != k.heads;
    const double* const by = decay.data + (b * k.rows + t) * decay.dim(2);
    for (integer d = 0; d < k.width; ++d) {
      const double factor = std::exp(per_row ? by[h * k.width + d] : by[h]);
      for (integer m = 0; m < columns; ++m) state[d * columns + m] *= factor;
    }
  }

  integer q_heads_, kv_heads_;
  double scale_;
  bool gated_, delta_;
};

// Source: ONNX CausalConvWithState-27: each channel against its own kernel, the inputs before the
// first one being the state.
class causal_conv_op final : public plain_op {
 public:
  explicit causal_conv_op(const compile_context& c) {
    const std::string f = c.n.attributes.get_string("activation", "none");
    silu_ = f == "silu" || f == "swish";
    if (!silu_ && f != "none") c.invalid("unknown activation '" + f + "'");
  }

  void run(const plain_run& r) const override {
    const plain_tensor& x = r.in(0);
    const plain_tensor& w = r.in(1);
    const plain_tensor& past = r.in(3);
    const integer channels = x.dim(1);
    const integer length = x.dim(2);
    const integer taps = w.dim(2);
    patience left(r);
    for (integer plane = 0; plane < x.dim(0) * channels; ++plane) {
      const double* const row = x.data + plane * length;
      const auto at = [&](integer i) {
        if (i >= 0) return row[i];
        return past.present() ? past.data[plane * (taps - 1) + taps - 1 + i] : 0.0;
      };
      const double* const kernel = w.data + plane % channels * taps;
      for (integer i = 0; i < length; ++i) {
        left.spend(taps);
        double sum = r.in(2).present() ? r.in(2).data[plane % channels] : 0.0;
        for (integer k = 0; k < taps; ++k) sum += kernel[k] * at(i - taps + 1 + k);
        r.out(0).data[plane * length + i] = silu_ ? sum / (1 + std::exp(-sum)) : sum;
      }
      if (!r.out(1).present()) continue;
      for (integer k = 0; k < taps - 1; ++k) {
        r.out(1).data[plane * (taps - 1) + k] = at(length - taps + 1 + k);
      }
    }
  }

 private:
  bool silu_ = false;
};

// Source: ONNX RotaryEmbedding-23.
class rotary_op final : public plain_op {
 public:
  explicit rotary_op(const compile_context& c)
      : heads_(c.n.attributes.get_int("num_heads", 0)),
        rotated_(c.n.attributes.get_int("rotary_embedding_dim", 0)),
        interleaved_(c.n.attributes.get_int("interleaved", 0) != 0) {}

  void run(const plain_run& r) const override {
    const head_view x(r.in(0), heads_);
    const head_view y(r.out(0), heads_);
    const plain_tensor& cosine = r.in(1);
    const plain_tensor& sine = r.in(2);
    const plain_tensor& positions = r.in(3);
    const integer half = (rotated_ == 0 ? x.width : rotated_) / 2;
    for (integer b = 0; b < x.batch; ++b) {
      for (integer s = 0; s < x.rows; ++s) {
        const integer line = b * x.rows + s;
        const integer at =
            half * (positions.present()
                        ? positions.number(line, 0, cosine.dim(0) - 1, "position_ids")
                        : line);
        for (integer h = 0; h < x.heads; ++h) {
          rotate(x.row(b, h, s), y.row(b, h, s), x.width, half, cosine.data + at, sine.data + at,
                 interleaved_);
        }
      }
    }
  }

 private:
  integer heads_, rotated_;
  bool interleaved_;
};

}  // namespace

void register_plain_attention(op_registry& registry) {
  registry.add_plain("Attention", {compile_plain<attention_op>}, 23);
  registry.add_plain("CausalConvWithState", {compile_plain<causal_conv_op>}, 27);
  registry.add_plain("LinearAttention", {compile_plain<linear_attention_op>}, 27);
  registry.add_plain("RotaryEmbedding", {compile_plain<rotary_op>}, 23);
}

}  // namespace mizzen::inference::detail
