// What a drain reads from, and how far it is. For drain's own two files.
#pragma once

#include "tracking/drain.hpp"

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <unistd.h>
#include <utility>
#include <vector>

namespace mizzen::tracking::detail {

// Where a sink is in a log.
struct cursor {
  std::uint64_t index = 0;  // of the segment in the source
  std::optional<wal_reader> reader;
  std::uint32_t skip_before = 0;  // the sink has what is before this cell
  std::vector<wal_text> series;   // declared in this segment; views into it
};

struct drain::source {
  explicit source(std::size_t lanes) : cursors(lanes) {}
  source(const source&) = delete;
  source& operator=(const source&) = delete;
  virtual ~source() = default;
  // Null: there is none (yet).
  virtual wal_segment* segment(std::uint64_t index) = 0;
  virtual wal_reader::mode mode() const noexcept = 0;
  virtual std::string name() const = 0;
  virtual bool is_own() const noexcept = 0;

  std::vector<cursor> cursors;  // one for each lane
  std::vector<bool> wanted;     // whether a lane takes this log
  // Of a dead process: when anything was last written into it, as far as the file system knows.
  std::filesystem::file_time_type written_at = std::filesystem::file_time_type::min();
};

struct drain::own_source final : source {
  own_source(std::size_t lanes, wal& of) : source(lanes), log(of) {}
  wal_segment* segment(std::uint64_t index) override { return log.segment(index); }
  wal_reader::mode mode() const noexcept override { return wal_reader::mode::live; }
  std::string name() const override { return log.path().stem().string(); }
  bool is_own() const noexcept override { return true; }

  wal& log;
};

struct drain::orphan_source final : source {
  orphan_source(std::size_t lanes, wal_folder taken) : source(lanes), folder(std::move(taken)) {}
  wal_segment* segment(std::uint64_t index) override {
    return index < segments.size() ? segments[index].get() : nullptr;
  }
  wal_reader::mode mode() const noexcept override { return wal_reader::mode::recovery; }
  std::string name() const override { return folder.path().stem().string(); }
  bool is_own() const noexcept override { return false; }

  bool is_done(std::size_t lane) const {
    return !wanted[lane] || cursors[lane].index >= segments.size();
  }

  wal_folder folder;
  std::vector<std::unique_ptr<wal_segment>> segments;
  bool required_done = false;
};

struct drain::lane {
  lane(drain_sink of, std::size_t at)
      : sink(std::move(of)), number(at), waits((at + 1) * static_cast<std::uint64_t>(getpid())) {}

  drain_sink sink;
  std::size_t number;
  back_off waits;
  std::chrono::steady_clock::time_point not_before = {};
  // By the other side: not even a flush is to try before.
  std::chrono::steady_clock::time_point asked_until = {};
  bool failing = false;

  // A part that was read and is not written yet.
  source* from = nullptr;
  std::vector<log_entry> entries;
  std::uint64_t begin_cell = 0;

  bool wants(std::string_view about) const { return !sink.wanted || sink.wanted(about); }

  bool wants_own = true;                    // the log of this process
  std::atomic<std::uint64_t> position = 0;  // in it
};

}  // namespace mizzen::tracking::detail
