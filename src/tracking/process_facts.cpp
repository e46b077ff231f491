#include "tracking/git.hpp"
#include "tracking/names.hpp"
#include "tracking/proc.hpp"
#include "tracking/run_state.hpp"
#include "tracking/validate.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/core/json.hpp>
#include <mizzen/tracking/process_facts.hpp>

#include <sys/utsname.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <sched.h>
#include <string_view>
#include <unistd.h>
#include <utility>

namespace mizzen::tracking {
namespace {

namespace fs = std::filesystem;

std::string upper(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; });
  return out;
}

bool names_a_secret(std::string_view name) {
  constexpr std::array<std::string_view, 10> words = {
      "PASSWORD", "PASSWD", "PASSPHRASE", "SECRET", "TOKEN",
      "KEY",      "AUTH",   "CREDENTIAL", "COOKIE", "BEARER"};
  const std::string whole = upper(name);
  return std::any_of(words.begin(), words.end(),
                     [&](std::string_view word) { return whole.find(word) != std::string::npos; });
}

std::vector<std::string> command_line() {
  constexpr std::size_t most = 64U << 10;
  const std::string text = detail::read_text("/proc/self/cmdline", most).value_or("");
  std::vector<std::string> out;
  bool hide = false;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\0', at), text.size());
    std::string argument = detail::without_credentials(std::string_view(text).substr(at, end - at));
    at = end + 1;
    const bool option = argument.starts_with('-');
    const auto equals = argument.find('=');
    const std::string_view name = std::string_view(argument).substr(0, equals);
    if (hide && !option) {
      argument = "***";
      hide = false;
    } else if (!out.empty() && names_a_secret(name)) {
      // "--token=x", "TOKEN=x", or "--token x".
      if (equals != std::string::npos) argument = std::string(name) + "=***";
      hide = option && equals == std::string::npos;
    } else {
      hide = false;
    }
    out.push_back(std::move(argument));
  }
  return out;
}

// As a shell would read it.
std::string quoted_for_shell(const std::vector<std::string>& arguments) {
  constexpr std::string_view plain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=,+@%*";
  std::string out;
  for (const std::string& one : arguments) {
    if (!out.empty()) out += ' ';
    if (!one.empty() && one.find_first_not_of(plain) == std::string::npos) {
      out += one;
      continue;
    }
    out += '\'';
    for (const char c : one) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
    out += '\'';
  }
  return out;
}

std::string compiler() {
#if defined(__clang__)
  return "Clang " + std::to_string(__clang_major__) + "." + std::to_string(__clang_minor__) + "." +
         std::to_string(__clang_patchlevel__);
#elif defined(__GNUC__)
  return "GCC " + std::to_string(__GNUC__) + "." + std::to_string(__GNUC_MINOR__) + "." +
         std::to_string(__GNUC_PATCHLEVEL__);
#else
  return {};
#endif
}

std::string cpu_model() {
  // x86 has "model name"; Arm only numbers, which the device tree may put in words.
  const std::string text = detail::read_text("/proc/cpuinfo", 16384).value_or("");
  std::string_view rest = text;
  while (!rest.empty()) {
    const std::string_view line = detail::take_line(rest);
    const auto colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    if (detail::trimmed(line.substr(0, colon)) == "model name") {
      return std::string(detail::trimmed(line.substr(colon + 1)));
    }
  }
  std::string model = detail::read_text("/proc/device-tree/model", 256).value_or("");
  return model.substr(0, model.find('\0'));
}

unsigned cpu_count() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) == 0) return static_cast<unsigned>(CPU_COUNT(&set));
  const long count = ::sysconf(_SC_NPROCESSORS_ONLN);
  return count > 0 ? static_cast<unsigned>(count) : 0;
}

std::string container() {
  std::error_code failed;
  if (std::getenv("KUBERNETES_SERVICE_HOST") != nullptr) return "kubernetes";
  if (fs::exists("/.dockerenv", failed)) return "docker";
  if (fs::exists("/run/.containerenv", failed)) return "podman";
  if (const char* named = std::getenv("container"); named != nullptr && *named != '\0') {
    return named;
  }
  return {};
}

std::vector<std::string> gpus() {
  std::vector<std::string> out;
  std::error_code failed;
  std::vector<fs::path> folders;
  for (fs::directory_iterator at("/proc/driver/nvidia/gpus", failed), end; !failed && at != end;
       at.increment(failed)) {
    folders.push_back(at->path());
  }
  std::sort(folders.begin(), folders.end());
  for (const fs::path& folder : folders) {
    const std::string text = detail::read_text(folder / "information", 4096).value_or("");
    std::string_view rest = text;
    while (!rest.empty()) {
      const std::string_view line = detail::take_line(rest);
      if (line.starts_with("Model:")) out.emplace_back(detail::trimmed(line.substr(6)));
    }
  }
  return out;
}

bool is_character(std::string_view bytes) {
  try {
    detail::check_text("", bytes, 1);
    return true;
  } catch (const error&) {
    return false;
  }
}

