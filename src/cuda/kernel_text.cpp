#include "cuda/kernel_text.hpp"

#include <mizzen/core/checked.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <map>

namespace mizzen::cuda {
namespace {

constexpr std::int64_t threads_per_block = 256;
constexpr std::int64_t warp = 32;
constexpr std::int64_t rows_per_block = 4;      // where a warp has a row
constexpr std::int64_t most_for_a_warp = 1024;  // elements of a row
constexpr std::int64_t most_in_registers = 32;  // of a row, for each thread

std::string_view type_text(element_type type) {
  switch (type) {
    case element_type::float16:
      return "half_t";
    case element_type::bfloat16:
      return "bfloat_t";
    case element_type::boolean:
      return "unsigned char";
    case element_type::int32:
      return "int";
    case element_type::int64:
      return "long long";
    default:
      return "float";
  }
}

std::string number(std::int64_t v) { return std::to_string(v); }

// Loops over a shape, outermost first; dimensions that every tensor runs through as one are one.
struct loop {
  std::int64_t size = 1;
  std::vector<std::size_t> dimensions;  // outermost first
};

std::int64_t stride_of(const view& v, const loop& l) {
  for (std::size_t i = l.dimensions.size(); i-- > 0;) {
    if (v.shape[l.dimensions[i]] != 1) return v.strides[l.dimensions[i]];
  }
  return 0;
}

void collect(const expression& e, std::vector<const view*>& views) {
  if (e.what == expression::kind::load) views.push_back(&e.from);
  for (const auto& operand : e.operands) collect(*operand, views);
}

std::vector<loop> make_loops(const dims& shape, const std::vector<std::size_t>& order,
                             const std::vector<const view*>& views, bool merge) {
  std::vector<loop> loops;
  for (const std::size_t d : order) {
    if (shape[d] == 1 && merge) continue;
    const loop inner{shape[d], {d}};
    const auto runs_on = [&](const view* v) {
      return stride_of(*v, loops.back()) == stride_of(*v, inner) * inner.size;
    };
    if (merge && !loops.empty() && std::all_of(views.begin(), views.end(), runs_on)) {
      loops.back().size *= inner.size;
      loops.back().dimensions.push_back(d);
    } else {
      loops.push_back(inner);
    }
  }
  if (loops.empty()) loops.push_back({1, {}});
  return loops;
}

// The text of one kernel under way.
class writer {
 public:
  explicit writer(const std::vector<buffer>& buffers) : buffers_(buffers) {}

  // The name of the pointer argument for a buffer.
  std::string pointer(std::size_t b) {
    const auto [it, is_new] = names_.try_emplace(b, "p" + std::to_string(names_.size()));
    if (is_new) {
      order_.push_back(b);
      if (buffers_[b].count > std::numeric_limits<std::int32_t>::max() / 2) long_ = true;
    }
    return it->second;
  }

  std::string index(const view& v, const std::vector<loop>& loops,
                    const std::vector<std::string>& at) const {
    std::string text = number(v.offset);
    for (std::size_t i = 0; i < loops.size(); ++i) {
      const std::int64_t stride = stride_of(v, loops[i]);
      if (stride == 0) continue;
      text += " + " + at[i] + (stride == 1 ? "" : " * " + number(stride));
    }
    return text;
  }

