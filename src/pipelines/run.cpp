// The in-process runner: threads, clock and files around the scheduler.
#include "pipelines/cache.hpp"
#include "pipelines/files.hpp"
#include "pipelines/lineage.hpp"
#include "pipelines/scheduler.hpp"

#include <mizzen/core/cpu.hpp>
#include <mizzen/core/error.hpp>
#include <mizzen/core/id.hpp>
#include <mizzen/pipelines/run.hpp>

#include <algorithm>
#include <cmath>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <stop_token>
#include <system_error>
#include <thread>
#include <unordered_map>
#include <utility>

namespace mizzen::pipelines {
namespace detail {
namespace {

using clock = std::chrono::steady_clock;
namespace fs = std::filesystem;

constexpr std::string_view module = "pipelines";
constexpr std::string_view partial = ".partial";  // outputs of an attempt under way
constexpr std::string_view scratch = ".scratch";

// The arguments in normal form, defaults filled in.
json complete_arguments(const definition& definition, const json& arguments) {
  if (!arguments.is_object() && !arguments.is_null()) {
    throw error(errc::invalid_argument, "arguments", "an object of parameter values is needed");
  }
  const std::vector<pipeline_parameter>& parameters = definition.graph.parameters;
  for (const auto& [name, value] : arguments.items()) {
    const bool known = std::any_of(parameters.begin(), parameters.end(),
                                   [&](const auto& each) { return each.name == name; });
    if (known) continue;
    std::string names;
    for (const auto& each : parameters) names += (names.empty() ? "" : ", ") + each.name;
    throw error(errc::invalid_argument, "arguments." + name,
                names.empty() ? "the pipeline has no parameters"
                              : "the pipeline has no such parameter; it has: " + names);
  }
  json complete = json::object();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const pipeline_parameter& parameter = parameters[i];
    const std::string subject = "arguments." + parameter.name;
    if (const auto given = arguments.find(parameter.name); given != arguments.end()) {
      complete[parameter.name] = definition.checks[i](*given, subject);
    } else if (parameter.default_value) {
      complete[parameter.name] = *parameter.default_value;
    } else {
      throw error(errc::invalid_argument, subject, "the parameter has no default: give a value");
    }
  }
  return complete;
}

// Metadata is written as JSON, which would turn NaN into null.
void check_finite(const json& value, const std::string& subject) {
  if (value.is_number_float() && !std::isfinite(value.get<double>())) not_finite(subject);
  if (!value.is_structured()) return;
  for (const auto& [key, item] : value.items()) check_finite(item, subject + "." + key);
}

task_state public_state(unit_state state) {
  switch (state) {
    case unit_state::succeeded:
      return task_state::succeeded;
    case unit_state::cached:
      return task_state::cached;
    case unit_state::failed:
      return task_state::failed;
    case unit_state::skipped:
      return task_state::skipped;
    default:
      return task_state::cancelled;
  }
}

// What is kept of a task while the run goes on.
struct record {
  std::string label;
  std::string text;
  std::string cache_key;
  std::exception_ptr error;
  std::chrono::nanoseconds duration{0};
  stored_outputs outputs;
};

// One attempt: what the scheduler said, resolved to values.
struct attempt {
  scheduler::start start;
  std::string label;
  fs::path folder;  // of the task
  std::map<std::string, json> parameters;
  input_artifacts artifacts;
};

struct attempt_outcome {
  stored_outputs outputs;
  bool cached = false;
  std::string cache_key;
  std::exception_ptr error;
};

class runner {
 public:
  runner(const definition& definition, json arguments, const run_options& options)
      : definition_(definition),
        graph_(definition.graph),
        options_(options),
        root_(fs::absolute(options.root).lexically_normal()),
        run_id_(options.run_id.empty() ? random_hex_id() : options.run_id),
        folder_(root_ / graph_.name / run_id_),
        cache_(root_, options.log),
        digests_(options.cache || options.tracking != nullptr),
        lineage_(options.tracking, options.log),
        scheduler_(graph_, std::move(arguments),
                   {options.fail_fast, options.cancel.deadline.time_point()}) {}

