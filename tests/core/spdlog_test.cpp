#include <mizzen/core/spdlog.hpp>

#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>

#include <sstream>

namespace mizzen {
namespace {

TEST(Spdlog, GetsLevelMessageAndFields) {
  std::ostringstream text;
  auto target = std::make_shared<spdlog::logger>(
      "test", std::make_shared<spdlog::sinks::ostream_sink_mt>(text));
  target->set_pattern("%l|%v");
  const logger log = spdlog_logger(target, log_level::warning);
  log.log(log_level::info, "core", "below the level");
  log.log(log_level::warning, "core", "100 % {} heard", {{"status", 400}, {"model", "digits"}});
  log.log(log_level::error, "core", "failed");
  EXPECT_EQ(text.str(),
            "warning|core: 100 % {} heard status=400 model=\"digits\"\nerror|core: failed\n");
}

}  // namespace
}  // namespace mizzen
