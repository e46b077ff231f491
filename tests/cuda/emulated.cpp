#include "emulated.hpp"

#include "cuda/backend.hpp"
#include "cuda/plan_cache.hpp"
#include "emulated_math.hpp"
#include "emulated_stream.hpp"
#ifdef MIZZEN_TEST_NVRTC
#include "cuda/nvrtc.hpp"
#endif

#include <mizzen/core/error.hpp>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <filesystem>
#include <fstream>
#include <functional>
#include <malloc.h>
#include <map>
#include <mutex>
#include <ucontext.h>
#include <unistd.h>

namespace mizzen::cuda {
namespace {

// Before the prelude: what nvcc gives, for one thread at a time.
constexpr std::string_view host_prelude = R"(
#include <math.h>
#include <string.h>
#include <stddef.h>
#define MIZZEN_EMULATED
#define __device__
#define __global__ static
#define __forceinline__ inline
#define __launch_bounds__(n)
#define __shared__ static
struct mizzen_dim { unsigned x; };
extern "C" { mizzen_dim blockIdx, threadIdx; void (*mizzen_yield)(); }
static float mizzen_lanes[1024];
static inline void __syncthreads() { mizzen_yield(); }
static inline float __shfl_xor_sync(unsigned, float v, int mask) {
  mizzen_lanes[threadIdx.x] = v;
  mizzen_yield();
  const float other = mizzen_lanes[threadIdx.x ^ (unsigned)mask];
  mizzen_yield();
  return other;
}
static inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
extern "C" { float (*mizzen_from_half)(unsigned short); unsigned short (*mizzen_to_half)(float); }
static inline float half_to_float(unsigned short h) { return mizzen_from_half(h); }
static inline unsigned short float_to_half(float f) { return mizzen_to_half(f); }
static inline float bits_to_float(unsigned b) { float f; memcpy(&f, &b, 4); return f; }
static inline unsigned float_to_bits(float f) { unsigned b; memcpy(&b, &f, 4); return b; }
template <class... A> static void mizzen_call(void (*f)(A...), void** a) {
  size_t i = sizeof...(A);
  // Braces are in order; arguments of a call are not.
  struct all { void (*f)(A...); all(void (*g)(A...), A... v) { g(v...); } };
  i = 0;
  all{f, (A)a[i++]...};
}
)";

struct dim {
  unsigned x;
};
using kernel_function = void (*)(void**);

// Threads of a block that meet at barriers: each goes on until the next one, in turn.
class fibers {
 public:
  fibers() : stacks_(1024 * stack_bytes) {}

  void run_block(kernel_function kernel, void** arguments, unsigned threads, dim* thread) {
    kernel_ = kernel;
    arguments_ = arguments;
    states_.assign(threads, {});
    done_.assign(threads, false);
    for (unsigned t = 0; t < threads; ++t) {
      ::getcontext(&states_[t]);
      states_[t].uc_stack.ss_sp = stacks_.data() + t * stack_bytes;
      states_[t].uc_stack.ss_size = stack_bytes;
      states_[t].uc_link = nullptr;
      ::makecontext(&states_[t], &fibers::enter, 0);
    }
    current_ = this;
    for (bool going = true; going;) {
      going = false;
      for (unsigned t = 0; t < threads; ++t) {
        if (done_[t]) continue;
        now_ = t;
        thread->x = t;
        ::swapcontext(&main_, &states_[t]);
        going = true;
      }
    }
  }

  static void yield() {
    fibers* f = current_;
    ::swapcontext(&f->states_[f->now_], &f->main_);
  }

 private:
  static constexpr std::size_t stack_bytes = 32768;

  static void enter() {
    fibers* f = current_;
    f->kernel_(f->arguments_);
    f->done_[f->now_] = true;
    ::setcontext(&f->main_);
  }

