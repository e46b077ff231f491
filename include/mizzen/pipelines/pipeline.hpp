// Building a pipeline: tasks made of components, wired by their handles.
#pragma once

#include <mizzen/pipelines/component.hpp>
#include <mizzen/pipelines/graph.hpp>
#include <mizzen/pipelines/io.hpp>

#include <chrono>
#include <concepts>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mizzen::pipelines {

class pipeline;

namespace detail {

// Reads an argument as its C++ type and writes it back, so that what is wrong is found before
// anything runs, and members left out get their defaults.
using parameter_check = json (*)(const json& value, std::string_view subject);

template <parameter_type T>
json normal_form(const json& value, std::string_view subject) {
  return to_value(from_value<T>(value, subject), subject);
}

// What grows while a pipeline is built; afterwards it does not change.
struct definition {
  pipelines::graph graph;
  std::vector<step_function> steps;       // by task_id
  std::vector<step_identity> identities;  // by component_id
  std::set<std::string> names;            // of tasks
  std::map<std::string, std::size_t> name_uses;
  std::vector<parameter_check> checks;   // by place in graph.parameters
  std::vector<group_id> open_groups{0};  // innermost last
};

task_id add_task(definition& definition, component_spec spec, step_identity identity,
                 step_function step, std::map<std::string, source> inputs, bool cache);
void name_task(definition& definition, task_id task, std::string name);
source declare_parameter(definition& definition, std::string name, parameter_kind kind,
                         std::optional<json> default_value, parameter_check check);
void open_condition(definition& definition, condition when);
group_id open_loop(definition& definition, source items, int parallelism);
void close_group(definition& definition) noexcept;
source collect(const source& from);
void check_retries(int retries, const backoff& backoff, const std::string& task);
void check_resources(double cpus, int gpus, std::string_view memory, const std::string& task);
void check_timeout(std::chrono::milliseconds timeout, const std::string& task);

// The definition of a pipeline, for runners.
const definition& definition_of(const pipeline& pipeline);

}  // namespace detail

// Any task, whatever its struct: what after() takes. A cheap copy; used only while building.
class task_handle {
 public:
  task_id id() const noexcept { return id_; }
  const std::string& name() const { return spec().name; }

 protected:
  task_handle(std::shared_ptr<detail::definition> definition, task_id id)
      : definition_(std::move(definition)), id_(id) {}
  task_spec& spec() const { return definition_->graph.tasks[id_]; }

  std::shared_ptr<detail::definition> definition_;
  task_id id_;
};

// A task of the pipeline: fit->model names its output `model`, to be wired or compared; the setters
// return the handle itself.
template <class Io>
class task : public task_handle {
 public:
  const Io* operator->() const noexcept { return io_.get(); }

  // Instead of the component's name; unique in the pipeline.
  task& named(std::string name) {
    detail::name_task(*definition_, id_, std::move(name));
    return *this;
  }

  // Runs after these too, though it takes nothing from them. In a loop, after all iterations.
  template <std::derived_from<task_handle>... Others>
  task& after(const Others&... others) {
    (spec().after.push_back(others.id()), ...);
    return *this;
  }

  // Tries again this many times after a failure: .retry(3, {.initial = 1s, .factor = 2}).
  task& retry(int retries, pipelines::backoff backoff = {}) {
    detail::check_retries(retries, backoff, name());
    spec().retry = {retries, backoff};
    return *this;
  }

  // Whether a result of an earlier run may be taken. On by default for functions and lambdas
  // without captures that have outputs; a task without outputs always runs.
  task& cache(bool enabled) {
    spec().cache = enabled;
    return *this;
  }

  // Change it when the code changes what it gives: part of the cache key.
  task& version(std::string version) {
    spec().version = std::move(version);
    return *this;
  }

  // Per attempt; the step sees it as the deadline of its context.
  task& timeout(std::chrono::milliseconds timeout) {
    detail::check_timeout(timeout, name());
    spec().timeout = timeout;
    return *this;
  }

  // Resource requests, for runners that place work on machines.
  task& cpus(double cpus) {
    detail::check_resources(cpus, 0, {}, name());
    spec().resources.cpus = cpus;
    return *this;
  }
  task& memory(std::string quantity) {
    detail::check_resources(0, 0, quantity, name());
    spec().resources.memory = std::move(quantity);
    return *this;
  }
  task& gpus(int count, std::string type = {}) {
    detail::check_resources(0, count, {}, name());
    spec().resources.gpus = count;
    spec().resources.gpu_type = std::move(type);
    return *this;
  }

 private:
  friend class pipeline_builder;
  task(std::shared_ptr<detail::definition> definition, task_id id, std::shared_ptr<const Io> io)
      : task_handle(std::move(definition), id), io_(std::move(io)) {}

  std::shared_ptr<const Io> io_;
};

struct loop_options {
  int parallelism = 0;  // iterations at once; 0: as many as the runner has threads
};

// What the function given to a pipeline works with. Lives only as long as that call.
class pipeline_builder {
 public:
  // A parameter of the pipeline; without a default whoever runs it must give it. Declared twice
  // with the same type and default, it is the same parameter.
  template <parameter_type T>
  reference<T> parameter(std::string name) {
    return reference<T>(detail::declare_parameter(*definition_, std::move(name), kind_of<T>(),
                                                  std::nullopt, &detail::normal_form<T>));
  }
  template <parameter_type T>
  reference<T> parameter(std::string name, const std::type_identity_t<T>& default_value) {
    json value = to_value(default_value, name);
    return reference<T>(detail::declare_parameter(*definition_, std::move(name), kind_of<T>(),
                                                  std::move(value), &detail::normal_form<T>));
  }

