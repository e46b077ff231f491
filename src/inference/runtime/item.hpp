// What values hold while a graph runs in stages.
#pragma once

#include <mizzen/inference/value.hpp>

#include <atomic>
#include <cstddef>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

namespace mizzen::inference::detail {

using shared_tensor = std::shared_ptr<const tensor>;
using shared_sequence = std::shared_ptr<const std::vector<shared_tensor>>;

// A tensor, a sequence, or nothing (a value not made yet, an input left out, an empty optional).
// Sharing is safe because what is shared is never changed.
struct item {
  shared_tensor one;
  shared_sequence many;

  item() = default;
  item(shared_tensor t) noexcept : one(std::move(t)) {}
  item(shared_sequence s) noexcept : many(std::move(s)) {}

  bool empty() const noexcept { return one == nullptr && many == nullptr; }
};

// Bytes that the values between the stages of one run take together. Thread safe.
class memory_account {
 public:
  explicit memory_account(std::size_t limit) noexcept : limit_(limit) {}
  memory_account(const memory_account&) = delete;
  memory_account& operator=(const memory_account&) = delete;

  // Throws error(resource_exhausted) beyond the limit.
  void take(std::size_t bytes);
  void give_back(std::size_t bytes) noexcept { used_ -= bytes; }

  std::size_t limit() const noexcept { return limit_; }

 private:
  const std::size_t limit_;
  std::atomic<std::size_t> used_ = 0;
};

// A zeroed tensor whose bytes are on the account for as long as anybody holds it; it may be written
// until it is shared.
std::shared_ptr<tensor> make_tensor(element_type type, shape_type shape,
                                    const std::shared_ptr<memory_account>& account);

// A tensor that the caller keeps alive for as long as the run lasts.
shared_tensor borrow(const tensor& t);

// The tensor for a caller: moved where nobody else holds it, else a copy.
tensor take_out(shared_tensor t);

// Bytes of a tensor's elements; for strings those of the string objects.
std::size_t memory_of(element_type type, std::size_t count);

}  // namespace mizzen::inference::detail
