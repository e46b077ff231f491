// Runs programs from tests.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace mizzen::test {

struct process_result {
  int status = 0;  // exit status; 128 + signal number if a signal ended it
  std::string out;
  std::string err;
};

// Runs a program to its end with `input` on its standard input. The program is looked up in PATH
// unless it is a path. Throws mizzen::error when it cannot be started; its exit status is the
// caller's to judge.
process_result run_process(const std::vector<std::string>& command, const std::string& input = {});

// A program that reads lines and answers each by one, and ends at the end of its input: it cannot
// outlive the test, however that ends. Not thread-safe.
class conversation {
 public:
  explicit conversation(const std::vector<std::string>& command);
  ~conversation();
  conversation(const conversation&) = delete;
  conversation& operator=(const conversation&) = delete;

  std::string read_line();  // throws mizzen::error at the end of its output, or after 60 s
  std::string ask(const std::string& line);

 private:
  pid_t pid_ = -1;
  int to_ = -1;
  int from_ = -1;
  std::string received_;
};

}  // namespace mizzen::test
