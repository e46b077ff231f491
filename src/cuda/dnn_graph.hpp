// cuDNN's graph API: its descriptors, and steps as its operation graphs. Apart from what runs them,
// because graphs, and plans of them, can be made without a GPU, for one that is only described: so
// the tests ask the real library what it makes of each graph here.
#pragma once

#include "cuda/products.hpp"

#include <mizzen/core/error.hpp>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mizzen::cuda {

// clang-format off: lists that it writes otherwise each time
#define MIZZEN_DNN_FUNCTIONS(F) \
  F(cudnnGetVersion) F(cudnnCreate) F(cudnnDestroy) F(cudnnSetStream) \
  F(cudnnBackendCreateDescriptor) F(cudnnBackendDestroyDescriptor) \
  F(cudnnBackendSetAttribute) F(cudnnBackendGetAttribute) F(cudnnBackendFinalize) \
  F(cudnnBackendExecute) F(cudnnGetErrorString) F(cudnnGetLastErrorString)
// clang-format on

struct dnn::functions {
  // Throws error(unavailable) where cuDNN is absent.
  functions();
  // Throws error(unavailable) with cuDNN's own words for a status that is not success.
  void check(cudnnStatus_t status, const char* what) const;

  library file;
#define MIZZEN_MEMBER(name) decltype(&::name) name = nullptr;
  MIZZEN_DNN_FUNCTIONS(MIZZEN_MEMBER)
#undef MIZZEN_MEMBER
};

// A descriptor of the graph API.
class descriptor {
 public:
  descriptor(const dnn::functions& f, cudnnBackendDescriptorType_t type) : f_(&f) {
    f.check(f.cudnnBackendCreateDescriptor(type, &at_), "cudnnBackendCreateDescriptor");
  }
  descriptor(descriptor&& other) noexcept : f_(other.f_), at_(std::exchange(other.at_, nullptr)) {}
  descriptor& operator=(descriptor&& other) noexcept {
    std::swap(f_, other.f_);
    std::swap(at_, other.at_);
    return *this;
  }
  ~descriptor() {
    if (at_ != nullptr) f_->cudnnBackendDestroyDescriptor(at_);
  }

  cudnnBackendDescriptor_t get() const noexcept { return at_; }

  template <class T>
  descriptor& set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                  std::span<const T> values) {
    f_->check(f_->cudnnBackendSetAttribute(at_, name, type,
                                           static_cast<std::int64_t>(values.size()), values.data()),
              "cudnnBackendSetAttribute");
    return *this;
  }
  template <class T>
  descriptor& set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, const T& v) {
    return set(name, type, std::span<const T>(&v, 1));
  }
  descriptor& set(cudnnBackendAttributeName_t name, const dims& v) {
    return set(name, CUDNN_TYPE_INT64, std::span<const std::int64_t>(v));
  }
  descriptor& set(cudnnBackendAttributeName_t name, const descriptor& other) {
    return set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, other.at_);
  }
  descriptor& finish() {
    f_->check(f_->cudnnBackendFinalize(at_), "cudnnBackendFinalize");
    return *this;
  }

 private:
  const dnn::functions* f_;
  cudnnBackendDescriptor_t at_ = nullptr;
};

// What plans are made for: the GPU of a handle, or one that is only described.
struct dnn_device {
  cudnnHandle_t handle = nullptr;
  const descriptor* properties = nullptr;  // CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR
};

// Operations and the tensors between them. Put together one by one, then finished once.
class operation_graph {
 public:
  explicit operation_graph(const dnn::functions& f) : f_(&f) {}

  const dnn::functions& api() const noexcept { return *f_; }

  // One in memory, whose place is given at each run by its id; it has this alignment, in bytes.
  const descriptor& tensor(std::int64_t id, element_type type, const dims& shape,
                           const dims& strides, std::int64_t alignment);
  // One that only lives between operations.
  const descriptor& between(const dims& shape, const dims& strides,
                            cudnnDataType_t type = CUDNN_DATA_FLOAT);
  // A float that is given at each run from the memory of the host.
  const descriptor& number(std::int64_t id, std::size_t rank);

  // Descriptors that operations refer to stay as long as the graph does.
  const descriptor& keep(descriptor d);
  void add(descriptor operation);
  // y = mode(x) or mode(x, b), computed in a type.
  void pointwise(cudnnPointwiseMode_t mode, const descriptor& x, const descriptor* b,
                 const descriptor& y, cudnnDataType_t in = CUDNN_DATA_FLOAT);
  // y = where it lies along an axis of x.
  void index(const descriptor& x, std::int64_t axis, const descriptor& y);
  // y = which ? x : other.
  void select(const descriptor& x, const descriptor& other, const descriptor& which,
              const descriptor& y);

  void finish(const dnn_device& on);
  const descriptor& whole() const { return *whole_; }

 private:
  const dnn::functions* f_;
  std::int64_t next_between_ = 1000;
  std::deque<descriptor> kept_;  // what is in it does not move
  std::vector<descriptor> operations_;
  std::optional<descriptor> whole_;
};

// Where a tensor of a graph lies: in a buffer, or a number that is given with the run.
struct tensor_place {
  std::int64_t id = 0;
  std::size_t buffer = 0;
  std::int64_t offset = 0;  // in bytes
  std::size_t bytes = 0;    // from the beginning of the buffer to the tensor's end
  std::optional<float> number;

  // Where the buffer itself has 16 bytes or more.
  std::int64_t alignment() const noexcept;
};

tensor_place place_of(std::int64_t id, const view& v);

// A step as cuDNN sees it.
struct dnn_problem {
  std::string key;        // all that its plan depends on, but for the GPU and the versions
  operation_graph graph;  // not finished
  std::vector<tensor_place> places;
  bool exact = false;  // only by engines that do not round float32
};
dnn_problem problem_of(const dnn::functions& f, const conv_step& s);
dnn_problem problem_of(const dnn::functions& f, const attention_step& s);

cudnnDataType_t data_type_of(element_type type);

// A device of these properties, which CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION names.
descriptor described_device(const dnn::functions& f, std::string_view json);

// The engines that cuDNN proposes for a finished graph, the one it thinks fastest first.
std::vector<descriptor> configurations(const operation_graph& g, const dnn_device& on,
                                       cudnnBackendHeurMode_t mode);
// Whether the engine computes with less than float32: on the tensor cores, say.
bool rounds_float32(const dnn::functions& f, const descriptor& configuration);
// Throws error(unavailable) where the engine does not take the graph after all.
descriptor execution_plan(const dnn::functions& f, const dnn_device& on,
                          const descriptor& configuration);
std::size_t workspace_of(const dnn::functions& f, const descriptor& execution);
// A plan as text that CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION takes; empty: it has none.
std::string text_of(const dnn::functions& f, const descriptor& execution);

}  // namespace mizzen::cuda
