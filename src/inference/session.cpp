#include "core/descriptor.hpp"
#include "inference/graph/import.hpp"
#include "inference/onnx/file_memory.hpp"
#include "inference/passes/passes.hpp"
#include "inference/runtime/async_runs.hpp"
#include "inference/runtime/executable.hpp"
#include "inference/runtime/profile_log.hpp"
#include "inference/runtime/shape_buckets.hpp"

#include <mizzen/core/checked.hpp>
#include <mizzen/inference/session.hpp>

#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fcntl.h>
#include <malloc.h>
#include <string>
#include <utility>

namespace mizzen::inference {
namespace {

using namespace detail;

// Numbers that the names of dimensions stand for in one run, and the inputs that said so.
using symbol_map = std::map<std::string_view, std::pair<std::int64_t, std::string_view>>;

std::string input_subject(std::string_view name) { return "input '" + std::string(name) + "'"; }
std::string output_subject(std::string_view name) { return "output '" + std::string(name) + "'"; }

std::string comma(std::string list, std::string_view next) {
  if (!list.empty()) list += ", ";
  return list.append(next);
}

std::shared_ptr<file_memory> open_file(const std::filesystem::path& path,
                                       const session_options& options) {
  const std::string subject = "model file '" + path.string() + "'";
  const auto fail = [&](int code) {
    const errc kind = code == ENOENT || code == ENOTDIR ? errc::not_found
                      : code == EACCES                  ? errc::permission_denied
                                                        : errc::unavailable;
    throw error(kind, subject, std::strerror(code));
  };
  const mizzen::detail::descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) fail(errno);
  struct stat status{};
  if (::fstat(file.get(), &status) != 0) fail(errno);
  if (!S_ISREG(status.st_mode)) {
    throw error(errc::invalid_argument, subject, "it is not a regular file");
  }
  const auto size = static_cast<std::size_t>(status.st_size);
  if (size > options.memory_limit) {
    throw error(errc::resource_exhausted, subject,
                "it is larger than the memory limit: raise session_options.memory_limit");
  }
  return options.map_weights ? file_memory::map(file.get(), size, subject)
                             : file_memory::read(file.get(), size, subject);
}

// Every operator that the device lacks, also in subgraphs.
void list_missing(const graph& g, const device& on, std::string& list, std::size_t& count) {
  constexpr std::size_t most_named = 50;
  for (const node& n : g.nodes) {
    for (const auto& [name, attribute] : n.attributes) {
      const auto* body = std::get_if<std::shared_ptr<const graph>>(&attribute);
      if (body != nullptr && *body != nullptr) list_missing(**body, on, list, count);
    }
    if (n.custom) continue;
    const bool computed = on.supports(n) || has_operation(n);
    if (computed && find_shape_rule(n.domain, n.op_type) != nullptr) continue;
    if (++count <= most_named) {
      list = comma(std::move(list), (n.domain.empty() ? "" : n.domain + ".") + n.op_type +
                                        " version " + std::to_string(n.opset) +
                                        (n.name.empty() ? "" : " (node '" + n.name + "')"));
    } else if (count == most_named + 1) {
      list += " and more";
    }
  }
}

void check_supported(const graph& g, const device& on) {
  std::string list;
  std::size_t count = 0;
  list_missing(g, on, list, count);
  if (count == 0) return;
  throw error(errc::unimplemented, "model.graph.node",
              "the device '" + on.name() + "' lacks " + std::to_string(count) +
                  " of its operators: " + list +
                  ". Operators of your own go into session_options.operators");
}

// What inference found out, in the words of the declaration where it has some.
value_info merged(value_info declared, const graph& g, const value& v) {
  declared.type = v.type;
  // An optional stays one for the caller, whatever is certain to be in it.
  const bool is_optional = declared.kind == value_kind::optional_tensor ||
                           declared.kind == value_kind::optional_sequence;
  if (!is_optional) declared.kind = v.kind;
  if (!v.shape || declared.kind != value_kind::tensor) return declared;
  if (!declared.shape || declared.shape->size() != v.shape->size()) {
    declared.shape.emplace(v.shape->size());
  }
  for (std::size_t i = 0; i < v.shape->size(); ++i) {
    const std::int64_t d = (*v.shape)[i];
    if (d >= 0) {
      (*declared.shape)[i] = d;
    } else if (g.has_name(d) && (*declared.shape)[i].symbol.empty() &&
               !(*declared.shape)[i].fixed()) {
      (*declared.shape)[i] = g.dimension_text(d);
    }
  }
  return declared;
}

}  // namespace

