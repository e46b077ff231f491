// The archives that cp sends and receives, without I/O: POSIX ustar with pax headers, and GNU's
// long names on the way in.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mizzen::kubernetes::detail {

struct tar_entry {
  enum class kind : std::uint8_t { file, directory, symlink, hardlink, other };
  kind what = kind::file;
  std::string path;  // as it stands in the archive
  std::string link;  // where a link leads
  std::uint32_t mode = 0644;
  std::uint64_t size = 0;  // of a file
  std::int64_t mtime = 0;  // seconds since 1970
};

inline constexpr std::size_t tar_block = 512;

// The blocks before an entry's content. The owner is root, as whoever unpacks decides. Throws
// error(invalid_argument) for a path with a zero byte in it.
std::string tar_header(const tar_entry& entry);

// What fills up the last block of a content of this size.
std::size_t tar_padding(std::uint64_t size) noexcept;

// Two blocks of zeros.
std::string tar_end();

// Reads an archive in any cuts. Memory is bounded: a content is handed on as it arrives, a name
// may be 64 KiB long.
class tar_reader {
 public:
  enum class event : std::uint8_t { need_more, entry, content, end, failed };

  // Takes from the front of data. entry: entry() is the next one, its content follows in
  // pieces(content()), which add up to its size. After end everything is ignored.
  event next(std::string_view& data);

  const tar_entry& entry() const noexcept { return entry_; }
  std::string_view content() const noexcept { return content_; }
  const std::string& failure() const noexcept { return failure_; }

 private:
  enum class state : std::uint8_t { header, content, extra, padding, done };

  event fail(std::string why);
  event parse_header();
  bool finish_extra();
  bool read_pax(std::string_view text);

  state state_ = state::header;
  std::string block_;
  tar_entry entry_;
  std::uint64_t left_ = 0;
  std::size_t padding_ = 0;
  int zero_blocks_ = 0;
  // Of the next entry: what extra headers say about it.
  char extra_kind_ = 0;
  std::string extra_;
  std::string long_path_;
  std::string long_link_;
  bool has_size_ = false;
  std::uint64_t long_size_ = 0;
  bool has_mtime_ = false;
  std::int64_t long_mtime_ = 0;

  std::string_view content_;
  std::string failure_;
};

// Where a path of the archive lies below the folder that was asked for: its parts, without "." and
// empty ones. False for a path that would lead out of it ("..", or absolute).
bool split_safely(std::string_view path, std::vector<std::string>& parts);

}  // namespace mizzen::kubernetes::detail
