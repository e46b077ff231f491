// The bytes of a model file, in memory that the constants made from them share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>

namespace mizzen::inference::detail {

// Private pages that hold a file. Constants are views on them, and each one's pages go back to the
// system when the constant dies (it was packed for a kernel): the weights exist once. Thread safe
// but for the filling.
class file_memory : public std::enable_shared_from_this<file_memory> {
 public:
  // Throws error(resource_exhausted).
  explicit file_memory(std::size_t size);
  ~file_memory();
  file_memory(const file_memory&) = delete;
  file_memory& operator=(const file_memory&) = delete;

  // To be filled once, before anything else.
  std::span<std::byte> bytes() noexcept { return {data_, size_}; }

  // A part of the bytes and what keeps it: the same again for the same part, because a model's
  // functions may be read several times. Of a part that is not aligned as wanted (a power of 2, at
  // most 8) the bytes are moved down over the field's tag and length before it, which nobody reads
  // again; where there is no room for that the part's data is null.
  struct part {
    std::span<const std::byte> bytes;
    std::shared_ptr<const void> keep_alive;
  };
  part share(std::span<const std::byte> bytes, std::size_t alignment);
  bool holds(std::span<const std::byte> bytes) const noexcept;

  // Nobody reads the bytes themselves from now on, only the parts: the rest is given back.
  void seal();

 private:
  void give_back(std::size_t begin, std::size_t end) noexcept;

  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  std::mutex mutex_;
  bool sealed_ = false;
  std::map<const std::byte*, part> shared_;  // by where the part was; until sealed
};

}  // namespace mizzen::inference::detail
