// Convolutions as graphs of cuDNN.
#include "cuda/dnn_graph.hpp"

#include <algorithm>
#include <sstream>

namespace mizzen::cuda {
namespace {

enum uid : std::int64_t { x_id = 1, w_id, y_id, bias_id, residual_id };

// cuDNN wants two spatial dimensions at least: one of one element goes before the others.
dims widened(const dims& d, std::int64_t filler, std::size_t spatial, std::size_t front) {
  dims out = d;
  if (spatial == 1) out.insert(out.begin() + static_cast<std::ptrdiff_t>(front), filler);
  return out;
}

struct layout {
  dims shape, strides;
};

// Dimensions of one element may have any stride in a view; here they have those of the layout.
layout layout_of(const view& v, std::size_t spatial) {
  std::vector<std::size_t> order = {0};
  for (std::size_t d = 2; d < v.shape.size(); ++d) order.push_back(d);
  order.push_back(1);
  const dims strides = dense_strides(v.shape, order);
  const std::int64_t row = strides.back() * v.shape.back();
  return {widened(v.shape, 1, spatial, 2), widened(strides, row, spatial, 2)};
}

std::string key_of(const conv_step& s) {
  std::ostringstream text;
  const auto list = [&](const dims& d) {
    for (const std::int64_t v : d) text << ' ' << v;
    text << ',';
  };
  text << (s.transposed ? "conv transposed 2 " : "conv 2 ") << static_cast<int>(s.type) << ' '
       << s.has_bias << s.has_residual << static_cast<int>(s.act) << s.tf32;
  if (s.has_bias) text << ' ' << place_of(0, s.bias).alignment();
  if (s.has_residual) text << ' ' << place_of(0, s.residual).alignment();
  for (const view* v : {&s.x, &s.w, &s.out}) {
    list(v->shape);
    text << ' ' << place_of(0, *v).alignment();
  }
  for (const dims* d : {&s.pads_begin, &s.pads_end, &s.strides, &s.dilations}) list(*d);
  return text.str();
}

}  // namespace

// The convolution, then residual, bias and activation, as one operation graph: in this order cuDNN
// has compiled engines for it. With the bias before the residual it must write a kernel for each.
dnn_problem problem_of(const dnn::functions& f, const conv_step& s) {
  dnn_problem made{key_of(s), operation_graph(f), {}, false};
  made.exact = s.type == element_type::float32 && !s.tf32;
  operation_graph& g = made.graph;
  const std::size_t k = s.pads_begin.size();
  const auto tensor = [&](std::int64_t id, const view& v) -> const descriptor& {
    const layout l = layout_of(v, k);
    made.places.push_back(place_of(id, v));
    return g.tensor(id, s.type, l.shape, l.strides, made.places.back().alignment());
  };
  const descriptor& x = tensor(x_id, s.x);
  const descriptor& w = tensor(w_id, s.w);
  const descriptor& y = tensor(y_id, s.out);
  const layout out = layout_of(s.out, k);
  int left = (s.has_bias ? 1 : 0) + (s.has_residual ? 1 : 0) + (s.act == activation::relu ? 1 : 0);
  // The last operation writes y.
  const auto result = [&]() -> const descriptor& {
    return left-- == 0 ? y : g.between(out.shape, out.strides);
  };
  descriptor convolution(f, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
  const auto spatial = static_cast<std::int64_t>(std::max<std::size_t>(k, 2));
  convolution.set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, spatial)
      .set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT)
      .set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, CUDNN_CROSS_CORRELATION)
      .set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, widened(s.pads_begin, 0, k, 0))
      .set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, widened(s.pads_end, 0, k, 0))
      .set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, widened(s.strides, 1, k, 0))
      .set(CUDNN_ATTR_CONVOLUTION_DILATIONS, widened(s.dilations, 1, k, 0))
      .finish();
  const descriptor* last = &result();
  const descriptor& kept = g.keep(std::move(convolution));
  if (s.transposed) {
    // The gradient by the input of the convolution from y to x.
    descriptor gradient(f, CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR);
    gradient.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC, kept)
        .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY, x)
        .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W, w)
        .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX, *last)
        .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA, CUDNN_TYPE_FLOAT, 1.0F)
        .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA, CUDNN_TYPE_FLOAT, 0.0F)
        .finish();
    g.add(std::move(gradient));
    return made;
  }
  descriptor first(f, CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR);
  first.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, kept)
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, x)
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, w)
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, *last)
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, CUDNN_TYPE_FLOAT, 1.0F)
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, CUDNN_TYPE_FLOAT, 0.0F)
      .finish();
  g.add(std::move(first));
  const auto pointwise = [&](cudnnPointwiseMode_t mode, const descriptor* other) {
    const descriptor& to = result();
    g.pointwise(mode, *last, other, to);
    last = &to;
  };
  if (s.has_residual) pointwise(CUDNN_POINTWISE_ADD, &tensor(residual_id, s.residual));
  if (s.has_bias) {
    dims shape(out.shape.size(), 1);
    shape[1] = out.shape[1];
    dims strides(out.shape.size(), shape[1]);
    strides[1] = 1;
    made.places.push_back(place_of(bias_id, s.bias));
    pointwise(CUDNN_POINTWISE_ADD,
              &g.tensor(bias_id, s.type, shape, strides, made.places.back().alignment()));
  }
  if (s.act == activation::relu) pointwise(CUDNN_POINTWISE_RELU_FWD, nullptr);
  return made;
}

}  // namespace mizzen::cuda
