#include "process.hpp"

#include <mizzen/core/error.hpp>

#include <sys/mman.h>
#include <sys/wait.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <string_view>
#include <unistd.h>

namespace mizzen::test {
namespace {

[[noreturn]] void fail(const std::string& what, int code) {
  throw error(errc::unavailable, what, std::strerror(code));
}

int memory_file() {
  const int fd = ::memfd_create("mizzen-test", MFD_CLOEXEC);
  if (fd < 0) fail("memfd_create", errno);
  return fd;
}

void write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const auto count = ::write(fd, text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail("write", errno);
    text.remove_prefix(static_cast<std::size_t>(count));
  }
}

std::string read_all(int fd) {
  std::string text;
  ::lseek(fd, 0, SEEK_SET);
  char buffer[65536];
  for (;;) {
    const auto count = ::read(fd, buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return text;
    text.append(buffer, static_cast<std::size_t>(count));
  }
}

// Starts a program with these descriptors as its standard input, output and error.
pid_t spawn(const std::vector<std::string>& command, int in, int out, int err) {
  std::vector<char*> arguments;
  for (const std::string& each : command) arguments.push_back(const_cast<char*>(each.c_str()));
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in, 0);
  posix_spawn_file_actions_adddup2(&actions, out, 1);
  posix_spawn_file_actions_adddup2(&actions, err, 2);
  pid_t pid = -1;
  const int failed =
      ::posix_spawnp(&pid, command.front().c_str(), &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) fail("cannot start " + command.front(), failed);
  return pid;
}

int wait_for(pid_t pid) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) fail("waitpid", errno);
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

process_result run_process(const std::vector<std::string>& command, const std::string& input) {
  const int in = memory_file();
  const int out = memory_file();
  const int err = memory_file();
  write_all(in, input);
  ::lseek(in, 0, SEEK_SET);
  process_result result;
  result.status = wait_for(spawn(command, in, out, err));
  result.out = read_all(out);
  result.err = read_all(err);
  for (const int fd : {in, out, err}) ::close(fd);
  return result;
}

conversation::conversation(const std::vector<std::string>& command) {
  int input[2];
  int output[2];
  if (::pipe2(input, O_CLOEXEC) != 0 || ::pipe2(output, O_CLOEXEC) != 0) fail("pipe", errno);
  pid_ = spawn(command, input[0], output[1], 2);
  ::close(input[0]);
  ::close(output[1]);
  to_ = input[1];
  from_ = output[0];
}

conversation::~conversation() {
  ::close(to_);
  ::close(from_);
  ::kill(pid_, SIGKILL);
  int status = 0;
  ::waitpid(pid_, &status, 0);
}

std::string conversation::read_line() {
  for (;;) {
    if (const auto end = received_.find('\n'); end != std::string::npos) {
      std::string line = received_.substr(0, end);
      received_.erase(0, end + 1);
      return line;
    }
    pollfd descriptor{from_, POLLIN, 0};
    if (::poll(&descriptor, 1, 60'000) != 1)
      throw error(errc::deadline_exceeded, "conversation", "no answer");
    char buffer[65536];
    const auto count = ::read(from_, buffer, sizeof buffer);
    if (count <= 0) throw error(errc::unavailable, "conversation", "the program has ended");
    received_.append(buffer, static_cast<std::size_t>(count));
  }
}

std::string conversation::ask(const std::string& line) {
  write_all(to_, line + "\n");
  return read_line();
}

}  // namespace mizzen::test
