// Rules of the domain com.microsoft.
#include "inference/graph/shape_rules.hpp"

#include <algorithm>

namespace mizzen::inference::detail {
namespace {

std::optional<dims> shape_or_none(infer_context& c, std::size_t i) {
  return c.shape(i) != nullptr ? std::optional(*c.shape(i)) : std::nullopt;
}

void same_as_first(infer_context& c) { c.set(0, c.type(0), shape_or_none(c, 0)); }

// Of operators whose optional inputs stand before others that are not.
void require(infer_context& c, std::initializer_list<std::size_t> inputs) {
  for (const std::size_t i : inputs) {
    if (!c.has(i)) c.fail("input " + std::to_string(i) + " is missing");
  }
}

void length_is(infer_context& c, std::size_t i, std::int64_t length) {
  if (c.shape(i) == nullptr) return;
  c.rank_is(i, 1);
  c.merge((*c.shape(i))[0], length, "length of input " + std::to_string(i) + " and its row");
}

void one_or(infer_context& c, std::size_t i, std::int64_t length) {
  const dims* s = c.shape(i);
  if (s != nullptr && dim_product(*s) != 1) length_is(c, i, length);
}

void shape_is(infer_context& c, std::size_t i, const dims& wanted) {
  const dims* s = c.shape(i);
  if (s == nullptr) return;
  c.rank_is(i, wanted.size());
  for (std::size_t d = 0; d < wanted.size(); ++d) {
    c.merge((*s)[d], wanted[d], "input " + std::to_string(i) + " and what it goes with");
  }
}

// x and a bias for each index of its last dimension.
void biased(infer_context& c) {
  c.same_type({0, 1});
  const dims* x = c.shape(0);
  if (x != nullptr && c.has(1)) {
    if (x->empty()) c.fail("its input must have at least one dimension");
    length_is(c, 1, x->back());
  }
  same_as_first(c);
}

void skip_norm(infer_context& c) {
  c.same_type({0, 1, 2, 3, 4});
  const dims* x = c.shape(0);
  if (x != nullptr) {
    if (x->empty()) c.fail("its input must have at least one dimension");
    for (const std::size_t i : {2U, 3U, 4U}) length_is(c, i, x->back());
    if (const dims* skip = c.shape(1)) {
      // It may lack the batch, or have one of 1.
      c.broadcasts_to(*skip, *x);
      for (std::size_t d = 1; d <= skip->size() && d < x->size(); ++d) {
        c.merge((*skip)[skip->size() - d], (*x)[x->size() - d], "dimensions of input and skip");
      }
    }
  }
  same_as_first(c);
  c.set(1, element_type::float32);
  c.set(2, element_type::float32);
  c.set(3, c.type(0), shape_or_none(c, 0));
}

void embed_norm(infer_context& c) {
  require(c, {2, 3, 5, 6});
  for (const std::size_t i : {0U, 2U, 3U, 4U}) c.rank_is(i, 2);
  const dims* ids = c.shape(0);
  const dims* words = c.shape(2);
  if (ids == nullptr || words == nullptr) {
    c.set(0, c.type(2));
    c.set(1, element_type::int32);
    return c.set(2, c.type(2));
  }
  shape_is(c, 1, *ids);
  for (const std::size_t i : {3U, 4U}) {
    if (const dims* s = c.shape(i)) c.merge((*s)[1], (*words)[1], "widths of the embeddings");
  }
  length_is(c, 5, (*words)[1]);
  length_is(c, 6, (*words)[1]);
  shape_is(c, 7, *ids);
  if (const dims* positions = c.shape(8)) {
    c.rank_is(8, 2);
    c.broadcasts_to(*positions, *ids);
    c.merge((*positions)[1], (*ids)[1], "lengths of position_ids and input_ids");
  }
  const dims out{(*ids)[0], (*ids)[1], (*words)[1]};
  c.set(0, c.type(2), out);
  c.set(1, element_type::int32, dims{(*ids)[0]});
  c.set(2, c.type(2), out);
}

std::int64_t heads_of(infer_context& c, std::string_view attribute) {
  const std::int64_t heads = c.attributes().require_int(attribute);
  if (heads < 1) c.fail("attribute '" + std::string(attribute) + "' must be at least 1");
  return heads;
}

std::int64_t divided(infer_context& c, std::int64_t width, std::int64_t heads) {
  if (width < 0) return unknown_dim;
  if (width % heads != 0) c.fail("num_heads does not divide its width");
  return width / heads;
}

// [batch], [batch, keys] or [batch, queries, keys]; and [1 or batch, 1 or heads, queries, keys].
void check_masks(infer_context& c, std::size_t mask, std::size_t bias, const dims& whole) {
  if (const dims* m = c.shape(mask)) {
    if (m->empty() || m->size() > 3)
      c.unsupported("a mask of " + std::to_string(m->size()) + " dimensions");
    if (m->size() == 1 && (*m)[0] >= 0 && whole[0] >= 0 && (*m)[0] != whole[0]) {
      c.unsupported("a mask of start and end positions");
    }
    c.merge((*m)[0], whole[0], "batches of the mask and the input");
    if (m->size() > 1) c.merge(m->back(), whole[3], "lengths of mask and keys");
    if (m->size() == 3) c.merge((*m)[1], whole[2], "lengths of mask and queries");
  }
  if (const dims* b = c.shape(bias)) {
    c.rank_is(bias, 4);
    c.broadcasts_to(*b, whole);
    c.merge((*b)[2], whole[2], "rows of the bias and the queries");
    c.merge((*b)[3], whole[3], "columns of the bias and the keys");
  }
}

void attention(infer_context& c) {
  c.same_type({0, 1, 2});
  const dims* x = c.shape(0);
  const dims* w = c.shape(1);
  const std::int64_t heads = heads_of(c, "num_heads");
  if (x == nullptr || w == nullptr) {
    c.set(0, c.type(0));
    return c.set(1, c.type(0));
  }
  c.rank_is(0, 3);
  c.rank_is(1, 2);
  c.merge((*x)[2], (*w)[0], "widths of input and weights");
  length_is(c, 2, (*w)[1]);
  dims sizes = c.attributes().get_ints("qkv_hidden_sizes");
  if (sizes.empty()) sizes = dims(3, divided(c, (*w)[1], 3));
  if (sizes.size() != 3) c.fail("attribute 'qkv_hidden_sizes' must have three entries");
  if (std::any_of(sizes.begin(), sizes.end(), [](std::int64_t s) { return s == 0 || s < -1; })) {
    c.fail("attribute 'qkv_hidden_sizes' must be at least 1");
  }
  c.merge(sizes[0], sizes[1], "widths of queries and keys");
  c.merge(dim_add(dim_add(sizes[0], sizes[1]), sizes[2]), (*w)[1], "qkv_hidden_sizes and weights");
  const std::int64_t width = divided(c, sizes[0], heads);
  const std::int64_t value_width = divided(c, sizes[2], heads);
  std::int64_t held = 0;
  if (c.has(4)) {
    const dims* past = c.shape(4);
    if (past != nullptr) {
      c.merge(width, value_width, "widths of keys and values");
      c.rank_is(4, 5);
      shape_is(c, 4, {2, (*x)[0], heads, unknown_dim, width});
    }
    held = past != nullptr ? (*past)[3] : unknown_dim;
  }
  const std::int64_t total = dim_add(held, (*x)[1]);
  check_masks(c, 3, 5, {(*x)[0], heads, (*x)[1], total});
  c.set(0, c.type(0), dims{(*x)[0], (*x)[1], sizes[2]});
  c.set(1, c.type(0), dims{2, (*x)[0], heads, total, width});
}

void multi_head(infer_context& c) {
  const std::int64_t heads = heads_of(c, "num_heads");
  if (!c.has(1) || !c.has(2)) c.unsupported("queries, keys and values packed in one input");
  c.same_type({0, 1, 2, 3});
  const dims* q = c.shape(0);
  const dims* k = c.shape(1);
  const dims* v = c.shape(2);
  if (q == nullptr || k == nullptr || v == nullptr) {
    for (std::size_t i = 0; i < 4; ++i) c.set(i, c.type(0));
    return;
  }
  c.rank_is(0, 3);
  if (k->size() != v->size() || (k->size() != 3 && k->size() != 4)) {
    c.unsupported("keys of " + std::to_string(k->size()) + " dimensions");
  }
  const bool split = k->size() == 4;
  const auto by_heads = [&](const dims& t) {
    return split ? t : dims{t[0], heads, t[1], divided(c, t[2], heads)};
  };
  const dims kk = by_heads(*k);
  const dims vv = by_heads(*v);
  const std::int64_t width = divided(c, (*q)[2], heads);
  shape_is(c, 1,
           split ? dims{(*q)[0], heads, unknown_dim, width} : dims{(*q)[0], unknown_dim, (*q)[2]});
  shape_is(c, 2,
           split ? dims{(*q)[0], heads, kk[2], unknown_dim} : dims{(*q)[0], kk[2], unknown_dim});
  if (c.has(3)) {
    length_is(c, 3, dim_add(dim_mul(2, (*q)[2]), dim_mul(heads, vv[3])));
  }
  if (c.has(6) != c.has(7)) c.fail("past_key and past_value go together");
  std::int64_t held = 0;
  if (c.has(6)) {
    shape_is(c, 6, {(*q)[0], heads, unknown_dim, kk[3]});
    held = c.shape(6) != nullptr ? (*c.shape(6))[2] : unknown_dim;
    shape_is(c, 7, {(*q)[0], heads, held, vv[3]});
  }
  const std::int64_t total = dim_add(held, kk[2]);
  check_masks(c, 4, 5, {(*q)[0], heads, (*q)[1], total});
  c.set(0, c.type(0), dims{(*q)[0], (*q)[1], dim_mul(heads, vv[3])});
  c.set(1, c.type(0), dims{(*q)[0], heads, total, kk[3]});
  c.set(2, c.type(0), dims{(*q)[0], heads, total, vv[3]});
  c.set(3, c.type(0), dims{(*q)[0], heads, (*q)[1], total});
}

void group_query(infer_context& c) {
  require(c, {5, 6});
  const std::int64_t heads = heads_of(c, "num_heads");
  const std::int64_t kv_heads = heads_of(c, "kv_num_heads");
  if (heads % kv_heads != 0) c.fail("num_heads is no multiple of kv_num_heads");
  if (c.has(1) != c.has(2) || c.has(3) != c.has(4)) c.fail("keys and values go together");
  const dims* q = c.shape(0);
  if (q == nullptr) {
    for (std::size_t i = 0; i < 3; ++i) c.set(i, c.type(0));
    return;
  }
  c.rank_is(0, 3);
  const std::int64_t width = divided(c, (*q)[2], c.has(1) ? heads : heads + 2 * kv_heads);
  for (const std::size_t i : {1U, 2U}) {
    shape_is(c, i, {(*q)[0], (*q)[1], dim_mul(kv_heads, width)});
  }
  std::int64_t held = 0;
  if (c.has(3)) {
    shape_is(c, 3, {(*q)[0], kv_heads, unknown_dim, width});
    held = c.shape(3) != nullptr ? (*c.shape(3))[2] : unknown_dim;
    shape_is(c, 4, {(*q)[0], kv_heads, held, width});
  }
  if (const dims* lengths = c.shape(5); lengths != nullptr && dim_product(*lengths) >= 0) {
    c.merge(dim_product(*lengths), (*q)[0], "seqlens_k and the batch");
  }
  one_number(c, {6});
  for (const std::size_t i : {7U, 8U}) {
    const dims* cache = c.shape(i);
    if (cache == nullptr) continue;
    c.rank_is(i, 2);
    if (width >= 0 && (*cache)[1] > width / 2) c.fail("its caches are wider than half a head");
    if (c.shape(7) != nullptr) shape_is(c, i, *c.shape(7));
  }
  if (const dims* positions = c.shape(9); positions != nullptr && (*q)[0] >= 0 && (*q)[1] >= 0) {
    c.merge(dim_product(*positions), dim_mul((*q)[0], (*q)[1]), "position_ids and the input");
  }
  std::int64_t rows = unknown_dim;
  if (const auto total = c.scalar(6)) {
    if (*total < 0) c.fail("'total_sequence_length' is negative");
    if (held >= 0) rows = std::max(held, *total);
  }
  const dims present{(*q)[0], kv_heads, rows, width};
  c.set(0, c.type(0), dims{(*q)[0], (*q)[1], dim_mul(heads, width)});
  c.set(1, c.type(0), present);
  c.set(2, c.type(0), present);
}

// input, position_ids, cos_cache, sin_cache.
void rotary(infer_context& c) {
  c.same_type({0, 2, 3});
  const dims* x = c.shape(0);
  c.rank_is(2, 2);
  if (c.shape(2) != nullptr) shape_is(c, 3, *c.shape(2));
  if (c.shape(2) != nullptr && (*c.shape(2))[1] == 0) c.fail("its caches are empty");
  const std::int64_t heads = c.attributes().get_int("num_heads", 0);
  if (c.attributes().get_int("rotary_embedding_dim", 0) > 0 && heads < 1) {
    c.fail("rotary_embedding_dim needs num_heads");
  }
  if (x != nullptr) {
    if (x->size() != 3 && x->size() != 4) c.fail("its input must have 3 or 4 dimensions");
    if (x->size() == 3 && heads > 0) divided(c, (*x)[2], heads);
    if (x->size() == 3 && heads <= 0 && c.shape(2) != nullptr && (*c.shape(2))[1] > 0) {
      divided(c, (*x)[2], 2 * (*c.shape(2))[1]);
    }
    const dims* positions = c.shape(1);
    const std::int64_t rows = (*x)[x->size() == 4 ? 2 : 1];
    if (positions != nullptr && dim_product(*positions) != 1) shape_is(c, 1, {(*x)[0], rows});
  }
  same_as_first(c);
}

void matmul_n_bits(infer_context& c) {
  const std::int64_t depth = c.attributes().require_int("K");
  const std::int64_t columns = c.attributes().require_int("N");
  const std::int64_t bits = c.attributes().get_int("bits", 4);
  const std::int64_t block = c.attributes().require_int("block_size");
  if (depth < 1 || columns < 1 || depth > max_dimension || columns > max_dimension) {
    c.fail("K and N must be at least 1");
  }
  if (block < 16 || block > (1 << 20) || (block & (block - 1)) != 0) {
    c.fail("block_size must be a power of two, at least 16");
  }
  if (bits < 1 || bits > 8) c.fail("bits must be 1 to 8");
  const std::int64_t blocks = (depth + block - 1) / block;
  const auto count_is = [&](std::size_t i, std::int64_t wanted) {
    const dims* s = c.shape(i);
    if (s != nullptr && dim_product(*s) >= 0) {
      c.merge(dim_product(*s), wanted, "elements of input " + std::to_string(i) + " and N, K");
    }
  };
  if (c.type(1) != element_type::uint8) c.fail("B must be uint8");
  count_is(1, dim_mul(columns, blocks * (block * bits / 8)));
  count_is(2, dim_mul(columns, blocks));
  count_is(3,
           dim_mul(columns, c.type(3) == element_type::uint8 ? (blocks * bits + 7) / 8 : blocks));
  if (c.has(5)) length_is(c, 5, columns);
  const dims* x = c.shape(0);
  if (x == nullptr) return c.set(0, c.type(0));
  if (x->empty()) c.fail("A must have at least one dimension");
  c.merge(x->back(), depth, "the last dimension of A and K");
  dims out = *x;
  out.back() = columns;
  c.set(0, c.type(0), out);
}

// Of a [..., K] times a matrix b [K, N].
void by_matrix(infer_context& c, element_type type, std::initializer_list<std::size_t> per_column) {
  c.rank_is(1, 2);
  if (c.shape(1) != nullptr) {
    for (const std::size_t i : per_column) one_or(c, i, (*c.shape(1))[1]);
  }
  c.set(0, type, matmul_shape(c, 0, 1));
}

void dynamic_quantize_matmul(infer_context& c) {
  by_matrix(c, c.type(0), {2, 3});
  if (c.shape(1) != nullptr) length_is(c, 4, (*c.shape(1))[1]);
}

void matmul_integer_to_float(infer_context& c) {
  one_number(c, {2, 4});
  by_matrix(c, c.type(2), {3, 5});
  if (c.shape(1) != nullptr) length_is(c, 6, (*c.shape(1))[1]);
}

// A, a_scale, a_zero, B, b_scale, b_zero, C, y_scale, y_zero; floats without the last two.
void quantised_gemm(infer_context& c) {
  require(c, {1, 2, 3, 4, 5});
  one_number(c, {1, 2, 7, 8});
  c.rank_is(0, 2);
  c.rank_is(3, 2);
  if (c.has(7)) require(c, {8});
  const element_type type = c.has(7) ? c.type(8) : element_type::float32;
  const dims* a = c.shape(0);
  const dims* b = c.shape(3);
  if (a == nullptr || b == nullptr) return c.set(0, type, dims{unknown_dim, unknown_dim});
  const std::size_t ta = c.attributes().get_int("transA", 0) != 0 ? 1 : 0;
  const std::size_t tb = c.attributes().get_int("transB", 0) != 0 ? 1 : 0;
  c.merge((*a)[1 - ta], (*b)[tb], "inner dimensions");
  const dims out{(*a)[ta], (*b)[1 - tb]};
  for (const std::size_t i : {4U, 5U}) one_or(c, i, out[1]);
  if (const dims* bias = c.shape(6)) c.broadcasts_to(*bias, out);
  c.set(0, type, out);
}

void qlinear_binary(infer_context& c) {
  require(c, {3, 4, 6});
  one_number(c, {1, 2, 4, 5, 6, 7});
  const dims* a = c.shape(0);
  const dims* b = c.shape(3);
  c.set(0, c.type(0), a && b ? std::optional(c.broadcast(*a, *b)) : std::nullopt);
}

void qlinear_unary(infer_context& c) {
  require(c, {3});
  one_number(c, {1, 2, 3, 4});
  same_as_first(c);
}

void qlinear_global_pool(infer_context& c) {
  one_number(c, {1, 2, 3, 4});
  global_pool(c);
}

void fused_matmul(infer_context& c) {
  c.same_type({0, 1});
  if (c.shape(0) == nullptr || c.shape(1) == nullptr) return c.set(0, c.type(0));
  dims a = *c.shape(0);
  dims b = *c.shape(1);
  if (a.size() < 2 || b.size() < 2) c.unsupported("vectors");
  if (c.attributes().get_int("transA", 0) != 0) std::swap(a.back(), a[a.size() - 2]);
  if (c.attributes().get_int("transB", 0) != 0) std::swap(b.back(), b[b.size() - 2]);
  c.merge(a.back(), b[b.size() - 2], "inner dimensions");
  dims out = c.broadcast({a.begin(), a.end() - 2}, {b.begin(), b.end() - 2});
  out.push_back(a[a.size() - 2]);
  out.push_back(b.back());
  c.set(0, c.type(0), out);
}

}  // namespace

void add_microsoft_rules(shape_rule_table& table) {
  table["Attention"] = {2, 7, 2, attention};
  table["BiasGelu"] = {2, 2, 1, biased};
  table["DynamicQuantizeMatMul"] = {3, 5, 1, dynamic_quantize_matmul};
  table["EmbedLayerNormalization"] = {1, 9, 3, embed_norm};
  table["FastGelu"] = {1, 2, 1, biased};
  table["FusedMatMul"] = {2, 2, 1, fused_matmul};
  table["Gelu"] = {1, 1, 1, same_as_first};
  table["GroupQueryAttention"] = {1, 16, 4, group_query};
  table["MatMulIntegerToFloat"] = {4, 7, 1, matmul_integer_to_float};
  table["MatMulNBits"] = {3, 6, 1, matmul_n_bits};
  table["MultiHeadAttention"] = {1, 10, 4, multi_head};
  table["QGemm"] = {6, 9, 1, quantised_gemm};
  table["QLinearAdd"] = {2, 8, 1, qlinear_binary};
  table["QLinearGlobalAveragePool"] = {5, 5, 1, qlinear_global_pool};
  table["QLinearLeakyRelu"] = {2, 5, 1, qlinear_unary};
  table["QLinearMul"] = {2, 8, 1, qlinear_binary};
  table["QLinearSigmoid"] = {2, 5, 1, qlinear_unary};
  table["QuickGelu"] = {1, 1, 1, same_as_first};
  table["RotaryEmbedding"] = {4, 4, 1, rotary};
  table["SkipLayerNormalization"] = {3, 5, 4, skip_norm};
  table["SkipSimplifiedLayerNormalization"] = {3, 4, 4, skip_norm};
}

}  // namespace mizzen::inference::detail
