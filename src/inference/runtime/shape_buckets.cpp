#include "inference/runtime/shape_buckets.hpp"

#include "inference/graph/subgraph.hpp"

#include <mizzen/core/error.hpp>

#include <algorithm>
#include <cstring>
#include <functional>
#include <optional>
#include <set>

namespace mizzen::inference::detail {
namespace {

[[noreturn]] void refuse(const std::string& subject, const std::string& why) {
  throw error(errc::invalid_argument, subject, why);
}

std::string option(std::string_view name) {
  return "session_options.shape_buckets['" + std::string(name) + "']";
}

void check_sizes(const std::string& name, std::span<const std::int64_t> sizes) {
  if (sizes.empty()) refuse(option(name), "it lists no sizes");
  std::int64_t last = 0;
  for (const std::int64_t size : sizes) {
    if (size <= 0) refuse(option(name), std::to_string(size) + " is not positive");
    if (size <= last) {
      refuse(option(name),
             std::to_string(size) + " follows " + std::to_string(last) + ": the sizes must rise");
    }
    if (size > max_dimension) refuse(option(name), std::to_string(size) + " is too large");
    last = size;
  }
}

void check_plain(const value_info& info, std::string_view what) {
  const std::string subject = std::string(what) + " '" + info.name + "'";
  if (info.kind != value_kind::tensor) {
    refuse(subject, "it is " + to_string(info) +
                        ", no tensor: session_options.shape_buckets cannot pad or cut it");
  }
}

// Elements, one after the other in memory, that both shapes have in the same order: the innermost
// dimensions that are equal, and what is common of the next one.
struct common_runs {
  common_runs(const shape_type& a, const shape_type& b) : outer(a.size()) {
    while (outer > 0 && a[outer - 1] == b[outer - 1]) run *= static_cast<std::size_t>(a[--outer]);
    if (outer == 0) return;
    --outer;
    run *= static_cast<std::size_t>(std::min(a[outer], b[outer]));
  }
  std::size_t outer = 0;  // dimensions that are counted through
  std::size_t run = 1;
};

// Calls copy(index in a, index in b) for each run.
template <class Copy>
void for_each_run(const shape_type& a, const shape_type& b, const common_runs& runs, Copy copy) {
  if (runs.run == 0) return;
  std::vector<std::size_t> stride_a(a.size() + 1, 1), stride_b(b.size() + 1, 1);
  for (std::size_t d = a.size(); d-- > 0;) {
    stride_a[d] = stride_a[d + 1] * static_cast<std::size_t>(a[d]);
    stride_b[d] = stride_b[d + 1] * static_cast<std::size_t>(b[d]);
  }
  for (std::size_t d = 0; d < runs.outer; ++d) {
    if (a[d] == 0 || b[d] == 0) return;
  }
  std::vector<std::int64_t> at(runs.outer, 0);
  std::size_t in_a = 0, in_b = 0;
  for (;;) {
    copy(in_a, in_b);
    std::size_t d = runs.outer;
    for (;;) {
      if (d-- == 0) return;
      in_a += stride_a[d + 1];
      in_b += stride_b[d + 1];
      if (++at[d] < std::min(a[d], b[d])) break;
      in_a -= stride_a[d + 1] * static_cast<std::size_t>(at[d]);
      in_b -= stride_b[d + 1] * static_cast<std::size_t>(at[d]);
      at[d] = 0;
    }
  }
}

// The shapes of the outputs where each dimension that is not fixed is `size(its name)`.
std::vector<std::optional<dims>> output_shapes(
    const graph& g, std::span<const value_info> inputs,
    const std::function<std::int64_t(const std::string&)>& size) {
  std::vector<inferred> facts;
  for (const value_info& info : inputs) {
    inferred& one = facts.emplace_back(inferred{info.type, std::nullopt});
    if (!info.shape) continue;
    one.shape.emplace();
    for (const dimension& d : *info.shape) {
      one.shape->push_back(d.fixed() ? d.value : size(d.symbol));
    }
  }
  std::vector<std::optional<dims>> shapes;
  for (const inferred& out : outputs_of(specialise(g, facts))) shapes.push_back(out.shape);
  return shapes;
}

// Which dimensions of the outputs have no name, but are numbers that do not change with any size of
// a bucket, as the height of a picture does not with the batch.
std::vector<std::vector<bool>> find_independent(const graph& g, std::span<const value_info> inputs,
                                                const shape_buckets::size_map& sizes) {
  constexpr std::int64_t any = 64;  // of dimensions without a bucket
  std::vector<std::vector<bool>> same(g.outputs.size());
  try {
    const auto least = [&](const std::string& name) {
      const auto found = sizes.find(name);
      return found == sizes.end() ? any : found->second.front();
    };
    const auto first = output_shapes(g, inputs, least);
    for (std::size_t i = 0; i < same.size(); ++i) {
      for (const std::int64_t d : first[i].value_or(dims())) same[i].push_back(d >= 0);
    }
    for (const auto& [changed, numbers] : sizes) {
      // Beyond the last: one that is rounded, as half of it is, changes as well.
      const auto other = output_shapes(
          g, inputs, [&, &bucket = changed, &list = numbers](const std::string& name) {
            return name == bucket ? list.back() + any : least(name);
          });
      for (std::size_t i = 0; i < same.size(); ++i) {
        if (!other[i] || other[i]->size() != same[i].size()) same[i].assign(same[i].size(), false);
        for (std::size_t k = 0; k < same[i].size(); ++k) {
          same[i][k] = same[i][k] && (*other[i])[k] == (*first[i])[k];
        }
      }
    }
  } catch (const error&) {  // no shapes for the model: nothing is known
    for (auto& one : same) one.clear();
  }
  return same;
}

}  // namespace

output_names names_of_outputs(const graph& g) {
  output_names all;
  for (const value_id v : g.outputs) {
    std::vector<std::string>& names = all.emplace_back();
    if (!g.values[v].shape) continue;
    for (const std::int64_t d : *g.values[v].shape) {
      names.push_back(g.has_name(d) ? g.dimension_text(d) : "");
    }
  }
  return all;
}

shape_buckets::shape_buckets(size_map sizes, std::span<const value_info> inputs,
                             std::span<const value_info> outputs,
                             std::span<const output_names> found, const graph& g)
    : sizes_(std::move(sizes)) {
  if (sizes_.empty()) return;
  std::set<std::string, std::less<>> known;
  for (const value_info& info : inputs) {
    check_plain(info, "input");
    for (const dimension& d : info.shape.value_or(std::vector<dimension>())) {
      if (!d.fixed() && !d.symbol.empty()) known.insert(d.symbol);
    }
  }
  std::string list;
  for (const std::string& name : known) list += (list.empty() ? "'" : ", '") + name + "'";
  for (const auto& [name, numbers] : sizes_) {
    if (!known.contains(name)) {
      refuse(option(name), "no input of the model has a dimension of this name; they have " +
                               (list.empty() ? "none" : list));
    }
    check_sizes(name, numbers);
  }
  for (const auto* infos : {&inputs, &outputs}) {
    for (const value_info& info : *infos) {
      if (info.type != element_type::string && bit_width(info.type) % 8 != 0) {
        refuse(option(sizes_.begin()->first),
               "'" + info.name + "' is " + std::string(to_string(info.type)) +
                   ", several elements to the byte, which is not padded");
      }
    }
  }
  const std::vector<std::vector<bool>> independent = find_independent(g, inputs, sizes_);
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const value_info& info = outputs[i];
    check_plain(info, "output");
    const std::string subject = "output '" + info.name + "'";
    if (!info.shape) {
      refuse(subject,
             "its rank is not known, so that session_options.shape_buckets cannot tell "
             "what of it to cut");
    }
    std::vector<std::string>& names = outputs_.emplace_back();
    for (std::size_t k = 0; k < info.shape->size(); ++k) {
      const dimension& declared = (*info.shape)[k];
      std::string name = known.contains(declared.symbol) ? declared.symbol : "";
      for (const output_names& one : found) {
        if (k < one[i].size() && known.contains(one[i][k])) name = one[i][k];
      }
      const bool stays = k < independent[i].size() && independent[i][k];
      if (name.empty() && !declared.fixed() && !stays) {
        refuse(subject, "it is " + to_string(info) + ", of which dimension " + std::to_string(k) +
                            " is neither a number nor one that the inputs name (" +
                            (list.empty() ? "none" : list) +
                            ") and seems to change with the sizes, so that "
                            "session_options.shape_buckets cannot tell what to cut");
      }
      names.push_back(std::move(name));
    }
  }
}

