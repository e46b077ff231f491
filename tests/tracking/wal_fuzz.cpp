// Any bytes, as a segment of the write-ahead log that a dead process left.
#include "tracking/wal_format.hpp"

#include <mizzen/core/error.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <vector>

namespace t = mizzen::tracking::detail;

namespace {

// Reads all; the number of records.
std::size_t replay(std::span<const std::byte> cells, std::uint64_t nonce,
                   t::wal_reader::mode mode) {
  t::wal_reader reader(cells, nonce, mode);
  std::size_t records = 0;
  std::uint32_t before = 0;
  while (const auto record = reader.next()) {
    if (reader.position() <= before) std::abort();
    before = reader.position();
    if (record->kind != t::wal_kind::point) {
      const auto text = t::decode_wal_text(record->kind, record->payload);
      if (text && text->value.size() > record->payload.size()) std::abort();
    }
    ++records;
  }
  if (mode == t::wal_reader::mode::recovery && !reader.at_end()) std::abort();
  return records;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span input(reinterpret_cast<const std::byte*>(data), size);
  try {
    const t::wal_header header = t::decode_wal_header(input);
    replay(input.subspan(t::wal_header_size), header.nonce, t::wal_reader::mode::recovery);
  } catch (const mizzen::error&) {
  }

  if (size < t::wal_cell_size) return 0;
  // As cells, with the right checksums where a record could be, else few get past those.
  constexpr std::uint64_t nonce = 1;
  std::vector<std::uint64_t> words(size / t::wal_cell_size * (t::wal_cell_size / 8));
  std::memcpy(words.data(), data, words.size() * 8);
  const auto cells = std::as_writable_bytes(std::span(words));
  std::size_t records = 0;
  bool ended = false;
  const auto count = static_cast<std::uint32_t>(cells.size() / t::wal_cell_size);
  for (std::uint32_t cell = 0; cell < count;) {
    std::uint64_t& word = words[cell * 4];
    const auto kind = static_cast<t::wal_kind>(word >> 32 & 0x7);
    const bool is_point = kind == t::wal_kind::point || kind == t::wal_kind::end;
    const std::size_t payload = is_point ? 12 : words[cell * 4 + 1] & 0xffffffff;
    const bool known =
        kind >= t::wal_kind::point && kind <= t::wal_kind::end && payload <= t::wal_payload_size;
    const std::uint32_t length = known ? t::wal_cells_of(payload) : 1;
    if (!known || length > count - cell) {
      word = 0;
      ++cell;
      continue;
    }
    const auto body = cells.subspan(cell * t::wal_cell_size + 8, length * t::wal_cell_size - 8);
    word = t::wal_record_word(t::wal_seed(nonce), cell, kind,
                              static_cast<std::uint32_t>(word >> 40), body);
    if (!ended && kind != t::wal_kind::end) ++records;
    ended = ended || kind == t::wal_kind::end;
    cell += length;
  }
  if (replay(cells, nonce, t::wal_reader::mode::recovery) != records) std::abort();
  replay(cells, nonce, t::wal_reader::mode::live);
  return 0;
}
