#include <mizzen/core/error.hpp>
#include <mizzen/core/json.hpp>
#include <mizzen/kubernetes/discovery.hpp>
#include <mizzen/kubernetes/serialization.hpp>

#include <charconv>
#include <mutex>
#include <optional>
#include <utility>

namespace mizzen::kubernetes {
namespace {

template <class T>
using awaitable = boost::asio::awaitable<T>;

constexpr std::string_view aggregated =
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";

json parse(std::string_view text) {
  try {
    json value = detail::parse_json(text);
    if (value.is_object()) return value;
  } catch (const error& e) {
    throw error(errc::data_loss, "discovery", e.message());
  }
  throw error(errc::data_loss, "discovery", "the answer is no JSON object");
}

// A member that must be a string where it is there.
std::string text(const json& from, const char* member, const std::string& place) {
  const auto at = from.find(member);
  if (at == from.end() || at->is_null()) return {};
  if (!at->is_string()) throw error(errc::data_loss, place + "." + member, "is no string");
  return at->get<std::string>();
}

// Calls visit(element, place) for each object of a list that may be absent.
template <class Visit>
void for_each(const json& from, const char* member, const std::string& place, Visit visit) {
  const auto at = from.find(member);
  if (at == from.end() || at->is_null()) return;
  const std::string list = place.empty() ? member : place + "." + member;
  if (!at->is_array()) throw error(errc::data_loss, list, "is no list");
  for (std::size_t i = 0; i < at->size(); ++i) {
    const std::string here = list + "[" + std::to_string(i) + "]";
    if (!(*at)[i].is_object()) throw error(errc::data_loss, here, "is no object");
    visit((*at)[i], here);
  }
}

std::vector<std::string> strings(const json& from, const char* member) {
  std::vector<std::string> found;
  const auto at = from.find(member);
  if (at == from.end() || !at->is_array()) return found;
  for (const json& each : *at) {
    if (each.is_string()) found.push_back(each.get<std::string>());
  }
  return found;
}

const json& object(const json& from, const char* member) {
  static const json none = json::object();
  const auto at = from.find(member);
  return at == from.end() || !at->is_object() ? none : *at;
}

std::pair<std::string, std::string> split_version(const std::string& group_version) {
  const auto slash = group_version.find('/');
  if (slash == std::string::npos) return {"", group_version};
  return {group_version.substr(0, slash), group_version.substr(slash + 1)};
}

}  // namespace

namespace detail {

void read_aggregated_discovery(std::string_view body, std::vector<api_resource>& into,
                               std::vector<std::string>& unavailable) {
  const json list = parse(body);
  for_each(list, "items", "", [&](const json& group, const std::string& group_place) {
    const std::string group_name = text(object(group, "metadata"), "name", group_place);
    for_each(group, "versions", group_place, [&](const json& version, const std::string& place) {
      const std::string version_name = text(version, "version", place);
      if (text(version, "freshness", place) == "Stale") {
        unavailable.push_back(group_name.empty() ? version_name : group_name + "/" + version_name);
      }
      for_each(version, "resources", place, [&](const json& from, const std::string& here) {
        api_resource to;
        const json& kind = object(from, "responseKind");
        to.info.group = group_name;
        to.info.version = version_name;
        to.info.kind = text(kind, "kind", here);
        to.info.plural = text(from, "resource", here);
        to.info.namespaced = text(from, "scope", here) == "Namespaced";
        to.info.verbs = strings(from, "verbs");
        to.singular = text(from, "singularResource", here);
        to.short_names = strings(from, "shortNames");
        to.categories = strings(from, "categories");
        for_each(from, "subresources", here, [&](const json& sub, const std::string& sub_place) {
          to.info.subresources.push_back(text(sub, "subresource", sub_place));
        });
        // A resource that has subresources only has no kind of its own.
        if (!to.info.kind.empty() && !to.info.plural.empty()) into.push_back(std::move(to));
      });
    });
  });
}

void read_resource_list(std::string_view body, std::vector<api_resource>& into) {
  const json list = parse(body);
  const auto [group, version] = split_version(text(list, "groupVersion", "discovery"));
  const std::size_t first = into.size();
  std::vector<std::string> subresources;
  for_each(list, "resources", "", [&](const json& from, const std::string& place) {
    std::string name = text(from, "name", place);
    if (name.find('/') != std::string::npos) {
      subresources.push_back(std::move(name));
      return;
    }
    api_resource to;
    to.info.group = group;
    to.info.version = version;
    to.info.kind = text(from, "kind", place);
    to.info.plural = std::move(name);
    const auto namespaced = from.find("namespaced");
    to.info.namespaced = namespaced != from.end() && namespaced->is_boolean() && *namespaced;
    to.info.verbs = strings(from, "verbs");
    to.singular = text(from, "singularName", place);
    to.short_names = strings(from, "shortNames");
    to.categories = strings(from, "categories");
    if (to.info.kind.empty() || to.info.plural.empty()) return;
    into.push_back(std::move(to));
  });
  for (const std::string& each : subresources) {
    const auto slash = each.find('/');
    for (std::size_t i = first; i < into.size(); ++i) {
      if (into[i].info.plural != std::string_view(each).substr(0, slash)) continue;
      into[i].info.subresources.push_back(each.substr(slash + 1));
    }
  }
}

std::vector<std::string> read_group_versions(std::string_view body) {
  const json list = parse(body);
  std::vector<std::string> found = strings(list, "versions");
  for_each(list, "groups", "", [&](const json& group, const std::string& place) {
    const std::string preferred = text(object(group, "preferredVersion"), "groupVersion", place);
    if (!preferred.empty()) found.push_back(preferred);
    for_each(group, "versions", place, [&](const json& version, const std::string& here) {
      const std::string name = text(version, "groupVersion", here);
      if (!name.empty() && name != preferred) found.push_back(name);
    });
  });
  return found;
}

server_version read_version(std::string_view body) {
  const json from = parse(body);
  const auto number = [](const std::string& of) {
    // "27+" on some providers.
    int value = 0;
    std::from_chars(of.data(), of.data() + of.size(), value);
    return value;
  };
  server_version to;
  to.major = number(text(from, "major", "version"));
  to.minor = number(text(from, "minor", "version"));
  to.git_version = text(from, "gitVersion", "version");
  to.platform = text(from, "platform", "version");
  if (to.git_version.empty()) throw error(errc::data_loss, "version.gitVersion", "is missing");
  return to;
}

}  // namespace detail

struct discovery::impl {
  explicit impl(client of) : k8s(std::move(of)) {}

