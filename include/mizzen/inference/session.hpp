// A loaded model that can be run.
#pragma once

#include <mizzen/core/cancellation.hpp>
#include <mizzen/core/log.hpp>
#include <mizzen/inference/custom_operator.hpp>
#include <mizzen/inference/profile.hpp>
#include <mizzen/inference/run_handler.hpp>
#include <mizzen/inference/tensor.hpp>
#include <mizzen/inference/value.hpp>
#include <mizzen/inference/weight_cache.hpp>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <future>
#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mizzen::inference {

// One dimension of an input or output as the model declares it: a number, a name that stands for
// the same number everywhere in the model, or unknown. Source: onnx TensorShapeProto.Dimension.
struct dimension {
  std::int64_t value = -1;  // ≥ 0, or -1 when it is not fixed
  std::string symbol;       // name when it is not fixed; empty when unknown

  dimension() = default;
  template <std::integral T>
  dimension(T fixed) : value(static_cast<std::int64_t>(fixed)) {}
  dimension(std::string name) : symbol(std::move(name)) {}
  dimension(const char* name) : symbol(name) {}

  bool fixed() const noexcept { return value >= 0; }
  friend bool operator==(const dimension&, const dimension&) = default;
};

// Name, type and shape of an input or output.
struct value_info {
  std::string name;
  element_type type = element_type::undefined;
  std::optional<std::vector<dimension>> shape;  // nullopt when not even the rank is known
  // Of anything but a tensor, type is that of the elements, and shape what is declared of them.
  value_kind kind = value_kind::tensor;
};

// "float32[batch, 3, 224, ?]"; "[…]" in place of dimensions when the rank is unknown; what is no
// tensor reads "sequence(float32[…])".
std::string to_string(const value_info& info);

// For the devices "cuda:N".
struct gpu_options {
  // How float32 is computed. Inputs and outputs of the model have its types all the same.
  enum class arithmetic {
    float32 = 0,  // as it stands
    tf32 = 1,     // factors of products and convolutions rounded to 10 bits
    float16 = 2,  // values between the inputs and outputs of a part are float16
  };
  arithmetic math = arithmetic::float32;
  // Folder for compiled kernels and the timed choice of algorithms; empty path: none is kept.
  // nullopt: cuda/ in $MIZZEN_CACHE, else mizzen/cuda/ in $XDG_CACHE_HOME or ~/.cache.
  std::optional<std::filesystem::path> cache = std::nullopt;
};

