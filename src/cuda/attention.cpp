// Attention as a graph of cuDNN: the operations that its flash attention is recognised by.
#include "cuda/dnn_graph.hpp"

#include <sstream>

namespace mizzen::cuda {
namespace {

enum uid : std::int64_t { q_id = 1, k_id, v_id, out_id, mask_id, scale_id, low_id };

// As cuDNN's own front end: low enough for no weight, and still a number when others are added.
constexpr float very_low = -0.9F * 3.40282347e38F;

std::string key_of(const attention_step& s) {
  std::ostringstream text;
  text << "attention 1 " << static_cast<int>(s.type) << ' ' << s.has_mask << s.causal;
  const auto add = [&](const view& v) {
    for (const std::int64_t d : v.shape) text << ' ' << d;
    text << ',';
    for (const std::int64_t d : v.strides) text << ' ' << d;
    text << ' ' << place_of(0, v).alignment() << ';';
  };
  for (const view* v : {&s.q, &s.k, &s.v, &s.out}) add(*v);
  if (s.has_mask) add(s.mask);
  return text.str();
}

// Dimensions that do not move have one element.
dims shape_of_mask(const view& mask) {
  dims shape = mask.shape;
  for (std::size_t d = 0; d < shape.size(); ++d) {
    if (mask.strides[d] == 0) shape[d] = 1;
  }
  return shape;
}

// One along the keys for each row of the scores.
const descriptor& reduce(operation_graph& g, cudnnReduceTensorOp_t how, const descriptor& x,
                         const dims& shape) {
  descriptor reduction(g.api(), CUDNN_BACKEND_REDUCTION_DESCRIPTOR);
  reduction.set(CUDNN_ATTR_REDUCTION_OPERATOR, CUDNN_TYPE_REDUCTION_OPERATOR_TYPE, how)
      .set(CUDNN_ATTR_REDUCTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT)
      .finish();
  const descriptor& y = g.between(shape, dense_strides(shape));
  descriptor operation(g.api(), CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR);
  operation.set(CUDNN_ATTR_OPERATION_REDUCTION_XDESC, x)
      .set(CUDNN_ATTR_OPERATION_REDUCTION_YDESC, y)
      .set(CUDNN_ATTR_OPERATION_REDUCTION_DESC, g.keep(std::move(reduction)))
      .finish();
  g.add(std::move(operation));
  return y;
}

void multiply(operation_graph& g, const descriptor& a, const descriptor& b, const descriptor& c) {
  descriptor product(g.api(), CUDNN_BACKEND_MATMUL_DESCRIPTOR);
  product.set(CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT).finish();
  descriptor operation(g.api(), CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR);
  operation.set(CUDNN_ATTR_OPERATION_MATMUL_ADESC, a)
      .set(CUDNN_ATTR_OPERATION_MATMUL_BDESC, b)
      .set(CUDNN_ATTR_OPERATION_MATMUL_CDESC, c)
      .set(CUDNN_ATTR_OPERATION_MATMUL_DESC, g.keep(std::move(product)))
      .finish();
  g.add(std::move(operation));
}

}  // namespace

dnn_problem problem_of(const dnn::functions& f, const attention_step& s) {
  dnn_problem made{key_of(s), operation_graph(f), {}, false};
  operation_graph& g = made.graph;
  const auto tensor = [&](std::int64_t id, const view& v) -> const descriptor& {
    made.places.push_back(place_of(id, v));
    return g.tensor(id, s.type, v.shape, v.strides, made.places.back().alignment());
  };
  const auto number = [&](std::int64_t id, float n) -> const descriptor& {
    made.places.push_back({id, 0, 0, 0, n});
    return g.number(id, s.q.shape.size());
  };
  const dims scores = {s.q.shape[0], s.q.shape[1], s.q.shape[2], s.k.shape[2]};
  const dims rows = {scores[0], scores[1], scores[2], 1};
  const auto between = [&](cudnnDataType_t type = CUDNN_DATA_FLOAT) -> const descriptor& {
    return g.between(scores, dense_strides(scores), type);
  };
  const auto pointwise = [&](cudnnPointwiseMode_t mode, const descriptor& x,
                             const descriptor* b) -> const descriptor& {
    const descriptor& y = between();
    g.pointwise(mode, x, b, y);
    return y;
  };
  view turned = s.k;
  std::swap(turned.shape[2], turned.shape[3]);
  std::swap(turned.strides[2], turned.strides[3]);
  const descriptor& q = tensor(q_id, s.q);
  const descriptor& k = tensor(k_id, turned);
  const descriptor& product = between();
  multiply(g, q, k, product);
  const descriptor* last = &pointwise(CUDNN_POINTWISE_MUL, product, &number(scale_id, s.scale));
  if (s.has_mask) {
    made.places.push_back(place_of(mask_id, s.mask));
    const dims shape = shape_of_mask(s.mask);
    dims strides = s.mask.strides;
    for (std::size_t d = strides.size(); d-- > 0;) {
      if (shape[d] == 1) strides[d] = d + 1 < strides.size() ? strides[d + 1] * shape[d + 1] : 1;
    }
    last = &pointwise(CUDNN_POINTWISE_ADD, *last,
                      &g.tensor(mask_id, s.type, shape, strides, made.places.back().alignment()));
  }
  if (s.causal) {
    const descriptor& row = between(CUDNN_DATA_INT32);
    g.index(*last, 2, row);
    const descriptor& column = between(CUDNN_DATA_INT32);
    g.index(*last, 3, column);
    const descriptor& sees = between(CUDNN_DATA_BOOLEAN);
    g.pointwise(CUDNN_POINTWISE_CMP_GE, row, &column, sees, CUDNN_DATA_BOOLEAN);
    const descriptor& kept = between();
    g.select(*last, number(low_id, very_low), sees, kept);
    last = &kept;
  }
  const descriptor& most = reduce(g, CUDNN_REDUCE_TENSOR_MAX, *last, rows);
  const descriptor& below = pointwise(CUDNN_POINTWISE_SUB, *last, &most);
  const descriptor& powers = pointwise(CUDNN_POINTWISE_EXP, below, nullptr);
  const descriptor& sum = reduce(g, CUDNN_REDUCE_TENSOR_ADD, powers, rows);
  // The logarithm of the sum, which nobody reads: cuDNN knows attention by it.
  const descriptor& logarithm = g.between(rows, dense_strides(rows));
  g.pointwise(CUDNN_POINTWISE_LOG, sum, nullptr, logarithm);
  g.pointwise(CUDNN_POINTWISE_ADD, most, &logarithm, g.between(rows, dense_strides(rows)));
  // Of the type of v, which the product needs.
  const descriptor& weights = between(data_type_of(s.type));
  g.pointwise(CUDNN_POINTWISE_DIV, powers, &sum, weights);
  const descriptor& v = tensor(v_id, s.v);
  multiply(g, weights, v, tensor(out_id, s.out));
  return made;
}

}  // namespace mizzen::cuda
