#include "inference/runtime/profile_log.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/core/json.hpp>
#include <mizzen/inference/profile.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <tuple>
#include <utility>

namespace mizzen::inference {
namespace {

using namespace detail;

constexpr std::size_t most_events = 1'000'000;
constexpr std::string_view engine = "(engine)";

double milliseconds(profile_clock::duration d) {
  return std::chrono::duration<double, std::milli>(d).count();
}

double microseconds(profile_clock::duration d) {
  return std::chrono::duration<double, std::micro>(d).count();
}

// printf's formats with a bounded result.
template <class... T>
std::string format(const char* text, T... values) {
  char line[160];
  std::snprintf(line, sizeof line, text, values...);
  return line;
}

double share(profile_clock::duration part, profile_clock::duration all) {
  return all.count() == 0 ? 0 : 100 * milliseconds(part) / milliseconds(all);
}

template <class Time>
void longest_first(std::vector<Time>& list) {
  std::stable_sort(list.begin(), list.end(),
                   [](const Time& a, const Time& b) { return a.total > b.total; });
}

// Columns so wide that a usual name fits; a longer one pushes the rest of its line aside.
std::string padded(std::string text, std::size_t width) {
  if (text.size() < width) text.resize(width, ' ');
  return text;
}

}  // namespace

void detail::profile_log::add(std::span<const profile_event> events,
                              std::span<const std::shared_ptr<const label_list>> labels) {
  const std::lock_guard lock(mutex_);
  content& c = content_;
  for (const auto& list : labels) {
    if (std::find(c.labels.begin(), c.labels.end(), list) == c.labels.end()) {
      c.labels.push_back(list);
    }
  }
  const auto self = std::this_thread::get_id();
  const auto found = std::find(c.threads.begin(), c.threads.end(), self);
  const auto thread = static_cast<std::uint32_t>(found - c.threads.begin());
  if (found == c.threads.end()) c.threads.push_back(self);
  for (const profile_event& e : events) {
    sum& s = c.sums[e.label];
    ++s.count;
    s.total += e.took - e.inside;
    if (e.label == nullptr) c.total += e.took;
    if (c.events.size() < most_events) c.events.push_back({e, thread, c.runs});
  }
  ++c.runs;
}

void detail::profile_log::clear() {
  const std::lock_guard lock(mutex_);
  content_ = {};
}

profile::profile() : log_(std::make_unique<profile_log>()) {}
profile::profile(profile&&) noexcept = default;
profile& profile::operator=(profile&&) noexcept = default;
profile::~profile() = default;

std::uint64_t profile::runs() const {
  return log_->with([](const profile_log::content& c) { return c.runs; });
}

std::chrono::nanoseconds profile::total() const {
  return log_->with([](const profile_log::content& c) { return c.total; });
}

void profile::clear() { log_->clear(); }

std::vector<profile::operator_time> profile::operators() const {
  return log_->with([](const profile_log::content& c) {
    std::map<std::string_view, operator_time> merged;
    for (const auto& [label, s] : c.sums) {
      const std::string_view op = label == nullptr ? engine : std::string_view(label->op_type);
      operator_time& to = merged[op];
      to.op_type = op;
      to.count += s.count;
      to.total += s.total;
    }
    std::vector<operator_time> list;
    for (auto& [op, time] : merged) list.push_back(std::move(time));
    longest_first(list);
    return list;
  });
}

std::vector<profile::node_time> profile::nodes() const {
  return log_->with([](const profile_log::content& c) {
    // Each plan has labels of its own, also where it differs only in what it was pinned to.
    std::map<std::tuple<std::string_view, std::string_view, std::string_view, std::string_view>,
             node_time>
        merged;
    for (const auto& [label, s] : c.sums) {
      if (label == nullptr) continue;
      node_time& to = merged[{label->name, label->op_type, label->outputs, label->inputs}];
      to.name = label->name;
      to.op_type = label->op_type;
      to.fused = label->fused;
      to.outputs = label->outputs;
      to.inputs = label->inputs;
      to.count += s.count;
      to.total += s.total;
    }
    std::vector<node_time> list;
    for (auto& [key, time] : merged) list.push_back(std::move(time));
    longest_first(list);
    return list;
  });
}

std::string profile::table(std::size_t most_nodes) const {
  const auto all = total();
  const std::uint64_t count = runs();
  std::string text = std::to_string(count) + (count == 1 ? " run, " : " runs, ") +
                     format("%.3f ms each\n\n", milliseconds(all) / std::max(1.0, double(count)));
  const auto numbers = [&](std::uint64_t n, std::chrono::nanoseconds time) {
    return format("%9llu %11.3f %6.1f%% %11.1f", static_cast<unsigned long long>(n),
                  milliseconds(time), share(time, all), microseconds(time) / double(n));
  };
  constexpr std::size_t width = 28;
  const std::string head = format("%9s %11s %7s %11s", "count", "total ms", "share", "mean us");
  text += padded("operator", width) + head + "\n";
  for (const operator_time& o : operators()) {
    text += padded(o.op_type, width) + numbers(o.count, o.total) + "\n";
  }
  const std::vector<node_time> list = nodes();
  text += "\n" + padded("node", width) + head + "  name: outputs <- inputs\n";
  for (std::size_t i = 0; i < std::min(list.size(), most_nodes); ++i) {
    const node_time& n = list[i];
    text += padded(n.op_type + n.fused, width) + numbers(n.count, n.total) + "  " + n.name + ": " +
            n.outputs + " <- " + n.inputs + "\n";
  }
  if (list.size() > most_nodes) {
    text += "and " + std::to_string(list.size() - most_nodes) + " more\n";
  }
  return text;
}

std::string profile::trace() const {
  return log_->with([](const profile_log::content& c) {
    // Names come from the model and may be no UTF-8: such bytes are replaced.
    const auto quoted = [](std::string_view s) {
      return json(s).dump(-1, ' ', false, json::error_handler_t::replace);
    };
    std::map<const node_label*, std::string> heads;  // name, category and arguments
    heads[nullptr] = R"("name":"run","cat":"run","args":{)";
    std::string text = R"({"displayTimeUnit":"ns","traceEvents":[)";
    text += R"({"ph":"M","pid":1,"name":"process_name","args":{"name":"mizzen::inference"}})";
    for (const profile_log::kept_event& kept : c.events) {
      const node_label* const label = kept.event.label;
      std::string& head = heads[label];
      if (head.empty()) {
        head = "\"name\":" + quoted(label->op_type + label->fused) + R"(,"cat":"node","args":{)" +
               "\"node\":" + quoted(label->name) + ",\"outputs\":" + quoted(label->outputs) +
               ",\"inputs\":" + quoted(label->inputs) + ",";
      }
      text += ",\n{\"ph\":\"X\",\"pid\":1,\"tid\":" + std::to_string(kept.thread) +
              format(",\"ts\":%.3f,\"dur\":%.3f,", microseconds(kept.event.start - c.origin),
                     microseconds(kept.event.took)) +
              head + "\"run\":" + std::to_string(kept.run) + "}}";
    }
    return text + "\n]}\n";
  });
}

void profile::write_trace(const std::filesystem::path& path) const {
  const std::string text = trace();
  const auto fail = [&] {
    const int code = errno;
    const errc kind = code == ENOENT || code == ENOTDIR ? errc::not_found
                      : code == EACCES                  ? errc::permission_denied
                                                        : errc::unavailable;
    throw error(kind, "trace file '" + path.string() + "'", std::strerror(code));
  };
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "we"),
                                                       &std::fclose);
  if (!file) fail();
  if (std::fwrite(text.data(), 1, text.size(), file.get()) != text.size()) fail();
  if (std::fclose(file.release()) != 0) fail();
}

}  // namespace mizzen::inference
