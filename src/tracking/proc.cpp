#include "tracking/proc.hpp"

#include <algorithm>
#include <charconv>
#include <fcntl.h>
#include <unistd.h>
#include <vector>

namespace mizzen::tracking::detail {
namespace {

namespace fs = std::filesystem;

template <typename T>
void keep_least(std::optional<T>& least, std::optional<T> value) {
  if (value && (!least || *value < *least)) least = value;
}

// The groups from the process's own up to the root of the hierarchy. In a container the path may be
// one of the host, which is not there: then the root is its own group.
std::vector<fs::path> groups(const fs::path& hierarchy, std::string_view path) {
  std::vector<fs::path> out;
  fs::path at = hierarchy / fs::path(path).relative_path().lexically_normal();
  std::error_code failed;
  while (at != hierarchy && at.has_relative_path() &&
         at.string().size() > hierarchy.string().size()) {
    if (fs::is_directory(at, failed)) out.push_back(at);
    at = at.parent_path();
  }
  out.push_back(hierarchy);
  return out;
}

std::optional<std::uint64_t> number_in(const fs::path& file) {
  const auto text = read_text(file, 64);
  return text ? parse_number(*text) : std::nullopt;
}

// A line "key value".
std::optional<std::uint64_t> flat_field(const fs::path& file, std::string_view key) {
  const auto text = read_text(file);
  if (!text) return std::nullopt;
  std::string_view rest = *text;
  while (!rest.empty()) {
    const std::string_view line = take_line(rest);
    if (line.starts_with(key) && line.size() > key.size() && line[key.size()] == ' ') {
      return parse_number(line.substr(key.size()));
    }
  }
  return std::nullopt;
}

std::optional<double> ratio(std::optional<std::uint64_t> part, std::optional<std::uint64_t> whole) {
  if (!part || !whole || *whole == 0) return std::nullopt;
  return static_cast<double>(*part) / static_cast<double>(*whole);
}

void read_version_2(const fs::path& hierarchy, std::string_view path, cgroup_state& state) {
  const auto all = groups(hierarchy, path);
  for (const fs::path& group : all) {
    if (const auto text = read_text(group / "cpu.max", 64)) {  // "quota period" or "max period"
      const auto space = text->find(' ');
      if (space != std::string::npos) {
        keep_least(state.cpu_limit, ratio(parse_number(std::string_view(*text).substr(0, space)),
                                          parse_number(std::string_view(*text).substr(space))));
      }
    }
    keep_least(state.memory_limit, number_in(group / "memory.max"));
  }
  state.memory_used = number_in(all.front() / "memory.current");
  if (const auto cached = flat_field(all.front() / "memory.stat", "inactive_file");
      cached && state.memory_used) {
    *state.memory_used -= std::min(*cached, *state.memory_used);
  }
  state.cpu_used_microseconds = flat_field(all.front() / "cpu.stat", "usage_usec");
}

void read_version_1(const fs::path& cgroups, std::string_view controllers, std::string_view path,
                    cgroup_state& state) {
  const auto has = [&](std::string_view name) {
    return ("," + std::string(controllers) + ",").find("," + std::string(name) + ",") !=
           std::string::npos;
  };
  if (has("cpu")) {
    for (const fs::path& group : groups(cgroups / "cpu", path)) {
      keep_least(state.cpu_limit, ratio(number_in(group / "cpu.cfs_quota_us"),
                                        number_in(group / "cpu.cfs_period_us")));
    }
  }
  if (has("cpuacct")) {
    const auto used = number_in(groups(cgroups / "cpuacct", path).front() / "cpuacct.usage");
    if (used) state.cpu_used_microseconds = *used / 1000;
  }
  if (has("memory")) {
    const auto all = groups(cgroups / "memory", path);
    for (const fs::path& group : all) {
      const auto limit = number_in(group / "memory.limit_in_bytes");
      // Without a limit it is the greatest multiple of a page.
      if (limit && *limit < std::uint64_t{1} << 60) keep_least(state.memory_limit, limit);
    }
    state.memory_used = number_in(all.front() / "memory.usage_in_bytes");
    if (const auto cached = flat_field(all.front() / "memory.stat", "total_inactive_file");
        cached && state.memory_used) {
      *state.memory_used -= std::min(*cached, *state.memory_used);
    }
  }
}

}  // namespace

std::optional<std::string> read_text(const fs::path& file, std::size_t most) {
  const int descriptor = ::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) return std::nullopt;
  std::string text;
  char buffer[8192];
  for (;;) {
    const auto got = ::read(descriptor, buffer, std::min(sizeof buffer, most - text.size()));
    if (got < 0) {
      ::close(descriptor);
      return std::nullopt;
    }
    text.append(buffer, static_cast<std::size_t>(got));
    if (got == 0 || text.size() == most) break;
  }
  ::close(descriptor);
  return text;
}

std::string_view take_line(std::string_view& text) {
  const std::string_view line = text.substr(0, text.find('\n'));
  text.remove_prefix(std::min(text.size(), line.size() + 1));
  return line;
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view blanks = " \t\r\n";
  const auto first = text.find_first_not_of(blanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

std::optional<std::uint64_t> parse_number(std::string_view text) {
  text = trimmed(text);
  std::uint64_t value = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failed != std::errc() || end != text.data() + text.size() || text.empty()) {
    return std::nullopt;
  }
  return value;
}

std::optional<std::uint64_t> field_of(std::string_view text, std::string_view key) {
  while (!text.empty()) {
    std::string_view line = take_line(text);
    if (!line.starts_with(key) || line.size() <= key.size() || line[key.size()] != ':') continue;
    line = trimmed(line.substr(key.size() + 1));
    const bool kibibytes = line.ends_with(" kB");
    if (kibibytes) line.remove_suffix(3);
    const auto value = parse_number(line);
    if (!value || !kibibytes) return value;
    return *value > (std::uint64_t{1} << 50) ? std::nullopt : std::optional(*value * 1024);
  }
  return std::nullopt;
}

cgroup_state read_cgroup(const fs::path& root) {
  cgroup_state state;
  const auto text = read_text(root / "proc/self/cgroup");
  if (!text) return state;
  const fs::path cgroups = root / "sys/fs/cgroup";
  std::string_view rest = *text;
  while (!rest.empty()) {
    // "number:controllers:path"
    const std::string_view line = take_line(rest);
    const auto first = line.find(':');
    const auto second = first == std::string_view::npos ? first : line.find(':', first + 1);
    if (second == std::string_view::npos) continue;
    const std::string_view controllers = line.substr(first + 1, second - first - 1);
    const std::string_view path = line.substr(second + 1);
    if (!controllers.empty()) {
      read_version_1(cgroups, controllers, path, state);
      continue;
    }
    std::error_code failed;
    const fs::path hybrid = cgroups / "unified";
    if (fs::exists(cgroups / "cgroup.controllers", failed)) {
      read_version_2(cgroups, path, state);
    } else if (fs::exists(hybrid / "cgroup.controllers", failed) && !state.cpu_used_microseconds &&
               !state.memory_used) {
      read_version_2(hybrid, path, state);
    }
  }
  return state;
}

}  // namespace mizzen::tracking::detail