  static thread_local fibers* current_;
  std::vector<char> stacks_;
  std::vector<ucontext_t> states_;
  std::vector<bool> done_;
  ucontext_t main_{};
  kernel_function kernel_ = nullptr;
  void** arguments_ = nullptr;
  unsigned now_ = 0;
};
thread_local fibers* fibers::current_ = nullptr;

std::string compile(const std::string& text) {
  static std::atomic<int> number = 0;
  const auto folder = std::filesystem::temp_directory_path();
  const std::string stem =
      (folder / ("mizzen_kernels_" + std::to_string(::getpid()) + "_" + std::to_string(++number)))
          .string();
  std::ofstream(stem + ".cpp") << text;
  const std::string command =
      "c++ -std=c++17 -O1 -w -fPIC -shared -fno-gnu-unique -Wl,-Bsymbolic -o " + stem + ".so " +
      stem + ".cpp 2>" + stem + ".log";
  if (std::system(command.c_str()) != 0) {
    std::ifstream log(stem + ".log");
    throw error(errc::internal, "generated kernels",
                std::string(std::istreambuf_iterator<char>(log), {}) + "\n" + text);
  }
  std::filesystem::remove(stem + ".cpp");
  std::filesystem::remove(stem + ".log");
  return stem + ".so";
}

std::atomic<std::uint64_t> compiled = 0;

// The bytes of the library that comes of the text.
std::string machine_code(const std::string& text) {
  ++compiled;
  const std::string file = compile(text);
  std::ifstream in(file, std::ios::binary);
  std::string bytes(std::istreambuf_iterator<char>(in), {});
  std::filesystem::remove(file);
  return bytes;
}

void* load(const std::string& code) {
  static std::atomic<int> number = 0;
  const auto file =
      std::filesystem::temp_directory_path() /
      ("mizzen_library_" + std::to_string(::getpid()) + "_" + std::to_string(++number) + ".so");
  std::ofstream(file, std::ios::binary) << code;
  void* library = ::dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  const std::string why = library == nullptr ? ::dlerror() : "";
  std::filesystem::remove(file);
  if (library == nullptr) throw error(errc::internal, "generated kernels", why);
  return library;
}

// What it is called; a test gives it another name to see that nothing of the first is used.
std::string gpu_name() {
  const char* given = std::getenv("MIZZEN_EMULATED_NAME");
  return given != nullptr ? given : "the processor, emulating a GPU";
}

// Libraries stay until the process ends. With a cache they are compiled once per folder and name
// of the gpu, as those of a real one are; without one, once per process.
void* library_of(const std::string& text, const plan_cache& cache, int capability) {
  if (cache.keeps()) {
    return load(
        cache.get(module_key(gpu_name(), capability, text), [&] { return machine_code(text); }));
  }
  static std::mutex mutex;
  static std::map<std::string, void*> known;
  const std::lock_guard lock(mutex);
  void*& library = known[text];
  if (library == nullptr) library = load(machine_code(text));
  return library;
}

// What tests ask for.
struct counters {
  std::atomic<std::uint64_t> recorded = 0, replayed = 0, steps = 0, copied_bytes = 0, setup = 0;
  std::atomic<std::uint64_t> products = 0;
  std::atomic<std::uint64_t> device_bytes = 0;  // of sessions, that are taken now
} counted;

std::atomic<std::size_t> attention_steps = 0;

// With MIZZEN_EMULATED_SHOW in the environment: the steps of each part that is prepared, with
// ONNX's numbers of types.
void show(const schedule& s) {
  if (std::getenv("MIZZEN_EMULATED_SHOW") == nullptr) return;
  for (const auto* list : {&s.setup, &s.steps}) {
    for (const step& one : *list) {
      const auto type = [](element_type t) {
        return "type " + std::to_string(static_cast<int>(t));
      };
      std::string what = "kernel to " + type(s.buffers[one.writes()].type);
      if (const auto* g = std::get_if<gemm_step>(&one.what)) {
        what = "product of " + type(g->type_of_a()) + " and " + type(g->type_of_b()) + " to " +
               type(g->type);
      } else if (const auto* c = std::get_if<conv_step>(&one.what)) {
        what = "convolution of " + type(c->type);
      } else if (const auto* t = std::get_if<attention_step>(&one.what)) {
        what = "attention of " + type(t->type);
      }
      std::fprintf(stderr, "%s: %s, %lld elements: %s\n", list == &s.setup ? "setup" : "step",
                   what.c_str(), static_cast<long long>(s.buffers[one.writes()].count),
                   one.node.c_str());
    }
  }
}

// Plans, and does none of the work: to see what planning costs.
bool is_idle() { return std::getenv("MIZZEN_EMULATED_IDLE") != nullptr; }

class emulated_program final : public program {
 public:
  emulated_program(const schedule& s, const plan_cache& cache, int capability) : plan(s) {
    show(s);
    for (const step& one : plan.steps) {
      if (std::holds_alternative<attention_step>(one.what)) ++attention_steps;
    }
    const module_text m = make_module(s);
    if (m.names.empty() || is_idle()) return;
#ifdef MIZZEN_TEST_NVRTC
    // What runs here must also compile for the oldest and a recent GPU.
    for (const int chip : {75, 90}) {
      const std::string code = kernel_compiler().compile(m.source, chip);
      if (code.find("ELF") == std::string::npos) {
        throw error(errc::internal, "generated kernels", "NVRTC made no machine code of them");
      }
    }
#endif
    std::string text = std::string(host_prelude) + m.source;
    // Kernels by number; the same one may come twice.
    for (std::size_t i = 0; i < m.names.size(); ++i) {
      text += "extern \"C\" void mizzen_run" + std::to_string(i) + "(void** a) { mizzen_call(" +
              m.names[i] + ", a); }\n";
    }
    // What has C linkage cannot be static as well.
    for (auto at = text.find("extern \"C\" __global__"); at != std::string::npos;
         at = text.find("extern \"C\" __global__")) {
      text.replace(at, 21, "__global__");
    }
    library_ = library_of(text, cache, capability);
    for (std::size_t i = 0; i < m.names.size(); ++i) {
      kernels.push_back(reinterpret_cast<kernel_function>(
          ::dlsym(library_, ("mizzen_run" + std::to_string(i)).c_str())));
    }
    block = static_cast<dim*>(::dlsym(library_, "blockIdx"));
    thread = static_cast<dim*>(::dlsym(library_, "threadIdx"));
    *static_cast<void (**)()>(::dlsym(library_, "mizzen_yield")) = &fibers::yield;
    *static_cast<float (**)(std::uint16_t)>(::dlsym(library_, "mizzen_from_half")) = &from_half;
    *static_cast<std::uint16_t (**)(float)>(::dlsym(library_, "mizzen_to_half")) = &to_half;
  }
  schedule plan;
  std::vector<kernel_function> kernels;
  dim* block = nullptr;
  dim* thread = nullptr;