  // Statements that compute the expression; returns the name of the result. lane: of a pack, where
  // loads are packs (made by load_packs).
  std::string compute(const expression& e, const std::vector<loop>& loops,
                      const std::vector<std::string>& at, const std::string& indent,
                      bool packs = false) {
    if (const auto done = results_.find(&e); done != results_.end()) return done->second;
    std::string value;
    if (e.what == expression::kind::load) {
      const std::string p = pointer(e.from.buffer);
      value = packs && stride_of(e.from, loops.back()) != 0
                  ? "to_float(" + packs_.at(&e) + ".at[l])"
                  : "read(" + p + ", " + index(e.from, loops, at) + ")";
    } else if (e.what == expression::kind::call) {
      std::vector<std::string> coordinates;
      for (std::size_t i = 0; i < loops.size(); ++i) {
        for (const std::size_t d : loops[i].dimensions) {
          if (coordinates.size() <= d) coordinates.resize(d + 1, "0");
          coordinates[d] = at[i];
        }
      }
      value = add_function(e, coordinates.size()) + "(";
      for (const std::size_t b : e.arguments) value += pointer(b) + ", ";
      for (std::size_t d = 0; d < coordinates.size(); ++d) {
        value += (d == 0 ? "" : ", ") + coordinates[d];
      }
      value += ")";
    } else {
      std::vector<std::string> names;
      for (const auto& operand : e.operands) {
        names.push_back(compute(*operand, loops, at, indent, packs));
      }
      for (std::size_t i = 0; i < e.text.size(); ++i) {
        if (e.text[i] == '$') {
          value += names.at(static_cast<std::size_t>(e.text[++i] - '0'));
        } else {
          value += e.text[i];
        }
      }
    }
    const std::string name = "t" + std::to_string(temporaries_++);
    body += indent + "const float " + name + " = " + value + ";\n";
    results_[&e] = name;
    return name;
  }

  // Loads of width elements at once, before the loop over them.
  void load_packs(const expression& e, const std::vector<loop>& loops,
                  const std::vector<std::string>& at, std::int64_t width) {
    for (const auto& operand : e.operands) load_packs(*operand, loops, at, width);
    if (e.what != expression::kind::load || stride_of(e.from, loops.back()) == 0) return;
    if (packs_.contains(&e)) return;
    const std::string name = "v" + std::to_string(packs_.size());
    const std::string type =
        "pack<" + std::string(type_text(buffers_[e.from.buffer].type)) + ", " + number(width) + ">";
    body += "  const " + type + " " + name + " = *(const " + type + "*)(" + pointer(e.from.buffer) +
            " + (" + index(e.from, loops, at) + "));\n";
    packs_[&e] = name;
  }

  void forget_results() { results_.clear(); }

  // Coordinates of the loops from a flat index, as statements; returns their names.
  std::vector<std::string> decode(const std::vector<loop>& loops, const std::string& flat,
                                  const std::string& prefix, const std::string& indent,
                                  std::int64_t width = 1) {
    std::vector<std::string> at(loops.size());
    std::string rest = flat;
    for (std::size_t i = loops.size(); i-- > 0;) {
      const bool last = i + 1 == loops.size();
      const std::int64_t size = last ? loops[i].size / width : loops[i].size;
      at[i] = prefix + std::to_string(i);
      std::string value = i == 0 ? rest : rest + " % " + number(size);
      if (last && width != 1) value = "(" + value + ") * " + number(width);
      body += indent + "const INDEX " + at[i] + " = " + value + ";\n";
      if (i == 0) break;
      const std::string next = prefix + "r" + std::to_string(i);
      body += indent + "const INDEX " + next + " = " + rest + " / " + number(size) + ";\n";
      rest = next;
    }
    return at;
  }

  kernel_step finish(std::size_t out, std::int64_t blocks, std::int64_t threads,
                     const std::string& front = {}) {
    kernel_step k;
    std::string parameters;
    for (const std::size_t b : order_) {
      if (b == out) continue;
      k.buffers.push_back(b);
      parameters += "const " + std::string(type_text(buffers_[b].type)) + "* __restrict__ " +
                    names_.at(b) + ", ";
    }
    k.buffers.push_back(out);
    parameters += std::string(type_text(buffers_[out].type)) + "* __restrict__ q";
    std::string text;
    for (std::size_t i = 0; i < functions_.size(); ++i) {
      const expression& f = *functions_[i];
      text += "__device__ __forceinline__ float NAME_f" + std::to_string(i) + "(";
      for (std::size_t a = 0; a < f.arguments.size(); ++a) {
        text += "const " + std::string(type_text(buffers_[f.arguments[a]].type)) +
                "* __restrict__ a" + std::to_string(a) + ", ";
      }
      for (std::size_t d = 0; d < rank_[i]; ++d) {
        text += std::string(d == 0 ? "" : ", ") + "INDEX c" + std::to_string(d);
      }
      text += ") {\n" + f.body + "}\n";
    }
    text += "extern \"C\" __global__ void __launch_bounds__(" + number(threads) + ") NAME(" +
            parameters + ") {\n" + front + body + "}\n";
    const std::string_view type = long_ ? "long long" : "int";
    for (auto at = text.find("INDEX"); at != std::string::npos; at = text.find("INDEX", at)) {
      text.replace(at, 5, type);
    }
    k.source = std::move(text);
    k.blocks = narrow<std::uint32_t>(blocks, "blocks of a kernel");
    k.threads = narrow<std::uint32_t>(threads, "threads of a kernel");
    return k;
  }

