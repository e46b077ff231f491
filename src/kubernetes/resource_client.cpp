#include "kubernetes/limiter.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/core/json.hpp>
#include <mizzen/core/time.hpp>
#include <mizzen/kubernetes/detail/resource_client.hpp>
#include <mizzen/kubernetes/serialization.hpp>

#include <utility>

namespace mizzen::kubernetes::detail {
namespace {

template <class T>
using awaitable = boost::asio::awaitable<T>;

constexpr std::string_view json_type = "application/json";
constexpr std::string_view protobuf_type = "application/vnd.kubernetes.protobuf";

// "?a=b&c=d", growing.
class query {
 public:
  void add(std::string_view key, std::string_view value) {
    if (value.empty()) return;
    text_ += text_.empty() ? '?' : '&';
    text_.append(key).append("=").append(http::percent_encode(value));
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

std::string_view to_string(field_validation validation) {
  switch (validation) {
    case field_validation::unset:
      return "";
    case field_validation::ignore:
      return "Ignore";
    case field_validation::warn:
      return "Warn";
    case field_validation::strict:
      return "Strict";
  }
  return "";
}

std::string_view to_string(version_match match) {
  switch (match) {
    case version_match::unset:
      return "";
    case version_match::exact:
      return "Exact";
    case version_match::not_older_than:
      return "NotOlderThan";
  }
  return "";
}

std::string_view to_string(propagation propagate) {
  switch (propagate) {
    case propagation::unset:
      return "";
    case propagation::background:
      return "Background";
    case propagation::foreground:
      return "Foreground";
    case propagation::orphan:
      return "Orphan";
  }
  return "";
}

template <class Options>
std::string write_query(const Options& options, std::string_view manager) {
  query in;
  if (options.dry_run) in.add("dryRun", "All");
  in.add("fieldManager", manager);
  in.add("fieldValidation", to_string(options.validation));
  return in.text();
}

// meta/v1 DeleteOptions.
json delete_options(const remove_options& from) {
  json to = {{"kind", "DeleteOptions"}, {"apiVersion", "v1"}};
  if (from.propagate != propagation::unset) {
    to["propagationPolicy"] = to_string(from.propagate);
  }
  if (from.grace_period) to["gracePeriodSeconds"] = from.grace_period->count();
  if (!from.uid.empty()) to["preconditions"]["uid"] = from.uid;
  if (!from.resource_version.empty()) {
    to["preconditions"]["resourceVersion"] = from.resource_version;
  }
  if (from.dry_run) to["dryRun"] = json::array({"All"});
  return to;
}

json read_object(const body& from, std::string_view what) {
  json value;
  try {
    value = parse_json(from.text);
  } catch (const error& e) {
    throw error(errc::data_loss, what, e.message());
  }
  if (!value.is_object()) throw error(errc::data_loss, what, "the answer is no JSON object");
  return value;
}

// A member of a member, or null where the way there is no object.
const json& at(const json& from, const char* outer, const char* inner) {
  static const json absent;
  const auto object = from.find(outer);
  if (object == from.end() || !object->is_object()) return absent;
  const auto found = object->find(inner);
  return found == object->end() ? absent : *found;
}

std::string text(const json& from) { return from.is_string() ? from.get<std::string>() : ""; }

std::int32_t number(const json& from) {
  return from.is_number_integer() ? from.get<std::int32_t>() : 0;
}

scale read_scale(const body& from) {
  const json value = read_object(from, "scale");
  if (!at(value, "spec", "replicas").is_number_integer() &&
      !at(value, "status", "replicas").is_number_integer()) {
    throw error(errc::data_loss, "scale", "has neither spec.replicas nor status.replicas");
  }
  scale to;
  to.name = text(at(value, "metadata", "name"));
  to.resource_version = text(at(value, "metadata", "resourceVersion"));
  to.replicas = number(at(value, "spec", "replicas"));
  to.current_replicas = number(at(value, "status", "replicas"));
  to.selector = text(at(value, "status", "selector"));
  return to;
}

body_encoding encoding_of(const http::headers& headers, const std::string& subject) {
  const std::string_view type = headers.value("Content-Type");
  const auto encoding = body_encoding_of(type);
  if (!encoding) {
    throw error(errc::data_loss, subject,
                "the answer is of type '" + std::string(type) + "', neither JSON nor protobuf");
  }
  return *encoding;
}

}  // namespace

resource_client::resource_client(client k8s, resource_info resource, bool protobuf,
                                 object_shape shape)
    : k8s_(std::move(k8s)),
      resource_(std::move(resource)),
      namespace__(resource_.namespaced ? k8s_.default_namespace() : std::string()),
      protobuf_(protobuf),
      shape_(shape) {}

resource_client::resource_client(client k8s, resource_info resource, std::string namespace_,
                                 bool protobuf, object_shape shape)
    : k8s_(std::move(k8s)),
      resource_(std::move(resource)),
      namespace__(std::move(namespace_)),
      protobuf_(protobuf),
      shape_(shape) {
  if (!namespace__.empty() && !resource_.namespaced) {
    throw error(errc::invalid_argument, resource_.plural,
                "belong to the cluster, not to namespace '" + namespace__ + "': leave it out");
  }
}

resource_client resource_client::with(bool protobuf, object_shape shape) const {
  resource_client other = *this;
  other.protobuf_ = protobuf;
  other.shape_ = shape;
  return other;
}

bool resource_client::prefers_protobuf() const noexcept {
  return protobuf_ && resource_.protobuf && k8s_.options().encoding != encoding::json;
}

std::string resource_client::accept(object_shape shape, bool list, encoding wanted) const {
  if (wanted == encoding::automatic) wanted = k8s_.options().encoding;
  // The metadata of anything can come as protobuf, also that of custom resources.
  const bool possible = protobuf_ && (resource_.protobuf || shape == object_shape::metadata);
  if (wanted == encoding::protobuf && !possible) {
    throw error(errc::invalid_argument, "encoding",
                resource_.kind + " is not there as protobuf: use encoding::automatic");
  }
  std::string_view as;
  if (shape == object_shape::metadata) {
    as = list ? ";as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
              : ";as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
  }
  std::string value;
  if (possible && wanted != encoding::json) value.append(protobuf_type).append(as).append(",");
  value.append(json_type).append(as);
  return value;
}

http::request resource_client::request(std::string_view method, std::string path) const {
  http::request made{
      .method = std::string(method), .url = std::move(path), .headers = {}, .body = {}};
  made.headers.set("Accept", accept(shape_, false, encoding::automatic));
  return made;
}

std::string resource_client::path_of(const object_names& names,
                                     std::string_view subresource) const {
  const std::string& space = namespace__.empty() ? names.namespace_ : namespace__;
  if (!names.namespace_.empty() && names.namespace_ != space) {
    throw error(errc::invalid_argument, "metadata.namespace",
                "is '" + names.namespace_ + "', but this is namespace '" + space + "'");
  }
  if (names.name.empty()) {
    throw error(errc::invalid_argument, "metadata.name",
                "is empty: the name of one of the " + resource_.plural + " is wanted");
  }
  if (resource_.namespaced && space.empty()) {
    throw error(errc::invalid_argument, "metadata.namespace",
                resource_.plural + " have a namespace: name it for '" + names.name + "'");
  }
  return resource_.path(space, names.name, subresource);
}

std::string resource_client::path_of(std::string_view name, std::string_view subresource) const {
  return path_of(object_names{{}, std::string(name)}, subresource);
}

std::string resource_client::collection_of(const object_names& names) const {
  const std::string& space = namespace__.empty() ? names.namespace_ : namespace__;
  if (!names.namespace_.empty() && names.namespace_ != space) {
    throw error(errc::invalid_argument, "metadata.namespace",
                "is '" + names.namespace_ + "', but this is namespace '" + space + "'");
  }
  if (resource_.namespaced && space.empty()) {
    throw error(errc::invalid_argument, "metadata.namespace",
                "is empty: a new " + resource_.kind + " needs a namespace");
  }
  return resource_.path(space);
}

std::string resource_client::manager(const std::string& of_call) const {
  return of_call.empty() ? k8s_.field_manager() : of_call;
}

namespace {

// With a client of its own: whoever asked may be gone before this begins.
awaitable<body> send_and_check(client k8s, http::request what, cancellation cancel) {
  const std::string subject = what.method + " " + what.url;
  call_options options;
  options.cancel = std::move(cancel);
  http::response answer = co_await k8s.send(std::move(what), std::move(options));
  const body_encoding encoding = encoding_of(answer.headers, subject);
  co_return body{std::move(answer.body), encoding};
}

}  // namespace

awaitable<body> resource_client::exchange(http::request what, cancellation cancel) const {
  return send_and_check(k8s_, std::move(what), std::move(cancel));
}

awaitable<body> resource_client::get(std::string name, std::string subresource,
                                     get_options options) const {
  return get(object_names{{}, std::move(name)}, std::move(subresource), std::move(options));
}

awaitable<body> resource_client::get(object_names names, std::string subresource,
                                     get_options options) const {
  query in;
  in.add("resourceVersion", options.resource_version);
  return exchange(request("GET", path_of(names, subresource) + in.text()),
                  std::move(options.cancel));
}

namespace {

awaitable<std::optional<body>> found(awaitable<body> from) {
  try {
    co_return co_await std::move(from);
  } catch (const status_error& e) {
    if (!is_not_found(e)) throw;
  }
  co_return std::nullopt;
}

awaitable<void> read_list(client k8s, http::request what, call_options options, list_sink& into) {
  const std::string subject = what.method + " " + what.url;
  http::response_stream stream = co_await k8s.open(std::move(what), std::move(options));
  into.begin(encoding_of(stream.head().headers, subject));
  for (;;) {
    const std::string_view piece = co_await stream.read();
    if (piece.empty()) break;
    into.feed(piece);
  }
  into.finish();
}

awaitable<kubernetes::table> read_table(awaitable<body> from) {
  co_return parse_table((co_await std::move(from)).text);
}

awaitable<scale> read_scale(awaitable<body> from) {
  co_return read_scale(co_await std::move(from));
}

awaitable<void> ignore(awaitable<body> from) { co_await std::move(from); }

awaitable<service_account_token> read_token(awaitable<body> from) {
  const json answer = read_object(co_await std::move(from), "token");
  service_account_token result;
  result.token = text(at(answer, "status", "token"));
  if (result.token.empty()) throw error(errc::data_loss, "status.token", "is missing");
  result.expires = parse_rfc3339(text(at(answer, "status", "expirationTimestamp")));
  co_return result;
}

}  // namespace

awaitable<std::optional<body>> resource_client::find(std::string name, get_options options) const {
  return found(get(std::move(name), {}, std::move(options)));
}

std::string resource_client::list_path(const list_options& options, std::string_view more) const {
  query in;
  in.add("labelSelector", options.label_selector);
  in.add("fieldSelector", options.field_selector);
  if (options.limit > 0) in.add("limit", std::to_string(options.limit));
  in.add("continue", options.continue_token);
  in.add("resourceVersion", options.resource_version);
  in.add("resourceVersionMatch", to_string(options.match));
  std::string path = resource_.path(namespace__) + in.text();
  if (!more.empty()) path.append(in.text().empty() ? "?" : "&").append(more);
  return path;
}

awaitable<void> resource_client::list(list_options options, list_sink& into) const {
  http::request what = request("GET", list_path(options));
  what.headers.set("Accept", accept(shape_, true, options.encoding));
  call_options call;
  call.cancel = std::move(options.cancel);
  // A list is held whole by its caller, so that it ends like any call.
  if (k8s_.options().timeout.count() > 0) {
    call.cancel.deadline = earlier(call.cancel.deadline, deadline::after(k8s_.options().timeout));
  }
  return read_list(k8s_, std::move(what), std::move(call), into);
}

awaitable<kubernetes::table> resource_client::table(list_options options) const {
  http::request what = request("GET", list_path(options));
  what.headers.set("Accept", "application/json;as=Table;g=meta.k8s.io;v=v1");
  return read_table(exchange(std::move(what), std::move(options.cancel)));
}

namespace {

void set_body(http::request& what, body object) {
  what.headers.set("Content-Type",
                   std::string(object.encoding == body_encoding::json ? json_type : protobuf_type));
  what.body = std::move(object.text);
}

}  // namespace

awaitable<body> resource_client::create(body object, object_names names,
                                        write_options options) const {
  http::request what =
      request("POST", collection_of(names) + write_query(options, manager(options.field_manager)));
  set_body(what, std::move(object));
  return exchange(std::move(what), std::move(options.cancel));
}

awaitable<body> resource_client::replace(body object, object_names names, std::string subresource,
                                         write_options options) const {
  http::request what = request(
      "PUT", path_of(names, subresource) + write_query(options, manager(options.field_manager)));
  set_body(what, std::move(object));
  return exchange(std::move(what), std::move(options.cancel));
}

awaitable<body> resource_client::patch(std::string name, std::string subresource,
                                       kubernetes::patch change, patch_options options) const {
  http::request what = request(
      "PATCH", path_of(name, subresource) + write_query(options, manager(options.field_manager)));
  what.headers.set("Content-Type", std::string(change.content_type()));
  what.body = change.text();
  return exchange(std::move(what), std::move(options.cancel));
}

awaitable<body> resource_client::apply(std::string object, object_names names,
                                       std::string subresource, apply_options options) const {
  std::string path =
      path_of(names, subresource) + write_query(options, manager(options.field_manager));
  if (options.force) path += "&force=true";
  http::request what = request("PATCH", std::move(path));
  // YAML is a superset of JSON, and every server that knows apply knows this type.
  what.headers.set("Content-Type", "application/apply-patch+yaml");
  what.body = std::move(object);
  return exchange(std::move(what), std::move(options.cancel));
}

awaitable<body> resource_client::apply(json object, std::string subresource,
                                       apply_options options) const {
  if (!object.is_object()) {
    throw error(errc::invalid_argument, "object", "a JSON object is wanted");
  }
  object.emplace("apiVersion", resource_.api_version());
  object.emplace("kind", resource_.kind);
  object_names names{text(at(object, "metadata", "namespace")),
                     text(at(object, "metadata", "name"))};
  return apply(dump_json(object), std::move(names), std::move(subresource), std::move(options));
}

awaitable<body> resource_client::remove(std::string name, remove_options options) const {
  http::request what = request("DELETE", path_of(name, {}));
  set_body(what, {dump_json(delete_options(options)), body_encoding::json});
  return exchange(std::move(what), std::move(options.cancel));
}

awaitable<void> resource_client::remove_collection(list_options which,
                                                   remove_options options) const {
  if (resource_.namespaced && namespace__.empty()) {
    throw error(errc::invalid_argument, resource_.plural,
                "are deleted together in one namespace only: name it");
  }
  http::request what = request("DELETE", list_path(which));
  set_body(what, {dump_json(delete_options(options)), body_encoding::json});
  return ignore(exchange(std::move(what), std::move(options.cancel)));
}

awaitable<scale> resource_client::get_scale(std::string name, get_options options) const {
  const resource_client plain = with(false, object_shape::whole);
  return read_scale(plain.get(std::move(name), "scale", std::move(options)));
}

awaitable<scale> resource_client::replace_scale(scale wanted, write_options options) const {
  json object = {{"kind", "Scale"},
                 {"apiVersion", "autoscaling/v1"},
                 {"metadata", {{"name", wanted.name}}},
                 {"spec", {{"replicas", wanted.replicas}}}};
  if (!namespace__.empty()) object["metadata"]["namespace"] = namespace__;
  if (!wanted.resource_version.empty()) {
    object["metadata"]["resourceVersion"] = wanted.resource_version;
  }
  const resource_client plain = with(false, object_shape::whole);
  return read_scale(plain.replace({dump_json(object), body_encoding::json}, {{}, wanted.name},
                                  "scale", std::move(options)));
}

awaitable<scale> resource_client::scale_to(std::string name, std::int32_t replicas,
                                           write_options options) const {
  json change = {{"spec", {{"replicas", replicas}}}};
  const resource_client plain = with(false, object_shape::whole);
  return read_scale(
      plain.patch(std::move(name), "scale", patch::merge(std::move(change)), std::move(options)));
}

awaitable<void> resource_client::evict(std::string name, remove_options options) const {
  json object = {{"kind", "Eviction"},
                 {"apiVersion", "policy/v1"},
                 {"metadata", {{"name", name}}},
                 {"deleteOptions", delete_options(options)}};
  if (!namespace__.empty()) object["metadata"]["namespace"] = namespace__;
  const resource_client plain = with(false, object_shape::whole);
  http::request what = plain.request("POST", path_of(name, "eviction"));
  set_body(what, {dump_json(object), body_encoding::json});
  return ignore(exchange(std::move(what), std::move(options.cancel)));
}

awaitable<void> resource_client::bind(std::string name, std::string node,
                                      write_options options) const {
  const json object = {
      {"kind", "Binding"},
      {"apiVersion", "v1"},
      {"metadata", {{"name", name}}},
      {"target", {{"kind", "Node"}, {"apiVersion", "v1"}, {"name", std::move(node)}}}};
  const resource_client plain = with(false, object_shape::whole);
  http::request what = plain.request(
      "POST", path_of(name, "binding") + write_query(options, manager(options.field_manager)));
  set_body(what, {dump_json(object), body_encoding::json});
  return ignore(exchange(std::move(what), std::move(options.cancel)));
}

awaitable<service_account_token> resource_client::create_token(std::string name,
                                                               token_options options) const {
  json object = {{"kind", "TokenRequest"},
                 {"apiVersion", "authentication.k8s.io/v1"},
                 {"spec", {{"expirationSeconds", options.expires_in.count()}}}};
  if (!options.audiences.empty()) object["spec"]["audiences"] = options.audiences;
  if (!options.bound_kind.empty()) {
    json& bound = object["spec"]["boundObjectRef"];
    bound = {{"kind", options.bound_kind}, {"apiVersion", "v1"}, {"name", options.bound_name}};
    if (!options.bound_uid.empty()) bound["uid"] = options.bound_uid;
  }
  const resource_client plain = with(false, object_shape::whole);
  http::request what = plain.request("POST", path_of(name, "token"));
  set_body(what, {dump_json(object), body_encoding::json});
  return read_token(exchange(std::move(what), std::move(options.cancel)));
}

awaitable<void> resource_client::pause_after_conflict(int attempt, cancellation cancel) const {
  http::retry_policy policy;
  policy.first_wait = std::chrono::milliseconds(10);
  policy.max_wait = std::chrono::milliseconds(1000);
  http::backoff waits(policy);
  std::chrono::milliseconds wait{};
  for (int i = 0; i < attempt; ++i) wait = waits.next();
  return sleep(k8s_.executor(), wait, std::move(cancel), "modify " + resource_.plural);
}

}  // namespace mizzen::kubernetes::detail
