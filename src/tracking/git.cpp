#include "tracking/git.hpp"

#include "tracking/proc.hpp"

#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <unistd.h>
#include <vector>

namespace mizzen::tracking::detail {
namespace {

namespace fs = std::filesystem;

struct repository {
  fs::path work_tree;
  fs::path folder;  // .git, or the worktree's own folder in it
  fs::path common;  // where references and configuration are
};

std::optional<fs::path> pointed_to(const fs::path& file, std::string_view prefix) {
  const auto text = read_text(file, 8192);
  if (!text || !text->starts_with(prefix)) return std::nullopt;
  const fs::path target = trimmed(std::string_view(*text).substr(prefix.size()));
  if (target.empty()) return std::nullopt;
  return target.is_absolute() ? target : file.parent_path() / target;
}

std::optional<repository> repository_around(const fs::path& start) {
  std::error_code failed;
  for (fs::path at = fs::weakly_canonical(start, failed); !failed && !at.empty();
       at = at.parent_path()) {
    const fs::path mark = at / ".git";
    const auto kind = fs::status(mark, failed).type();
    repository found{.work_tree = at, .folder = mark, .common = {}};
    if (kind == fs::file_type::regular) {
      const auto target = pointed_to(mark, "gitdir:");
      if (!target) return std::nullopt;
      found.folder = *target;
    }
    if (kind == fs::file_type::regular || kind == fs::file_type::directory) {
      if (fs::exists(found.folder / "HEAD", failed)) {
        found.common = pointed_to(found.folder / "commondir", "").value_or(found.folder);
        return found;
      }
    }
    failed.clear();
    if (at == at.root_path()) break;
  }
  return std::nullopt;
}

bool is_object_id(std::string_view text) {
  return (text.size() == 40 || text.size() == 64) &&
         text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

// References name others at most this deep.
constexpr int deepest = 5;

std::string resolved(const repository& in, const std::string& name) {
  // Only names below refs/, which lead nowhere else.
  if (!name.starts_with("refs/") || name.find("..") != std::string::npos) return {};
  std::string reference = name;
  for (int depth = 0; depth < deepest; ++depth) {
    auto text = read_text(in.folder / reference, 4096);
    if (!text) text = read_text(in.common / reference, 4096);
    if (!text) break;
    const std::string_view value = trimmed(*text);
    if (is_object_id(value)) return std::string(value);
    if (!value.starts_with("ref: refs/") || value.find("..") != std::string_view::npos) return {};
    reference = value.substr(5);
  }
  constexpr std::size_t most = 64U << 20;
  const auto packed = read_text(in.common / "packed-refs", most);
  if (!packed) return {};
  std::string_view rest = *packed;
  while (!rest.empty()) {
    const std::string_view line = take_line(rest);
    const auto space = line.find(' ');
    if (space == std::string_view::npos || trimmed(line.substr(space)) != reference) continue;
    if (is_object_id(line.substr(0, space))) return std::string(line.substr(0, space));
  }
  return {};
}

// Whether `git status` names a tracked file. Nothing if it cannot be asked within two seconds.
std::optional<bool> is_dirty(const fs::path& work_tree) {
  std::array<int, 2> pipe{};
  if (::pipe2(pipe.data(), O_CLOEXEC) != 0) return std::nullopt;
  const std::string folder = work_tree.string();
  const std::vector<const char*> arguments = {"git",
                                              "--no-optional-locks",
                                              "-C",
                                              folder.c_str(),
                                              "-c",
                                              "core.fsmonitor=false",
                                              "-c",
                                              "core.hooksPath=/dev/null",
                                              "status",
                                              "--porcelain",
                                              "--untracked-files=no",
                                              nullptr};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, pipe[1], STDOUT_FILENO);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  pid_t child = 0;
  const int failed = ::posix_spawnp(&child, "git", &actions, nullptr,
                                    const_cast<char* const*>(arguments.data()), environ);
  posix_spawn_file_actions_destroy(&actions);
  ::close(pipe[1]);
  if (failed != 0) {
    ::close(pipe[0]);
    return std::nullopt;
  }

  using clock = std::chrono::steady_clock;
  const auto until = clock::now() + std::chrono::seconds(2);
  bool any = false, whole = false;
  for (;;) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(until - clock::now()).count();
    pollfd ready{.fd = pipe[0], .events = POLLIN, .revents = 0};
    const int count = left <= 0 ? 0 : ::poll(&ready, 1, static_cast<int>(left));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    char buffer[4096];
    const auto got = ::read(pipe[0], buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    whole = got == 0;
    if (got <= 0) break;
    any = true;
  }
  ::close(pipe[0]);
  if (!whole) ::kill(child, SIGKILL);
  int status = 0;
  pid_t ended = 0;
  do {
    ended = ::waitpid(child, &status, 0);
  } while (ended < 0 && errno == EINTR);
  // A program that ignores SIGCHLD gets no status.
  if (!whole || ended != child || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    return std::nullopt;
  }
  return any;
}

}  // namespace

std::string without_credentials(std::string_view url) {
  const auto scheme = url.find("://");
  if (scheme == std::string_view::npos) return std::string(url);
  const auto begin = scheme + 3;
  const auto end = std::min(url.find_first_of("/?#", begin), url.size());
  const auto at = url.substr(begin, end - begin).rfind('@');
  if (at == std::string_view::npos) return std::string(url);
  return std::string(url.substr(0, begin)) + std::string(url.substr(begin + at + 1));
}

std::string remote_url(std::string_view config) {
  std::string first, origin, remote;
  bool in_remote = false;
  while (!config.empty()) {
    const std::string_view line = trimmed(take_line(config));
    if (line.starts_with('[')) {
      constexpr std::string_view intro = "[remote \"";
      in_remote = line.starts_with(intro);
      const auto end = line.rfind('"');
      remote = in_remote && end >= intro.size() ? line.substr(intro.size(), end - intro.size())
                                                : std::string_view();
      continue;
    }
    const auto equals = line.find('=');
    if (!in_remote || equals == std::string_view::npos ||
        trimmed(line.substr(0, equals)) != "url") {
      continue;
    }
    std::string_view value = trimmed(line.substr(equals + 1));
    if (value.size() > 1 && value.starts_with('"') && value.ends_with('"')) {
      value = value.substr(1, value.size() - 2);
    }
    if (first.empty()) first = value;
    if (remote == "origin" && origin.empty()) origin = value;
  }
  return without_credentials(origin.empty() ? first : origin);
}

std::optional<git_facts> read_git(const fs::path& folder, bool with_dirty) {
  const auto found = repository_around(folder);
  if (!found) return std::nullopt;
  git_facts facts;
  const std::string head(trimmed(read_text(found->folder / "HEAD", 4096).value_or("")));
  constexpr std::string_view reference = "ref: ", branches = "refs/heads/";
  if (head.starts_with(reference)) {
    const std::string name(trimmed(std::string_view(head).substr(reference.size())));
    facts.commit = resolved(*found, name);
    if (name.starts_with(branches)) facts.branch = name.substr(branches.size());
    // Another format of references ("reftable") says so here.
    if (facts.branch == ".invalid") facts.branch.clear();
  } else if (is_object_id(head)) {
    facts.commit = head;
  }
  facts.repository_url = remote_url(read_text(found->common / "config").value_or(""));
  if (with_dirty) facts.dirty = is_dirty(found->work_tree);
  return facts;
}

}  // namespace mizzen::tracking::detail
