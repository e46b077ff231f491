// Sends Mizzen's records to an spdlog logger. Header only: an application that includes it links
// spdlog itself; Mizzen does not.
#pragma once

#include <mizzen/core/log.hpp>

#include <spdlog/logger.h>

#include <memory>
#include <string>

namespace mizzen {

// Fields are appended to the message as key=value. The level filter of both loggers applies.
inline logger spdlog_logger(std::shared_ptr<spdlog::logger> target,
                            log_level least = log_level::info) {
  return logger(
      [target = std::move(target)](const log_record& record) {
        std::string text;
        text.append(record.module).append(": ").append(record.message);
        for (const log_field& field : record.fields) {
          text.append(" ").append(field.key).append("=").append(
              field.value.dump(-1, ' ', false, json::error_handler_t::replace));
        }
        constexpr spdlog::level::level_enum levels[] = {spdlog::level::trace, spdlog::level::debug,
                                                        spdlog::level::info, spdlog::level::warn,
                                                        spdlog::level::err};
        target->log(levels[static_cast<int>(record.level)], "{}", text);
      },
      least);
}

}  // namespace mizzen