std::string to_string(const value_info& info) {
  if (info.kind != value_kind::tensor) {
    value_info element = info;
    element.kind = value_kind::tensor;
    const std::string inner = to_string(element);
    switch (info.kind) {
      case value_kind::sequence:
        return "sequence(" + inner + ")";
      case value_kind::optional_tensor:
        return "optional(" + inner + ")";
      default:
        return "optional(sequence(" + inner + "))";
    }
  }
  std::string text(to_string(info.type));
  if (!info.shape) return text + "[…]";
  text += "[";
  for (std::size_t i = 0; i < info.shape->size(); ++i) {
    const dimension& d = (*info.shape)[i];
    if (i != 0) text += ", ";
    text += d.fixed() ? std::to_string(d.value) : d.symbol.empty() ? "?" : d.symbol;
  }
  return text + "]";
}

namespace {

// What runs in stages knows tensors of the host only.
shared_tensor on_host(const tensor& t, void* stream) {
  return t.on_host() ? borrow(t) : std::make_shared<tensor>(t.to_host(stream));
}

}  // namespace

struct session::impl {
  session_options options;
  std::vector<value_info> inputs, outputs;
  std::map<std::string, std::string> metadata;
  std::unique_ptr<const executable> compiled;
  // The graph as one stage, while no run has shown that its shapes need more than one.
  mutable std::atomic<const stage*> whole = nullptr;
  shape_buckets buckets;
  // Last: the runs that it waits for in the end use the rest.
  std::unique_ptr<detail::async_runs> async;

  static std::unique_ptr<impl> load(std::span<const std::byte> model,
                                    const session_options& options, tensor_source source);

  static const tensor* find(std::span<const named_input> given, std::string_view name) {
    for (const named_input& i : given) {
      if (i.name == name) return &i.value;
    }
    return nullptr;
  }

  const std::string& check_name(std::string_view name) const;
  void check_names(std::span<const named_input> given) const;
  void check_tensor(const value_info& info, const tensor& t, symbol_map& symbols) const;
  std::vector<const tensor*> check_tensors(std::span<const named_input> given) const;
  item check_value(const value_info& info, const any_value* given, symbol_map& symbols,
                   void* stream) const;
  void check_only_tensors() const;
  std::size_t output_index(std::string_view name) const;
  void check_places(std::span<const named_input> given, std::span<const named_output> wanted,
                    const run_options& run) const;

  std::shared_ptr<const plan> plan_for(std::span<const named_input> given,
                                       const run_options& run) const;
  void run_as_given(std::span<const named_input> given, std::span<const named_output> wanted,
                    const run_options& run, run_recorder* recorder) const;
  void run_planned(const plan& p, std::span<const named_input> given,
                   std::span<const named_output> wanted, const run_options& run,
                   run_recorder* recorder) const;
  std::vector<item> run_staged(std::span<const item> given, const run_options& run,
                               run_recorder* recorder, std::span<tensor* const> into = {}) const;
  void run_into(std::span<const named_input> given, std::span<const named_output> wanted,
                const run_options& run, run_recorder* recorder) const;
  value_map run_values(const value_map& given, const run_options& run,
                       run_recorder* recorder) const;
  value_map run_padded_values(const value_map& given, const run_options& run,
                              run_recorder* recorder) const;
  tensor_map run(std::span<const named_input> given, const run_options& run) const;
  tensor_map run(const tensor_map& given, const run_options& run) const;

  // Calls run(recorder), and hands what was recorded to the profile, if there is one.
  template <class Run>
  static void recorded(const run_options& options, Run&& run) {
    if (options.profile == nullptr) return run(nullptr);
    run_recorder recorder;
    recorder.begin(nullptr);
    run(&recorder);
    recorder.end();
    recorder.commit(*options.profile->log_);
  }
};

