// Operators that pick elements by their values: how many there are only the data tells.
#include "inference/dynamic/elements.hpp"
#include "inference/dynamic/operations.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <optional>
#include <string>
#include <utility>

namespace mizzen::inference::detail {
namespace {

shared_tensor int64_tensor(const std::vector<std::int64_t>& values, shape_type shape,
                           const run_state& state) {
  auto out = state.make(element_type::int64, std::move(shape));
  std::copy(values.begin(), values.end(), out->data<std::int64_t>().begin());
  return out;
}

std::int64_t count_of(const std::vector<std::int64_t>& list) {
  return static_cast<std::int64_t>(list.size());
}

// Entries of a tensor along an axis, in the order of the list.
shared_tensor take(const tensor& x, std::size_t axis, const std::vector<std::int64_t>& entries,
                   const run_state& state) {
  std::size_t outer = 1;
  std::size_t inner = 1;
  for (std::size_t i = 0; i < x.rank(); ++i) {
    if (i < axis) outer *= static_cast<std::size_t>(x.shape()[i]);
    if (i > axis) inner *= static_cast<std::size_t>(x.shape()[i]);
  }
  shape_type shape = x.shape();
  const auto whole = static_cast<std::size_t>(shape[axis]);
  shape[axis] = count_of(entries);
  auto out = state.make(x.type(), std::move(shape));
  std::size_t at = 0;
  for (std::size_t o = 0; o < outer; ++o) {
    for (const std::int64_t e : entries) {
      copy_elements(*out, at, x, (o * whole + static_cast<std::size_t>(e)) * inner, inner);
      at += inner;
    }
  }
  return out;
}

// The elements of a tensor in one dimension, in the order of the list.
shared_tensor take_flat(const tensor& x, const std::vector<std::int64_t>& elements,
                        const run_state& state) {
  auto out = state.make(x.type(), {count_of(elements)});
  for (std::size_t i = 0; i < elements.size(); ++i) {
    copy_elements(*out, i, x, static_cast<std::size_t>(elements[i]), 1);
  }
  return out;
}

// Calls fn(i) for each element that is not 0; of floats, -0 is 0.
template <class Fn>
void for_each_non_zero(const tensor& x, Fn&& fn) {
  if (x.type() == element_type::string) {
    const auto data = x.data<std::string>();
    for (std::size_t i = 0; i < data.size(); ++i) {
      if (!data[i].empty()) fn(i);
    }
    return;
  }
  const std::size_t bits = bit_width(x.type());
  const bool complex = x.type() == element_type::complex64 || x.type() == element_type::complex128;
  if (bits < 8 || complex) {
    throw error(errc::unimplemented, "input 0",
                "elements of type " + std::string(to_string(x.type())));
  }
  const bool is_signed_float =
      x.type() == element_type::float32 || x.type() == element_type::float64 ||
      x.type() == element_type::float16 || x.type() == element_type::bfloat16 ||
      x.type() == element_type::float8_e4m3fn || x.type() == element_type::float8_e5m2;
  const std::size_t size = bits / 8;
  const auto bytes = x.bytes();
  for (std::size_t i = 0; i < x.size(); ++i) {
    std::byte any{0};
    for (std::size_t k = 0; k < size; ++k) {
      // Little-endian: the sign is in the last byte.
      const bool has_sign = is_signed_float && k + 1 == size;
      any |= bytes[i * size + k] & (has_sign ? std::byte{0x7f} : std::byte{0xff});
    }
    if (any != std::byte{0}) fn(i);
  }
}

class non_zero_operation final : public operation {
 public:
  void run(const operation_context& c, std::span<item> outputs) const override {
    const tensor& x = c.one(0);
    std::size_t count = 0;
    for_each_non_zero(x, [&](std::size_t) { ++count; });
    auto out = c.state.make(element_type::int64, {static_cast<std::int64_t>(x.rank()),
                                                  static_cast<std::int64_t>(count)});
    const auto data = out->data<std::int64_t>();
    std::size_t at = 0;
    for_each_non_zero(x, [&](std::size_t i) {
      for (std::size_t d = x.rank(); d-- > 0;) {
        const auto size = static_cast<std::size_t>(x.shape()[d]);
        data[d * count + at] = static_cast<std::int64_t>(i % size);
        i /= size;
      }
      ++at;
    });
    outputs[0] = shared_tensor(std::move(out));
  }
};

class compress_operation final : public operation {
 public:
  explicit compress_operation(const attribute_map& attributes) {
    if (attributes.has("axis")) axis_ = attributes.get_int("axis", 0);
  }

