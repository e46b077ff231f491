#include "emulated.hpp"

#include "cuda/backend.hpp"
#include "cuda/plan_cache.hpp"
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

float from_half(std::uint16_t h) {
  const auto sign = static_cast<std::uint32_t>(h & 0x8000U) << 16U;
  const std::uint32_t exponent = h >> 10U & 31U;
  const std::uint32_t mantissa = h & 1023U;
  if (exponent == 0) {
    const float v = std::ldexp(static_cast<float>(mantissa), -24);
    return sign != 0 ? -v : v;
  }
  const std::uint32_t bits =
      sign | (exponent == 31 ? 0x7f800000U : (exponent + 112U) << 23U) | mantissa << 13U;
  float f = 0;
  std::memcpy(&f, &bits, sizeof f);
  return f;
}

std::uint16_t to_half(float f) {
  if (std::isnan(f)) return 0x7e00;
  const std::uint16_t sign = std::signbit(f) ? 0x8000 : 0;
  const float a = std::abs(f);
  if (a == 0) return sign;
  if (a >= 65520.0F) return sign | 0x7c00;
  int exponent = 0;
  std::frexp(a, &exponent);
  const int unit = std::max(exponent - 11, -24);  // of the last place
  const auto steps = static_cast<std::uint32_t>(std::nearbyint(std::ldexp(a, -unit)));
  if (unit == -24) return static_cast<std::uint16_t>(sign | steps);
  // 11 bits; one more where it was rounded up, which the sum below carries on.
  return static_cast<std::uint16_t>(sign | (static_cast<std::uint32_t>(unit + 24) * 1024U + steps));
}

// Sign, exponent, mantissa, as float8's types have them.
float from_float8(std::uint8_t bits, int mantissa_bits, int bias, bool has_infinity) {
  const int mantissa = bits & ((1 << mantissa_bits) - 1);
  const int most = (1 << (7 - mantissa_bits)) - 1;
  const int exponent = bits >> mantissa_bits & most;
  const float sign = (bits & 128) != 0 ? -1.0F : 1.0F;
  if (has_infinity ? exponent == most : (bits & 127) == 127) {
    return has_infinity && mantissa == 0 ? sign * INFINITY : NAN;
  }
  const int implied = exponent == 0 ? 0 : 1 << mantissa_bits;
  return sign * std::ldexp(static_cast<float>(mantissa + implied),
                           std::max(exponent, 1) - bias - mantissa_bits);
}

float get(const void* memory, element_type type, std::int64_t i) {
  if (type == element_type::float8_e4m3fn)
    return from_float8(static_cast<const std::uint8_t*>(memory)[i], 3, 7, false);
  if (type == element_type::float8_e5m2)
    return from_float8(static_cast<const std::uint8_t*>(memory)[i], 2, 15, true);
  if (type == element_type::float32) return static_cast<const float*>(memory)[i];
  if (type == element_type::float16) return from_half(static_cast<const std::uint16_t*>(memory)[i]);
  if (type == element_type::bfloat16) {
    const auto bits = static_cast<std::uint32_t>(static_cast<const std::uint16_t*>(memory)[i])
                      << 16U;
    float f = 0;
    std::memcpy(&f, &bits, sizeof f);
    return f;
  }
  throw error(errc::unimplemented, "emulated gpu", "a product of this type");
}

void put(void* memory, element_type type, std::int64_t i, float v) {
  if (type == element_type::float32) {
    static_cast<float*>(memory)[i] = v;
  } else if (type == element_type::bfloat16) {
    std::uint32_t bits = 0;
    std::memcpy(&bits, &v, sizeof bits);
    // To nearest, ties to even; a NaN keeps a bit.
    bits = std::isnan(v) ? bits | 0x400000U : bits + 0x7fffU + (bits >> 16U & 1U);
    static_cast<std::uint16_t*>(memory)[i] = static_cast<std::uint16_t>(bits >> 16U);
  } else {
    static_cast<std::uint16_t*>(memory)[i] = to_half(v);
  }
}

float act(activation a, float v) {
  if (a == activation::relu) return std::max(v, 0.0F);
  if (a == activation::gelu_tanh) {
    return 0.5F * v * (1.0F + std::tanh(0.7978845608F * (v + 0.044715F * v * v * v)));
  }
  return v;
}

// What cuBLASLt wants of factors of bytes.
void check_bytes(const gemm_step& g) {
  const std::int64_t unit = g.type_of_a() == element_type::int8 ? 4 : 16;
  const bool fits = !g.a.transposed && g.b.transposed && !g.out.transposed && g.n % unit == 0 &&
                    g.k % unit == 0 && g.a.lead % unit == 0 && g.b.lead % unit == 0 &&
                    g.out.lead % unit == 0 && g.a.offset % unit == 0 && g.b.offset % unit == 0 &&
                    g.a.batch_stride % unit == 0 && g.b.batch_stride % unit == 0 && !g.has_bias &&
                    g.act == activation::none;
  if (!fits) throw error(errc::internal, "emulated gpu", "a product of bytes that lies wrong");
}

