#include "kubernetes/exec_process.hpp"

#include "core/descriptor.hpp"
#include "kubernetes/exec_info.hpp"

#include <mizzen/core/error.hpp>

#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <memory>
#include <spawn.h>
#include <unistd.h>

namespace mizzen::kubernetes::detail {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using mizzen::detail::descriptor;
using std::chrono::milliseconds;

constexpr std::size_t errors_kept = 4096;
// How long what a plugin has left behind may hold its pipes open.
constexpr milliseconds grace{1000};

struct pipe_ends {
  descriptor read;
  descriptor write;
};

pipe_ends make_pipe(const std::string& name) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    throw error(errc::unauthenticated, name, "no pipe: " + std::string(std::strerror(errno)));
  }
  pipe_ends made{descriptor(ends[0]), descriptor(ends[1])};
  // In a process without standard streams a pipe may get their numbers, which the child needs.
  for (descriptor* end : {&made.read, &made.write}) {
    if (end->get() > 2) continue;
    descriptor higher(::fcntl(end->get(), F_DUPFD_CLOEXEC, 3));
    if (higher.get() < 0) {
      throw error(errc::unauthenticated, name, "no pipe: " + std::string(std::strerror(errno)));
    }
    *end = std::move(higher);
  }
  return made;
}

// As Go does it: in the PATH of this process, and never in the current folder, where anybody may
// have left a program of the name.
std::string find_command(const std::string& command) {
  if (command.find('/') != std::string::npos) return command;
  const char* const variable = std::getenv("PATH");
  const std::string path = variable ? variable : "/usr/local/bin:/usr/bin:/bin";
  for (std::size_t begin = 0; begin <= path.size();) {
    const std::size_t end = std::min(path.find(':', begin), path.size());
    const std::string folder = path.substr(begin, end - begin);
    begin = end + 1;
    if (!folder.starts_with('/')) continue;
    std::string file = folder + "/" + command;
    if (::access(file.c_str(), X_OK) == 0) return file;
  }
  return {};
}

std::vector<std::string> merged_environment(
    const std::vector<std::pair<std::string, std::string>>& own) {
  std::vector<std::string> merged;
  for (char** each = environ; each != nullptr && *each != nullptr; ++each) {
    const std::string_view entry = *each;
    const std::string_view name = entry.substr(0, entry.find('='));
    const bool replaced =
        std::any_of(own.begin(), own.end(), [&](const auto& pair) { return pair.first == name; });
    if (!replaced) merged.emplace_back(entry);
  }
  for (auto each = own.begin(); each != own.end(); ++each) {
    const bool again = std::any_of(each + 1, own.end(),
                                   [&](const auto& later) { return later.first == each->first; });
    if (!again) merged.push_back(each->first + "=" + each->second);
  }
  return merged;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> list;
  list.reserve(texts.size() + 1);
  for (std::string& each : texts) list.push_back(each.data());
  list.push_back(nullptr);
  return list;
}

struct spawn_settings {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  spawn_settings() {
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawnattr_init(&attributes);
  }
  ~spawn_settings() {
    ::posix_spawn_file_actions_destroy(&actions);
    ::posix_spawnattr_destroy(&attributes);
  }
  spawn_settings(const spawn_settings&) = delete;
  spawn_settings& operator=(const spawn_settings&) = delete;
};

[[noreturn]] void refuse_start(const process_options& options, const std::string& file, int code) {
  const std::string hint =
      options.install_hint.empty() ? "" : "\n" + printable(options.install_hint);
  if (code == ENOENT || code == ENOTDIR) {
    throw error(errc::not_found, options.name,
                (file.empty() ? "there is no '" + options.command + "' in PATH; install it"
                              : "there is no " + file + "; install it") +
                    hint);
  }
  std::string why = "cannot start it: " + std::string(std::strerror(code));
  if (code == ENOEXEC) why += " (a script must begin with #!)";
  if (code == E2BIG) why += " (does provideClusterInfo pass on very large authorities?)";
  throw error(errc::unauthenticated, options.name, why);
}

