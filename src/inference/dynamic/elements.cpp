#include "inference/dynamic/elements.hpp"

#include <mizzen/core/checked.hpp>

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

namespace mizzen::inference::detail {
namespace {

std::size_t product(std::span<const std::int64_t> shape) {
  return checked_element_count(shape, "tensor");
}

struct with_texts {
  with_texts(std::size_t n, std::shared_ptr<memory_account> a) : account(std::move(a)) {
    account->take(n);
    bytes = n;
  }
  with_texts(const with_texts&) = delete;
  with_texts& operator=(const with_texts&) = delete;
  ~with_texts() { account->give_back(bytes); }

  std::size_t bytes = 0;
  std::shared_ptr<memory_account> account;
  std::shared_ptr<tensor> strings;
};

// A tensor for copies of elements of others, whose texts have so many bytes.
std::shared_ptr<tensor> make_like(const tensor& from, shape_type shape, std::size_t texts,
                                  const run_state& state) {
  if (from.type() == element_type::string) return make_strings(std::move(shape), texts, state);
  return state.make(from.type(), std::move(shape));
}

}  // namespace

std::size_t text_bytes(const tensor& t) {
  if (t.type() != element_type::string) return 0;
  std::size_t bytes = 0;
  for (const std::string& text : t.data<std::string>()) {
    bytes = checked_add(bytes, text.size(), "strings");
  }
  return bytes;
}

std::shared_ptr<tensor> make_strings(shape_type shape, std::size_t text_bytes,
                                     const run_state& state) {
  auto owner = std::make_shared<with_texts>(text_bytes, state.account);
  owner->strings = state.make(element_type::string, std::move(shape));
  tensor* strings = owner->strings.get();
  return {std::move(owner), strings};
}

void copy_elements(tensor& to, std::size_t to_first, const tensor& from, std::size_t from_first,
                   std::size_t count) {
  if (count == 0) return;
  if (from.type() == element_type::string) {
    const auto in = from.data<std::string>().subspan(from_first, count);
    std::copy(in.begin(), in.end(), to.data<std::string>().subspan(to_first).begin());
    return;
  }
  const std::size_t bits = bit_width(from.type());
  if (bits < 8) {
    throw error(errc::unimplemented, "elements",
                "parts of tensors of " + std::string(to_string(from.type())));
  }
  const std::size_t size = bits / 8;
  std::memcpy(to.mutable_bytes().data() + to_first * size, from.bytes().data() + from_first * size,
              count * size);
}

std::size_t checked_axis(std::int64_t axis, std::size_t rank) {
  const auto n = static_cast<std::int64_t>(rank);
  if (axis < -n || axis >= n) {
    throw error(errc::invalid_argument, "attribute 'axis'",
                "axis " + std::to_string(axis) + " is outside rank " + std::to_string(rank));
  }
  return static_cast<std::size_t>(axis < 0 ? axis + n : axis);
}

std::int64_t integer_at(const tensor& t, std::size_t i) {
  if (t.type() == element_type::int32) return t.data<std::int32_t>()[i];
  return t.data<std::int64_t>()[i];
}

std::int64_t only_integer(const tensor& t, std::string_view what) {
  if (t.size() != 1) throw error(errc::invalid_argument, what, "it must be one number");
  return integer_at(t, 0);
}

shared_tensor take_slice(const tensor& from, std::size_t axis, std::int64_t first,
                         std::int64_t count, bool drop, const run_state& state) {
  const std::span<const std::int64_t> shape(from.shape());
  const std::size_t outer = product(shape.first(axis));
  const std::size_t inner = product(shape.subspan(axis + 1));
  const auto whole = static_cast<std::size_t>(shape[axis]);
  shape_type result = from.shape();
  result[axis] = count;
  if (drop) result.erase(result.begin() + static_cast<std::ptrdiff_t>(axis));
  auto out = make_like(from, std::move(result), text_bytes(from), state);
  const std::size_t block = static_cast<std::size_t>(count) * inner;
  for (std::size_t o = 0; o < outer; ++o) {
    copy_elements(*out, o * block, from, (o * whole + static_cast<std::size_t>(first)) * inner,
                  block);
  }
  return out;
}

shared_tensor join(std::span<const shared_tensor> parts, std::size_t axis, bool stack,
                   const run_state& state) {
  if (parts.empty()) throw error(errc::invalid_argument, "sequence", "it is empty");
  shape_type result = parts[0]->shape();
  if (stack) {
    for (const shared_tensor& t : parts) {
      if (t->shape() == result) continue;
      throw error(
          errc::invalid_argument, "tensors to be stacked",
          "their shapes " + to_string(result) + " and " + to_string(t->shape()) + " differ");
    }
    result.insert(result.begin() + static_cast<std::ptrdiff_t>(axis),
                  static_cast<std::int64_t>(parts.size()));
  } else {
    result[axis] = 0;
    for (const shared_tensor& t : parts) {
      shape_type rest = t->shape();
      const bool same_rank = rest.size() == result.size();
      const std::int64_t along = same_rank ? rest[axis] : 0;
      if (same_rank) rest[axis] = result[axis];
      if (rest != result) {
        throw error(errc::invalid_argument, "tensors to be concatenated",
                    "the shapes " + to_string(parts[0]->shape()) + " and " + to_string(t->shape()) +
                        " do not fit");
      }
      result[axis] = checked_add(result[axis], along, "concatenated tensors");
    }
  }
  const std::span<const std::int64_t> shape(result);
  const std::size_t outer = product(shape.first(axis));
  const std::size_t inner = product(shape.subspan(axis + 1));
  const std::size_t row = static_cast<std::size_t>(result[axis]) * inner;
  std::size_t texts = 0;
  for (const shared_tensor& t : parts) texts = checked_add(texts, text_bytes(*t), "strings");
  auto out = make_like(*parts[0], result, texts, state);
  std::size_t at = 0;
  for (const shared_tensor& t : parts) {
    const std::size_t block = outer == 0 ? 0 : t->size() / outer;
    for (std::size_t o = 0; o < outer; ++o) copy_elements(*out, o * row + at, *t, o * block, block);
    at += block;
  }
  return out;
}

}  // namespace mizzen::inference::detail
