// Traces: what one request went through, step after step, as MLflow 3 keeps and shows it.
//
//   auto root = client.start_trace("answer", {.experiment = "assistant"});
//   root.set_inputs({{"question", text}});
//   {
//     auto step = root.start_span("search", "RETRIEVER");
//     step.set_outputs(documents);
//   }  // ends here
//   root.set_outputs(answer);
#pragma once

#include <mizzen/core/json_fwd.hpp>
#include <mizzen/tracking/types.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mizzen::tracking {

namespace detail {
class backend;
}

// TraceState and SpanStatusCode of MLflow.
enum class trace_state { unspecified, in_progress, ok, error };
enum class span_status { unset, ok, error };

// MLflow's spelling: "STATE_UNSPECIFIED", "IN_PROGRESS", "OK", "ERROR"; "UNSET", "OK", "ERROR".
std::string_view to_string(trace_state state) noexcept;
std::string_view to_string(span_status status) noexcept;

// Values of attributes, inputs and outputs: JSON texts by their names. Read them with json::parse.
using json_texts = std::map<std::string, std::string>;

// Something that happened within a span, as an exception.
struct span_event {
  std::string name = {};
  std::int64_t time = 0;  // Unix nanoseconds
  json_texts attributes = {};
};

// A span elsewhere that this one has to do with.
struct span_link {
  std::string trace_id = {};  // "tr-…"
  std::string span_id = {};
  json_texts attributes = {};
};

// One step. Times are Unix nanoseconds.
struct span_record {
  std::string id = {};         // 16 hexadecimal digits
  std::string parent_id = {};  // empty: the root
  std::string name = {};
  std::string type = "UNKNOWN";  // "CHAIN", "LLM", "TOOL", "RETRIEVER" … (SpanType), or one's own
  span_status status = span_status::unset;
  std::string status_message = {};
  std::int64_t start_time = 0;
  std::optional<std::int64_t> end_time = {};  // absent: it goes on
  std::string inputs = {};                    // JSON text; empty: none
  std::string outputs = {};                   // JSON text; empty: none
  json_texts attributes = {};
  std::vector<span_event> events = {};
  std::vector<span_link> links = {};
};

// What is known of a trace without its spans (TraceInfoV3). Times are Unix milliseconds.
struct trace_info {
  std::string id = {};  // "tr-" and 32 hexadecimal digits
  std::string experiment_id = {};
  std::string name = {};  // the tag mlflow.traceName
  trace_state state = trace_state::unspecified;
  std::int64_t request_time = 0;
  std::optional<std::int64_t> duration = {};  // milliseconds
  std::string client_request_id = {};         // at most 50 characters
  // The start of the root's inputs and outputs, at most 1,000 characters. Left empty in what is
  // written: made from them.
  std::string request_preview = {};
  std::string response_preview = {};
  string_map metadata = {};  // fixed once written: mlflow.sourceRun, mlflow.trace.session …
  string_map tags = {};
};

struct trace {
  trace_info info = {};
  std::vector<span_record> spans = {};  // by start time
};

struct trace_options {
  std::string experiment = "Default";  // by name; made if need be
  std::string type = "UNKNOWN";        // of the root span
  std::string run_id = {};             // the run that it belongs to
  std::string session = {};            // the conversation that it belongs to
  std::string user = {};               // who asked
  std::string client_request_id = {};
  string_map metadata = {};
  string_map tags = {};
};

// Asks for traces; see run_query of search.hpp for the language. Attributes, also behind "trace.":
// request_id, status, client_request_id (all also IN, NOT IN), name, run_id; the numbers
// timestamp_ms, execution_time_ms, end_time_ms; trace.text (LIKE, ILIKE on stored spans). And
// tags.KEY, metadata.KEY (also IS NULL, IS NOT NULL); span.name, span.type and span.status, which
// one span must fulfil together (also IN, NOT IN).
//
// Answered by a tracking server itself, which takes more (RLIKE, span.attributes, feedback).
struct trace_query {
  std::vector<std::string> experiment_ids = {};  // empty: all active experiments
  std::string filter = {};
  // Attributes but text, tags.KEY, metadata.KEY; behind them timestamp_ms DESC, request_id ASC.
  std::vector<std::string> order_by = {};
  std::size_t max_results = 100;  // of a page: 1 to 500
  std::string page_token = {};
};

// A span that is under way: what client::start_trace gives is the root of its trace, start_span
// what happens within. Move-only; one that was moved from may only be destroyed or assigned to.
//
// A trace is held in memory and written when its root and all spans within have ended, by the
// thread that ends the last of them: in one transaction of an embedded store, in two calls of a
// server (spans, then the trace; both may be repeated). A process that is killed before leaves
// nothing of it.
//
// Ending: end() does it, and throws if the trace is then written and that fails. The destructor
// ends it as an error when an exception that was thrown after the span was made is unwinding the
// stack; it never throws: a trace that could not be written is reported to client_options::log, and
// lost. A child after fork() must not use it; its destructor does nothing there.
//
// Thread safety: a span belongs to one thread at a time, spans of one trace may be in several.
//
// Errors: invalid_argument (subject names the field), failed_precondition (it has ended), and those
// of the client for the write.
class span {
 public:
  span(span&& other) noexcept;
  span& operator=(span&& other) noexcept;  // ends the span that was held, as the destructor does
  ~span();

  const std::string& trace_id() const noexcept;  // "tr-…"
  const std::string& id() const noexcept;

  // type: see span_record.
  span start_span(std::string_view name, std::string_view type = "UNKNOWN");

  void set_inputs(const json& value);
  void set_outputs(const json& value);
  // Keys that begin with "mlflow." are MLflow's: "mlflow.chat.tokenUsage", "mlflow.llm.model" …
  void set_attribute(std::string_view key, const json& value);
  void add_event(std::string_view name);
  void add_event(std::string_view name, const json& attributes);  // an object
  // Refers to a span of another trace.
  void add_link(std::string_view trace_id, std::string_view span_id);
  void set_status(span_status status, std::string_view message = {});

  // Without a status it is OK.
  void end();

 private:
  friend class client;
  struct state;
  struct shared_trace;
  explicit span(std::unique_ptr<state> held) noexcept;
  static span start(std::shared_ptr<detail::backend> backend, std::string_view name,
                    const trace_options& options);
  std::unique_ptr<state> state_;
};

}  // namespace mizzen::tracking