  void run(const operation_context& c, std::span<item> outputs) const override {
    const tensor& x = c.one(0);
    const auto condition = c.one(1).data<bool>();
    const std::size_t axis = axis_ ? checked_axis(*axis_, x.rank()) : 0;
    const std::size_t whole = axis_ ? static_cast<std::size_t>(x.shape()[axis]) : x.size();
    std::vector<std::int64_t> kept;
    for (std::size_t i = 0; i < condition.size(); ++i) {
      if (!condition[i]) continue;
      if (i >= whole) {
        throw error(errc::invalid_argument, "condition",
                    "entry " + std::to_string(i) + " is true where there are only " +
                        std::to_string(whole) + " elements");
      }
      kept.push_back(static_cast<std::int64_t>(i));
    }
    outputs[0] = axis_ ? take(x, axis, kept, c.state) : take_flat(x, kept, c.state);
  }

 private:
  std::optional<std::int64_t> axis_;
};

// A total order: NaN is one value, after all numbers.
template <class T>
int order(const T& a, const T& b) {
  if constexpr (std::floating_point<T>) {
    if (std::isnan(a) || std::isnan(b))
      return static_cast<int>(std::isnan(a)) - static_cast<int>(std::isnan(b));
  }
  return a < b ? -1 : (b < a ? 1 : 0);
}

class unique_operation final : public operation {
 public:
  explicit unique_operation(const attribute_map& attributes)
      : sorted_(attributes.get_int("sorted", 1) != 0) {
    if (attributes.has("axis")) axis_ = attributes.get_int("axis", 0);
  }

  void run(const operation_context& c, std::span<item> outputs) const override {
    const tensor& x = c.one(0);
    switch (x.type()) {
      case element_type::float32:
        return run_as<float>(x, c.state, outputs);
      case element_type::float64:
        return run_as<double>(x, c.state, outputs);
      case element_type::boolean:
        return run_as<bool>(x, c.state, outputs);
      case element_type::int8:
        return run_as<std::int8_t>(x, c.state, outputs);
      case element_type::int16:
        return run_as<std::int16_t>(x, c.state, outputs);
      case element_type::int32:
        return run_as<std::int32_t>(x, c.state, outputs);
      case element_type::int64:
        return run_as<std::int64_t>(x, c.state, outputs);
      case element_type::uint8:
        return run_as<std::uint8_t>(x, c.state, outputs);
      case element_type::uint16:
        return run_as<std::uint16_t>(x, c.state, outputs);
      case element_type::uint32:
        return run_as<std::uint32_t>(x, c.state, outputs);
      case element_type::uint64:
        return run_as<std::uint64_t>(x, c.state, outputs);
      case element_type::string:
        return run_as<std::string>(x, c.state, outputs);
      default:
        throw error(errc::unimplemented, "input 0",
                    "elements of type " + std::string(to_string(x.type())));
    }
  }

