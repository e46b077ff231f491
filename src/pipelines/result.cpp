#include <mizzen/core/error.hpp>
#include <mizzen/pipelines/run.hpp>

#include <algorithm>

namespace mizzen::pipelines {

std::string_view to_string(task_state state) noexcept {
  switch (state) {
    case task_state::succeeded:
      return "succeeded";
    case task_state::cached:
      return "cached";
    case task_state::failed:
      return "failed";
    case task_state::skipped:
      return "skipped";
    case task_state::cancelled:
      return "cancelled";
  }
  return "unknown";
}

std::string_view to_string(event::kind kind) noexcept {
  switch (kind) {
    case event::kind::run_started:
      return "run_started";
    case event::kind::task_started:
      return "task_started";
    case event::kind::task_progress:
      return "task_progress";
    case event::kind::task_retrying:
      return "task_retrying";
    case event::kind::task_finished:
      return "task_finished";
    case event::kind::run_finished:
      return "run_finished";
  }
  return "unknown";
}

bool run_result::ok() const noexcept {
  return !cancelled && count(task_state::failed) == 0 && count(task_state::cancelled) == 0;
}

std::size_t run_result::count(task_state state) const noexcept {
  return static_cast<std::size_t>(std::count_if(
      tasks.begin(), tasks.end(), [&](const task_result& each) { return each.state == state; }));
}

const run_result& run_result::check() const {
  for (const task_result& each : tasks) {
    if (each.state != task_state::failed) continue;
    errc code = errc::unknown;
    try {
      if (each.error) std::rethrow_exception(each.error);
    } catch (const error& cause) {
      code = cause.code();
    } catch (...) {  // a foreign exception has no code of ours
    }
    throw error(code, pipeline + "." + each.name,
                "the task failed after " + std::to_string(each.attempts) +
                    (each.attempts == 1 ? " attempt" : " attempts"),
                each.error);
  }
  if (!ok()) throw error(errc::cancelled, pipeline, "the run was cancelled");
  return *this;
}

const task_result& run_result::task(std::string_view name) const {
  std::string names;
  for (const task_result& each : tasks) {
    if (each.name == name) return each;
    names += (names.empty() ? "" : ", ") + each.name;
  }
  throw error(errc::not_found, name, "no task of this run has the name; it has: " + names);
}

artifact run_result::artifact_of(std::string_view name, const std::string& output) const {
  const task_result& from = task(name);
  const auto found = from.artifacts.find(output);
  if (found == from.artifacts.end()) {
    throw error(errc::not_found, from.name + "." + output,
                "there is no such output artifact; the task " + std::string(to_string(from.state)));
  }
  return found->second;
}

const json& run_result::parameter_of(std::string_view name, const std::string& output) const {
  const task_result& from = task(name);
  const auto found = from.parameters.find(output);
  if (found == from.parameters.end()) {
    throw error(
        errc::not_found, from.name + "." + output,
        "there is no such output parameter; the task " + std::string(to_string(from.state)));
  }
  return found->second;
}

}  // namespace mizzen::pipelines
