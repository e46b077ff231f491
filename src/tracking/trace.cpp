// The handles on spans that are under way.
#include "tracking/backend.hpp"
#include "tracking/trace_check.hpp"
#include "tracking/trace_content.hpp"
#include "tracking/validate.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/core/id.hpp>
#include <mizzen/core/json.hpp>
#include <mizzen/tracking/trace.hpp>

#include <algorithm>
#include <chrono>
#include <exception>
#include <mutex>
#include <utility>

namespace mizzen::tracking {
namespace {

// Spans are in order by their times, so the clock may not go backwards within a trace: the wall
// clock says when it began, the steady one how long ago that is.
class trace_clock {
 public:
  std::int64_t now() const {
    return began_ + nanoseconds(std::chrono::steady_clock::now().time_since_epoch()) - steady_;
  }

 private:
  template <typename Duration>
  static std::int64_t nanoseconds(Duration time) {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(time).count();
  }
  std::int64_t began_ = nanoseconds(std::chrono::system_clock::now().time_since_epoch());
  std::int64_t steady_ = nanoseconds(std::chrono::steady_clock::now().time_since_epoch());
};

std::string new_span_id() {
  // The half of 128 random bits; OpenTelemetry takes all zeros for none.
  std::string id = random_hex_id().substr(0, 16);
  if (id.find_first_not_of('0') == std::string::npos) id.back() = '1';
  return id;
}

std::string checked_text(std::string_view field, const json& value) {
  try {
    return detail::python_text(value);
  } catch (const json::exception&) {
    throw error(errc::invalid_argument, field, "it holds text that is not UTF-8");
  }
}

}  // namespace

// What the spans of one trace share.
struct span::shared_trace {
  explicit shared_trace(std::shared_ptr<detail::backend> owner) : backend(std::move(owner)) {}

  // Takes an ended span; the whole trace when it was the last.
  std::optional<trace> take(span_record ended) {
    const std::scoped_lock lock(mutex);
    if (ended.parent_id.empty()) {
      whole.info.state = ended.status == span_status::error ? trace_state::error : trace_state::ok;
      whole.info.duration = *ended.end_time / 1'000'000 - ended.start_time / 1'000'000;
    }
    whole.spans.push_back(std::move(ended));
    if (--open > 0) return std::nullopt;
    std::stable_sort(whole.spans.begin(), whole.spans.end(),
                     [](const auto& a, const auto& b) { return a.start_time < b.start_time; });
    return std::move(whole);
  }

  const std::shared_ptr<detail::backend> backend;
  const std::string id = "tr-" + random_hex_id();
  const trace_clock clock;
  std::mutex mutex;
  trace whole;           // under the mutex once there is a span
  std::size_t open = 0;  // spans that have not ended; under the mutex
};

struct span::state {
  state(std::shared_ptr<shared_trace> within, std::string_view name, std::string_view type,
        std::string_view parent)
      : shared(std::move(within)), exceptions(std::uncaught_exceptions()) {
    detail::check_text("span.name", name);
    detail::check_text("span.type", type, 500);
    record.id = new_span_id();
    record.parent_id = parent;
    record.name = name;
    record.type = type;
    record.start_time = shared->clock.now();
    const std::scoped_lock lock(shared->mutex);
    ++shared->open;
  }

  void require_open() const {
    if (!ended) return;
    throw error(errc::failed_precondition, "span '" + record.name + "'", "it has ended");
  }

  void end() {
    ended = true;
    if (record.status == span_status::unset) record.status = span_status::ok;
    record.end_time = shared->clock.now();
    span_record done = record;
    if (const auto whole = shared->take(std::move(done))) shared->backend->log_trace(*whole);
  }

