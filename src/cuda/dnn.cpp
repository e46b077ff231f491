#include "cuda/dnn_graph.hpp"

#include <algorithm>
#include <limits>

namespace mizzen::cuda {
namespace {

constexpr std::size_t most_workspace = std::size_t{256} << 20;
constexpr std::size_t alignment = 256;
constexpr std::size_t most_timed = 12;  // plans of one heuristic

// Memory to time plans on.
class scratch {
 public:
  scratch(const prepare_context& c, std::size_t bytes) : api_(c.api) {
    api_.check(api_.cuMemAlloc(&at_, bytes), "cuMemAlloc");
    // Small numbers in all types.
    api_.cuMemsetD8Async(at_, 0x11, bytes, c.stream);
  }
  scratch(const scratch&) = delete;
  scratch& operator=(const scratch&) = delete;
  ~scratch() { api_.cuMemFree(at_); }
  std::byte* get() const noexcept { return reinterpret_cast<std::byte*>(at_); }

 private:
  const driver& api_;
  CUdeviceptr at_ = 0;
};

void execute(const dnn::functions& f, cudnnHandle_t handle, const std::vector<tensor_place>& places,
             const descriptor& execution, std::span<void* const> memory, void* workspace) {
  std::vector<std::int64_t> ids;
  std::vector<void*> pointers;
  std::vector<float> numbers;
  numbers.reserve(places.size());
  for (const tensor_place& p : places) {
    ids.push_back(p.id);
    if (p.number) {
      numbers.push_back(*p.number);
      pointers.push_back(&numbers.back());
    } else {
      pointers.push_back(static_cast<std::byte*>(memory[p.buffer]) + p.offset);
    }
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

class dnn::plan {
 public:
  plan(std::vector<tensor_place> where, descriptor d, std::size_t bytes)
      : places(std::move(where)), execution(std::move(d)), workspace_bytes(bytes) {}

  std::vector<tensor_place> places;
  descriptor execution;
  std::size_t workspace_bytes;
};

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
  execute(*of_.f_, handle_, p.places, p.execution, memory, workspace);
}

std::shared_ptr<const dnn::plan> dnn::kept(const handle& own, const std::string& text,
                                           const dnn_problem& what) const {
  const functions& f = *f_;
  try {
    descriptor execution(f, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    execution.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, own.handle_)
        .set(CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
             std::span<const char>(text))
        .finish();
    const std::size_t bytes = workspace_of(f, execution);
    if (bytes > most_workspace) return nullptr;
    return std::make_shared<const plan>(what.places, std::move(execution), bytes);
  } catch (const error&) {
    // From another cuDNN, whatever the key says: it is chosen anew.
    return nullptr;
  }
}

std::shared_ptr<const dnn::plan> dnn::fastest(const prepare_context& c, const handle& own,
                                              dnn_problem& what) const {
  const functions& f = *f_;
  const dnn_device on{own.handle_, nullptr};
  what.graph.finish(on);
  std::size_t all = most_workspace;
  std::size_t buffers = 0;
  const auto space = [](const tensor_place& p) {
    return (p.bytes + alignment - 1) / alignment * alignment;
  };
  for (const tensor_place& p : what.places) {
    all += space(p);
    buffers = std::max(buffers, p.buffer + 1);
  }
  const scratch room(c, all);
  std::vector<void*> memory(buffers);
  std::byte* at = room.get() + most_workspace;
  for (const tensor_place& p : what.places) {
    if (p.number) continue;
    memory[p.buffer] = at;
    at += space(p);
  }
  std::shared_ptr<const plan> best;
  double least = std::numeric_limits<double>::infinity();
  for (const cudnnBackendHeurMode_t mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK}) {
    if (best) break;
    std::vector<descriptor> list;
    try {
      list = configurations(what.graph, on, mode);
    } catch (const error&) {
      continue;
    }
    std::size_t timed = 0;
    for (const descriptor& configuration : list) {
      if (timed == most_timed) break;
      // The first thirty may all round.
      if (what.exact && rounds_float32(f, configuration)) continue;
      ++timed;
      try {
        descriptor execution = execution_plan(f, on, configuration);
        const std::size_t bytes = workspace_of(f, execution);
        if (bytes > most_workspace) continue;
        const double took = time_of(
            c, [&] { execute(f, own.handle_, what.places, execution, memory, room.get()); });
        if (took >= least) continue;
        least = took;
        best = std::make_shared<const plan>(what.places, std::move(execution), bytes);
      } catch (const error&) {
        // Proposed, but not for this GPU or these shapes after all.
      }
    }
  }
  return best;
}

std::shared_ptr<const dnn::plan> dnn::prepare(const prepare_context& c, dnn_problem what) const {
  const functions& f = *f_;
  const handle own(*this, c.stream);
  const std::string key = what.key + " " + c.gpu;
  if (const auto text = c.cache.find(key)) {
    if (auto known = kept(own, *text, what)) return known;
  }
  auto best = fastest(c, own, what);
  if (!best) throw error(errc::unimplemented, "cuDNN", "it has no engine for these shapes");
  if (const std::string text = text_of(f, best->execution); !text.empty()) c.cache.put(key, text);
  return best;
}

std::shared_ptr<const dnn::plan> dnn::prepare(const prepare_context& c, const conv_step& s) const {
  return prepare(c, problem_of(*f_, s));
}

std::shared_ptr<const dnn::plan> dnn::prepare(const prepare_context& c,
                                              const attention_step& s) const {
  return prepare(c, problem_of(*f_, s));
}

bool dnn::takes(CUstream stream, const attention_step& s) const {
  const std::lock_guard lock(mutex_);
  try {
    dnn_problem what = problem_of(*f_, s);
    const auto [known, is_new] = takes_.try_emplace(what.key, false);
    if (!is_new) return known->second;
    const handle own(*this, stream);
    const dnn_device on{own.handle_, nullptr};
    what.graph.finish(on);
    for (const descriptor& c : configurations(what.graph, on, CUDNN_HEUR_MODE_A)) {
      try {
        if (workspace_of(*f_, execution_plan(*f_, on, c)) > most_workspace) continue;
        known->second = true;
        return true;
      } catch (const error&) {
        // Proposed, but not for this GPU or these shapes after all.
      }
    }
  } catch (const error&) {
    // cuDNN has no such operations at all.
  }
  return false;
}

}  // namespace mizzen::cuda
