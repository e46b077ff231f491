// Progress as lines of text.
#include <mizzen/pipelines/run.hpp>

#include <algorithm>
#include <cstdio>
#include <string>

namespace mizzen::pipelines {
namespace {

std::string seconds(std::chrono::nanoseconds duration) {
  char text[32];
  const double value = std::chrono::duration<double>(duration).count();
  std::snprintf(text, sizeof text, value < 1 ? "%.3f s" : "%.1f s", value);
  return text;
}

}  // namespace

observer progress_printer() {
  return [](const event& event) {
    const std::string place =
        "[" + std::to_string(event.finished) + "/" + std::to_string(event.known) + "] ";
    std::string line;
    switch (event.what) {
      case event::kind::task_progress:
        line = place + std::string(event.task) + ": " + std::string(event.text);
        break;
      case event::kind::task_retrying:
        line = place + std::string(event.task) + "  attempt " + std::to_string(event.attempt) +
               " failed, next in " + seconds(event.wait) + ": " + std::string(event.text);
        break;
      case event::kind::task_finished: {
        constexpr std::size_t width = 16;
        std::string name(event.task);
        name.resize(std::max(width, name.size() + 1), ' ');
        line = place + name + std::string(to_string(event.state));
        if (event.attempt > 0) line += "  " + seconds(event.duration);
        if (!event.text.empty()) line += "  " + std::string(event.text);
        break;
      }
      case event::kind::run_started:
      case event::kind::task_started:
      case event::kind::run_finished:
        return;
    }
    line += '\n';
    std::fwrite(line.data(), 1, line.size(), stderr);
  };
}

}  // namespace mizzen::pipelines
