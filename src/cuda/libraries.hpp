// Libraries that are opened while the program runs.
#pragma once

#include <string>
#include <vector>

namespace mizzen::cuda {

class library {
 public:
  // The first of these names that opens: by the loader, in the folders of
  // MIZZEN_CUDA_LIBRARY_PATH (separated by colons), then in those the plug-in was built with.
  // Throws error(unavailable), which says what is missing. Stays open until the process ends.
  library(const std::string& what, const std::vector<std::string>& names);

  // Opens the libraries beside the one that has this function whose names begin so: for those that
  // it would look for by the loader alone.
  void open_beside(const char* function, const std::string& prefix) const;

  // Throws error(unavailable) naming the function.
  void* find(const char* function) const;

 private:
  std::string what_;
  void* handle_ = nullptr;
};

#define MIZZEN_TEXT_OF(name) #name
// The name after the headers' macros: that of the version they describe.
#define MIZZEN_SYMBOL(name) MIZZEN_TEXT_OF(name)

}  // namespace mizzen::cuda
