#include "kubernetes/limiter.hpp"
#include "kubernetes/yaml.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/kubernetes/api.hpp>
#include <mizzen/kubernetes/manifest.hpp>

#include <algorithm>
#include <utility>

namespace mizzen::kubernetes {
namespace {

constexpr detail::yaml_limits limits{
    .max_bytes = std::size_t{16} << 20, .max_depth = 100, .max_values = 2'000'000};

void add(json value, const std::string& place, std::vector<dynamic_object>& to) {
  if (value.is_null()) return;
  if (!value.is_object()) throw error(errc::invalid_argument, place, "is no object");
  dynamic_object object(std::move(value));
  if (object.kind().empty() || object.api_version().empty()) {
    throw error(errc::invalid_argument, place, "has no apiVersion or no kind");
  }
  if (!object.kind().ends_with("List") || !object["items"].is_array()) {
    to.push_back(std::move(object));
    return;
  }
  json& items = object["items"];
  for (std::size_t i = 0; i < items.size(); ++i) {
    add(std::move(items[i]), place + ".items[" + std::to_string(i) + "]", to);
  }
}

// Whether the manifest itself brings the definition of a kind.
bool defines(const std::vector<dynamic_object>& all, const dynamic_object& object) {
  const std::string group = object.api_version().substr(0, object.api_version().find('/'));
  return std::ranges::any_of(all, [&](const dynamic_object& each) {
    return each.kind() == "CustomResourceDefinition" && each.at("/spec/group") == group &&
           each.at("/spec/names/kind") == object.kind();
  });
}

boost::asio::awaitable<resource_info> resource_for(discovery kinds, const dynamic_object& object,
                                                   bool may_come, cancellation until) {
  for (;;) {
    auto finding = kinds.find_kind(object.api_version(), object.kind(), until);
    try {
      co_return co_await std::move(finding);
    } catch (const error& e) {
      if (!may_come || e.code() != errc::not_found) throw;
    }
    co_await detail::sleep(kinds.k8s().executor(), std::chrono::milliseconds(200), until,
                           object.api_version() + "/" + object.kind());
  }
}

}  // namespace

std::vector<dynamic_object> parse_manifest(std::string_view text, std::string_view origin) {
  std::vector<std::string> warnings;
  std::vector<json> documents = detail::yaml_documents(text, origin, limits, warnings);
  if (!warnings.empty()) throw error(errc::invalid_argument, origin, warnings.front());
  std::vector<dynamic_object> objects;
  for (std::size_t i = 0; i < documents.size(); ++i) {
    add(std::move(documents[i]), std::string(origin) + "[" + std::to_string(i) + "]", objects);
  }
  return objects;
}

boost::asio::awaitable<std::vector<dynamic_object>> apply_manifest(discovery kinds,
                                                                   std::string text,
                                                                   apply_options options,
                                                                   std::string namespace_) {
  const std::vector<dynamic_object> objects = parse_manifest(text);
  const client k8s = kinds.k8s();
  if (namespace_.empty()) namespace_ = k8s.default_namespace();
  cancellation until = options.cancel;
  if (k8s.options().timeout.count() > 0) {
    until.deadline = earlier(until.deadline, deadline::after(k8s.options().timeout));
  }
  std::vector<dynamic_object> applied;
  for (const dynamic_object& each : objects) {
    auto finding = resource_for(kinds, each, defines(objects, each), until);
    resource_info resource = co_await std::move(finding);
    std::string space;
    if (resource.namespaced) space = each.namespace_().empty() ? namespace_ : each.namespace_();
    const api<dynamic_object> on(k8s, std::move(resource), std::move(space));
    auto applying = on.apply(each.value(), options);
    applied.push_back(co_await std::move(applying));
  }
  co_return applied;
}

}  // namespace mizzen::kubernetes
