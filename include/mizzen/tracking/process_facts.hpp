// What a run was made by: the program, its source, its machine. Kept as tags of the run.
#pragma once

#include <mizzen/tracking/types.hpp>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace mizzen::tracking {

// The Git repository around the program (its executable's folder, else the working directory), read
// from its files; worktrees, submodules, packed references and detached heads included.
struct git_facts {
  std::string commit = {};          // empty before the first commit
  std::string branch = {};          // empty when detached
  std::string repository_url = {};  // of remote "origin", else of the first; without credentials
  // Whether tracked files differ from the commit. Absent unless asked for, and where `git` could
  // not tell.
  std::optional<bool> dirty = std::nullopt;
};

struct process_facts {
  std::optional<git_facts> git = std::nullopt;
  std::string program = {};                    // absolute path of the executable
  std::vector<std::string> command_line = {};  // values that look like secrets are "***"
  std::string working_directory = {};
  std::string host = {};
  std::string user = {};
  string_map environment = {};  // of the variables asked for, those that are set
  std::string library = {};     // version of Mizzen: "0.1.0"
  std::string compiler = {};    // that built it: "GCC 12.2.0"
  std::string system = {};      // "Linux 6.1.0-18-amd64 x86_64"
  std::string cpu_model = {};
  unsigned cpu_count = 0;                                    // that this process may run on
  std::optional<double> cpu_limit = std::nullopt;            // cores, by cgroup
  std::uint64_t memory_total = 0;                            // bytes of the machine
  std::optional<std::uint64_t> memory_limit = std::nullopt;  // bytes, by cgroup
  std::string container = {};  // "kubernetes", "docker", "podman", "lxc" …; empty: none seen
  std::vector<std::string> gpus = {};  // names, as the NVIDIA driver lists them
};

// Variables that say how a program was started, and tell no secret.
const std::vector<std::string>& default_environment();

struct process_facts_options {
  // Runs `git status` (no shell, at most 2 s, without locks, hooks or file system monitors).
  bool git_dirty = false;
  // Names of variables to keep. One whose name has PASSWORD, SECRET, TOKEN, KEY, AUTH, CREDENTIAL
  // or COOKIE in it is never kept.
  std::vector<std::string> environment = default_environment();
};

// Reads a few dozen small files: a few hundred microseconds, no child process, nothing that is not
// listed above. What cannot be found out is empty. Thread safe; throws only std::bad_alloc.
process_facts gather_process_facts(const process_facts_options& options = {});

// As tags of a run. MLflow's own where it has one (mlflow.source.git.commit, .branch, .repoURL,
// .dirty), else mizzen.*: command_line, working_directory, host, version, compiler, system,
// cpu.model, cpu.count, cpu.limit, memory.total_bytes, memory.limit_bytes, container, gpus,
// env.NAME. Empty facts have no tag; values are cut to the length that a tag may have.
string_map to_tags(const process_facts& facts);

}  // namespace mizzen::tracking
