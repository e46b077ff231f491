#include "inference/runtime/item.hpp"

#include <mizzen/core/checked.hpp>

#include <string>

namespace mizzen::inference::detail {
namespace {

struct accounted {
  accounted(std::size_t n, std::shared_ptr<memory_account> a) : account(std::move(a)) {
    account->take(n);
    bytes = n;
  }
  accounted(const accounted&) = delete;
  accounted& operator=(const accounted&) = delete;
  ~accounted() { account->give_back(bytes); }

  std::size_t bytes = 0;
  std::shared_ptr<memory_account> account;
  tensor value;
};

}  // namespace

void memory_account::take(std::size_t bytes) {
  const std::size_t before = used_.fetch_add(bytes);
  if (before <= limit_ && bytes <= limit_ - before) return;
  used_ -= bytes;
  throw error(errc::resource_exhausted, "memory of a run",
              "its values take more than the limit of " + std::to_string(limit_) +
                  " bytes: raise session_options.memory_limit");
}

std::size_t memory_of(element_type type, std::size_t count) {
  if (type == element_type::string) return checked_mul(count, sizeof(std::string), "tensor");
  return byte_size(type, count);
}

std::shared_ptr<tensor> make_tensor(element_type type, shape_type shape,
                                    const std::shared_ptr<memory_account>& account) {
  const std::size_t bytes = memory_of(type, checked_element_count(shape, "tensor"));
  // Counted before it is taken.
  auto owner = std::make_shared<accounted>(bytes, account);
  owner->value = tensor(type, std::move(shape));
  return {owner, &owner->value};
}

shared_tensor borrow(const tensor& t) { return {std::shared_ptr<void>(), &t}; }

tensor take_out(shared_tensor t) {
  // Of tensors with one holder all were made by make_tensor, that is, not const. (What is borrowed
  // has no holder, constants have the graph as another.)
  if (t.use_count() == 1) return std::move(const_cast<tensor&>(*t));
  return t->clone();
}

}  // namespace mizzen::inference::detail
