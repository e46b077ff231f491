// Rules of the operators that sample images.
#include "inference/graph/shape_rules.hpp"

namespace mizzen::inference::detail {
namespace {

void grid_sample(infer_context& c) {
  const dims* x = c.shape(0);
  const dims* grid = c.shape(1);
  if (x == nullptr || grid == nullptr) return c.set(0, c.type(0));
  if (x->size() < 3) c.fail("its input must have a rank ≥ 3");
  c.rank_is(1, x->size());
  c.merge((*x)[0], (*grid)[0], "batches");
  c.merge(grid->back(), static_cast<std::int64_t>(x->size()) - 2,
          "the last dimension of the grid and the spatial dimensions");
  dims out{(*x)[0], (*x)[1]};
  out.insert(out.end(), grid->begin() + 1, grid->end() - 1);
  c.set(0, c.type(0), out);
}

void affine_grid(infer_context& c) {
  c.rank_is(0, 3);
  const auto size = c.ints(1);
  if (!size) {
    const std::int64_t rank = c.length(1);
    if (rank != 4 && rank != 5) return c.set(0, c.type(0));
    return c.set(0, c.type(0), dims(static_cast<std::size_t>(rank), unknown_dim));
  }
  if (size->size() != 4 && size->size() != 5) c.fail("'size' must have 4 or 5 entries");
  const auto spatial = static_cast<std::int64_t>(size->size()) - 2;
  for (const std::int64_t d : *size) {
    if (d < 0) c.fail("'size' has a negative entry");
  }
  if (const dims* theta = c.shape(0)) {
    c.merge((*theta)[0], (*size)[0], "batches");
    c.merge((*theta)[1], spatial, "rows of theta and spatial dimensions");
    c.merge((*theta)[2], spatial + 1, "columns of theta and spatial dimensions");
  }
  dims out{(*size)[0]};
  out.insert(out.end(), size->begin() + 2, size->end());
  out.push_back(spatial);
  c.set(0, c.type(0), out);
}

std::int64_t positive(infer_context& c, std::int64_t value, std::string_view what) {
  if (value < 1 || value > max_dimension) c.fail(std::string(what) + " must be at least 1");
  return value;
}

void roi_align(infer_context& c) {
  c.rank_is(0, 4);
  c.rank_is(1, 2);
  c.rank_is(2, 1);
  std::int64_t count = unknown_dim;
  if (const dims* rois = c.shape(1)) {
    count = (*rois)[0];
    c.merge((*rois)[1], 4, "columns of rois and 4");
  }
  if (const dims* batch = c.shape(2)) count = c.merge(count, (*batch)[0], "rois and batch_indices");
  c.set(0, c.type(0),
        dims{count, c.shape(0) ? (*c.shape(0))[1] : unknown_dim,
             positive(c, c.attributes().get_int("output_height", 1), "output_height"),
             positive(c, c.attributes().get_int("output_width", 1), "output_width")});
}

void max_roi_pool(infer_context& c) {
  c.rank_is(0, 4);
  c.rank_is(1, 2);
  const auto pooled = c.attributes().get_ints("pooled_shape");
  if (pooled.size() != 2) c.fail("attribute 'pooled_shape' must have two entries");
  if (const dims* rois = c.shape(1)) c.merge((*rois)[1], 5, "columns of rois and 5");
  c.set(
      0, c.type(0),
      dims{c.shape(1) ? (*c.shape(1))[0] : unknown_dim, c.shape(0) ? (*c.shape(0))[1] : unknown_dim,
           positive(c, pooled[0], "pooled_shape"), positive(c, pooled[1], "pooled_shape")});
}

}  // namespace

void add_sampling_rules(shape_rule_table& table) {
  table["GridSample"] = {2, 2, 1, grid_sample};
  table["AffineGrid"] = {2, 2, 1, affine_grid};
  table["RoiAlign"] = {3, 3, 1, roi_align};
  table["MaxRoiPool"] = {2, 2, 1, max_roi_pool};
}

}  // namespace mizzen::inference::detail