  run_result run() {
    make_folder();
    const clock::time_point begin = clock::now();
    {
      const std::unique_lock lock(mutex_);
      push_event({.what = event::kind::run_started});
      note_changes();
    }
    deliver_events();
    {
      const std::stop_callback on_cancel(options_.cancel.token, [this] {
        stop_.request_stop();
        const std::lock_guard lock(mutex_);
        wake_.notify_all();
      });
      work_on_threads();
    }
    run_result result = make_result();
    result.duration = clock::now() - begin;
    push_event({.what = event::kind::run_finished,
                .text = result.ok() ? "ok" : "not ok",
                .duration = result.duration});
    deliver_events();
    options_.log.log(log_level::info, module, "run finished",
                     {{"pipeline", graph_.name},
                      {"run_id", run_id_},
                      {"ok", result.ok()},
                      {"cached", result.count(task_state::cached)},
                      {"tasks", result.tasks.size()}});
    return result;
  }

 private:
  void make_folder() const {
    create_folder(folder_.parent_path());
    std::error_code problem;
    if (fs::create_directory(folder_, problem)) return;
    if (problem) throw error(errc::unavailable, folder_.string(), problem.message());
    throw error(errc::already_exists, "run_options.run_id",
                "a run '" + run_id_ + "' of the pipeline exists already: choose another id");
  }

  // --- Threads ---

  void work_on_threads() {
    unsigned wanted = options_.parallelism > 0 ? options_.parallelism : available_cpus();
    const bool loops =
        std::any_of(graph_.groups.begin(), graph_.groups.end(),
                    [](const auto& each) { return each.what == group_spec::kind::loop; });
    if (!loops) {
      wanted = static_cast<unsigned>(
          std::min<std::size_t>(wanted, std::max<std::size_t>(graph_.tasks.size(), 1)));
    }
    std::vector<std::jthread> threads;
    threads.reserve(wanted);
    for (unsigned i = 1; i < wanted; ++i) {
      try {
        threads.emplace_back([this] { work(); });
      } catch (const std::system_error& problem) {
        options_.log.log(log_level::warning, module, "fewer threads than asked for",
                         {{"threads", i}, {"why", problem.what()}});
        break;
      }
    }
    work();
  }

  // One of the threads: takes tasks until all are done.
  void work() {
    std::unique_lock lock(mutex_);
    while (!scheduler_.done()) {
      const clock::time_point now = clock::now();
      if (!scheduler_.stopped() && options_.cancel.requested()) {
        stop_all(lock);
        continue;
      }
      if (const auto start = scheduler_.next(now)) {
        execute(lock, *start);
        continue;
      }
      clock::time_point until = scheduler_.wake_at().value_or(clock::time_point::max());
      if (!scheduler_.stopped()) {
        until = std::min(until, options_.cancel.deadline.time_point());
      }
      if (until == clock::time_point::max()) {
        wake_.wait(lock);
      } else {
        wake_.wait_until(lock, until);
      }
    }
    wake_.notify_all();
  }

  std::string stop_reason() const {
    return options_.cancel.token.stop_requested() ? "the run was cancelled"
                                                  : "the deadline of the run passed";
  }

  // The caller wants it to end: starts nothing more and asks the running steps to stop.
  void stop_all(std::unique_lock<std::mutex>& lock) {
    scheduler_.stop(stop_reason());
    after_change(lock);
  }

  // Tells everybody what the scheduler has decided.
  void after_change(std::unique_lock<std::mutex>& lock) {
    note_changes();
    cancelled_ = cancelled_ || scheduler_.stopped();
    const bool stop_steps = cancelled_ && !stop_.stop_requested();
    if (scheduler_.done() || stop_steps) wake_.notify_all();
    lock.unlock();
    if (stop_steps) stop_.request_stop();  // runs callbacks of steps, so not under the lock
    deliver_events();
    lock.lock();
  }

