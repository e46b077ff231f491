#include <mizzen/core/error.hpp>
#include <mizzen/kubernetes/discovery.hpp>

#include <algorithm>
#include <set>
#include <utility>

namespace mizzen::kubernetes {
namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool same(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, {}, lower, lower);
}

// What a name asks for; group and version where it says so.
struct wanted {
  std::string_view word;
  bool has_group = false;
  std::string_view group;
  std::string_view version;
};

bool has_name(const api_resource& of, std::string_view word) {
  return same(of.info.plural, word) || same(of.singular, word) || same(of.info.kind, word);
}

bool has_short_name(const api_resource& of, std::string_view word) {
  return std::ranges::any_of(of.short_names, [&](const auto& each) { return same(each, word); });
}

bool in_group(const api_resource& of, const wanted& what) {
  return (!what.has_group || of.info.group == what.group) &&
         (what.version.empty() || of.info.version == what.version);
}

std::string full_name(const api_resource& of) {
  return of.info.group.empty() ? of.info.plural + ".v1." : of.info.plural + "." + of.info.group;
}

std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i + 1);
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t change = diagonal + (lower(a[i]) == lower(b[j]) ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({row[j] + 1, row[j + 1] + 1, change});
    }
  }
  return row.back();
}

std::string join(const std::set<std::string>& texts) {
  std::string all;
  for (const std::string& each : texts) all += (all.empty() ? "" : ", ") + each;
  return all;
}

}  // namespace

rest_mapper::rest_mapper(std::vector<api_resource> all, std::vector<std::string> unavailable)
    : all_(std::move(all)), unavailable_(std::move(unavailable)) {}

const api_resource* rest_mapper::find_kind(std::string_view api_version,
                                           std::string_view kind) const noexcept {
  const auto at = std::ranges::find_if(all_, [&](const api_resource& each) {
    if (each.info.kind != kind) return false;
    const std::string& group = each.info.group;
    if (group.empty()) return api_version == each.info.version;
    return api_version.size() == group.size() + 1 + each.info.version.size() &&
           api_version.starts_with(group) && api_version[group.size()] == '/' &&
           api_version.ends_with(each.info.version);
  });
  return at == all_.end() ? nullptr : &*at;
}

const api_resource& rest_mapper::find(std::string_view name) const {
  if (name.empty() || name.size() > 1024) {
    throw error(errc::invalid_argument, "resource", "a name such as deployments.apps is wanted");
  }
  std::vector<wanted> readings;
  if (const auto slash = name.rfind('/'); slash != std::string_view::npos) {
    const std::string_view api_version = name.substr(0, slash);
    const auto inner = api_version.find('/');
    wanted what{name.substr(slash + 1), true, {}, api_version};
    if (inner != std::string_view::npos) {
      what.group = api_version.substr(0, inner);
      what.version = api_version.substr(inner + 1);
    }
    readings.push_back(what);
  } else if (const auto dot = name.find('.'); dot != std::string_view::npos) {
    const std::string_view word = name.substr(0, dot);
    const std::string_view rest = name.substr(dot + 1);
    readings.push_back({word, true, rest, {}});
    if (const auto second = rest.find('.'); second != std::string_view::npos) {
      readings.push_back({word, true, rest.substr(second + 1), rest.substr(0, second)});
    }
  } else {
    readings.push_back({name, false, {}, {}});
  }

  for (const wanted& what : readings) {
    for (const auto& matches : {has_name, has_short_name}) {
      const api_resource* found = nullptr;
      std::set<std::string> groups;
      for (const api_resource& each : all_) {
        if (!in_group(each, what) || !matches(each, what.word)) continue;
        if (each.info.group.empty()) return each;
        if (!found) found = &each;
        groups.insert(full_name(each));
      }
      if (groups.size() > 1) {
        throw error(errc::invalid_argument, name,
                    "several groups have it; name one of " + join(groups));
      }
      if (found) return *found;
    }
  }

  std::set<std::string> similar;
  const std::string_view word = readings.front().word;
  for (const api_resource& each : all_) {
    const std::size_t near =
        std::min({distance(each.info.plural, word), distance(each.singular, word),
                  distance(each.info.kind, word)});
    if (near <= std::min<std::size_t>(2, word.size() / 3)) similar.insert(full_name(each));
    if (similar.size() == 10) break;
  }
  std::string message = "the server has no such resource";
  if (!similar.empty()) message += "; it has " + join(similar);
  if (!unavailable_.empty()) {
    message += "; it could not say what is in " +
               join(std::set<std::string>(unavailable_.begin(), unavailable_.end()));
  }
  throw error(errc::not_found, name, message);
}

}  // namespace mizzen::kubernetes
