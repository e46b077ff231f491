// Streams of the emulated GPU, for tests; see emulated.hpp. The real plug-in has none of this.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <dlfcn.h>
#include <functional>
#include <utility>

namespace mizzen::test {

template <class Function>
Function* emulated(const char* name) {
  static void* const library = ::dlopen(std::getenv("MIZZEN_CUDA_PLUGIN"), RTLD_NOW | RTLD_LOCAL);
  return library != nullptr ? reinterpret_cast<Function*>(::dlsym(library, name)) : nullptr;
}

inline bool has_streams() { return emulated<void>("mizzen_emulated_stream_create") != nullptr; }

// "recorded", "replayed", "steps", "setup" (steps of it),
// "products" (by cuBLASLt), "copied_bytes", and "device_bytes" (of
// sessions, that are taken now), of the whole process; 0 on a real GPU.
inline std::uint64_t count_of(const char* what) {
  auto* const count = emulated<std::uint64_t(const char*)>("mizzen_emulated_count");
  return count != nullptr ? count(what) : 0;
}

class test_stream {
 public:
  explicit test_stream(std::uint32_t device)
      : handle_(emulated<void*(std::uint32_t)>("mizzen_emulated_stream_create")(device)) {}
  test_stream(const test_stream&) = delete;
  test_stream& operator=(const test_stream&) = delete;
  ~test_stream() { emulated<void(void*)>("mizzen_emulated_stream_destroy")(handle_); }

  void* get() const noexcept { return handle_; }

  // Done when the stream comes to it.
  void add(std::function<void()> work) const {
    auto* const kept = new std::function<void()>(std::move(work));
    emulated<void(void*, void (*)(void*), void*)>("mizzen_emulated_stream_add")(
        handle_,
        [](void* w) {
          auto* const all = static_cast<std::function<void()>*>(w);
          (*all)();
          delete all;
        },
        kept);
  }

 private:
  void* handle_;
};

}  // namespace mizzen::test
