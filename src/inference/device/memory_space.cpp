#include "inference/device/memory_space.hpp"

#include <mizzen/core/error.hpp>

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

namespace mizzen::inference::detail {
namespace {

mizzen_error empty_error() {
  mizzen_error e{};
  e.size = sizeof e;
  return e;
}

mizzen_buffer buffer_of(const void* data, bool on_device, std::size_t bytes) {
  return {const_cast<void*>(data), bytes, on_device ? MIZZEN_ON_DEVICE : MIZZEN_ON_HOST};
}

}  // namespace

memory_space::memory_space(std::shared_ptr<const plugin_library> library, std::uint32_t index)
    : library_(std::move(library)), name_("cuda:" + std::to_string(index)) {
  mizzen_error failed = empty_error();
  if (library_->table().memory_open(index, &memory_, &failed) != 0) throw error_of(failed);
}

memory_space::~memory_space() { library_->table().memory_close(memory_); }

std::shared_ptr<void> memory_space::allocate(std::size_t bytes, bool zeroed) const {
  mizzen_error failed = empty_error();
  void* data = nullptr;
  const std::size_t size = std::max<std::size_t>(bytes, 1);
  if (library_->table().memory_allocate(memory_, size, zeroed ? 1 : 0, &data, &failed) != 0) {
    throw error_of(failed);
  }
  return {data, [this](void* p) { library_->table().memory_release(memory_, p); }};
}

void memory_space::copy(void* to, bool to_device, const void* from, bool from_device,
                        std::size_t bytes, void* stream) const {
  if (bytes == 0) return;
  const mizzen_buffer source = buffer_of(from, from_device, bytes);
  const mizzen_buffer target = buffer_of(to, to_device, bytes);
  mizzen_error failed = empty_error();
  if (library_->table().memory_copy(memory_, &source, &target, stream, &failed) != 0) {
    throw error_of(failed);
  }
}

void memory_space::wait(void* stream) const {
  mizzen_error failed = empty_error();
  if (library_->table().memory_wait(memory_, stream, &failed) != 0) throw error_of(failed);
}

void memory_space::copy(const memory_space* to_space, void* to, const memory_space* from_space,
                        const void* from, std::size_t bytes, void* stream) {
  if (bytes == 0) return;
  if (to_space == nullptr && from_space == nullptr) {
    std::memcpy(to, from, bytes);
  } else if (to_space == nullptr || from_space == nullptr ||
             to_space->name() == from_space->name()) {
    const memory_space& on = to_space != nullptr ? *to_space : *from_space;
    on.copy(to, to_space != nullptr, from, from_space != nullptr, bytes, stream);
  } else {
    std::vector<std::byte> between(bytes);
    from_space->copy(between.data(), false, from, true, bytes, stream);
    to_space->copy(to, true, between.data(), false, bytes, nullptr);
  }
}

}  // namespace mizzen::inference::detail
