// Operators that move elements. Most only say otherwise where they lie.
#include "cuda/kernel_writer.hpp"
#include "cuda/lower.hpp"

#include <algorithm>
#include <limits>
#include <map>
#include <string>
#include <string_view>

namespace mizzen::cuda {
namespace {

void reshape(lowering& l, const node& n) {
  const dims& shape = l.shape(n.outputs[0]);
  if (count_of(shape) != 0 &&
      l.rearrange(n.inputs[0], n.outputs[0], [&](const view& v) { return reshaped(v, shape); })) {
    return;
  }
  const view v = l.in_memory(n.inputs[0]);
  if (count_of(shape) == 0) return l.set(n.outputs[0], l.allocate(shape, v.type));
  if (const auto same = reshaped(v, shape)) return l.set(n.outputs[0], *same);
  const view dense = l.allocate(v.shape, v.type);
  l.copy(v, dense);
  l.set(n.outputs[0], *reshaped(dense, shape));
}

void transpose(lowering& l, const node& n) {
  dims order = n.get_ints("perm");
  if (order.empty()) {
    for (std::size_t d = l.shape(n.inputs[0]).size(); d-- > 0;)
      order.push_back(static_cast<std::int64_t>(d));
  }
  const auto permuted = [&](const view& v) {
    view out = v;
    for (std::size_t d = 0; d < order.size(); ++d) {
      out.shape[d] = v.shape[static_cast<std::size_t>(order[d])];
      out.strides[d] = v.strides[static_cast<std::size_t>(order[d])];
    }
    return out;
  };
  if (l.rearrange(n.inputs[0], n.outputs[0], permuted)) return;
  l.set(n.outputs[0], permuted(l.in_memory(n.inputs[0])));
}

void expand(lowering& l, const node& n) {
  l.set(n.outputs[0], broadcast(l.in_memory(n.inputs[0]), l.shape(n.outputs[0])));
}

bool supports_slice(const part& p, const node& n) { return n.opset >= 10 && moves_elements(p, n); }

void slice(lowering& l, const node& n) {
  view v = l.in_memory(n.inputs[0]);
  const auto starts = l.from().ints(n.inputs[1]);
  const auto steps =
      n.has_input(4) ? l.from().ints(n.inputs[4]) : dims(starts ? starts->size() : 0, 1);
  std::optional<dims> axes;
  if (n.has_input(3)) {
    axes = l.from().ints(n.inputs[3]);
  } else if (starts) {
    axes.emplace();
    for (std::size_t i = 0; i < starts->size(); ++i) axes->push_back(static_cast<std::int64_t>(i));
  }
  if (!starts || !steps || !axes) l.unsupported("starts, axes or steps that are no constants");
  const dims& shape = l.shape(n.outputs[0]);
  if (count_of(shape) == 0) return l.set(n.outputs[0], l.allocate(shape, v.type));
  for (std::size_t i = 0; i < axes->size(); ++i) {
    const std::size_t d = axis_of((*axes)[i], v.shape.size());
    const std::int64_t size = v.shape[d];
    const std::int64_t step = (*steps)[i];
    std::int64_t start = (*starts)[i];
    if (start < 0) start += size;
    start = std::clamp<std::int64_t>(start, 0, step > 0 ? size : size - 1);
    v.offset += start * v.strides[d];
    v.strides[d] *= step;
  }
  v.shape = shape;
  l.set(n.outputs[0], v);
}

void split(lowering& l, const node& n) {
  const view v = l.in_memory(n.inputs[0]);
  const std::size_t axis = axis_of(n.get_int("axis", 0), v.shape.size());
  std::int64_t at = 0;
  for (const value_id o : n.outputs) {
    if (o == no_value) l.unsupported("an output that is left out");
    view out = v;
    out.shape = l.shape(o);
    out.offset += at * v.strides[axis];
    at += out.shape[axis];
    l.set(o, out);
  }
}

bool supports_concat(const part& p, const node& n) {
  for (std::size_t i = 0; i < n.inputs.size(); ++i) {
    if (!n.has_input(i)) return false;
  }
  return moves_elements(p, n);
}

void concat(lowering& l, const node& n) {
  const dims& shape = l.shape(n.outputs[0]);
  const std::size_t axis = axis_of(n.get_int("axis", 0), shape.size());
  // Laid out as the first of its inputs that is a whole tensor.
  std::vector<std::size_t> order;
  for (const value_id v : n.inputs) {
    if (l.from().values[v].constant == nullptr && count_of(l.shape(v)) != 0) {
      order = physical_order(l.in_memory(v));
      break;
    }
  }
  const view out = l.allocate(shape, l.storage(l.type(n.outputs[0])), order);
  std::int64_t at = 0;
  for (const value_id v : n.inputs) {
    view part_of = out;
    part_of.shape = l.shape(v);
    part_of.offset += at * out.strides[axis];
    at += part_of.shape[axis];
    if (count_of(part_of.shape) == 0) continue;
    l.add(map_kernel(l.read(v, part_of.shape), part_of, l.buffers()));
  }
  l.set(n.outputs[0], out);
}

// How a coordinate c outside [0, size) is brought inside; null: there is the value given.
const std::map<std::string_view, std::string (*)(const std::string&, std::int64_t)>& pad_modes() {
  using text = const std::string&;
  // As C's remainder, but never negative.
  static constexpr auto modulo = [](text c, std::int64_t by) {
    return c + " %= " + number(by) + "; if (" + c + " < 0) " + c + " += " + number(by) + ";";
  };
  static const std::map<std::string_view, std::string (*)(text, std::int64_t)> modes = {
      {"constant", nullptr},
      {"edge",
       [](text c, std::int64_t size) {
         return "if (" + c + " < 0) " + c + " = 0; if (" + c + " >= " + number(size) + ") " + c +
                " = " + number(size - 1) + ";";
       }},
      {"reflect",
       [](text c, std::int64_t size) {
         if (size == 1) return c + " = 0;";
         const std::int64_t period = 2 * (size - 1);
         return modulo(c, period) + " if (" + c + " >= " + number(size) + ") " + c + " = " +
                number(period) + " - " + c + ";";
       }},
      {"wrap", [](text c, std::int64_t size) { return modulo(c, size); }}};
  return modes;
}

bool supports_pad(const part& p, const node& n) {
  return n.opset >= 11 && float_in(p, n, 0) && float_out(p, n) &&
         pad_modes().contains(n.get_string("mode", "constant"));
}

void pad(lowering& l, const node& n) {
  const view v = l.in_memory(n.inputs[0]);
  const auto pads = l.from().ints(n.inputs[1]);
  if (!pads) l.unsupported("pads that are no constants");
  dims axes;
  for (std::size_t d = 0; d < v.shape.size(); ++d) axes.push_back(static_cast<std::int64_t>(d));
  if (n.has_input(3)) {
    const auto given = l.from().ints(n.inputs[3]);
    if (!given) l.unsupported("axes that are no constants");
    axes = *given;
  }
  const auto inside = pad_modes().at(n.get_string("mode", "constant"));
  float filler = 0;
  if (inside == nullptr && n.has_input(2)) {
    const auto given = l.from().scalar(n.inputs[2]);
    if (!given) l.unsupported("a value that is no constant of float32");
    filler = *given;
  }
  std::vector<std::string> at;
  for (std::size_t d = 0; d < v.shape.size(); ++d)
    at.push_back("c" + number(static_cast<std::int64_t>(d)));
  std::string body;
  for (std::size_t i = 0; i < axes.size(); ++i) {
    const std::size_t d = axis_of(axes[i], v.shape.size());
    if (!inside) {
      body += "  " + at[d] + " -= " + number((*pads)[i]) + ";\n  if (" + at[d] + " < 0 || " +
              at[d] + " >= " + number(v.shape[d]) + ") return " + float_text(filler) + ";\n";
      continue;
    }
    if ((*pads)[i] == 0 && l.shape(n.outputs[0])[d] == v.shape[d]) continue;
    if (v.shape[d] == 0) l.unsupported("nothing to repeat");
    body += "  " + at[d] + " -= " + number((*pads)[i]) + "; " + inside(at[d], v.shape[d]) + "\n";
  }
  body += "  return read(a0, " + index_text(v, at) + ");\n";
  l.set(n.outputs[0], call(body, {v.buffer}));
}

}  // namespace

bool moves_elements(const part& p, const node& n) {
  if (!n.has_input(0) || size_of(p.values[n.inputs[0]].type) == 0) return false;
  return std::all_of(n.outputs.begin(), n.outputs.end(),
                     [&](value_id v) { return v == no_value || size_of(p.values[v].type) != 0; });
}

// offset + c0 * s0 + ….
std::string index_text(const view& v, const std::vector<std::string>& at) {
  std::string text = number(v.offset);
  for (std::size_t d = 0; d < at.size(); ++d) {
    if (v.strides[d] != 0) text += " + " + at[d] + " * " + number(v.strides[d]);
  }
  return text;
}

void add_data_rules(rule_table& table) {
  for (const std::string_view name : {"Reshape", "Flatten", "Squeeze", "Unsqueeze"}) {
    table[name] = {moves_elements, reshape};
  }
  table["Dropout"] = {[](const part& p, const node& n) {
                        return moves_elements(p, n) && n.outputs.size() == 1 && !n.has_input(2);
                      },
                      reshape};
  table["Transpose"] = {moves_elements, transpose};
  table["Expand"] = {moves_elements, expand};
  table["Slice"] = {supports_slice, slice};
  table["Split"] = {moves_elements, split};
  table["Concat"] = {supports_concat, concat};
  table["Pad"] = {supports_pad, pad};
}

}  // namespace mizzen::cuda
