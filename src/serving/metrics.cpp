#include "serving/metrics.hpp"

#include <sys/resource.h>

#include <algorithm>
#include <charconv>
#include <dirent.h>
#include <fstream>
#include <iterator>
#include <sstream>
#include <unistd.h>
#include <vector>

namespace mizzen::serving::detail {
namespace {

std::string to_text(double value) {
  std::array<char, 40> digits{};
  // Not in scientific notation: people read these, and write the bounds into their queries.
  const auto end =
      std::to_chars(digits.data(), digits.data() + digits.size(), value, std::chars_format::fixed);
  return {digits.data(), end.ptr};
}

// Label values are escaped as the format asks.
void append_label(std::string& to, std::string_view key, std::string_view value) {
  to.append(key).append("=\"");
  for (const char c : value) {
    if (c == '\\' || c == '"') {
      to += '\\';
      to += c;
    } else if (c == '\n') {
      to += "\\n";
    } else {
      to += c;
    }
  }
  to += '"';
}

}  // namespace

void histogram::observe(std::chrono::nanoseconds duration) noexcept {
  const double seconds = std::chrono::duration<double>(duration).count();
  const auto bucket = std::ranges::lower_bound(bounds, seconds) - bounds.begin();
  buckets_[static_cast<std::size_t>(bucket)].fetch_add(1, std::memory_order_relaxed);
  const auto count = std::max<std::chrono::nanoseconds::rep>(duration.count(), 0);
  nanoseconds_.fetch_add(static_cast<std::uint64_t>(count), std::memory_order_relaxed);
}

histogram::snapshot histogram::read() const noexcept {
  snapshot result{};
  std::uint64_t total = 0;
  for (std::size_t i = 0; i < buckets_.size(); ++i) {
    total += buckets_[i].load(std::memory_order_relaxed);
    result.cumulative[i] = total;
  }
  result.sum = static_cast<double>(nanoseconds_.load(std::memory_order_relaxed)) * 1e-9;
  return result;
}

void exposition::family(std::string_view name, std::string_view type, std::string_view help) {
  name_ = name;
  text_.append("# HELP ").append(name).append(" ").append(help).append("\n");
  text_.append("# TYPE ").append(name).append(" ").append(type).append("\n");
}

void exposition::line(std::string_view suffix, labels with, std::string_view bound,
                      std::string_view value) {
  text_.append(name_).append(suffix);
  if (with.size() > 0 || !bound.empty()) {
    text_ += '{';
    bool first = true;
    for (const auto& [key, label] : with) {
      if (!first) text_ += ',';
      first = false;
      append_label(text_, key, label);
    }
    if (!bound.empty()) {
      if (!first) text_ += ',';
      append_label(text_, "le", bound);
    }
    text_ += '}';
  }
  text_.append(" ").append(value).append("\n");
}

void exposition::sample(labels with, double value) { line("", with, "", to_text(value)); }

void exposition::sample(labels with, std::uint64_t value) {
  line("", with, "", std::to_string(value));
}

void exposition::sample(labels with, const histogram& value) {
  const histogram::snapshot now = value.read();
  for (std::size_t i = 0; i < histogram::bounds.size(); ++i) {
    line("_bucket", with, to_text(histogram::bounds[i]), std::to_string(now.cumulative[i]));
  }
  const std::string count = std::to_string(now.cumulative.back());
  line("_bucket", with, "+Inf", count);
  line("_sum", with, "", to_text(now.sum));
  line("_count", with, "", count);
}

void write_process_metrics(exposition& to) {
  // Source: proc(5), /proc/pid/stat; fields are counted from after the name, which may hold spaces.
  std::ifstream file("/proc/self/stat");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const auto after_name = text.rfind(')');
  if (after_name == std::string::npos) return;
  std::istringstream in(text.substr(after_name + 1));
  const std::vector<std::string> fields{std::istream_iterator<std::string>(in), {}};
  if (fields.size() < 22) return;
  const auto number = [&](std::size_t man_page_index) {
    const std::string& field = fields[man_page_index - 3];
    std::uint64_t value = 0;
    std::from_chars(field.data(), field.data() + field.size(), value);
    return static_cast<double>(value);
  };
  const auto ticks = static_cast<double>(::sysconf(_SC_CLK_TCK));
  to.family("process_cpu_seconds_total", "counter", "User and system CPU time spent, in seconds.");
  to.sample({}, (number(14) + number(15)) / ticks);
  to.family("process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.");
  to.sample({}, number(23));
  to.family("process_resident_memory_bytes", "gauge", "Resident memory size in bytes.");
  to.sample({}, number(24) * static_cast<double>(::sysconf(_SC_PAGESIZE)));

  std::ifstream stat("/proc/stat");
  for (std::string line; std::getline(stat, line);) {
    if (!line.starts_with("btime ")) continue;
    std::uint64_t boot = 0;
    std::from_chars(line.data() + 6, line.data() + line.size(), boot);
    to.family("process_start_time_seconds", "gauge",
              "Start time of the process since the Unix epoch, in seconds.");
    to.sample({}, static_cast<double>(boot) + number(22) / ticks);
    break;
  }
  if (DIR* const folder = ::opendir("/proc/self/fd")) {
    std::uint64_t count = 0;
    while (::readdir(folder) != nullptr) ++count;
    ::closedir(folder);
    to.family("process_open_fds", "gauge", "Open file descriptors.");
    to.sample({}, count - 3);  // ".", ".." and the folder itself
  }
}

}  // namespace mizzen::serving::detail
