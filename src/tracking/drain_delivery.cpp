// The drain's way from the log to a sink: reads a part, hands it over, looks for what a sink
// refuses.
#include "tracking/drain_source.hpp"

#include <mizzen/core/json.hpp>
#include <mizzen/core/time.hpp>

#include <algorithm>
#include <cmath>
#include <fcntl.h>
#include <map>
#include <unistd.h>
#include <utility>

namespace mizzen::tracking::detail {
namespace {

using clock = std::chrono::steady_clock;

// Entries of one call of a sink. Large, for the sake of SQLite; small enough that who writes to the
// store directly waits some tens of milliseconds at most.
constexpr std::size_t most_entries = 8192;

// Any exception as an error; what is not ours may pass.
error as_error(const std::exception_ptr& thrown) {
  try {
    std::rethrow_exception(thrown);
  } catch (const error& e) {
    return e;
  } catch (...) {
    return {errc::unknown, "", describe(thrown)};
  }
}

json value_of(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
  return value;
}

json describe_entry(const log_entry& entry) {
  json out = {{"run_id", entry.run}};
  switch (entry.kind) {
    case wal_kind::param:
      out.update({{"param", entry.key}, {"value", entry.text}});
      break;
    case wal_kind::tag:
      out.update({{"tag", entry.key}, {"value", entry.text}});
      break;
    case wal_kind::status:
      out.update({{"status", entry.text}, {"end_time", entry.timestamp}});
      break;
    default:
      out.update({{"metric", entry.key},
                  {"value", value_of(entry.value)},
                  {"step", entry.step},
                  {"timestamp", entry.timestamp}});
  }
  return out;
}

void append_to_file(const std::filesystem::path& path, std::string_view text) {
  const std::string subject = "file '" + path.string() + "'";
  const descriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!file) throw_errno(errno, subject, "it cannot be opened");
  if (const int failed = write_all(file.get(), text); failed != 0) {
    throw_errno(failed, subject, "it cannot be written");
  }
  if (fsync(file.get()) != 0) throw_errno(errno, subject, "it cannot be written to the disk");
}

}  // namespace

// Reads the next part for a sink: at most to the end of a segment. Whether there may be more.
bool drain::collect(lane& on, source& from) {
  cursor& at = from.cursors[on.number];
  wal_segment* const segment = from.segment(at.index);
  if (segment == nullptr) return false;
  if (!at.reader) {
    at.reader.emplace(segment->cells(), segment->header().nonce, from.mode());
    at.skip_before = segment->position(on.sink.slot).value_or(0);
    at.series.clear();
  }
  on.entries.clear();
  on.begin_cell = at.reader->position();
  const std::uint64_t base = segment->header().sequence * segment->header().cells;
  while (on.entries.size() < most_entries) {
    const std::uint32_t cell = at.reader->position();
    const auto record = at.reader->next();
    if (!record) break;
    if (record->kind == wal_kind::series) {
      if (record->series >= at.series.size()) {
        // Numbers are given in order, if not written in order.
        if (record->series > segment->header().cells) continue;
        at.series.resize(record->series + 1);
      }
      at.series[record->series] =
          decode_wal_text(wal_kind::series, record->payload).value_or(wal_text());
      continue;
    }
    if (cell < at.skip_before) continue;
    if (record->kind == wal_kind::point) {
      const bool known =
          record->series < at.series.size() && !at.series[record->series].run.empty();
      if (!known) {
        options_.report.log(log_level::error, "tracking",
                            "a point was lost: what declared its metric is damaged",
                            {{"log", from.name()}, {"value", record->value}});
        continue;
      }
      const wal_text& of = at.series[record->series];
      on.entries.push_back({record->kind,
                            of.run,
                            of.key,
                            {},
                            record->value,
                            record->step,
                            record->timestamp,
                            base + cell});
    } else if (const auto text = decode_wal_text(record->kind, record->payload)) {
      on.entries.push_back(
          {record->kind, text->run, text->key, text->value, 0, 0, text->timestamp, base + cell});
    }
  }
  const bool may_be_more = at.reader->at_end() || on.entries.size() == most_entries;
  if (at.reader->position() == on.begin_cell && !at.reader->at_end()) return false;
  on.from = &from;
  return may_be_more;
}

