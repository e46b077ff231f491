// A shell in a container, with a terminal: exec_shell NAMESPACE POD [CONTAINER [COMMAND...]]
#include <mizzen/core/error.hpp>
#include <mizzen/kubernetes/client.hpp>
#include <mizzen/kubernetes/exec.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <sys/ioctl.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <iostream>
#include <memory>
#include <termios.h>
#include <unistd.h>

namespace mz = mizzen;
namespace asio = boost::asio;
using process_ptr = std::shared_ptr<mz::kubernetes::remote_process>;

// Keys go to the other side one by one; what was set before is set again at the end.
class raw_terminal {
 public:
  raw_terminal() : is_one_(::tcgetattr(STDIN_FILENO, &before_) == 0) {
    if (!is_one_) return;
    termios raw = before_;
    ::cfmakeraw(&raw);
    ::tcsetattr(STDIN_FILENO, TCSANOW, &raw);
  }
  ~raw_terminal() {
    if (is_one_) ::tcsetattr(STDIN_FILENO, TCSANOW, &before_);
  }
  raw_terminal(const raw_terminal&) = delete;
  raw_terminal& operator=(const raw_terminal&) = delete;

 private:
  termios before_{};
  bool is_one_;
};

asio::awaitable<void> send_size(process_ptr to) {
  winsize size{};
  if (::ioctl(STDIN_FILENO, TIOCGWINSZ, &size) == 0) {
    co_await to->resize(size.ws_col, size.ws_row);
  }
}

asio::awaitable<void> send_sizes(process_ptr to, asio::any_io_executor on) {
  asio::signal_set changed(on, SIGWINCH);
  for (;;) {
    co_await send_size(to);
    co_await changed.async_wait(asio::use_awaitable);
  }
}

asio::awaitable<void> send_keys(process_ptr to, asio::any_io_executor on) {
  asio::posix::stream_descriptor keyboard(on, ::dup(STDIN_FILENO));
  std::array<char, 4096> buffer;
  for (;;) {
    boost::system::error_code ec;
    const std::size_t count = co_await keyboard.async_read_some(
        asio::buffer(buffer), asio::redirect_error(asio::use_awaitable, ec));
    if (ec) break;
    co_await to->write(std::string_view(buffer.data(), count));
  }
  co_await to->close_stdin();
}

asio::awaitable<int> shell(mz::kubernetes::client k8s, std::string ns, std::string pod,
                           mz::kubernetes::exec_options options) {
  const asio::any_io_executor on = k8s.executor();
  auto starting = mz::kubernetes::exec(k8s, ns, pod, std::move(options));
  const auto process =
      std::make_shared<mz::kubernetes::remote_process>(co_await std::move(starting));
  const auto ignore = [](const std::exception_ptr&) {};
  asio::co_spawn(on, send_keys(process, on), ignore);
  asio::co_spawn(on, send_sizes(process, on), ignore);
  // --8<-- [start:output]
  while (const auto piece = co_await process->read()) {
    const bool err = piece->from == mz::kubernetes::output_stream::stderr_;
    std::FILE* const to = err ? stderr : stdout;
    std::fwrite(piece->data.data(), 1, piece->data.size(), to);
    std::fflush(to);
  }
  co_return process->exit().code;
  // --8<-- [end:output]
}

int main(int argc, char** argv) {
  if (argc < 3) {
    std::cerr << "usage: exec_shell NAMESPACE POD [CONTAINER [COMMAND...]]\n";
    return 2;
  }
  mz::kubernetes::exec_options options;
  options.container = argc > 3 ? argv[3] : "";
  options.command.assign(argv + std::min(argc, 4), argv + argc);
  if (options.command.empty()) options.command = {"sh"};
  options.stdin_ = true;
  options.tty = ::isatty(STDIN_FILENO) != 0;
  try {
    mz::kubernetes::blocking k8s;
    const raw_terminal raw;
    return k8s.run(shell(k8s.client(), argv[1], argv[2], std::move(options)));
  } catch (const std::exception& e) {
    std::cerr << e.what() << '\n';
    return 1;
  }
}
