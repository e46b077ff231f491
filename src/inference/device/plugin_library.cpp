#include "inference/device/plugin_library.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <filesystem>
#include <string_view>

namespace mizzen::inference::detail {
namespace {

constexpr const char* cuda_library = "libmizzen_cuda.so";

// The text in an array of a plug-in, which may have filled it to the brim.
template <std::size_t N>
std::string text_of(const char (&array)[N]) {
  return {array, ::strnlen(array, N)};
}

void* open_library(const std::string& path) {
  return ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
}

std::string last_error() {
  const char* text = ::dlerror();
  return text != nullptr ? text : "unknown error";
}

// The folder of the library or program that this code is in; empty if it cannot be told.
std::filesystem::path own_folder() {
  Dl_info info{};
  if (::dladdr(reinterpret_cast<void*>(&own_folder), &info) == 0 || info.dli_fname == nullptr) {
    return {};
  }
  std::error_code none;
  const auto path = std::filesystem::weakly_canonical(info.dli_fname, none);
  return none ? std::filesystem::path() : path.parent_path();
}

}  // namespace

error error_of(const mizzen_error& told) {
  constexpr auto last = static_cast<std::int32_t>(errc::unauthenticated);
  const std::int32_t code = told.code - 1;
  return {code < 0 || code > last ? errc::unknown : static_cast<errc>(code), text_of(told.subject),
          text_of(told.message)};
}

plugin_library::plugin_library(const std::string& path) : path_(path) {
  const std::string subject = "plug-in '" + path + "'";
  void* const library = open_library(path);
  if (library == nullptr) throw error(errc::unavailable, subject, last_error());
  const auto entry =
      reinterpret_cast<mizzen_plugin_entry_function>(::dlsym(library, MIZZEN_PLUGIN_ENTRY));
  if (entry == nullptr) {
    throw error(errc::unavailable, subject,
                std::string("it is no plug-in of Mizzen: it has no ") + MIZZEN_PLUGIN_ENTRY);
  }
  table_ = entry(MIZZEN_PLUGIN_ABI);
  if (table_ == nullptr) throw error(errc::unavailable, subject, "it gives no table of functions");
  if (table_->abi != MIZZEN_PLUGIN_ABI) {
    throw error(errc::unavailable, subject,
                "its interface has version " + std::to_string(table_->abi) +
                    " where this library has " + std::to_string(MIZZEN_PLUGIN_ABI) +
                    ": install the plug-in of the same release");
  }
  // Version 2 has all its functions; later ones add at the end.
  const bool whole =
      table_->size >= sizeof(mizzen_plugin) && table_->device_count != nullptr &&
      table_->describe != nullptr && table_->open != nullptr && table_->close != nullptr &&
      table_->supports != nullptr && table_->compile != nullptr && table_->release != nullptr &&
      table_->run != nullptr && table_->memory_open != nullptr && table_->memory_close != nullptr &&
      table_->memory_allocate != nullptr && table_->memory_release != nullptr &&
      table_->memory_copy != nullptr && table_->memory_wait != nullptr;
  if (!whole) throw error(errc::unavailable, subject, "its table of functions is incomplete");
}

std::vector<device_info> plugin_library::devices() const {
  std::vector<device_info> list;
  const std::uint32_t count = table_->device_count();
  for (std::uint32_t i = 0; i < count; ++i) {
    mizzen_device_info info{};
    info.size = sizeof info;
    mizzen_error failed{};
    failed.size = sizeof failed;
    if (table_->describe(i, &info, &failed) != 0) {
      list.push_back({"cuda:" + std::to_string(i), "", false, error_of(failed).what()});
      continue;
    }
    list.push_back(
        {text_of(info.name), text_of(info.description), info.available != 0, text_of(info.reason)});
  }
  return list;
}

std::shared_ptr<const plugin_library> find_cuda_plugin() {
  if (const char* named = std::getenv("MIZZEN_CUDA_PLUGIN"); named != nullptr && *named != '\0') {
    return std::make_shared<const plugin_library>(named);
  }
  std::error_code none;
  const auto beside = own_folder() / cuda_library;
  if (beside.has_parent_path() && std::filesystem::exists(beside, none)) {
    return std::make_shared<const plugin_library>(beside.string());
  }
  if (open_library(cuda_library) == nullptr) {
    const std::string why = last_error();
    // One that is there but does not load has a reason of its own.
    const bool absent = why.starts_with(std::string(cuda_library) + ": cannot open shared object");
    throw error(errc::unavailable, "CUDA",
                absent ? "no CUDA plug-in (libmizzen_cuda.so) is installed" : why);
  }
  return std::make_shared<const plugin_library>(cuda_library);
}

}  // namespace mizzen::inference::detail