  // Adds a task: p.add(train, {.data = data->data, .rate = 0.05}). Outputs wired to inputs of
  // another type do not compile; a required input left out throws error(invalid_argument) when the
  // pipeline is complete. The task is named like its component; a second one "train-2" and so on.
  template <detail::step F>
  task<detail::io_of<F>> add(F&& function, detail::io_of<F> arguments) {
    detail::check_io<detail::io_of<F>>();
    using function_type = std::decay_t<F>;
    return add_step(detail::default_component_name<detail::io_of<F>>(), {},
                    function_type(std::forward<F>(function)), arguments);
  }
  template <class F>
  task<detail::io_of<F>> add(const component<F>& component, detail::io_of<F> arguments) {
    return add_step(component.name(), component.options(), component.function(), arguments);
  }

  // What `else` is to `if`.
  class branch {
   public:
    template <std::invocable Body>
    void otherwise(Body&& body) {
      builder_.when(!condition_, std::forward<Body>(body));
    }

   private:
    friend class pipeline_builder;
    branch(pipeline_builder& builder, condition when)
        : builder_(builder), condition_(std::move(when)) {}
    pipeline_builder& builder_;
    condition condition_;
  };

  // The tasks that body adds run only if the condition holds; otherwise they are skipped, and so is
  // what depends on them. dsl.If.
  template <std::invocable Body>
  branch when(condition when, Body&& body) {
    detail::open_condition(*definition_, when);
    const closer close{*definition_};
    std::forward<Body>(body)();
    return branch(*this, std::move(when));
  }
  // A boolean output or parameter is a condition.
  template <std::invocable Body>
  branch when(const reference<bool>& flag, Body&& body) {
    return when(flag == true, std::forward<Body>(body));
  }

  // The tasks that body adds run once per item of the list, side by side. body takes a
  // reference<T> to the item; what it returns (task handles, for collect) is handed on.
  // dsl.ParallelFor.
  //
  //   auto fit  = p.for_each(std::vector{0.1, 0.01}, [&](auto rate) { return p.add(train, {.rate =
  //   rate}); }); auto best = p.add(pick, {.scores = p.collect(fit->accuracy), .models =
  //   p.collect(fit->model)});
  template <class T, class Body>
  auto for_each(const std::vector<T>& items, Body&& body, loop_options options = {}) {
    return loop<T>(constant_source{to_value(items, "for_each")}, std::forward<Body>(body), options);
  }
  template <class T, class Body>
  auto for_each(const reference<std::vector<T>>& items, Body&& body, loop_options options = {}) {
    return loop<T>(items.from(), std::forward<Body>(body), options);
  }
  template <class T, class Body>
  auto for_each(const out<std::vector<T>>& items, Body&& body, loop_options options = {}) {
    return loop<T>(items.from(), std::forward<Body>(body), options);
  }

  // The outputs of a task of a loop, one per iteration in order, as a list; iterations skipped by a
  // condition are left out. dsl.Collected.
  template <class T>
  reference<std::vector<T>> collect(const out<T>& output) {
    return reference<std::vector<T>>(detail::collect(output.from()));
  }

 private:
  friend pipeline;
  explicit pipeline_builder(std::shared_ptr<detail::definition> definition)
      : definition_(std::move(definition)) {}

  struct closer {
    detail::definition& definition;
    ~closer() { detail::close_group(definition); }
  };

  template <class F, class Io>
  task<Io> add_step(std::string name, const component_options& options, F function,
                    const Io& arguments) {
    auto inputs = detail::bound_inputs(arguments, name);
    const bool captures = !std::is_pointer_v<F> && !std::is_empty_v<F>;
    auto identity = detail::identify(function);
    const task_id id = detail::add_task(
        *definition_,
        detail::describe_component<Io>(std::move(name), options.version, options.description),
        identity, detail::erase_step(std::move(function)), std::move(inputs), !captures);
    auto io = std::make_shared<Io>(arguments);
    boost::mp11::mp_for_each<detail::members_of<Io>>([&](auto member) {
      using type = std::remove_cvref_t<decltype((*io).*member.pointer)>;
      if constexpr (detail::member_of<type>::output) {
        detail::access::wire((*io).*member.pointer, output_source{id, member.name});
      }
    });
    return task<Io>(definition_, id, std::move(io));
  }

  template <class T, class Body>
  auto loop(source items, Body&& body, loop_options options) {
    static_assert(std::invocable<Body, reference<T>>,
                  "the body of for_each takes the item: [&](mizzen::reference<T> item) { … }");
    const group_id group = detail::open_loop(*definition_, std::move(items), options.parallelism);
    const closer close{*definition_};
    return std::forward<Body>(body)(reference<T>(item_source{group, {}}));
  }

  std::shared_ptr<detail::definition> definition_;
};

// A complete, checked pipeline: its graph, and the functions of its tasks. Immutable; a cheap copy;
// may be run from several threads at once.
class pipeline {
 public:
  // Calls build and validates what it made. Throws what build throws, and error(invalid_argument)
  // naming "task.field" for what cannot run. The name becomes a folder: letters, digits, '-', '_',
  // '.' and ' ', starting with a letter or digit.
  pipeline(std::string name, const std::function<void(pipeline_builder&)>& build);

  const std::string& name() const noexcept { return definition_->graph.name; }
  const pipelines::graph& graph() const noexcept { return definition_->graph; }

 private:
  friend const detail::definition& detail::definition_of(const pipeline&);
  std::shared_ptr<const detail::definition> definition_;
};

}  // namespace mizzen::pipelines
