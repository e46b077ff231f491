// Rules of the operators that move, make and select data.
#include "inference/cpu/kernels/elements.hpp"
#include "inference/graph/shape_rules.hpp"

#include <mizzen/core/checked.hpp>

#include <algorithm>
#include <cmath>
#include <limits>

namespace mizzen::inference::detail {
namespace {

constexpr std::size_t any_number = std::numeric_limits<std::size_t>::max();

using ints = std::vector<std::int64_t>;

// Axes as an attribute (older versions) or as an input; nullopt if they are computed at run time.
std::optional<ints> axes_of(infer_context& c, std::size_t input) {
  return c.has(input) ? c.ints(input) : std::optional(c.attributes().get_ints("axes"));
}

std::ptrdiff_t offset(std::size_t i) { return static_cast<std::ptrdiff_t>(i); }

// A shape given as data: negative numbers are errors.
dims shape_from(infer_context& c, const ints& values) {
  for (const std::int64_t d : values) {
    if (d < 0) c.fail("the shape " + to_string(values) + " has a negative dimension");
  }
  return values;
}

// The shape that the elements of input i are, as far as they are known.
std::optional<dims> shape_from_elements(infer_context& c, std::size_t i) {
  const extents* elements = c.elements(i);
  if (elements == nullptr || elements->size() > max_rank) return std::nullopt;
  dims out;
  for (const extent& e : *elements) out.push_back(e.dimension());
  return out;
}

// An unknown shape whose rank is the length of input i.
std::optional<dims> rank_from(infer_context& c, std::size_t i) {
  const std::int64_t length = c.length(i);
  if (length < 0 || length > static_cast<std::int64_t>(max_rank)) return std::nullopt;
  return dims(static_cast<std::size_t>(length), unknown_dim);
}

// What -1 stands for in a reshape: the input's dimensions without those that the output repeats.
std::int64_t remaining(infer_context& c, dims in, const dims& out) {
  if (std::find(in.begin(), in.end(), 0) != in.end()) {
    // 0 elements: -1 is determined only if no other dimension of the output is 0 either.
    if (dim_product(out) == 0) c.fail("-1 is ambiguous beside a dimension of 0");
    return 0;
  }
  std::int64_t divisor = 1;
  bool certain = true;
  for (const std::int64_t d : out) {
    if (d >= 0) {
      divisor = dim_mul(divisor, d);
    } else if (const auto same = std::find(in.begin(), in.end(), d);
               d != unknown_dim && same != in.end()) {
      in.erase(same);
    } else {
      certain = false;
    }
  }
  if (!certain) return unknown_dim;
  std::int64_t symbol = 0;
  std::int64_t product = 1;
  for (const std::int64_t d : in) {
    if (d >= 0) {
      product = dim_mul(product, d);
    } else if (symbol == 0) {
      symbol = d;
    } else {
      return unknown_dim;
    }
  }
  if (symbol != 0) return product == divisor ? symbol : unknown_dim;
  if (divisor == 0 || product % divisor != 0) {
    c.fail("-1 cannot be filled: " + std::to_string(product) + " elements over " +
           std::to_string(divisor));
  }
  return product / divisor;
}

// A reshape by numbers that only a run can tell, as far as they are known.
std::optional<dims> reshape_by_elements(infer_context& c) {
  const extents* target = c.elements(1);
  if (target == nullptr || target->size() > max_rank) return rank_from(c, 1);
  const dims* x = c.shape(0);
  const bool allow_zero = c.attributes().get_int("allowzero", 0) != 0;
  dims out(target->size(), unknown_dim);
  std::optional<std::size_t> fill;
  for (std::size_t i = 0; i < out.size(); ++i) {
    const extent& e = (*target)[i];
    const std::int64_t same = x != nullptr && i < x->size() ? (*x)[i] : unknown_dim;
    if (e.is_number && e.value == -1) {
      if (fill) return dims(out.size(), unknown_dim);
      fill = i;
      out[i] = 1;
    } else if (e.is_number && e.value == 0 && !allow_zero) {
      out[i] = same;
    } else if (e.is_number || allow_zero || e.value == same) {
      // A dimension that turns out to be 0 would else stand for that of the input.
      out[i] = e.dimension();
    }
  }
  if (fill) out[*fill] = x != nullptr ? remaining(c, *x, out) : unknown_dim;
  return out;
}

void reshape(infer_context& c) {
  const auto target = c.ints(1);
  if (!target) return c.set(0, c.type(0), reshape_by_elements(c));
  const dims* x = c.shape(0);
  const bool allow_zero = c.attributes().get_int("allowzero", 0) != 0;
  dims out(target->size());
  std::optional<std::size_t> fill;
  for (std::size_t i = 0; i < out.size(); ++i) {
    const std::int64_t d = (*target)[i];
    if (d < -1) c.fail("the shape " + to_string(*target) + " has a negative dimension");
    if (d == -1) {
      if (fill) c.fail("the shape " + to_string(*target) + " has two -1");
      fill = i;
      out[i] = 1;
    } else if (d == 0 && !allow_zero) {
      if (x != nullptr && i >= x->size()) c.fail("0 stands where the input has no dimension");
      out[i] = x != nullptr ? (*x)[i] : unknown_dim;
    } else {
      out[i] = d;
    }
  }
  if (fill) out[*fill] = x != nullptr ? remaining(c, *x, out) : unknown_dim;
  if (x != nullptr) {
    const std::int64_t before = dim_product(*x);
    const std::int64_t after = dim_product(out);
    if (before >= 0 && after >= 0 && before != after) {
      c.fail("shape " + to_string(*x) + " cannot become " + to_string(*target));
    }
  }
  c.set(0, c.type(0), out);
}

void flatten(infer_context& c) {
  const dims* x = c.shape(0);
  if (x == nullptr) return c.set(0, c.type(0), dims{unknown_dim, unknown_dim});
  const std::int64_t value = c.attributes().get_int("axis", 1);
  const std::size_t axis = value == static_cast<std::int64_t>(x->size())
                               ? x->size()
                               : (x->empty() && value == 0 ? 0 : c.axis(value, x->size()));
  const std::span<const std::int64_t> all(*x);
  c.set(0, c.type(0), dims{dim_product(all.first(axis)), dim_product(all.subspan(axis))});
}

void squeeze(infer_context& c) {
  const dims* x = c.shape(0);
  const auto axes = axes_of(c, 1);
  if (x == nullptr || !axes) return c.set(0, c.type(0));
  const bool listed = c.has(1) || c.attributes().has("axes");
  std::vector<bool> drop(x->size(), false);
  for (const std::int64_t a : *axes) {
    const std::size_t axis = c.axis(a, x->size());
    if ((*x)[axis] > 1 || (*x)[axis] == 0) {
      c.fail("dimension " + std::to_string(axis) + " is " + std::to_string((*x)[axis]) + ", not 1");
    }
    drop[axis] = true;
  }
  dims out;
  for (std::size_t i = 0; i < x->size(); ++i) {
    if (!listed && (*x)[i] < 0) return c.set(0, c.type(0));
    if (!(listed ? drop[i] : (*x)[i] == 1)) out.push_back((*x)[i]);
  }
  c.set(0, c.type(0), out);
}

void unsqueeze(infer_context& c) {
  const dims* x = c.shape(0);
  const auto axes = axes_of(c, 1);
  if (x == nullptr || !axes) return c.set(0, c.type(0));
  const std::size_t rank = x->size() + axes->size();
  if (rank > max_rank) c.fail("the result would have " + std::to_string(rank) + " dimensions");
  std::vector<bool> is_new(rank, false);
  for (const std::int64_t a : *axes) {
    const std::size_t axis = c.axis(a, rank);
    if (is_new[axis]) c.fail("axis " + std::to_string(a) + " is there twice");
    is_new[axis] = true;
  }
  dims out;
  for (std::size_t i = 0, from = 0; i < rank; ++i) out.push_back(is_new[i] ? 1 : (*x)[from++]);
  c.set(0, c.type(0), out);
}

void transpose(infer_context& c) {
  const dims* x = c.shape(0);
  if (x == nullptr) return c.set(0, c.type(0));
  const ints perm = c.attributes().get_ints("perm");
  dims out(x->rbegin(), x->rend());
  if (c.attributes().has("perm")) {
    std::vector<bool> seen(x->size(), false);
    if (perm.size() != x->size()) c.fail("'perm' must have an entry for each dimension");
    for (std::size_t i = 0; i < perm.size(); ++i) {
      if (perm[i] < 0 || perm[i] >= static_cast<std::int64_t>(perm.size()) ||
          seen[static_cast<std::size_t>(perm[i])]) {
        c.fail("'perm' is no permutation");
      }
      seen[static_cast<std::size_t>(perm[i])] = true;
      out[i] = (*x)[static_cast<std::size_t>(perm[i])];
    }
  }
  c.set(0, c.type(0), out);
}

void concat(infer_context& c) {
  const std::int64_t axis_value = c.attributes().require_int("axis");
  dims out;
  bool first = true;
  bool whole = true;
  std::size_t axis = 0;
  for (std::size_t i = 0; i < c.input_count(); ++i) {
    c.same_type({0, i});
    if (!c.has(i)) c.fail("input " + std::to_string(i) + " is missing");
    const dims* x = c.shape(i);
    if (x == nullptr) {
      whole = false;
      continue;
    }
    if (first) {
      out = *x;
      axis = c.axis(axis_value, out.size());
      first = false;
      continue;
    }
    if (x->size() != out.size()) c.fail("its inputs have different ranks");
    for (std::size_t d = 0; d < out.size(); ++d) {
      out[d] = d == axis ? dim_add(out[d], (*x)[d]) : c.merge(out[d], (*x)[d], "dimensions");
    }
  }
  if (first) return c.set(0, c.type(0));
  if (!whole) out[axis] = unknown_dim;
  c.set(0, c.type(0), out);
}

void split(infer_context& c) {
  const std::size_t parts = c.n().outputs.size();
  const dims* x = c.shape(0);
  std::optional<ints> sizes;
  if (c.has(1)) {
    sizes = c.ints(1);
  } else if (c.attributes().has("split")) {
    sizes = c.attributes().get_ints("split");
  }
  if (x == nullptr) {
    for (std::size_t i = 0; i < parts; ++i) c.set(i, c.type(0));
    return;
  }
  const std::size_t axis = c.axis(c.attributes().get_int("axis", 0), x->size());
  const std::int64_t whole = (*x)[axis];
  if (sizes) {
    if (sizes->size() != parts) c.fail("'split' has not one size for each output");
    std::int64_t sum = 0;
    for (const std::int64_t s : shape_from(c, *sizes)) sum = dim_add(sum, s);
    c.merge(sum, whole, "sum of 'split' and the dimension");
  } else if (!c.has(1) && whole >= 0) {
    const auto n = static_cast<std::int64_t>(parts);
    if (c.attributes().get_int("num_outputs", n) != n) c.fail("num_outputs is not its outputs");
    const std::int64_t each = (whole + n - 1) / n;
    sizes.emplace();
    for (std::int64_t i = 0; i < n; ++i) {
      sizes->push_back(std::max<std::int64_t>(0, std::min(each, whole - i * each)));
    }
    if (!c.attributes().has("num_outputs") && whole % n != 0) c.fail("it does not split evenly");
  }
  for (std::size_t i = 0; i < parts; ++i) {
    dims out = *x;
    out[axis] = sizes ? (*sizes)[i] : unknown_dim;
    c.set(i, c.type(0), out);
  }
}

// How many elements a slice takes of a dimension. Source: ONNX Slice, clamping of starts and ends.
std::int64_t slice_length(infer_context& c, std::int64_t dim, std::int64_t start, std::int64_t end,
                          std::int64_t step) {
  if (step == 0) c.fail("a step is 0");
  if (dim < 0) return unknown_dim;
  const auto clamp = [&](std::int64_t v, std::int64_t low, std::int64_t high) {
    if (v < 0) v = v < -dim ? -1 : v + dim;
    return std::clamp(v, low, high);
  };
  if (step > 0) {
    const std::int64_t from = std::max<std::int64_t>(clamp(start, -1, dim), 0);
    const std::int64_t to = std::max<std::int64_t>(clamp(end, -1, dim), 0);
    return to <= from ? 0 : (to - from - 1) / step + 1;
  }
  const std::int64_t from = clamp(start, -1, dim - 1);
  const std::int64_t to = clamp(end, -1, dim - 1);
  // |step| in unsigned arithmetic, for the lowest number of all.
  const std::uint64_t stride = std::uint64_t{0} - static_cast<std::uint64_t>(step);
  return to >= from
             ? 0
             : static_cast<std::int64_t>(static_cast<std::uint64_t>(from - to - 1) / stride) + 1;
}

void slice(infer_context& c) {
  const dims* x = c.shape(0);
  if (x == nullptr) return c.set(0, c.type(0));
  const bool as_inputs = c.input_count() > 1;
  std::optional<ints> starts = as_inputs ? c.ints(1) : c.attributes().get_ints("starts");
  std::optional<ints> ends = as_inputs ? c.ints(2) : c.attributes().get_ints("ends");
  std::optional<ints> axes = c.has(3) ? c.ints(3) : c.attributes().get_ints("axes");
  std::optional<ints> steps = c.has(4) ? c.ints(4) : ints{};
  if (as_inputs && !c.has(2)) c.fail("input 2 is missing");
  if (!axes || (c.has(4) && !steps)) return c.set(0, c.type(0), dims(x->size(), unknown_dim));
  const std::size_t count =
      starts ? starts->size() : (ends ? ends->size() : (axes->empty() ? x->size() : axes->size()));
  if (axes->empty()) {
    for (std::size_t i = 0; i < count; ++i) axes->push_back(static_cast<std::int64_t>(i));
  }
  if (steps->empty()) steps = ints(count, 1);
  if ((starts && starts->size() != count) || (ends && ends->size() != count) ||
      axes->size() != count || steps->size() != count || count > x->size()) {
    c.fail("starts, ends, axes and steps differ in length");
  }
  dims out = *x;
  std::vector<bool> seen(x->size(), false);
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t axis = c.axis((*axes)[i], x->size());
    if (seen[axis]) c.fail("axis " + std::to_string(axis) + " is there twice");
    seen[axis] = true;
    const bool all = (*x)[axis] < 0 && starts && ends && (*starts)[i] == 0 && (*steps)[i] == 1 &&
                     (*ends)[i] >= greatest_dimension(*x, axis, c.type(0));
    if (all) continue;
    out[axis] = starts && ends ? slice_length(c, (*x)[axis], (*starts)[i], (*ends)[i], (*steps)[i])
                               : unknown_dim;
  }
  c.set(0, c.type(0), out);
}

void check_index_type(infer_context& c, std::size_t i) {
  if (c.type(i) != element_type::int64 && c.type(i) != element_type::int32) {
    c.fail("its indices must be int32 or int64");
  }
}

void gather(infer_context& c) {
  check_index_type(c, 1);
  const dims* x = c.shape(0);
  const dims* indices = c.shape(1);
  if (x == nullptr || indices == nullptr) return c.set(0, c.type(0));
  const std::size_t axis = c.axis(c.attributes().get_int("axis", 0), x->size());
  dims out(x->begin(), x->begin() + offset(axis));
  out.insert(out.end(), indices->begin(), indices->end());
  out.insert(out.end(), x->begin() + offset(axis) + 1, x->end());
  c.set(0, c.type(0), out);
}

void gather_elements(infer_context& c) {
  check_index_type(c, 1);
  const dims* x = c.shape(0);
  const dims* indices = c.shape(1);
  if (indices == nullptr) return c.set(0, c.type(0));
  if (x != nullptr) {
    c.rank_is(1, x->size());
    const std::size_t axis = c.axis(c.attributes().get_int("axis", 0), x->size());
    for (std::size_t i = 0; i < x->size(); ++i) {
      if (i != axis && (*x)[i] >= 0 && (*indices)[i] > (*x)[i]) {
        c.fail("its indices are larger than its data");
      }
    }
  }
  c.set(0, c.type(0), *indices);
}

void gather_nd(infer_context& c) {
  if (c.type(1) != element_type::int64) c.fail("its indices must be int64");
  const dims* x = c.shape(0);
  const dims* indices = c.shape(1);
  if (x == nullptr || indices == nullptr) return c.set(0, c.type(0));
  const std::int64_t batch = c.attributes().get_int("batch_dims", 0);
  if (x->empty() || indices->empty() || batch < 0 ||
      batch >= static_cast<std::int64_t>(std::min(x->size(), indices->size()))) {
    c.fail("ranks and batch_dims do not fit");
  }
  const std::int64_t tuple = indices->back();
  if (tuple < 0) return c.set(0, c.type(0));
  if (tuple < 1 || tuple > static_cast<std::int64_t>(x->size()) - batch) {
    c.fail("its index tuples have " + std::to_string(tuple) + " entries");
  }
  for (std::size_t i = 0; i < static_cast<std::size_t>(batch); ++i) {
    c.merge((*x)[i], (*indices)[i], "batch dimensions");
  }
  dims out(indices->begin(), indices->end() - 1);
  out.insert(out.end(), x->begin() + batch + tuple, x->end());
  c.set(0, c.type(0), out);
}

void shape_of(infer_context& c) {
  const dims* x = c.shape(0);
  if (x == nullptr) return c.set(0, element_type::int64, dims{unknown_dim});
  const auto rank = static_cast<std::int64_t>(x->size());
  const auto bound = [&](std::int64_t v) {
    return std::clamp<std::int64_t>(v < 0 ? v + rank : v, 0, rank);
  };
  const std::int64_t start = bound(c.attributes().get_int("start", 0));
  const std::int64_t end = bound(c.attributes().get_int("end", rank));
  c.set(0, element_type::int64, dims{std::max<std::int64_t>(0, end - start)});
}

void size_of(infer_context& c) { c.set(0, element_type::int64, dims{}); }

void constant_of_shape(infer_context& c) {
  const auto value = c.attributes().get_tensor("value");
  if (value && value->size() != 1) c.fail("attribute 'value' must have one element");
  const auto shape = c.ints(0);
  c.set(0, value ? value->type() : element_type::float32,
        shape                      ? std::optional(shape_from(c, *shape))
        : c.elements(0) != nullptr ? shape_from_elements(c, 0)
                                   : rank_from(c, 0));
}

void expand(infer_context& c) {
  const auto target = c.ints(1);
  const dims* x = c.shape(0);
  if (x == nullptr) return c.set(0, c.type(0));
  if (target) return c.set(0, c.type(0), c.broadcast(*x, shape_from(c, *target)));
  const auto known = shape_from_elements(c, 1);
  c.set(0, c.type(0), known ? std::optional(c.broadcast(*x, *known)) : std::nullopt);
}

void tile(infer_context& c) {
  const dims* x = c.shape(0);
  if (x == nullptr) return c.set(0, c.type(0));
  const auto repeats = c.ints(1);
  if (!repeats) return c.set(0, c.type(0), dims(x->size(), unknown_dim));
  if (repeats->size() != x->size()) c.fail("'repeats' must have an entry for each dimension");
  dims out = *x;
  const dims checked = shape_from(c, *repeats);
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = dim_mul(out[i], checked[i]);
  c.set(0, c.type(0), out);
}

void pad(infer_context& c) {
  const dims* x = c.shape(0);
  c.same_type({0, 2});
  if (x == nullptr) return c.set(0, c.type(0));
  const auto pads = c.has(1) ? c.ints(1) : std::optional(c.attributes().get_ints("pads"));
  std::optional<ints> axes = c.has(3) ? c.ints(3) : ints{};
  if (!pads || !axes) return c.set(0, c.type(0), dims(x->size(), unknown_dim));
  if (!c.has(3)) {
    for (std::size_t i = 0; i < x->size(); ++i) axes->push_back(static_cast<std::int64_t>(i));
  }
  if (pads->size() != 2 * axes->size()) c.fail("'pads' must have two entries for each axis");
  for (const std::int64_t p : *pads) {
    if (p < -max_dimension || p > max_dimension) c.fail("a pad is out of range");
  }
  dims out = *x;
  std::vector<bool> seen(x->size(), false);
  for (std::size_t i = 0; i < axes->size(); ++i) {
    const std::size_t axis = c.axis((*axes)[i], x->size());
    if (seen[axis]) c.fail("axis " + std::to_string(axis) + " is there twice");
    seen[axis] = true;
    if (out[axis] < 0) continue;
    out[axis] =
        checked_add(checked_add(out[axis], (*pads)[i], "pads"), (*pads)[i + axes->size()], "pads");
    if (out[axis] < 0) c.fail("its pads take away more than there is");
  }
  c.set(0, c.type(0), out);
}

void range(infer_context& c) {
  c.same_type({0, 1, 2});
  const tensor* start = c.known(0);
  const tensor* limit = c.known(1);
  const tensor* delta = c.known(2);
  if (start == nullptr || limit == nullptr || delta == nullptr) {
    return c.set(0, c.type(0), dims{unknown_dim});
  }
  const auto number = [&](const tensor& t) -> double {
    if (t.size() != 1) c.fail("its inputs must be scalars");
    if (!cpu::has_elements(t.type())) c.fail("its type is not supported");
    return cpu::element_at(t.bytes().data(), t.type(), 0);
  };
  const double step = number(*delta);
  if (step == 0) c.fail("delta is 0");
  const double count = std::max(0.0, std::ceil((number(*limit) - number(*start)) / step));
  if (!(count < 9e15)) c.fail("it has no end");
  c.set(0, c.type(0), dims{static_cast<std::int64_t>(count)});
}

void one_hot(infer_context& c) {
  const dims* indices = c.shape(0);
  if (const dims* v = c.shape(2); v != nullptr && dim_product(*v) >= 0 && dim_product(*v) != 2) {
    c.fail("'values' must have two entries");
  }
  if (indices == nullptr) return c.set(0, c.type(2));
  std::int64_t depth = unknown_dim;
  if (const tensor* given = c.known(1)) {
    if (given->size() != 1 || !cpu::has_elements(given->type())) c.fail("depth must be one number");
    const double d = cpu::element_at(given->bytes().data(), given->type(), 0);
    if (!(d >= 1 && d <= static_cast<double>(max_dimension))) c.fail("depth must be at least 1");
    depth = static_cast<std::int64_t>(d);
  }
  const std::size_t axis = c.axis(c.attributes().get_int("axis", -1), indices->size() + 1);
  dims out = *indices;
  out.insert(out.begin() + offset(axis), depth);
  c.set(0, c.type(2), out);
}

void top_k(infer_context& c) {
  const dims* x = c.shape(0);
  if (x == nullptr) {
    c.set(0, c.type(0));
    return c.set(1, element_type::int64);
  }
  const std::size_t axis = c.axis(c.attributes().get_int("axis", -1), x->size());
  const auto k = c.has(1) ? c.scalar(1) : std::optional(c.attributes().require_int("k"));
  dims out = *x;
  if (k && (*k < 0 || (out[axis] >= 0 && *k > out[axis]))) {
    c.fail("k = " + std::to_string(*k) + " of a dimension of " + std::to_string(out[axis]));
  }
  out[axis] = k.value_or(unknown_dim);
  c.set(0, c.type(0), out);
  c.set(1, element_type::int64, out);
}

void depth_to_space(infer_context& c) {
  const std::int64_t block = c.attributes().require_int("blocksize");
  const dims* x = c.shape(0);
  if (block < 1 || block > 4096) c.fail("'blocksize' must be at least 1");
  if (x == nullptr) return c.set(0, c.type(0));
  c.rank_is(0, 4);
  dims out = *x;
  const bool deep = c.n().op_type == "DepthToSpace";
  if (deep) {
    if (out[1] >= 0 && out[1] % (block * block) != 0) c.fail("blocksize does not divide channels");
    out[1] = out[1] < 0 ? unknown_dim : out[1] / (block * block);
    out[2] = dim_mul(out[2], block);
    out[3] = dim_mul(out[3], block);
  } else {
    for (const std::size_t i : {std::size_t{2}, std::size_t{3}}) {
      if (out[i] >= 0 && out[i] % block != 0) c.fail("blocksize does not divide the image");
      out[i] = out[i] < 0 ? unknown_dim : out[i] / block;
    }
    out[1] = dim_mul(out[1], block * block);
  }
  c.set(0, c.type(0), out);
}

}  // namespace

