#include <mizzen/kubernetes/scheduling_message.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

namespace mizzen::kubernetes {

namespace {

// Reads the number that the text starts with and drops it.
std::optional<std::int64_t> take_number(std::string_view& text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || value < 0) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return value;
}

bool take(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

bool starts_entry(std::string_view text) {
  return take_number(text).has_value() && text.starts_with(' ');
}

// Splits at the commas that a new count follows: a reason may have commas of its own.
std::vector<std::string_view> split_entries(std::string_view text) {
  std::vector<std::string_view> entries;
  std::size_t begin = 0;
  for (std::size_t comma = text.find(", "); comma != text.npos;
       comma = text.find(", ", comma + 2)) {
    if (!starts_entry(text.substr(comma + 2))) continue;
    entries.push_back(text.substr(begin, comma - begin));
    begin = comma + 2;
  }
  entries.push_back(text.substr(begin));
  return entries;
}

struct known_text {
  std::string_view part;
  kubernetes::predicate predicate;
};

// Looked for in this order: "volume node affinity" is no node selector.
constexpr std::array known_texts = {
    known_text{"untolerated taint", predicate::taint},
    known_text{"that the pod didn't tolerate", predicate::taint},
    known_text{"were unschedulable", predicate::cordoned},
    known_text{"unknown conditions", predicate::cordoned},
    known_text{"node affinity/selector", predicate::node_selector},
    known_text{"didn't match node selector", predicate::node_selector},
    known_text{"requested node name", predicate::node_name},
    known_text{"free ports", predicate::host_port},
    known_text{"topology spread", predicate::topology_spread},
    known_text{"pod affinity", predicate::pod_affinity},
    known_text{"anti-affinity", predicate::pod_affinity},
    known_text{"resource claim", predicate::claim},
    known_text{"allocate all claims", predicate::claim},
    known_text{"resourceclaim", predicate::claim},
    known_text{"volume", predicate::volume},
    known_text{"PersistentVolume", predicate::volume},
    known_text{"pvc(s)", predicate::volume},
    known_text{"no available disk", predicate::volume},
    known_text{"free storage", predicate::volume},
};

predicate_failure read_entry(std::string_view entry) {
  predicate_failure failure;
  if (const auto count = take_number(entry)) failure.nodes = *count;
  take(entry, " ");
  failure.text = entry;
  if (auto rest = entry; take(rest, "Insufficient ")) {
    failure.predicate = predicate::resources;
    failure.resource = rest;
  } else if (entry == "Too many pods") {
    failure.predicate = predicate::resources;
    failure.resource = "pods";
  } else {
    const auto* known = std::find_if(known_texts.begin(), known_texts.end(), [&](const auto& it) {
      return entry.find(it.part) != entry.npos;
    });
    if (known != known_texts.end()) failure.predicate = known->predicate;
  }
  if (failure.predicate == predicate::taint) {
    const auto open = entry.find('{');
    const auto close = entry.rfind('}');
    if (open != entry.npos && close != entry.npos && open < close) {
      auto taint = entry.substr(open + 1, close - open - 1);
      while (taint.ends_with(' ') || taint.ends_with(':')) taint.remove_suffix(1);
      failure.taint = taint;
    }
  }
  return failure;
}

}  // namespace

std::string_view to_string(predicate value) noexcept {
  switch (value) {
    case predicate::resources:
      return "resources";
    case predicate::taint:
      return "taint";
    case predicate::node_selector:
      return "node_selector";
    case predicate::cordoned:
      return "cordoned";
    case predicate::node_name:
      return "node_name";
    case predicate::host_port:
      return "host_port";
    case predicate::pod_affinity:
      return "pod_affinity";
    case predicate::topology_spread:
      return "topology_spread";
    case predicate::volume:
      return "volume";
    case predicate::claim:
      return "claim";
    case predicate::other:
      break;
  }
  return "other";
}

std::optional<scheduling_message> parse_scheduling_message(std::string_view text) {
  scheduling_message message;
  const auto available = take_number(text);
  if (!available || !take(text, "/")) return std::nullopt;
  const auto nodes = take_number(text);
  if (!nodes || !take(text, " nodes are available")) return std::nullopt;
  message.available = *available;
  message.nodes = *nodes;
  if (!take(text, ":")) return text.empty() || text == "." ? std::optional(message) : std::nullopt;
  while (take(text, " ")) continue;

  // The reasons end at a full stop; one inside a word, as in nvidia.com/gpu, is none.
  std::string_view reasons = text;
  if (const auto stop = text.find(". "); stop != text.npos) {
    reasons = text.substr(0, stop);
    message.preemption = text.substr(stop + 2);
  } else if (reasons.ends_with('.')) {
    reasons.remove_suffix(1);
  }
  if (reasons.empty()) return message;
  if (!starts_entry(reasons)) {
    message.pod_reason = reasons;
    return message;
  }
  for (const auto entry : split_entries(reasons)) message.failures.push_back(read_entry(entry));
  std::sort(message.failures.begin(), message.failures.end(), [](const auto& a, const auto& b) {
    return a.nodes != b.nodes ? a.nodes > b.nodes : a.text < b.text;
  });
  return message;
}

}  // namespace mizzen::kubernetes
