// The logging hook: Mizzen writes records, the application decides where they go.
#pragma once

#include <mizzen/core/json.hpp>

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <span>
#include <string_view>
#include <utility>

namespace mizzen {

enum class log_level { trace, debug, info, warning, error };

std::string_view to_string(log_level level) noexcept;

// One structured field of a record. The value is JSON, so that a sink can keep its type.
struct log_field {
  std::string_view key;
  json value;
};

// One record; the views live only as long as the call of the sink.
struct log_record {
  log_level level;
  std::string_view module;   // "inference", "serving" …
  std::string_view message;  // constant text, in words
  std::span<const log_field> fields;
};

// Where records go. Called from any thread, possibly at once from several; an exception that it
// throws is swallowed, because logging must not break what is being logged.
using log_sink = std::function<void(const log_record&)>;

// A handle on a sink, passed to the options of whatever logs; there is no global logger. The
// default one is silent and costs a branch. Cheap to copy, thread safe. With spdlog, see
// core/spdlog.hpp.
class logger {
 public:
  logger() noexcept = default;
  explicit logger(log_sink sink, log_level least = log_level::info);

  bool enabled(log_level level) const noexcept { return sink_ && level >= least_; }

  // Writes a record if its level is enabled; never throws.
  void log(log_level level, std::string_view module, std::string_view message,
           std::initializer_list<log_field> fields = {}) const noexcept;

 private:
  std::shared_ptr<const log_sink> sink_;
  log_level least_ = log_level::info;
};

// A logger that writes one line per record to standard error:
// "2026-11-22T08:43:00.123Z warning serving: request refused model=\"digits\" status=400".
logger stderr_logger(log_level least = log_level::info);

}  // namespace mizzen