void add_data_rules(shape_rule_table& table) {
  table["Reshape"] = {2, 2, 1, reshape};
  table["Flatten"] = {1, 1, 1, flatten};
  table["Squeeze"] = {1, 2, 1, squeeze};
  table["Unsqueeze"] = {1, 2, 1, unsqueeze};
  table["Transpose"] = {1, 1, 1, transpose};
  table["Concat"] = {1, any_number, 1, concat};
  table["Split"] = {1, 2, any_number, split};
  table["Slice"] = {1, 5, 1, slice};
  table["Gather"] = {2, 2, 1, gather};
  table["GatherElements"] = {2, 2, 1, gather_elements};
  table["GatherND"] = {2, 2, 1, gather_nd};
  table["Shape"] = {1, 1, 1, shape_of};
  table["Size"] = {1, 1, 1, size_of};
  table["ConstantOfShape"] = {1, 1, 1, constant_of_shape};
  table["Expand"] = {2, 2, 1, expand};
  table["Tile"] = {2, 2, 1, tile};
  table["Pad"] = {1, 4, 1, pad};
  table["Range"] = {3, 3, 1, range};
  table["OneHot"] = {3, 3, 1, one_hot};
  table["TopK"] = {1, 2, 2, top_k};
  table["DepthToSpace"] = {1, 1, 1, depth_to_space};
  table["SpaceToDepth"] = {1, 1, 1, depth_to_space};
}

}  // namespace mizzen::inference::detail
