#include "cuda/libraries.hpp"

#include <mizzen/core/error.hpp>

#include <cstdlib>
#include <dlfcn.h>
#include <filesystem>
#include <sstream>
#include <system_error>

namespace mizzen::cuda {
namespace {

std::vector<std::string> folders() {
  std::vector<std::string> list = {""};  // as the loader looks
  const auto add = [&](const char* path) {
    std::istringstream text(path != nullptr ? path : "");
    for (std::string one; std::getline(text, one, ':');) {
      if (!one.empty()) list.push_back(one + "/");
    }
  };
  add(std::getenv("MIZZEN_CUDA_LIBRARY_PATH"));
  add(MIZZEN_CUDA_BUILD_LIBRARY_PATH);
  return list;
}

}  // namespace

library::library(const std::string& what, const std::vector<std::string>& names) : what_(what) {
  std::string why;
  for (const std::string& folder : folders()) {
    for (const std::string& name : names) {
      handle_ = ::dlopen((folder + name).c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
      if (handle_ != nullptr) return;
      const char* text = ::dlerror();
      if (why.empty() && text != nullptr) why = text;
    }
  }
  throw error(errc::unavailable, what_, "it is not installed, or does not load: " + why);
}

void library::open_beside(const char* function, const std::string& prefix) const {
  Dl_info info{};
  if (::dladdr(find(function), &info) == 0 || info.dli_fname == nullptr) return;
  std::error_code failed;
  const auto own = std::filesystem::weakly_canonical(info.dli_fname, failed);
  if (failed) return;
  for (std::filesystem::directory_iterator it(own.parent_path(), failed), end; !failed && it != end;
       it.increment(failed)) {
    if (!it->path().filename().string().starts_with(prefix)) continue;
    ::dlopen(it->path().c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  }
}

void* library::find(const char* function) const {
  void* const found = ::dlsym(handle_, function);
  if (found == nullptr) {
    throw error(errc::unavailable, what_, std::string("it is too old: it has no ") + function);
  }
  return found;
}

}  // namespace mizzen::cuda
