#include "cuda/products.hpp"

#include <mizzen/core/error.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <sstream>
#include <utility>
#include <vector>

namespace mizzen::cuda {

// clang-format off: lists that it writes otherwise each time
#define MIZZEN_DNN_FUNCTIONS(F) \
  F(cudnnGetVersion) F(cudnnCreate) F(cudnnDestroy) F(cudnnSetStream) \
  F(cudnnBackendCreateDescriptor) F(cudnnBackendDestroyDescriptor) \
  F(cudnnBackendSetAttribute) F(cudnnBackendGetAttribute) F(cudnnBackendFinalize) \
  F(cudnnBackendExecute) F(cudnnGetErrorString)
// clang-format on

struct dnn::functions {
  functions() : file("cuDNN", {"libcudnn.so.9"}) {
#define MIZZEN_FIND(name) name = reinterpret_cast<decltype(name)>(file.find(MIZZEN_TEXT_OF(name)));
    MIZZEN_DNN_FUNCTIONS(MIZZEN_FIND)
#undef MIZZEN_FIND
  }
  void check(cudnnStatus_t status, const char* what) const {
    if (status == CUDNN_STATUS_SUCCESS) return;
    throw error(errc::unavailable, "cuDNN", std::string(what) + ": " + cudnnGetErrorString(status));
  }
  library file;
#define MIZZEN_MEMBER(name) decltype(&::name) name = nullptr;
  MIZZEN_DNN_FUNCTIONS(MIZZEN_MEMBER)
#undef MIZZEN_MEMBER
};

namespace {

constexpr std::int64_t most_configurations = 12;
constexpr std::size_t most_workspace = std::size_t{256} << 20;

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

cudnnDataType_t type_of(element_type type) {
  if (type == element_type::float16) return CUDNN_DATA_HALF;
  return type == element_type::bfloat16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
}

// cuDNN wants two spatial dimensions at least: one of one element goes before the others.
dims widened(const dims& d, std::int64_t filler, std::size_t spatial, std::size_t front) {
  dims out = d;
  if (spatial == 1) out.insert(out.begin() + static_cast<std::ptrdiff_t>(front), filler);
  return out;
}

enum uid : std::int64_t { x_id = 1, w_id, y_id, bias_id, residual_id, first_virtual };

descriptor tensor_of(const dnn::functions& f, std::int64_t id, element_type type, const dims& shape,
                     const dims& strides, bool is_virtual = false) {
  descriptor t(f, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  const std::int64_t alignment = 16;
  t.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, id)
      .set(CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE,
           is_virtual ? CUDNN_DATA_FLOAT : type_of(type))
      .set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, alignment)
      .set(CUDNN_ATTR_TENSOR_DIMENSIONS, shape)
      .set(CUDNN_ATTR_TENSOR_STRIDES, strides)
      .set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, is_virtual);
  return std::move(t.finish());
}

std::string key_of(const prepare_context& c, const conv_step& s) {
  std::ostringstream text;
  const auto list = [&](const dims& d) {
    for (const std::int64_t v : d) text << ' ' << v;
    text << ',';
  };
  text << "conv 1 " << c.gpu << ' ' << static_cast<int>(s.type) << ' ' << s.has_bias
       << s.has_residual << static_cast<int>(s.act) << s.tf32;
  for (const view* v : {&s.x, &s.w, &s.out}) {
    list(v->shape);
    list(v->strides);
  }
  for (const dims* d : {&s.pads_begin, &s.pads_end, &s.strides, &s.dilations}) list(*d);
  return text.str();
}

}  // namespace

class dnn::plan {
 public:
  plan(const conv_step& s, descriptor d, std::size_t bytes)
      : step(s), execution(std::move(d)), workspace_bytes(bytes) {}

  conv_step step;
  descriptor execution;
  std::size_t workspace_bytes;
};