  std::string body;

 private:
  std::string add_function(const expression& e, std::size_t rank) {
    for (std::size_t i = 0; i < functions_.size(); ++i) {
      if (functions_[i] == &e) return "NAME_f" + std::to_string(i);
    }
    functions_.push_back(&e);
    rank_.push_back(rank);
    return "NAME_f" + std::to_string(functions_.size() - 1);
  }

  const std::vector<buffer>& buffers_;
  std::map<std::size_t, std::string> names_;  // by buffer
  std::vector<std::size_t> order_;
  std::vector<const expression*> functions_;
  std::vector<std::size_t> rank_;
  std::map<const expression*, std::string> results_, packs_;
  std::size_t temporaries_ = 0;
  bool long_ = false;
};

std::int64_t pack_width(const std::vector<const view*>& views, const std::vector<loop>& loops,
                        bool calls) {
  constexpr std::int64_t width = 4;
  if (calls || loops.back().size % width != 0) return 1;
  for (const view* v : views) {
    const std::int64_t inner = stride_of(*v, loops.back());
    if (inner == 0) continue;
    bool fits = inner == 1 && v->offset % width == 0;
    for (const loop& l : loops) {
      fits = fits && (&l == &loops.back() || stride_of(*v, l) % width == 0);
    }
    if (!fits) return 1;
  }
  return stride_of(*views.back(), loops.back()) == 1 ? width : 1;
}

}  // namespace

std::size_t expression::loads() const {
  std::size_t n = what == kind::load ? 1 : arguments.size();
  for (const auto& operand : operands) n += operand->loads();
  return n;
}

bool expression::calls() const {
  return what == kind::call || std::any_of(operands.begin(), operands.end(),
                                           [](const auto& operand) { return operand->calls(); });
}

expression_ptr load(view from) {
  auto e = std::make_shared<expression>();
  e->from = std::move(from);
  return e;
}

expression_ptr call(std::string body, std::vector<std::size_t> arguments) {
  auto e = std::make_shared<expression>();
  e->what = expression::kind::call;
  e->body = std::move(body);
  e->arguments = std::move(arguments);
  return e;
}

expression_ptr operation(std::string text, std::vector<expression_ptr> operands) {
  auto e = std::make_shared<expression>();
  e->what = expression::kind::operation;
  e->text = std::move(text);
  e->operands = std::move(operands);
  return e;
}

std::string float_text(float v) {
  if (std::isnan(v)) return "(INFINITY - INFINITY)";
  if (std::isinf(v)) return v > 0 ? "INFINITY" : "(-INFINITY)";
  std::array<char, 64> text{};
  const auto end =
      std::to_chars(text.data(), text.data() + text.size(), v, std::chars_format::scientific);
  return "(" + std::string(text.data(), end.ptr) + "f)";
}

kernel_step map_kernel(const expression_ptr& e, const view& out,
                       const std::vector<buffer>& buffers) {
  std::vector<const view*> views;
  collect(*e, views);
  views.push_back(&out);
  const bool calls = e->calls();
  const std::vector<loop> loops = make_loops(out.shape, physical_order(out), views, !calls);
  const std::int64_t width = pack_width(views, loops, calls);
  const std::int64_t count = count_of(out.shape) / width;
  writer w(buffers);
  // The output is no argument of the functions, and comes last.
  w.body = "  const INDEX i = (INDEX)blockIdx.x * " + number(threads_per_block) +
           " + (INDEX)threadIdx.x;\n  if (i >= " + number(count) + ") return;\n";
  const auto at = w.decode(loops, "i", "x", "  ", width);
  const std::string to = w.index(out, loops, at);
  if (width == 1) {
    const std::string result = w.compute(*e, loops, at, "  ");
    w.body += "  put(q + (" + to + "), " + result + ");\n";
  } else {
    const std::string type =
        "pack<" + std::string(type_text(buffers[out.buffer].type)) + ", " + number(width) + ">";
    w.load_packs(*e, loops, at, width);
    w.body +=
        "  " + type + " o;\n#pragma unroll\n  for (int l = 0; l < " + number(width) + "; ++l) {\n";
    const std::string result = w.compute(*e, loops, at, "    ", true);
    w.body +=
        "    put(&o.at[l], " + result + ");\n  }\n  *(" + type + "*)(q + (" + to + ")) = o;\n";
  }
  const std::int64_t blocks =
      std::max<std::int64_t>(1, (count + threads_per_block - 1) / threads_per_block);
  return w.finish(out.buffer, blocks, threads_per_block);
}

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