 private:
  template <class T>
  void run_as(const tensor& x, const run_state& state, std::span<item> outputs) const {
    // Entry i is row i of all that is at i along the axis, or element i.
    const std::size_t axis = axis_ ? checked_axis(*axis_, x.rank()) : 0;
    std::size_t outer = 1;
    std::size_t inner = 1;
    for (std::size_t d = 0; axis_ && d < x.rank(); ++d) {
      if (d < axis) outer *= static_cast<std::size_t>(x.shape()[d]);
      if (d > axis) inner *= static_cast<std::size_t>(x.shape()[d]);
    }
    const std::size_t count = axis_ ? static_cast<std::size_t>(x.shape()[axis]) : x.size();
    const auto data = x.data<T>();
    const auto compare = [&](std::size_t a, std::size_t b) {
      for (std::size_t o = 0; o < outer; ++o) {
        for (std::size_t k = 0; k < inner; ++k) {
          const int way =
              order<T>(data[(o * count + a) * inner + k], data[(o * count + b) * inner + k]);
          if (way != 0) return way;
        }
      }
      return 0;
    };
    std::vector<std::size_t> entries(count);
    std::iota(entries.begin(), entries.end(), std::size_t{0});
    std::stable_sort(entries.begin(), entries.end(),
                     [&](std::size_t a, std::size_t b) { return compare(a, b) < 0; });
    // Groups of equal entries; the first of each is the one that occurs first.
    std::vector<std::int64_t> first, counts;
    std::vector<std::int64_t> group(count);
    for (std::size_t i = 0; i < count; ++i) {
      if (i == 0 || compare(entries[i - 1], entries[i]) != 0) {
        first.push_back(static_cast<std::int64_t>(entries[i]));
        counts.push_back(0);
      }
      ++counts.back();
      group[entries[i]] = count_of(first) - 1;
    }
    if (!sorted_) by_occurrence(first, counts, group);
    outputs[0] = axis_ ? take(x, axis, first, state) : take_flat(x, first, state);
    const std::int64_t groups = count_of(first);
    if (outputs.size() > 1) outputs[1] = int64_tensor(first, {groups}, state);
    if (outputs.size() > 2) outputs[2] = int64_tensor(group, {count_of(group)}, state);
    if (outputs.size() > 3) outputs[3] = int64_tensor(counts, {groups}, state);
  }

  static void by_occurrence(std::vector<std::int64_t>& first, std::vector<std::int64_t>& counts,
                            std::vector<std::int64_t>& group) {
    std::vector<std::size_t> new_order(first.size());
    std::iota(new_order.begin(), new_order.end(), std::size_t{0});
    std::sort(new_order.begin(), new_order.end(),
              [&](std::size_t a, std::size_t b) { return first[a] < first[b]; });
    std::vector<std::int64_t> new_first, new_counts, place(first.size());
    for (const std::size_t old : new_order) {
      place[old] = count_of(new_first);
      new_first.push_back(first[old]);
      new_counts.push_back(counts[old]);
    }
    for (std::int64_t& g : group) g = place[static_cast<std::size_t>(g)];
    first = std::move(new_first);
    counts = std::move(new_counts);
  }

  bool sorted_;
  std::optional<std::int64_t> axis_;
};

struct box {
  float top, left, bottom, right;
  float area() const noexcept { return (bottom - top) * (right - left); }
};

// Source: ONNX NonMaxSuppression, center_point_box: two opposite corners as y, x, y, x, or x, y,
// width, height around the centre.
box box_at(const float* p, bool centred) {
  if (centred) {
    return {p[1] - p[3] / 2, p[0] - p[2] / 2, p[1] + p[3] / 2, p[0] + p[2] / 2};
  }
  return {std::min(p[0], p[2]), std::min(p[1], p[3]), std::max(p[0], p[2]), std::max(p[1], p[3])};
}

float intersection_over_union(const box& a, const box& b) {
  const float height = std::min(a.bottom, b.bottom) - std::max(a.top, b.top);
  const float width = std::min(a.right, b.right) - std::max(a.left, b.left);
  if (!(height > 0) || !(width > 0)) return 0;
  const float both = height * width;
  const float whole = a.area() + b.area() - both;
  return whole > 0 ? both / whole : 0;
}

class non_max_suppression_operation final : public operation {
 public:
  explicit non_max_suppression_operation(const attribute_map& attributes)
      : centred_(attributes.get_int("center_point_box", 0) != 0) {}

