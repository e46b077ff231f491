// A product with one-hot rows picks rows of the other operand: it becomes a Gather. What is done to
// each row that a Gather picks from a small table is done once to the table.
#include "inference/passes/matcher.hpp"
#include "inference/passes/passes.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace mizzen::inference::detail {
namespace {

// Rows are picked by index - first + 1 of a table that begins and ends with a row of zeros, for
// what is outside.
struct lookup {
  value_id indices = no_value;  // one where the one-hot row was; its last dimension is 1
  bool has_last = true;         // whether it has that dimension
  std::int64_t first = 0;       // index of the first row
  bool twice = false;           // negative indices count from the end
};

std::optional<std::vector<std::int64_t>> integers(const graph& g, value_id v) {
  if (v == no_value || !g.values[v].constant) return std::nullopt;
  const tensor& t = *g.values[v].constant;
  std::vector<std::int64_t> all;
  if (t.type() == element_type::int64) {
    const auto data = t.data<std::int64_t>();
    all.assign(data.begin(), data.end());
  } else if (t.type() == element_type::int32) {
    const auto data = t.data<std::int32_t>();
    all.assign(data.begin(), data.end());
  } else {
    return std::nullopt;
  }
  return all;
}

bool is_index(element_type t) { return t == element_type::int32 || t == element_type::int64; }

// x == [first, first + 1 …], x being the same along the last dimension.
std::optional<lookup> match_equal(const matcher& m, const node& equal, std::int64_t rows) {
  const graph& g = m.g();
  const auto& whole = g.values[equal.outputs[0]].shape;
  for (const auto& [x, numbers] : matcher::operands(equal)) {
    const auto all = integers(g, numbers);
    if (!all || static_cast<std::int64_t>(all->size()) != rows) continue;
    const shape_type& shape = g.values[numbers].constant->shape();
    if (shape.empty() || shape.back() != rows) continue;
    // Room for what is just outside in 32 bits.
    constexpr std::int64_t most = std::int64_t{1} << 30;
    if ((*all)[0] > most || (*all)[0] < -most || rows > most) continue;
    bool consecutive = true;
    for (std::int64_t i = 0; consecutive && i < rows; ++i) {
      consecutive = (*all)[static_cast<std::size_t>(i)] == (*all)[0] + i;
    }
    value_id indices = x;
    if (const node* expand = m.made_by(x, "Expand")) indices = expand->inputs[0];
    const auto& have = g.values[indices].shape;
    const bool fits = consecutive && whole && have && have->size() == whole->size() &&
                      have->back() == 1 && whole->back() == rows &&
                      std::equal(have->begin(), have->end() - 1, whole->begin()) &&
                      std::find(have->begin(), have->end(), unknown_dim) == have->end();
    if (fits) return lookup{indices, true, (*all)[0], false};
  }
  return std::nullopt;
}

// A value of ones and zeros in which each row along the last dimension is one-hot, or zero.
std::optional<lookup> match_one_hot(const matcher& m, value_id v, std::int64_t rows) {
  const graph& g = m.g();
  if (const node* n = m.made_by(v, "OneHot")) {
    const auto depth = integers(g, n->inputs[1]);
    const auto& values = g.values[n->inputs[2]].constant;
    const auto& shape = g.values[n->outputs[0]].shape;
    const std::int64_t axis = n->attributes.get_int("axis", -1);
    if (!depth || depth->size() != 1 || (*depth)[0] != rows || rows > (std::int64_t{1} << 29) ||
        !values || values->type() != element_type::float32 || values->size() != 2 || !shape) {
      return std::nullopt;
    }
    const bool plain = values->data<float>()[0] == 0.0F && values->data<float>()[1] == 1.0F;
    const bool last = axis == -1 || axis == static_cast<std::int64_t>(shape->size()) - 1;
    if (!plain || !last || !is_index(g.values[n->inputs[0]].type)) return std::nullopt;
    return lookup{n->inputs[0], false, -rows, true};
  }
  const node* cast = m.made_by(v, "Cast");
  const node* equal = cast == nullptr ? nullptr : m.made_by(cast->inputs[0], "Equal");
  return equal == nullptr ? std::nullopt : match_equal(m, *equal, rows);
}

class builder {
 public:
  explicit builder(graph& g) : g_(g) {}

