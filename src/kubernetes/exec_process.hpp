// Runs a program to its end without blocking a thread, and catches what it prints.
#pragma once

#include <mizzen/core/deadline.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mizzen::kubernetes::detail {

struct process_options {
  // What errors call it.
  std::string name = {};
  // A path, or a name that is looked for in PATH.
  std::string command = {};
  std::vector<std::string> arguments = {};
  // Added to this process's environment; replaces what is there.
  std::vector<std::pair<std::string, std::string>> environment = {};
  // Shown when there is no such command.
  std::string install_hint = {};
  // True: it shares this process's standard input, terminal and process group.
  bool interactive = false;
  // True: standard error goes where this process's goes.
  bool inherit_stderr = false;
  // Gets standard error as it comes, on the executor.
  std::function<void(std::string_view)> on_stderr = {};
  std::size_t output_limit = std::size_t{16} << 20;
  deadline until = {};
};

struct process_result {
  // As a shell has it: the exit code, or 128 and the signal's number. Empty when somebody else (a
  // handler of SIGCHLD) has taken it.
  std::optional<int> status = {};
  std::string output = {};
  // The last of standard error, at most 4 KiB.
  std::string errors = {};
};

// Starts the program (never through a shell, without any descriptor but the standard three), reads
// what it prints, and waits for its end. A deadline or a cancellation (terminal, partial or total)
// kills it with its process group. `on` must be a strand or run by one thread. Errors:
//   not_found          no such command
//   unauthenticated    it cannot be started
//   resource_exhausted it prints more than output_limit
//   deadline_exceeded, cancelled
boost::asio::awaitable<process_result> run_process(boost::asio::any_io_executor on,
                                                   process_options options);

}  // namespace mizzen::kubernetes::detail
