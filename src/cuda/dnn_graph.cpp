#include "cuda/dnn_graph.hpp"

#include <algorithm>
#include <array>

namespace mizzen::cuda {
namespace {

constexpr std::int64_t most_configurations = 256;  // of one heuristic: there are some forty
constexpr std::int64_t best_alignment = 16;

}  // namespace

cudnnDataType_t data_type_of(element_type type) {
  if (type == element_type::float16) return CUDNN_DATA_HALF;
  return type == element_type::bfloat16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
}

dnn::functions::functions() : file("cuDNN", {"libcudnn.so.9"}) {
#define MIZZEN_FIND(name) name = reinterpret_cast<decltype(name)>(file.find(MIZZEN_TEXT_OF(name)));
  MIZZEN_DNN_FUNCTIONS(MIZZEN_FIND)
#undef MIZZEN_FIND
}

void dnn::functions::check(cudnnStatus_t status, const char* what) const {
  if (status == CUDNN_STATUS_SUCCESS) return;
  std::array<char, 512> words{};
  cudnnGetLastErrorString(words.data(), words.size());
  throw error(
      errc::unavailable, "cuDNN",
      std::string(what) + ": " + cudnnGetErrorString(status) + ", " + std::string(words.data()));
}

const descriptor& operation_graph::keep(descriptor d) {
  kept_.push_back(std::move(d));
  return kept_.back();
}

const descriptor& operation_graph::tensor(std::int64_t id, element_type type, const dims& shape,
                                          const dims& strides, std::int64_t alignment) {
  descriptor t(*f_, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  t.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, id)
      .set(CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, data_type_of(type))
      .set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, alignment)
      .set(CUDNN_ATTR_TENSOR_DIMENSIONS, shape)
      .set(CUDNN_ATTR_TENSOR_STRIDES, strides)
      .finish();
  return keep(std::move(t));
}

const descriptor& operation_graph::between(const dims& shape, const dims& strides,
                                           cudnnDataType_t type) {
  descriptor t(*f_, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  t.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, next_between_++)
      .set(CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, type)
      .set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, best_alignment)
      .set(CUDNN_ATTR_TENSOR_DIMENSIONS, shape)
      .set(CUDNN_ATTR_TENSOR_STRIDES, strides)
      .set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, true)
      .finish();
  return keep(std::move(t));
}

const descriptor& operation_graph::number(std::int64_t id, std::size_t rank) {
  descriptor t(*f_, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  t.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, id)
      .set(CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT)
      .set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, best_alignment)
      .set(CUDNN_ATTR_TENSOR_DIMENSIONS, dims(rank, 1))
      .set(CUDNN_ATTR_TENSOR_STRIDES, dims(rank, 1))
      .set(CUDNN_ATTR_TENSOR_IS_BY_VALUE, CUDNN_TYPE_BOOLEAN, true)
      .finish();
  return keep(std::move(t));
}

void operation_graph::add(descriptor operation) { operations_.push_back(std::move(operation)); }

void operation_graph::pointwise(cudnnPointwiseMode_t mode, const descriptor& x, const descriptor* b,
                                const descriptor& y, cudnnDataType_t in) {
  descriptor how(*f_, CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
  how.set(CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, mode)
      .set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, in)
      .finish();
  descriptor operation(*f_, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, keep(std::move(how)))
      .set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x)
      .set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y);
  if (b != nullptr) operation.set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, *b);
  operation.finish();
  add(std::move(operation));
}

void operation_graph::index(const descriptor& x, std::int64_t axis, const descriptor& y) {
  descriptor how(*f_, CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
  how.set(CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, CUDNN_POINTWISE_GEN_INDEX)
      .set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT)
      .set(CUDNN_ATTR_POINTWISE_AXIS, CUDNN_TYPE_INT64, axis)
      .finish();
  descriptor operation(*f_, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, keep(std::move(how)))
      .set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x)
      .set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y)
      .finish();
  add(std::move(operation));
}

void operation_graph::select(const descriptor& x, const descriptor& other, const descriptor& which,
                             const descriptor& y) {
  descriptor how(*f_, CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
  how.set(CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, CUDNN_POINTWISE_BINARY_SELECT)
      .set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT)
      .finish();
  descriptor operation(*f_, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, keep(std::move(how)))
      .set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x)
      .set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, other)
      .set(CUDNN_ATTR_OPERATION_POINTWISE_TDESC, which)
      .set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y)
      .finish();
  add(std::move(operation));
}

