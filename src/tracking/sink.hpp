// Where a drain brings what was logged.
#pragma once

#include "tracking/backend.hpp"
#include "tracking/wal_format.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/core/log.hpp>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace mizzen::tracking::detail {

// One record of a log. The views live as long as the call that they are handed to.
struct log_entry {
  wal_kind kind = wal_kind::point;  // point, param, tag or status
  std::string_view run = {};
  std::string_view key = {};
  std::string_view text = {};  // value of a param or tag, MLflow's name of a status
  double value = 0;            // of a point
  std::int64_t step = 0;
  std::int64_t timestamp = 0;  // of a point; of a status when the run ended
  std::uint64_t at = 0;        // its position in the log
};

// Which part of a log a batch is. A log has a name for ever; its parts are handed out in order.
struct log_part {
  std::string_view log = {};    // name of the log
  std::string_view about = {};  // wal_header::about
  std::uint64_t begin = 0;      // position before the first and after the last entry
  std::uint64_t end = 0;
};

// The entries were given up, all at once: there is no use in looking which of them it was.
class dropped_error : public error {
 public:
  using error::error;
};

enum class delivery : bool {
  done,
  under_way,  // the sink works on them by itself; it is called again with the same entries
};

// Called from the drain's thread alone, but for interrupt().
class metric_sink {
 public:
  metric_sink() = default;
  metric_sink(const metric_sink&) = delete;
  metric_sink& operator=(const metric_sink&) = delete;
  virtual ~metric_sink() = default;

  // Writes entries of any runs, in the order in which they were logged. When they are done they are
  // there for good: the log may be removed. It may be handed the same part again (the process
  // may die before that was noted), and must then leave each entry there once, as far as the other
  // side allows it. Throws mizzen::error: where is_rejection() says so, and it is no passing_error,
  // the entries can never be written (some may have been), else they are handed over again later.
  virtual delivery write(std::span<const log_entry> entries, const log_part& part) = 0;

  // Ends what write() waits for. From any thread.
  virtual void interrupt() noexcept {}
};

// Whether an error of a sink means that the same entries will fail for ever.
bool is_rejection(errc code) noexcept;

// The store of a client. Points go through backend::log_points, the rest through log_batch and
// end_run.
std::unique_ptr<metric_sink> make_store_sink(std::shared_ptr<backend> store);

// Event files for TensorBoard in the folder that wal_header::about names; empty: it names none.
std::unique_ptr<metric_sink> make_tensorboard_sink();
std::string tensorboard_folder(std::string_view about);

#ifdef MIZZEN_TRACKING_HTTP
struct otlp_settings;
// A collector, where wal_header::about names one. own: of this process, null without; see
// otlp_options::headers. Exports are sent by a thread of the sink's own, one at a time, so that a
// receiver that is slow or away does not hold up other sinks.
std::unique_ptr<metric_sink> make_otlp_sink(const otlp_settings* own, logger log);
#endif

}  // namespace mizzen::tracking::detail