// sums[j] = the sum over k of row[k] * columns[k][j]; columns are padded to a multiple of
// `lanes`, so that the compiler knows how long the innermost loop is.
constexpr std::size_t lanes = 16;
std::size_t padded(std::int64_t n) {
  return (static_cast<std::size_t>(n) + lanes - 1) / lanes * lanes;
}
void sums_of(const std::vector<float>& row, const std::vector<float>& columns,
             std::vector<float>& sums) {
  std::fill(sums.begin(), sums.end(), 0.0F);
  const float* c = columns.data();
  for (const float x : row) {
    for (std::size_t j = 0; j < sums.size(); j += lanes, c += lanes) {
      float* to = sums.data() + j;
      for (std::size_t l = 0; l < lanes; ++l) to[l] += x * c[l];
    }
  }
}

void multiply(const gemm_step& g, std::span<void* const> memory) {
  const bool whole = g.type_of_a() == element_type::int8;
  if (size_of(g.type_of_a()) == 1) check_bytes(g);
  const auto at = [](const gemm_step::matrix& m, std::int64_t b, std::int64_t row,
                     std::int64_t column) {
    return m.offset + b * m.batch_stride +
           (m.transposed ? column * m.lead + row : row * m.lead + column);
  };
  for (std::int64_t b = 0; b < g.batch && whole; ++b) {
    for (std::int64_t i = 0; i < g.m; ++i) {
      for (std::int64_t j = 0; j < g.n; ++j) {
        const auto* x = static_cast<const std::int8_t*>(memory[g.a.buffer]);
        const auto* y = static_cast<const std::int8_t*>(memory[g.b.buffer]);
        std::int32_t sum = 0;
        for (std::int64_t k = 0; k < g.k; ++k) sum += x[at(g.a, b, i, k)] * y[at(g.b, b, k, j)];
        static_cast<std::int32_t*>(memory[g.out.buffer])[at(g.out, b, i, j)] = sum;
      }
    }
  }
  if (whole) return;
  const std::size_t width = padded(g.n);
  std::vector<float> columns(static_cast<std::size_t>(g.k) * width);
  std::vector<float> row(static_cast<std::size_t>(g.k)), sums(width);
  for (std::int64_t b = 0; b < g.batch; ++b) {
    for (std::int64_t k = 0; k < g.k; ++k) {
      float* to = columns.data() + static_cast<std::size_t>(k) * width;
      for (std::int64_t j = 0; j < g.n; ++j) {
        to[j] = get(memory[g.b.buffer], g.type_of_b(), at(g.b, b, k, j));
      }
    }
    for (std::int64_t i = 0; i < g.m; ++i) {
      for (std::int64_t k = 0; k < g.k; ++k) {
        row[static_cast<std::size_t>(k)] = get(memory[g.a.buffer], g.type_of_a(), at(g.a, b, i, k));
      }
      sums_of(row, columns, sums);
      for (std::int64_t j = 0; j < g.n; ++j) {
        float s = sums[static_cast<std::size_t>(j)];
        if (g.has_bias) s += get(memory[g.bias_buffer], g.type, g.bias_offset + j);
        put(memory[g.out.buffer], g.type, at(g.out, b, i, j), act(g.act, s));
      }
    }
  }
}

// Every index below the shape, outermost first.
void for_each_index(const dims& shape, const std::function<void(const dims&)>& fn) {
  dims at(shape.size(), 0);
  for (const std::int64_t d : shape) {
    if (d == 0) return;
  }
  for (;;) {
    fn(at);
    std::size_t d = shape.size();
    while (d-- > 0) {
      if (++at[d] < shape[d]) break;
      at[d] = 0;
      if (d == 0) return;
    }
    if (shape.empty()) return;
  }
}

std::int64_t place(const view& v, const dims& at) {
  std::int64_t i = v.offset;
  for (std::size_t d = 0; d < at.size(); ++d) i += at[d] * v.strides[d];
  return i;
}

void check_aligned(std::initializer_list<const view*> views) {
  for (const view* v : views) {
    if (!is_aligned(*v)) throw error(errc::internal, "emulated gpu", "cuDNN wants 16 bytes");
  }
}

void convolve_transposed(const conv_step& c, std::span<void* const> memory) {
  check_aligned({&c.x, &c.w, &c.out});
  dims window(c.w.shape.begin() + 2, c.w.shape.end());
  window.insert(window.begin(), c.w.shape[0]);  // input channels, kernel…
  for_each_index(c.out.shape, [&](const dims& at) {
    float s = 0;
    for_each_index(window, [&](const dims& k) {
      dims x = {at[0], k[0]};
      dims w = {k[0], at[1]};
      for (std::size_t d = 1; d < k.size(); ++d) {
        const std::int64_t i = at[d + 1] + c.pads_begin[d - 1] - k[d] * c.dilations[d - 1];
        if (i < 0 || i % c.strides[d - 1] != 0) return;
        if (i / c.strides[d - 1] >= c.x.shape[d + 1]) return;
        x.push_back(i / c.strides[d - 1]);
        w.push_back(k[d]);
      }
      s += get(memory[c.x.buffer], c.type, place(c.x, x)) *
           get(memory[c.w.buffer], c.type, place(c.w, w));
    });
    put(memory[c.out.buffer], c.type, place(c.out, at), s);
  });
}