std::unique_ptr<session::impl> session::impl::load(std::span<const std::byte> model,
                                                   const session_options& options,
                                                   tensor_source source) {
  const auto start = std::chrono::steady_clock::now();
  if (options.inference_precision != element_type::float32 &&
      options.inference_precision != element_type::bfloat16) {
    throw error(errc::invalid_argument, "session_options.inference_precision",
                std::string(to_string(options.inference_precision)) +
                    " is not supported: use float32 or bfloat16");
  }
  if (options.async_runs == 0) {
    throw error(errc::invalid_argument, "session_options.async_runs", "it must be at least 1");
  }
  auto state = std::make_unique<impl>();
  state->options = options;
  options.cancel.check("load of the model");
  std::shared_ptr<device> on = make_device(options);
  imported_model imported =
      import_model(parse_model(model), source, custom_operators(options.operators));
  source.seal();
  check_supported(imported.g, *on);
  infer_graph(imported.g);
  std::vector<output_names> names{names_of_outputs(imported.g)};
  const std::size_t nodes_before = imported.g.nodes.size();
  const auto limits = std::make_shared<loading_limits>();
  limits->cancel = options.cancel;
  pass_context context{
      *on, options.log, source.budget, options.on_graph, *limits, {}, options.inference_precision};
  context.show("imported", imported.g);
  if (options.optimize) run_passes(imported.g, context);
  state->inputs = std::move(imported.inputs);
  for (std::size_t i = 0; i < imported.g.outputs.size(); ++i) {
    state->outputs.push_back(merged(std::move(imported.outputs[i]), imported.g,
                                    imported.g.values[imported.g.outputs[i]]));
  }
  names.push_back(names_of_outputs(imported.g));
  state->buckets =
      shape_buckets(options.shape_buckets, state->inputs, state->outputs, names, imported.g);
  state->async = std::make_unique<detail::async_runs>(
      options.async_runs, options.queued_runs, options.log,
      [s = state.get()](const tensor_map& given, const run_options& run) {
        return s->run(given, run);
      });
  state->metadata = std::move(imported.metadata);
  state->compiled = std::make_unique<const executable>(
      std::move(imported.g),
      compile_settings{std::move(on), options.memory_limit, options.cached_plans, options.optimize,
                       options.log, options.on_graph, options.weights, limits,
                       options.inference_precision});
  state->whole = state->compiled->whole();
  if (options.log.enabled(log_level::info)) {
    const auto took = std::chrono::steady_clock::now() - start;
    options.log.log(log_level::info, "inference", "model loaded",
                    {{"nodes", nodes_before},
                     {"nodes_after_passes", state->compiled->g().nodes.size()},
                     {"device", state->compiled->on().name()},
                     {"ms", std::chrono::duration<double, std::milli>(took).count()}});
  }
  return state;
}

const std::string& session::impl::check_name(std::string_view name) const {
  for (const value_info& info : inputs) {
    if (info.name == name) return info.name;
  }
  std::string names;
  for (const value_info& info : inputs) names = comma(std::move(names), "'" + info.name + "'");
  throw error(errc::invalid_argument, input_subject(name),
              "the model has no such input; it has " + (names.empty() ? "none" : names));
}

void session::impl::check_names(std::span<const named_input> given) const {
  for (std::size_t i = 0; i < given.size(); ++i) {
    check_name(given[i].name);
    for (std::size_t j = 0; j < i; ++j) {
      if (given[j].name == given[i].name) {
        throw error(errc::invalid_argument, input_subject(given[i].name), "it is given twice");
      }
    }
  }
}

