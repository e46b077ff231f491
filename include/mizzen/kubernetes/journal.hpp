// The small file that lets a submitter be killed anywhere and started again.
#pragma once

#include <mizzen/core/json.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mizzen::kubernetes {

// How far a submission got.
enum class submission_phase {
  intended,  // is going to be created, or was, and the submitter died before it could say so
  accepted,  // the API server has it: uid is known
  finished,  // its outcome is known, whatever becomes of the object
};

std::string_view to_string(submission_phase phase) noexcept;

// What a journal knows of one submission. A value.
struct submission_record {
  std::string id = {};  // of the submission; in the object's annotation too
  std::string kind = {};
  std::string namespace_ = {};
  std::string name = {};
  std::string spec_hash = {};  // "sha256:…" of what was submitted
  std::string uid = {};        // of the object; empty before it was accepted
  submission_phase phase = submission_phase::intended;
  std::int64_t intended_at = 0;  // Unix milliseconds, by the submitter's clock
  std::int64_t accepted_at = 0;  // 0: not yet
  std::int64_t finished_at = 0;  // 0: not yet
  json outcome = nullptr;        // what submission::wait() told, null before that
};

// The pure part: journal bytes to records, without a file. Format, version 1:
//
//   mizzen-submissions 1\n
//   <checksum> <JSON object>\n        any number of times
//
// checksum is the CRC-32C of the JSON text, as 8 lower-case hexadecimal digits. The objects:
//
//   {"op":"intend","id":…,"kind":…,"namespace":…,"name":…,"spec":…,"at":<ms>}
//   {"op":"accept","id":…,"uid":…,"at":<ms>}
//   {"op":"finish","id":…,"outcome":{…},"at":<ms>}
//   {"op":"forget","id":…}
//
// What follows the last sound line is a write that was cut off and is ignored; a damaged line with
// a sound one behind it cannot come from that, and is an error. Not thread safe.
class journal_state {
 public:
  // Takes what follows the bytes taken before. Returns how many of the new ones were sound: the
  // rest is to be given again, with more behind it. Throws error(data_loss) with the line number
  // for damage, error(unimplemented) for a later version of the format.
  std::size_t replay(std::string_view bytes);

  const std::map<std::string, submission_record, std::less<>>& records() const noexcept {
    return records_;
  }

  // The header, and one line of the file.
  static std::string_view header() noexcept;
  static std::string line(const json& entry);

  // Entries for the file.
  static json intend_entry(const submission_record& record);
  static json accept_entry(const submission_record& record);
  static json finish_entry(const submission_record& record);
  static json forget_entry(std::string_view id);

  // A whole file that tells the same, without finished submissions older than the given time.
  std::string compacted(std::int64_t finished_before) const;

 private:
  void apply(const json& entry);

  std::map<std::string, submission_record, std::less<>> records_;
  std::uint64_t lines_ = 0;
};

// When a record is safe.
enum class journal_durability {
  power,    // against a power cut: one fdatasync a record, about two milliseconds
  process,  // against the death of the process only: in the page cache, microseconds
};

struct journal_options {
  journal_durability durability = journal_durability::power;

  // How long finished submissions are remembered; after that, the same name runs anew.
  std::chrono::hours keep_finished{24 * 90};

  // The file is rewritten without what is no longer needed when it grows beyond this (bytes) and
  // half of it is waste. A file of more than 64 times this is refused.
  std::size_t compact_above = std::size_t{1} << 20;
};

// A journal in a file. Any number of processes (on one machine, or on several where the file system
// has flock) and threads may use the same file: each member locks it for as long as it takes. The
// members block their thread for that long, typically the time of one fdatasync.
//
// One journal is of one cluster. Cheap to copy: copies share the file. Thread safe.
//
// Errors: data_loss (damaged file; the message names the line), unavailable, permission_denied and
// resource_exhausted (the file system; a record that could not be written whole is not there),
// failed_precondition (a step that does not follow from what is recorded).
class journal {
 public:
  // Opens the file, or makes it, readable by its owner alone. Its folder must exist.
  explicit journal(std::filesystem::path file, journal_options options = journal_options());

  // Records that the object is about to be created, unless something is recorded of this id
  // already: returns what is, or the new record.
  submission_record intend(const submission_record& record);

  // Records that the API server has it. The same uid again changes nothing; another one is
  // error(failed_precondition).
  void accept(std::string_view id, std::string_view uid);

  // Records the outcome. The first one stays.
  void finish(std::string_view id, const json& outcome);

  // Drops a submission, so that the same id may run again.
  void forget(std::string_view id);

  std::optional<submission_record> find(std::string_view id) const;

  // Submissions that have not finished, oldest first: what a restarted submitter resumes.
  std::vector<submission_record> pending() const;

  // Everything it knows, oldest first.
  std::vector<submission_record> records() const;

  const std::filesystem::path& path() const noexcept;

 private:
  struct impl;
  std::shared_ptr<impl> impl_;
};

}  // namespace mizzen::kubernetes