namespace {

// convolution, then bias, residual and activation, as one operation graph.
struct graph_of {
  graph_of(const dnn::functions& f, cudnnHandle_t handle, const conv_step& s) {
    const std::size_t k = s.pads_begin.size();
    const auto tensor = [&](std::int64_t id, const view& v) -> const descriptor& {
      const std::int64_t row = v.strides.back() * v.shape.back();
      tensors.push_back(
          tensor_of(f, id, s.type, widened(v.shape, 1, k, 2), widened(v.strides, row, k, 2)));
      return tensors.back();
    };
    tensors.reserve(12);
    const descriptor& x = tensor(x_id, s.x);
    const descriptor& w = tensor(w_id, s.w);
    const descriptor& y = tensor(y_id, s.out);
    const dims y_shape = widened(s.out.shape, 1, k, 2);
    const dims y_strides = widened(s.out.strides, s.out.strides.back() * s.out.shape.back(), k, 2);
    std::int64_t next = first_virtual;
    int left =
        (s.has_bias ? 1 : 0) + (s.has_residual ? 1 : 0) + (s.act == activation::relu ? 1 : 0);
    // The last operation writes y.
    const auto result = [&]() -> const descriptor& {
      if (left-- == 0) return y;
      tensors.push_back(tensor_of(f, next++, s.type, y_shape, y_strides, true));
      return tensors.back();
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
    descriptor first(f, CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR);
    first.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, convolution)
        .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, x)
        .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, w)
        .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, *last)
        .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, CUDNN_TYPE_FLOAT, 1.0F)
        .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, CUDNN_TYPE_FLOAT, 0.0F)
        .finish();
    operations.push_back(std::move(first));
    operations_of.push_back(std::move(convolution));
    const auto pointwise = [&](cudnnPointwiseMode_t mode, const descriptor* other) {
      descriptor how(f, CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
      how.set(CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, mode)
          .set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT)
          .finish();
      const descriptor& to = result();
      descriptor operation(f, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
      operation.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, how)
          .set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, *last)
          .set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, to);
      if (other != nullptr) operation.set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, *other);
      operation.finish();
      operations.push_back(std::move(operation));
      operations_of.push_back(std::move(how));
      last = &to;
    };
    if (s.has_bias) {
      dims shape(y_shape.size(), 1);
      shape[1] = y_shape[1];
      dims strides(y_shape.size(), shape[1]);
      strides[1] = 1;
      tensors.push_back(tensor_of(f, bias_id, s.type, shape, strides));
      pointwise(CUDNN_POINTWISE_ADD, &tensors.back());
    }
    if (s.has_residual) {
      const descriptor& residual = tensor(residual_id, s.residual);
      pointwise(CUDNN_POINTWISE_ADD, &residual);
    }
    if (s.act == activation::relu) pointwise(CUDNN_POINTWISE_RELU_FWD, nullptr);
    std::vector<cudnnBackendDescriptor_t> list;
    for (const descriptor& d : operations) list.push_back(d.get());
    whole.emplace_back(f, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    whole.back()
        .set(CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
             std::span<const cudnnBackendDescriptor_t>(list))
        .set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, handle)
        .finish();
  }

  std::vector<descriptor> tensors, operations, operations_of, whole;
};

// Whether an engine rounds the factors of float32 for the tensor cores.
bool uses_tensor_cores(const dnn::functions& f, const descriptor& configuration) {
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
  return std::find(notes.begin(), end, CUDNN_NUMERICAL_NOTE_TENSOR_CORE) != end;
}

std::vector<descriptor> configurations(const dnn::functions& f, const graph_of& g,
                                       cudnnBackendHeurMode_t mode) {
  descriptor heuristic(f, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  heuristic.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, g.whole.back())
      .set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, mode)
      .finish();
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

std::size_t workspace_of(const dnn::functions& f, const descriptor& execution) {
  std::int64_t bytes = 0;
  std::int64_t count = 0;
  f.check(f.cudnnBackendGetAttribute(execution.get(), CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE,
                                     CUDNN_TYPE_INT64, 1, &count, &bytes),
          "cudnnBackendGetAttribute");
  return static_cast<std::size_t>(bytes);
}

void execute(const dnn::functions& f, cudnnHandle_t handle, const conv_step& s,
             const descriptor& execution, std::span<void* const> memory, void* workspace) {
  std::vector<std::int64_t> ids = {x_id, w_id, y_id};
  const auto at = [&](const view& v) -> void* {
    return static_cast<std::byte*>(memory[v.buffer]) +
           v.offset * static_cast<std::int64_t>(size_of(v.type));
  };
  std::vector<void*> pointers = {at(s.x), at(s.w), at(s.out)};
  if (s.has_bias) {
    ids.push_back(bias_id);
    pointers.push_back(at(s.bias));
  }
  if (s.has_residual) {
    ids.push_back(residual_id);
    pointers.push_back(at(s.residual));
  }
  descriptor pack(f, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
  pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, ids)
      .set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR,
           std::span<void* const>(pointers))
      .set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, workspace)
      .finish();
  f.check(f.cudnnBackendExecute(handle, execution.get(), pack.get()), "cudnnBackendExecute");
}

}  // namespace

dnn::dnn() : f_(std::make_unique<const functions>()) {
  if (f_->cudnnGetVersion() < least_cudnn) {
    throw error(errc::unavailable, "cuDNN",
                "version " + version() + " is too old: 9.15 or newer is needed");
  }
}

dnn::~dnn() = default;