void session::impl::check_tensor(const value_info& info, const tensor& t,
                                 symbol_map& symbols) const {
  if (t.type() != info.type) {
    throw error(
        errc::invalid_argument, input_subject(info.name),
        "it is " + std::string(to_string(t.type())) + " where the model takes " + to_string(info));
  }
  const auto wrong_shape = [&](const std::string& why) {
    throw error(
        errc::invalid_argument, input_subject(info.name),
        "shape " + to_string(t.shape()) + " where the model takes " + to_string(info) + ": " + why);
  };
  const std::size_t rank = t.rank();
  if (rank > max_rank) wrong_shape("too many dimensions");
  for (const std::int64_t d : t.shape()) {
    if (d > max_dimension) wrong_shape("too large");
  }
  // What is declared of the elements of other kinds is often wrong, and nothing relies on it.
  if (!info.shape || info.kind != value_kind::tensor) return;
  if (info.shape->size() != rank) wrong_shape("the rank differs");
  for (std::size_t i = 0; i < rank; ++i) {
    const std::int64_t d = t.shape()[i];
    const dimension& declared = (*info.shape)[i];
    if (declared.fixed() && declared.value != d) {
      wrong_shape("dimension " + std::to_string(i) + " must be " + std::to_string(declared.value));
    }
    if (declared.symbol.empty()) continue;
    const auto [it, is_new] = symbols.try_emplace(declared.symbol, d, info.name);
    if (!is_new && it->second.first != d) {
      wrong_shape("'" + declared.symbol + "' is " + std::to_string(it->second.first) +
                  " in input '" + std::string(it->second.second) + "'");
    }
  }
}

std::vector<const tensor*> session::impl::check_tensors(std::span<const named_input> given) const {
  check_names(given);
  std::vector<const tensor*> tensors;
  symbol_map symbols;
  for (const value_info& info : inputs) {
    const tensor* t = find(given, info.name);
    if (t == nullptr) {
      throw error(errc::invalid_argument, input_subject(info.name),
                  "it is missing; the model takes " + to_string(info));
    }
    check_tensor(info, *t, symbols);
    tensors.push_back(t);
  }
  return tensors;
}

item session::impl::check_value(const value_info& info, const any_value* given, symbol_map& symbols,
                                void* stream) const {
  const bool optional =
      info.kind == value_kind::optional_tensor || info.kind == value_kind::optional_sequence;
  const bool sequence =
      info.kind == value_kind::sequence || info.kind == value_kind::optional_sequence;
  if (given == nullptr || std::holds_alternative<std::monostate>(*given)) {
    if (optional) return {};
    throw error(errc::invalid_argument, input_subject(info.name),
                "it is missing; the model takes " + to_string(info));
  }
  if (std::holds_alternative<tensor_sequence>(*given) != sequence) {
    throw error(errc::invalid_argument, input_subject(info.name),
                std::string("it is a ") + (sequence ? "tensor" : "sequence") +
                    " where the model takes " + to_string(info));
  }
  if (const tensor* t = std::get_if<tensor>(given)) {
    check_tensor(info, *t, symbols);
    return on_host(*t, stream);
  }
  auto list = std::make_shared<std::vector<shared_tensor>>();
  for (const tensor& t : std::get<tensor_sequence>(*given)) {
    check_tensor(info, t, symbols);
    list->push_back(on_host(t, stream));
  }
  return shared_sequence(std::move(list));
}

void session::impl::check_only_tensors() const {
  for (const auto* list : {&inputs, &outputs}) {
    for (const value_info& info : *list) {
      if (info.kind == value_kind::tensor || info.kind == value_kind::optional_tensor) continue;
      throw error(errc::failed_precondition,
                  list == &inputs ? input_subject(info.name) : output_subject(info.name),
                  "it is " + to_string(info) + ", no tensor: use session::run_values()");
    }
  }
}

std::size_t session::impl::output_index(std::string_view name) const {
  std::size_t i = 0;
  while (i < outputs.size() && outputs[i].name != name) ++i;
  if (i == outputs.size()) {
    throw error(errc::invalid_argument, output_subject(name), "the model has no such output");
  }
  return i;
}

