// Rules of the operators that write elements where data says.
#include "inference/graph/shape_rules.hpp"

#include <vector>

namespace mizzen::inference::detail {
namespace {

void check_index_type(infer_context& c, std::size_t i) {
  if (c.type(i) != element_type::int64 && c.type(i) != element_type::int32) {
    c.fail("its indices must be int32 or int64");
  }
}

void scatter_elements(infer_context& c) {
  check_index_type(c, 1);
  c.same_type({0, 2});
  const dims* x = c.shape(0);
  const dims* indices = c.shape(1);
  const dims* updates = c.shape(2);
  if (x == nullptr) return c.set(0, c.type(0));
  const std::size_t axis = c.axis(c.attributes().get_int("axis", 0), x->size());
  if (indices != nullptr) {
    c.rank_is(1, x->size());
    for (std::size_t i = 0; i < x->size(); ++i) {
      if (i != axis && (*x)[i] >= 0 && (*indices)[i] > (*x)[i]) {
        c.fail("its indices are larger than its data");
      }
    }
  }
  if (indices != nullptr && updates != nullptr) {
    c.rank_is(2, indices->size());
    for (std::size_t i = 0; i < indices->size(); ++i) {
      c.merge((*indices)[i], (*updates)[i], "dimensions of indices and updates");
    }
  }
  c.set(0, c.type(0), *x);
}

void scatter_nd(infer_context& c) {
  check_index_type(c, 1);
  c.same_type({0, 2});
  const dims* x = c.shape(0);
  const dims* indices = c.shape(1);
  const dims* updates = c.shape(2);
  if (x == nullptr) return c.set(0, c.type(0));
  if (indices != nullptr && updates != nullptr) {
    if (indices->empty() || indices->back() > static_cast<std::int64_t>(x->size())) {
      c.fail("its index tuples have more entries than its data has dimensions");
    }
    if (indices->back() >= 0) {
      dims wanted(indices->begin(), indices->end() - 1);
      wanted.insert(wanted.end(), x->begin() + indices->back(), x->end());
      c.rank_is(2, wanted.size());
      for (std::size_t i = 0; i < wanted.size(); ++i) {
        c.merge((*updates)[i], wanted[i], "dimensions of its updates and where they go");
      }
    }
  }
  c.set(0, c.type(0), *x);
}

void tensor_scatter(infer_context& c) {
  c.same_type({0, 1});
  const dims* x = c.shape(0);
  const dims* update = c.shape(1);
  if (x == nullptr) return c.set(0, c.type(0));
  const std::size_t axis = c.axis(c.attributes().get_int("axis", -2), x->size());
  if (axis == 0) c.fail("its axis is the batch");
  if (update != nullptr) {
    c.rank_is(1, x->size());
    for (std::size_t i = 0; i < x->size(); ++i) {
      if (i != axis) {
        c.merge((*x)[i], (*update)[i], "dimensions of cache and update");
      } else if ((*x)[i] >= 0 && (*update)[i] > (*x)[i]) {
        c.fail("the update is longer than the cache");
      }
    }
  }
  if (const dims* at = c.shape(2)) {
    c.rank_is(2, 1);
    c.merge((*at)[0], (*x)[0], "write_indices and the batch");
  }
  c.set(0, c.type(0), *x);
}

void reverse_sequence(infer_context& c) {
  const dims* x = c.shape(0);
  if (x == nullptr) return c.set(0, c.type(0));
  if (x->size() < 2) c.fail("its input must have at least two dimensions");
  if (const dims* lengths = c.shape(1)) {
    c.rank_is(1, 1);
    const std::size_t batch = c.axis(c.attributes().get_int("batch_axis", 1), x->size());
    c.merge((*lengths)[0], (*x)[batch], "sequence_lens and the batch");
  }
  c.set(0, c.type(0), *x);
}

void center_crop_pad(infer_context& c) {
  const dims* x = c.shape(0);
  if (x == nullptr) return c.set(0, c.type(0));
  dims axes = c.attributes().get_ints("axes");
  if (!c.attributes().has("axes")) {
    for (std::size_t i = 0; i < x->size(); ++i) axes.push_back(static_cast<std::int64_t>(i));
  }
  const auto shape = c.ints(1);
  if (shape && shape->size() != axes.size()) c.fail("'shape' must have an entry for each axis");
  dims out = *x;
  std::vector<bool> seen(x->size(), false);
  for (std::size_t i = 0; i < axes.size(); ++i) {
    if (shape && (*shape)[i] < 0) c.fail("'shape' has a negative entry");
    const std::size_t axis = c.axis(axes[i], x->size());
    if (seen[axis]) c.fail("axis " + std::to_string(axis) + " is there twice");
    seen[axis] = true;
    out[axis] = shape ? (*shape)[i] : unknown_dim;
  }
  c.set(0, c.type(0), out);
}

}  // namespace

void add_scatter_rules(shape_rule_table& table) {
  table["Scatter"] = {3, 3, 1, scatter_elements};
  table["ScatterElements"] = {3, 3, 1, scatter_elements};
  table["ScatterND"] = {3, 3, 1, scatter_nd};
  table["TensorScatter"] = {2, 3, 1, tensor_scatter};
  table["ReverseSequence"] = {2, 2, 1, reverse_sequence};
  table["CenterCropPad"] = {2, 2, 1, center_crop_pad};
}

}  // namespace mizzen::inference::detail
