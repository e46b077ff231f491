// The verbs of the API on one kind of object.
#pragma once

#include <mizzen/core/error.hpp>
#include <mizzen/kubernetes/client.hpp>
#include <mizzen/kubernetes/detail/resource_client.hpp>
#include <mizzen/kubernetes/dynamic_object.hpp>
#include <mizzen/kubernetes/list.hpp>
#include <mizzen/kubernetes/list_decoder.hpp>
#include <mizzen/kubernetes/options.hpp>
#include <mizzen/kubernetes/resource.hpp>
#include <mizzen/kubernetes/serialization.hpp>
#include <mizzen/kubernetes/status.hpp>
#include <mizzen/kubernetes/subresources.hpp>
#include <mizzen/kubernetes/table.hpp>
#include <mizzen/kubernetes/types/meta_v1.hpp>

#include <boost/asio/awaitable.hpp>

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace mizzen::kubernetes {

struct all_namespaces_t {};
inline constexpr all_namespaces_t all_namespaces{};

// A kind that knows its resource: the generated ones.
template <class K>
concept known_kind = described<K>;

// What a delete did.
template <class K>
struct removed {
  // The object as it is now, when it goes later (finalizers, a grace period), or as it was.
  std::optional<K> object = {};
  // What the server said instead: the object is gone.
  std::optional<api_status> status = {};
};

template <class K>
class pager;

// Objects of one kind in one namespace, in all of them, or in the cluster. K is a generated kind,
// dynamic_object, or meta_v1::partial_object_metadata (reads and patches only).
//
//   api<core_v1::pod> pods{k8s, "default"};
//   core_v1::pod web = co_await pods.get("web");
//   list_options web_only{.label_selector = "app=web"};
//   for (auto& each : (co_await pods.list(web_only)).items) …
//
// Name the options as above: GCC 12 destroys a temporary that is made from braces within an
// expression of co_await twice, pods.list({.limit = 1}) among them. (That is also why default
// arguments are written with parentheses here.) Clang does it right.
//
// A value, cheap to copy. As thread safe as the client. Generated built-in kinds travel as protobuf
// unless the client's options or the call say otherwise; everything else as JSON.
//
// Errors: those of client. A body that cannot be read is invalid_argument or data_loss and names
// the field. An empty name is invalid_argument, also where it would have meant the collection.
template <class K>
class api {
 public:
  // In the namespace of the client's config; the cluster for kinds that have no namespace.
  explicit api(client k8s)
    requires known_kind<K>
      : api(std::move(k8s), resource_of<K>()) {}
  // In one namespace.
  api(client k8s, std::string namespace_)
    requires known_kind<K>
      : api(std::move(k8s), resource_of<K>(), std::move(namespace_)) {}
  // In all namespaces: list, watch and remove_collection; create and the like take the object's
  // own.
  api(client k8s, all_namespaces_t all)
    requires known_kind<K>
      : api(std::move(k8s), resource_of<K>(), all) {}

  // The same for a resource that is known at run time.
  api(client k8s, resource_info resource)
      : core_(std::move(k8s), std::move(resource), travels, shape) {}
  api(client k8s, resource_info resource, std::string namespace_)
      : core_(std::move(k8s), std::move(resource), std::move(namespace_), travels, shape) {}
  api(client k8s, resource_info resource, all_namespaces_t)
      : core_(std::move(k8s), std::move(resource), std::string(), travels, shape) {}

  const client& k8s() const noexcept { return core_.k8s(); }
  const resource_info& resource() const noexcept { return core_.resource(); }
  // Empty: all namespaces, or none.
  const std::string& namespace_() const noexcept { return core_.namespace_(); }

  // --- Reading -----------------------------------------------------------------------------------

  boost::asio::awaitable<K> get(std::string name, get_options options = get_options()) const {
    return decode(core_.get(std::move(name), {}, std::move(options)));
  }

  // Nothing where it does not exist.
  boost::asio::awaitable<std::optional<K>> find(std::string name,
                                                get_options options = get_options()) const {
    return find(core_, std::move(name), std::move(options));
  }

  // One answer: all objects, or the first `limit` of them. Decoded while it arrives.
  boost::asio::awaitable<kubernetes::list<K>> list(list_options options = list_options()) const {
    return read_list(core_, std::move(options));
  }

  // All objects, page by page (500 each unless options.limit says otherwise), in one list. Where
  // the pages expire meanwhile (410) it starts over in one piece.
  boost::asio::awaitable<kubernetes::list<K>> list_all(
      list_options options = list_options()) const {
    return read_all(*this, std::move(options));
  }

  // Page by page, for more than fits into memory:
  //   auto pages = pods.pages({.limit = 100});
  //   while (auto page = co_await pages.next()) for (auto& each : page->items) …
  kubernetes::pager<K> pages(list_options options = list_options()) const {
    return kubernetes::pager<K>(*this, std::move(options));
  }

  // As the server prints them.
  boost::asio::awaitable<kubernetes::table> table(list_options options = list_options()) const {
    return core_.table(std::move(options));
  }

  // The same objects, of which only the metadata travels.
  api<meta_v1::partial_object_metadata> metadata() const {
    return api<meta_v1::partial_object_metadata>(core_);
  }

  // --- Writing -----------------------------------------------------------------------------------

  // The namespace is the object's own, or else this one's; two that differ are an error.
  boost::asio::awaitable<K> create(const K& object, write_options options = write_options()) const {
    return decode(core_.create(encode(object), names_of(object), std::move(options)));
  }

  // With the resource_version that it was read with: 409 if it was changed meanwhile. Without:
  // whatever is there is overwritten.
  boost::asio::awaitable<K> replace(const K& object,
                                    write_options options = write_options()) const {
    return decode(core_.replace(encode(object), names_of(object), {}, std::move(options)));
  }

  boost::asio::awaitable<K> patch(std::string name, kubernetes::patch change,
                                  patch_options options = patch_options()) const {
    return decode(core_.patch(std::move(name), {}, std::move(change), std::move(options)));
  }

  // Server-side apply: what is in the object is this manager's wish, what was in the last one and
  // is not in this one goes. A field that another manager owns is a status_error 409 with
  // conflicts(), unless forced.
  boost::asio::awaitable<K> apply(const K& object, apply_options options = apply_options()) const {
    return decode(core_.apply(to_json(object), names_of(object), {}, std::move(options)));
  }

  // The same from JSON, which says exactly which fields are meant; apiVersion and kind are filled
  // in.
  boost::asio::awaitable<K> apply(json object, apply_options options = apply_options()) const {
    return decode(core_.apply(std::move(object), {}, std::move(options)));
  }

  boost::asio::awaitable<removed<K>> remove(std::string name,
                                            remove_options options = remove_options()) const {
    return read_removed(core_.remove(std::move(name), std::move(options)));
  }

  // Every object that the selectors of `which` match; all of the namespace without any. The objects
  // may go later than the answer comes.
  boost::asio::awaitable<void> remove_collection(list_options which,
                                                 remove_options options = remove_options()) const {
    return core_.remove_collection(std::move(which), std::move(options));
  }

  // Reads, changes and replaces; on a conflict with another writer it starts over, up to
  // `attempts` times. `change` may be called several times; what it throws ends it.
  boost::asio::awaitable<K> modify(std::string name, std::function<void(K&)> change,
                                   write_options options = write_options(),
                                   int attempts = 5) const {
    return modify(*this, std::move(name), std::move(change), std::move(options), attempts);
  }

  // Creates it; where it exists already, gives what is there.
  boost::asio::awaitable<K> create_or_get(const K& object,
                                          write_options options = write_options()) const {
    return create_or_get(*this, object, std::move(options));
  }

  // --- Subresources ------------------------------------------------------------------------------

  boost::asio::awaitable<K> get_status(std::string name,
                                       get_options options = get_options()) const {
    return decode(core_.get(std::move(name), "status", std::move(options)));
  }
  boost::asio::awaitable<K> replace_status(const K& object,
                                           write_options options = write_options()) const {
    return decode(core_.replace(encode(object), names_of(object), "status", std::move(options)));
  }
  boost::asio::awaitable<K> patch_status(std::string name, kubernetes::patch change,
                                         patch_options options = patch_options()) const {
    return decode(core_.patch(std::move(name), "status", std::move(change), std::move(options)));
  }
  boost::asio::awaitable<K> apply_status(json object,
                                         apply_options options = apply_options()) const {
    return decode(core_.apply(std::move(object), "status", std::move(options)));
  }

  // Of what can be scaled: Deployments, StatefulSets, ReplicaSets, custom resources that say so.
  boost::asio::awaitable<scale> get_scale(std::string name,
                                          get_options options = get_options()) const {
    return core_.get_scale(std::move(name), std::move(options));
  }
  // With its resource_version: 409 if the object was changed meanwhile.
  boost::asio::awaitable<scale> replace_scale(const scale& wanted,
                                              write_options options = write_options()) const {
    return core_.replace_scale(wanted, std::move(options));
  }
  boost::asio::awaitable<scale> scale_to(std::string name, std::int32_t replicas,
                                         write_options options = write_options()) const {
    return core_.scale_to(std::move(name), replicas, std::move(options));
  }

  // Pods: removes one unless that would break a disruption budget, which is a status_error 429 with
  // the cause DisruptionBudget.
  boost::asio::awaitable<void> evict(std::string name,
                                     remove_options options = remove_options()) const {
    return core_.evict(std::move(name), std::move(options));
  }

  // Pods: puts one on a node, as a scheduler does.
  boost::asio::awaitable<void> bind(std::string name, std::string node,
                                    write_options options = write_options()) const {
    return core_.bind(std::move(name), std::move(node), std::move(options));
  }

  // Service accounts: a token that says to be it.
  boost::asio::awaitable<service_account_token> create_token(
      std::string name, token_options options = token_options()) const {
    return core_.create_token(std::move(name), std::move(options));
  }

  // Without the kind: what watches, streams and the like build on.
  const detail::resource_client& core() const noexcept { return core_; }

 private:
  template <class>
  friend class api;
  friend class kubernetes::pager<K>;

  static constexpr bool travels = codec<K>::protobuf;
  static constexpr detail::object_shape shape = std::is_same_v<K, meta_v1::partial_object_metadata>
                                                    ? detail::object_shape::metadata
                                                    : detail::object_shape::whole;

  explicit api(const detail::resource_client& other) : core_(other.with(travels, shape)) {}

  static detail::object_names names_of(const K& object) {
    if constexpr (std::is_same_v<K, dynamic_object>) {
      return {object.namespace_(), object.name()};
    } else {
      return {object.metadata.namespace_, object.metadata.name};
    }
  }

  // As protobuf where both sides know it; an object that was read as JSON and has members that the
  // schema does not know goes back as JSON.
  detail::body encode(const K& object) const {
    if constexpr (travels && described<K>) {
      if (core_.prefers_protobuf()) {
        try {
          return {to_protobuf_envelope(object), body_encoding::protobuf};
        } catch (const error& e) {
          if (e.code() != errc::failed_precondition) throw;
        }
      }
    }
    return {to_json(object), body_encoding::json};
  }

  static K decode_body(const detail::body& from) {
    if (from.encoding == body_encoding::json) return from_json<K>(from.text);
    if constexpr (described<K>) {
      return from_protobuf_envelope<K>(from.text);
    } else {
      throw error(errc::data_loss, "answer", "is protobuf where JSON was asked for");
    }
  }

  static boost::asio::awaitable<K> decode(boost::asio::awaitable<detail::body> from) {
    co_return decode_body(co_await std::move(from));
  }

  static boost::asio::awaitable<std::optional<K>> find(detail::resource_client core,
                                                       std::string name, get_options options) {
    const std::optional<detail::body> found =
        co_await core.find(std::move(name), std::move(options));
    std::optional<K> result;
    if (found) result.emplace(decode_body(*found));
    co_return result;
  }

  struct list_reader final : detail::list_sink {
    void begin(body_encoding encoding) override { decoder.emplace(encoding); }
    void feed(std::string_view piece) override {
      decoder->feed(piece);
      while (decoder->next(into.items.emplace_back())) continue;
      into.items.pop_back();
    }
    void finish() override {
      decoder->finish();
      into.metadata = decoder->metadata();
    }
    std::optional<list_decoder<K>> decoder;
    kubernetes::list<K> into;
  };

  static boost::asio::awaitable<kubernetes::list<K>> read_list(detail::resource_client core,
                                                               list_options options) {
    list_reader reader;
    co_await core.list(std::move(options), reader);
    co_return std::move(reader.into);
  }

  static boost::asio::awaitable<kubernetes::list<K>> read_all(api self, list_options options) {
    kubernetes::list<K> all;
    kubernetes::pager<K> pages = self.pages(options);
    bool expired = false;
    try {
      while (std::optional<kubernetes::list<K>> page = co_await pages.next()) {
        if (all.items.empty()) {
          all = std::move(*page);
          continue;
        }
        all.metadata = page->metadata;
        std::move(page->items.begin(), page->items.end(), std::back_inserter(all.items));
      }
    } catch (const status_error& e) {
      if (!is_resource_expired(e) || !options.continue_token.empty()) throw;
      expired = true;
    }
    if (expired) {
      options.limit = 0;
      all = co_await self.list(std::move(options));
    }
    all.metadata.continue_.clear();
    all.metadata.remaining_item_count.reset();
    co_return all;
  }

  static boost::asio::awaitable<removed<K>> read_removed(
      boost::asio::awaitable<detail::body> from) {
    const detail::body answer = co_await std::move(from);
    removed<K> result;
    result.status = parse_status(answer.text);
    if (!result.status) result.object.emplace(decode_body(answer));
    co_return result;
  }

  static boost::asio::awaitable<K> modify(api self, std::string name,
                                          std::function<void(K&)> change, write_options options,
                                          int attempts) {
    get_options reading;
    reading.cancel = options.cancel;
    for (int attempt = 1;; ++attempt) {
      K object = co_await self.get(name, reading);
      change(object);
      try {
        co_return co_await self.replace(object, options);
      } catch (const status_error& e) {
        if (!is_conflict(e) || attempt >= attempts) throw;
      }
      co_await self.core_.pause_after_conflict(attempt, options.cancel);
    }
  }

  static boost::asio::awaitable<K> create_or_get(api self, K object, write_options options) {
    try {
      co_return co_await self.create(object, options);
    } catch (const status_error& e) {
      if (!is_already_exists(e)) throw;
    }
    get_options reading;
    reading.cancel = options.cancel;
    const detail::object_names names = names_of(object);
    auto reading_it = decode(self.core_.get(names, std::string(), reading));
    co_return co_await std::move(reading_it);
  }

  detail::resource_client core_;
};

// A list in pages; see api::pages. One next() at a time.
template <class K>
class pager {
 public:
  pager(api<K> of, list_options options) : of_(std::move(of)), options_(std::move(options)) {
    if (options_.limit <= 0) options_.limit = 500;
  }

  // The next page, nothing after the last. Throws status_error 410 (is_resource_expired) when the
  // server no longer has the rest of the list: begin again, or go on inconsistently with the
  // continue_token of that error's status.
  boost::asio::awaitable<std::optional<list<K>>> next() {
    std::optional<list<K>> page;
    if (done_) co_return page;
    page.emplace(co_await of_.list(options_));
    options_.continue_token = page->metadata.continue_;
    options_.resource_version.clear();
    options_.match = version_match::unset;
    done_ = options_.continue_token.empty();
    co_return page;
  }

 private:
  api<K> of_;
  list_options options_;
  bool done_ = false;
};

}  // namespace mizzen::kubernetes