  value_id integer(const std::string& name, std::int64_t i, element_type type,
                   bool vector = false) {
    shape_type shape;
    if (vector) shape = {1};
    tensor t(type, shape);
    if (type == element_type::int64) {
      t.data<std::int64_t>()[0] = i;
    } else {
      t.data<std::int32_t>()[0] = static_cast<std::int32_t>(i);
    }
    return add_constant(g_, name, std::move(t));
  }

  // The value of a new node.
  value_id made(const std::string& name, const char* op_type, std::int64_t opset,
                std::vector<value_id> inputs, element_type type, std::vector<node>& nodes) {
    value v;
    v.name = name;
    v.type = type;
    node n;
    n.name = name;
    n.op_type = op_type;
    n.opset = opset;
    n.inputs = std::move(inputs);
    n.outputs = {g_.add_value(std::move(v))};
    nodes.push_back(std::move(n));
    return nodes.back().outputs[0];
  }

 private:
  graph& g_;
};

// Zeros, the rows (twice where negative indices count from the end), zeros.
std::optional<tensor> table_of(const tensor& weights, bool twice, pass_context& context) {
  const std::int64_t rows = weights.shape()[0];
  const auto data = weights.data<float>();
  // Zero times infinity is not zero.
  if (!std::all_of(data.begin(), data.end(), [](float w) { return std::isfinite(w); })) {
    return std::nullopt;
  }
  const std::size_t bytes = weights.bytes().size();
  const std::size_t columns = bytes / static_cast<std::size_t>(rows);
  const std::size_t needed = (twice ? 2 : 1) * bytes + 2 * columns;
  if (needed > context.budget) return std::nullopt;
  context.budget -= needed;
  tensor table(element_type::float32, {(twice ? 2 : 1) * rows + 2, weights.shape()[1]});
  std::byte* const to = table.mutable_bytes().data();
  std::memset(to, 0, needed);
  std::memcpy(to + columns, weights.bytes().data(), bytes);
  if (twice) std::memcpy(to + columns + bytes, weights.bytes().data(), bytes);
  return table;
}

bool products_to_lookups(graph& g, pass_context& context) {
  const matcher m(g);
  builder b(g);
  std::vector<std::pair<std::size_t, std::vector<node>>> found;
  for (std::size_t i = 0; i < g.nodes.size(); ++i) {
    const node& n = g.nodes[i];
    if (!n.domain.empty() || !n.post_ops.empty() || n.op_type != "MatMul") continue;
    const auto weights = g.values[n.inputs[1]].constant;
    if (!weights || weights->type() != element_type::float32 || weights->rank() != 2 ||
        weights->size() == 0) {
      continue;
    }
    const std::int64_t rows = weights->shape()[0];
    const auto hot = match_one_hot(m, n.inputs[0], rows);
    auto table = hot ? table_of(*weights, hot->twice, context) : std::nullopt;
    if (!table) continue;
    std::vector<node> nodes;
    const element_type type = g.values[hot->indices].type;
    value_id indices = hot->indices;
    if (hot->has_last) {
      const value_id last = b.integer(n.name + ".last", -1, element_type::int64, true);
      indices = b.made(n.name + ".indices", "Squeeze", 13, {indices, last}, type, nodes);
    }
    const std::int64_t below = hot->first - 1;
    const std::int64_t above = hot->first + table->shape()[0] - 2;
    indices = b.made(n.name + ".bounded", "Clip", 13,
                     {indices, b.integer(n.name + ".below", below, type),
                      b.integer(n.name + ".above", above, type)},
                     type, nodes);
    indices = b.made(n.name + ".row", "Sub", 14,
                     {indices, b.integer(n.name + ".first", below, type)}, type, nodes);
    node gather;
    gather.name = n.name;
    gather.op_type = "Gather";
    gather.opset = 13;
    gather.inputs = {add_constant(g, n.name + ".table", std::move(*table)), indices};
    gather.outputs = n.outputs;
    nodes.push_back(std::move(gather));
    found.emplace_back(i, std::move(nodes));
  }
  if (found.empty()) return false;
  std::vector<node> nodes;
  auto next = found.begin();
  for (std::size_t i = 0; i < g.nodes.size(); ++i) {
    if (next == found.end() || next->first != i) {
      nodes.push_back(std::move(g.nodes[i]));
      continue;
    }
    for (node& n : next->second) nodes.push_back(std::move(n));
    ++next;
  }
  g.nodes = std::move(nodes);
  return true;
}

// A table so small that computing all of it costs next to nothing.
constexpr std::size_t small_table = std::size_t{1} << 16;

// The other operand of a node that does the same to every row: as a vector of the row's length, or
// of one element. nullopt if there is no such operand; no_value for a unary node.
std::optional<value_id> same_for_rows(graph& g, const node& n, value_id rows,
                                      std::int64_t columns) {
  static const std::set<std::string_view> unary = {"Abs",       "Gelu",  "HardSigmoid", "HardSwish",
                                                   "LeakyRelu", "Neg",   "Relu",        "Sigmoid",
                                                   "Softplus",  "Swish", "Tanh",        "Elu"};
  static const std::set<std::string_view> binary = {"Add", "Div", "Mul", "Sub"};
  if (!n.domain.empty() || !n.post_ops.empty() || n.outputs.size() != 1) return std::nullopt;
  if (unary.count(n.op_type) != 0) return no_value;
  if (binary.count(n.op_type) == 0 || n.inputs[0] == n.inputs[1]) return std::nullopt;
  const value_id other = n.inputs[n.inputs[0] == rows ? 1 : 0];
  const auto& constant = g.values[other].constant;
  const auto& shape = g.values[rows].shape;
  if (!constant || constant->type() != element_type::float32 || !shape ||
      constant->rank() > shape->size() ||
      (constant->size() != 1 && (constant->shape().back() != columns ||
                                 constant->size() != static_cast<std::size_t>(columns)))) {
    return std::nullopt;
  }
  if (constant->rank() <= 1) return other;
  const auto size = static_cast<std::int64_t>(constant->size());
  return add_constant(g, g.values[other].name, tensor::copy(constant->data<float>(), {size}));
}

bool rows_to_tables(graph& g) {
  const graph_index index(g);
  std::vector<std::size_t> producer = index.producer;
  std::vector<bool> made_of_constants(g.values.size(), false);
  bool changed = false;
  for (std::size_t i = 0; i < g.nodes.size(); ++i) {
    for (const value_id rows : g.nodes[i].inputs) {
      if (rows == no_value || rows >= producer.size() || producer[rows] == graph_index::none ||
          !index.single_use(rows)) {
        continue;
      }
      const std::size_t from = producer[rows];
      const node& gather = g.nodes[from];
      if (!gather.domain.empty() || gather.op_type != "Gather" ||
          gather.attributes.get_int("axis", 0) != 0) {
        continue;
      }
      const value_id table = gather.inputs[0];
      const auto& shape = g.values[table].shape;
      const bool constant = g.values[table].constant ||
                            (table < made_of_constants.size() && made_of_constants[table]);
      if (!constant || !shape || shape->size() != 2 ||
          g.values[table].type != element_type::float32 || shape->front() < 0 ||
          shape->back() < 0 ||
          static_cast<std::size_t>(shape->front() * shape->back()) > small_table) {
        continue;
      }
      const auto other = same_for_rows(g, g.nodes[i], rows, shape->back());
      if (!other) continue;
      // The two change places: the node takes the table, the Gather what it makes of that.
      node& n = g.nodes[i];
      value v;
      v.name = g.values[table].name + "." + n.op_type;
      v.type = element_type::float32;
      v.shape = g.values[table].shape;
      for (value_id& in : n.inputs) in = in == rows ? table : *other;
      const value_id y = n.outputs[0];
      n.outputs[0] = g.add_value(std::move(v));
      node& picks = g.nodes[from];
      picks.inputs[0] = n.outputs[0];
      picks.outputs[0] = y;
      made_of_constants.resize(g.values.size(), false);
      made_of_constants[n.outputs[0]] = true;
      std::swap(n, picks);
      producer[y] = i;
      changed = true;
      break;
    }
  }
  return changed;
}

}  // namespace

bool recognise_lookups(graph& g, pass_context& context) {
  const bool made = products_to_lookups(g, context);
  return rows_to_tables(g) || made;
}

}  // namespace mizzen::inference::detail