  const bool by_warp = n <= most_for_a_warp;
  const std::int64_t team = by_warp ? warp : threads_per_block;
  const std::int64_t threads = by_warp ? warp * rows_per_block : threads_per_block;
  const std::int64_t blocks = by_warp ? (rows + rows_per_block - 1) / rows_per_block : rows;
  const std::int64_t each = (n + team - 1) / team;
  const bool kept = each <= most_in_registers;

  writer w(buffers);
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
  const auto with_inner = [&](std::vector<std::string> inner_at) {
    std::vector<std::string> at = outer_at;
    at.insert(at.end(), inner_at.begin(), inner_at.end());
    return at;
  };
  // A loop over this thread's elements of the row; x is the element, from registers after the
  // first.
  bool first_time = true;
  const auto for_each = [&](const std::string& statement, bool stores) {
    w.body += std::string(kept ? "#pragma unroll" : "#pragma unroll 4") +
              "\n  for (int k = 0; k < " + number(each) +
              "; ++k) {\n    const INDEX j = first + k * " + number(team) +
              ";\n    if (j >= " + number(n) + ") break;\n";
    if (kept && !first_time && !stores) {
      w.body += "    const float x = cache[k];\n";
    } else {
      const auto at = with_inner(w.decode(inner, "j", "x", "    "));
      if (kept && !first_time) {
        w.body += "    const float x = cache[k];\n";
      } else {
        w.forget_results();
        w.body += "    const float x = " + w.compute(*e, loops, at, "    ") + ";\n";
        // compute() wrote its statements before the line was begun.
        if (kept) w.body += "    cache[k] = x;\n";
      }
      if (stores) {
        w.forget_results();
        std::string result = statement;
        if (operation.scale) {
          result = "(" + result + ") * " + w.compute(*operation.scale, loops, at, "    ");
        }
        if (operation.shift) {
          result = "(" + result + ") + " + w.compute(*operation.shift, loops, at, "    ");
        }
        w.body += "    put(q + (" + w.index(out, loops, at) + "), " + result + ");\n";
      }
    }
    if (!stores) w.body += "    " + statement + "\n";
    w.body += "  }\n";
    first_time = false;
  };
  if (kept) w.body += "  float cache[" + number(each) + "];\n";
  const std::string count_text = float_text(static_cast<float>(n));
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
    case kind::sum:
    case kind::mean:
      total("s", "0.0f", "s += x;", "plus");
      store_one(operation.what == kind::sum ? "s" : "s / " + count_text);
      break;
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