  void execute(std::unique_lock<std::mutex>& lock, scheduler::start start) {
    attempt work = prepare(start);
    push_event({.what = event::kind::task_started, .task = work.label, .attempt = start.attempt});
    const std::size_t others = std::min<std::size_t>(scheduler_.ready_count(), 16);
    lock.unlock();
    for (std::size_t i = 0; i < others; ++i) wake_.notify_one();
    deliver_events();

    const clock::time_point begin = clock::now();
    attempt_outcome outcome = attempt_task(work);
    const clock::time_point now = clock::now();

    lock.lock();
    record& kept = records_[start.unit];
    kept.duration += now - begin;
    kept.cache_key = outcome.cache_key;
    kept.error = outcome.error;
    if (!outcome.error) {
      json parameters = json::object();
      for (const auto& [name, value] : outcome.outputs.parameters) parameters[name] = value;
      kept.outputs = std::move(outcome.outputs);
      scheduler_.succeeded(start.unit, std::move(parameters), outcome.cached);
    } else if (scheduler_.stopped() || options_.cancel.requested()) {
      if (!scheduler_.stopped()) scheduler_.stop(stop_reason());
      scheduler_.cancelled(start.unit, describe(outcome.error));
    } else {
      scheduler_.failed(start.unit, now, describe(outcome.error));
    }
    after_change(lock);
  }

  // --- One attempt ---

  // Under the lock: the values of the inputs.
  attempt prepare(const scheduler::start& start) {
    const task_spec& task = graph_.tasks[start.task];
    const component_spec& component = graph_.components[task.component];
    attempt result{start, scheduler_.label(start.unit), folder_ / task.name, {}, {}};
    for (const std::size_t index : scheduler_.indices_of(start.unit)) {
      result.folder /= std::to_string(index);
    }
    for (const input_parameter& input : component.input_parameters) {
      const auto from = task.inputs.find(input.name);
      result.parameters[input.name] = from == task.inputs.end()
                                          ? input.default_value.value_or(json())
                                          : scheduler_.value(start.unit, from->second);
    }
    for (const input_artifact& input : component.input_artifacts) {
      const source& from = task.inputs.at(input.name);
      const auto* collected = std::get_if<collected_source>(&from);
      const std::string& output =
          collected ? collected->output : std::get<output_source>(from).output;
      auto& list = result.artifacts[input.name];
      for (const unit_id producer : scheduler_.producers(start.unit, from)) {
        list.push_back(records_.at(producer).outputs.artifacts.at(output));
      }
    }
    return result;
  }

  attempt_outcome attempt_task(const attempt& work) {
    attempt_outcome outcome;
    const task_spec& task = graph_.tasks[work.start.task];
    const component_spec& component = graph_.components[task.component];
    try {
      const cancellation cancel{
          stop_.get_token(),
          earlier(options_.cancel.deadline,
                  task.timeout.count() > 0 ? deadline::after(task.timeout) : deadline::never())};
      cancel.check(work.label);
      const bool cache = options_.cache && task.cache;
      if (cache) {
        outcome.cache_key =
            cache_key(graph_.name, component, task, work.parameters, work.artifacts);
        // A retry computes: the entry was not there a moment ago.
        if (work.start.attempt == 1) {
          if (auto found = cache_.find(outcome.cache_key, component, origin(work), cancel)) {
            outcome.outputs = std::move(*found);
            outcome.cached = true;
          }
        }
      }
      const std::string node = lineage_.step(
          graph_.name + "/" + work.label, outcome.cache_key.empty() ? run_id_ : outcome.cache_key,
          {{"run_id", run_id_}, {"component", component.name}}, work.artifacts);
      if (!outcome.cached) {
        step_values values = call_step(work, component, cancel, node);
        outcome.outputs = keep_outputs(work, component, std::move(values), cancel);
      }
      for (auto& [name, artifact] : outcome.outputs.artifacts) {
        artifact.name = graph_.name + "/" + work.label + "." + name;
      }
      lineage_.outputs(node, outcome.outputs);
      if (outcome.cached) return outcome;
      if (cache) add_to_cache(outcome, work);
    } catch (...) {
      outcome.error = std::current_exception();
      discard(work.folder / partial);
    }
    return outcome;
  }

