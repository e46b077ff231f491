// ConvTranspose: the gradient of a convolution by its input, which is how cuDNN computes it.
#include "cuda/kernel_writer.hpp"
#include "cuda/lower.hpp"

#include <algorithm>
#include <string>

namespace mizzen::cuda {
namespace {

// The convolution that is transposed: from the output to the input.
struct window {
  dims begin, end, strides, dilations;
  bool is_plain = true;  // whether that convolution makes just the input's shape
};

window window_of(const node& n, const dims& kernel, const dims& in, const dims& out) {
  const std::size_t k = kernel.size();
  window w{dims(k, 0), dims(k, 0), n.get_ints("strides", dims(k, 1)),
           n.get_ints("dilations", dims(k, 1))};
  const dims pads = n.get_ints("pads", dims(2 * k, 0));
  const dims extra = n.get_ints("output_padding", dims(k, 0));
  const std::string automatic = n.get_string("auto_pad", "NOTSET");
  const bool given = automatic == "NOTSET" && !n.has("output_shape");
  for (std::size_t d = 0; d < k; ++d) {
    const std::int64_t reach = (kernel[d] - 1) * w.dilations[d] + 1;
    if (given) {
      w.begin[d] = pads[d];
      w.end[d] = pads[d + k];
    } else {
      const std::int64_t full = (in[d + 2] - 1) * w.strides[d] + reach + extra[d];
      const std::int64_t total = std::max<std::int64_t>(0, full - out[d + 2]);
      w.begin[d] = automatic == "SAME_LOWER" ? total - total / 2 : total / 2;
      w.end[d] = total - w.begin[d];
    }
    const std::int64_t room = out[d + 2] + w.begin[d] + w.end[d] - reach;
    w.is_plain = w.is_plain && room >= 0 && room / w.strides[d] + 1 == in[d + 2];
  }
  return w;
}

// Each output element by itself, from the inputs whose windows reach it.
expression_ptr direct(const window& s, const view& x, const view& w, std::int64_t groups) {
  const std::size_t k = w.shape.size() - 2;
  const std::int64_t group_in = w.shape[0] / groups;
  const std::int64_t group_out = w.shape[1];
  std::string body = "  float s = 0.0f;\n  const INDEX g = c1 / " + number(group_out) +
                     ";\n  const INDEX o = c1 % " + number(group_out) + ";\n";
  std::string xi = number(x.offset) + " + c0 * " + number(x.strides[0]) + " + (g * " +
                   number(group_in) + " + i) * " + number(x.strides[1]);
  std::string wi = number(w.offset) + " + (g * " + number(group_in) + " + i) * " +
                   number(w.strides[0]) + " + o * " + number(w.strides[1]);
  std::string indent = "  ";
  for (std::size_t d = 0; d < k; ++d) {
    const std::string i = std::to_string(d);
    const std::string stride = number(s.strides[d]);
    body += "#pragma unroll\n" + indent + "for (int k" + i + " = 0; k" + i + " < " +
            number(w.shape[d + 2]) + "; ++k" + i + ") {\n";
    indent += "  ";
    body += indent + "const INDEX r" + i + " = c" + std::to_string(d + 2) + " + " +
            number(s.begin[d]) + " - k" + i + " * " + number(s.dilations[d]) + ";\n" + indent +
            "if (r" + i + " < 0 || r" + i + " % " + stride + " != 0) continue;\n" + indent +
            "const INDEX h" + i + " = r" + i + " / " + stride + ";\n" + indent + "if (h" + i +
            " >= " + number(x.shape[d + 2]) + ") continue;\n";
    xi += " + h" + i + " * " + number(x.strides[d + 2]);
    wi += " + k" + i + " * " + number(w.strides[d + 2]);
  }
  body += indent + "for (int i = 0; i < " + number(group_in) + "; ++i) s += read(a0, " + xi +
          ") * read(a1, " + wi + ");\n";
  for (std::size_t d = 0; d < k; ++d) body += "  }\n";
  return call(body + "  return s;\n", {x.buffer, w.buffer});
}

bool supports(const part& p, const node& n) {
  if (!float_in(p, n, 0) || !float_in(p, n, 1) || !float_out(p, n)) return false;
  if (n.has_input(2) && !float_in(p, n, 2)) return false;
  const value& w = p.values[n.inputs[1]];
  if (!w.is_concrete() || w.shape->size() < 3 || w.shape->size() > 5) return false;
  const std::size_t k = w.shape->size() - 2;
  return n.get_ints("strides", dims(k, 1)).size() == k &&
         n.get_ints("dilations", dims(k, 1)).size() == k &&
         n.get_ints("pads", dims(2 * k, 0)).size() == 2 * k &&
         n.get_ints("output_padding", dims(k, 0)).size() == k;
}

void conv_transpose(lowering& l, const node& n) {
  const value_id o = n.outputs[0];
  const dims& shape = l.shape(o);
  const element_type type = l.storage(l.type(o));
  if (count_of(shape) == 0) return l.set(o, l.allocate(shape, type));
  const view w = l.in_memory(n.inputs[1]);
  const dims kernel(w.shape.begin() + 2, w.shape.end());
  const std::int64_t groups = n.get_int("group", 1);
  const window s = window_of(n, kernel, l.shape(n.inputs[0]), shape);
  const auto last = channels_last_order(shape.size());
  expression_ptr e;
  if (groups == 1 && s.is_plain && count_of(l.shape(n.inputs[0])) != 0) {
    conv_step c;
    c.transposed = true;
    c.type = type;
    c.tf32 = l.tf32();
    c.x = l.in_memory_as(n.inputs[0], type, is_picture, last);
    c.w = l.in_memory_as(n.inputs[1], type, is_picture, last);
    c.pads_begin = s.begin;
    c.pads_end = s.end;
    c.strides = s.strides;
    c.dilations = s.dilations;
    c.out = l.allocate(shape, type, last);
    // Bias and what else follows are computed together where the result is read next.
    e = load(c.out);
    l.add(std::move(c));
  } else {
    const view x = l.in_memory(n.inputs[0]);
    // Neighbouring threads have neighbouring channels: so have the weights.
    std::vector<std::size_t> order;
    for (std::size_t d = 2; d < w.shape.size(); ++d) order.push_back(d);
    order.push_back(0);
    order.push_back(1);
    const auto fits = [](const view& v) { return v.strides[1] == 1 || v.shape[1] == 1; };
    e = direct(s, x, l.in_memory_as(n.inputs[1], type, fits, order), groups);
  }
  if (n.has_input(2)) {
    dims channels(shape.size() - 1, 1);
    channels[0] = shape[1];
    const view bias = *reshaped(l.in_memory(n.inputs[2]), channels);
    e = operation("$0 + $1", {e, load(broadcast(bias, shape))});
  }
  l.set(o, e);
}

}  // namespace

void add_conv_transpose_rules(rule_table& table) {
  table["ConvTranspose"] = {supports, conv_transpose};
}

}  // namespace mizzen::cuda