// That what is in a device's memory is in that of the session's. Host memory that work in the
// stream may still write is there when this returns.
void session::impl::check_places(std::span<const named_input> given,
                                 std::span<const named_output> wanted,
                                 const run_options& run) const {
  const auto space = compiled->on().memory();
  const auto check = [&](const tensor& t, const std::string& subject) {
    if (t.on_host() || (space != nullptr && t.device() == space->name())) return;
    throw error(errc::invalid_argument, subject,
                "it is in the memory of " + t.device() + ", and the session is on " +
                    compiled->on().name() + ": give it a copy by to_device() or to_host()");
  };
  bool any_on_host = false;
  for (const named_input& one : given) {
    if (!one.value.on_host()) check(one.value, input_subject(one.name));
    any_on_host |= one.value.on_host();
  }
  for (const named_output& one : wanted) {
    if (!one.value.on_host()) check(one.value, output_subject(one.name));
  }
  if (run.stream == nullptr) return;
  if (space == nullptr) {
    throw error(errc::invalid_argument, "run_options.stream",
                "the session is on \"" + compiled->on().name() + "\", which has no streams");
  }
  if (any_on_host) space->wait(run.stream);
}

// A plan for the whole graph, or null if it must run in stages.
std::shared_ptr<const plan> session::impl::plan_for(std::span<const named_input> given,
                                                    const run_options& run) const {
  const stage* s = whole.load(std::memory_order_acquire);
  if (s == nullptr) return nullptr;
  if (given.size() == inputs.size()) {
    auto known = s->find([&](std::size_t i) { return find(given, inputs[i].name); }, run.stream);
    if (known) return known;
  }
  try {
    return s->make(check_tensors(given), run.cancel, run.stream);
  } catch (const data_dependent_shape&) {
    whole.store(nullptr, std::memory_order_release);
    return nullptr;
  }
}

session::session(std::unique_ptr<impl> state) noexcept : impl_(std::move(state)) {}
session::session(session&&) noexcept = default;
session& session::operator=(session&&) noexcept = default;
session::~session() = default;

session session::load(const std::filesystem::path& path, const session_options& options) {
  auto file = open_file(path, options);
  const std::span<const std::byte> model = file->bytes();
  return session(
      impl::load(model, options,
                 {path.parent_path(), options.memory_limit, std::move(file), options.map_weights}));
}

session session::load(std::span<const std::byte> model, const session_options& options) {
  return session(impl::load(model, options, {std::nullopt, options.memory_limit, nullptr}));
}

const std::vector<value_info>& session::inputs() const noexcept { return impl_->inputs; }
const std::vector<value_info>& session::outputs() const noexcept { return impl_->outputs; }
const std::map<std::string, std::string>& session::metadata() const noexcept {
  return impl_->metadata;
}
void session::release_memory() const noexcept {
  impl_->compiled->release_memory();
#ifdef __GLIBC__
  // What was freed in small pieces goes back to the system too.
  ::malloc_trim(0);
#endif
}
std::string session::dump_graph() const { return to_text(impl_->compiled->g()); }

namespace {

// Makes the caller's tensor where it is undefined, and refuses one that does not fit.
void fit_output(const named_output& wanted, element_type type, const shape_type& shape,
                const std::shared_ptr<const memory_space>& space) {
  if (wanted.value.type() == element_type::undefined) {
    wanted.value = memory_space::make(type == element_type::string ? nullptr : space, type, shape);
  }
  if (wanted.value.type() != type || wanted.value.shape() != shape) {
    throw error(errc::invalid_argument, output_subject(wanted.name),
                std::string(to_string(wanted.value.type())) + to_string(wanted.value.shape()) +
                    " is given where the model makes " + std::string(to_string(type)) +
                    to_string(shape));
  }
  if (wanted.value.read_only()) {
    throw error(errc::invalid_argument, output_subject(wanted.name), "the tensor is read-only");
  }
}

void refuse_repeats(std::span<const named_output> wanted) {
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      if (wanted[i].name == wanted[j].name) {
        throw error(errc::invalid_argument, output_subject(wanted[i].name),
                    "it is asked for twice");
      }
    }
  }
}

}  // namespace

void session::impl::run_planned(const plan& p, std::span<const named_input> given,
                                std::span<const named_output> wanted, const run_options& run,
                                run_recorder* recorder) const {
  const borrowed_workspace w(p);
  for (std::size_t i = 0; i < inputs.size(); ++i) w->inputs[i] = find(given, inputs[i].name);
  std::fill(w->outputs.begin(), w->outputs.end(), nullptr);
  const auto space = run.outputs_on_device ? compiled->on().memory() : nullptr;
  for (const named_output& one : wanted) {
    const std::size_t i = output_index(one.name);
    fit_output(one, p.output_type(i), p.output_shape(i), space);
    w->outputs[i] = &one.value;
  }
  p.run(*w, run.cancel, recorder, run.stream);
}

