// Internal: the verbs of the API without the kind. Moves bodies; api<K> gives them their type.
#pragma once

#include <mizzen/kubernetes/client.hpp>
#include <mizzen/kubernetes/list_decoder.hpp>
#include <mizzen/kubernetes/options.hpp>
#include <mizzen/kubernetes/resource.hpp>
#include <mizzen/kubernetes/subresources.hpp>
#include <mizzen/kubernetes/table.hpp>

#include <boost/asio/awaitable.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mizzen::kubernetes::detail {

enum class object_shape : std::uint8_t { whole, metadata };

struct body {
  std::string text = {};
  body_encoding encoding = body_encoding::json;
};

struct object_names {
  std::string namespace_ = {};
  std::string name = {};
};

// Takes the answer to a list as it arrives.
class list_sink {
 public:
  list_sink() = default;
  list_sink(const list_sink&) = delete;
  list_sink& operator=(const list_sink&) = delete;
  virtual void begin(body_encoding encoding) = 0;
  virtual void feed(std::string_view piece) = 0;
  virtual void finish() = 0;

 protected:
  ~list_sink() = default;
};

// A value. Coroutines hold a copy of what they need, so that it may be destroyed before they end;
// a list_sink must live until its list is done.
class resource_client {
 public:
  template <class T>
  using awaitable = boost::asio::awaitable<T>;

  // In the namespace of the client's config, or the cluster. protobuf: the kind's codec has it.
  resource_client(client k8s, resource_info resource, bool protobuf, object_shape shape);
  // An empty namespace: all of them. Throws error(invalid_argument) for one on a resource without
  // namespaces.
  resource_client(client k8s, resource_info resource, std::string namespace_, bool protobuf,
                  object_shape shape);

  // The same resource read in another shape.
  resource_client with(bool protobuf, object_shape shape) const;

  const client& k8s() const noexcept { return k8s_; }
  const resource_info& resource() const noexcept { return resource_; }
  const std::string& namespace_() const noexcept { return namespace__; }
  bool prefers_protobuf() const noexcept;

  awaitable<body> get(std::string name, std::string subresource, get_options options) const;
  awaitable<body> get(object_names names, std::string subresource, get_options options) const;
  awaitable<std::optional<body>> find(std::string name, get_options options) const;
  awaitable<void> list(list_options options, list_sink& into) const;
  awaitable<kubernetes::table> table(list_options options) const;

  awaitable<body> create(body object, object_names names, write_options options) const;
  awaitable<body> replace(body object, object_names names, std::string subresource,
                          write_options options) const;
  awaitable<body> patch(std::string name, std::string subresource, kubernetes::patch change,
                        patch_options options) const;
  awaitable<body> apply(std::string object, object_names names, std::string subresource,
                        apply_options options) const;
  awaitable<body> apply(json object, std::string subresource, apply_options options) const;
  awaitable<body> remove(std::string name, remove_options options) const;
  awaitable<void> remove_collection(list_options which, remove_options options) const;

  awaitable<scale> get_scale(std::string name, get_options options) const;
  awaitable<scale> replace_scale(scale wanted, write_options options) const;
  awaitable<scale> scale_to(std::string name, std::int32_t replicas, write_options options) const;
  awaitable<void> evict(std::string name, remove_options options) const;
  awaitable<void> bind(std::string name, std::string node, write_options options) const;
  awaitable<service_account_token> create_token(std::string name, token_options options) const;

  // Waits a moment that grows with the attempts, with jitter.
  awaitable<void> pause_after_conflict(int attempt, cancellation cancel) const;

  // The path and query of the collection with these options, and the Accept of its answer: what
  // watches are made of.
  std::string list_path(const list_options& options, std::string_view more = {}) const;
  std::string accept(object_shape shape, bool list, encoding wanted) const;

 private:
  awaitable<body> exchange(http::request what, cancellation cancel) const;
  http::request request(std::string_view method, std::string path) const;
  std::string path_of(const object_names& names, std::string_view subresource) const;
  std::string path_of(std::string_view name, std::string_view subresource) const;
  std::string collection_of(const object_names& names) const;
  std::string manager(const std::string& of_call) const;

  client k8s_;
  resource_info resource_;
  std::string namespace__;
  bool protobuf_ = false;
  object_shape shape_ = object_shape::whole;
};

}  // namespace mizzen::kubernetes::detail
