// Operators of the domain "mizzen", which passes make.
#include "inference/graph/shape_rules.hpp"
#include "inference/graph/subgraph.hpp"

#include <limits>

namespace mizzen::inference::detail {
namespace {

constexpr std::size_t any_number = std::numeric_limits<std::size_t>::max();

// Whether rows are [batch, heads, rows, width], not [batch, rows, columns].
bool by_head(const dims& rows) { return rows.size() == 4; }
std::int64_t count_of(const dims& rows) { return rows[by_head(rows) ? 2 : 1]; }

// Rows [batch, rows, columns] of which heads of `width` columns begin at the offset; keys and
// values may also be by head.
void check_heads(infer_context& c, std::size_t input, std::int64_t offset, std::int64_t width) {
  if (c.shape(input) == nullptr) return;
  const std::int64_t heads = c.attributes().require_int("heads");
  if (const dims& rows = *c.shape(input); input != 0 && by_head(rows)) {
    c.merge(rows[1], heads, "heads");
    c.merge(rows[3], width, "columns of a head");
    if (offset != 0 || heads <= 0 || width <= 0) c.fail("its heads are not within the columns");
    return;
  }
  c.rank_is(input, 3);
  const std::int64_t columns = c.shape(input)->back();
  // In this order nothing overflows.
  if (offset < 0 || heads <= 0 || width <= 0 || heads > max_dimension / width) {
    c.fail("its heads are not within the columns");
  }
  if (columns >= 0 && (offset > columns || heads * width > columns - offset)) {
    c.fail("its heads are not within the columns");
  }
}

// passes/fuse_attention.cpp says what the inputs are.
void attention(infer_context& c) {
  c.same_type({0, 1, 2});
  const attribute_map& a = c.attributes();
  const std::int64_t depth = a.require_int("depth");
  const std::int64_t width = a.require_int("width");
  check_heads(c, 0, a.get_int("q_offset", 0), depth);
  check_heads(c, 1, a.get_int("k_offset", 0), depth);
  check_heads(c, 2, a.get_int("v_offset", 0), width);
  const dims* q = c.shape(0);
  const dims* k = c.shape(1);
  const dims* v = c.shape(2);
  if (q == nullptr || k == nullptr || v == nullptr) return c.set(0, c.type(0));
  c.merge(count_of(*k), count_of(*v), "rows of keys and values");
  for (const dims* other : {k, v}) {
    const bool known = (*q)[0] >= 0 && (*other)[0] >= 0;
    if (known && (*other)[0] != (*q)[0] && (*other)[0] != 1) {
      c.unsupported("batches that broadcast to the keys'");
    }
  }
  if (const dims* mask = c.shape(3)) {
    const std::int64_t heads = a.require_int("heads");
    const dims scores = {(*q)[0], heads, (*q)[1], count_of(*k)};
    bool fits = mask->size() <= scores.size();
    for (std::size_t i = 0; fits && i < mask->size(); ++i) {
      const std::int64_t have = (*mask)[i];
      const std::int64_t want = scores[i + scores.size() - mask->size()];
      fits = have < 0 || have == 1 || want < 0 || have == want;
    }
    if (!fits) c.unsupported("a mask that is larger than the scores");
  }
  const std::int64_t columns = a.require_int("heads") * width;
  c.set(0, c.type(0), dims{(*q)[0], (*q)[1], columns});
}

// x, W, W's scale, W's zero.
void dynamic_quantized_matmul(infer_context& c) {
  c.rank_is(1, 2);
  c.set(0, c.type(0), matmul_shape(c, 0, 1));
}

// x, a table of 256.
void byte_table(infer_context& c) {
  c.set(0, c.type(0), c.shape(0) ? std::optional(*c.shape(0)) : std::nullopt);
}

// a, its scale and zero point, b, its scale and zero point, the output's scale and zero point.
void byte_pair(infer_context& c) {
  one_number(c, {1, 2, 4, 5, 6, 7});
  if (c.shape(0) == nullptr || c.shape(3) == nullptr) return c.set(0, c.type(7));
  c.set(0, c.type(7), c.broadcast(*c.shape(0), *c.shape(3)));
}

// A graph of its own; see passes/partition.hpp.
void device_part(infer_context& c) {
  const auto body = c.attributes().require_graph("body");
  const auto made = outputs_of(specialise(*body, inputs_of(*body, {}, c.every_input())));
  bool all_known = true;
  for (std::size_t i = 0; i < made.size(); ++i) {
    c.set(i, made[i].type, made[i].shape);
    all_known = all_known && made[i].shape && dim_product(*made[i].shape) >= 0;
  }
  if (all_known) return;
  for (const std::int64_t i : c.attributes().get_ints("shape_inputs")) {
    static_cast<void>(c.known(static_cast<std::size_t>(i)));
  }
}

}  // namespace

void add_mizzen_rules(shape_rule_table& table) {
  table["Attention"] = {3, 8, 1, attention};
  table["DevicePart"] = {0, any_number, any_number, device_part};
  table["ConvStrip"] = {1, 7, 1, conv_strip};
  table["ByteTable"] = {2, 2, 1, byte_table};
  table["QLinearAdd"] = {8, 8, 1, byte_pair};
  table["QLinearMul"] = {8, 8, 1, byte_pair};
  table["QLinearConv"] = {8, 9, 1, qlinear_conv};
  table["QLinearMatMul"] = {8, 9, 1, qlinear_matmul};
  table["DynamicQuantizedMatMul"] = {3, 4, 1, dynamic_quantized_matmul};
}

}  // namespace mizzen::inference::detail