std::string dnn::version() const {
  const std::size_t v = f_->cudnnGetVersion();
  return std::to_string(v / 10000) + "." + std::to_string(v / 100 % 100) + "." +
         std::to_string(v % 100);
}

std::size_t dnn::workspace_bytes(const plan& p) { return p.workspace_bytes; }

dnn::handle::handle(const dnn& of, CUstream stream) : of_(of) {
  of.f_->check(of.f_->cudnnCreate(&handle_), "cudnnCreate");
  of.f_->check(of.f_->cudnnSetStream(handle_, reinterpret_cast<cudaStream_t>(stream)),
               "cudnnSetStream");
}

dnn::handle::~handle() { of_.f_->cudnnDestroy(handle_); }

void dnn::handle::run(const plan& p, std::span<void* const> memory, void* workspace) const {
  execute(*of_.f_, handle_, p.step, p.execution, memory, workspace);
}

std::shared_ptr<const dnn::plan> dnn::prepare(const prepare_context& c, const conv_step& s) const {
  const functions& f = *f_;
  const handle own(*this, c.stream);
  const std::string key = key_of(c, s);
  if (const auto kept = c.cache.find(key)) {
    try {
      descriptor execution(f, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
      execution.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, own.handle_)
          .set(CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
               std::span<const char>(*kept))
          .finish();
      const std::size_t bytes = workspace_of(f, execution);
      if (bytes <= most_workspace)
        return std::make_shared<const plan>(s, std::move(execution), bytes);
    } catch (const error&) {
      // From another cuDNN, whatever the key says: it is chosen anew.
    }
  }
  const graph_of g(f, own.handle_, s);
  // Memory to time them on.
  const auto extent = [](const view& v) {
    std::int64_t last = v.offset + 1;
    for (std::size_t d = 0; d < v.shape.size(); ++d) last += (v.shape[d] - 1) * v.strides[d];
    return (static_cast<std::size_t>(last) * size_of(v.type) + 255) / 256 * 256;
  };
  std::vector<const view*> views = {&s.x, &s.w, &s.out};
  if (s.has_bias) views.push_back(&s.bias);
  if (s.has_residual) views.push_back(&s.residual);
  std::size_t all = most_workspace;
  std::size_t buffers = 0;
  for (const view* v : views) {
    all += extent(*v);
    buffers = std::max(buffers, v->buffer + 1);
  }
  CUdeviceptr scratch = 0;
  c.api.check(c.api.cuMemAlloc(&scratch, all), "cuMemAlloc");
  c.api.cuMemsetD8Async(scratch, 0x11, all, c.stream);
  std::vector<void*> memory(buffers);
  auto* at = reinterpret_cast<std::byte*>(scratch) + most_workspace;
  for (const view* v : views) {
    memory[v->buffer] = at;
    at += extent(*v);
  }
  const bool exact = s.type == element_type::float32 && !s.tf32;
  std::shared_ptr<const plan> best;
  double least = std::numeric_limits<double>::infinity();
  for (const cudnnBackendHeurMode_t mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK}) {
    if (best) break;
    std::vector<descriptor> list;
    try {
      list = configurations(f, g, mode);
    } catch (const error&) {
      continue;
    }
    for (const descriptor& configuration : list) {
      if (exact && uses_tensor_cores(f, configuration)) continue;
      try {
        descriptor execution(f, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
        execution.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, own.handle_)
            .set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, configuration)
            .finish();
        const std::size_t bytes = workspace_of(f, execution);
        if (bytes > most_workspace) continue;
        const double took = time_of(c, [&] {
          execute(f, own.handle_, s, execution, memory, reinterpret_cast<void*>(scratch));
        });
        if (took >= least) continue;
        least = took;
        best = std::make_shared<const plan>(s, std::move(execution), bytes);
      } catch (const error&) {
        // Proposed, but not for this GPU or these shapes after all.
      }
    }
  }
  c.api.cuMemFree(scratch);
  if (!best) {
    throw error(errc::unimplemented, "cuDNN", "it has no engine for a convolution of these shapes");
  }
  std::int64_t count = 0;
  if (f.cudnnBackendGetAttribute(best->execution.get(),
                                 CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION, CUDNN_TYPE_CHAR, 0,
                                 &count, nullptr) == CUDNN_STATUS_SUCCESS &&
      count > 0) {
    std::string text(static_cast<std::size_t>(count), '\0');
    if (f.cudnnBackendGetAttribute(best->execution.get(),
                                   CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
                                   count, &count, text.data()) == CUDNN_STATUS_SUCCESS) {
      c.cache.put(key, text);
    }
  }
  return best;
}

}  // namespace mizzen::cuda
