#include <mizzen/core/error.hpp>
#include <mizzen/kubernetes/api.hpp>
#include <mizzen/kubernetes/finalizer.hpp>

#include <algorithm>
#include <utility>
#include <vector>

namespace mizzen::kubernetes::detail {

boost::asio::awaitable<bool> edit_finalizer(resource_client of, object_names names, std::string uid,
                                            std::string finalizer, bool present) {
  constexpr int attempts = 10;
  const api<dynamic_object> objects =
      names.namespace_.empty() ? api<dynamic_object>(of.k8s(), of.resource(), all_namespaces)
                               : api<dynamic_object>(of.k8s(), of.resource(), names.namespace_);
  const api<meta_v1::partial_object_metadata> metadata = objects.metadata();
  for (int attempt = 1;; ++attempt) {
    get_options get;
    std::optional<meta_v1::partial_object_metadata> found =
        co_await metadata.find(names.name, std::move(get));
    if (!found && !present) co_return false;
    if (!found) {
      throw error(errc::not_found, names.name, "is gone, and takes no finalizer");
    }
    if (!uid.empty() && found->metadata.uid != uid) {
      if (!present) co_return false;
      throw error(errc::aborted, names.name, "is another object of the same name by now");
    }
    std::vector<std::string>& finalizers = found->metadata.finalizers;
    const auto at = std::find(finalizers.begin(), finalizers.end(), finalizer);
    if ((at != finalizers.end()) == present) co_return false;
    if (present) {
      finalizers.push_back(finalizer);
    } else {
      finalizers.erase(at);
    }
    json change;
    change["metadata"]["resourceVersion"] = found->metadata.resource_version;
    change["metadata"]["finalizers"] = finalizers;
    try {
      patch_options write;
      patch merge = patch::merge(std::move(change));
      co_await metadata.patch(names.name, std::move(merge), std::move(write));
      co_return true;
    } catch (const status_error& e) {
      if (!present && is_not_found(e)) co_return false;
      if (!is_conflict(e) || attempt >= attempts) throw;
    }
    cancellation never;
    co_await of.pause_after_conflict(attempt, never);
  }
}

}  // namespace mizzen::kubernetes::detail