std::vector<item> session::impl::run_staged(std::span<const item> given, const run_options& run,
                                            run_recorder* recorder,
                                            std::span<tensor* const> into) const {
  return compiled->run(
      given, {run.cancel, std::make_shared<memory_account>(options.memory_limit), recorder}, into);
}

void session::impl::run_into(std::span<const named_input> given,
                             std::span<const named_output> wanted, const run_options& run,
                             run_recorder* recorder) const {
  run.cancel.check("run of the model");
  refuse_repeats(wanted);
  check_places(given, wanted, run);
  if (buckets.empty()) return run_as_given(given, wanted, run, recorder);
  const shape_buckets::padded padded = buckets.pad(inputs, check_tensors(given), run.stream);
  if (!padded.any()) return run_as_given(given, wanted, run, recorder);
  std::vector<named_input> larger;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const bool made = padded.made[i].type() != element_type::undefined;
    larger.emplace_back(inputs[i].name, made ? padded.made[i] : *find(given, inputs[i].name));
  }
  std::vector<tensor> results(wanted.size());
  std::vector<named_output> uncut;
  for (std::size_t i = 0; i < wanted.size(); ++i) uncut.emplace_back(wanted[i].name, results[i]);
  run_options on_host = run;
  on_host.outputs_on_device = false;
  run_as_given(larger, uncut, on_host, recorder);
  const auto space = run.outputs_on_device ? compiled->on().memory() : nullptr;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const tensor& made = results[i];
    fit_output(wanted[i], made.type(),
               buckets.cut_shape(padded, output_index(wanted[i].name), made), space);
    tensor& target = wanted[i].value;
    if (target.on_host()) {
      copy_common(made, target);
      continue;
    }
    tensor cut(made.type(), target.shape());
    copy_common(made, cut);
    target.copy_from(cut, run.stream);
  }
}

void session::impl::run_as_given(std::span<const named_input> given,
                                 std::span<const named_output> wanted, const run_options& run,
                                 run_recorder* recorder) const {
  if (const std::shared_ptr<const plan> p = plan_for(given, run)) {
    return run_planned(*p, given, wanted, run, recorder);
  }
  check_only_tensors();
  std::vector<item> items;
  for (const tensor* t : check_tensors(given)) items.push_back(on_host(*t, run.stream));
  std::vector<tensor*> into(outputs.size());
  for (const named_output& one : wanted) {
    if (one.value.on_host()) into[output_index(one.name)] = &one.value;
  }
  const auto space = run.outputs_on_device ? compiled->on().memory() : nullptr;
  std::vector<item> made = run_staged(items, run, recorder, into);
  for (const named_output& one : wanted) {
    shared_tensor result = std::move(made[output_index(one.name)].one);
    if (!result) {
      throw error(errc::invalid_argument, output_subject(one.name), "it holds no tensor");
    }
    if (result.get() == &one.value) continue;
    if (one.value.type() == element_type::undefined && space == nullptr) {
      one.value = take_out(std::move(result));
    } else {
      fit_output(one, result->type(), result->shape(), space);
      one.value.copy_from(*result, run.stream);
    }
  }
}