void convolve(const conv_step& c, std::span<void* const> memory) {
  check_aligned({&c.x, &c.w, &c.out});
  if (c.has_bias) check_aligned({&c.bias});
  if (c.has_residual) check_aligned({&c.residual});
  dims window(c.w.shape.begin() + 1, c.w.shape.end());  // channels, kernel…
  std::size_t size = 1;
  for (const std::int64_t d : window) size *= static_cast<std::size_t>(d);
  const std::int64_t wide = c.out.shape[1] / c.groups;  // output channels of a group
  std::vector<float> columns(size * padded(wide)), row(size), sums(padded(wide));
  for (std::int64_t group = 0; group < c.groups; ++group) {
    std::size_t n = 0;
    for_each_index(window, [&](const dims& k) {
      dims w = {0};
      w.insert(w.end(), k.begin(), k.end());
      for (std::int64_t o = 0; o < wide; ++o) {
        w[0] = group * wide + o;
        columns[n * sums.size() + static_cast<std::size_t>(o)] =
            get(memory[c.w.buffer], c.type, place(c.w, w));
      }
      ++n;
    });
    dims points = c.out.shape;
    points[1] = 1;
    for_each_index(points, [&](const dims& point) {
      n = 0;
      dims x(point.size());
      for_each_index(window, [&](const dims& k) {
        x[0] = point[0];
        x[1] = group * window[0] + k[0];
        bool inside = true;
        for (std::size_t d = 1; d < k.size(); ++d) {
          x[d + 1] =
              point[d + 1] * c.strides[d - 1] + k[d] * c.dilations[d - 1] - c.pads_begin[d - 1];
          inside = inside && x[d + 1] >= 0 && x[d + 1] < c.x.shape[d + 1];
        }
        row[n++] = inside ? get(memory[c.x.buffer], c.type, place(c.x, x)) : 0.0F;
      });
      sums_of(row, columns, sums);
      dims at = point;
      for (std::int64_t o = 0; o < wide; ++o) {
        at[1] = group * wide + o;
        float s = sums[static_cast<std::size_t>(o)];
        if (c.has_bias) s += get(memory[c.bias.buffer], c.type, place(c.bias, {at[1]}));
        if (c.has_residual) s += get(memory[c.residual.buffer], c.type, place(c.residual, at));
        put(memory[c.out.buffer], c.type, place(c.out, at), act(c.act, s));
      }
    });
  }
}

void attend(const attention_step& s, std::span<void* const> memory) {
  check_aligned({&s.q, &s.k, &s.v, &s.out});
  const auto read = [&](const view& v, const dims& at) {
    return get(memory[v.buffer], s.type, place(v, at));
  };
  const std::int64_t keys = s.k.shape[2];
  const std::int64_t group = s.q.shape[1] / s.k.shape[1];
  for_each_index({s.q.shape[0], s.q.shape[1], s.q.shape[2]}, [&](const dims& at) {
    const std::int64_t own = at[1] / group;
    std::vector<float> weights;
    float most = -INFINITY;
    for (std::int64_t j = 0; j < keys; ++j) {
      float score = 0;
      for (std::int64_t d = 0; d < s.q.shape[3]; ++d) {
        score += read(s.q, {at[0], at[1], at[2], d}) * read(s.k, {at[0], own, j, d});
      }
      score *= s.scale;
      if (s.has_mask) score += read(s.mask, {at[0], at[1], at[2], j});
      if (s.causal && j > at[2]) score = -INFINITY;
      weights.push_back(score);
      most = std::max(most, score);
    }
    float sum = 0;
    for (float& w : weights) sum += w = std::exp(w - most);
    for (std::int64_t d = 0; d < s.v.shape[3]; ++d) {
      float v = 0;
      for (std::int64_t j = 0; j < keys; ++j) {
        v += weights[static_cast<std::size_t>(j)] / sum * read(s.v, {at[0], own, j, d});
      }
      put(memory[s.out.buffer], s.type, place(s.out, {at[0], at[1], at[2], d}), v);
    }
  });
}

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
  std::atomic<std::uint64_t> recorded = 0, replayed = 0, steps = 0, copied_bytes = 0;
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
  if (const auto* g = std::get_if<gemm_step>(&s.what)) return multiply(*g, memory);
  if (const auto* c = std::get_if<conv_step>(&s.what)) {
    return c->transposed ? convolve_transposed(*c, memory) : convolve(*c, memory);
  }
  if (const auto* a = std::get_if<attention_step>(&s.what)) return attend(*a, memory);
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
  void* allocate(std::size_t bytes) override { return tagged(new_memory(bytes), device_); }
  void release(void* memory) noexcept override { std::free(untagged(memory, device_)); }
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
  return name == "recorded"   ? c.recorded
         : name == "replayed" ? c.replayed
         : name == "steps"    ? c.steps
                              : c.copied_bytes;
}
}
