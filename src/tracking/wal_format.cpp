#include "tracking/wal_format.hpp"

#include <mizzen/core/error.hpp>

#include <algorithm>
#include <atomic>
#include <bit>

namespace mizzen::tracking::detail {
namespace {

static_assert(std::endian::native == std::endian::little, "the log's format is little-endian");

constexpr std::string_view magic = "MZNWAL\r\n";
constexpr std::uint32_t version = 1;
constexpr std::size_t about_offset = 256;
static_assert(about_offset + wal_about_size == wal_header_size);

template <typename T>
void put(std::byte* at, T value) noexcept {
  std::memcpy(at, &value, sizeof value);
}
template <typename T>
T get(const std::byte* at) noexcept {
  T value{};
  std::memcpy(&value, at, sizeof value);
  return value;
}

std::uint32_t header_checksum_of(std::span<const std::byte> header, std::size_t about) {
  return crc32c(header.subspan(about_offset, about), crc32c(header.subspan(8, 40)));
}

// The checksum of a record, never 0.
std::uint32_t nonzero(std::uint32_t check) noexcept { return check == 0 ? 1 : check; }

template <typename T>
void append(std::string& text, T value) {
  char bytes[sizeof value];
  std::memcpy(bytes, &value, sizeof value);
  text.append(bytes, sizeof value);
}

// Takes a text with its length before it off the front.
std::optional<std::string_view> take_text(std::string_view& payload) {
  if (payload.size() < 2) return std::nullopt;
  std::uint16_t length = 0;
  std::memcpy(&length, payload.data(), sizeof length);
  payload.remove_prefix(2);
  if (payload.size() < length) return std::nullopt;
  const std::string_view text = payload.substr(0, length);
  payload.remove_prefix(length);
  return text;
}

}  // namespace

void encode_wal_header(const wal_header& header, std::span<std::byte, wal_header_size> into) {
  if (header.about.size() > wal_about_size) {
    throw error(errc::invalid_argument, "write-ahead log",
                "where it goes takes more than " + std::to_string(wal_about_size) +
                    " bytes to write down; shorten the tracking URI or the sinks' options");
  }
  std::fill(into.begin(), into.end(), std::byte{0});
  put(&into[8], version);
  put(&into[12], static_cast<std::uint32_t>(wal_header_size));
  put(&into[16], header.nonce);
  put(&into[24], header.sequence);
  put(&into[32], header.cells);
  put(&into[36], static_cast<std::uint32_t>(header.about.size()));
  put(&into[40], header.created);
  std::memcpy(&into[about_offset], header.about.data(), header.about.size());
  put(&into[48], header_checksum_of(into, header.about.size()));
  // Last, at once: a file without it was never used.
  std::uint64_t word = 0;
  std::memcpy(&word, magic.data(), sizeof word);
  std::atomic_ref(*reinterpret_cast<std::uint64_t*>(into.data()))
      .store(word, std::memory_order_release);
}

wal_header decode_wal_header(std::span<const std::byte> file) {
  if (file.size() < wal_header_size || std::memcmp(file.data(), magic.data(), magic.size()) != 0) {
    throw error(errc::data_loss, "", "it is not a segment of a write-ahead log");
  }
  if (const auto found = get<std::uint32_t>(&file[8]); found != version) {
    throw error(errc::unimplemented, "",
                "it is of version " + std::to_string(found) +
                    " of the format, this library knows " + std::to_string(version) +
                    "; start the program that wrote it once more");
  }
  const auto about = get<std::uint32_t>(&file[36]);
  if (get<std::uint32_t>(&file[12]) != wal_header_size || about > wal_about_size ||
      get<std::uint32_t>(&file[48]) != header_checksum_of(file, about)) {
    throw error(errc::data_loss, "", "the header of this segment is damaged");
  }
  wal_header header;
  header.nonce = get<std::uint64_t>(&file[16]);
  header.sequence = get<std::uint64_t>(&file[24]);
  header.cells = get<std::uint32_t>(&file[32]);
  header.created = get<std::int64_t>(&file[40]);
  header.about.assign(reinterpret_cast<const char*>(&file[about_offset]), about);
  if (!std::has_single_bit(header.cells) || header.cells < wal_least_cells ||
      header.cells > wal_most_cells) {
    throw error(errc::data_loss, "", "the header of this segment is damaged");
  }
  return header;
}

std::uint64_t encode_wal_position(std::uint64_t nonce, std::size_t sink, std::uint32_t cell) {
  std::array<std::byte, 20> bytes{};
  put(&bytes[0], nonce);
  put(&bytes[8], static_cast<std::uint64_t>(sink));
  put(&bytes[16], cell);
  return std::uint64_t{crc32c(bytes)} << 32 | cell;
}

std::optional<std::uint32_t> decode_wal_position(std::uint64_t nonce, std::size_t sink,
                                                 std::uint64_t word) {
  if (word == 0) return 0;
  const auto cell = static_cast<std::uint32_t>(word);
  if (encode_wal_position(nonce, sink, cell) != word) return std::nullopt;
  return cell;
}

std::uint32_t wal_seed(std::uint64_t nonce) noexcept {
  std::array<std::byte, 8> bytes{};
  put(bytes.data(), nonce);
  return crc32c(bytes);
}

std::uint64_t wal_record_word(std::uint32_t seed, std::uint32_t cell, wal_kind kind,
                              std::uint32_t series, std::span<const std::byte> body) noexcept {
  const std::uint32_t what = static_cast<std::uint32_t>(kind) | series << 8;
  std::array<std::byte, wal_cell_size> first{};
  put(&first[0], cell);
  put(&first[4], what);
  // The usual record is one cell: checked in one go.
  const std::size_t head = std::min(body.size(), wal_cell_size - 8);
  std::memcpy(&first[8], body.data(), head);
  std::uint32_t check = crc32c(std::span(first).first(8 + head), seed);
  if (body.size() > head) check = crc32c(body.subspan(head), check);
  return std::uint64_t{what} << 32 | nonzero(check);
}

std::uint64_t encode_wal_point(std::byte* at, std::uint32_t seed, std::uint32_t cell,
                               std::uint32_t series, double value, std::int64_t step,
                               std::int64_t timestamp) noexcept {
  std::array<std::byte, 24> body;
  put(&body[0], value);
  put(&body[8], step);
  put(&body[16], timestamp);
  std::memcpy(at + 8, body.data(), body.size());
  return wal_record_word(seed, cell, wal_kind::point, series, body);
}

std::uint64_t encode_wal_payload(std::byte* at, std::uint32_t seed, std::uint32_t cell,
                                 wal_kind kind, std::uint32_t series, std::string_view payload) {
  const std::size_t size = wal_cells_of(payload.size()) * wal_cell_size;
  put(at + 8, static_cast<std::uint32_t>(payload.size()));
  std::memcpy(at + 12, payload.data(), payload.size());
  std::memset(at + 12 + payload.size(), 0, size - 12 - payload.size());
  return wal_record_word(seed, cell, kind, series, std::span(at + 8, size - 8));
}

std::string encode_wal_text(wal_kind kind, const wal_text& text) {
  std::string payload;
  payload.reserve(16 + text.run.size() + text.key.size() + text.value.size());
  append(payload, static_cast<std::uint16_t>(text.run.size()));
  payload += text.run;
  if (kind == wal_kind::status) {
    append(payload, text.timestamp);
  } else {
    append(payload, static_cast<std::uint16_t>(text.key.size()));
    payload += text.key;
  }
  payload += text.value;
  constexpr std::size_t most = 0xffff;
  if (text.run.size() > most || text.key.size() > most || payload.size() > wal_payload_size) {
    throw error(errc::invalid_argument, "write-ahead log",
                "a record of " + std::to_string(payload.size()) + " bytes is too long");
  }
  return payload;
}

std::optional<wal_text> decode_wal_text(wal_kind kind, std::string_view payload) {
  wal_text text;
  const auto run = take_text(payload);
  if (!run) return std::nullopt;
  text.run = *run;
  if (kind == wal_kind::status) {
    if (payload.size() < sizeof text.timestamp) return std::nullopt;
    std::memcpy(&text.timestamp, payload.data(), sizeof text.timestamp);
    payload.remove_prefix(sizeof text.timestamp);
  } else {
    const auto key = take_text(payload);
    if (!key) return std::nullopt;
    text.key = *key;
  }
  text.value = payload;
  return text;
}

// --- wal_reader ----------------------------------------------------------------------------------

wal_reader::wal_reader(std::span<const std::byte> cells, std::uint64_t nonce, mode how) noexcept
    : cells_(cells.data()),
      count_(static_cast<std::uint32_t>(
          std::min<std::size_t>(cells.size() / wal_cell_size, wal_most_cells))),
      seed_(wal_seed(nonce)),
      mode_(how) {}

bool wal_reader::read_at(std::uint32_t cell, std::uint64_t word, wal_record& record,
                         std::uint32_t& length) {
  const std::byte* at = cells_ + std::size_t{cell} * wal_cell_size;
  record.kind = static_cast<wal_kind>(word >> 32 & 0xffU);
  record.series = static_cast<std::uint32_t>(word >> 40);
  std::size_t payload = 0;
  switch (record.kind) {
    case wal_kind::point:
    case wal_kind::end:
      length = 1;
      break;
    case wal_kind::series:
    case wal_kind::param:
    case wal_kind::tag:
    case wal_kind::status:
      payload = get<std::uint32_t>(at + 8);
      if (payload > wal_payload_size) return false;
      length = wal_cells_of(payload);
      break;
    default:
      return false;
  }
  if (length > count_ - cell) return false;
  const std::span body(at + 8, length * wal_cell_size - 8);
  if (wal_record_word(seed_, cell, record.kind, record.series, body) != word) return false;
  record.value = get<double>(at + 8);
  record.step = get<std::int64_t>(at + 16);
  record.timestamp = get<std::int64_t>(at + 24);
  record.payload = {reinterpret_cast<const char*>(at + 12), payload};
  return true;
}

std::optional<wal_record> wal_reader::next() noexcept {
  while (position_ < count_) {
    // A live segment is mapped for writing; nothing is written through this.
    auto* first = const_cast<std::byte*>(cells_) + std::size_t{position_} * wal_cell_size;
    const std::uint64_t word = mode_ == mode::live
                                   ? std::atomic_ref(*reinterpret_cast<std::uint64_t*>(first))
                                         .load(std::memory_order_acquire)
                                   : get<std::uint64_t>(first);
    if (word == 0) {
      if (mode_ == mode::live) return std::nullopt;
      in_gap_ = true;
      ++position_;
      continue;
    }
    wal_record record;
    std::uint32_t length = 0;
    if (!read_at(position_, word, record, length)) {
      // What follows a cell that was never written is the rest of a record that was not finished.
      (in_gap_ ? unfinished_ : damaged_) += 1;
      ++position_;
      continue;
    }
    in_gap_ = false;
    position_ = record.kind == wal_kind::end ? count_ : position_ + length;
    if (record.kind != wal_kind::end) return record;
  }
  return std::nullopt;
}

}  // namespace mizzen::tracking::detail
