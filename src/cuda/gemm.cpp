#include "cuda/products.hpp"

#include <mizzen/core/error.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <limits>
#include <sstream>
#include <vector>

namespace mizzen::cuda {
namespace {

constexpr std::size_t most_workspace = std::size_t{32} << 20;
constexpr int most_algorithms = 8;

void check(cublasStatus_t status, const char* what) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw error(errc::unavailable, "cuBLASLt",
              std::string(what) + ": status " + std::to_string(status));
}

cudaDataType_t type_of(element_type type) {
  switch (type) {
    case element_type::float16:
      return CUDA_R_16F;
    case element_type::bfloat16:
      return CUDA_R_16BF;
    case element_type::int8:
      return CUDA_R_8I;
    case element_type::int32:
      return CUDA_R_32I;
    case element_type::float8_e4m3fn:
      return CUDA_R_8F_E4M3;
    case element_type::float8_e5m2:
      return CUDA_R_8F_E5M2;
    default:
      return CUDA_R_32F;
  }
}

// Sums of int8 are whole numbers, and so are alpha and beta.
bool is_whole(const gemm_step& g) { return g.type == element_type::int32; }

cublasComputeType_t compute_of(const gemm_step& g) {
  if (is_whole(g)) return CUBLAS_COMPUTE_32I;
  return g.tf32 && g.type_of_a() == element_type::float32 ? CUBLAS_COMPUTE_32F_FAST_TF32
                                                          : CUBLAS_COMPUTE_32F;
}

// Of a pointer at this offset into memory that is aligned to 256 bytes, in all batches.
std::uint32_t alignment_of(const gemm_step::matrix& m, element_type type) {
  const auto size = static_cast<std::int64_t>(size_of(type));
  std::uint32_t alignment = 256;
  while ((m.offset * size) % alignment != 0 || (m.batch_stride * size) % alignment != 0)
    alignment /= 2;
  return alignment;
}

std::string key_of(const prepare_context& c, const gemm_step& g) {
  std::ostringstream text;
  const auto matrix = [&](const gemm_step::matrix& m, element_type type) {
    text << ' ' << static_cast<int>(type) << ' ' << m.lead << (m.transposed ? 't' : 'n')
         << m.batch_stride << 'a' << alignment_of(m, type);
  };
  text << "gemm 2 " << c.gpu << ' ' << static_cast<int>(g.type) << ' ' << g.batch << ' ' << g.m
       << ' ' << g.n << ' ' << g.k << ' ' << g.has_bias << ' ' << static_cast<int>(g.act) << ' '
       << g.tf32;
  matrix(g.a, g.type_of_a());
  matrix(g.b, g.type_of_b());
  return text.str();
}

}  // namespace

// clang-format off: lists that it writes otherwise each time
#define MIZZEN_BLAS_FUNCTIONS(F) \
  F(cublasLtCreate) F(cublasLtDestroy) F(cublasLtGetVersion) F(cublasLtMatmul) \
  F(cublasLtMatmulAlgoGetHeuristic) F(cublasLtMatmulAlgoCheck) F(cublasLtMatmulDescCreate) \
  F(cublasLtMatmulDescSetAttribute) F(cublasLtMatmulDescDestroy) \
  F(cublasLtMatrixLayoutCreate) F(cublasLtMatrixLayoutSetAttribute) \
  F(cublasLtMatrixLayoutDestroy) F(cublasLtMatmulPreferenceCreate) \
  F(cublasLtMatmulPreferenceSetAttribute) F(cublasLtMatmulPreferenceDestroy)
// clang-format on

struct blas::functions {
  functions()
      : file("cuBLASLt", {"libcublasLt.so.13"}){
#define MIZZEN_FIND(name) name = reinterpret_cast<decltype(name)>(file.find(MIZZEN_TEXT_OF(name)));
            MIZZEN_BLAS_FUNCTIONS(MIZZEN_FIND)
#undef MIZZEN_FIND
        } library file;
#define MIZZEN_MEMBER(name) decltype(&::name) name = nullptr;
  MIZZEN_BLAS_FUNCTIONS(MIZZEN_MEMBER)
#undef MIZZEN_MEMBER
};

