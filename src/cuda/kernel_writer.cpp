#include "cuda/kernel_writer.hpp"

#include <mizzen/core/checked.hpp>

#include <algorithm>
#include <limits>

namespace mizzen::cuda {

std::string_view type_text(element_type type) {
  switch (type) {
    case element_type::float16:
      return "half_t";
    case element_type::bfloat16:
      return "bfloat_t";
    case element_type::boolean:
      return "unsigned char";
    case element_type::int8:
      return "signed char";
    case element_type::uint8:
      return "byte_t";
    case element_type::float8_e4m3fn:
      return "e4m3_t";
    case element_type::float8_e5m2:
      return "e5m2_t";
    case element_type::int32:
      return "int";
    case element_type::int64:
      return "long long";
    default:
      return "float";
  }
}

std::string number(std::int64_t v) { return std::to_string(v); }

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

std::int64_t pack_width(const std::vector<const view*>& views, const std::vector<loop>& loops,
                        const std::vector<buffer>& buffers) {
  // Fewer threads than these, and each had better have less to do.
  constexpr std::int64_t enough_threads = std::int64_t{1} << 15;
  std::int64_t count = 1;
  for (const loop& l : loops) count *= l.size;
  bool narrow = false;
  for (const view* v : views) {
    const std::int64_t inner = stride_of(*v, loops.back());
    if (inner != 0 && inner != 1) return 1;
    narrow = narrow || (inner == 1 && size_of(buffers[v->buffer].type) <= 2);
  }
  for (std::int64_t width = narrow && count >= 8 * enough_threads ? 8 : 4; width > 1; width /= 2) {
    const auto fits = [&](const view* v) {
      if (stride_of(*v, loops.back()) == 0) return true;
      return v->offset % width == 0 &&
             std::all_of(loops.begin(), loops.end() - 1,
                         [&](const loop& l) { return stride_of(*v, l) % width == 0; });
    };
    if (loops.back().size % width == 0 && std::all_of(views.begin(), views.end(), fits)) {
      return width;
    }
  }
  return 1;
}

std::string writer::pointer(std::size_t b) {
  const auto [it, is_new] = names_.try_emplace(b, "p" + std::to_string(names_.size()));
  if (is_new) {
    order_.push_back(b);
    if (buffers_[b].count > std::numeric_limits<std::int32_t>::max() / 2) long_ = true;
  }
  return it->second;
}

std::string writer::pack_of(std::size_t b, std::int64_t width) const {
  return "pack<" + std::string(type_of(b)) + ", " + number(width) + ">";
}

std::string writer::index(const view& v, const std::vector<loop>& loops,
                          const std::vector<std::string>& at) const {
  std::string text = number(v.offset);
  for (std::size_t i = 0; i < loops.size(); ++i) {
    const std::int64_t stride = stride_of(v, loops[i]);
    if (stride == 0) continue;
    text += " + " + at[i] + (stride == 1 ? "" : " * " + number(stride));
  }
  return text;
}

std::string writer::compute(const expression& e, const std::vector<loop>& loops,
                            const std::vector<std::string>& at, const std::string& indent,
                            bool packs) {
  if (const auto done = results_.find(&e); done != results_.end()) return done->second;
  if (e.what == expression::kind::product) return product;
  std::string value;
  if (e.what == expression::kind::load) {
    const std::string p = pointer(e.from.buffer);
    const bool packed = packs && stride_of(e.from, loops.back()) != 0;
    if (e.integer) {
      value = "(long long)" +
              (packed ? packs_.at(&e) + ".at[l]" : p + "[" + index(e.from, loops, at) + "]");
    } else {
      value = packed ? "to_float(" + packs_.at(&e) + ".at[l])"
                     : "read(" + p + ", " + index(e.from, loops, at) + ")";
    }
  } else if (e.what == expression::kind::call) {
    std::vector<std::string> coordinates;
    for (std::size_t i = 0; i < loops.size(); ++i) {
      for (const std::size_t d : loops[i].dimensions) {
        if (coordinates.size() <= d) coordinates.resize(d + 1, "0");
        coordinates[d] = at[i];
      }
    }
    value = add_function(e, coordinates.size()) + "(";
    std::string between;
    for (const std::size_t b : e.arguments) {
      value += between + pointer(b);
      between = ", ";
    }
    for (const std::string& c : coordinates) {
      value += between + c;
      between = ", ";
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
  body += indent + "const " + (e.integer ? "long long " : "float ") + name + " = " + value + ";\n";
  results_[&e] = name;
  return name;
}

void writer::load_packs(const expression& e, const std::vector<loop>& loops,
                        const std::vector<std::string>& at, std::int64_t width,
                        const std::string& indent) {
  for (const auto& operand : e.operands) load_packs(*operand, loops, at, width, indent);
  if (e.what != expression::kind::load || stride_of(e.from, loops.back()) == 0) return;
  if (packs_.contains(&e)) return;
  const std::string name = "v" + std::to_string(packs_.size());
  const std::string type = pack_of(e.from.buffer, width);
  body += indent + "const " + type + " " + name + " = *(const " + type + "*)(" +
          pointer(e.from.buffer) + " + (" + index(e.from, loops, at) + "));\n";
  packs_[&e] = name;
}

std::vector<std::string> writer::decode(const std::vector<loop>& loops, const std::string& flat,
                                        const std::string& prefix, const std::string& indent,
                                        std::int64_t width) {
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

kernel_step writer::finish(std::size_t out, std::int64_t blocks, std::int64_t threads,
                           const std::string& front) {
  kernel_step k;
  std::string parameters;
  for (const std::size_t b : order_) {
    if (b == out) continue;
    k.buffers.push_back(b);
    parameters += "const " + std::string(type_of(b)) + "* __restrict__ " + names_.at(b) + ", ";
  }
  k.buffers.push_back(out);
  parameters += std::string(type_of(out)) + "* __restrict__ q";
  if (buffers_[out].count > std::numeric_limits<std::int32_t>::max() / 2) long_ = true;
  std::string text;
  for (std::size_t i = 0; i < functions_.size(); ++i) {
    const expression& f = *functions_[i];
    text += std::string("__device__ __forceinline__ ") + (f.integer ? "long long" : "float") +
            " NAME_f" + std::to_string(i) + "(";
    std::string between;
    for (std::size_t a = 0; a < f.arguments.size(); ++a) {
      text += between + "const " + std::string(type_of(f.arguments[a])) + "* __restrict__ a" +
              std::to_string(a);
      between = ", ";
    }
    for (std::size_t d = 0; d < rank_[i]; ++d) {
      text += between + "INDEX c" + std::to_string(d);
      between = ", ";
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
  k.meets = meets;
  return k;
}

std::string writer::add_function(const expression& e, std::size_t rank) {
  for (std::size_t i = 0; i < functions_.size(); ++i) {
    if (functions_[i] == &e) return "NAME_f" + std::to_string(i);
  }
  functions_.push_back(&e);
  rank_.push_back(rank);
  return "NAME_f" + std::to_string(functions_.size() - 1);
}

}  // namespace mizzen::cuda
