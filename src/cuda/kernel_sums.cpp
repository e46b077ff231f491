// Sums over rows that are long, or whose elements lie apart: a row is cut into chunks, each summed
// by a block of its own; where neighbours in memory are of different rows, a block has many rows.
#include "cuda/kernel_sums.hpp"

#include <algorithm>
#include <string>

namespace mizzen::cuda {
namespace {

constexpr std::int64_t wanted_blocks = 528;  // four for each multiprocessor of a large GPU
constexpr std::int64_t most_chunks = 512;
constexpr std::int64_t rows_per_block = 4;  // where chunks are added up

struct parts_of_row {
  std::string start, step, over;  // step: of the sum so far, $, and x; over: joins two sums
};

parts_of_row text_of(row_operation::kind what) {
  using kind = row_operation::kind;
  switch (what) {
    case kind::max:
      return {"-INFINITY", "larger($, x)", "greater"};
    case kind::min:
      return {"INFINITY", "smaller($, x)", "lesser"};
    case kind::l1:
      return {"0.0f", "$ + fabsf(x)", "plus"};
    case kind::sum_square:
      return {"0.0f", "$ + x * x", "plus"};
    default:
      return {"0.0f", "$ + x", "plus"};
  }
}

// "a = a joined with b".
std::string join(const std::string& over, const std::string& a, const std::string& b) {
  return a + " = " + over + "()(" + a + ", " + b + ");";
}

const view* first_view(const expression& e) {
  if (e.what == expression::kind::load) return &e.from;
  for (const auto& operand : e.operands) {
    if (const view* v = first_view(*operand)) return v;
  }
  return nullptr;
}

expression_ptr without(const expression_ptr& e, const std::vector<bool>& reduced) {
  expression copy = *e;
  for (std::size_t d = 0; d < copy.from.strides.size(); ++d) {
    if (reduced[d]) copy.from.strides[d] = 0;
  }
  for (expression_ptr& operand : copy.operands) operand = without(operand, reduced);
  return std::make_shared<const expression>(std::move(copy));
}

}  // namespace

view long_rows::one_each(std::size_t buffer, element_type type, std::int64_t offset) const {
  view v{buffer, type, offset, shape, dims(shape.size(), 0)};
  std::int64_t next = 1;
  for (std::size_t d = shape.size(); d-- > 0;) {
    if (reduced[d]) continue;
    v.strides[d] = next;
    next *= shape[d];
  }
  return v;
}

bool has_chunks(row_operation::kind what) noexcept {
  using kind = row_operation::kind;
  return what == kind::sum || what == kind::mean || what == kind::max || what == kind::min ||
         what == kind::l1 || what == kind::sum_square;
}

long_rows plan_long_rows(const dims& shape, const std::vector<bool>& reduced,
                         const expression_ptr& e, const std::vector<buffer>& buffers) {
  long_rows made;
  made.shape = shape;
  made.reduced = reduced;
  made.first = without(e, reduced);
  const view* main = first_view(*e);
  if (main == nullptr || e->calls() || e->first_product() != nullptr) return made;
  std::vector<const view*> views;
  collect(*e, views);
  std::vector<std::size_t> kept_order, reduced_order;
  for (const std::size_t d : physical_order(*main)) {
    (reduced[d] ? reduced_order : kept_order).push_back(d);
  }
  const view result = made.one_each(0, element_type::float32);
  std::vector<const view*> all = views;
  all.push_back(&result);
  made.kept = make_loops(shape, kept_order, all, true);
  made.inner = make_loops(shape, reduced_order, views, true);
  for (const loop& l : made.kept) made.rows *= l.size;
  for (const loop& l : made.inner) made.elements *= l.size;
  made.across = stride_of(*main, made.kept.back()) == 1 && stride_of(*main, made.inner.back()) != 1;
  std::vector<loop> loops = made.across ? made.inner : made.kept;
  const std::vector<loop>& last = made.across ? made.kept : made.inner;
  loops.insert(loops.end(), last.begin(), last.end());
  made.width = pack_width(views, loops, buffers);
  std::int64_t blocks = made.rows;
  std::int64_t least = threads_per_block * made.width * 4;  // elements of a chunk
  if (made.across) {
    made.lanes = std::min<std::int64_t>(made.kept.back().size / made.width, warp);
    made.groups = (made.kept.back().size / made.width + made.lanes - 1) / made.lanes;
    blocks = made.rows / made.kept.back().size * made.groups;
    least = threads_per_block / made.lanes * 8;
  }
  made.chunks = std::clamp<std::int64_t>(std::min(wanted_blocks / blocks, made.elements / least), 1,
                                         most_chunks);
  made.pays = made.across || made.elements > 8192;
  return made;
}

kernel_step chunk_kernel(const long_rows& r, const chunk_operation& operation,
                         const expression_ptr& e, const view& out,
                         const std::vector<buffer>& buffers) {
  const std::string width = number(r.width);
  const std::int64_t length = (r.elements + r.chunks - 1) / r.chunks;
  const bool moments = operation.moments;
  const parts_of_row parts = text_of(operation.what);
  std::vector<loop> loops = r.across ? r.inner : r.kept;
  const std::vector<loop>& last = r.across ? r.kept : r.inner;
  loops.insert(loops.end(), last.begin(), last.end());
  const bool packs = r.width > 1;

  writer w(buffers);
  w.meets = true;
  std::string front;
  std::int64_t blocks = r.rows * r.chunks;
  const std::int64_t places = r.across ? threads_per_block / r.lanes : 0;  // elements at once
  std::vector<std::string> kept_at;
  if (r.across) {
    // Thread t has lane t % lanes of the pack of rows, and every places-th element of them.
    const std::int64_t others = r.rows / r.kept.back().size;
    blocks = others * r.groups * r.chunks;
    const std::string held = number(r.lanes * r.width * places);
    front = "  __shared__ float sums[" + number(moments ? 2 : 1) + " * " + held + "];\n";
    w.body = "  const INDEX chunk = (INDEX)(blockIdx.x % " + number(r.chunks) +
             "u);\n  const INDEX group = (INDEX)(blockIdx.x / " + number(r.chunks) + "u % " +
             number(r.groups) + "u);\n  const INDEX other = (INDEX)(blockIdx.x / " +
             number(r.chunks * r.groups) + "u);\n  const INDEX lane = (INDEX)threadIdx.x % " +
             number(r.lanes) + ";\n  const INDEX place = (INDEX)threadIdx.x / " + number(r.lanes) +
             ";\n  const INDEX pack_at = group * " + number(r.lanes) +
             " + lane;\n  const bool works = place < " + number(places) + " && pack_at < " +
             number(r.kept.back().size / r.width) + ";\n";
    std::vector<loop> front_loops(r.kept.begin(), r.kept.end() - 1);
    if (!front_loops.empty()) kept_at = w.decode(front_loops, "other", "y", "  ");
    w.body += "  const INDEX row = pack_at * " + width + ";\n";
    kept_at.emplace_back("row");
  } else {
    front = "  __shared__ float partial[8];\n";
    w.body = "  const INDEX chunk = (INDEX)(blockIdx.x % " + number(r.chunks) +
             "u);\n  const INDEX row = (INDEX)(blockIdx.x / " + number(r.chunks) + "u);\n";
    kept_at = w.decode(r.kept, "row", "y", "  ");
  }
  const std::vector<std::string> nowhere(r.inner.size(), "0");
  const auto all_at = [&](const std::vector<std::string>& kept,
                          const std::vector<std::string>& inner) {
    std::vector<std::string> at = r.across ? inner : kept;
    const std::vector<std::string>& rest = r.across ? kept : inner;
    at.insert(at.end(), rest.begin(), rest.end());
    return at;
  };
  // Sums of each row of the pack that this thread has.
  const std::string mine = r.across ? width : "1";
  const std::string each = "  for (int l = 0; l < " + mine + "; ++l) ";
  w.body += "  float s[" + mine + "];\n" + each + "s[l] = " + parts.start + ";\n";
  if (moments) {
    w.body += "  float d[" + mine + "], base[" + mine + "];\n" + each + "{\n    d[l] = 0.0f;\n";
    std::vector<std::string> kept = kept_at;
    if (r.across) kept.back() = "(row + l)";
    if (r.across) w.body += "    if (!works) { base[l] = 0.0f; continue; }\n";
    const std::string first = w.compute(*r.first, loops, all_at(kept, nowhere), "    ");
    w.body += "    base[l] = " + first + ";\n  }\n";
    w.forget_results();
  }
  const std::string begin = "chunk * " + number(length);
  const std::string end = "(" + begin + " + " + number(length) + " < " + number(r.elements) +
                          " ? " + begin + " + " + number(length) + " : " + number(r.elements) + ")";
  if (r.across) {
    w.body += "  const INDEX end = works ? " + end +
              " : 0;\n#pragma unroll 4\n  for (INDEX j = " + begin +
              " + place; j < end; j += " + number(places) + ") {\n";
  } else {
    // A chunk begins with a whole pack: lengths are rounded up to that.
    const std::int64_t packs_in = r.elements / r.width;
    const std::int64_t share = (packs_in + r.chunks - 1) / r.chunks;
    w.body += "  const INDEX begin = chunk * " + number(share) + ";\n  const INDEX end = begin + " +
              number(share) + " < " + number(packs_in) + " ? begin + " + number(share) + " : " +
              number(packs_in) +
              ";\n#pragma unroll 4\n  for (INDEX j = begin + (INDEX)threadIdx.x; j < end; j += " +
              number(threads_per_block) + ") {\n";
  }
  const auto inner_at = w.decode(r.inner, "j", "x", "    ", r.across ? 1 : r.width);
  const auto at = all_at(kept_at, inner_at);
  if (packs) w.load_packs(*e, loops, at, r.width, "    ");
  w.body += "#pragma unroll\n    for (int l = 0; l < " + width + "; ++l) {\n";
  const std::string x = w.compute(*e, loops, at, "      ", packs);
  const std::string m = r.across ? "[l]" : "[0]";
  if (moments) {
    w.body += "      const float x = " + x + " - base" + m + ";\n      s" + m + " += x;\n      d" +
              m + " += x * x;\n";
  } else {
    std::string step = parts.step;
    step.replace(step.find('$'), 1, "s" + m);
    w.body += "      const float x = " + x + ";\n      s" + m + " = " + step + ";\n";
  }
  w.body += "    }\n  }\n";

  const auto store = [&](const std::string& indent, const std::vector<std::string>& kept,
                         const std::string& value, std::int64_t which) {
    std::string to = w.index(out, loops, all_at(kept, nowhere));
    if (r.chunks > 1) to += " + chunk * " + number(r.rows);
    if (which != 0) to += " + " + number(which * r.chunks * r.rows);
    w.body += indent + "put(q + (" + to + "), " + value + ");\n";
  };
  const auto finished = [&](const std::string& s) {
    return r.chunks == 1 && operation.what == row_operation::kind::mean
               ? s + " / " + float_text(static_cast<float>(r.elements))
               : s;
  };
  if (!r.across) {
    w.body += "  s[0] = over_block(s[0], " + parts.over + "(), partial);\n";
    if (moments) w.body += "  d[0] = over_block(d[0], plus(), partial);\n";
    w.body += "  if (threadIdx.x == 0u) {\n";
    store("    ", kept_at, finished("s[0]"), 0);
    if (moments) store("    ", kept_at, "d[0]", 1);
    w.body += "  }\n";
  } else {
    const std::string line = number(r.lanes * r.width);
    const std::string half = number(r.lanes * r.width * places);
    w.body += "  if (place < " + number(places) + ") {\n" + each + "{\n      sums[place * " + line +
              " + lane * " + width + " + l] = s[l];\n" +
              (moments ? "      sums[" + half + " + place * " + line + " + lane * " + width +
                             " + l] = d[l];\n"
                       : "") +
              "    }\n  }\n  __syncthreads();\n  for (int c = (int)threadIdx.x; c < " + line +
              "; c += " + number(threads_per_block) + ") {\n    const INDEX column = group * " +
              line + " + c;\n    if (column >= " + number(r.kept.back().size) +
              ") break;\n    float total = sums[c];\n    for (int i = 1; i < " + number(places) +
              "; ++i) " + join(parts.over, "total", "sums[i * " + line + " + c]") + "\n";
    std::vector<std::string> kept = kept_at;
    kept.back() = "column";
    store("    ", kept, finished("total"), 0);
    if (moments) {
      w.body += "    float square = sums[" + half + " + c];\n    for (int i = 1; i < " +
                number(places) + "; ++i) square += sums[" + half + " + i * " + line + " + c];\n";
      store("    ", kept, "square", 1);
    }
    w.body += "  }\n";
  }
  return w.finish(out.buffer, blocks, threads_per_block, front);
}

kernel_step moments_kernel(const long_rows& r, float epsilon, std::size_t chunks, const view& out,
                           const std::vector<buffer>& buffers) {
  std::vector<const view*> views;
  collect(*r.first, views);
  std::vector<std::size_t> order;
  for (std::size_t d = 0; d < r.shape.size(); ++d) {
    if (!r.reduced[d]) order.push_back(d);
  }
  const std::vector<loop> kept = make_loops(r.shape, order, views, true);
  writer w(buffers);
  w.meets = true;
  const std::string from = w.pointer(chunks);
  const std::string rows = number(r.rows);
  const std::string count = float_text(static_cast<float>(r.elements));
  w.body = "  const INDEX row = (INDEX)blockIdx.x * " + number(rows_per_block) +
           " + (INDEX)(threadIdx.x >> 5);\n  if (row >= " + rows +
           ") return;\n  float s = 0.0f;\n  float d = 0.0f;\n"
           "  for (INDEX k = (INDEX)(threadIdx.x & 31u); k < " +
           number(r.chunks) + "; k += 32) {\n    s += " + from + "[k * " + rows +
           " + row];\n    d += " + from + "[(k + " + number(r.chunks) + ") * " + rows +
           " + row];\n  }\n  s = over_warp(s, plus());\n  d = over_warp(d, plus());\n"
           "  if ((threadIdx.x & 31u) != 0u) return;\n";
  const auto at = w.decode(kept, "row", "y", "  ");
  const std::string base = w.compute(*r.first, kept, at, "  ");
  w.body += "  const float mean = s / " + count + ";\n  q[row] = " + base + " + mean;\n  q[" +
            rows + " + row] = rsqrtf(larger(d / " + count + " - mean * mean, 0.0f) + " +
            float_text(epsilon) + ");\n";
  return w.finish(out.buffer, (r.rows + rows_per_block - 1) / rows_per_block,
                  warp * rows_per_block);
}

}  // namespace mizzen::cuda
