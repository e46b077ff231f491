// Rules of signals, random numbers, losses and of what belongs nowhere else.
#include "inference/cpu/kernels/elements.hpp"
#include "inference/graph/einsum.hpp"
#include "inference/graph/shape_rules.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace mizzen::inference::detail {
namespace {

constexpr std::size_t any_number = std::numeric_limits<std::size_t>::max();

element_type type_of(infer_context& c, std::string_view attribute, element_type otherwise) {
  const std::int64_t given = c.attributes().get_int(attribute, 0);
  if (given == 0) return otherwise;
  const auto type = static_cast<element_type>(given);
  if (to_string(type) == "undefined") {
    c.fail("attribute '" + std::string(attribute) + "' is no element type");
  }
  return type;
}

// A known input of one element of any number type.
std::optional<std::int64_t> count_of(infer_context& c, std::size_t i) {
  const tensor* t = c.known(i);
  if (t == nullptr) return std::nullopt;
  if (t->size() != 1 || !cpu::has_elements(t->type())) {
    c.fail("input " + std::to_string(i) + " must be one number");
  }
  const double v = cpu::element_at(t->bytes().data(), t->type(), 0);
  if (!(v >= -static_cast<double>(max_dimension) && v <= static_cast<double>(max_dimension))) {
    c.fail("input " + std::to_string(i) + " is out of range");
  }
  return static_cast<std::int64_t>(v);
}

void dft(infer_context& c) {
  const dims* x = c.shape(0);
  const bool old = c.n().opset < 20;
  const bool inverse = c.attributes().get_int("inverse", 0) != 0;
  const bool onesided = c.attributes().get_int("onesided", 0) != 0;
  if (x == nullptr) return c.set(0, c.type(0));
  if (x->size() < 2) c.fail("its input must have at least two dimensions");
  if (x->back() > 2 || x->back() == 0) c.fail("the last dimension of its input must be 1 or 2");
  std::optional<std::int64_t> axis = c.attributes().get_int("axis", old ? 1 : -2);
  if (!old && c.has(2)) axis = count_of(c, 2);
  dims out = *x;
  if (!axis) std::fill(out.begin(), out.end(), unknown_dim);
  out.back() = inverse && onesided ? 1 : 2;
  if (!axis) return c.set(0, c.type(0), out);
  const std::size_t at = c.axis(*axis, x->size());
  if (at + 1 == x->size()) c.fail("its axis is the one of the parts of a number");
  std::optional<std::int64_t> length = c.has(1) ? count_of(c, 1) : (*x)[at];
  if (c.has(1) && length && *length < 1) c.fail("dft_length must be at least 1");
  if (!length) length = unknown_dim;
  if (!c.has(1) && inverse && onesided && *length >= 0) length = 2 * (*length - 1);
  if (*length == 0) c.fail("it transforms nothing");
  if (onesided && !inverse && *length >= 0) length = *length / 2 + 1;
  out[at] = *length;
  c.set(0, c.type(0), out);
}

// signal, frame_step, window, frame_length.
void stft(infer_context& c) {
  const dims* x = c.shape(0);
  const auto step = count_of(c, 1);
  std::optional<std::int64_t> frame;
  if (c.has(3)) {
    frame = count_of(c, 3);
  } else if (c.has(2)) {
    if (c.length(2) >= 0) frame = c.length(2);
  } else {
    c.fail("neither window nor frame_length is given");
  }
  if (x != nullptr && x->size() != 2 && x->size() != 3) c.fail("its signal must have rank 3");
  if (x != nullptr && x->size() == 3 && ((*x)[2] > 2 || (*x)[2] == 0)) {
    c.fail("the last dimension of its signal must be 1 or 2");
  }
  dims out{x != nullptr ? (*x)[0] : unknown_dim, unknown_dim, unknown_dim, 2};
  if (step && *step < 1) c.fail("frame_step must be at least 1");
  if (frame) {
    if (*frame < 1) c.fail("frame_length must be at least 1");
    if (c.length(2) >= 0) c.merge(c.length(2), *frame, "lengths of window and frame");
    out[2] = c.attributes().get_int("onesided", 1) != 0 ? *frame / 2 + 1 : *frame;
    if (x != nullptr && step && (*x)[1] >= 0) {
      if (*frame > (*x)[1]) c.fail("its frames are longer than its signal");
      out[1] = 1 + ((*x)[1] - *frame) / *step;
    }
  }
  c.set(0, c.type(0), out);
}

void window(infer_context& c) {
  const auto size = count_of(c, 0);
  if (size && *size < 0) c.fail("its size is negative");
  c.set(0, type_of(c, "output_datatype", element_type::float32), dims{size.value_or(unknown_dim)});
}

void mel_weights(infer_context& c) {
  const auto bins = count_of(c, 0);
  const auto length = count_of(c, 1);
  if ((bins && *bins < 0) || (length && *length < 0)) c.fail("a size is negative");
  for (const std::size_t i : {0U, 1U, 2U, 3U, 4U}) {
    const dims* s = c.shape(i);
    if (s != nullptr && dim_product(*s) >= 0 && dim_product(*s) != 1) {
      c.fail("input " + std::to_string(i) + " must be one number");
    }
  }
  c.set(0, type_of(c, "output_datatype", element_type::float32),
        dims{length ? *length / 2 + 1 : unknown_dim, bins.value_or(unknown_dim)});
}

void random_shaped(infer_context& c) {
  const auto shape = c.attributes().get_ints("shape");
  for (const std::int64_t d : shape) {
    if (d < 0) c.fail("attribute 'shape' has a negative dimension");
  }
  c.set(0, type_of(c, "dtype", element_type::float32), shape);
}

void random_like(infer_context& c) {
  c.set(0, type_of(c, "dtype", c.type(0)), c.shape(0) ? std::optional(*c.shape(0)) : std::nullopt);
}

void multinomial(infer_context& c) {
  c.rank_is(0, 2);
  const std::int64_t samples = c.attributes().get_int("sample_size", 1);
  if (samples < 0) c.fail("attribute 'sample_size' is negative");
  c.set(0, type_of(c, "dtype", element_type::int32),
        dims{c.shape(0) ? (*c.shape(0))[0] : unknown_dim, samples});
}

void eye_like(infer_context& c) {
  c.rank_is(0, 2);
  random_like(c);
}

void det(infer_context& c) {
  const dims* x = c.shape(0);
  if (x == nullptr) return c.set(0, c.type(0));
  if (x->size() < 2) c.fail("its input must have at least two dimensions");
  c.merge(x->back(), (*x)[x->size() - 2], "rows and columns");
  c.set(0, c.type(0), dims(x->begin(), x->end() - 2));
}

void einsum(infer_context& c) {
  std::vector<std::size_t> ranks;
  for (std::size_t i = 0; i < c.input_count(); ++i) {
    c.same_type({0, i});
    if (c.shape(i) == nullptr) return c.set(0, c.type(0));
    ranks.push_back(c.shape(i)->size());
  }
  const einsum_terms terms = parse_einsum(c.attributes().get_string("equation", ""), ranks);
  dims sizes(terms.labels, 1);
  for (std::size_t i = 0; i < ranks.size(); ++i) {
    for (std::size_t d = 0; d < ranks[i]; ++d) {
      std::int64_t& size = sizes[terms.operands[i][d]];
      const std::int64_t own = (*c.shape(i))[d];
      if (own != 1) size = size == 1 ? own : c.merge(size, own, "dimensions of one letter");
    }
  }
  dims out;
  for (const std::size_t l : terms.output) out.push_back(sizes[l]);
  c.set(0, c.type(0), out);
}

void tfidf(infer_context& c) {
  std::int64_t columns = 0;
  for (const std::int64_t i : c.attributes().get_ints("ngram_indexes")) {
    if (i < 0 || i > max_dimension) c.fail("attribute 'ngram_indexes' is out of range");
    columns = std::max(columns, i + 1);
  }
  const dims* x = c.shape(0);
  if (x == nullptr) return c.set(0, element_type::float32);
  if (x->empty() || x->size() > 2) c.fail("its input must have 1 or 2 dimensions");
  c.set(0, element_type::float32, x->size() == 2 ? dims{(*x)[0], columns} : dims{columns});
}

// scores [N, C, D…], classes [N, D…], weights [C].
void loss(infer_context& c) {
  c.same_type({0, 2});
  const dims* x = c.shape(0);
  const dims* target = c.shape(1);
  const bool none = c.attributes().get_string("reduction", "mean") == "none";
  std::optional<dims> classes = target != nullptr ? std::optional(*target) : std::nullopt;
  if (x != nullptr) {
    if (x->size() < 2) c.fail("its scores must have at least two dimensions");
    dims wanted = *x;
    wanted.erase(wanted.begin() + 1);
    if (target != nullptr) {
      c.rank_is(1, wanted.size());
      for (std::size_t i = 0; i < wanted.size(); ++i) {
        wanted[i] = c.merge(wanted[i], (*target)[i], "dimensions of scores and classes");
      }
    }
    classes = wanted;
    if (const dims* weights = c.shape(2)) {
      c.rank_is(2, 1);
      c.merge((*weights)[0], (*x)[1], "weights and classes");
    }
  }
  c.set(0, c.type(0), none ? classes : std::optional(dims{}));
  c.set(1, c.type(0), x != nullptr ? std::optional(*x) : std::nullopt);
}

}  // namespace

void add_signal_rules(shape_rule_table& table) {
  table["DFT"] = {1, 3, 1, dft};
  table["STFT"] = {2, 4, 1, stft};
  for (const char* op : {"HannWindow", "HammingWindow", "BlackmanWindow"}) {
    table[op] = {1, 1, 1, window};
  }
  table["MelWeightMatrix"] = {5, 5, 1, mel_weights};
  table["RandomNormal"] = {0, 0, 1, random_shaped};
  table["RandomUniform"] = {0, 0, 1, random_shaped};
  table["RandomNormalLike"] = {1, 1, 1, random_like};
  table["RandomUniformLike"] = {1, 1, 1, random_like};
  table["Bernoulli"] = {1, 1, 1, random_like};
  table["Multinomial"] = {1, 1, 1, multinomial};
  table["EyeLike"] = {1, 1, 1, eye_like};
  table["Det"] = {1, 1, 1, det};
  table["Einsum"] = {1, any_number, 1, einsum};
  table["TfIdfVectorizer"] = {1, 1, 1, tfidf};
  table["NegativeLogLikelihoodLoss"] = {2, 3, 1, loss};
  table["SoftmaxCrossEntropyLoss"] = {2, 3, 2, loss};
}

}  // namespace mizzen::inference::detail