 private:
  void* library_ = nullptr;
};

void run_step(const emulated_program& e, bool setup, std::size_t i, std::span<void* const> memory,
              fibers& threads) {
  const step& s = (setup ? e.plan.setup : e.plan.steps)[i];
  if (setup) ++counted.setup;
  if (std::holds_alternative<gemm_step>(s.what)) ++counted.products;
  if (compute(s, memory)) return;
  const auto& k = std::get<kernel_step>(s.what);
  std::size_t number = 0;
  const auto count = [&](const std::vector<step>& list, std::size_t before) {
    for (std::size_t j = 0; j < before; ++j) {
      number += std::holds_alternative<kernel_step>(list[j].what) ? 1 : 0;
    }
  };
  count(e.plan.setup, setup ? i : e.plan.setup.size());
  if (!setup) count(e.plan.steps, i);
  std::vector<void*> arguments;
  for (const std::size_t b : k.buffers) arguments.push_back(memory[b]);
  const std::lock_guard lock(running);
  for (unsigned b = 0; b < k.blocks; ++b) {
    e.block->x = b;
    if (k.meets) {
      threads.run_block(e.kernels[number], arguments.data(), k.threads, e.thread);
      continue;
    }
    for (unsigned t = 0; t < k.threads; ++t) {
      e.thread->x = t;
      e.kernels[number](arguments.data());
    }
  }
}

class emulated_recording final : public recording {
 public:
  std::vector<stream::job> jobs;
};

class emulated_queue final : public queue {
 public:
  explicit emulated_queue(std::uint32_t device) : order_(device) {}

