// An optional struct of the API, kept on the heap.
#pragma once

#include <mizzen/core/error.hpp>

#include <concepts>
#include <utility>

namespace mizzen::kubernetes {

namespace detail {

// One word whatever the type behind it is, so that the codecs can test a box that they only know
// by its place in a struct.
struct box_base {
  void* pointer = nullptr;
};

[[noreturn]] inline void throw_empty_box() {
  throw error(errc::failed_precondition, "box",
              "it is empty: test it before use, or give it a value with emplace()");
}

}  // namespace detail

// A nullable value: 8 bytes when empty, a T of its own on the heap otherwise. Unlike std::optional
// it may hold a type that is not complete yet, and unlike std::unique_ptr it copies and compares
// what it holds. What Go writes as a pointer to a struct.
//
// Not thread safe, like any value.
template <typename T>
class box : private detail::box_base {
 public:
  using value_type = T;

  box() noexcept = default;
  box(T value) { pointer = new T(std::move(value)); }  // NOLINT: a value is a full box
  box(const box& other) {
    if (other) pointer = new T(*other.get());
  }
  box(box&& other) noexcept { std::swap(pointer, other.pointer); }
  ~box() { delete get(); }

  box& operator=(const box& other) {
    if (this != &other) box(other).swap(*this);
    return *this;
  }
  box& operator=(box&& other) noexcept {
    box(std::move(other)).swap(*this);
    return *this;
  }

  explicit operator bool() const noexcept { return pointer != nullptr; }
  bool has_value() const noexcept { return pointer != nullptr; }

  // What it holds. Of an empty box: error(failed_precondition).
  T& operator*() { return value(); }
  const T& operator*() const { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  T& value() {
    if (pointer == nullptr) detail::throw_empty_box();
    return *get();
  }
  const T& value() const {
    if (pointer == nullptr) detail::throw_empty_box();
    return *get();
  }

  // What it holds, or null.
  T* get() noexcept { return static_cast<T*>(pointer); }
  const T* get() const noexcept { return static_cast<const T*>(pointer); }

  // What it holds, after putting a default T into an empty one: `box.or_emplace().field = x`.
  T& or_emplace() {
    if (pointer == nullptr) pointer = new T{};
    return *get();
  }

  // Replaces what it holds by a T{arguments...}.
  template <typename... Arguments>
  T& emplace(Arguments&&... arguments) {
    box(T{std::forward<Arguments>(arguments)...}).swap(*this);
    return *get();
  }

  void reset() noexcept { box().swap(*this); }
  void swap(box& other) noexcept { std::swap(pointer, other.pointer); }

  // Equal when both are empty or both hold equal values.
  friend bool operator==(const box& a, const box& b) {
    return a && b ? *a.get() == *b.get() : a.has_value() == b.has_value();
  }
};

}  // namespace mizzen::kubernetes