  const std::shared_ptr<shared_trace> shared;
  const int exceptions;  // in flight when the handle was made
  span_record record;
  bool ended = false;
};

span::span(std::unique_ptr<state> held) noexcept : state_(std::move(held)) {}
span::span(span&& other) noexcept = default;

span& span::operator=(span&& other) noexcept {
  if (this != &other) span old(std::exchange(state_, std::move(other.state_)));
  return *this;
}

span::~span() {
  if (!state_ || state_->ended || !state_->shared->backend->is_own_process()) return;
  try {
    const bool unwinding = std::uncaught_exceptions() > state_->exceptions;
    if (unwinding && state_->record.status == span_status::unset) {
      state_->record.status = span_status::error;
      state_->record.status_message = "an exception left the span";
    }
    state_->end();
  } catch (...) {
    try {
      state_->shared->backend->log().log(
          log_level::error, "tracking", "a trace could not be written",
          {{"trace", trace_id()}, {"error", describe(std::current_exception())}});
    } catch (...) {  // NOLINT(bugprone-empty-catch): out of memory while reporting
    }
  }
}

span span::start(std::shared_ptr<detail::backend> backend, std::string_view name,
                 const trace_options& options) {
  auto shared = std::make_shared<shared_trace>(std::move(backend));
  trace_info& info = shared->whole.info;
  info.id = shared->id;
  info.name = name;
  info.client_request_id = options.client_request_id;
  info.metadata = options.metadata;
  info.tags = options.tags;
  const auto add = [&](const char* key, const std::string& value) {
    if (!value.empty()) info.metadata[key] = value;
  };
  add("mlflow.sourceRun", options.run_id);
  add("mlflow.trace.session", options.session);
  add("mlflow.trace.user", options.user);
  detail::check_trace(shared->whole);
  info.experiment_id = shared->backend->get_or_create_experiment(options.experiment, {}).id;
  auto held = std::make_unique<state>(shared, name, options.type, "");
  info.request_time = held->record.start_time / 1'000'000;
  return span(std::move(held));
}

const std::string& span::trace_id() const noexcept { return state_->shared->id; }
const std::string& span::id() const noexcept { return state_->record.id; }

span span::start_span(std::string_view name, std::string_view type) {
  state_->require_open();
  return span(std::make_unique<state>(state_->shared, name, type, state_->record.id));
}

void span::set_inputs(const json& value) {
  state_->require_open();
  state_->record.inputs = checked_text("span.inputs", value);
}

void span::set_outputs(const json& value) {
  state_->require_open();
  state_->record.outputs = checked_text("span.outputs", value);
}

void span::set_attribute(std::string_view key, const json& value) {
  state_->require_open();
  detail::check_attribute_key(key);
  state_->record.attributes[std::string(key)] = checked_text("span.attribute.value", value);
}

void span::add_event(std::string_view name) { add_event(name, json::object()); }

void span::add_event(std::string_view name, const json& attributes) {
  state_->require_open();
  detail::check_text("event.name", name);
  if (!attributes.is_object()) {
    throw error(errc::invalid_argument, "event.attributes", "it is not an object");
  }
  span_event event{.name = std::string(name), .time = state_->shared->clock.now()};
  for (const auto& [key, value] : attributes.items()) {
    detail::check_text("event.attributes.key", key);
    event.attributes[key] = checked_text("event.attributes", value);
  }
  state_->record.events.push_back(std::move(event));
}

void span::add_link(std::string_view trace_id, std::string_view span_id) {
  state_->require_open();
  detail::check_trace_id(trace_id);
  detail::check_span_id("link.span_id", span_id);
  state_->record.links.push_back({std::string(trace_id), std::string(span_id)});
}

void span::set_status(span_status status, std::string_view message) {
  state_->require_open();
  detail::check_text("span.status_message", message);
  state_->record.status = status;
  state_->record.status_message = message;
}

void span::end() {
  state_->require_open();
  if (!state_->shared->backend->is_own_process()) {
    throw error(errc::failed_precondition, "span '" + state_->record.name + "'",
                "it was started before fork()");
  }
  state_->end();
}

}  // namespace mizzen::tracking
