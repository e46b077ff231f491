#include <mizzen/core/json.hpp>
#include <mizzen/http/message.hpp>
#include <mizzen/kubernetes/status.hpp>

#include <algorithm>
#include <array>
#include <utility>

namespace mizzen::kubernetes {
namespace {

struct known_reason {
  std::string_view reason;
  int http_status;
  errc code;
};

// Where several reasons share a status, the first one is what the bare status stands for.
constexpr std::array known_reasons = {
    known_reason{"BadRequest", 400, errc::invalid_argument},
    known_reason{"Unauthorized", 401, errc::unauthenticated},
    known_reason{"Forbidden", 403, errc::permission_denied},
    known_reason{"NotFound", 404, errc::not_found},
    known_reason{"MethodNotAllowed", 405, errc::unimplemented},
    known_reason{"NotAcceptable", 406, errc::unimplemented},
    known_reason{"Conflict", 409, errc::aborted},
    known_reason{"AlreadyExists", 409, errc::already_exists},
    known_reason{"Gone", 410, errc::failed_precondition},
    known_reason{"Expired", 410, errc::failed_precondition},
    known_reason{"RequestEntityTooLarge", 413, errc::resource_exhausted},
    known_reason{"UnsupportedMediaType", 415, errc::unimplemented},
    known_reason{"Invalid", 422, errc::invalid_argument},
    known_reason{"TooManyRequests", 429, errc::resource_exhausted},
    known_reason{"InternalError", 500, errc::unknown},
    known_reason{"ServerTimeout", 500, errc::unavailable},
    known_reason{"StoreReadError", 500, errc::unavailable},
    known_reason{"ServiceUnavailable", 503, errc::unavailable},
    known_reason{"Timeout", 504, errc::deadline_exceeded},
};

const known_reason* find_reason(std::string_view reason) noexcept {
  const auto* const at = std::ranges::find(known_reasons, reason, &known_reason::reason);
  return at == known_reasons.end() ? nullptr : at;
}

const known_reason* find_status(int http_status) noexcept {
  const auto* const at = std::ranges::find(known_reasons, http_status, &known_reason::http_status);
  return at == known_reasons.end() ? nullptr : at;
}

// --- JSON ---------------------------------------------------------------------------------------

// Each read is false where the field is there with another type; null is as good as absent.
bool read(const json& from, const char* key, std::string& to) {
  const auto at = from.find(key);
  if (at == from.end() || at->is_null()) return true;
  if (!at->is_string()) return false;
  to = at->get_ref<const std::string&>();
  return true;
}

bool read(const json& from, const char* key, std::int32_t& to) {
  const auto at = from.find(key);
  if (at == from.end() || at->is_null()) return true;
  if (!at->is_number_integer()) return false;
  const auto number = at->is_number_unsigned() && at->get<std::uint64_t>() > INT32_MAX
                          ? std::int64_t{INT32_MAX}
                          : at->get<std::int64_t>();
  to = static_cast<std::int32_t>(std::clamp<std::int64_t>(number, INT32_MIN, INT32_MAX));
  return true;
}

// False if it is there and no object.
bool object_of(const json& from, const char* key, const json*& to) {
  const auto at = from.find(key);
  to = at == from.end() || at->is_null() ? nullptr : &*at;
  return !to || to->is_object();
}

bool read_details(const json& from, status_details& to) {
  if (!read(from, "name", to.name) || !read(from, "group", to.group) ||
      !read(from, "kind", to.kind) || !read(from, "uid", to.uid) ||
      !read(from, "retryAfterSeconds", to.retry_after_seconds)) {
    return false;
  }
  const auto causes = from.find("causes");
  if (causes == from.end() || causes->is_null()) return true;
  if (!causes->is_array()) return false;
  for (const json& each : *causes) {
    status_cause cause;
    if (!each.is_object() || !read(each, "reason", cause.reason) ||
        !read(each, "message", cause.message) || !read(each, "field", cause.field)) {
      return false;
    }
    to.causes.push_back(std::move(cause));
  }
  return true;
}

// Builds the value, and gives up where it nests deeper than any Status does: the parser's memory
// and the destructor's work stay bounded.
json parse_bounded(std::string_view text) {
  constexpr int deepest = 32;
  bool too_deep = false;
  json value = json::parse(
      text.begin(), text.end(),
      [&too_deep](int depth, json::parse_event_t, json&) {
        too_deep = too_deep || depth > deepest;
        return !too_deep;
      },
      /*allow_exceptions=*/false);
  return too_deep || value.is_discarded() ? json() : std::move(value);
}

// --- protobuf -----------------------------------------------------------------------------------

// A walk over the fields of one message. Bad input ends it with ok() false.
class fields {
 public:
  explicit fields(std::string_view text) : text_(text) {}

