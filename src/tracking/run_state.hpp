// What a run handle holds.
#pragma once

#include "tracking/backend.hpp"
#include "tracking/content_repository.hpp"
#include "tracking/uri.hpp"
#include "tracking/validate.hpp"
#include "tracking/writer.hpp"

#include <mizzen/core/time.hpp>
#include <mizzen/tracking/run.hpp>
#include <mizzen/tracking/system_metrics.hpp>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace mizzen::tracking {

namespace detail {
// Adds the facts that the options ask for; tags that are given win.
void add_process_tags(run_options& options);
}  // namespace detail

struct run::state {
  state(std::shared_ptr<detail::backend> owner, std::shared_ptr<detail::drain> drain,
        run_record record)
      : backend(std::move(owner)),
        writer(std::move(drain)),
        log(writer->log()),
        metrics(record.id),
        id(std::move(record.id)),
        experiment_id(std::move(record.experiment_id)),
        name(std::move(record.name)),
        start_time(record.start_time),
        artifact_uri(std::move(record.artifact_uri)),
        artifacts(detail::local_folder(artifact_uri)),
        exceptions(std::uncaught_exceptions()) {}

  // Of a key, which is checked when it is first used. Throws invalid_argument.
  detail::series& series_of(std::string_view key) {
    return metrics.get(key, [](std::string_view of) { detail::check_metric(of, std::nullopt); });
  }

  // Parameters or tags, checked, on their way to a server.
  void append(detail::wal_kind kind, const string_map& values) {
    for (const auto& [key, value] : values) {
      log.append(kind, {.run = id, .key = key, .value = value});
    }
  }

  // After what was logged. To a server it goes through the log, and wait says whether to wait for
  // it; an embedded store is waited for.
  void end(run_status status, bool wait) {
    // The clock may have gone back.
    const std::int64_t now = std::max(unix_millis(), start_time);
    if (backend->is_remote()) {
      log.append(detail::wal_kind::status,
                 {.run = id, .value = to_string(status), .timestamp = now});
      if (wait) detail::settle(*writer, *backend);
    } else {
      detail::settle(*writer, *backend);
      backend->end_run(id, status, now);
    }
  }

  std::shared_ptr<detail::artifact_repository> repository() const {
    auto found = backend->artifacts(artifact_uri);
    return contents ? detail::content_repository(std::move(found), *contents, id) : found;
  }

  const std::shared_ptr<detail::backend> backend;
  const std::shared_ptr<detail::drain> writer;
  detail::wal& log;
  detail::series_table metrics;
  const std::string id;
  const std::string experiment_id;
  const std::string name;
  const std::int64_t start_time;
  const std::string artifact_uri;
  const std::optional<std::filesystem::path> artifacts;  // where they are on this file system
  const int exceptions;                                  // in flight when the handle was made
  std::atomic<bool> ended = false;
  std::optional<content_store> contents = {};
  std::unique_ptr<system_metrics> sampling = {};  // a thread, of run_options::system_metrics
};

}  // namespace mizzen::tracking