void operation_graph::finish(const dnn_device& on) {
  std::vector<cudnnBackendDescriptor_t> list;
  for (const descriptor& d : operations_) list.push_back(d.get());
  whole_.emplace(*f_, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  whole_->set(CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
              std::span<const cudnnBackendDescriptor_t>(list));
  if (on.handle != nullptr) {
    whole_->set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, on.handle);
  }
  whole_->finish();
}

tensor_place place_of(std::int64_t id, const view& v) {
  std::int64_t last = v.offset + 1;
  for (std::size_t d = 0; d < v.shape.size(); ++d) last += (v.shape[d] - 1) * v.strides[d];
  const std::size_t size = size_of(v.type);
  return {id,
          v.buffer,
          v.offset * static_cast<std::int64_t>(size),
          static_cast<std::size_t>(last) * size,
          {}};
}

std::int64_t tensor_place::alignment() const noexcept {
  std::int64_t best = best_alignment;
  while (offset % best != 0) best /= 2;
  return best;
}

descriptor described_device(const dnn::functions& f, std::string_view json) {
  descriptor d(f, CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
  d.set(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
        std::span<const char>(json.data(), json.size()));
  d.finish();
  return d;
}

bool rounds_float32(const dnn::functions& f, const descriptor& configuration) {
  descriptor engine(f, CUDNN_BACKEND_ENGINE_DESCRIPTOR);
  cudnnBackendDescriptor_t at = engine.get();
  std::int64_t count = 0;
  if (f.cudnnBackendGetAttribute(configuration.get(), CUDNN_ATTR_ENGINECFG_ENGINE,
                                 CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &count,
                                 &at) != CUDNN_STATUS_SUCCESS) {
    return true;
  }
  std::array<cudnnBackendNumericalNote_t, 32> notes{};
  if (f.cudnnBackendGetAttribute(at, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE,
                                 static_cast<std::int64_t>(notes.size()), &count,
                                 notes.data()) != CUDNN_STATUS_SUCCESS) {
    return true;
  }
  const auto end = notes.begin() + std::min<std::int64_t>(count, notes.size());
  return std::any_of(notes.begin(), end, [](cudnnBackendNumericalNote_t note) {
    return note == CUDNN_NUMERICAL_NOTE_TENSOR_CORE ||
           note == CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS ||
           note == CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION;
  });
}

std::vector<descriptor> configurations(const operation_graph& g, const dnn_device& on,
                                       cudnnBackendHeurMode_t mode) {
  const dnn::functions& f = g.api();
  descriptor heuristic(f, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  heuristic.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, g.whole())
      .set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, mode);
  if (on.properties != nullptr) heuristic.set(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, *on.properties);
  heuristic.finish();
  std::vector<descriptor> list;
  std::vector<cudnnBackendDescriptor_t> raw;
  for (std::int64_t i = 0; i < most_configurations; ++i) {
    list.emplace_back(f, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    raw.push_back(list.back().get());
  }
  std::int64_t count = 0;
  f.check(f.cudnnBackendGetAttribute(heuristic.get(), CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                     CUDNN_TYPE_BACKEND_DESCRIPTOR, most_configurations, &count,
                                     raw.data()),
          "cudnnBackendGetAttribute");
  while (static_cast<std::int64_t>(list.size()) > count) list.pop_back();
  return list;
}

descriptor execution_plan(const dnn::functions& f, const dnn_device& on,
                          const descriptor& configuration) {
  descriptor execution(f, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
  if (on.handle != nullptr) {
    execution.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, on.handle);
  } else {
    execution.set(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, *on.properties);
  }
  execution.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, configuration).finish();
  return execution;
}

std::size_t workspace_of(const dnn::functions& f, const descriptor& execution) {
  std::int64_t bytes = 0;
  std::int64_t count = 0;
  f.check(f.cudnnBackendGetAttribute(execution.get(), CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE,
                                     CUDNN_TYPE_INT64, 1, &count, &bytes),
          "cudnnBackendGetAttribute");
  return static_cast<std::size_t>(bytes);
}

std::string text_of(const dnn::functions& f, const descriptor& execution) {
  constexpr auto name = CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION;
  std::int64_t count = 0;
  if (f.cudnnBackendGetAttribute(execution.get(), name, CUDNN_TYPE_CHAR, 0, &count, nullptr) !=
          CUDNN_STATUS_SUCCESS ||
      count <= 0) {
    return {};
  }
  std::string text(static_cast<std::size_t>(count), '\0');
  if (f.cudnnBackendGetAttribute(execution.get(), name, CUDNN_TYPE_CHAR, count, &count,
                                 text.data()) != CUDNN_STATUS_SUCCESS) {
    return {};
  }
  return text;
}

}  // namespace mizzen::cuda