  bool next() {
    if (text_.empty() || !ok_) return false;
    const std::uint64_t key = varint();
    if (!ok_ || key >> 3 == 0 || key >> 3 > 0x1fffffff) return ok_ = false;
    number_ = static_cast<int>(key >> 3);
    bytes_ = {};
    value_ = 0;
    is_bytes_ = (key & 7) == 2;
    switch (key & 7) {
      case 0:
        value_ = varint();
        break;
      case 1:
        take(8);
        break;
      case 2:
        bytes_ = take(varint());
        break;
      case 5:
        take(4);
        break;
      default:
        ok_ = false;
    }
    return ok_;
  }
  int number() const { return number_; }
  void bytes(std::string& to) { to = std::string(bytes()); }
  std::string_view bytes() {
    if (!is_bytes_) ok_ = false;
    return bytes_;
  }
  std::int32_t int32() const { return static_cast<std::int32_t>(value_); }
  bool ok() const { return ok_; }

 private:
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      if (text_.empty()) break;
      const auto byte = static_cast<unsigned char>(text_.front());
      text_.remove_prefix(1);
      value |= std::uint64_t{byte & 0x7FU} << shift;
      if (byte < 0x80) return value;
    }
    ok_ = false;
    return 0;
  }
  std::string_view take(std::uint64_t size) {
    if (!ok_ || size > text_.size()) {
      ok_ = false;
      return {};
    }
    const std::string_view taken = text_.substr(0, size);
    text_.remove_prefix(size);
    return taken;
  }

  std::string_view text_;
  std::string_view bytes_;
  std::uint64_t value_ = 0;
  int number_ = 0;
  bool is_bytes_ = false;
  bool ok_ = true;
};

bool read_cause(std::string_view text, status_cause& to) {
  fields in(text);
  while (in.next()) {
    if (in.number() == 1) in.bytes(to.reason);
    if (in.number() == 2) in.bytes(to.message);
    if (in.number() == 3) in.bytes(to.field);
  }
  return in.ok();
}

bool read_details(std::string_view text, status_details& to) {
  fields in(text);
  while (in.next()) {
    switch (in.number()) {
      case 1:
        in.bytes(to.name);
        break;
      case 2:
        in.bytes(to.group);
        break;
      case 3:
        in.bytes(to.kind);
        break;
      case 4:
        if (!read_cause(in.bytes(), to.causes.emplace_back())) return false;
        break;
      case 5:
        to.retry_after_seconds = in.int32();
        break;
      case 6:
        in.bytes(to.uid);
        break;
      default:
        break;
    }
  }
  return in.ok();
}

bool read_list_meta(std::string_view text, api_status& to) {
  fields in(text);
  while (in.next()) {
    if (in.number() == 2) in.bytes(to.resource_version);
    if (in.number() == 3) in.bytes(to.continue_token);
  }
  return in.ok();
}

bool read_status(std::string_view text, api_status& to) {
  fields in(text);
  while (in.next()) {
    switch (in.number()) {
      case 1:
        if (!read_list_meta(in.bytes(), to)) return false;
        break;
      case 2:
        in.bytes(to.status);
        break;
      case 3:
        in.bytes(to.message);
        break;
      case 4:
        in.bytes(to.reason);
        break;
      case 5:
        if (!read_details(in.bytes(), to.details)) return false;
        break;
      case 6:
        to.code = in.int32();
        break;
      default:
        break;
    }
  }
  return in.ok();
}

constexpr std::string_view envelope{"k8s\0", 4};

// runtime.Unknown: the kind in field 1, the message in field 2.
std::optional<api_status> parse_protobuf(std::string_view text) {
  fields unknown(text.substr(envelope.size()));
  std::string version;
  std::string kind;
  std::optional<std::string_view> raw;
  while (unknown.next()) {
    if (unknown.number() == 1) {
      fields type(unknown.bytes());
      while (type.next()) {
        if (type.number() == 1) type.bytes(version);
        if (type.number() == 2) type.bytes(kind);
      }
      if (!type.ok()) return std::nullopt;
    }
    if (unknown.number() == 2) raw = unknown.bytes();
  }
  api_status result;
  if (!unknown.ok() || kind != "Status" || version != "v1" || !raw || !read_status(*raw, result)) {
    return std::nullopt;
  }
  return result;
}

