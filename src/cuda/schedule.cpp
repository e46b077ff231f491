#include "cuda/schedule.hpp"

#include <algorithm>
#include <numeric>

namespace mizzen::cuda {

dims dense_strides(const dims& shape, const std::vector<std::size_t>& order) {
  dims strides(shape.size());
  std::int64_t next = 1;
  for (std::size_t i = shape.size(); i-- > 0;) {
    const std::size_t d = order.empty() ? i : order[i];
    strides[d] = next;
    next *= shape[d];
  }
  return strides;
}

std::vector<std::size_t> physical_order(const view& v) {
  std::vector<std::size_t> order(v.shape.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  for (std::size_t d = 0; d < v.shape.size(); ++d) {
    if (v.shape[d] > 1 && v.strides[d] <= 0) return order;
  }
  // Dimensions of one element go where they stood: with the one before them.
  const auto key = [&](std::size_t d) { return v.shape[d] == 1 ? std::int64_t{0} : v.strides[d]; };
  std::vector<std::size_t> moving;
  for (const std::size_t d : order) {
    if (v.shape[d] != 1) moving.push_back(d);
  }
  std::stable_sort(moving.begin(), moving.end(),
                   [&](std::size_t a, std::size_t b) { return key(a) > key(b); });
  std::size_t next = 0;
  for (std::size_t& d : order) {
    if (v.shape[d] != 1) d = moving[next++];
  }
  return order;
}

bool is_dense(const view& v) {
  std::int64_t next = 1;
  for (std::size_t d = v.shape.size(); d-- > 0;) {
    if (v.shape[d] == 1) continue;
    if (v.strides[d] != next) return false;
    next *= v.shape[d];
  }
  return true;
}

bool is_aligned(const view& v) {
  return v.offset * static_cast<std::int64_t>(size_of(v.type)) % 16 == 0;
}

std::vector<std::size_t> step::reads() const {
  if (const auto* k = std::get_if<kernel_step>(&what)) {
    return {k->buffers.begin(), k->buffers.end() - 1};
  }
  std::vector<std::size_t> list;
  if (const auto* g = std::get_if<gemm_step>(&what)) {
    list = {g->a.buffer, g->b.buffer};
    if (g->has_bias) list.push_back(g->bias_buffer);
  } else if (const auto* c = std::get_if<conv_step>(&what)) {
    list = {c->x.buffer, c->w.buffer};
    if (c->has_bias) list.push_back(c->bias.buffer);
    if (c->has_residual) list.push_back(c->residual.buffer);
  } else if (const auto* t = std::get_if<attention_step>(&what)) {
    list = {t->q.buffer, t->k.buffer, t->v.buffer};
    if (t->has_mask) list.push_back(t->mask.buffer);
  }
  return list;
}

std::size_t step::writes() const {
  if (const auto* k = std::get_if<kernel_step>(&what)) return k->buffers.back();
  if (const auto* g = std::get_if<gemm_step>(&what)) return g->out.buffer;
  if (const auto* t = std::get_if<attention_step>(&what)) return t->out.buffer;
  return std::get<conv_step>(what).out.buffer;
}

}  // namespace mizzen::cuda
