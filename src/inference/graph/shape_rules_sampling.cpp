// Rules of the operators that sample images.
#include "inference/graph/shape_rules.hpp"

#include <cmath>
#include <vector>

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

// floor(dim * scale), as Resize and Upsample say.
std::int64_t scaled(infer_context& c, std::int64_t dim, float scale) {
  if (!(scale > 0.0F)) c.fail("a scale is not positive");
  if (scale == 1.0F || dim < 0) return scale == 1.0F ? dim : unknown_dim;
  const double size = std::floor(static_cast<double>(dim) * static_cast<double>(scale));
  if (!(size < 9e15)) c.fail("a scale is too large");
  return static_cast<std::int64_t>(size);
}

void resize(infer_context& c) {
  const dims* x = c.shape(0);
  if (x == nullptr) return c.set(0, c.type(0));
  dims axes = c.attributes().get_ints("axes");
  if (axes.empty()) {
    for (std::size_t i = 0; i < x->size(); ++i) axes.push_back(static_cast<std::int64_t>(i));
  }
  for (std::int64_t& a : axes) a = static_cast<std::int64_t>(c.axis(a, x->size()));
  const auto at = [&](std::size_t i) { return static_cast<std::size_t>(axes[i]); };
  // Opset 10 has (X, scales); 11 and later have (X, roi, scales, sizes).
  const std::size_t scales_at = c.n().opset < 11 ? 1 : 2;
  dims out = *x;
  for (std::size_t i = 0; i < axes.size(); ++i) out[at(i)] = unknown_dim;
  if (c.has(3) && c.length(3) != 0) {
    if (const auto sizes = c.ints(3)) {
      if (sizes->size() != axes.size()) c.fail("'sizes' must have an entry for each dimension");
      const dims& wanted = *sizes;
      for (const std::int64_t d : wanted) {
        if (d < 0) c.fail("a size is negative");
      }
      const std::string policy = c.attributes().get_string("keep_aspect_ratio_policy", "stretch");
      if (policy != "stretch" && policy != "not_larger" && policy != "not_smaller") {
        c.fail("unknown keep_aspect_ratio_policy '" + policy + "'");
      }
      double common = 0;
      bool known = true;
      for (std::size_t i = 0; i < axes.size(); ++i) {
        const std::int64_t in = (*x)[at(i)];
        known = known && in > 0;
        const double s = static_cast<double>(wanted[i]) / static_cast<double>(in);
        if (i == 0 || (policy == "not_larger" ? s < common : s > common)) common = s;
      }
      for (std::size_t i = 0; i < axes.size(); ++i) {
        if (policy == "stretch") {
          out[at(i)] = wanted[i];
        } else if (known) {
          const double size = common * static_cast<double>((*x)[at(i)]) + 0.5;
          if (!(size < 9e15)) c.fail("its sizes are too large");
          out[at(i)] = static_cast<std::int64_t>(size);
        }
      }
    }
  } else if (c.has(scales_at)) {
    if (const tensor* scales = c.known(scales_at)) {
      const auto values = scales->data<float>();
      if (values.size() != axes.size()) c.fail("'scales' must have an entry for each dimension");
      for (std::size_t i = 0; i < axes.size(); ++i) {
        out[at(i)] = scaled(c, (*x)[at(i)], values[i]);
      }
    }
  } else {
    c.fail("neither 'scales' nor 'sizes' is given");
  }
  c.set(0, c.type(0), out);
}

void upsample(infer_context& c) {
  const dims* x = c.shape(0);
  if (x == nullptr) return c.set(0, c.type(0));
  std::vector<float> scales = c.attributes().get_floats("scales");
  if (c.has(1)) {
    const tensor* given = c.known(1);
    if (given == nullptr) return c.set(0, c.type(0), dims(x->size(), unknown_dim));
    scales.assign(given->data<float>().begin(), given->data<float>().end());
  }
  if (scales.size() != x->size()) c.fail("'scales' must have an entry for each dimension");
  dims out = *x;
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = scaled(c, out[i], scales[i]);
  c.set(0, c.type(0), out);
}

}  // namespace

void add_sampling_rules(shape_rule_table& table) {
  table["GridSample"] = {2, 2, 1, grid_sample};
  table["AffineGrid"] = {2, 2, 1, affine_grid};
  table["Resize"] = {1, 4, 1, resize};
  table["Upsample"] = {1, 2, 1, upsample};
  table["RoiAlign"] = {3, 3, 1, roi_align};
  table["MaxRoiPool"] = {2, 2, 1, max_roi_pool};
}

}  // namespace mizzen::inference::detail