  void upload(void* device, const void* host, std::size_t bytes) override {
    put([this, device, host, bytes] {
      if (bytes != 0) std::memcpy(untagged(device, order_.device), host, bytes);
    });
  }
  void download(void* host, const void* device, std::size_t bytes) override {
    put([this, device, host, bytes] {
      if (bytes != 0) std::memcpy(host, untagged(device, order_.device), bytes);
    });
  }
  void copy(void* to, const void* from, std::size_t bytes) override {
    put([this, to, from, bytes] {
      counted.copied_bytes += bytes;
      std::memcpy(untagged(to, order_.device), untagged(from, order_.device), bytes);
    });
  }
  void run(const program& p, bool setup, std::size_t i, std::span<void* const> memory,
           void*) override {
    if (is_idle()) return;
    std::vector<void*> pointers;
    for (void* at : memory) pointers.push_back(at != nullptr ? untagged(at, order_.device) : at);
    const auto& e = static_cast<const emulated_program&>(p);
    put([this, &e, setup, i, pointers = std::move(pointers)] {
      ++counted.steps;
      run_step(e, setup, i, pointers, fibers_);
    });
  }
  std::unique_ptr<recording> record(const std::function<void()>& work) override {
    auto made = std::make_unique<emulated_recording>();
    into_ = made.get();
    try {
      work();
    } catch (...) {
      into_ = nullptr;
      throw;
    }
    into_ = nullptr;
    ++counted.recorded;
    return made;
  }
  void replay(const recording& r) override {
    ++counted.replayed;
    for (const stream::job& j : static_cast<const emulated_recording&>(r).jobs) order_.add(j);
  }
  void follow(void* other) override { order_.follow(stream::at(other, order_.device)); }
  void precede(void* other) override { stream::at(other, order_.device).follow(order_); }
  bool idle() override { return order_.idle(); }
  void wait() override { order_.wait(); }

 private:
  void put(stream::job j) {
    if (into_ != nullptr) {
      into_->jobs.push_back(std::move(j));
    } else {
      order_.add(std::move(j));
    }
  }

  fibers fibers_;
  emulated_recording* into_ = nullptr;
  stream order_;
};

class emulated_gpu final : public gpu {
 public:
  emulated_gpu(std::uint32_t device, const std::string& cache) : device_(device), cache_(cache) {}

  // That of a recent GPU, unless a test says otherwise.
  // As cuDNN on an A100.
  bool takes(const attention_step& s) override {
    return s.type == element_type::float16 && s.q.shape[3] % 8 == 0 && s.v.shape[3] % 8 == 0;
  }
  int capability() const noexcept override {
    const char* given = std::getenv("MIZZEN_EMULATED_CAPABILITY");
    return given != nullptr ? std::atoi(given) : 90;
  }
  void* allocate(std::size_t bytes) override {
    void* const at = new_memory(bytes);
    counted.device_bytes += ::malloc_usable_size(at);
    return tagged(at, device_);
  }
  void release(void* memory) noexcept override {
    void* const at = untagged(memory, device_);
    counted.device_bytes -= ::malloc_usable_size(at);
    std::free(at);
  }
  void* allocate_host(std::size_t bytes) override { return new_memory(bytes); }
  void release_host(void* memory) noexcept override { std::free(memory); }
  std::unique_ptr<queue> make_queue() override { return std::make_unique<emulated_queue>(device_); }
  std::unique_ptr<program> prepare(const schedule& s) override {
    // For tests: "unimplemented" or "resource_exhausted" refuses whatever comes.
    if (const char* code = std::getenv("MIZZEN_EMULATED_REFUSES")) {
      const bool full = std::string_view(code) == "resource_exhausted";
      throw error(full ? errc::resource_exhausted : errc::unimplemented, "emulated gpu",
                  "it was told to refuse");
    }
    return std::make_unique<emulated_program>(s, cache_, capability());
  }
  std::size_t workspace_bytes(const program&) const override { return 0; }

