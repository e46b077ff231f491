// Kernels over rows: a warp or a block has a row, and keeps it in registers where it fits.
#include "cuda/kernel_writer.hpp"

#include <algorithm>

namespace mizzen::cuda {
namespace {

constexpr std::int64_t rows_per_block = 4;      // where a warp has a row
constexpr std::int64_t most_for_a_warp = 1024;  // elements of a row
constexpr std::int64_t most_in_registers = 32;  // of a row, for each thread

}  // namespace

kernel_step row_kernel(const row_operation& operation, const dims& shape, const expression_ptr& e,
                       const view& out, const std::vector<buffer>& buffers) {
  using kind = row_operation::kind;
  std::vector<const view*> views;
  collect(*e, views);
  for (const auto& other : {operation.scale, operation.shift}) {
    if (other) collect(*other, views);
  }
  views.push_back(&out);
  std::vector<std::size_t> outer_order, inner_order;
  for (std::size_t d = 0; d < shape.size(); ++d) {
    (operation.reduced[d] ? inner_order : outer_order).push_back(d);
  }
  const auto outer = make_loops(shape, outer_order, views, true);
  const auto inner = make_loops(shape, inner_order, views, true);
  std::vector<loop> loops = outer;
  loops.insert(loops.end(), inner.begin(), inner.end());
  std::int64_t rows = 1, n = 1;
  for (const loop& l : outer) rows *= l.size;
  for (const loop& l : inner) n *= l.size;

  // A warp is to have an element for each thread.
  std::int64_t width = pack_width(views, loops, buffers);
  while (width > 1 && n / width < warp) width /= 2;
  const bool by_warp = n <= most_for_a_warp;
  const std::int64_t team = by_warp ? warp : threads_per_block;
  const std::int64_t threads = by_warp ? warp * rows_per_block : threads_per_block;
  const std::int64_t blocks = by_warp ? (rows + rows_per_block - 1) / rows_per_block : rows;
  const std::int64_t each = (n / width + team - 1) / team;  // packs of a thread
  const bool kept = each * width <= most_in_registers;

  writer w(buffers);
  w.meets = true;
  std::string front = by_warp ? "" : "  __shared__ float partial[8];\n";
  front += by_warp ? "  const INDEX row = (INDEX)blockIdx.x * " + number(rows_per_block) +
                         " + (INDEX)(threadIdx.x >> 5);\n  if (row >= " + number(rows) +
                         ") return;\n  const INDEX first = (INDEX)(threadIdx.x & 31u);\n"
                   : "  const INDEX row = (INDEX)blockIdx.x;\n  const INDEX first = "
                     "(INDEX)threadIdx.x;\n";
  const auto over = [&](const std::string& v, const std::string& op) {
    return by_warp ? "over_warp(" + v + ", " + op + "())"
                   : "over_block(" + v + ", " + op + "(), partial)";
  };
  const auto outer_at = w.decode(outer, "row", "y", "  ");
  const auto with_inner = [&](const std::vector<std::string>& inner_at) {
    std::vector<std::string> at = outer_at;
    at.insert(at.end(), inner_at.begin(), inner_at.end());
    return at;
  };
  // A loop over this thread's elements of the row; x is the element, from registers after the
  // first time. Stores the statement's value, or is the statement.
  bool first_time = true;
  const auto for_each = [&](const std::string& statement, bool stores) {
    const bool packs = width > 1;
    const bool computes = first_time || !kept;
    w.forget_results();
    w.body += std::string(kept ? "#pragma unroll" : "#pragma unroll 4") +
              "\n  for (int k = 0; k < " + number(each) +
              "; ++k) {\n    const INDEX j = first + k * " + number(team) +
              ";\n    if (j >= " + number(n / width) + ") break;\n";
    std::vector<std::string> at;
    if (computes || stores) at = with_inner(w.decode(inner, "j", "x", "    ", width));
    const std::string type = w.pack_of(out.buffer, width);
    if (packs) {
      if (computes) w.load_packs(*e, loops, at, width, "    ");
      for (const auto& other : {operation.scale, operation.shift}) {
        if (stores && other) w.load_packs(*other, loops, at, width, "    ");
      }
      if (stores) w.body += "    " + type + " o;\n";
      w.body += "#pragma unroll\n    for (int l = 0; l < " + number(width) + "; ++l) {\n";
    }
    const std::string indent = packs ? "      " : "    ";
    const std::string place = packs ? "cache[k * " + number(width) + " + l]" : "cache[k]";
    if (computes) {
      const std::string x = w.compute(*e, loops, at, indent, packs);
      w.body += indent + "const float x = " + x + ";\n";
      if (kept) w.body += indent + place + " = x;\n";
    } else {
      w.body += indent + "const float x = " + place + ";\n";
    }
    if (stores) {
      std::string result = statement;
      if (operation.scale) {
        result = "(" + result + ") * " + w.compute(*operation.scale, loops, at, indent, packs);
      }
      if (operation.shift) {
        result = "(" + result + ") + " + w.compute(*operation.shift, loops, at, indent, packs);
      }
      w.body +=
          indent +
          (packs ? std::string("put(&o.at[l], ") : "put(q + (" + w.index(out, loops, at) + "), ") +
          result + ");\n";
    } else {
      w.body += indent + statement + "\n";
    }
    if (packs) w.body += "    }\n";
    if (packs && stores) {
      w.body += "    *(" + type + "*)(q + (" + w.index(out, loops, at) + ")) = o;\n";
    }
    w.body += "  }\n";
    first_time = false;
  };
  if (kept) w.body += "  float cache[" + number(each * width) + "];\n";
  const std::string count_text = float_text(static_cast<float>(n));
  const std::string mean_of =
      operation.of == 0 ? count_text : float_text(static_cast<float>(operation.of));
  const auto total = [&](const std::string& name, const std::string& start,
                         const std::string& statement, const std::string& op) {
    w.body += "  float " + name + " = " + start + ";\n";
    for_each(statement, false);
    w.body += "  " + name + " = " + over(name, op) + ";\n";
  };
  const auto store_one = [&](const std::string& result) {
    const auto at = with_inner(std::vector<std::string>(inner.size(), "0"));
    w.body += "  if (first == 0) put(q + (" + w.index(out, loops, at) + "), " + result + ");\n";
  };
  switch (operation.what) {
    case kind::softmax:
    case kind::log_softmax:
      total("m", "-INFINITY", "m = larger(m, x);", "greater");
      total("s", "0.0f", "s += expf(x - m);", "plus");
      for_each(operation.what == kind::softmax ? "expf(x - m) / s" : "x - m - logf(s)", true);
      break;
    case kind::layer_norm:
      total("s", "0.0f", "s += x;", "plus");
      w.body += "  const float mean = s / " + count_text + ";\n";
      total("d", "0.0f", "d += (x - mean) * (x - mean);", "plus");
      w.body += "  const float factor = rsqrtf(d / " + count_text + " + " +
                float_text(operation.epsilon) + ");\n";
      for_each("(x - mean) * factor", true);
      break;
    case kind::rms_norm:
      total("s", "0.0f", "s += x * x;", "plus");
      w.body += "  const float factor = rsqrtf(s / " + count_text + " + " +
                float_text(operation.epsilon) + ");\n";
      for_each("x * factor", true);
      break;
    case kind::sum:
    case kind::log_sum:
    case kind::mean:
      total("s", "0.0f", "s += x;", "plus");
      store_one(operation.what == kind::sum    ? "s"
                : operation.what == kind::mean ? "s / " + mean_of
                                               : "logf(s)");
      break;
    case kind::l1:
      total("s", "0.0f", "s += fabsf(x);", "plus");
      store_one("s");
      break;
    case kind::log_sum_exp:
      total("m", "-INFINITY", "m = larger(m, x);", "greater");
      // A row that is infinite throughout is its own result.
      w.body += "  const float base = m - m == 0.0f ? m : 0.0f;\n";
      total("s", "0.0f", "s += expf(x - base);", "plus");
      store_one("logf(s) + base");
      break;
    case kind::product:
      total("s", "1.0f", "s *= x;", "times");
      store_one("s");
      break;
    case kind::arg_max:
    case kind::arg_min: {
      const bool most = operation.what == kind::arg_max;
      total("m", most ? "-INFINITY" : "INFINITY", most ? "m = larger(m, x);" : "m = smaller(m, x);",
            most ? "greater" : "lesser");
      // A float counts exactly to 2^24, which is why a row is no longer.
      const std::string at = width > 1 ? "(float)(j * " + number(width) + " + l)" : "(float)j";
      total("s", operation.last ? "-1.0f" : "INFINITY",
            std::string("if (x == m || x != x) s = ") + (operation.last ? "larger" : "smaller") +
                "(s, " + at + ");",
            operation.last ? "greater" : "lesser");
      store_one("(long long)s");
      break;
    }
    case kind::l2:
    case kind::sum_square:
      total("s", "0.0f", "s += x * x;", "plus");
      store_one(operation.what == kind::l2 ? "sqrtf(s)" : "s");
      break;
    case kind::max:
      total("s", "-INFINITY", "s = larger(s, x);", "greater");
      store_one("s");
      break;
    case kind::min:
      total("s", "INFINITY", "s = smaller(s, x);", "lesser");
      store_one("s");
      break;
  }
  return w.finish(out.buffer, blocks, threads, front);
}

}  // namespace mizzen::cuda