// cuBLASLt has columns first: the transposed product of the transposed factors is the same memory,
// so its A is our b, its B our a, and a bias for each of our columns is one for each of its rows.
class blas::plan {
 public:
  plan(const functions& f, const gemm_step& g) : f_(f), step(g) {
    check(f.cublasLtMatmulDescCreate(&operation, compute_of(g),
                                     is_whole(g) ? CUDA_R_32I : CUDA_R_32F),
          "cublasLtMatmulDescCreate");
    const cublasOperation_t first = g.b.transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
    const cublasOperation_t second = g.a.transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
    set(CUBLASLT_MATMUL_DESC_TRANSA, first);
    set(CUBLASLT_MATMUL_DESC_TRANSB, second);
    const cublasLtEpilogue_t epilogue =
        g.act == activation::relu
            ? (g.has_bias ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_RELU)
        : g.act == activation::gelu_tanh
            ? (g.has_bias ? CUBLASLT_EPILOGUE_GELU_BIAS : CUBLASLT_EPILOGUE_GELU)
            : (g.has_bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT);
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue);
    if (g.has_bias) {
      set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, type_of(g.type));
      // An address as those of the runs: what is proposed may hang on its alignment.
      set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, reinterpret_cast<const void*>(std::uintptr_t{256}));
    }
    b = layout(g.b, g.type_of_b(), g.k, g.n);
    a = layout(g.a, g.type_of_a(), g.m, g.k);
    out = layout(g.out, g.type, g.m, g.n);
  }
  plan(const plan&) = delete;
  plan& operator=(const plan&) = delete;
  ~plan() {
    for (const cublasLtMatrixLayout_t l : {a, b, out}) {
      if (l != nullptr) f_.cublasLtMatrixLayoutDestroy(l);
    }
    if (operation != nullptr) f_.cublasLtMatmulDescDestroy(operation);
  }

  // The descriptor, with the bias where this run has it.
  cublasStatus_t run(cublasLtHandle_t handle, std::span<void* const> memory,
                     const cublasLtMatmulAlgo_t& with, void* workspace, CUstream stream) const {
    const auto at = [&](std::size_t buffer, std::int64_t offset, element_type type) -> void* {
      return static_cast<std::byte*>(memory[buffer]) +
             offset * static_cast<std::int64_t>(size_of(type));
    };
    // Runs overlap: each has a descriptor of its own where a pointer is in it.
    cublasLtMatmulDescOpaque_t own = *operation;
    if (step.has_bias) {
      void* const bias = at(step.bias_buffer, step.bias_offset, step.type);
      const cublasStatus_t set_bias = f_.cublasLtMatmulDescSetAttribute(
          &own, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias);
      if (set_bias != CUBLAS_STATUS_SUCCESS) return set_bias;
    }
    const float one = 1.0F;
    const std::int32_t whole_one = 1;
    // The bits of 0 are those of 0.0.
    const std::int32_t zero = 0;
    const void* const alpha =
        is_whole(step) ? static_cast<const void*>(&whole_one) : static_cast<const void*>(&one);
    void* const result = at(step.out.buffer, step.out.offset, step.type);
    return f_.cublasLtMatmul(
        handle, &own, alpha, at(step.b.buffer, step.b.offset, step.type_of_b()), b,
        at(step.a.buffer, step.a.offset, step.type_of_a()), a, &zero, result, out, result, out,
        &with, workspace, workspace_bytes, reinterpret_cast<cudaStream_t>(stream));
  }

  const functions& f_;
  gemm_step step;
  cublasLtMatmulDesc_t operation = nullptr;
  cublasLtMatrixLayout_t a = nullptr, b = nullptr, out = nullptr;
  cublasLtMatmulAlgo_t algorithm{};
  std::size_t workspace_bytes = 0;

 private:
  template <class T>
  void set(cublasLtMatmulDescAttributes_t attribute, T v) {
    check(f_.cublasLtMatmulDescSetAttribute(operation, attribute, &v, sizeof v),
          "cublasLtMatmulDescSetAttribute");
  }

  cublasLtMatrixLayout_t layout(const gemm_step::matrix& m, element_type type, std::int64_t rows,
                                std::int64_t columns) {
    // Its rows are our columns, unless ours lie transposed.
    const auto tall = static_cast<std::uint64_t>(m.transposed ? rows : columns);
    const auto wide = static_cast<std::uint64_t>(m.transposed ? columns : rows);
    cublasLtMatrixLayout_t made = nullptr;
    check(f_.cublasLtMatrixLayoutCreate(&made, type_of(type), tall, wide, m.lead),
          "cublasLtMatrixLayoutCreate");
    const auto batch = static_cast<std::int32_t>(step.batch);
    check(f_.cublasLtMatrixLayoutSetAttribute(made, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &batch,
                                              sizeof batch),
          "cublasLtMatrixLayoutSetAttribute");
    check(f_.cublasLtMatrixLayoutSetAttribute(made, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET,
                                              &m.batch_stride, sizeof m.batch_stride),
          "cublasLtMatrixLayoutSetAttribute");
    return made;
  }
};

blas::blas() : f_(std::make_unique<const functions>()) {
  check(f_->cublasLtCreate(&handle_), "cublasLtCreate");
}

blas::~blas() { f_->cublasLtDestroy(handle_); }

std::string blas::version() const { return std::to_string(f_->cublasLtGetVersion()); }

std::size_t blas::workspace_bytes(const plan& p) { return p.workspace_bytes; }

void blas::run(const plan& p, std::span<void* const> memory, void* workspace,
               CUstream stream) const {
  check(p.run(handle_, memory, p.algorithm, workspace, stream), "cublasLtMatmul");
}

