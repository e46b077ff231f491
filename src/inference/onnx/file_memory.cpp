#include "inference/onnx/file_memory.hpp"

#include <mizzen/core/error.hpp>

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <unistd.h>
#include <utility>
#include <vector>

namespace mizzen::inference::detail {

file_memory::file_memory(int file, std::size_t size, std::string_view subject)
    : size_(size), mapped_(file >= 0) {
  if (size == 0) return;
  const int protection = mapped_ ? PROT_READ : PROT_READ | PROT_WRITE;
  const int flags = mapped_ ? MAP_PRIVATE : MAP_PRIVATE | MAP_ANONYMOUS;
  void* const p = ::mmap(nullptr, size, protection, flags, file, 0);
  if (p == MAP_FAILED) {
    const int code = errno;
    throw error(mapped_ && code != ENOMEM ? errc::unavailable : errc::resource_exhausted, subject,
                mapped_ ? std::string("it cannot be mapped: ") + std::strerror(code)
                        : "no memory for " + std::to_string(size) + " bytes");
  }
  data_ = static_cast<std::byte*>(p);
  // Wishes. Without huge pages memory takes longer to fill; a file is read ahead of its use.
  ::madvise(p, size, mapped_ ? MADV_WILLNEED : MADV_HUGEPAGE);
}

std::shared_ptr<file_memory> file_memory::read(int file, std::size_t size,
                                               std::string_view subject) {
  std::shared_ptr<file_memory> memory(new file_memory(-1, size, subject));
  std::size_t done = 0;
  while (done < size) {
    const ssize_t got = ::read(file, memory->data_ + done, size - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw error(errc::unavailable, subject, std::strerror(errno));
    if (got == 0) {
      throw error(errc::data_loss, subject, "it has become shorter while it was read");
    }
    done += static_cast<std::size_t>(got);
  }
  return memory;
}

std::shared_ptr<file_memory> file_memory::map(int file, std::size_t size,
                                              std::string_view subject) {
  return std::shared_ptr<file_memory>(new file_memory(file, size, subject));
}

file_memory::~file_memory() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

bool file_memory::holds(std::span<const std::byte> bytes) const noexcept {
  const auto begin = reinterpret_cast<std::uintptr_t>(data_);
  const auto at = reinterpret_cast<std::uintptr_t>(bytes.data());
  return data_ != nullptr && at >= begin && at - begin <= size_ &&
         bytes.size() <= size_ - (at - begin);
}

file_memory::part file_memory::share(std::span<const std::byte> bytes, std::size_t alignment) {
  const std::lock_guard lock(mutex_);
  const auto [found, is_new] = shared_.try_emplace(bytes.data());
  part& p = found->second;
  if (!is_new) return p;
  const std::size_t at = static_cast<std::size_t>(bytes.data() - data_);
  const std::size_t moved = at / alignment * alignment;
  // The tag takes one byte or more, the length of what is not tiny two or more.
  constexpr std::size_t least_header = 3;
  if (at - moved > (mapped_ ? 0 : least_header)) return p;
  if (moved != at) std::memmove(data_ + moved, bytes.data(), bytes.size());
  p.bytes = {data_ + moved, bytes.size()};
  // Not the memory alone: the part goes back as soon as it is no longer used.
  p.keep_alive = std::shared_ptr<const void>(
      data_ + moved, [self = shared_from_this(), moved, end = moved + bytes.size()](const void*) {
        const std::lock_guard own(self->mutex_);
        if (self->sealed_) self->give_back(moved, end);
      });
  return p;
}

void file_memory::seal() {
  std::vector<std::pair<std::size_t, std::size_t>> used;
  // Dropped outside the lock, which their deleters take.
  std::map<const std::byte*, part> shared;
  {
    const std::lock_guard lock(mutex_);
    shared.swap(shared_);
    for (const auto& [from, p] : shared) {
      if (p.bytes.data() == nullptr) continue;
      const auto begin = static_cast<std::size_t>(p.bytes.data() - data_);
      used.emplace_back(begin, begin + p.bytes.size());
    }
    sealed_ = true;
    std::sort(used.begin(), used.end());
    std::size_t at = 0;
    for (const auto& [begin, end] : used) {
      if (begin > at) give_back(at, begin);
      at = std::max(at, end);
    }
    if (at < size_) give_back(at, size_);
  }
}

// Whole pages only: what shares a page with a neighbour stays.
void file_memory::give_back(std::size_t begin, std::size_t end) noexcept {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  begin = (begin + page - 1) / page * page;
  end = end / page * page;
  if (begin < end) ::madvise(data_ + begin, end - begin, MADV_DONTNEED);
}

}  // namespace mizzen::inference::detail