std::int64_t shape_buckets::size_for(std::string_view name, std::int64_t real) const {
  const auto found = sizes_.find(name);
  if (found == sizes_.end() || real == 0) return real;
  const auto size = std::lower_bound(found->second.begin(), found->second.end(), real);
  return size == found->second.end() ? real : *size;
}

shape_buckets::padded shape_buckets::pad(std::span<const value_info> inputs,
                                         std::span<const tensor* const> given, void* stream) const {
  padded run;
  run.made.resize(given.size());
  for (std::size_t i = 0; i < given.size(); ++i) {
    if (!inputs[i].shape) continue;
    shape_type shape = given[i]->shape();
    for (std::size_t k = 0; k < shape.size(); ++k) {
      const std::string& name = (*inputs[i].shape)[k].symbol;
      const std::int64_t real = shape[k];
      shape[k] = size_for(name, real);
      if (shape[k] != real) run.sizes[name] = {real, shape[k]};
    }
    if (shape == given[i]->shape()) continue;
    run.made[i] = tensor(given[i]->type(), std::move(shape));
    if (given[i]->on_host()) {
      copy_common(*given[i], run.made[i]);
    } else {
      copy_common(given[i]->to_host(stream), run.made[i]);
    }
  }
  return run;
}

shape_type shape_buckets::cut_shape(const padded& run, std::size_t i, const tensor& made) const {
  shape_type shape = made.shape();
  for (std::size_t k = 0; k < shape.size() && k < outputs_[i].size(); ++k) {
    const auto size = run.sizes.find(outputs_[i][k]);
    if (size == run.sizes.end()) continue;
    if (shape[k] != size->second.second) {
      throw error(errc::internal, "output " + std::to_string(i),
                  "dimension " + std::to_string(k) + " is " + std::to_string(shape[k]) +
                      " where '" + outputs_[i][k] + "' was padded to " +
                      std::to_string(size->second.second) +
                      ": leave it out of session_options.shape_buckets");
    }
    shape[k] = size->second.first;
  }
  return shape;
}

void copy_common(const tensor& from, tensor& to) {
  const common_runs runs(from.shape(), to.shape());
  if (from.type() == element_type::string) {
    const auto source = from.data<std::string>();
    const auto target = to.data<std::string>();
    for_each_run(from.shape(), to.shape(), runs, [&](std::size_t a, std::size_t b) {
      std::copy_n(source.begin() + static_cast<std::ptrdiff_t>(a), runs.run,
                  target.begin() + static_cast<std::ptrdiff_t>(b));
    });
    return;
  }
  const std::size_t size = bit_width(from.type()) / 8;
  const std::byte* const source = from.bytes().data();
  std::byte* const target = to.mutable_bytes().data();
  for_each_run(from.shape(), to.shape(), runs, [&](std::size_t a, std::size_t b) {
    std::memcpy(target + b * size, source + a * size, runs.run * size);
  });
}

}  // namespace mizzen::inference::detail