struct session_options {
  // Where it runs; see device.hpp. What a GPU lacks of the model's operators runs on the processor.
  std::string device = "cpu";
  // Threads of one run, the calling one included; 0: available_cpus().
  unsigned threads = 0;
  // How long at most a thread inside a run that waits for the next node's work looks for it, giving
  // its processor to whoever else wants it, before it sleeps: waking takes longer than many a node.
  // Between runs threads always sleep. 0: they sleep at once inside runs as well.
  std::chrono::microseconds spin{50};
  // Most bytes the model's constants may take at load, and again most bytes that the working memory
  // and the outputs of one run may take; beyond it error(resource_exhausted). Where a model runs in
  // stages (see session::run), the limit holds for each stage and for what passes between them.
  std::size_t memory_limit = std::size_t{16} << 30;
  // Run the graph passes (folding, fusion, the layout of convolutions). They round otherwise than
  // the nodes one by one: 3x3 convolutions, by Winograd's F(4x4, 3x3), to a relative error of some
  // 1e-5, the rest to a few ulp. A session gives the same result for the same inputs each time.
  // Off helps to find which pass changed a result.
  bool optimize = true;
  // The narrowest type that MatMul and Gemm with constant weights may round their operands to, by
  // itself float32. bfloat16 (8 bits of precision, the range of float32) lets a model of float32
  // use the processor's products of bfloat16 (AVX512_BF16, AMX), which sum in float32; where it has
  // none, it changes nothing. A model whose own values are bfloat16 uses them anyway. Other types
  // are error(invalid_argument).
  element_type inference_precision = element_type::float32;
  // How many sets of input shapes keep their plan and memory; the least recently used one goes.
  std::size_t cached_plans = 8;
  // Sizes that dimensions are rounded up to, by the name that the inputs give them, in rising
  // order: {{"batch", {1, 2, 4, 8, 16, 32}}}. A run in which such a dimension lies between two of
  // them is computed with inputs that end in zeros (false, empty strings), and its outputs are cut
  // to the size that was asked for; a size above the last, and 0, run as they are. A plan is then
  // made for few shapes only, which saves much on a GPU, where kernels are compiled for each.
  //
  // It only rounds otherwise where the rows along that dimension are computed apart, as those of a
  // batch are; and for the length of a sequence if zeros in its mask mean "not there", and nothing
  // is counted from its end. It is wrong where one row is told by another (a mean over the batch, a
  // softmax over an unmasked sequence, a window at the end of a picture): nobody but you can know.
  //
  // Each dimension of each output must be a number, have a name that the inputs give, or stay when
  // the sizes change, so that what to cut is known; otherwise, for names that no input has, and for
  // sizes that are not positive and rising, load throws error(invalid_argument).
  std::map<std::string, std::vector<std::int64_t>, std::less<>> shape_buckets = {};
  // Threads that carry out the runs of run_async(), started when they are first needed. Two let a
  // GPU copy for one run while it computes another; on the processor more than one is of use only
  // where a run does not keep all of its threads busy.
  unsigned async_runs = 2;
  // Most runs of run_async() that may wait for a thread, beyond which it throws
  // error(resource_exhausted); 0: no bound but that of the memory of their inputs. (Whoever takes
  // requests from outside wants one.)
  std::size_t queued_runs = 0;
  logger log = {};
  // Shown the graph while it is loaded, as session::dump_graph() writes it: as "imported", then
  // after each pass that changed it, by the name of the pass ("fold_constants"). The graphs of If,
  // Loop and Scan follow, each compiled on its own: "node 'gate' (If) then_branch: imported".
  std::function<void(std::string_view pass, const std::string& graph)> on_graph = {};
  // Operators of the application, which the model may call; see custom_operator.hpp.
  std::vector<custom_operator> operators = {};
  // Weights are held once by all sessions that are given the same cache; see weight_cache.hpp.
  // Null: the session holds its own.
  std::shared_ptr<weight_cache> weights = {};
  gpu_options gpu = {};
  // Map the model's file, and those of its external data, instead of reading them. Weights that
  // kernels read as they are, such as the table of a Gather, then stay in the page cache, which
  // processes share, and do not count as the process's own memory; what is packed for a kernel, or
  // not aligned for its type in the file, is copied. No such file may be written to or made shorter
  // while it is loaded or a session uses it: the kernel kills a process that reads what is gone
  // (SIGBUS). To replace a model, rename a new file over it.
  bool map_weights = false;
  // Asked while the model is loaded: between its nodes, and inside those that are computed then.
  // (What takes longer than ten seconds together to compute at load is left to the runs.)
  cancellation cancel = {};
};

struct run_options {
  // Asked before each node, and in each iteration of a loop.
  cancellation cancel = {};
  // Told the time of each node; see profile.hpp. Null: nobody.
  inference::profile* profile = nullptr;
  // Outputs that the run makes (run(), and undefined tensors of run_into()) stay in the memory of
  // the session's device rather than the host's.
  bool outputs_on_device = false;
  // A stream of the session's GPU (CUstream, cudaStream_t; cudaStreamLegacy, which is 1, for CUDA's
  // default stream): the run comes after what is in the stream now, and what is put into it later
  // comes after the run. Null: the run begins at once, and the call waits for its end.
  //
  // A run of run_async() begins later than the call. Where all inputs and outputs that the model
  // uses are in the GPU's memory and no part of it runs on the processor, the call then returns
  // without waiting: the tensors must live, and inputs stay as they are, until the stream has come
  // past the run. An index out of range is then taken for the nearest one within it, and told by a
  // later run of the session: error(out_of_range). Otherwise the call waits as it does without a
  // stream. A stream that is being captured is error(failed_precondition), and any stream where the
  // session is not on a GPU error(invalid_argument).
  void* stream = nullptr;
};

// References for one call: what they name must live until it returns.
struct named_input {
  named_input(std::string_view n, const tensor& v) : name(n), value(v) {}
  std::string_view name;
  const tensor& value;
};
struct named_output {
  named_output(std::string_view n, tensor& v) : name(n), value(v) {}
  std::string_view name;
  tensor& value;
};