// A child process: killed and waited for at the latest when this goes away.
class child {
 public:
  child(const process_options& options, const pipe_ends& output, const pipe_ends* errors)
      : group_(!options.interactive) {
    const std::string file = find_command(options.command);
    if (file.empty()) refuse_start(options, file, ENOENT);
    std::vector<std::string> arguments = {options.command};
    arguments.insert(arguments.end(), options.arguments.begin(), options.arguments.end());
    std::vector<std::string> environment = merged_environment(options.environment);

    spawn_settings with;
    if (!options.interactive) {
      ::posix_spawn_file_actions_addopen(&with.actions, 0, "/dev/null", O_RDONLY, 0);
    }
    ::posix_spawn_file_actions_adddup2(&with.actions, output.write.get(), 1);
    if (errors != nullptr)
      ::posix_spawn_file_actions_adddup2(&with.actions, errors->write.get(), 2);
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 34)
    // The application's own descriptors are none of its business, also those without O_CLOEXEC.
    ::posix_spawn_file_actions_addclosefrom_np(&with.actions, 3);
#endif
    sigset_t none;
    sigset_t restored;
    ::sigemptyset(&none);
    ::sigemptyset(&restored);
    ::sigaddset(&restored, SIGPIPE);
    ::sigaddset(&restored, SIGCHLD);
    ::posix_spawnattr_setsigmask(&with.attributes, &none);
    ::posix_spawnattr_setsigdefault(&with.attributes, &restored);
    ::posix_spawnattr_setpgroup(&with.attributes, 0);
    // A background process group could not read from the terminal.
    const int flags =
        POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | (group_ ? POSIX_SPAWN_SETPGROUP : 0);
    ::posix_spawnattr_setflags(&with.attributes, static_cast<short>(flags));

    const int code = ::posix_spawn(&pid_, file.c_str(), &with.actions, &with.attributes,
                                   pointers(arguments).data(), pointers(environment).data());
    if (code != 0) refuse_start(options, file, code);
  }
  ~child() {
    if (ended_) return;
    kill();
    while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) continue;
  }
  child(const child&) = delete;
  child& operator=(const child&) = delete;

  pid_t pid() const noexcept { return pid_; }

  void kill() const noexcept {
    if (ended_) return;
    if (group_) ::kill(-pid_, SIGKILL);
    ::kill(pid_, SIGKILL);
  }

  // True once it has ended; its status is there then, unless somebody else has taken it.
  bool poll() noexcept {
    if (ended_) return true;
    int status = 0;
    const pid_t done = ::waitpid(pid_, &status, WNOHANG);
    if (done == 0 || (done < 0 && errno == EINTR)) return false;
    ended_ = true;
    if (done == pid_) {
      status_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    return true;
  }
  std::optional<int> status() const noexcept { return status_; }

 private:
  pid_t pid_ = -1;
  bool group_;
  bool ended_ = false;
  std::optional<int> status_;
};

// Everything happens on the executor. Handlers keep it alive.
class process : public std::enable_shared_from_this<process> {
 public:
  process(const asio::any_io_executor& on, process_options options)
      : options_(std::move(options)),
        output_(on),
        errors_(on),
        exit_(on),
        wait_(on),
        deadline_(on),
        grace_(on),
        done_(on) {}

  void start() {
    pipe_ends output = make_pipe(options_.name);
    std::optional<pipe_ends> errors;
    if (!options_.inherit_stderr) errors = make_pipe(options_.name);
    child_.emplace(options_, output, errors ? &*errors : nullptr);
    output_.assign(output.read.release());
    if (errors) errors_.assign(errors->read.release());
    read_output();
    if (errors) read_errors();
    wait_for_exit();
    if (!options_.until.is_never()) {
      deadline_.expires_at(options_.until.time_point());
      deadline_.async_wait([self = shared_from_this()](const error_code& ec) {
        if (!ec) self->stop(errc::deadline_exceeded, "did not end in time, and was killed");
      });
    }
  }

  // Kills it; the end comes as usual.
  void stop(errc code, std::string why) {
    if (failure_ || ended_) return;
    failure_.emplace(code, options_.name, std::move(why));
    child_->kill();
  }

