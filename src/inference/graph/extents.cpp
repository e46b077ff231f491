#include "inference/graph/extents.hpp"

#include <algorithm>
#include <limits>

namespace mizzen::inference::detail {
namespace {

// More elements than any shape has, with some room for what shapes are cut from.
constexpr std::size_t most_elements = 2 * max_rank;

std::optional<extents> of_shape(const node& n, const value& x) {
  if (!x.shape || x.kind != value_kind::tensor) return std::nullopt;
  const auto rank = static_cast<std::int64_t>(x.shape->size());
  const auto bound = [&](std::int64_t v) {
    return std::clamp<std::int64_t>(v < 0 ? v + rank : v, 0, rank);
  };
  const std::int64_t end = bound(n.attributes.get_int("end", rank));
  extents all;
  for (std::int64_t i = bound(n.attributes.get_int("start", 0)); i < end; ++i) {
    const auto at = static_cast<std::size_t>(i);
    const std::int64_t d = (*x.shape)[at];
    all.push_back({d, d >= 0, d >= 0 ? d : greatest_dimension(*x.shape, at, x.type)});
  }
  return all;
}

// Integers keep their values; what might not fit into 32 bits is no longer known.
std::optional<extents> cast(const node& n, const extents& x) {
  const auto to = static_cast<element_type>(n.attributes.get_int("to", 0));
  if (to == element_type::int64) return x;
  if (to != element_type::int32) return std::nullopt;
  extents all = x;
  for (extent& e : all) {
    const bool fits = e.is_number ? e.value == static_cast<std::int32_t>(e.value)
                                  : e.most <= std::numeric_limits<std::int32_t>::max();
    if (!fits) e = {};
  }
  return all;
}

// The number in an input that has one element.
std::optional<std::int64_t> number(std::span<const extents_input> in, std::size_t i) {
  if (i >= in.size() || in[i].elements == nullptr || in[i].elements->size() != 1) {
    return std::nullopt;
  }
  const extent& e = in[i].elements->front();
  return e.is_number ? std::optional(e.value) : std::nullopt;
}

std::optional<extents> slice(const node& n, std::span<const extents_input> in) {
  const extents& x = *in[0].elements;
  std::optional<std::int64_t> start;
  std::optional<std::int64_t> end;
  if (in.size() > 1) {
    const auto given = [&](std::size_t i) { return i < in.size() && in[i].v != nullptr; };
    start = number(in, 1);
    end = number(in, 2);
    if (given(3) && number(in, 3).value_or(1) != 0) return std::nullopt;
    if (given(4) && number(in, 4) != 1) return std::nullopt;
  } else {
    const auto starts = n.attributes.get_ints("starts");
    const auto ends = n.attributes.get_ints("ends");
    if (starts.size() == 1 && ends.size() == 1) {
      start = starts[0];
      end = ends[0];
    }
  }
  if (!start || !end) return std::nullopt;
  const auto size = static_cast<std::int64_t>(x.size());
  const auto bound = [&](std::int64_t v) {
    if (v < 0) v = v < -size ? 0 : v + size;
    return std::min(v, size);
  };
  extents all;
  for (std::int64_t i = bound(*start); i < bound(*end); ++i) {
    all.push_back(x[static_cast<std::size_t>(i)]);
  }
  return all;
}

std::optional<extents> gather(const node& n, std::span<const extents_input> in) {
  if (in[1].elements == nullptr || n.attributes.get_int("axis", 0) != 0) return std::nullopt;
  const extents& x = *in[0].elements;
  const auto size = static_cast<std::int64_t>(x.size());
  extents all;
  for (const extent& e : *in[1].elements) {
    if (!e.is_number || e.value < -size || e.value >= size) return std::nullopt;
    all.push_back(x[static_cast<std::size_t>(e.value < 0 ? e.value + size : e.value)]);
  }
  return all;
}

std::optional<extents> concat(std::span<const extents_input> in) {
  extents all;
  for (const extents_input& i : in) {
    if (i.v == nullptr) return std::nullopt;
    if (i.elements != nullptr) {
      all.insert(all.end(), i.elements->begin(), i.elements->end());
      continue;
    }
    const auto& shape = i.v->shape;
    if (!shape || shape->size() != 1 || shape->front() < 0 ||
        shape->front() > static_cast<std::int64_t>(most_elements)) {
      return std::nullopt;
    }
    all.resize(all.size() + static_cast<std::size_t>(shape->front()));
  }
  return all;
}

}  // namespace

std::int64_t greatest_dimension(const dims& shape, std::size_t i, element_type type) {
  std::int64_t most = most_bytes / std::max<std::int64_t>(1, bit_width(type) / 8);
  for (std::size_t d = 0; d < shape.size(); ++d) {
    if (d == i) continue;
    // With none of something there may be any number of the rest.
    if (shape[d] <= 0) return max_dimension;
    most /= shape[d];
  }
  return std::min(most, max_dimension);
}

std::optional<extents> extents_of(const tensor& t) {
  if (t.rank() > 1 || t.size() > most_elements) return std::nullopt;
  extents all;
  if (t.type() == element_type::int64) {
    for (const std::int64_t v : t.data<std::int64_t>()) all.push_back({v, true, v});
  } else if (t.type() == element_type::int32) {
    for (const std::int32_t v : t.data<std::int32_t>()) all.push_back({v, true, v});
  } else {
    return std::nullopt;
  }
  return all;
}

std::optional<extents> infer_extents(const node& n, std::span<const extents_input> in) {
  if (!n.domain.empty() || !n.post_ops.empty() || in.empty() || in[0].v == nullptr) {
    return std::nullopt;
  }
  if (n.op_type == "Shape") return of_shape(n, *in[0].v);
  std::optional<extents> all;
  if (n.op_type == "Concat") {
    all = concat(in);
  } else if (in[0].elements == nullptr) {
    return std::nullopt;
  } else if (n.op_type == "Identity" || n.op_type == "Squeeze" || n.op_type == "Unsqueeze" ||
             n.op_type == "Reshape") {
    all = *in[0].elements;
  } else if (n.op_type == "Cast") {
    all = cast(n, *in[0].elements);
  } else if (n.op_type == "Slice") {
    all = slice(n, in);
  } else if (n.op_type == "Gather") {
    all = gather(n, in);
  }
  if (all && all->size() > most_elements) all.reset();
  return all;
}

}  // namespace mizzen::inference::detail
