// What is called when an asynchronous run is over.
#pragma once

#include <mizzen/inference/tensor.hpp>

#include <concepts>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

namespace mizzen::inference {

using tensor_map = std::map<std::string, tensor, std::less<>>;

// Holds any callable that takes the outcome of a run: null and all outputs by name, or what was
// thrown and an empty map. Unlike std::function it holds what can only be moved, such as a
// std::promise. Called once.
class run_handler {
 public:
  template <class Fn>
    requires(!std::same_as<std::remove_cvref_t<Fn>, run_handler> &&
             std::invocable<std::decay_t<Fn>&, std::exception_ptr, tensor_map>)
  run_handler(Fn&& fn) : held_(std::make_unique<holder<std::decay_t<Fn>>>(std::forward<Fn>(fn))) {}

  void operator()(std::exception_ptr failed, tensor_map outputs) {
    held_->call(std::move(failed), std::move(outputs));
  }

 private:
  struct base {
    base() = default;
    base(const base&) = delete;
    base& operator=(const base&) = delete;
    virtual ~base() = default;
    virtual void call(std::exception_ptr failed, tensor_map outputs) = 0;
  };
  template <class Fn>
  struct holder final : base {
    template <class From>
    explicit holder(From&& from) : fn(std::forward<From>(from)) {}
    void call(std::exception_ptr failed, tensor_map outputs) override {
      fn(std::move(failed), std::move(outputs));
    }
    Fn fn;
  };
  std::unique_ptr<base> held_;
};

}  // namespace mizzen::inference
