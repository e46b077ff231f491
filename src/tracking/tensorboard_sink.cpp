// Event files for TensorBoard: one for each run and log, <folder>/<run id>/events.out.tfevents.….
//
// After the events of a part the file has a mark with the part's end. When a part is handed over
// again, by this process or one that adopted the log, what is after the last mark is cut off and
// what is before its position is left out: each point is there once, whenever the process died.
#include "tracking/event_file.hpp"
#include "tracking/files.hpp"
#include "tracking/sink.hpp"

#include <mizzen/core/json.hpp>

#include <sys/stat.h>

#include <cerrno>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace mizzen::tracking::detail {
namespace {

namespace fs = std::filesystem;

struct progress {
  std::uint64_t position = 0;  // of the log: what is before it is in the file
  std::uint64_t size = 0;      // of the file up to its last mark
};

progress last_mark(const fs::path& path, std::string_view log) {
  progress found;
  std::ifstream file(path, std::ios::binary);
  std::uint64_t at = 0;
  std::string head(event_frame_head, '\0');
  std::string message;
  while (file.read(head.data(), static_cast<std::streamsize>(head.size()))) {
    const auto length = read_event_length(head);
    if (!length || *length > event_message_size) break;
    message.resize(*length + event_frame_tail);
    if (!file.read(message.data(), static_cast<std::streamsize>(message.size()))) break;
    const std::string_view event(message.data(), *length);
    if (!check_event(event, std::string_view(message).substr(*length))) break;
    at += event_frame_head + message.size();
    if (const auto position = read_mark_event(event, log)) found = {*position, at};
  }
  return found;
}

class tensorboard_sink final : public metric_sink {
 public:
  delivery write(std::span<const log_entry> entries, const log_part& part) override {
    const fs::path folder = tensorboard_folder(part.about);
    std::map<std::string_view, std::string> events;
    for (const log_entry& entry : entries) {
      if (entry.kind != wal_kind::point) continue;
      progress& its = progress_of(folder, entry.run, part.log);
      if (entry.at < its.position) continue;
      const double seconds = static_cast<double>(entry.timestamp) / 1000;
      std::string& buffer = events[entry.run];
      if (buffer.empty() && its.size == 0) append_version_event(buffer, seconds);
      append_scalar_event(buffer, seconds, entry.step, entry.key, static_cast<float>(entry.value));
    }
    for (auto& [run, buffer] : events) {
      append_mark_event(buffer, 0, part.log, part.end);
      append(folder, run, part, buffer);
    }
    return delivery::done;
  }

 private:
  static fs::path file_of(const fs::path& folder, std::string_view run, std::string_view log) {
    if (run.empty() || run.find('/') != std::string_view::npos || run.starts_with(".")) {
      throw error(errc::invalid_argument, "run '" + std::string(run) + "'",
                  "it cannot be the name of a folder");
    }
    return folder / run / ("events.out.tfevents.mizzen." + std::string(log));
  }

  progress& progress_of(const fs::path& folder, std::string_view run, std::string_view log) {
    const auto key = std::pair(std::string(log), std::string(run));
    const auto there = progress_.find(key);
    if (there != progress_.end()) return there->second;
    return progress_[key] = last_mark(file_of(folder, run, log), log);
  }

  void append(const fs::path& folder, std::string_view run, const log_part& part,
              std::string_view events) {
    const fs::path path = file_of(folder, run, part.log);
    const std::string subject = "event file '" + path.string() + "'";
    progress& its = progress_of(folder, run, part.log);
    std::error_code failed;
    fs::create_directories(path.parent_path(), failed);
    if (failed) throw_errno(failed.value(), subject, "its folder cannot be made");
    const descriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    if (!file) throw_errno(errno, subject, "it cannot be opened");
    const auto size = static_cast<off_t>(its.size);
    if (::ftruncate(file.get(), size) != 0) throw_errno(errno, subject, "it cannot be cut back");
    if (const int code = write_all_at(file.get(), events, its.size); code != 0) {
      throw_errno(code, subject, "it cannot be written");
    }
    its = {part.end, its.size + events.size()};
  }

  std::map<std::pair<std::string, std::string>, progress> progress_;  // of log and run
};

}  // namespace

std::string tensorboard_folder(std::string_view about) {
  const json parsed = json::parse(about, nullptr, false);
  const auto found = parsed.is_object() ? parsed.find("tensorboard") : parsed.end();
  return found != parsed.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::unique_ptr<metric_sink> make_tensorboard_sink() {
  return std::make_unique<tensorboard_sink>();
}

}  // namespace mizzen::tracking::detail
