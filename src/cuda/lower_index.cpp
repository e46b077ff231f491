// Operators whose elements lie where indices or coordinates say.
#include "cuda/kernel_writer.hpp"
#include "cuda/lower.hpp"

#include <algorithm>
#include <limits>
#include <numeric>
#include <string>

namespace mizzen::cuda {
namespace {

std::string number(std::size_t v) { return std::to_string(v); }
using mizzen::cuda::number;

std::string coordinate(std::size_t d) { return "c" + number(d); }

std::vector<std::string> coordinates(std::size_t first, std::size_t last) {
  std::vector<std::string> at;
  for (std::size_t d = first; d < last; ++d) at.push_back(coordinate(d));
  return at;
}

// Element `at` of argument a0, as what an expression has.
std::string element(const view& data, const std::vector<std::string>& at) {
  return std::string(is_integer(data.type) ? "whole" : "read") + "(a0, " + index_text(data, at) +
         ")";
}

// An index that is counted from the end where it is negative. What lies outside, which only
// indices that are computed in the part can, is read as 0.
std::string checked_index(const std::string& name, const std::string& value, std::int64_t size) {
  return "  INDEX " + name + ";\n  {\n    long long i = " + value +
         ";\n    if (i < 0) i += " + number(size) + ";\n    if (i < 0 || i >= " + number(size) +
         ") return 0;\n    " + name + " = (INDEX)i;\n  }\n";
}

// Indices that are an input are looked at before the run.
void check_indices(lowering& l, const node& n, value_id indices, std::int64_t low,
                   std::int64_t high) {
  if (const auto constant = l.from().ints(indices)) {
    for (const std::int64_t i : *constant) {
      if (i < low || i > high) l.unsupported("an index outside the data");
    }
  } else if (const auto input = l.input_number(indices)) {
    l.check({*input, low, high, describe(n)});
  }
}

bool has_indices(const part& p, const node& n) {
  return moves_elements(p, n) && n.has_input(1) && is_integer(p.values[n.inputs[1]].type);
}

void gather(lowering& l, const node& n) {
  const view data = l.in_memory(n.inputs[0]);
  const std::size_t axis = axis_of(n.get_int("axis", 0), data.shape.size());
  const std::int64_t size = data.shape[axis];
  check_indices(l, n, n.inputs[1], -size, size - 1);
  const view indices = l.in_memory(n.inputs[1]);
  const std::size_t index_rank = indices.shape.size();
  std::vector<std::string> at = coordinates(0, axis);
  at.emplace_back("k");
  for (std::size_t d = axis + 1; d < data.shape.size(); ++d) {
    at.push_back(coordinate(d + index_rank - 1));
  }
  const std::string index =
      "whole(a1, " + index_text(indices, coordinates(axis, axis + index_rank)) + ")";
  l.set(n.outputs[0],
        call(checked_index("k", index, size) + "  return " + element(data, at) + ";\n",
             {data.buffer, indices.buffer}, is_integer(data.type)));
}

void gather_elements(lowering& l, const node& n) {
  const view data = l.in_memory(n.inputs[0]);
  const std::size_t rank = data.shape.size();
  const std::size_t axis = axis_of(n.get_int("axis", 0), rank);
  const std::int64_t size = data.shape[axis];
  check_indices(l, n, n.inputs[1], -size, size - 1);
  const view indices = l.in_memory(n.inputs[1]);
  std::vector<std::string> at = coordinates(0, rank);
  const std::string index = "whole(a1, " + index_text(indices, at) + ")";
  at[axis] = "k";
  l.set(n.outputs[0],
        call(checked_index("k", index, size) + "  return " + element(data, at) + ";\n",
             {data.buffer, indices.buffer}, is_integer(data.type)));
}

// The places that rows of indices name: statements that make k0, k1, …, from row `at`.
std::string read_tuple(const view& indices, std::vector<std::string> at, const dims& sizes) {
  std::string text;
  at.emplace_back();
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    at.back() = number(i);
    text += checked_index("k" + number(i), "whole(a1, " + index_text(indices, at) + ")", sizes[i]);
  }
  return text;
}

// Where all sizes that tuples index are one, tuples of an input are looked at before the run.
void check_tuples(lowering& l, const node& n, const dims& sizes) {
  const auto [low, high] = std::minmax_element(sizes.begin(), sizes.end());
  if (low != sizes.end() && *low == *high) check_indices(l, n, n.inputs[1], -*low, *low - 1);
}

void gather_nd(lowering& l, const node& n) {
  const view data = l.in_memory(n.inputs[0]);
  const view indices = l.in_memory(n.inputs[1]);
  const auto batch = static_cast<std::size_t>(n.get_int("batch_dims", 0));
  const std::size_t rows = indices.shape.size() - 1;  // dimensions of the indices but the tuples'
  const auto length = static_cast<std::size_t>(indices.shape.back());
  if (batch + length > data.shape.size()) l.unsupported("indices longer than the data's rank");
  const dims sizes(data.shape.begin() + static_cast<std::ptrdiff_t>(batch),
                   data.shape.begin() + static_cast<std::ptrdiff_t>(batch + length));
  check_tuples(l, n, sizes);
  std::vector<std::string> at = coordinates(0, batch);
  for (std::size_t i = 0; i < length; ++i) at.push_back("k" + number(i));
  for (std::size_t d = batch + length; d < data.shape.size(); ++d) {
    at.push_back(coordinate(d - batch - length + rows));
  }
  const std::string body = read_tuple(indices, coordinates(0, rows), sizes);
  l.set(n.outputs[0], call(body + "  return " + element(data, at) + ";\n",
                           {data.buffer, indices.buffer}, is_integer(data.type)));
}

bool supports_scatter(const part& p, const node& n) {
  return has_indices(p, n) && n.has_input(2) && n.get_string("reduction", "none") == "none";
}

// A copy of the data, into which the updates are written: one thread for each.
void scatter(lowering& l, const node& n) {
  const bool tuples = n.op_type == "ScatterND";
  const value_id o = n.outputs[0];
  const view out = l.allocate(l.shape(o), l.storage(l.type(o)));
  if (count_of(out.shape) == 0) return l.set(o, out);
  l.add(map_kernel(l.read(n.inputs[0], out.shape), out, l.buffers()));
  const view indices = l.in_memory(n.inputs[1]);
  const view updates = l.in_memory(n.inputs[2]);
  const std::size_t rank = out.shape.size();
  std::vector<std::size_t> order(updates.shape.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const std::vector<loop> loops = make_loops(updates.shape, order, {}, false);
  writer w(l.buffers());
  const std::int64_t count = count_of(updates.shape);
  if (count == 0) return l.set(o, out);
  w.body = "  const INDEX i = (INDEX)blockIdx.x * " + number(threads_per_block) +
           " + (INDEX)threadIdx.x;\n  if (i >= " + number(count) + ") return;\n";
  std::vector<std::string> at = w.decode(loops, "i", "c", "  ");
  at.resize(updates.shape.size());  // none for a scalar
  const std::string from = w.pointer(updates.buffer) + "[" + index_text(updates, at) + "]";
  const std::string value = std::string(is_integer(out.type) ? "(long long)" : "to_float(") + from +
                            (is_integer(out.type) ? "" : ")");
  const std::string list = w.pointer(indices.buffer);
  std::vector<std::string> to;
  const auto index = [&](const std::string& name, const std::string& place, std::int64_t size) {
    w.body += "  long long " + name + " = whole(" + list + ", " + place + ");\n  if (" + name +
              " < 0) " + name + " += " + number(size) + ";\n  if (" + name + " < 0 || " + name +
              " >= " + number(size) + ") return;\n";
  };
  if (tuples) {
    const std::size_t rows = indices.shape.size() - 1;
    const auto length = static_cast<std::size_t>(indices.shape.back());
    if (length > rank) l.unsupported("indices longer than the data's rank");
    check_tuples(l, n,
                 dims(out.shape.begin(), out.shape.begin() + static_cast<std::ptrdiff_t>(length)));
    std::vector<std::string> row(at.begin(), at.begin() + static_cast<std::ptrdiff_t>(rows));
    row.emplace_back();
    for (std::size_t i = 0; i < length; ++i) {
      row.back() = number(i);
      index("k" + number(i), index_text(indices, row), out.shape[i]);
      to.push_back("k" + number(i));
    }
    to.insert(to.end(), at.begin() + static_cast<std::ptrdiff_t>(rows), at.end());
  } else {
    const std::size_t axis = axis_of(n.get_int("axis", 0), rank);
    check_indices(l, n, n.inputs[1], -out.shape[axis], out.shape[axis] - 1);
    index("k", index_text(indices, at), out.shape[axis]);
    to = at;
    to[axis] = "k";
  }
  w.body += "  put(q + (" + index_text(out, to) + "), " + value + ");\n";
  l.add(
      w.finish(out.buffer, (count + threads_per_block - 1) / threads_per_block, threads_per_block));
  l.set(o, out);
}

// Each dimension as repeats times itself.
void tile(lowering& l, const node& n) {
  const value_id o = n.outputs[0];
  const view x = l.in_memory(n.inputs[0]);
  const view out = l.allocate(l.shape(o), x.type);
  if (count_of(out.shape) != 0) {
    view from = x;
    dims apart;
    from.shape.clear();
    from.strides.clear();
    for (std::size_t d = 0; d < x.shape.size(); ++d) {
      for (const std::int64_t size : {out.shape[d] / x.shape[d], x.shape[d]}) apart.push_back(size);
      from.strides.push_back(0);
      from.strides.push_back(x.strides[d]);
    }
    from.shape = apart;
    l.copy(from, *reshaped(out, apart));
  }
  l.set(o, out);
}

bool supports_trilu(const part& p, const node& n) {
  return moves_elements(p, n) && (!n.has_input(1) || p.values[n.inputs[1]].constant != nullptr ||
                                  is_integer(p.values[n.inputs[1]].type));
}

void trilu(lowering& l, const node& n) {
  const dims& shape = l.shape(n.outputs[0]);
  std::int64_t k = 0;
  if (n.has_input(1)) {
    const auto given = l.from().ints(n.inputs[1]);
    if (!given || given->size() != 1) l.unsupported("a diagonal that is no constant");
    k = given->front();
  }
  const bool upper = n.get_int("upper", 1) != 0;
  const std::size_t r = shape.size();
  const expression_ptr inside =
      call("  return (long long)" + coordinate(r - 1) + " - " + coordinate(r - 2) +
               (upper ? " >= " : " <= ") + integer_text(k) + " ? 1.0f : 0.0f;\n",
           {});
  const expression_ptr x = l.read(n.inputs[0], shape);
  l.set(n.outputs[0], operation(x->integer ? "($0 != 0.0f ? $1 : 0)" : "($0 != 0.0f ? $1 : 0.0f)",
                                {inside, x}, x->integer));
}

bool supports_cumsum(const part& p, const node& n) {
  return n.has_input(0) && n.has_input(1) && is_integer(p.values[n.inputs[1]].type) &&
         (float_in(p, n, 0) || is_integer(p.values[n.inputs[0]].type)) && moves_elements(p, n);
}

// One thread for each row: the axis is short where it is used.
void cumsum(lowering& l, const node& n) {
  const value_id o = n.outputs[0];
  const auto given = l.from().ints(n.inputs[1]);
  if (!given || given->size() != 1) l.unsupported("an axis that is no constant");
  const view x = l.in_memory(n.inputs[0]);
  const view out = l.allocate(l.shape(o), x.type);
  l.set(o, out);
  const std::int64_t all = count_of(out.shape);
  if (all == 0) return;
  const std::size_t axis = axis_of(given->front(), x.shape.size());
  const std::int64_t size = x.shape[axis];
  dims rows = x.shape;
  rows[axis] = 1;
  std::vector<std::size_t> order(rows.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  writer w(l.buffers());
  const std::int64_t count = all / size;
  w.body = "  const INDEX i = (INDEX)blockIdx.x * " + number(threads_per_block) +
           " + (INDEX)threadIdx.x;\n  if (i >= " + number(count) + ") return;\n";
  std::vector<std::string> at = w.decode(make_loops(rows, order, {}, false), "i", "c", "  ");
  at[axis] = n.get_int("reverse", 0) != 0 ? number(size - 1) + " - j" : "j";
  at[axis] = "(" + at[axis] + ")";
  const bool whole = is_integer(x.type);
  const std::string next = std::string("s += ") + (whole ? "whole(" : "read(") +
                           w.pointer(x.buffer) + ", " + index_text(x, at) + ");";
  const std::string store = "put(q + (" + index_text(out, at) + "), s);";
  const bool exclusive = n.get_int("exclusive", 0) != 0;
  w.body += std::string("  ") + (whole ? "long long s = 0" : "float s = 0.0f") +
            ";\n  for (INDEX j = 0; j < " + number(size) + "; ++j) {\n    " +
            (exclusive ? store : next) + "\n    " + (exclusive ? next : store) + "\n  }\n";
  l.add(
      w.finish(out.buffer, (count + threads_per_block - 1) / threads_per_block, threads_per_block));
}

// What follows from shapes alone is a constant when a part is lowered.
bool makes_constant(const part& p, const node& n) {
  return n.outputs.size() == 1 && n.outputs[0] != no_value &&
         size_of(p.values[n.outputs[0]].type) != 0;
}

void not_constant(lowering& l, const node&) {
  l.unsupported("a shape that is known only while it runs");
}

bool supports_blocks(const part& p, const node& n) {
  return moves_elements(p, n) && n.get_int("blocksize", 0) > 0;
}

// Both are a transposition of more dimensions.
void move_blocks(lowering& l, const node& n) {
  const value_id o = n.outputs[0];
  const std::int64_t b = n.get_int("blocksize", 1);
  const bool to_space = n.op_type == "DepthToSpace";
  const bool columns_first = n.get_string("mode", "DCR") == "CRD";
  const view x = l.in_memory(n.inputs[0]);
  const dims& shape = l.shape(o);
  const view out = l.allocate(shape, x.type);
  l.set(o, out);
  if (count_of(shape) == 0) return;
  // The side with small pictures has blocks among its channels: [N, b, b, C, H, W].
  const view& deep = to_space ? x : out;
  const view& wide = to_space ? out : x;
  const std::int64_t channels = wide.shape[1];
  const std::int64_t h = deep.shape[2];
  const std::int64_t w = deep.shape[3];
  view a = *reshaped(deep, columns_first && to_space ? dims{deep.shape[0], channels, b, b, h, w}
                                                     : dims{deep.shape[0], b, b, channels, h, w});
  const view s = *reshaped(wide, {wide.shape[0], channels, h, b, w, b});
  // a in the order of s: N, C, H, b, W, b.
  const std::vector<std::size_t> order = columns_first && to_space
                                             ? std::vector<std::size_t>{0, 1, 4, 2, 5, 3}
                                             : std::vector<std::size_t>{0, 3, 4, 1, 5, 2};
  view moved = a;
  for (std::size_t d = 0; d < order.size(); ++d) {
    moved.shape[d] = a.shape[order[d]];
    moved.strides[d] = a.strides[order[d]];
  }
  if (to_space) {
    l.copy(moved, s);
  } else {
    l.copy(s, moved);
  }
}

}  // namespace

void add_index_rules(rule_table& table) {
  table["Gather"] = {has_indices, gather};
  table["GatherElements"] = {has_indices, gather_elements};
  table["GatherND"] = {has_indices, gather_nd};
  table["ScatterElements"] = {supports_scatter, scatter};
  table["ScatterND"] = {supports_scatter, scatter};
  table["Tile"] = {moves_elements, tile};
  table["Trilu"] = {supports_trilu, trilu};
  table["CumSum"] = {supports_cumsum, cumsum};
  table["DepthToSpace"] = {supports_blocks, move_blocks};
  table["SpaceToDepth"] = {supports_blocks, move_blocks};
  for (const std::string_view name : {"ConstantOfShape", "Range", "EyeLike"}) {
    table[name] = {makes_constant, not_constant};
  }
}

}  // namespace mizzen::cuda
