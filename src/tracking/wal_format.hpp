// The format of the write-ahead log's segments, without any I/O: docs/tracking/write-ahead-log.md.
#pragma once

#include "tracking/crc32c.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace mizzen::tracking::detail {

constexpr std::size_t wal_header_size = 4096;
constexpr std::size_t wal_cell_size = 32;
constexpr std::size_t wal_positions = 8;          // sinks whose progress a header has room for
constexpr std::size_t wal_positions_offset = 64;  // of the first of them, in the header
constexpr std::size_t wal_about_size = 3840;      // most bytes of wal_header::about
constexpr std::size_t wal_payload_size = 65'536;  // most bytes of a record's payload
constexpr std::uint32_t wal_least_cells = 1U << 13;
constexpr std::uint32_t wal_most_cells = 1U << 24;

struct wal_header {
  std::uint64_t nonce = 0;     // random; keys the checksums, so that no text can pass for a record
  std::uint64_t sequence = 0;  // of this segment in its log, from 0
  std::uint32_t cells = 0;     // a power of two
  std::int64_t created = 0;    // Unix milliseconds; for people, nothing depends on it
  std::string about = {};      // JSON: where the records go
};

void encode_wal_header(const wal_header& header, std::span<std::byte, wal_header_size> into);

// Of a whole file. Throws data_loss (no such file, cut short, wrong checksum) or unimplemented (of
// another version); the subject is left empty.
wal_header decode_wal_header(std::span<const std::byte> file);

// How far a sink has got: the first cell that it may lack. One aligned word, so that it is never
// torn; it carries a checksum of its own. Absent when damaged, or never written: 0.
std::uint64_t encode_wal_position(std::uint64_t nonce, std::size_t sink, std::uint32_t cell);
std::optional<std::uint32_t> decode_wal_position(std::uint64_t nonce, std::size_t sink,
                                                 std::uint64_t word);

enum class wal_kind : std::uint8_t {
  point = 1,   // of a metric; one cell
  series = 2,  // gives the number by which later points of this segment name a run and a key
  param = 3,
  tag = 4,
  status = 5,  // of a run
  end = 6,     // the rest of the segment is unused
};

// The first eight bytes of a record: checksum, kind, number of the series. They are written last,
// at once; 0 means that the record is not there (yet).
std::uint64_t wal_record_word(std::uint32_t seed, std::uint32_t cell, wal_kind kind,
                              std::uint32_t series, std::span<const std::byte> body) noexcept;

// What the checksums of a segment start from.
std::uint32_t wal_seed(std::uint64_t nonce) noexcept;

// Cells that a record with such a payload takes.
constexpr std::uint32_t wal_cells_of(std::size_t payload) noexcept {
  return static_cast<std::uint32_t>((12 + payload + wal_cell_size - 1) / wal_cell_size);
}

// Writes all of a record but its first eight bytes, which it returns. at has the record's cells.
std::uint64_t encode_wal_point(std::byte* at, std::uint32_t seed, std::uint32_t cell,
                               std::uint32_t series, double value, std::int64_t step,
                               std::int64_t timestamp) noexcept;
std::uint64_t encode_wal_payload(std::byte* at, std::uint32_t seed, std::uint32_t cell,
                                 wal_kind kind, std::uint32_t series, std::string_view payload);

// Payloads: what they hold, and reading them back. Absent when the payload is malformed.
struct wal_text {
  std::string_view run = {};
  std::string_view key = {};    // empty for a status
  std::string_view value = {};  // empty for a series; the name of a status
  std::int64_t timestamp = 0;   // of a status: when the run ended
};
std::string encode_wal_text(wal_kind kind, const wal_text& text);
std::optional<wal_text> decode_wal_text(wal_kind kind, std::string_view payload);

struct wal_record {
  wal_kind kind = wal_kind::end;
  std::uint32_t series = 0;
  double value = 0;  // the next three of a point
  std::int64_t step = 0;
  std::int64_t timestamp = 0;
  std::string_view payload = {};  // of the others
};

// Goes over the records of a segment, whose cells may be written meanwhile (reader::live) or are
// what a dead process left behind. Takes any bytes; a step costs at most one pass over a payload.
class wal_reader {
 public:
  enum class mode {
    live,      // stops at a cell that is not written yet
    recovery,  // passes over what was never finished, and over what is damaged
  };
  wal_reader(std::span<const std::byte> cells, std::uint64_t nonce, mode how) noexcept;

  // The next record; nothing when there is none (yet).
  std::optional<wal_record> next() noexcept;

  // The cell after the last record read, and whether no record can come any more.
  std::uint32_t position() const noexcept { return position_; }
  bool at_end() const noexcept { return position_ >= count_; }

  // Records that were begun when the process died (nobody was told that they are kept), and cells
  // that were damaged afterwards.
  std::uint32_t unfinished() const noexcept { return unfinished_; }
  std::uint32_t damaged() const noexcept { return damaged_; }

 private:
  bool read_at(std::uint32_t cell, std::uint64_t word, wal_record& record, std::uint32_t& length);

  const std::byte* cells_;
  std::uint32_t count_;
  std::uint32_t seed_;
  mode mode_;
  bool in_gap_ = false;  // after a cell that is not written, before the next record
  std::uint32_t position_ = 0;
  std::uint32_t unfinished_ = 0;
  std::uint32_t damaged_ = 0;
};

}  // namespace mizzen::tracking::detail