// Valid UTF-8 of at most the length of a tag: other bytes become '?'.
std::string tag_text(std::string_view text) {
  std::string out;
  std::size_t characters = 0;
  while (!text.empty() && characters < detail::limits::tag_length) {
    std::size_t length = 1;
    while (length < text.size() && length < 4 &&
           (static_cast<unsigned char>(text[length]) & 0xc0) == 0x80) {
      ++length;
    }
    const std::string_view one = text.substr(0, length);
    if (is_character(one)) {
      out += one;
    } else {
      out += '?';
      length = 1;
    }
    text.remove_prefix(length);
    ++characters;
  }
  return out;
}

}  // namespace

const std::vector<std::string>& default_environment() {
  static const std::vector<std::string> names = {"CUDA_VISIBLE_DEVICES",
                                                 "NVIDIA_VISIBLE_DEVICES",
                                                 "OMP_NUM_THREADS",
                                                 "MKL_NUM_THREADS",
                                                 "OPENBLAS_NUM_THREADS",
                                                 "RANK",
                                                 "LOCAL_RANK",
                                                 "WORLD_SIZE",
                                                 "NODE_RANK",
                                                 "OMPI_COMM_WORLD_RANK",
                                                 "OMPI_COMM_WORLD_SIZE",
                                                 "PMI_RANK",
                                                 "PMI_SIZE",
                                                 "SLURM_JOB_ID",
                                                 "SLURM_JOB_NAME",
                                                 "SLURM_PROCID",
                                                 "SLURM_NTASKS",
                                                 "SLURM_NODELIST",
                                                 "POD_NAME",
                                                 "POD_NAMESPACE",
                                                 "NODE_NAME",
                                                 "JOB_COMPLETION_INDEX",
                                                 "CONDA_DEFAULT_ENV",
                                                 "VIRTUAL_ENV",
                                                 "LD_PRELOAD"};
  return names;
}

process_facts gather_process_facts(const process_facts_options& options) {
  process_facts facts;
  facts.program = detail::process_program();
  facts.command_line = command_line();
  facts.user = detail::process_user();
  std::error_code failed;
  const fs::path here = fs::current_path(failed);
  if (!failed) facts.working_directory = here.string();
  if (!facts.program.empty()) {
    facts.git = detail::read_git(fs::path(facts.program).parent_path(), options.git_dirty);
  }
  if (!facts.git && !facts.working_directory.empty()) {
    facts.git = detail::read_git(here, options.git_dirty);
  }
  for (const std::string& name : options.environment) {
    if (names_a_secret(name)) continue;
    if (const char* value = std::getenv(name.c_str())) facts.environment[name] = value;
  }
  facts.library = MIZZEN_VERSION;
  facts.compiler = compiler();
  utsname system{};
  if (::uname(&system) == 0) {
    facts.system = std::string(system.sysname) + " " + system.release + " " + system.machine;
    facts.host = system.nodename;
  }
  facts.cpu_model = cpu_model();
  facts.cpu_count = cpu_count();
  const std::string memory = detail::read_text("/proc/meminfo").value_or("");
  facts.memory_total = detail::field_of(memory, "MemTotal").value_or(0);
  const detail::cgroup_state group = detail::read_cgroup("/");
  facts.cpu_limit = group.cpu_limit;
  facts.memory_limit = group.memory_limit;
  facts.container = container();
  facts.gpus = gpus();
  return facts;
}

string_map to_tags(const process_facts& facts) {
  string_map tags;
  const auto put = [&](const std::string& key, std::string_view value) {
    if (!value.empty()) tags[key] = tag_text(value);
  };
  if (facts.git) {
    put("mlflow.source.git.commit", facts.git->commit);
    put("mlflow.source.git.branch", facts.git->branch);
    put("mlflow.source.git.repoURL", facts.git->repository_url);
    if (facts.git->dirty) put("mlflow.source.git.dirty", *facts.git->dirty ? "true" : "false");
  }
  put("mizzen.command_line", quoted_for_shell(facts.command_line));
  put("mizzen.working_directory", facts.working_directory);
  put("mizzen.host", facts.host);
  put("mizzen.version", facts.library);
  put("mizzen.compiler", facts.compiler);
  put("mizzen.system", facts.system);
  put("mizzen.cpu.model", facts.cpu_model);
  if (facts.cpu_count > 0) put("mizzen.cpu.count", std::to_string(facts.cpu_count));
  if (facts.cpu_limit) put("mizzen.cpu.limit", json(*facts.cpu_limit).dump());
  if (facts.memory_total > 0) put("mizzen.memory.total_bytes", std::to_string(facts.memory_total));
  if (facts.memory_limit) put("mizzen.memory.limit_bytes", std::to_string(*facts.memory_limit));
  put("mizzen.container", facts.container);
  std::string gpus;
  for (const std::string& name : facts.gpus) gpus += gpus.empty() ? name : "; " + name;
  put("mizzen.gpus", gpus);
  for (const auto& [name, value] : facts.environment) {
    const std::string key = "mizzen.env." + name;
    try {
      detail::check_tag(key, "");
      put(key, value);
    } catch (const error&) {
      // A name that MLflow would not take; nothing that a program is started with has one.
      continue;
    }
  }
  return tags;
}

namespace detail {

void add_process_tags(run_options& options) {
  if (options.facts == recorded_facts::none) return;
  options.tags.merge(
      to_tags(gather_process_facts({.git_dirty = options.facts == recorded_facts::all})));
}

}  // namespace detail

}  // namespace mizzen::tracking
