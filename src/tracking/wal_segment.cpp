#include "tracking/wal_segment.hpp"

#include <mizzen/core/error.hpp>

#include <sys/mman.h>
#include <sys/stat.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <fcntl.h>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace mizzen::tracking::detail {
namespace {

std::string quoted(const std::filesystem::path& path) { return "'" + path.string() + "'"; }

// Shared, for reading and writing.
std::span<std::byte> map_file(int fd, std::size_t size, const std::filesystem::path& path) {
  void* at = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (at == MAP_FAILED) throw_errno(errno, "segment " + quoted(path), "it cannot be mapped");
  // A forked child must not write into the parent's log.
  madvise(at, size, MADV_DONTFORK);
  return {static_cast<std::byte*>(at), size};
}

std::atomic_ref<std::uint64_t> position_word(std::byte* file, std::size_t sink) noexcept {
  return std::atomic_ref(*reinterpret_cast<std::uint64_t*>(file + wal_positions_offset + sink * 8));
}

}  // namespace

std::string wal_segment::file_name(std::uint64_t sequence) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%020llu.wal", static_cast<unsigned long long>(sequence));
  return text.data();
}

std::optional<std::uint64_t> wal_segment::sequence_of(const std::filesystem::path& path) {
  const std::string name = path.filename().string();
  std::uint64_t sequence = 0;
  if (name.size() != 24 || !name.ends_with(".wal")) return std::nullopt;
  const auto [end, failed] = std::from_chars(name.data(), name.data() + 20, sequence);
  if (failed != std::errc{} || end != name.data() + 20) return std::nullopt;
  return sequence;
}

std::unique_ptr<wal_segment> wal_segment::create(const std::filesystem::path& folder,
                                                 const wal_header& header, bool durable) {
  const std::filesystem::path path = folder / file_name(header.sequence);
  const std::string subject = "segment " + quoted(path);
  const std::size_t size = wal_header_size + std::size_t{header.cells} * wal_cell_size;
  const descriptor file(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!file) throw_errno(errno, subject, "it cannot be made");
  try {
    if (const int failed = posix_fallocate(file.get(), 0, static_cast<off_t>(size)); failed != 0) {
      throw_errno(failed, subject, "there is no room for it");
    }
    const auto mapped = map_file(file.get(), size, path);
    std::unique_ptr<wal_segment> made(new wal_segment(path, mapped, header));
#ifdef MADV_POPULATE_WRITE
    madvise(mapped.data(), mapped.size(), MADV_POPULATE_WRITE);
#endif
    encode_wal_header(header, mapped.first<wal_header_size>());
    if (durable) {
      if (fsync(file.get()) != 0) throw_errno(errno, subject, "it cannot be written to the disk");
      synchronize_folder(folder);
    }
    return made;
  } catch (...) {
    ::unlink(path.c_str());
    throw;
  }
}

std::unique_ptr<wal_segment> wal_segment::open(const std::filesystem::path& path) {
  const std::string subject = "segment " + quoted(path);
  const descriptor file(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  if (!file) throw_errno(errno, subject, "it cannot be opened");
  struct stat status{};
  if (fstat(file.get(), &status) != 0) throw_errno(errno, subject, "it cannot be looked at");
  const auto size = static_cast<std::size_t>(status.st_size);
  std::uint64_t first = 0;
  if (S_ISREG(status.st_mode) && ::pread(file.get(), &first, sizeof first, 0) >= 0 && first == 0) {
    ::unlink(path.c_str());
    return nullptr;
  }
  if (!S_ISREG(status.st_mode) || size < wal_header_size) {
    throw error(errc::data_loss, subject, "it is not a segment of a write-ahead log");
  }
  const auto mapped = map_file(file.get(), size, path);
  try {
    return std::unique_ptr<wal_segment>(new wal_segment(path, mapped, decode_wal_header(mapped)));
  } catch (const error& e) {
    munmap(mapped.data(), mapped.size());
    throw error(e.code(), subject, e.message());
  }
}

wal_segment::wal_segment(std::filesystem::path path, std::span<std::byte> mapped, wal_header header)
    : path_(std::move(path)),
      mapped_(mapped),
      header_(std::move(header)),
      seed_(wal_seed(header_.nonce)) {}

wal_segment::~wal_segment() { munmap(mapped_.data(), mapped_.size()); }

std::optional<std::uint32_t> wal_segment::position(std::size_t sink) const noexcept {
  return decode_wal_position(header_.nonce, sink,
                             position_word(mapped_.data(), sink).load(std::memory_order_acquire));
}

void wal_segment::set_position(std::size_t sink, std::uint32_t cell) noexcept {
  const auto word = position_word(mapped_.data(), sink);
  const std::uint64_t value = encode_wal_position(header_.nonce, sink, cell);
  // The file is not touched for nothing: its time tells how long a log has been left.
  if (word.load(std::memory_order_relaxed) != value) word.store(value, std::memory_order_release);
}

void wal_segment::synchronize(std::uint32_t end) {
  const std::size_t size = wal_header_size + std::size_t{end} * wal_cell_size;
  if (msync(mapped_.data(), size, MS_SYNC) != 0) {
    throw_errno(errno, "segment " + quoted(path_), "it cannot be written to the disk");
  }
}

void wal_segment::remove() noexcept { ::unlink(path_.c_str()); }

void synchronize_folder(const std::filesystem::path& folder) {
  const descriptor opened(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!opened || fsync(opened.get()) != 0) {
    throw_errno(errno, "folder " + quoted(folder), "it cannot be written to the disk");
  }
}

}  // namespace mizzen::tracking::detail
