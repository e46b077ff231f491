// Rules of the operators of transformers and recurrent networks.
#include "inference/graph/shape_rules.hpp"

#include <algorithm>

namespace mizzen::inference::detail {
namespace {

std::optional<dims> shape_or_none(infer_context& c, std::size_t i) {
  return c.shape(i) != nullptr ? std::optional(*c.shape(i)) : std::nullopt;
}

std::int64_t dim_div(infer_context& c, std::int64_t a, std::int64_t b, std::string_view what) {
  if (b < 1) c.fail("the number of heads must be at least 1");
  if (a < 0) return unknown_dim;
  if (a % b != 0) c.fail(std::string(what) + " is no multiple of the number of heads");
  return a / b;
}

// [batch, heads, rows, width] of a value that may have its heads side by side.
dims by_heads(infer_context& c, const dims& x, std::int64_t heads) {
  if (x.size() == 4) return x;
  if (x.size() != 3) c.fail("its inputs must have 3 or 4 dimensions");
  return {x[0], heads, x[1], dim_div(c, x[2], heads, "the last dimension")};
}

// A cache before the new rows: [batch, heads, rows, width].
std::int64_t check_past(infer_context& c, std::size_t i, const dims& fresh) {
  if (!c.has(i)) return 0;
  const dims* past = c.shape(i);
  if (past == nullptr) return unknown_dim;
  c.rank_is(i, 4);
  for (const std::size_t d : {0U, 1U, 3U}) c.merge((*past)[d], fresh[d], "cache and new rows");
  return (*past)[2];
}

void attention(infer_context& c) {
  c.same_type({0, 1});
  const dims* pq = c.shape(0);
  const dims* pk = c.shape(1);
  const dims* pv = c.shape(2);
  if (pq == nullptr || pk == nullptr || pv == nullptr) {
    c.set(0, c.type(0));
    c.set(1, c.type(1));
    c.set(2, c.type(2));
    return c.set(3, c.type(0));
  }
  if (pk->size() != pq->size() || pv->size() != pq->size()) c.fail("Q, K and V differ in rank");
  const std::int64_t q_heads = c.attributes().get_int("q_num_heads", 0);
  const std::int64_t kv_heads = c.attributes().get_int("kv_num_heads", 0);
  const dims q = by_heads(c, *pq, q_heads);
  const dims k = by_heads(c, *pk, kv_heads);
  const dims v = by_heads(c, *pv, kv_heads);
  const std::int64_t batch = c.merge(c.merge(q[0], k[0], "batches"), v[0], "batches");
  c.merge(q[3], k[3], "widths of Q and K");
  c.merge(k[1], v[1], "heads of K and V");
  c.merge(k[2], v[2], "lengths of K and V");
  if (k[1] == 0 || (q[1] >= 0 && k[1] > 0 && q[1] % k[1] != 0)) {
    c.fail("the heads of Q are no multiple of those of K");
  }
  if (c.has(4) != c.has(5)) c.fail("past_key and past_value go together");
  if (c.has(6) && c.has(4)) c.fail("nonpad_kv_seqlen and past_key exclude each other");
  const std::int64_t past = check_past(c, 4, k);
  c.merge(past, check_past(c, 5, v), "lengths of the caches");
  const std::int64_t total = dim_add(past, k[2]);
  if (const dims* mask = c.shape(3)) {
    if (mask->empty() || mask->size() > 4) c.fail("attn_mask must have 1 to 4 dimensions");
    if (total >= 0 && mask->back() > total) c.fail("attn_mask is longer than the keys");
    const dims whole{batch, q[1], q[2]};
    c.broadcasts_to({mask->begin(), mask->end() - 1}, whole);
  }
  if (const dims* lengths = c.shape(6)) {
    c.rank_is(6, 1);
    c.merge((*lengths)[0], batch, "nonpad_kv_seqlen and the batch");
  }
  c.set(0, c.type(0),
        pq->size() == 4 ? dims{batch, q[1], q[2], v[3]} : dims{batch, q[2], dim_mul(q[1], v[3])});
  c.set(1, c.type(1), dims{batch, k[1], total, k[3]});
  c.set(2, c.type(2), dims{batch, v[1], total, v[3]});
  c.set(3, c.type(0), dims{batch, q[1], q[2], total});
}

void linear_attention(infer_context& c) {
  const dims* pq = c.shape(0);
  const dims* pk = c.shape(1);
  const dims* pv = c.shape(2);
  const element_type state_type = c.has(3) ? c.type(3) : c.type(0);
  if (pq == nullptr || pk == nullptr || pv == nullptr) {
    c.set(0, c.type(0));
    return c.set(1, state_type);
  }
  for (const std::size_t i : {0U, 1U, 2U}) c.rank_is(i, 3);
  const std::int64_t q_heads = c.attributes().require_int("q_num_heads");
  const std::int64_t kv_heads = c.attributes().require_int("kv_num_heads");
  const dims q = by_heads(c, *pq, q_heads);
  const dims k = by_heads(c, *pk, kv_heads);
  const dims v = by_heads(c, *pv, kv_heads);
  if (q_heads % kv_heads != 0) c.fail("q_num_heads is no multiple of kv_num_heads");
  const std::int64_t batch = c.merge(c.merge(q[0], k[0], "batches"), v[0], "batches");
  const std::int64_t rows = c.merge(c.merge(q[2], k[2], "lengths"), v[2], "lengths");
  c.merge(q[3], k[3], "widths of query and key");
  const dims state{batch, kv_heads, k[3], v[3]};
  if (const dims* past = c.shape(3)) {
    c.rank_is(3, 4);
    for (std::size_t i = 0; i < 4; ++i) c.merge((*past)[i], state[i], "past_state and the inputs");
  }
  for (const std::size_t i : {4U, 5U}) {
    const dims* s = c.shape(i);
    if (s == nullptr) continue;
    c.rank_is(i, 3);
    c.merge((*s)[0], batch, "batches");
    c.merge((*s)[1], rows, "lengths");
    const std::int64_t wide = i == 4 ? dim_mul(kv_heads, k[3]) : 1;
    if ((*s)[2] >= 0 && (*s)[2] != kv_heads && wide >= 0 && (*s)[2] != wide) {
      c.fail("the last dimension of decay or beta fits neither heads nor keys");
    }
  }
  c.set(0, c.type(0), dims{batch, rows, dim_mul(q_heads, v[3])});
  c.set(1, state_type, state);
}

void causal_conv(infer_context& c) {
  c.rank_is(0, 3);
  c.rank_is(1, 3);
  c.same_type({0, 1, 2, 3});
  const dims* x = c.shape(0);
  const dims* w = c.shape(1);
  if (x == nullptr || w == nullptr) {
    c.set(0, c.type(0));
    return c.set(1, c.type(0));
  }
  c.merge((*x)[1], (*w)[0], "channels of input and weight");
  c.merge((*w)[1], 1, "the second dimension of the weight and 1");
  if ((*w)[2] == 0) c.fail("its weight is empty");
  const dims state{(*x)[0], (*x)[1], (*w)[2] < 0 ? unknown_dim : (*w)[2] - 1};
  if (const dims* bias = c.shape(2)) {
    c.rank_is(2, 1);
    c.merge((*bias)[0], (*x)[1], "bias and channels");
  }
  if (const dims* past = c.shape(3)) {
    c.rank_is(3, 3);
    for (std::size_t i = 0; i < 3; ++i) c.merge((*past)[i], state[i], "past_state and the input");
  }
  c.set(0, c.type(0), *x);
  c.set(1, c.type(0), state);
}

void rotary(infer_context& c) {
  c.same_type({0, 1, 2});
  const dims* x = c.shape(0);
  const dims* cosine = c.shape(1);
  const dims* sine = c.shape(2);
  if (x != nullptr) {
    const dims by = by_heads(c, *x, c.attributes().get_int("num_heads", 0));
    const std::int64_t given = c.attributes().get_int("rotary_embedding_dim", 0);
    const std::int64_t rotated = given == 0 ? by[3] : given;
    if (rotated < -1 || (rotated >= 0 && rotated % 2 != 0) || (by[3] >= 0 && rotated > by[3])) {
      c.fail("rotary_embedding_dim must be even and at most the width of a head");
    }
    for (const dims* cache : {cosine, sine}) {
      if (cache == nullptr) continue;
      if (cache->size() != (c.has(3) ? 2U : 3U)) c.fail("its caches have a wrong rank");
      if (rotated >= 0) c.merge(cache->back(), rotated / 2, "width of the caches and of a head");
      if (c.has(3)) continue;
      c.merge((*cache)[0], by[0], "batches");
      c.merge((*cache)[1], by[2], "lengths");
    }
    if (cosine != nullptr && sine != nullptr) c.merge(cosine->front(), sine->front(), "caches");
    if (const dims* positions = c.shape(3)) {
      c.rank_is(3, 2);
      c.merge((*positions)[0], by[0], "batches");
      c.merge((*positions)[1], by[2], "lengths");
    }
  }
  c.set(0, c.type(0), shape_or_none(c, 0));
}

// RNN, GRU, LSTM: X, W, R, B, sequence_lens, initial_h, (initial_c, P).
void recurrent(infer_context& c) {
  const dims* x = c.shape(0);
  const dims* w = c.shape(1);
  const dims* r = c.shape(2);
  if (x == nullptr || w == nullptr || r == nullptr) {
    for (std::size_t i = 0; i < 3; ++i) c.set(i, c.type(0));
    return;
  }
  for (const std::size_t i : {0U, 1U, 2U}) c.rank_is(i, 3);
  const std::string& op = c.n().op_type;
  const std::int64_t gates = op == "LSTM" ? 4 : op == "GRU" ? 3 : 1;
  const bool batch_first = c.attributes().get_int("layout", 0) != 0;
  const std::int64_t steps = (*x)[batch_first ? 1 : 0];
  const std::int64_t batch = (*x)[batch_first ? 0 : 1];
  const std::int64_t directions =
      c.attributes().get_string("direction", "forward") == "bidirectional" ? 2 : 1;
  const std::int64_t hidden =
      c.merge((*r)[2], c.attributes().get_int("hidden_size", unknown_dim), "hidden_size and R");
  c.merge((*w)[0], directions, "directions of W");
  c.merge((*r)[0], directions, "directions of R");
  c.merge((*w)[1], dim_mul(gates, hidden), "rows of W");
  c.merge((*r)[1], dim_mul(gates, hidden), "rows of R");
  c.merge((*w)[2], (*x)[2], "widths of X and W");
  const auto check = [&](std::size_t i, const dims& wanted) {
    const dims* s = c.shape(i);
    if (s == nullptr) return;
    c.rank_is(i, wanted.size());
    for (std::size_t d = 0; d < wanted.size(); ++d) {
      c.merge((*s)[d], wanted[d], "input " + std::to_string(i) + " and what it goes with");
    }
  };
  const dims state =
      batch_first ? dims{batch, directions, hidden} : dims{directions, batch, hidden};
  check(3, {directions, dim_mul(2 * gates, hidden)});
  check(4, {batch});
  check(5, state);
  check(6, state);
  check(7, {directions, dim_mul(3, hidden)});
  c.set(0, c.type(0),
        batch_first ? dims{batch, steps, directions, hidden}
                    : dims{steps, directions, batch, hidden});
  c.set(1, c.type(0), state);
  c.set(2, c.type(0), state);
}

void swiglu(infer_context& c) {
  c.same_type({0, 1});
  if (c.shape(0) != nullptr && c.shape(1) != nullptr) {
    if (c.shape(0)->size() != c.shape(1)->size()) c.fail("its inputs differ in shape");
    for (std::size_t i = 0; i < c.shape(0)->size(); ++i) {
      c.merge((*c.shape(0))[i], (*c.shape(1))[i], "dimensions of its inputs");
    }
  }
  c.set(0, c.type(0), shape_or_none(c, 0));
}

}  // namespace

void add_sequence_rules(shape_rule_table& table) {
  table["Attention"] = {3, 7, 4, attention};
  table["LinearAttention"] = {3, 6, 2, linear_attention};
  table["CausalConvWithState"] = {2, 4, 2, causal_conv};
  table["RotaryEmbedding"] = {3, 4, 1, rotary};
  table["RNN"] = {3, 6, 2, recurrent};
  table["GRU"] = {3, 6, 2, recurrent};
  table["LSTM"] = {3, 8, 3, recurrent};
  table["SwiGLU"] = {2, 2, 1, swiglu};
}

}  // namespace mizzen::inference::detail