  static awaitable<http::response> get(client k8s, std::string path, std::string accept,
                                       cancellation cancel) {
    http::request what{.method = "GET", .url = std::move(path), .headers = {}, .body = {}};
    what.headers.set("Accept", std::move(accept));
    call_options options;
    options.cancel = std::move(cancel);
    co_return co_await k8s.send(std::move(what), std::move(options));
  }

  static awaitable<void> load_root(client k8s, std::string root, cancellation cancel,
                                   std::vector<api_resource>& all,
                                   std::vector<std::string>& unavailable) {
    auto getting = get(k8s, root, std::string(aggregated), cancel);
    const http::response answer = co_await std::move(getting);
    if (answer.headers.value("Content-Type").find("as=APIGroupDiscoveryList") !=
        std::string_view::npos) {
      detail::read_aggregated_discovery(answer.body, all, unavailable);
      co_return;
    }
    for (const std::string& each : detail::read_group_versions(answer.body)) {
      auto one = get(k8s, root + "/" + each, "application/json", cancel);
      std::optional<http::response> resources;
      try {
        resources = co_await std::move(one);
      } catch (const status_error& e) {
        // An extension server that is away must not hide everything else.
        if (e.http_status() != 404 && e.http_status() < 500) throw;
      }
      if (resources) {
        detail::read_resource_list(resources->body, all);
      } else {
        unavailable.push_back(each);
      }
    }
  }

  static awaitable<std::shared_ptr<const rest_mapper>> load(std::shared_ptr<impl> self,
                                                            cancellation cancel) {
    std::vector<api_resource> all;
    std::vector<std::string> unavailable;
    auto core = load_root(self->k8s, "/api", cancel, all, unavailable);
    co_await std::move(core);
    auto groups = load_root(self->k8s, "/apis", cancel, all, unavailable);
    co_await std::move(groups);
    auto made = std::make_shared<const rest_mapper>(std::move(all), std::move(unavailable));
    const std::lock_guard lock(self->mutex);
    self->known = made;
    co_return made;
  }

  static awaitable<std::shared_ptr<const rest_mapper>> mapper(std::shared_ptr<impl> self,
                                                              cancellation cancel) {
    auto known_now = self->cached();
    if (!known_now) known_now = co_await load(self, std::move(cancel));
    co_return known_now;
  }

  static awaitable<resource_info> find(std::shared_ptr<impl> self, std::string name,
                                       cancellation cancel) {
    if (const auto before = self->cached()) {
      try {
        co_return before->find(name).info;
      } catch (const error& e) {
        if (e.code() != errc::not_found) throw;
      }
    }
    const auto fresh = co_await load(self, std::move(cancel));
    co_return fresh->find(name).info;
  }

  static awaitable<resource_info> find_kind(std::shared_ptr<impl> self, std::string api_version,
                                            std::string kind, cancellation cancel) {
    if (const auto before = self->cached()) {
      if (const api_resource* const found = before->find_kind(api_version, kind)) {
        co_return found->info;
      }
    }
    const auto fresh = co_await load(self, std::move(cancel));
    if (const api_resource* const found = fresh->find_kind(api_version, kind)) {
      co_return found->info;
    }
    throw error(errc::not_found, api_version + "/" + kind,
                "the server has no such kind" +
                    std::string(fresh->unavailable().empty() ? "" : ", or cannot say so now"));
  }

  static awaitable<server_version> version(client k8s, cancellation cancel) {
    auto getting = get(std::move(k8s), "/version", "application/json", std::move(cancel));
    const http::response answer = co_await std::move(getting);
    co_return detail::read_version(answer.body);
  }

  std::shared_ptr<const rest_mapper> cached() {
    const std::lock_guard lock(mutex);
    return known;
  }

  client k8s;
  std::mutex mutex;
  std::shared_ptr<const rest_mapper> known;
};

discovery::discovery(client k8s) : impl_(std::make_shared<impl>(std::move(k8s))) {}

const kubernetes::client& discovery::k8s() const noexcept { return impl_->k8s; }

awaitable<std::shared_ptr<const rest_mapper>> discovery::mapper(cancellation cancel) {
  return impl::mapper(impl_, std::move(cancel));
}

awaitable<resource_info> discovery::find(std::string name, cancellation cancel) {
  return impl::find(impl_, std::move(name), std::move(cancel));
}

awaitable<resource_info> discovery::find_kind(std::string api_version, std::string kind,
                                              cancellation cancel) {
  return impl::find_kind(impl_, std::move(api_version), std::move(kind), std::move(cancel));
}

awaitable<server_version> discovery::version(cancellation cancel) {
  return impl::version(impl_->k8s, std::move(cancel));
}

void discovery::invalidate() noexcept {
  const std::lock_guard lock(impl_->mutex);
  impl_->known.reset();
}

}  // namespace mizzen::kubernetes
