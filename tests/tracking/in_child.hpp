// Work done by a child process.
#pragma once

#include <sys/wait.h>

#include <cstdio>
#include <exception>
#include <unistd.h>

namespace mizzen::tracking::test {

// Whether work, in a child process, returned true. The child leaves without running destructors of
// the parent's objects.
template <typename Work>
bool in_child(Work work) {
  const pid_t child = fork();
  if (child == 0) {
    bool good = false;
    try {
      good = work();
    } catch (const std::exception& e) {
      std::fprintf(stderr, "child: %s\n", e.what());
    }
    std::fflush(nullptr);
    _exit(good ? 0 : 1);
  }
  int status = -1;
  waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace mizzen::tracking::test
