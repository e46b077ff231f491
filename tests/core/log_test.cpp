#include <mizzen/core/log.hpp>

#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <vector>

namespace mizzen {
namespace {

TEST(Log, DefaultIsSilent) {
  const logger silent;
  EXPECT_FALSE(silent.enabled(log_level::error));
  silent.log(log_level::error, "core", "nobody hears this");
}

TEST(Log, SinkGetsRecordsAtOrAboveTheLevel) {
  std::vector<std::string> seen;
  const logger log(
      [&](const log_record& record) {
        std::string line(record.module);
        line += "/";
        line += record.message;
        for (const auto& field : record.fields)
          line += " " + std::string(field.key) + "=" + field.value.dump();
        seen.push_back(line);
      },
      log_level::warning);
  log.log(log_level::info, "core", "too quiet");
  log.log(log_level::warning, "core", "heard", {{"status", 400}, {"model", "digits"}});
  EXPECT_EQ(seen, std::vector<std::string>{"core/heard status=400 model=\"digits\""});
}

TEST(Log, AThrowingSinkBreaksNothing) {
  const logger log([](const log_record&) { throw std::runtime_error("sink"); });
  log.log(log_level::error, "core", "still here");
}

}  // namespace
}  // namespace mizzen
