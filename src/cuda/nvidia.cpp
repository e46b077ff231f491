// The backend of the plug-in proper: NVIDIA GPUs.
#include "cuda/backend.hpp"
#include "cuda/driver.hpp"
#include "cuda/nvrtc.hpp"
#include "cuda/products.hpp"

#include <mizzen/core/error.hpp>

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

namespace mizzen::cuda {

double time_of(const prepare_context& c, const std::function<void()>& call) {
  constexpr int rounds = 4;
  constexpr int most_calls = 8;           // in a round
  constexpr double long_enough = 0.5e-3;  // seconds, against what the events themselves take
  CUevent begin = nullptr;
  CUevent end = nullptr;
  c.api.check(c.api.cuEventCreate(&begin, CU_EVENT_DEFAULT), "cuEventCreate");
  c.api.check(c.api.cuEventCreate(&end, CU_EVENT_DEFAULT), "cuEventCreate");
  const auto round = [&](int calls) {
    c.api.check(c.api.cuEventRecord(begin, c.stream), "cuEventRecord");
    for (int i = 0; i < calls; ++i) call();
    c.api.check(c.api.cuEventRecord(end, c.stream), "cuEventRecord");
    c.api.check(c.api.cuEventSynchronize(end), "cuEventSynchronize");
    float milliseconds = 0;
    c.api.check(c.api.cuEventElapsedTime(&milliseconds, begin, end), "cuEventElapsedTime");
    return static_cast<double>(milliseconds) / 1e3 / calls;
  };
  double least = std::numeric_limits<double>::infinity();
  try {
    call();
    const double once = round(1);
    const int calls = once > long_enough ? 1 : most_calls;
    for (int i = 0; i < rounds; ++i) least = std::min(least, round(calls));
  } catch (const error&) {
    least = std::numeric_limits<double>::infinity();
  }
  c.api.cuEventDestroy(begin);
  c.api.cuEventDestroy(end);
  return least;
}

namespace {

constexpr int least_driver = 13000;   // the CUDA version that it must know
constexpr int least_capability = 75;  // what CUDA 13 still compiles for

int attribute(const driver& api, CUdevice device, CUdevice_attribute which) {
  int v = 0;
  api.check(api.cuDeviceGetAttribute(&v, which, device), "cuDeviceGetAttribute");
  return v;
}

int capability_of(const driver& api, CUdevice device) {
  return 10 * attribute(api, device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR) +
         attribute(api, device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
}

std::string version_text(int v) {
  return std::to_string(v / 1000) + "." + std::to_string(v % 1000 / 10);
}

std::string name_of(const driver& api, CUdevice device) {
  std::array<char, 100> name{};
  api.check(api.cuDeviceGetName(name.data(), static_cast<int>(name.size()) - 1, device),
            "cuDeviceGetName");
  return name.data();
}

class nvidia_program final : public program {
 public:
  explicit nvidia_program(const primary_context& c) : context_(c) {}
  ~nvidia_program() override {
    if (module == nullptr) return;
    const current here(context_);
    context_.api().cuModuleUnload(module);
  }

  // What one step needs: one of the three.
  struct ready {
    const kernel_step* kernel = nullptr;
    CUfunction function = nullptr;
    std::shared_ptr<const blas::plan> product;
    std::shared_ptr<const dnn::plan> graph;  // of cuDNN
  };
  CUmodule module = nullptr;
  std::vector<ready> setup, steps;
  std::size_t workspace_bytes = 0;

 private:
  const primary_context& context_;
};

int checked_index(std::uint32_t index) {
  const std::vector<gpu_info> list = list_gpus();
  const std::string subject = "device 'cuda:" + std::to_string(index) + "'";
  if (index >= list.size()) throw error(errc::not_found, subject, "there is no such GPU");
  if (!list[index].available) throw error(errc::unavailable, subject, list[index].reason);
  return static_cast<int>(index);
}

CUdeviceptr device_pointer(const void* at) { return reinterpret_cast<CUdeviceptr>(at); }
CUstream stream_of(void* handle) { return static_cast<CUstream>(handle); }

// Copies in the order of the stream.
void enqueue_copy(const driver& api, void* to, bool to_device, const void* from, bool from_device,
                  std::size_t bytes, CUstream stream) {
  if (bytes == 0) return;
  if (to_device && from_device) {
    api.check(api.cuMemcpyDtoDAsync(device_pointer(to), device_pointer(from), bytes, stream),
              "cuMemcpyDtoDAsync");
  } else if (to_device) {
    api.check(api.cuMemcpyHtoDAsync(device_pointer(to), from, bytes, stream), "cuMemcpyHtoDAsync");
  } else {
    api.check(api.cuMemcpyDtoHAsync(to, device_pointer(from), bytes, stream), "cuMemcpyDtoHAsync");
  }
}

class nvidia_recording final : public recording {
 public:
  nvidia_recording(const primary_context& c, CUgraphExec e) : context_(c), graph(e) {}
  ~nvidia_recording() override {
    const current here(context_);
    context_.api().cuGraphExecDestroy(graph);
  }

 private:
  const primary_context& context_;

 public:
  const CUgraphExec graph;
};

class nvidia_gpu;

class nvidia_queue final : public queue {
 public:
  explicit nvidia_queue(nvidia_gpu& on);
  ~nvidia_queue() override;

  void upload(void* device, const void* host, std::size_t bytes) override;
  void download(void* host, const void* device, std::size_t bytes) override;
  void run(const program& p, bool setup, std::size_t i, std::span<void* const> memory,
           void* workspace) override;
  void copy(void* to, const void* from, std::size_t bytes) override;
  std::unique_ptr<recording> record(const std::function<void()>& work) override;
  void replay(const recording& r) override;
  void follow(void* stream) override;
  void precede(void* stream) override;
  bool idle() override;
  void wait() override;

  CUstream stream() const noexcept { return stream_; }

 private:
  nvidia_gpu& on_;
  CUstream stream_ = nullptr;
  CUevent mark_ = nullptr;                  // between streams
  std::unique_ptr<const dnn::handle> dnn_;  // once there is a graph of it
};

class nvidia_gpu final : public gpu {
 public:
  nvidia_gpu(std::uint32_t index, const std::string& cache)
      : context_(std::make_shared<const driver>(), checked_index(index)), cache_(cache) {
    // Libraries belong to the device whose context is current when they are opened.
    const current here(context_);
    blas_ = std::make_unique<const blas>();
    dnn_ = std::make_unique<const dnn>();
    const driver& api = context_.api();
    int version = 0;
    api.check(api.cuDriverGetVersion(&version), "cuDriverGetVersion");
    capability_ = capability_of(api, context_.device());
    key_ = name_of(api, context_.device()) + " driver " + std::to_string(version) + " nvrtc " +
           compiler_.version() + " cublas " + blas_->version() + " cudnn " + dnn_->version();
  }

  int capability() const noexcept override { return capability_; }
  bool takes(const attention_step& s) override {
    const current here(context_);
    const nvidia_queue order(*this);
    return dnn_->takes(order.stream(), s);
  }

  void* allocate(std::size_t bytes) override {
    const current here(context_);
    CUdeviceptr at = 0;
    context_.api().check(context_.api().cuMemAlloc(&at, bytes), "cuMemAlloc");
    return reinterpret_cast<void*>(at);
  }
  void release(void* memory) noexcept override {
    const current here(context_);
    context_.api().cuMemFree(reinterpret_cast<CUdeviceptr>(memory));
  }
  void* allocate_host(std::size_t bytes) override {
    const current here(context_);
    void* at = nullptr;
    context_.api().check(context_.api().cuMemAllocHost(&at, bytes), "cuMemAllocHost");
    return at;
  }
  void release_host(void* memory) noexcept override {
    const current here(context_);
    context_.api().cuMemFreeHost(memory);
  }
  std::unique_ptr<queue> make_queue() override { return std::make_unique<nvidia_queue>(*this); }

  ~nvidia_gpu() override {
    const current here(context_);
    dnn_.reset();
    blas_.reset();
  }

  std::unique_ptr<program> prepare(const schedule& s) override {
    const current here(context_);
    const driver& api = context_.api();
    auto made = std::make_unique<nvidia_program>(context_);
    const module_text text = make_module(s);
    if (!text.names.empty()) {
      const std::string module = machine_code(text.source);
      api.check(api.cuModuleLoadData(&made->module, module.data()), "cuModuleLoadData");
    }
    const nvidia_queue order(*this);
    const prepare_context c{api, order.stream(), cache_, key_};
    std::size_t kernel = 0;
    const auto make = [&](const std::vector<step>& from, std::vector<nvidia_program::ready>& to) {
      for (const step& one : from) {
        nvidia_program::ready r;
        try {
          if (const auto* k = std::get_if<kernel_step>(&one.what)) {
            r.kernel = k;
            api.check(
                api.cuModuleGetFunction(&r.function, made->module, text.names[kernel++].c_str()),
                "cuModuleGetFunction");
          } else if (const auto* g = std::get_if<gemm_step>(&one.what)) {
            r.product = blas_->prepare(c, *g);
            made->workspace_bytes =
                std::max(made->workspace_bytes, blas::workspace_bytes(*r.product));
          } else {
            const auto* convolution = std::get_if<conv_step>(&one.what);
            r.graph = convolution != nullptr ? dnn_->prepare(c, *convolution)
                                             : dnn_->prepare(c, std::get<attention_step>(one.what));
            made->workspace_bytes = std::max(made->workspace_bytes, dnn::workspace_bytes(*r.graph));
          }
        } catch (const error& e) {
          throw error(e.code(), one.node, e.subject() + ": " + e.message());
        }
        to.push_back(std::move(r));
      }
    };
    make(s.setup, made->setup);
    make(s.steps, made->steps);
    return made;
  }

  std::size_t workspace_bytes(const program& p) const override {
    return static_cast<const nvidia_program&>(p).workspace_bytes;
  }

  const primary_context& context() const noexcept { return context_; }
  const blas& products() const noexcept { return *blas_; }
  const dnn& graphs() const noexcept { return *dnn_; }

 private:
  std::string machine_code(const std::string& source) const {
    return cache_.get(module_key(key_, capability_, source),
                      [&] { return compiler_.compile(source, capability_); });
  }

  primary_context context_;
  kernel_compiler compiler_;
  std::unique_ptr<const blas> blas_;
  std::unique_ptr<const dnn> dnn_;
  plan_cache cache_;
  int capability_ = 0;
  std::string key_;
};

nvidia_queue::nvidia_queue(nvidia_gpu& on) : on_(on) {
  const current here(on.context());
  const driver& api = on.context().api();
  api.check(api.cuEventCreate(&mark_, CU_EVENT_DISABLE_TIMING), "cuEventCreate");
  const CUresult made = api.cuStreamCreate(&stream_, CU_STREAM_NON_BLOCKING);
  if (made != CUDA_SUCCESS) api.cuEventDestroy(mark_);
  api.check(made, "cuStreamCreate");
}

nvidia_queue::~nvidia_queue() {
  const current here(on_.context());
  const driver& api = on_.context().api();
  dnn_.reset();
  api.cuStreamDestroy(stream_);
  api.cuEventDestroy(mark_);
}

void nvidia_queue::upload(void* device, const void* host, std::size_t bytes) {
  const current here(on_.context());
  enqueue_copy(on_.context().api(), device, true, host, false, bytes, stream_);
}

void nvidia_queue::download(void* host, const void* device, std::size_t bytes) {
  const current here(on_.context());
  enqueue_copy(on_.context().api(), host, false, device, true, bytes, stream_);
}

void nvidia_queue::copy(void* to, const void* from, std::size_t bytes) {
  const current here(on_.context());
  enqueue_copy(on_.context().api(), to, true, from, true, bytes, stream_);
}

void nvidia_queue::run(const program& p, bool setup, std::size_t i, std::span<void* const> memory,
                       void* workspace) {
  const current here(on_.context());
  const auto& made = static_cast<const nvidia_program&>(p);
  const nvidia_program::ready& r = (setup ? made.setup : made.steps)[i];
  if (r.product) return on_.products().run(*r.product, memory, workspace, stream_);
  if (r.graph) {
    if (!dnn_) dnn_ = std::make_unique<const dnn::handle>(on_.graphs(), stream_);
    return dnn_->run(*r.graph, memory, workspace);
  }
  std::vector<void*> pointers;
  for (const std::size_t b : r.kernel->buffers) pointers.push_back(memory[b]);
  std::vector<void*> arguments;
  for (void*& pointer : pointers) arguments.push_back(&pointer);
  const driver& api = on_.context().api();
  api.check(api.cuLaunchKernel(r.function, r.kernel->blocks, 1, 1, r.kernel->threads, 1, 1, 0,
                               stream_, arguments.data(), nullptr),
            "cuLaunchKernel");
}

std::unique_ptr<recording> nvidia_queue::record(const std::function<void()>& work) {
  const current here(on_.context());
  const driver& api = on_.context().api();
  if (api.cuStreamBeginCapture(stream_, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL) != CUDA_SUCCESS) {
    return nullptr;
  }
  bool whole = true;
  try {
    work();
  } catch (const error&) {  // done step by step it says the same, or works
    whole = false;
  }
  CUgraph graph = nullptr;
  whole = api.cuStreamEndCapture(stream_, &graph) == CUDA_SUCCESS && whole;
  CUgraphExec made = nullptr;
  whole = whole && api.cuGraphInstantiateWithFlags(&made, graph, 0) == CUDA_SUCCESS;
  if (graph != nullptr) api.cuGraphDestroy(graph);
  return whole ? std::make_unique<nvidia_recording>(on_.context(), made) : nullptr;
}

void nvidia_queue::replay(const recording& r) {
  const current here(on_.context());
  const driver& api = on_.context().api();
  api.check(api.cuGraphLaunch(static_cast<const nvidia_recording&>(r).graph, stream_),
            "cuGraphLaunch");
}

void nvidia_queue::follow(void* stream) {
  const current here(on_.context());
  const driver& api = on_.context().api();
  CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_NONE;
  api.check(api.cuStreamIsCapturing(stream_of(stream), &status), "run_options.stream");
  if (status != CU_STREAM_CAPTURE_STATUS_NONE) {
    throw error(errc::failed_precondition, "run_options.stream",
                "it is being captured: run the model outside of the capture");
  }
  api.check(api.cuEventRecord(mark_, stream_of(stream)), "cuEventRecord of run_options.stream");
  api.check(api.cuStreamWaitEvent(stream_, mark_, CU_EVENT_WAIT_DEFAULT), "cuStreamWaitEvent");
}

void nvidia_queue::precede(void* stream) {
  const current here(on_.context());
  const driver& api = on_.context().api();
  api.check(api.cuEventRecord(mark_, stream_), "cuEventRecord");
  api.check(api.cuStreamWaitEvent(stream_of(stream), mark_, CU_EVENT_WAIT_DEFAULT),
            "cuStreamWaitEvent of run_options.stream");
}

bool nvidia_queue::idle() {
  const current here(on_.context());
  return on_.context().api().cuStreamQuery(stream_) == CUDA_SUCCESS;
}

void nvidia_queue::wait() {
  const current here(on_.context());
  on_.context().api().check(on_.context().api().cuStreamSynchronize(stream_),
                            "cuStreamSynchronize");
}

class nvidia_memory final : public memory {
 public:
  explicit nvidia_memory(std::uint32_t index)
      : context_(std::make_shared<const driver>(), checked_index(index)) {
    const current here(context_);
    api().check(api().cuStreamCreate(&stream_, CU_STREAM_NON_BLOCKING), "cuStreamCreate");
  }
  ~nvidia_memory() override {
    const current here(context_);
    api().cuStreamDestroy(stream_);
  }

  void* allocate(std::size_t bytes, bool zero) override {
    const current here(context_);
    CUdeviceptr at = 0;
    api().check(api().cuMemAlloc(&at, bytes), "cuMemAlloc");
    if (!zero) return reinterpret_cast<void*>(at);
    CUresult done = api().cuMemsetD8Async(at, 0, bytes, stream_);
    if (done == CUDA_SUCCESS) done = api().cuStreamSynchronize(stream_);
    if (done != CUDA_SUCCESS) api().cuMemFree(at);
    api().check(done, "cuMemsetD8Async");
    return reinterpret_cast<void*>(at);
  }
  // cuMemFree waits for the work of the context.
  void release(void* at) noexcept override {
    const current here(context_);
    api().cuMemFree(device_pointer(at));
  }
  void copy(void* to, bool to_device, const void* from, bool from_device, std::size_t bytes,
            void* stream) override {
    const current here(context_);
    const CUstream in = stream != nullptr ? stream_of(stream) : stream_;
    enqueue_copy(api(), to, to_device, from, from_device, bytes, in);
    if (stream != nullptr && to_device && from_device) return;
    api().check(api().cuStreamSynchronize(in), "cuStreamSynchronize");
  }
  void wait(void* stream) override {
    const current here(context_);
    if (stream == nullptr) {
      api().check(api().cuCtxSynchronize(), "cuCtxSynchronize");
    } else {
      api().check(api().cuStreamSynchronize(stream_of(stream)), "cuStreamSynchronize");
    }
  }

 private:
  const driver& api() const noexcept { return context_.api(); }

  primary_context context_;
  CUstream stream_ = nullptr;
};

}  // namespace

std::vector<gpu_info> list_gpus() {
  const auto none = [](std::string reason) {
    return std::vector<gpu_info>{{"NVIDIA GPU", false, std::move(reason)}};
  };
  try {
    const driver api;
    int version = 0;
    const CUresult started = api.cuInit(0);
    if (started == CUDA_ERROR_NO_DEVICE) return none("there is no NVIDIA GPU in this machine");
    api.check(started, "cuInit");
    api.check(api.cuDriverGetVersion(&version), "cuDriverGetVersion");
    int count = 0;
    api.check(api.cuDeviceGetCount(&count), "cuDeviceGetCount");
    if (count == 0) return none("there is no NVIDIA GPU in this machine");
    std::string reason;
    if (version < least_driver) {
      reason = "the driver is too old: it knows CUDA " + version_text(version) + ", and " +
               version_text(least_driver) + " is needed";
    }
    try {
      if (reason.empty()) {
        const kernel_compiler has_compiler;
        const dnn has_dnn;
        const library has_blas("cuBLASLt", {"libcublasLt.so.13"});
      }
    } catch (const error& e) {
      reason = e.what();
    }
    std::vector<gpu_info> list;
    for (int i = 0; i < count; ++i) {
      CUdevice device = 0;
      api.check(api.cuDeviceGet(&device, i), "cuDeviceGet");
      std::size_t bytes = 0;
      api.check(api.cuDeviceTotalMem(&bytes, device), "cuDeviceTotalMem");
      const int capability = capability_of(api, device);
      gpu_info info{name_of(api, device) + ", " + std::to_string(bytes >> 20U) + " MiB",
                    reason.empty(), reason};
      if (info.available && capability < least_capability) {
        info.available = false;
        info.reason = "its compute capability " + std::to_string(capability / 10) + "." +
                      std::to_string(capability % 10) + " is below 7.5";
      }
      list.push_back(std::move(info));
    }
    return list;
  } catch (const error& e) {
    return none(e.what());
  }
}

std::unique_ptr<gpu> open_gpu(std::uint32_t index, const std::string& cache) {
  return std::make_unique<nvidia_gpu>(index, cache);
}

std::unique_ptr<memory> open_memory(std::uint32_t index) {
  return std::make_unique<nvidia_memory>(index);
}

}  // namespace mizzen::cuda
