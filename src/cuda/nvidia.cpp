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
  CUevent begin = nullptr;
  CUevent end = nullptr;
  c.api.check(c.api.cuEventCreate(&begin, CU_EVENT_DEFAULT), "cuEventCreate");
  c.api.check(c.api.cuEventCreate(&end, CU_EVENT_DEFAULT), "cuEventCreate");
  double least = std::numeric_limits<double>::infinity();
  try {
    call();
    for (int i = 0; i < rounds; ++i) {
      c.api.check(c.api.cuEventRecord(begin, c.stream), "cuEventRecord");
      call();
      c.api.check(c.api.cuEventRecord(end, c.stream), "cuEventRecord");
      c.api.check(c.api.cuEventSynchronize(end), "cuEventSynchronize");
      float milliseconds = 0;
      c.api.check(c.api.cuEventElapsedTime(&milliseconds, begin, end), "cuEventElapsedTime");
      least = std::min(least, static_cast<double>(milliseconds) / 1e3);
    }
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

class nvidia_gpu;

class nvidia_queue final : public queue {
 public:
  explicit nvidia_queue(nvidia_gpu& on);
  ~nvidia_queue() override;

  void upload(void* device, const void* host, std::size_t bytes) override;
  void download(void* host, const void* device, std::size_t bytes) override;
  void run(const program& p, bool setup, std::size_t i, std::span<void* const> memory,
           void* workspace) override;
  bool begin_recording() override;
  void end_recording() override;
  void replay() override;
  void wait() override;

  CUstream stream() const noexcept { return stream_; }

 private:
  nvidia_gpu& on_;
  CUstream stream_ = nullptr;
  std::unique_ptr<const dnn::handle> dnn_;  // once there is a graph of it
  CUgraphExec recorded_ = nullptr;
};

class nvidia_gpu final : public gpu {
 public:
  nvidia_gpu(std::uint32_t index, const std::string& cache)
      : context_(std::make_shared<const driver>(), checked_index(index)), cache_(cache) {
    const driver& api = context_.api();
    int version = 0;
    api.check(api.cuDriverGetVersion(&version), "cuDriverGetVersion");
    capability_ = capability_of(api, context_.device());
    key_ = name_of(api, context_.device()) + " driver " + std::to_string(version) + " nvrtc " +
           compiler_.version() + " cublas " + blas_.version() + " cudnn " + dnn_.version();
  }

  int capability() const noexcept override { return capability_; }
  bool takes(const attention_step& s) override {
    const current here(context_);
    const nvidia_queue order(*this);
    return dnn_.takes(order.stream(), s);
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
            r.product = blas_.prepare(c, *g);
            made->workspace_bytes =
                std::max(made->workspace_bytes, blas::workspace_bytes(*r.product));
          } else {
            const auto* convolution = std::get_if<conv_step>(&one.what);
            r.graph = convolution != nullptr ? dnn_.prepare(c, *convolution)
                                             : dnn_.prepare(c, std::get<attention_step>(one.what));
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
  const blas& products() const noexcept { return blas_; }
  const dnn& graphs() const noexcept { return dnn_; }

 private:
  static int checked_index(std::uint32_t index) {
    const std::vector<gpu_info> list = list_gpus();
    const std::string subject = "device 'cuda:" + std::to_string(index) + "'";
    if (index >= list.size()) throw error(errc::not_found, subject, "there is no such GPU");
    if (!list[index].available) throw error(errc::unavailable, subject, list[index].reason);
    return static_cast<int>(index);
  }

  std::string machine_code(const std::string& source) const {
    return cache_.get(module_key(key_, capability_, source),
                      [&] { return compiler_.compile(source, capability_); });
  }

  primary_context context_;
  kernel_compiler compiler_;
  blas blas_;
  dnn dnn_;
  plan_cache cache_;
  int capability_ = 0;
  std::string key_;
};

nvidia_queue::nvidia_queue(nvidia_gpu& on) : on_(on) {
  const current here(on.context());
  on.context().api().check(on.context().api().cuStreamCreate(&stream_, CU_STREAM_NON_BLOCKING),
                           "cuStreamCreate");
}

nvidia_queue::~nvidia_queue() {
  const current here(on_.context());
  const driver& api = on_.context().api();
  dnn_.reset();
  if (recorded_ != nullptr) api.cuGraphExecDestroy(recorded_);
  api.cuStreamDestroy(stream_);
}

void nvidia_queue::upload(void* device, const void* host, std::size_t bytes) {
  if (bytes == 0) return;
  const current here(on_.context());
  const driver& api = on_.context().api();
  api.check(api.cuMemcpyHtoDAsync(reinterpret_cast<CUdeviceptr>(device), host, bytes, stream_),
            "cuMemcpyHtoDAsync");
}

void nvidia_queue::download(void* host, const void* device, std::size_t bytes) {
  if (bytes == 0) return;
  const current here(on_.context());
  const driver& api = on_.context().api();
  api.check(api.cuMemcpyDtoHAsync(host, reinterpret_cast<CUdeviceptr>(device), bytes, stream_),
            "cuMemcpyDtoHAsync");
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

bool nvidia_queue::begin_recording() {
  const current here(on_.context());
  return on_.context().api().cuStreamBeginCapture(stream_, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL) ==
         CUDA_SUCCESS;
}

void nvidia_queue::end_recording() {
  const current here(on_.context());
  const driver& api = on_.context().api();
  CUgraph graph = nullptr;
  api.check(api.cuStreamEndCapture(stream_, &graph), "cuStreamEndCapture");
  const CUresult made = api.cuGraphInstantiateWithFlags(&recorded_, graph, 0);
  api.cuGraphDestroy(graph);
  api.check(made, "cuGraphInstantiate");
}

void nvidia_queue::replay() {
  const current here(on_.context());
  on_.context().api().check(on_.context().api().cuGraphLaunch(recorded_, stream_), "cuGraphLaunch");
}

void nvidia_queue::wait() {
  const current here(on_.context());
  on_.context().api().check(on_.context().api().cuStreamSynchronize(stream_),
                            "cuStreamSynchronize");
}

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

}  // namespace mizzen::cuda
