#include "inference/graph/import.hpp"
#include "inference/passes/passes.hpp"
#include "inference/runtime/plan.hpp"

#include <mizzen/core/checked.hpp>
#include <mizzen/inference/session.hpp>

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fcntl.h>
#include <mutex>
#include <set>
#include <unistd.h>
#include <utility>

namespace mizzen::inference {
namespace {

using namespace detail;

std::string input_subject(std::string_view name) { return "input '" + std::string(name) + "'"; }
std::string output_subject(std::string_view name) { return "output '" + std::string(name) + "'"; }

std::string comma(std::string list, std::string_view next) {
  if (!list.empty()) list += ", ";
  return list.append(next);
}

// The whole file; it is read, not mapped, because a mapped file that shrinks kills the process.
std::vector<std::byte> read_file(const std::filesystem::path& path, std::size_t limit) {
  const std::string subject = "model file '" + path.string() + "'";
  const auto fail = [&](int code) {
    const errc kind = code == ENOENT || code == ENOTDIR ? errc::not_found
                      : code == EACCES                  ? errc::permission_denied
                                                        : errc::unavailable;
    throw error(kind, subject, std::strerror(code));
  };
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail(errno);
  const std::unique_ptr<const int, void (*)(const int*)> closer(&fd,
                                                                [](const int* p) { ::close(*p); });
  struct stat status{};
  if (::fstat(fd, &status) != 0) fail(errno);
  if (!S_ISREG(status.st_mode)) {
    throw error(errc::invalid_argument, subject, "it is not a regular file");
  }
  const auto size = static_cast<std::size_t>(status.st_size);
  if (size > limit) {
    throw error(errc::resource_exhausted, subject,
                "it is larger than the memory limit: raise session_options.memory_limit");
  }
  std::vector<std::byte> data(size);
  std::size_t done = 0;
  while (done < size) {
    const ssize_t got = ::read(fd, data.data() + done, size - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail(errno);
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  data.resize(done);
  return data;
}

void check_supported(const graph& g, const device& on) {
  constexpr std::size_t most_named = 50;
  std::string list;
  std::size_t count = 0;
  for (const node& n : g.nodes) {
    if (on.supports(n) && find_shape_rule(n.domain, n.op_type) != nullptr) continue;
    if (++count <= most_named) {
      list = comma(std::move(list), (n.domain.empty() ? "" : n.domain + ".") + n.op_type +
                                        " version " + std::to_string(n.opset) +
                                        (n.name.empty() ? "" : " (node '" + n.name + "')"));
    }
  }
  if (count == 0) return;
  if (count > most_named) list += " and " + std::to_string(count - most_named) + " more";
  throw error(errc::unimplemented, "model.graph.node",
              "the device '" + on.name() + "' lacks " + std::to_string(count) +
                  " of its operators: " + list);
}

void check_no_strings(const graph& g) {
  const auto check = [&](value_id id) {
    if (id != no_value && g.values[id].type == element_type::string) {
      throw error(errc::unimplemented, "value '" + g.values[id].name + "'",
                  "strings are not computed with");
    }
  };
  for (const value_id v : g.inputs) check(v);
  for (const value_id v : g.outputs) check(v);
  for (const node& n : g.nodes) {
    for (const value_id v : n.inputs) check(v);
    for (const value_id v : n.outputs) check(v);
  }
}

// What inference found out, in the words of the declaration where it has some.
value_info merged(value_info declared, const graph& g, const value& v) {
  declared.type = v.type;
  if (!v.shape) return declared;
  if (!declared.shape || declared.shape->size() != v.shape->size()) {
    declared.shape.emplace(v.shape->size());
  }
  for (std::size_t i = 0; i < v.shape->size(); ++i) {
    const std::int64_t d = (*v.shape)[i];
    if (d >= 0) {
      (*declared.shape)[i] = d;
    } else if (d != unknown_dim && (*declared.shape)[i].symbol.empty() &&
               !(*declared.shape)[i].fixed()) {
      (*declared.shape)[i] = g.dimension_text(d);
    }
  }
  return declared;
}

}  // namespace

std::string to_string(const value_info& info) {
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

struct session::impl {
  session_options options;
  std::vector<value_info> inputs, outputs;
  std::map<std::string, std::string> metadata;
  program compiled;

  // Most recently used first.
  mutable std::mutex mutex;
  mutable std::vector<std::shared_ptr<const plan>> plans;

  static std::unique_ptr<impl> load(std::span<const std::byte> model,
                                    const session_options& options,
                                    std::optional<std::filesystem::path> folder);

  const tensor* find(std::span<const named_input> given, std::string_view name) const {
    for (const named_input& i : given) {
      if (i.name == name) return &i.value;
    }
    return nullptr;
  }

  void check_names(std::span<const named_input> given) const;
  std::vector<shape_type> check_shapes(std::span<const named_input> given) const;
  std::shared_ptr<const plan> make_plan(std::span<const named_input> given) const;
  std::shared_ptr<const plan> plan_for(std::span<const named_input> given) const;
  bool fits(const plan& p, std::span<const named_input> given) const;
};

std::unique_ptr<session::impl> session::impl::load(std::span<const std::byte> model,
                                                   const session_options& options,
                                                   std::optional<std::filesystem::path> folder) {
  const auto start = std::chrono::steady_clock::now();
  auto state = std::make_unique<impl>();
  state->options = options;
  std::shared_ptr<device> on = make_device(options.device, options.threads);
  tensor_source source{std::move(folder), options.memory_limit};
  imported_model imported = import_model(parse_model(model), source);
  check_supported(imported.g, *on);
  infer_graph(imported.g);
  check_no_strings(imported.g);
  const std::size_t nodes_before = imported.g.nodes.size();
  if (options.optimize) {
    pass_context context{*on, options.log, source.budget};
    run_passes(imported.g, context);
  }
  state->inputs = std::move(imported.inputs);
  for (std::size_t i = 0; i < imported.g.outputs.size(); ++i) {
    state->outputs.push_back(merged(std::move(imported.outputs[i]), imported.g,
                                    imported.g.values[imported.g.outputs[i]]));
  }
  state->metadata = std::move(imported.metadata);
  state->compiled = compile_program(std::move(imported.g), std::move(on));
  if (options.log.enabled(log_level::info)) {
    const auto took = std::chrono::steady_clock::now() - start;
    options.log.log(log_level::info, "inference", "model loaded",
                    {{"nodes", nodes_before},
                     {"nodes_after_passes", state->compiled.g.nodes.size()},
                     {"device", state->compiled.on->name()},
                     {"ms", std::chrono::duration<double, std::milli>(took).count()}});
  }
  return state;
}

void session::impl::check_names(std::span<const named_input> given) const {
  for (std::size_t i = 0; i < given.size(); ++i) {
    const auto declared = std::find_if(inputs.begin(), inputs.end(), [&](const value_info& info) {
      return info.name == given[i].name;
    });
    if (declared == inputs.end()) {
      std::string names;
      for (const value_info& info : inputs) names = comma(std::move(names), "'" + info.name + "'");
      throw error(errc::invalid_argument, input_subject(given[i].name),
                  "the model has no such input; it has " + (names.empty() ? "none" : names));
    }
    for (std::size_t j = 0; j < i; ++j) {
      if (given[j].name == given[i].name) {
        throw error(errc::invalid_argument, input_subject(given[i].name), "it is given twice");
      }
    }
  }
}

std::vector<shape_type> session::impl::check_shapes(std::span<const named_input> given) const {
  check_names(given);
  std::vector<shape_type> shapes;
  std::map<std::string_view, std::pair<std::int64_t, std::string_view>> symbols;
  for (const value_info& info : inputs) {
    const tensor* t = find(given, info.name);
    if (t == nullptr) {
      throw error(errc::invalid_argument, input_subject(info.name),
                  "it is missing; the model takes " + to_string(info));
    }
    if (t->type() != info.type) {
      throw error(errc::invalid_argument, input_subject(info.name),
                  "it is " + std::string(to_string(t->type())) + " where the model takes " +
                      to_string(info));
    }
    const auto wrong_shape = [&](const std::string& why) {
      throw error(errc::invalid_argument, input_subject(info.name),
                  "shape " + to_string(t->shape()) + " where the model takes " + to_string(info) +
                      ": " + why);
    };
    const std::size_t rank = t->rank();
    if (info.shape && info.shape->size() != rank) wrong_shape("the rank differs");
    if (rank > max_rank) wrong_shape("too many dimensions");
    for (std::size_t i = 0; i < rank; ++i) {
      const std::int64_t d = t->shape()[i];
      if (d > max_dimension) wrong_shape("too large");
      if (!info.shape) continue;
      const dimension& declared = (*info.shape)[i];
      if (declared.fixed() && declared.value != d) {
        wrong_shape("dimension " + std::to_string(i) + " must be " +
                    std::to_string(declared.value));
      }
      if (declared.symbol.empty()) continue;
      const auto [it, is_new] = symbols.try_emplace(declared.symbol, d, info.name);
      if (!is_new && it->second.first != d) {
        wrong_shape("'" + declared.symbol + "' is " + std::to_string(it->second.first) +
                    " in input '" + std::string(it->second.second) + "'");
      }
    }
    shapes.push_back(t->shape());
  }
  return shapes;
}

bool session::impl::fits(const plan& p, std::span<const named_input> given) const {
  if (given.size() != inputs.size()) return false;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const tensor* t = find(given, inputs[i].name);
    if (t == nullptr || t->type() != inputs[i].type || t->shape() != p.input_shapes()[i]) {
      return false;
    }
    if (const tensor* pinned = p.pinned(i);
        pinned != nullptr && !std::ranges::equal(pinned->bytes(), t->bytes())) {
      return false;
    }
  }
  return true;
}

std::shared_ptr<const plan> session::impl::make_plan(std::span<const named_input> given) const {
  std::vector<shape_type> shapes = check_shapes(given);
  try {
    return std::make_shared<const plan>(compiled, shapes, options.memory_limit);
  } catch (const data_dependent_shape&) {
    // A shape that is itself an input: the plan then holds for these values of the small inputs.
    constexpr std::size_t most_elements = 64;
    std::vector<tensor> pinned;
    for (const value_info& info : inputs) {
      const tensor& t = *find(given, info.name);
      pinned.push_back(t.size() <= most_elements ? t.clone() : tensor());
    }
    return std::make_shared<const plan>(compiled, std::move(shapes), options.memory_limit,
                                        std::move(pinned));
  }
}

std::shared_ptr<const plan> session::impl::plan_for(std::span<const named_input> given) const {
  {
    const std::lock_guard lock(mutex);
    for (std::size_t i = 0; i < plans.size(); ++i) {
      if (!fits(*plans[i], given)) continue;
      std::rotate(plans.begin(), plans.begin() + static_cast<std::ptrdiff_t>(i),
                  plans.begin() + static_cast<std::ptrdiff_t>(i) + 1);
      return plans.front();
    }
  }
  // Made outside the lock: runs with known shapes need not wait. Two threads may make the same
  // plan; the second one is then used once and dropped from the end of the list.
  auto made = make_plan(given);
  if (options.cached_plans != 0) {
    const std::lock_guard lock(mutex);
    plans.insert(plans.begin(), made);
    if (plans.size() > options.cached_plans) plans.pop_back();
  }
  return made;
}

session::session(std::unique_ptr<impl> state) noexcept : impl_(std::move(state)) {}
session::session(session&&) noexcept = default;
session& session::operator=(session&&) noexcept = default;
session::~session() = default;

session session::load(const std::filesystem::path& path, const session_options& options) {
  const std::vector<std::byte> model = read_file(path, options.memory_limit);
  return session(impl::load(model, options, path.parent_path()));
}

session session::load(std::span<const std::byte> model, const session_options& options) {
  return session(impl::load(model, options, std::nullopt));
}

const std::vector<value_info>& session::inputs() const noexcept { return impl_->inputs; }
const std::vector<value_info>& session::outputs() const noexcept { return impl_->outputs; }
const std::map<std::string, std::string>& session::metadata() const noexcept {
  return impl_->metadata;
}
std::string session::dump_graph() const { return to_text(impl_->compiled.g); }

namespace {

// Returns the workspace also when the run throws.
class borrowed_workspace {
 public:
  explicit borrowed_workspace(const plan& p) : plan_(p), workspace_(p.acquire()) {}
  borrowed_workspace(const borrowed_workspace&) = delete;
  borrowed_workspace& operator=(const borrowed_workspace&) = delete;
  ~borrowed_workspace() { plan_.release(std::move(workspace_)); }
  workspace& operator*() const noexcept { return *workspace_; }
  workspace* operator->() const noexcept { return workspace_.get(); }

 private:
  const plan& plan_;
  std::unique_ptr<workspace> workspace_;
};

}  // namespace

void session::run_into(std::span<const named_input> inputs, std::span<const named_output> outputs,
                       const run_options& options) const {
  options.cancel.check("run of the model");
  const std::shared_ptr<const plan> p = impl_->plan_for(inputs);
  const borrowed_workspace w(*p);
  for (std::size_t i = 0; i < impl_->inputs.size(); ++i) {
    w->inputs[i] = impl_->find(inputs, impl_->inputs[i].name);
  }
  std::fill(w->outputs.begin(), w->outputs.end(), nullptr);
  for (const named_output& wanted : outputs) {
    std::size_t i = 0;
    while (i < impl_->outputs.size() && impl_->outputs[i].name != wanted.name) ++i;
    if (i == impl_->outputs.size()) {
      throw error(errc::invalid_argument, output_subject(wanted.name),
                  "the model has no such output");
    }
    if (w->outputs[i] != nullptr) {
      throw error(errc::invalid_argument, output_subject(wanted.name), "it is asked for twice");
    }
    if (wanted.value.type() == element_type::undefined) {
      wanted.value = tensor(p->output_type(i), p->output_shape(i));
    }
    if (wanted.value.type() != p->output_type(i) || wanted.value.shape() != p->output_shape(i)) {
      throw error(errc::invalid_argument, output_subject(wanted.name),
                  std::string(to_string(wanted.value.type())) + to_string(wanted.value.shape()) +
                      " is given where the model makes " +
                      std::string(to_string(p->output_type(i))) + to_string(p->output_shape(i)));
    }
    if (wanted.value.read_only()) {
      throw error(errc::invalid_argument, output_subject(wanted.name), "the tensor is read-only");
    }
    w->outputs[i] = &wanted.value;
  }
  p->run(*w, options.cancel);
}

void session::run_into(std::initializer_list<named_input> inputs,
                       std::initializer_list<named_output> outputs,
                       const run_options& options) const {
  run_into(std::span(inputs.begin(), inputs.size()), std::span(outputs.begin(), outputs.size()),
           options);
}

tensor_map session::run(std::span<const named_input> inputs, const run_options& options) const {
  tensor_map result;
  std::vector<named_output> wanted;
  wanted.reserve(impl_->outputs.size());
  for (const value_info& info : impl_->outputs) {
    const auto it = result.try_emplace(info.name).first;
    wanted.emplace_back(it->first, it->second);
  }
  run_into(inputs, wanted, options);
  return result;
}

tensor_map session::run(std::initializer_list<named_input> inputs,
                        const run_options& options) const {
  return run(std::span(inputs.begin(), inputs.size()), options);
}

tensor_map session::run(const tensor_map& inputs, const run_options& options) const {
  std::vector<named_input> given;
  given.reserve(inputs.size());
  for (const auto& [name, value] : inputs) given.emplace_back(name, value);
  return run(std::span<const named_input>(given), options);
}

}  // namespace mizzen::inference