// A model, compiled for a device. Move-only handle.
//
//   auto session = mizzen::inference::session::load("digits.onnx");
//   auto outputs = session.run({{"pixels", mizzen::tensor::copy(pixels, {n, 64})}});
//   auto scores = outputs.at("scores").data<float>();
//
// Thread safety: run() is const and may be called from several threads at once on one session; each
// running call has working memory of its own (kept for the next call), and they share the session's
// threads. Loading is independent between threads. A moved-from session may only be destroyed or
// assigned to.
//
// The session starts options.threads - 1 threads, which sleep between runs and end with it, and
// with the first calls of run_async() options.async_runs more. For coroutines see awaitable.hpp.
class session {
 public:
  // Reads an ONNX file. External data is looked for beside the file and nowhere else. Throws error:
  // not_found / permission_denied for the file; invalid_argument or data_loss naming the field for
  // a damaged or wrong model ("model.graph.node[3].attribute[1]"); unimplemented listing every
  // operator that the device lacks; resource_exhausted beyond options.memory_limit.
  static session load(const std::filesystem::path& path, const session_options& options = {});

  // Reads an ONNX model from memory, which may be freed after the call. As above, but external data
  // is refused.
  static session load(std::span<const std::byte> model, const session_options& options = {});

  session(session&&) noexcept;
  session& operator=(session&&) noexcept;
  ~session();

  // In the model's order. Inputs with an initializer of the same name (defaults) are not listed.
  const std::vector<value_info>& inputs() const noexcept;
  const std::vector<value_info>& outputs() const noexcept;

  // Key-value pairs of the model's metadata_props, producer and version. Source: onnx ModelProto.
  const std::map<std::string, std::string>& metadata() const noexcept;

  // Runs the model and returns all outputs by name. Every input must be given, with its type and a
  // shape that fits the declared one, and one number for each symbol: otherwise
  // error(invalid_argument) that names the input. Throws cancelled / deadline_exceeded when
  // options.cancel says so, resource_exhausted beyond the memory limit. Outputs must not overlap
  // inputs.
  //
  // A model whose shapes follow from those of its inputs is planned once per set of them, and then
  // runs without allocating. Where shapes follow from data that the model computes, and around
  // loops, branches and sequences, it runs in stages, each planned on its own. A shape that is
  // itself an input is planned for each new value of it.
  //
  // Throws error(failed_precondition) for a model with inputs or outputs that are sequences: see
  // run_values.
  tensor_map run(std::span<const named_input> inputs, const run_options& options = {}) const;
  tensor_map run(std::initializer_list<named_input> inputs, const run_options& options = {}) const;
  tensor_map run(const tensor_map& inputs, const run_options& options = {}) const;

  // As above into the caller's tensors: any subset of the outputs, each with the type and shape the
  // output has for these inputs, or an undefined tensor, which is then made. Given defined tensors,
  // a run with input shapes seen before allocates nothing. On an exception their content is
  // unspecified.
  //
  // Inputs and outputs may be in the memory of the session's GPU, in all forms of run: what only
  // parts on the GPU take or make is then used where it is (best aligned to 256 bytes: others are
  // copied on the GPU), the rest is copied. Models that run in stages copy all of them. Tensors of
  // another device than the session's and the host's are error(invalid_argument).
  void run_into(std::span<const named_input> inputs, std::span<const named_output> outputs,
                const run_options& options = {}) const;
  void run_into(std::initializer_list<named_input> inputs,
                std::initializer_list<named_output> outputs, const run_options& options = {}) const;

  // As run(), by a thread of the session. The future gives the outputs, or throws what run() would
  // have thrown; it may be dropped, which stops nothing: that is options.cancel's business, also
  // for runs that still wait. What options.profile names must live until the run is over. Throws
  // itself only error(resource_exhausted), where session_options.queued_runs wait already or the
  // system gives no thread.
  //
  // Runs begin in the order of the calls. Where the session ends, begun ones are waited for and the
  // others end with error(cancelled). Moving the session disturbs nothing.
  std::future<tensor_map> run_async(tensor_map inputs, run_options options = run_options()) const;

  // As above; handler(nullptr, outputs) or handler(exception, {}) is called once, by the thread
  // that ran it (of a run that did not begin: in the session's destructor). It must not destroy the
  // session; what it throws is logged. A long one holds up other runs.
  void run_async(tensor_map inputs, run_handler handler, run_options options = run_options()) const;

  // As run(), for models whose inputs or outputs may be sequences or optionals. An optional input
  // may be left out.
  value_map run_values(const value_map& inputs, const run_options& options = {}) const;

  // Gives back the memory that is kept for the next run: that of plans and the working memory of
  // runs. The weights stay. The next run plans again and takes its memory anew. May be called while
  // runs are under way, which keep what they use until they end.
  void release_memory() const noexcept;

  // What is executed, as text for people: one line per node after the passes. Format unspecified.
  std::string dump_graph() const;

 private:
  struct impl;
  explicit session(std::unique_ptr<impl> state) noexcept;
  std::unique_ptr<impl> impl_;
};

}  // namespace mizzen::inference