// Hands the part that was read to the sink, and notes how far it is.
void drain::attempt(lane& on) {
  if (clock::now() < on.not_before) return;
  source& from = *on.from;
  cursor& at = from.cursors[on.number];
  wal_segment& segment = *from.segment(at.index);
  const std::uint64_t base = segment.header().sequence * segment.header().cells;
  const std::uint32_t end = at.reader->position();
  if (!on.entries.empty()) {
    const std::string name = from.name();
    try {
      const log_part part = {name, segment.header().about, base + on.begin_cell, base + end};
      if (deliver(on, on.entries, part) == delivery::under_way) return;
      on.waits.reset();
    } catch (const passing_error& e) {
      failed(on, e, e.wait());
      if (!is_overdue(on)) return;
      reject(on, on.entries, e);
    } catch (...) {
      failed(on, as_error(std::current_exception()), {});
      return;
    }
  }
  if (std::exchange(on.failing, false)) {
    options_.report.log(log_level::info, "tracking", "the drain of the log goes on",
                        {{"sink", on.sink.name}});
  }
  segment.set_position(on.sink.slot, end);
  if (on.sink.required) (from.is_own() ? drained_ : adopted_) += on.entries.size();
  if (from.is_own()) on.position = base + end;
  on.from = nullptr;
  if (!at.reader->at_end()) return;
  if (at.reader->damaged() > 0) {
    report_damage("segment '" + segment.path().string() + "' has " +
                  std::to_string(at.reader->damaged()) + " damaged cells; what they held is lost");
  }
  ++at.index;
  at.reader.reset();
}

void drain::report_damage(const std::string& what) {
  options_.report.log(log_level::error, "tracking", "a log was damaged", {{"error", what}});
  const std::scoped_lock lock(mutex_);
  last_error_ = what;
}

void drain::failed(lane& on, const error& reason, std::chrono::milliseconds asked) {
  const auto now = clock::now();
  on.asked_until = now + asked;
  on.not_before = now + std::max<std::chrono::milliseconds>(on.waits.next(), asked);
  {
    const std::scoped_lock lock(mutex_);
    last_error_ = on.sink.name + ": " + reason.what();
  }
  if (std::exchange(on.failing, true)) return;
  options_.report.log(log_level::warning, "tracking",
                      "the log cannot be drained now; it is tried again",
                      {{"sink", on.sink.name}, {"error", reason.what()}});
}

// Whether what failed is of a process that died long ago, and the sink can do without.
bool drain::is_overdue(const lane& on) const {
  if (on.sink.required || on.sink.patience.count() == 0 || on.from->is_own()) return false;
  return std::filesystem::file_time_type::clock::now() - on.from->written_at > on.sink.patience;
}

delivery drain::deliver(lane& on, std::span<const log_entry> entries, const log_part& part) {
  std::optional<error> refusal;
  try {
    return on.sink.sink->write(entries, part);
  } catch (const passing_error&) {
    throw;
  } catch (const dropped_error& e) {
    reject(on, entries, e);
    return delivery::done;
  } catch (const error& e) {
    if (!is_rejection(e.code())) throw;
    refusal = e;
  }
  // Which of them it was: first by run, then by halves. All were written so far that could be.
  std::map<std::string_view, std::vector<log_entry>> runs;
  for (const log_entry& entry : entries) runs[entry.run].push_back(entry);
  if (runs.size() > 1) {
    for (const auto& [run, its] : runs) deliver(on, its, part);
    return delivery::done;
  }
  const bool whole_run =
      refusal->code() == errc::not_found || refusal->code() == errc::failed_precondition;
  if (whole_run || entries.size() == 1) {
    reject(on, entries, *refusal);
    return delivery::done;
  }
  const std::size_t half = entries.size() / 2;
  deliver(on, entries.first(half), part);
  deliver(on, entries.subspan(half), part);
  return delivery::done;
}

void drain::reject(lane& on, std::span<const log_entry> entries, const error& reason) {
  const auto file = options_.log.directory / "rejected.jsonl";
  if (on.sink.required) {
    std::string lines;
    for (const log_entry& entry : entries) {
      json line = describe_entry(entry);
      line["error"] = reason.what();
      line["rejected_at"] = format_rfc3339(std::chrono::system_clock::now());
      lines += line.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
    }
    append_to_file(file, lines);
    rejected_ += entries.size();
  }
  options_.report.log(log_level::error, "tracking",
                      on.sink.required ? "the store refused what was logged"
                                       : "what was logged was left out of a sink",
                      {{"sink", on.sink.name},
                       {"entries", entries.size()},
                       {"kept_in", on.sink.required ? file.string() : ""},
                       {"error", reason.what()}});
  const std::scoped_lock lock(mutex_);
  last_error_ = on.sink.name + ": " + reason.what();
}

}  // namespace mizzen::tracking::detail
