// Pooling and resizing: each output element from a few of the input.
#include "cuda/lower.hpp"

#include <algorithm>
#include <cmath>
#include <string>

namespace mizzen::cuda {
namespace {

std::string number(std::size_t v) { return std::to_string(v); }
std::string number(std::int64_t v) { return std::to_string(v); }

bool supports_pool(const part& p, const node& n) {
  if (!float_in(p, n, 0) || n.outputs.empty() || n.outputs[0] == no_value) return false;
  for (std::size_t i = 1; i < n.outputs.size(); ++i) {
    if (n.outputs[i] != no_value) return false;
  }
  const std::string automatic = n.get_string("auto_pad", "NOTSET");
  return (automatic == "NOTSET" || automatic == "VALID") && n.has("kernel_shape");
}

void pool(lowering& l, const node& n) {
  const view x = l.in_memory(n.inputs[0]);
  const dims kernel = n.get_ints("kernel_shape");
  const std::size_t k = kernel.size();
  const dims strides = n.get_ints("strides", dims(k, 1));
  const dims dilations = n.get_ints("dilations", dims(k, 1));
  const dims pads = n.get_ints("pads", dims(2 * k, 0));
  const bool largest = n.op_type == "MaxPool";
  const bool with_pads = n.get_int("count_include_pad", 0) != 0;
  if (kernel.size() + 2 != x.shape.size()) l.unsupported("a kernel of another rank");
  std::string body = largest ? "  float s = -INFINITY;\n" : "  float s = 0.0f;\n";
  if (!largest) body += "  int seen = 0;\n";
  std::string index =
      number(x.offset) + " + c0 * " + number(x.strides[0]) + " + c1 * " + number(x.strides[1]);
  std::string inside;
  for (std::size_t d = 0; d < k; ++d) {
    const std::string h = "h" + number(d);
    body += "#pragma unroll\n  for (int k" + number(d) + " = 0; k" + number(d) + " < " +
            number(kernel[d]) + "; ++k" + number(d) + ") {\n  const INDEX " + h + " = c" +
            number(d + 2) + " * " + number(strides[d]) + " + k" + number(d) + " * " +
            number(dilations[d]) + " - " + number(pads[d]) + ";\n";
    // With ceil_mode a window may reach beyond the pads: that part counts for nothing.
    if (with_pads) {
      body += "  if (" + h + " >= " + number(x.shape[d + 2] + pads[d + k]) + ") continue;\n";
    }
    inside += (d == 0 ? "" : " && ") + h + " >= 0 && " + h + " < " + number(x.shape[d + 2]);
    index += " + " + h + " * " + number(x.strides[d + 2]);
  }
  if (largest) {
    body += "  if (" + inside + ") s = larger(s, read(a0, " + index + "));\n";
  } else {
    body += with_pads ? "  ++seen;\n" : "";
    body += "  if (" + inside + ") { s += read(a0, " + index + ");" +
            (with_pads ? "" : " ++seen;") + " }\n";
  }
  for (std::size_t d = 0; d < k; ++d) body += "  }\n";
  body += largest ? "  return s;\n" : "  return s / (float)seen;\n";
  if (count_of(x.shape) == 0) l.unsupported("an input of no elements");
  l.set(n.outputs[0], call(body, {x.buffer}));
}

bool supports_resize(const part& p, const node& n) {
  const std::string mode = n.get_string("mode", "nearest");
  const std::string where = n.get_string("coordinate_transformation_mode", "half_pixel");
  const std::string nearest = n.get_string("nearest_mode", "round_prefer_floor");
  const bool known = where == "half_pixel" || where == "asymmetric" || where == "align_corners" ||
                     where == "pytorch_half_pixel";
  return n.opset >= 11 && float_in(p, n, 0) && float_out(p, n) &&
         (mode == "nearest" || mode == "linear") && known && !n.has("axes") &&
         n.get_int("antialias", 0) == 0 &&
         n.get_string("keep_aspect_ratio_policy", "stretch") == "stretch" &&
         (mode == "linear" || nearest == "floor" || nearest == "round_prefer_floor" ||
          nearest == "ceil" || nearest == "round_prefer_ceil");
}

// Source: ONNX Resize, coordinate_transformation_mode.
std::string source_of(const std::string& mode, const std::string& c, float scale, std::int64_t in,
                      std::int64_t out) {
  const std::string x = "(float)" + c;
  if (mode == "asymmetric") return x + " / " + float_text(scale);
  if (mode == "align_corners") {
    // Not rounded, as the reference implementation has it.
    const float resized = static_cast<float>(in) * scale;
    return resized == 1.0F ? "0.0f"
                           : x + " * " + float_text(static_cast<float>(in - 1)) + " / " +
                                 float_text(resized - 1.0F);
  }
  if (mode == "pytorch_half_pixel" && out == 1) return "0.0f";
  return "(" + x + " + 0.5f) / " + float_text(scale) + " - 0.5f";
}

void resize(lowering& l, const node& n) {
  const view x = l.in_memory(n.inputs[0]);
  const dims& shape = l.shape(n.outputs[0]);
  if (count_of(shape) == 0) return l.set(n.outputs[0], l.allocate(shape, x.type));
  if (count_of(x.shape) == 0) l.unsupported("an input of no elements");
  std::vector<float> scales;
  if (n.has_input(2)) {
    const auto given = l.from().floats(n.inputs[2]);
    if (!given) l.unsupported("scales that are no constants");
    scales = *given;
  }
  const std::string mode = n.get_string("coordinate_transformation_mode", "half_pixel");
  const bool linear = n.get_string("mode", "nearest") == "linear";
  const std::string nearest = n.get_string("nearest_mode", "round_prefer_floor");
  std::string body;
  std::vector<std::size_t> moving;
  std::string base = number(x.offset);
  for (std::size_t d = 0; d < shape.size(); ++d) {
    const float scale = d < scales.size()
                            ? scales[d]
                            : static_cast<float>(shape[d]) / static_cast<float>(x.shape[d]);
    if (shape[d] == x.shape[d] && scale == 1.0F) {
      base += " + c" + number(d) + " * " + number(x.strides[d]);
      continue;
    }
    moving.push_back(d);
    const std::string s = "s" + number(d);
    body += "  float " + s + " = " + source_of(mode, "c" + number(d), scale, x.shape[d], shape[d]) +
            ";\n";
    const std::string last = number(x.shape[d] - 1);
    if (linear) {
      const std::string i = "i" + number(d);
      body += "  " + s + " = fminf(fmaxf(" + s + ", 0.0f), (float)" + last + ");\n  const INDEX " +
              i + " = (INDEX)floorf(" + s + ");\n  const INDEX j" + number(d) + " = " + i + " < " +
              last + " ? " + i + " + 1 : " + last + ";\n  const float f" + number(d) + " = " + s +
              " - (float)" + i + ";\n";
      continue;
    }
    const std::string rounded = nearest == "floor"               ? "floorf(" + s + ")"
                                : nearest == "ceil"              ? "ceilf(" + s + ")"
                                : nearest == "round_prefer_ceil" ? "floorf(" + s + " + 0.5f)"
                                                                 : "ceilf(" + s + " - 0.5f)";
    body += "  " + s + " = fminf(fmaxf(" + rounded + ", 0.0f), (float)" + last + ");\n";
    base += " + (INDEX)" + s + " * " + number(x.strides[d]);
  }
  if (!linear) {
    body += "  return read(a0, " + base + ");\n";
  } else {
    if (moving.size() > 3) l.unsupported("more than three dimensions resized");
    body += "  float r = 0.0f;\n";
    // Every corner of the cell around the point.
    for (std::size_t corner = 0; corner < (std::size_t{1} << moving.size()); ++corner) {
      std::string weight = "1.0f";
      std::string index = base;
      for (std::size_t i = 0; i < moving.size(); ++i) {
        const std::string d = number(moving[i]);
        const bool upper = (corner >> i & 1U) != 0;
        weight += upper ? " * f" + d : " * (1.0f - f" + d + ")";
        index +=
            std::string(" + ") + (upper ? "j" : "i") + d + " * " + number(x.strides[moving[i]]);
      }
      body += "  r += " + weight + " * read(a0, " + index + ");\n";
    }
    body += "  return r;\n";
  }
  l.set(n.outputs[0], call(body, {x.buffer}));
}

}  // namespace

void add_window_rules(rule_table& table) {
  table["MaxPool"] = {supports_pool, pool};
  table["AveragePool"] = {supports_pool, pool};
  table["Resize"] = {supports_resize, resize};
}

}  // namespace mizzen::cuda