  void run(const operation_context& c, std::span<item> outputs) const override {
    const tensor& boxes = c.one(0);
    const tensor& scores = c.one(1);
    if (boxes.rank() != 3 || scores.rank() != 3) {
      throw error(errc::invalid_argument, "inputs", "boxes and scores must have 3 dimensions");
    }
    const std::int64_t batches = boxes.shape()[0];
    const std::int64_t count = boxes.shape()[1];
    const std::int64_t classes = scores.shape()[1];
    if (boxes.shape()[2] != 4 || scores.shape()[0] != batches || scores.shape()[2] != count) {
      throw error(errc::invalid_argument, "inputs",
                  "boxes " + to_string(boxes.shape()) + " and scores " + to_string(scores.shape()) +
                      " do not fit");
    }
    const auto number = [&](std::size_t i, float fallback) {
      const tensor* t = c.optional_one(i);
      if (t == nullptr) return fallback;
      if (t->size() != 1) throw error(errc::invalid_argument, "threshold", "it must be one number");
      return t->data<float>()[0];
    };
    const tensor* most_given = c.optional_one(2);
    const std::int64_t most =
        most_given == nullptr ? 0 : only_integer(*most_given, "max_output_boxes_per_class");
    const float iou_limit = number(3, 0.0F);
    const float least_score =
        c.optional_one(4) == nullptr ? -std::numeric_limits<float>::infinity() : number(4, 0.0F);
    std::vector<std::int64_t> selected;  // batch, class, box
    std::vector<std::int64_t> candidates;
    std::vector<box> kept;
    for (std::int64_t b = 0; b < batches; ++b) {
      const float* box_data = boxes.data<float>().data() + b * count * 4;
      for (std::int64_t k = 0; k < classes && most > 0; ++k) {
        const float* score = scores.data<float>().data() + (b * classes + k) * count;
        candidates.clear();
        for (std::int64_t i = 0; i < count; ++i) {
          if (score[i] > least_score) candidates.push_back(i);
        }
        std::stable_sort(candidates.begin(), candidates.end(),
                         [&](std::int64_t x, std::int64_t y) { return score[x] > score[y]; });
        kept.clear();
        for (const std::int64_t i : candidates) {
          if (static_cast<std::int64_t>(kept.size()) >= most) break;
          c.state.cancel.check("run of the model");
          const box here = box_at(box_data + i * 4, centred_);
          const bool hidden = std::any_of(kept.begin(), kept.end(), [&](const box& other) {
            return intersection_over_union(here, other) > iou_limit;
          });
          if (hidden) continue;
          kept.push_back(here);
          selected.insert(selected.end(), {b, k, i});
        }
      }
    }
    const std::int64_t rows = count_of(selected) / 3;
    outputs[0] = int64_tensor(selected, {rows, 3}, c.state);
  }

 private:
  bool centred_;
};

}  // namespace

void add_selection_operations(operation_table& table) {
  table["NonZero"] = [](const operation_compile_context&) -> std::unique_ptr<operation> {
    return std::make_unique<non_zero_operation>();
  };
  table["Compress"] = [](const operation_compile_context& c) -> std::unique_ptr<operation> {
    return std::make_unique<compress_operation>(c.about.n.attributes);
  };
  table["Unique"] = [](const operation_compile_context& c) -> std::unique_ptr<operation> {
    return std::make_unique<unique_operation>(c.about.n.attributes);
  };
  table["NonMaxSuppression"] =
      [](const operation_compile_context& c) -> std::unique_ptr<operation> {
    return std::make_unique<non_max_suppression_operation>(c.about.n.attributes);
  };
}

}  // namespace mizzen::inference::detail
