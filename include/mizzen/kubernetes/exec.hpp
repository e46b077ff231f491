// Commands in a running container.
#pragma once

#include <mizzen/core/cancellation.hpp>
#include <mizzen/kubernetes/client.hpp>
#include <mizzen/kubernetes/status.hpp>

#include <boost/asio/awaitable.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mizzen::kubernetes {

struct exec_options {
  // The program and its arguments; no shell is between.
  std::vector<std::string> command = {};

  // May be empty when the pod has one container only (or names a default one in an annotation).
  std::string container = {};

  bool stdin_ = false;
  bool stdout_ = true;
  bool stderr_ = true;  // with tty it comes with stdout

  // The program gets a terminal.
  bool tty = false;

  // Ends the session, at any time.
  mizzen::cancellation cancel = {};

  // A ping goes out this often, and a server that is silent for longer than `silence` is given up:
  // what tells a quiet session from a lost connection. Zero: never.
  std::chrono::milliseconds ping_interval{10'000};
  std::chrono::milliseconds silence{60'000};
};

enum class output_stream : std::uint8_t { stdout_, stderr_ };

struct process_output {
  output_stream from = output_stream::stdout_;
  std::string_view data = {};  // valid until the next read
};

// How a program ended.
struct process_exit {
  int code = 0;
  // Why, in the words of the server; empty for 0.
  std::string message = {};
};

// A program in a container that this side is connected to: exec and attach. Speaks
// v5.channel.k8s.io, or v4 with servers that know no other.
//
// One coroutine reads while others write. Move only; destroying it ends the connection at once,
// which ends a program with a terminal, while another one may go on.
class remote_process {
 public:
  remote_process(remote_process&&) noexcept;
  remote_process& operator=(remote_process&&) noexcept;
  ~remote_process();

  // The next piece of output, nothing once the program has ended and all of it was read. Throws
  // status_error when the server could not run the program (reason and message say why),
  // unavailable when the connection broke, deadline_exceeded, cancelled.
  boost::asio::awaitable<std::optional<process_output>> read();

  // How it ended. Once read() gave nothing; before, error(failed_precondition).
  const process_exit& exit() const;

  // To its standard input; waits for a slow reader. data must live until it returns.
  boost::asio::awaitable<void> write(std::string_view data);

  // The end of its standard input. Throws error(unimplemented) where the server knows only v4,
  // which has no such thing.
  boost::asio::awaitable<void> close_stdin();

  // The size of the terminal, in characters.
  boost::asio::awaitable<void> resize(std::uint16_t width, std::uint16_t height);

  // "v5.channel.k8s.io"
  const std::string& protocol() const noexcept;

  // Frees the socket at once; from any thread.
  void close() noexcept;

 private:
  friend boost::asio::awaitable<remote_process> exec(client, std::string, std::string,
                                                     exec_options);
  friend struct attach_access;
  struct impl;
  explicit remote_process(std::shared_ptr<impl> made) noexcept;
  std::shared_ptr<impl> impl_;
};

// Starts a command in a container of a running pod. A command that does not exist is a status_error
// of the first read. Never retried: it could run twice.
boost::asio::awaitable<remote_process> exec(client k8s, std::string ns, std::string pod,
                                            exec_options options);

struct command_result {
  process_exit exit = {};
  std::string out = {};
  std::string err = {};
};

// Runs a command to its end. input: its standard input, all of it (needs v5; without one, stdin_ is
// as in the options). Output beyond max_output bytes is error(resource_exhausted). An exit code
// other than 0 is a result, not an error. Give it a deadline (exec_options::cancel) where a program
// may leave much of its input unread: not every container runtime ends the session then.
boost::asio::awaitable<command_result> run_command(client k8s, std::string ns, std::string pod,
                                                   exec_options options, std::string input = {},
                                                   std::size_t max_output = std::size_t{64} << 20);

// The path and query of the request.
std::string exec_url(std::string_view ns, std::string_view pod, const exec_options& options);

}  // namespace mizzen::kubernetes