  static asio::awaitable<process_result> run(std::shared_ptr<process> self) {
    co_await asio::this_coro::reset_cancellation_state(asio::enable_total_cancellation());
    self->done_.expires_at(asio::steady_timer::time_point::max());
    self->start();
    error_code ec;
    while (!self->finished()) {
      co_await self->done_.async_wait(asio::redirect_error(asio::use_awaitable, ec));
      const asio::cancellation_state state = co_await asio::this_coro::cancellation_state;
      if (state.cancelled() != asio::cancellation_type::none) {
        self->stop(errc::cancelled, "cancelled by the caller");
        // It is dead, but not yet buried.
        co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
      }
    }
    self->close();
    if (self->failure_) throw error(*self->failure_);
    co_return std::move(self->result_);
  }

 private:
  bool finished() const { return ended_ && !output_.is_open() && !errors_.is_open(); }

  void close() {
    error_code ignored;
    output_.close(ignored);
    errors_.close(ignored);
    exit_.close(ignored);
    wait_.cancel();
    deadline_.cancel();
    grace_.cancel();
  }

  void wake() {
    if (finished()) done_.cancel();
  }

  void read_output() {
    output_.async_read_some(asio::buffer(output_piece_),
                            [self = shared_from_this()](const error_code& ec, std::size_t count) {
                              self->result_.output.append(self->output_piece_.data(), count);
                              if (ec == asio::error::operation_aborted) return;
                              if (self->result_.output.size() > self->options_.output_limit) {
                                self->stop(errc::resource_exhausted,
                                           "prints more than " +
                                               std::to_string(self->options_.output_limit >> 10) +
                                               " KiB, and was killed");
                              }
                              if (!ec && !self->failure_) return self->read_output();
                              error_code ignored;
                              self->output_.close(ignored);
                              self->wake();
                            });
  }

  void read_errors() {
    errors_.async_read_some(asio::buffer(errors_piece_),
                            [self = shared_from_this()](const error_code& ec, std::size_t count) {
                              const std::string_view piece(self->errors_piece_.data(), count);
                              if (count > 0 && self->options_.on_stderr)
                                self->options_.on_stderr(piece);
                              std::string& kept = self->result_.errors;
                              kept += piece;
                              if (kept.size() > errors_kept)
                                kept.erase(0, kept.size() - errors_kept);
                              if (ec == asio::error::operation_aborted) return;
                              if (!ec && !self->failure_) return self->read_errors();
                              error_code ignored;
                              self->errors_.close(ignored);
                              self->wake();
                            });
  }

  // By a descriptor of the process, without SIGCHLD; where the kernel has none, by looking.
  void wait_for_exit() {
    const auto fd = static_cast<int>(::syscall(SYS_pidfd_open, child_->pid(), 0));
    if (fd < 0) return look_for_exit();
    ::fcntl(fd, F_SETFD, FD_CLOEXEC);
    exit_.assign(fd);
    exit_.async_wait(asio::posix::stream_descriptor::wait_read,
                     [self = shared_from_this()](const error_code& ec) {
                       if (ec == asio::error::operation_aborted) return;
                       self->look_for_exit();
                     });
  }

  void look_for_exit() {
    if (child_->poll()) return exited();
    wait_.expires_after(milliseconds(20));
    wait_.async_wait([self = shared_from_this()](const error_code& ec) {
      if (!ec) self->look_for_exit();
    });
  }

  void exited() {
    ended_ = true;
    result_.status = child_->status();
    deadline_.cancel();
    if (finished()) return wake();
    // What it has started and left behind may keep the pipes open for ever.
    grace_.expires_after(failure_ ? milliseconds(0) : grace);
    grace_.async_wait([self = shared_from_this()](const error_code& ec) {
      if (ec) return;
      error_code ignored;
      self->output_.close(ignored);
      self->errors_.close(ignored);
      self->wake();
    });
  }

  process_options options_;
  std::optional<child> child_;
  asio::posix::stream_descriptor output_;
  asio::posix::stream_descriptor errors_;
  asio::posix::stream_descriptor exit_;
  asio::steady_timer wait_;
  asio::steady_timer deadline_;
  asio::steady_timer grace_;
  asio::steady_timer done_;
  std::array<char, 16384> output_piece_{};
  std::array<char, 1024> errors_piece_{};
  process_result result_;
  std::optional<error> failure_;
  bool ended_ = false;
};

}  // namespace

asio::awaitable<process_result> run_process(asio::any_io_executor on, process_options options) {
  const auto running = std::make_shared<process>(on, std::move(options));
  co_return co_await process::run(running);
}

}  // namespace mizzen::kubernetes::detail
