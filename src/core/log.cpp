#include <mizzen/core/log.hpp>
#include <mizzen/core/time.hpp>

#include <cstdio>

namespace mizzen {

std::string_view to_string(log_level level) noexcept {
  switch (level) {
    case log_level::trace:
      return "trace";
    case log_level::debug:
      return "debug";
    case log_level::info:
      return "info";
    case log_level::warning:
      return "warning";
    case log_level::error:
      return "error";
  }
  return "info";
}

logger::logger(log_sink sink, log_level least)
    : sink_(sink ? std::make_shared<const log_sink>(std::move(sink)) : nullptr), least_(least) {}

void logger::log(log_level level, std::string_view module, std::string_view message,
                 std::initializer_list<log_field> fields) const noexcept {
  if (!enabled(level)) return;
  try {
    (*sink_)(log_record{level, module, message, {fields.begin(), fields.size()}});
  } catch (...) {  // NOLINT(bugprone-empty-catch): logging must not break what is being logged
  }
}

logger stderr_logger(log_level least) {
  return logger(
      [](const log_record& record) {
        std::string line = format_rfc3339(std::chrono::system_clock::now());
        line.append(" ").append(to_string(record.level)).append(" ").append(record.module);
        line.append(": ").append(record.message);
        for (const log_field& field : record.fields) {
          line.append(" ").append(field.key).append("=");
          line += field.value.dump(-1, ' ', false, json::error_handler_t::replace);
        }
        line += '\n';
        // One write per record keeps the lines of several threads whole.
        std::fwrite(line.data(), 1, line.size(), stderr);
      },
      least);
}

}  // namespace mizzen