  step_values call_step(const attempt& work, const component_spec& component,
                        const cancellation& cancel, const std::string& lineage_node) {
    step_values values;
    values.parameters = work.parameters;
    for (const auto& [name, list] : work.artifacts) {
      auto& into = values.artifacts[name];
      for (const stored_artifact& each : list) into.push_back(each.value);
    }
    const fs::path place = work.folder / partial;
    if (!component.output_artifacts.empty()) {
      discard(place);
      create_folder(place);
      for (const output_artifact& output : component.output_artifacts) {
        values.output_artifacts.emplace(output.name, artifact(place / output.name));
      }
    }
    struct cleaner {
      fs::path path;
      ~cleaner() { discard(path); }
    };
    const std::optional<cleaner> clean{
        std::in_place,
        cleaner{work.folder / (std::string(scratch) + std::to_string(work.start.attempt))}};
    context context({.pipeline = graph_.name,
                     .run_id = run_id_,
                     .task = work.label,
                     .attempt = work.start.attempt,
                     .cancel = cancel,
                     .log = options_.log,
                     .scratch = clean->path,
                     .progress = [this, &work](std::string_view text) { progress(work, text); },
                     .lineage_node = lineage_node});
    definition_.steps[work.start.task](values, context);
    return values;
  }

  // Checks that every output is there and moves the artifacts to their place.
  stored_outputs keep_outputs(const attempt& work, const component_spec& component,
                              step_values values, const cancellation& cancel) {
    const auto missing = [&](const std::string& output, std::string_view what) {
      throw error(errc::failed_precondition, work.label + "." + output,
                  "the step returned without " + std::string(what));
    };
    stored_outputs kept;
    for (const output_parameter& output : component.output_parameters) {
      const auto given = values.output_parameters.find(output.name);
      if (given == values.output_parameters.end()) missing(output.name, "assigning this output");
      kept.parameters.emplace(output.name, std::move(given->second));
    }
    if (component.output_artifacts.empty()) return kept;
    for (const output_artifact& output : component.output_artifacts) {
      artifact& written = values.output_artifacts.at(output.name);
      const bool has_content = fs::exists(fs::symlink_status(written.path()));
      if (!written.metadata.is_object()) {
        throw error(errc::invalid_argument, work.label + "." + output.name + ".metadata",
                    "metadata is a JSON object");
      }
      check_finite(written.metadata, work.label + "." + output.name + ".metadata");
      if (!has_content && !(output.content_optional && !written.metadata.empty())) {
        missing(output.name, output.content_optional ? "logging anything to this output"
                                                     : "writing this output to its path (io." +
                                                           output.name + "->path())");
      }
      kept.artifacts.emplace(
          output.name,
          stored_artifact{artifact(work.folder / output.name, std::move(written.metadata)),
                          output.type,
                          has_content && digests_ ? digest_of(written.path(), cancel) : ""});
    }
    for (const auto& [name, artifact] : kept.artifacts) {
      const fs::path from = work.folder / partial / name;
      if (fs::exists(fs::symlink_status(from))) move_whole(from, artifact.value.path());
    }
    discard(work.folder / partial);
    return kept;
  }

  cache_origin origin(const attempt& work) const { return {graph_.name, run_id_, work.label}; }

  // A result that cannot be kept is still a result.
  void add_to_cache(const attempt_outcome& outcome, const attempt& work) const {
    try {
      cache_.add(outcome.cache_key, outcome.outputs, origin(work));
    } catch (const std::exception& problem) {
      options_.log.log(log_level::warning, module, "result not added to the cache",
                       {{"task", work.label}, {"why", problem.what()}});
    }
  }

  // --- Events ---

  struct stored_event {
    event what;
    std::string task, text;
  };

  // Under the lock. Fills in what all events have.
  void push_event(event happened) {
    if (!options_.observer) return;
    happened.finished = scheduler_.finished_count();
    happened.known = scheduler_.known_count();
    stored_event stored{happened, std::string(happened.task), std::string(happened.text)};
    events_.push_back(std::move(stored));
  }

  void progress(const attempt& work, std::string_view text) {
    {
      const std::lock_guard lock(mutex_);
      push_event({.what = event::kind::task_progress,
                  .task = work.label,
                  .attempt = work.start.attempt,
                  .text = text});
    }
    deliver_events();
  }