 private:
  std::uint32_t device_;
  plan_cache cache_;
};

class emulated_memory final : public memory {
 public:
  explicit emulated_memory(std::uint32_t device) : device_(device) {}

  void* allocate(std::size_t bytes, bool zero) override {
    void* at = new_memory(bytes);
    if (zero) std::memset(at, 0, bytes);
    return tagged(at, device_);
  }
  void release(void* at) noexcept override {
    stream::wait_for_all(device_);
    std::free(untagged(at, device_));
  }
  void copy(void* to, bool to_device, const void* from, bool from_device, std::size_t bytes,
            void* in) override {
    void* const target = to_device ? untagged(to, device_) : to;
    const void* const source = from_device ? untagged(from, device_) : from;
    const auto work = [=] { std::memcpy(target, source, bytes); };
    if (in == nullptr) {
      const std::lock_guard lock(running);
      return work();
    }
    stream& order = stream::at(in, device_);
    order.add(work);
    if (!to_device || !from_device) order.wait();
  }
  void wait(void* in) override {
    if (in == nullptr) {
      stream::wait_for_all(device_);
    } else {
      stream::at(in, device_).wait();
    }
  }

 private:
  std::uint32_t device_;
};

}  // namespace

// How many were prepared so far.
extern "C" std::size_t mizzen_emulated_attention_steps() { return attention_steps; }

std::unique_ptr<gpu> make_emulated_gpu() { return std::make_unique<emulated_gpu>(0, ""); }

std::vector<gpu_info> list_gpus() {
  return {{gpu_name(), true, ""}, {"another such GPU", true, ""}};
}

std::unique_ptr<gpu> open_gpu(std::uint32_t index, const std::string& cache) {
  return std::make_unique<emulated_gpu>(index, cache);
}

std::unique_ptr<memory> open_memory(std::uint32_t index) {
  return std::make_unique<emulated_memory>(index);
}

}  // namespace mizzen::cuda

// How often a compiler has run.
extern "C" __attribute__((visibility("default"))) std::uint64_t mizzen_emulated_compiled() {
  return mizzen::cuda::compiled;
}
// What CUDA's runtime is to an application, for tests; see emulated.hpp.
extern "C" {
__attribute__((visibility("default"))) void* mizzen_emulated_stream_create(std::uint32_t device) {
  return new mizzen::cuda::stream(device);
}
__attribute__((visibility("default"))) void mizzen_emulated_stream_destroy(void* stream) {
  delete static_cast<mizzen::cuda::stream*>(stream);
}
__attribute__((visibility("default"))) void mizzen_emulated_stream_add(void* stream,
                                                                       void (*work)(void*),
                                                                       void* argument) {
  static_cast<mizzen::cuda::stream*>(stream)->add([=] { work(argument); });
}
__attribute__((visibility("default"))) std::uint64_t mizzen_emulated_count(const char* what) {
  const auto& c = mizzen::cuda::counted;
  const std::string_view name(what);
  return name == "recorded"       ? c.recorded
         : name == "replayed"     ? c.replayed
         : name == "steps"        ? c.steps
         : name == "products"     ? c.products
         : name == "setup"        ? c.setup
         : name == "device_bytes" ? c.device_bytes
                                  : c.copied_bytes;
}
}
