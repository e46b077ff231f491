// What kinds a server has, and which one a name means.
#pragma once

#include <mizzen/core/cancellation.hpp>
#include <mizzen/kubernetes/client.hpp>
#include <mizzen/kubernetes/resource.hpp>

#include <boost/asio/awaitable.hpp>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace mizzen::kubernetes {

// A resource as discovery tells of it.
struct api_resource {
  resource_info info = {};
  std::string singular = {};                  // "deployment"
  std::vector<std::string> short_names = {};  // "deploy"
  std::vector<std::string> categories = {};   // "all"
};

// Names to resources, as kubectl understands them. No I/O in it; immutable, so thread safe.
class rest_mapper {
 public:
  // all: in the server's order of preference, so that of several versions the first one wins.
  // unavailable: "metrics.k8s.io/v1beta1" and the like, which the server has but cannot reach now.
  explicit rest_mapper(std::vector<api_resource> all, std::vector<std::string> unavailable = {});

  // Understands, without regard to case but in the group:
  //   plural, singular, short name or kind    "deployments", "deployment", "deploy", "Deployment"
  //   ... and the group                       "deployments.apps", "cronjob.batch"
  //   ... and the version                     "Deployment.v1.apps", "pods.v1."
  //   apiVersion and kind                     "apps/v1/Deployment", "v1/Pod"
  // The whole name goes before short names, and the core group before the others. Throws error:
  //   not_found         nothing has that name; the message lists what is like it
  //   invalid_argument  several groups have it; the message lists them
  const api_resource& find(std::string_view name) const;

  // Null instead of an error where nothing has it.
  const api_resource* find_kind(std::string_view api_version, std::string_view kind) const noexcept;

  const std::vector<api_resource>& all() const noexcept { return all_; }
  const std::vector<std::string>& unavailable() const noexcept { return unavailable_; }

 private:
  std::vector<api_resource> all_;
  std::vector<std::string> unavailable_;
};

struct server_version {
  int major = 0;
  int minor = 0;
  std::string git_version = {};  // "v1.36.3"
  std::string platform = {};     // "linux/amd64"
};

// Asks a server what it has, and keeps the answer. By aggregated discovery: two requests; from a
// server without it (before 1.26), one for each group and version.
//
// A handle, cheap to copy; copies share what they know. Thread safe.
class discovery {
 public:
  explicit discovery(client k8s);

  // What is known, asked for if nothing is. Errors: those of client; data_loss for an answer that
  // cannot be read.
  boost::asio::awaitable<std::shared_ptr<const rest_mapper>> mapper(
      cancellation cancel = cancellation());

  // rest_mapper::find. On a miss the server is asked anew, once: a custom resource may be new.
  boost::asio::awaitable<resource_info> find(std::string name,
                                             cancellation cancel = cancellation());

  // By what objects say of themselves: find_kind("apps/v1", "Deployment"). As find on a miss.
  boost::asio::awaitable<resource_info> find_kind(std::string api_version, std::string kind,
                                                  cancellation cancel = cancellation());

  boost::asio::awaitable<server_version> version(cancellation cancel = cancellation());

  // Forgets what is known.
  void invalidate() noexcept;

  const kubernetes::client& k8s() const noexcept;

 private:
  struct impl;
  std::shared_ptr<impl> impl_;
};

namespace detail {

// APIGroupDiscoveryList (apidiscovery.k8s.io/v2 or v2beta1): appends its resources. Throws
// error(data_loss) that names the field.
void read_aggregated_discovery(std::string_view text, std::vector<api_resource>& into,
                               std::vector<std::string>& unavailable);

// APIResourceList, the older form: the resources of one group and version.
void read_resource_list(std::string_view text, std::vector<api_resource>& into);

// APIVersions of /api, or APIGroupList of /apis: the "group/version"s, preferred ones first.
std::vector<std::string> read_group_versions(std::string_view text);

server_version read_version(std::string_view text);

}  // namespace detail

}  // namespace mizzen::kubernetes