  // Under the lock: turns the scheduler's changes into records, events and log lines.
  void note_changes() {
    for (scheduler::change& change : scheduler_.take_changes()) {
      record& kept = records_[change.unit];
      const int attempts = scheduler_.attempts_of(change.unit);
      const std::string label = scheduler_.label(change.unit);
      if (change.state == unit_state::backing_off) {
        push_event({.what = event::kind::task_retrying,
                    .task = label,
                    .attempt = attempts,
                    .text = change.text,
                    .wait = change.wait});
        options_.log.log(log_level::warning, module, "task will be tried again",
                         {{"task", label}, {"attempt", attempts}, {"why", change.text}});
        continue;
      }
      const task_state state = public_state(change.state);
      kept.text = std::move(change.text);
      push_event({.what = event::kind::task_finished,
                  .task = label,
                  .attempt = change.state == unit_state::cached ? 0 : attempts,
                  .state = state,
                  .text = kept.text,
                  .duration = kept.duration});
      const log_level level = state == task_state::failed ? log_level::error : log_level::info;
      if (options_.log.enabled(level)) {
        options_.log.log(level, module, "task finished",
                         {{"task", label}, {"state", to_string(state)}, {"text", kept.text}});
      }
    }
  }

  // Not under the lock: hands events to the observer in order, by one thread at a time.
  void deliver_events() {
    if (!options_.observer) return;
    std::unique_lock lock(mutex_);
    if (delivering_) return;  // whoever delivers takes ours too
    delivering_ = true;
    while (!events_.empty()) {
      stored_event next = std::move(events_.front());
      events_.pop_front();
      lock.unlock();
      next.what.pipeline = graph_.name;
      next.what.run_id = run_id_;
      next.what.task = next.task;
      next.what.text = next.text;
      try {
        options_.observer(next.what);
      } catch (...) {  // watching must not change what is watched
      }
      lock.lock();
    }
    delivering_ = false;
  }

  run_result make_result() {
    run_result result;
    result.pipeline = graph_.name;
    result.run_id = run_id_;
    result.folder = folder_;
    result.lineage_error = lineage_.problem();
    result.cancelled = cancelled_;
    for (const unit_id unit : scheduler_.all_tasks()) {
      record& kept = records_[unit];
      task_result task;
      task.name = scheduler_.label(unit);
      task.state = public_state(scheduler_.state_of(unit));
      task.attempts = task.state == task_state::cached ? 0 : scheduler_.attempts_of(unit);
      task.duration = kept.duration;
      task.text = std::move(kept.text);
      task.cache_key = std::move(kept.cache_key);
      // The error of an attempt that a later one mended is history.
      if (task.state == task_state::failed || task.state == task_state::cancelled) {
        task.error = kept.error;
      }
      task.parameters = std::move(kept.outputs.parameters);
      for (auto& [name, artifact] : kept.outputs.artifacts) {
        task.artifacts.emplace(name, std::move(artifact.value));
      }
      result.tasks.push_back(std::move(task));
    }
    return result;
  }

  const definition& definition_;
  const graph& graph_;
  const run_options& options_;
  const fs::path root_;
  const std::string run_id_;
  const fs::path folder_;
  const cache_store cache_;
  const bool digests_;  // of artifacts; needed by the cache and by lineage
  lineage_recorder lineage_;
  std::stop_source stop_;  // what the steps see

  std::mutex mutex_;  // guards what follows
  std::condition_variable wake_;
  scheduler scheduler_;
  std::unordered_map<unit_id, record> records_;
  std::deque<stored_event> events_;
  bool delivering_ = false;
  bool cancelled_ = false;
};

}  // namespace
}  // namespace detail

run_result run(const pipeline& pipeline, const json& arguments, const run_options& options) {
  const detail::definition& definition = detail::definition_of(pipeline);
  if (!options.run_id.empty()) detail::check_name(options.run_id, "run_options.run_id");
  if (options.root.empty()) {
    throw error(errc::invalid_argument, "run_options.root", "a folder is needed");
  }
  detail::runner runner(definition, detail::complete_arguments(definition, arguments), options);
  return runner.run();
}

}  // namespace mizzen::pipelines
