// Products by cuBLASLt, convolutions and attention by cuDNN, each with the fastest of the
// algorithms that the library proposes, timed once per shape and kept in the plan cache.
#pragma once

#include "cuda/driver.hpp"
#include "cuda/plan_cache.hpp"
#include "cuda/schedule.hpp"

#include <cstddef>
#include <cublasLt.h>
#include <cudnn.h>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>

namespace mizzen::cuda {

// cuDNN older than this is refused: it lacks engines that the plans count on.
inline constexpr std::size_t least_cudnn = 91500;

// What preparing a step needs. The context is current.
struct prepare_context {
  const driver& api;
  CUstream stream;
  const plan_cache& cache;
  std::string gpu;  // its name and the versions of driver and libraries: the front of every key
};

// Seconds of one call, the least of some; what is called works on the stream. A call that throws
// takes for ever.
double time_of(const prepare_context& c, const std::function<void()>& call);

class blas {
 public:
  blas();
  blas(const blas&) = delete;
  blas& operator=(const blas&) = delete;
  ~blas();

  std::string version() const;

  // A prepared product; immutable.
  class plan;
  std::shared_ptr<const plan> prepare(const prepare_context& c, const gemm_step& g) const;
  static std::size_t workspace_bytes(const plan& p);
  // Thread safe.
  void run(const plan& p, std::span<void* const> memory, void* workspace, CUstream stream) const;

 private:
  struct functions;
  std::unique_ptr<const functions> f_;
  cublasLtHandle_t handle_ = nullptr;
};

struct dnn_problem;  // see dnn_graph.hpp

class dnn {
 public:
  // Throws error(unavailable) where cuDNN is absent or older than least_cudnn.
  dnn();
  dnn(const dnn&) = delete;
  dnn& operator=(const dnn&) = delete;
  ~dnn();

  std::string version() const;

  class plan;
  // Throws error(unimplemented) where it has no engine.
  std::shared_ptr<const plan> prepare(const prepare_context& c, const conv_step& s) const;
  std::shared_ptr<const plan> prepare(const prepare_context& c, const attention_step& s) const;
  // Whether it has an engine for this whose plan can be built. Asks once for each shape; thread
  // safe.
  bool takes(CUstream stream, const attention_step& s) const;
  static std::size_t workspace_bytes(const plan& p);

  // A handle works for one stream at a time: each queue has its own.
  class handle {
   public:
    handle(const dnn& of, CUstream stream);
    handle(const handle&) = delete;
    handle& operator=(const handle&) = delete;
    ~handle();
    void run(const plan& p, std::span<void* const> memory, void* workspace) const;

   private:
    friend class dnn;
    const dnn& of_;
    cudnnHandle_t handle_ = nullptr;
  };

  struct functions;

 private:
  std::shared_ptr<const plan> prepare(const prepare_context& c, dnn_problem what) const;
  std::shared_ptr<const plan> kept(const handle& own, const std::string& text,
                                   const dnn_problem& what) const;
  std::shared_ptr<const plan> fastest(const prepare_context& c, const handle& own,
                                      dnn_problem& what) const;

  std::unique_ptr<const functions> f_;
  mutable std::mutex mutex_;
  mutable std::map<std::string, bool> takes_;  // by the key of a problem
};

}  // namespace mizzen::cuda