std::shared_ptr<const blas::plan> blas::prepare(const prepare_context& c,
                                                const gemm_step& g) const {
  if (g.batch > std::numeric_limits<std::int32_t>::max()) {
    throw error(errc::unimplemented, "MatMul", "that many products at once");
  }
  auto made = std::make_shared<plan>(*f_, g);
  const std::string key = key_of(c, g);
  if (const auto kept = c.cache.find(key); kept && kept->size() == sizeof made->algorithm) {
    std::memcpy(&made->algorithm, kept->data(), sizeof made->algorithm);
    cublasLtMatmulHeuristicResult_t result{};
    const cublasStatus_t good =
        f_->cublasLtMatmulAlgoCheck(handle_, made->operation, made->b, made->a, made->out,
                                    made->out, &made->algorithm, &result);
    if (good == CUBLAS_STATUS_SUCCESS && result.workspaceSize <= most_workspace) {
      made->workspace_bytes = result.workspaceSize;
      return made;
    }
  }
  cublasLtMatmulPreference_t preference = nullptr;
  check(f_->cublasLtMatmulPreferenceCreate(&preference), "cublasLtMatmulPreferenceCreate");
  const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, auto v) {
    f_->cublasLtMatmulPreferenceSetAttribute(preference, attribute, &v, sizeof v);
  };
  prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, most_workspace);
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment_of(g.b, g.type_of_b()));
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment_of(g.a, g.type_of_a()));
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment_of(g.out, g.type));
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment_of(g.out, g.type));
  std::array<cublasLtMatmulHeuristicResult_t, most_algorithms> proposed{};
  int count = 0;
  const cublasStatus_t found = f_->cublasLtMatmulAlgoGetHeuristic(
      handle_, made->operation, made->b, made->a, made->out, made->out, preference, most_algorithms,
      proposed.data(), &count);
  f_->cublasLtMatmulPreferenceDestroy(preference);
  if (found != CUBLAS_STATUS_SUCCESS || count == 0) {
    throw error(errc::unimplemented, "cuBLASLt",
                "it has no algorithm for a product of these shapes");
  }

  // Memory to time them on: what is in it does not matter.
  const auto extent = [&](const gemm_step::matrix& m, element_type type, std::int64_t rows,
                          std::int64_t columns) {
    const std::int64_t lines = m.transposed ? columns : rows;
    const std::int64_t elements = m.offset + m.batch_stride * (g.batch - 1) + m.lead * lines;
    return (static_cast<std::size_t>(elements) * size_of(type) + 255) / 256 * 256;
  };
  const std::size_t a_bytes = extent(g.a, g.type_of_a(), g.m, g.k);
  const std::size_t b_bytes = extent(g.b, g.type_of_b(), g.k, g.n);
  const std::size_t out_bytes = extent(g.out, g.type, g.m, g.n);
  const std::size_t bias_bytes =
      (static_cast<std::size_t>(g.bias_offset + g.n) * size_of(g.type) + 255) / 256 * 256;
  CUdeviceptr scratch = 0;
  const std::size_t all = a_bytes + b_bytes + out_bytes + bias_bytes + most_workspace;
  made->workspace_bytes = most_workspace;
  std::size_t best = 0;
  bool chosen = count == 1;
  if (!chosen && c.api.cuMemAlloc(&scratch, all) == CUDA_SUCCESS) {
    c.api.cuMemsetD8Async(scratch, 0x11, all, c.stream);
    auto* const at = reinterpret_cast<std::byte*>(scratch);
    std::vector<void*> memory(std::max({g.a.buffer, g.b.buffer, g.out.buffer, g.bias_buffer}) + 1);
    if (g.has_bias) memory[g.bias_buffer] = at + a_bytes + b_bytes + out_bytes;
    memory[g.a.buffer] = at;
    memory[g.b.buffer] = at + a_bytes;
    memory[g.out.buffer] = at + a_bytes + b_bytes;
    // One buffer may hold both factors: then each has the larger extent.
    if (g.a.buffer == g.b.buffer) memory[g.a.buffer] = a_bytes > b_bytes ? at : at + a_bytes;
    double least = std::numeric_limits<double>::infinity();
    for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
      const double took = time_of(c, [&] {
        check(made->run(handle_, memory, proposed[i].algo, at + all - most_workspace, c.stream),
              "cublasLtMatmul");
      });
      if (took < least) {
        least = took;
        best = i;
        chosen = true;
      }
    }
    c.api.cuMemFree(scratch);
    if (!chosen) {
      throw error(errc::unimplemented, "cuBLASLt",
                  "none of its algorithms for a product of these shapes runs");
    }
  }
  made->algorithm = proposed[best].algo;
  made->workspace_bytes = proposed[best].workspaceSize;
  // Without memory to time them on the first is as good as any, but not worth remembering.
  if (!chosen) return made;
  c.cache.put(key,
              std::string(reinterpret_cast<const char*>(&made->algorithm), sizeof made->algorithm));
  return made;
}

}  // namespace mizzen::cuda
