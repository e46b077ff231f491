// How what is logged gets from the training loop to the store: the write-ahead log and its drain.
// The log's format: docs/tracking/write-ahead-log.md.
#pragma once

#include <mizzen/tracking/otlp.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>

namespace mizzen::tracking {

// run::log_metric and log_metrics append to a write-ahead log, a folder of files mapped into
// memory, and return. One thread per client (and its copies and runs), the drain, moves the points
// to the store in batches and tries again what fails; it is started with the first run, or when
// there is a log of a dead process to adopt, blocks all signals, and ends with the client's last
// copy and run. What it cannot move stays in the log, and is moved by the next client that opens
// the store, or reads from it (in this process or another).
struct writer_options {
  // Folder of the logs. Empty: "<store file>.mizzen-wal" beside an embedded store.
  std::filesystem::path directory = {};
  // Bytes of one segment (file) of the log, rounded up to a power of two of cells: 256 KiB to
  // 512 MiB. Two segments are allocated on the disk as long as a run is written.
  std::size_t segment_size = std::size_t{4} << 20;
  // Bound of all segments of this client's log; at least two of them. 32 bytes hold a point.
  std::size_t total_size = std::size_t{256} << 20;
  // How long a call waits for room when the log is full, before its point is refused. 0: not at
  // all, so that the loop never waits.
  std::chrono::milliseconds patience = {};
  // How long the end of the last copy and run waits for the drain; what is left is moved by the
  // next start.
  std::chrono::milliseconds close_timeout = std::chrono::seconds(10);
  // Folder for TensorBoard's event files; empty: none are written. Metrics go there too, as scalars
  // in single precision: `tensorboard --logdir <folder>` shows a run by its id. Each point is there
  // once, also when the process is killed.
  std::filesystem::path tensorboard = {};
  // An OpenTelemetry collector that metrics go to as well; none unless this or the environment says
  // so. A second thread sends to it.
  otlp_options otlp = {};
};

// Where a client's writer stands. Numbers are of points (and what else goes through the log) since
// the client was opened.
struct writer_status {
  std::uint64_t acknowledged = 0;  // in the log
  std::uint64_t drained = 0;       // moved on to the store, or rejected by it
  // Refused for good by the store, as the points of a run that was deleted meanwhile. They are
  // kept, with the reason, in the file rejected.jsonl of writer_options::directory.
  std::uint64_t rejected = 0;
  // Not taken: the log had reached its bound, or the disk had no room for it. Lost.
  std::uint64_t refused = 0;
  std::uint64_t adopted = 0;   // of logs that dead processes had left; not counted above
  std::uint64_t log_size = 0;  // bytes of the log's segments now
  std::string last_error =
      {};  // what went wrong last; empty when nothing did. Stays when it passed
};

}  // namespace mizzen::tracking
