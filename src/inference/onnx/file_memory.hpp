// The bytes of a model file, in memory that the constants made from them share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string_view>

namespace mizzen::inference::detail {

// Pages that hold a file: of its own, or those of the file itself. Constants are views on them, and
// each one's pages go back to the system when the constant dies (it was packed for a kernel): the
// weights exist once. Thread safe but for the filling.
class file_memory : public std::enable_shared_from_this<file_memory> {
 public:
  // The bytes of an open file of this size, read or mapped. They are not to be written to. Throws
  // error naming the subject: resource_exhausted, unavailable, data_loss for one that ends before.
  // A mapped file that is made shorter later kills whoever reads what was there (SIGBUS).
  static std::shared_ptr<file_memory> read(int file, std::size_t size, std::string_view subject);
  static std::shared_ptr<file_memory> map(int file, std::size_t size, std::string_view subject);

  ~file_memory();
  file_memory(const file_memory&) = delete;
  file_memory& operator=(const file_memory&) = delete;

  std::span<const std::byte> bytes() const noexcept { return {data_, size_}; }

  // A part of the bytes and what keeps it: the same again for the same part, because a model's
  // functions may be read several times. Of a part that is not aligned as wanted (a power of 2, at
  // most 8) the bytes are moved down over the field's tag and length before it, which nobody reads
  // again; where there is no room for that, or the file is mapped, the part's data is null.
  struct part {
    std::span<const std::byte> bytes;
    std::shared_ptr<const void> keep_alive;
  };
  part share(std::span<const std::byte> bytes, std::size_t alignment);
  bool holds(std::span<const std::byte> bytes) const noexcept;

  // Nobody reads the bytes themselves from now on, only the parts: the rest is given back.
  void seal();

 private:
  // file: the one to map; below 0: memory of its own.
  file_memory(int file, std::size_t size, std::string_view subject);
  void give_back(std::size_t begin, std::size_t end) noexcept;

  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  const bool mapped_;
  std::mutex mutex_;
  bool sealed_ = false;
  std::map<const std::byte*, part> shared_;  // by where the part was; until sealed
};

}  // namespace mizzen::inference::detail