// --- errors -------------------------------------------------------------------------------------

// The first bytes of a body, fit for one line of a log.
std::string excerpt(std::string_view body) {
  constexpr std::size_t longest = 300;
  std::string text;
  bool space = false;
  for (const char each : body.substr(0, longest)) {
    const auto byte = static_cast<unsigned char>(each);
    if (byte <= ' ' || byte == 0x7F) {
      space = !text.empty();
      continue;
    }
    if (std::exchange(space, false)) text += ' ';
    text += byte < 0x80 ? each : '?';
  }
  if (body.size() > longest) text += " …";
  return text;
}

std::string message_of(const api_status& status, int http_status) {
  if (!status.message.empty()) return status.message;
  if (!status.reason.empty()) return status.reason;
  return "the server answered " + std::to_string(http_status) + " without saying why";
}

api_status from_http_status(int http_status, std::string_view body) {
  api_status made;
  made.status = "Failure";
  made.code = http_status;
  if (const known_reason* const known = find_status(http_status)) made.reason = known->reason;
  made.message = "the server answered " + std::to_string(http_status) + " " +
                 std::string(http::reason_phrase(http_status));
  const std::string quoted = excerpt(body);
  made.message += quoted.empty() ? " with no body" : " with a body that is no Status: " + quoted;
  return made;
}

const status_error* as_status(const std::exception& e) noexcept {
  return dynamic_cast<const status_error*>(&e);
}

// A reason that is known decides; an unknown or absent one leaves it to the code.
bool is(const std::exception& e, std::string_view reason, int code) noexcept {
  const status_error* const status = as_status(e);
  if (!status) return false;
  if (status->reason() == reason) return true;
  if (code == 0 || find_reason(status->reason())) return false;
  return (status->status().code != 0 ? status->status().code : status->http_status()) == code;
}

}  // namespace

std::optional<api_status> status_from_json(const json& value) {
  if (!value.is_object()) return std::nullopt;
  std::string kind;
  std::string version;
  api_status result;
  const json* details = nullptr;
  const json* metadata = nullptr;
  if (!read(value, "kind", kind) || kind != "Status" || !read(value, "apiVersion", version) ||
      (!version.empty() && version != "v1") || !read(value, "status", result.status) ||
      !read(value, "message", result.message) || !read(value, "reason", result.reason) ||
      !read(value, "code", result.code) || !object_of(value, "details", details) ||
      !object_of(value, "metadata", metadata) ||
      (details && !read_details(*details, result.details)) ||
      (metadata && !read(*metadata, "resourceVersion", result.resource_version)) ||
      (metadata && !read(*metadata, "continue", result.continue_token))) {
    return std::nullopt;
  }
  return result;
}

std::optional<api_status> parse_status(std::string_view text) {
  if (text.size() > max_status_size) return std::nullopt;
  if (text.starts_with(envelope)) return parse_protobuf(text);
  return status_from_json(parse_bounded(text));
}

json to_json_value(const api_status& from) {
  json value = {{"kind", "Status"}, {"apiVersion", "v1"}, {"metadata", json::object()}};
  const auto put = [](json& to, const char* key, const std::string& text) {
    if (!text.empty()) to[key] = text;
  };
  put(value["metadata"], "resourceVersion", from.resource_version);
  put(value["metadata"], "continue", from.continue_token);
  put(value, "status", from.status);
  put(value, "message", from.message);
  put(value, "reason", from.reason);
  if (from.code != 0) value["code"] = from.code;
  json details = json::object();
  put(details, "name", from.details.name);
  put(details, "group", from.details.group);
  put(details, "kind", from.details.kind);
  put(details, "uid", from.details.uid);
  for (const status_cause& each : from.details.causes) {
    json cause = json::object();
    put(cause, "reason", each.reason);
    put(cause, "message", each.message);
    put(cause, "field", each.field);
    details["causes"].push_back(std::move(cause));
  }
  if (from.details.retry_after_seconds != 0) {
    details["retryAfterSeconds"] = from.details.retry_after_seconds;
  }
  if (!details.empty()) value["details"] = std::move(details);
  return value;
}

errc errc_of(std::string_view reason, int http_status) noexcept {
  if (const known_reason* const known = find_reason(reason)) return known->code;
  if (const known_reason* const known = find_status(http_status)) return known->code;
  if (http_status == 408) return errc::deadline_exceeded;
  if (http_status >= 400 && http_status < 500) return errc::invalid_argument;
  if (http_status == 502) return errc::unavailable;
  return errc::unknown;
}

