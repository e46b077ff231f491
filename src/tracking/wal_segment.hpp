// A segment of a write-ahead log as a file that is mapped into memory, and the folder it is in.
#pragma once

#include "tracking/files.hpp"
#include "tracking/wal_format.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace mizzen::tracking::detail {

// Not thread safe but where said.
class wal_segment {
 public:
  // Makes a file with all its blocks allocated, so that writing to the mapping cannot fail, and its
  // pages in memory, so that it need not wait. durable: also after a power cut. Throws
  // resource_exhausted (no room) and permission_denied; leaves no file behind then.
  static std::unique_ptr<wal_segment> create(const std::filesystem::path& folder,
                                             const wal_header& header, bool durable);

  // Opens one that a dead process left; null, and it is removed, if the process died before it used
  // it. Throws as decode_wal_header does.
  static std::unique_ptr<wal_segment> open(const std::filesystem::path& path);

  // "00000000000000000017.wal"; the sequence of such a name.
  static std::string file_name(std::uint64_t sequence);
  static std::optional<std::uint64_t> sequence_of(const std::filesystem::path& path);

  ~wal_segment();
  wal_segment(const wal_segment&) = delete;
  wal_segment& operator=(const wal_segment&) = delete;

  const wal_header& header() const noexcept { return header_; }
  const std::filesystem::path& path() const noexcept { return path_; }
  std::uint64_t file_size() const noexcept { return mapped_.size(); }
  std::uint32_t seed() const noexcept { return seed_; }

  // The cells, mapped for writing.
  std::byte* cell(std::uint32_t index) noexcept {
    return mapped_.data() + wal_header_size + std::size_t{index} * wal_cell_size;
  }
  std::span<const std::byte> cells() const noexcept {
    return std::span(mapped_).subspan(wal_header_size, whole_cells() * wal_cell_size);
  }
  // Whether the file has lost its end: then there are fewer cells than the header says.
  bool is_cut_short() const noexcept { return whole_cells() < header_.cells; }

  // How far a sink has got; nothing when that is damaged. Thread safe.
  std::optional<std::uint32_t> position(std::size_t sink) const noexcept;
  void set_position(std::size_t sink, std::uint32_t cell) noexcept;

  // Waits until the cells before the end, and the header, are on the disk. Throws. Thread safe.
  void synchronize(std::uint32_t end);

  // Removes the file.
  void remove() noexcept;

 private:
  wal_segment(std::filesystem::path path, std::span<std::byte> mapped, wal_header header);
  std::size_t whole_cells() const noexcept {
    return std::min<std::size_t>(header_.cells, (mapped_.size() - wal_header_size) / wal_cell_size);
  }

  std::filesystem::path path_;
  std::span<std::byte> mapped_;
  wal_header header_;
  std::uint32_t seed_;
};

// Waits until what was made or removed in a folder is on the disk. Throws.
void synchronize_folder(const std::filesystem::path& folder);

}  // namespace mizzen::tracking::detail