value_map session::impl::run_values(const value_map& given, const run_options& run,
                                    run_recorder* recorder) const {
  run.cancel.check("run of the model");
  if (!buckets.empty()) return run_padded_values(given, run, recorder);
  std::vector<item> items;
  std::vector<named_input> tensors;
  symbol_map symbols;
  for (const auto& [name, value] : given) {
    check_name(name);
    if (const tensor* t = std::get_if<tensor>(&value)) tensors.emplace_back(name, *t);
    if (const auto* list = std::get_if<tensor_sequence>(&value)) {
      for (const tensor& t : *list) tensors.emplace_back(name, t);
    }
  }
  check_places(tensors, {}, run);
  for (const value_info& info : inputs) {
    const auto found = given.find(info.name);
    items.push_back(
        check_value(info, found == given.end() ? nullptr : &found->second, symbols, run.stream));
  }
  std::vector<item> made = run_staged(items, run, recorder);
  items.clear();
  value_map results;
  for (std::size_t i = 0; i < made.size(); ++i) {
    any_value& result = results[outputs[i].name];
    if (made[i].one) {
      result = take_out(std::move(made[i].one));
    } else if (made[i].many) {
      tensor_sequence list;
      for (const shared_tensor& t : *made[i].many) list.push_back(t->clone());
      result = std::move(list);
    }
  }
  return results;
}

// With buckets a model has tensors only.
value_map session::impl::run_padded_values(const value_map& given, const run_options& run,
                                           run_recorder* recorder) const {
  symbol_map symbols;
  std::vector<named_input> tensors;
  for (const auto& [name, value] : given) {
    check_name(name);
    if (const tensor* t = std::get_if<tensor>(&value)) tensors.emplace_back(name, *t);
  }
  for (const value_info& info : inputs) {
    const auto found = given.find(info.name);
    check_value(info, found == given.end() ? nullptr : &found->second, symbols, run.stream);
  }
  value_map results;
  std::vector<named_output> wanted;
  for (const value_info& info : outputs) {
    const auto it = results.try_emplace(info.name, tensor()).first;
    wanted.emplace_back(it->first, std::get<tensor>(it->second));
  }
  run_into(tensors, wanted, run, recorder);
  return results;
}

tensor_map session::impl::run(std::span<const named_input> given, const run_options& run) const {
  tensor_map result;
  std::vector<named_output> wanted;
  wanted.reserve(outputs.size());
  for (const value_info& info : outputs) {
    const auto it = result.try_emplace(info.name).first;
    wanted.emplace_back(it->first, it->second);
  }
  recorded(run, [&](run_recorder* r) { run_into(given, wanted, run, r); });
  return result;
}

tensor_map session::impl::run(const tensor_map& given, const run_options& run) const {
  std::vector<named_input> list;
  list.reserve(given.size());
  for (const auto& [name, value] : given) list.emplace_back(name, value);
  return this->run(std::span<const named_input>(list), run);
}

void session::run_into(std::span<const named_input> inputs, std::span<const named_output> outputs,
                       const run_options& options) const {
  impl::recorded(options, [&](run_recorder* r) { impl_->run_into(inputs, outputs, options, r); });
}

value_map session::run_values(const value_map& inputs, const run_options& options) const {
  value_map results;
  impl::recorded(options,
                 [&](run_recorder* r) { results = impl_->run_values(inputs, options, r); });
  return results;
}

void session::run_into(std::initializer_list<named_input> inputs,
                       std::initializer_list<named_output> outputs,
                       const run_options& options) const {
  run_into(std::span(inputs.begin(), inputs.size()), std::span(outputs.begin(), outputs.size()),
           options);
}

tensor_map session::run(std::span<const named_input> inputs, const run_options& options) const {
  return impl_->run(inputs, options);
}

tensor_map session::run(std::initializer_list<named_input> inputs,
                        const run_options& options) const {
  return run(std::span(inputs.begin(), inputs.size()), options);
}

tensor_map session::run(const tensor_map& inputs, const run_options& options) const {
  return impl_->run(inputs, options);
}

std::future<tensor_map> session::run_async(tensor_map inputs, run_options options) const {
  std::promise<tensor_map> promise;
  std::future<tensor_map> future = promise.get_future();
  auto keep = [promise = std::move(promise)](std::exception_ptr failed,
                                             tensor_map outputs) mutable {
    if (failed) {
      promise.set_exception(std::move(failed));
    } else {
      promise.set_value(std::move(outputs));
    }
  };
  run_async(std::move(inputs), std::move(keep), std::move(options));
  return future;
}

void session::run_async(tensor_map inputs, run_handler handler, run_options options) const {
  impl_->async->add({std::move(inputs), std::move(handler), std::move(options)});
}

}  // namespace mizzen::inference