status_error::status_error(std::string_view subject, int http_status, api_status status, json whole,
                           std::chrono::milliseconds retry_after, bool from_server)
    : error(errc_of(status.reason, status.code != 0 ? status.code : http_status), subject,
            message_of(status, http_status), std::move(whole)),
      status_(std::make_shared<const api_status>(std::move(status))),
      http_status_(http_status),
      retry_after_(retry_after),
      from_server_(from_server) {}

status_error::status_error(std::string_view subject, int http_status, api_status status,
                           std::chrono::milliseconds retry_after)
    : status_error(subject, http_status, status, to_json_value(status), retry_after, true) {}

status_error status_error::from_answer(std::string_view subject, int http_status,
                                       std::string_view body,
                                       std::chrono::milliseconds retry_after) {
  if (body.size() <= max_status_size) {
    if (body.starts_with(envelope)) {
      if (auto status = parse_protobuf(body)) {
        return {subject, http_status, std::move(*status), retry_after};
      }
    } else {
      json whole = parse_bounded(body);
      if (auto status = status_from_json(whole)) {
        return {subject, http_status, std::move(*status), std::move(whole), retry_after, true};
      }
    }
  }
  api_status made = from_http_status(http_status, body);
  json whole = to_json_value(made);
  return {subject, http_status, std::move(made), std::move(whole), retry_after, false};
}

status_error status_error::from_json(std::string_view subject, int http_status, const json& value) {
  if (auto status = status_from_json(value)) {
    return {subject, http_status, std::move(*status), value, {}, true};
  }
  const std::string text = value.dump(-1, ' ', false, json::error_handler_t::replace);
  return from_answer(subject, http_status, std::string_view(text).substr(0, 1024));
}

std::chrono::milliseconds status_error::retry_after() const noexcept {
  const std::chrono::milliseconds advised =
      std::chrono::seconds(std::max(status_->details.retry_after_seconds, 0));
  return std::max(advised, retry_after_);
}

std::vector<status_cause> status_error::conflicts() const {
  std::vector<status_cause> found;
  for (const status_cause& each : status_->details.causes) {
    if (each.reason == "FieldManagerConflict") found.push_back(each);
  }
  return found;
}

bool is_not_found(const std::exception& e) noexcept { return is(e, "NotFound", 404); }
bool is_already_exists(const std::exception& e) noexcept { return is(e, "AlreadyExists", 0); }
bool is_conflict(const std::exception& e) noexcept { return is(e, "Conflict", 409); }
bool is_invalid(const std::exception& e) noexcept { return is(e, "Invalid", 422); }
bool is_bad_request(const std::exception& e) noexcept { return is(e, "BadRequest", 400); }
bool is_unauthorized(const std::exception& e) noexcept { return is(e, "Unauthorized", 401); }
bool is_forbidden(const std::exception& e) noexcept { return is(e, "Forbidden", 403); }
bool is_gone(const std::exception& e) noexcept { return is(e, "Gone", 410); }
bool is_resource_expired(const std::exception& e) noexcept { return is(e, "Expired", 0); }
bool is_too_many_requests(const std::exception& e) noexcept {
  return is(e, "TooManyRequests", 429);
}
bool is_server_timeout(const std::exception& e) noexcept { return is(e, "ServerTimeout", 0); }
bool is_timeout(const std::exception& e) noexcept { return is(e, "Timeout", 504); }
bool is_internal_error(const std::exception& e) noexcept { return is(e, "InternalError", 500); }
bool is_service_unavailable(const std::exception& e) noexcept {
  return is(e, "ServiceUnavailable", 503);
}
bool is_method_not_supported(const std::exception& e) noexcept {
  return is(e, "MethodNotAllowed", 405);
}
bool is_not_acceptable(const std::exception& e) noexcept { return is(e, "NotAcceptable", 406); }
bool is_unsupported_media_type(const std::exception& e) noexcept {
  return is(e, "UnsupportedMediaType", 415);
}
bool is_request_entity_too_large(const std::exception& e) noexcept {
  return is(e, "RequestEntityTooLarge", 413);
}

bool has_cause(const std::exception& e, std::string_view reason) noexcept {
  const status_error* const status = as_status(e);
  return status && std::ranges::any_of(status->causes(), [&](const status_cause& each) {
           return each.reason == reason;
         });
}

}  // namespace mizzen::kubernetes
