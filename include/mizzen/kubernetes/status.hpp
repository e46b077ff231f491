// What the API server says when it refuses: metav1.Status, typed and whole.
#pragma once

#include <mizzen/core/error.hpp>
#include <mizzen/core/json_fwd.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mizzen::kubernetes {

// metav1.StatusCause: one reason among several, usually one per invalid field.
struct status_cause {
  std::string reason =
      {};  // "FieldValueRequired", "FieldManagerConflict", "UnexpectedServerResponse" …
  std::string message = {};  // for people
  std::string field = {};    // "spec.containers[0].image"; empty when it is about no field
};

// metav1.StatusDetails: what the Status is about.
struct status_details {
  std::string name = {};
  std::string group = {};
  std::string kind = {};  // the kind or, in many answers, the plural resource
  std::string uid = {};
  std::vector<status_cause> causes = {};
  std::int32_t retry_after_seconds = 0;  // 0: the server gives no advice
};

// metav1.Status. Also the answer to a DELETE that is done at once, the object of a watch's ERROR
// event, and what ends an exec session.
struct api_status {
  std::string status = {};  // "Success" or "Failure"
  std::string message = {};
  std::string reason = {};  // "NotFound", "Conflict" …, empty when unknown
  std::int32_t code = 0;    // suggested HTTP status, 0 when not given
  status_details details = {};
  // Of metav1.ListMeta: set by answers 410 to a paged list, with which it goes on inconsistently.
  std::string resource_version = {};
  std::string continue_token = {};

  bool success() const noexcept { return status == "Success"; }
};

// The longest text that is read as a Status (bytes); what is longer is no Status.
inline constexpr std::size_t max_status_size = std::size_t{1} << 20;

// Reads a Status from JSON, or from protobuf in its k8s\0 envelope. Nothing when the text is
// neither, when it is another kind, or when a field has the wrong type: the caller then quotes it.
// Never throws on bad input.
std::optional<api_status> parse_status(std::string_view text);
std::optional<api_status> status_from_json(const json& value);

json to_json_value(const api_status& status);

// A refusal by the API server, or by what stands in front of it.
//
// code() follows the reason (or, where that is unknown, the HTTP status):
//   NotFound not_found; AlreadyExists already_exists; Conflict aborted; Invalid, BadRequest and
//   other 4xx invalid_argument; Unauthorized unauthenticated; Forbidden permission_denied;
//   Gone, Expired failed_precondition; TooManyRequests, RequestEntityTooLarge resource_exhausted;
//   Timeout deadline_exceeded; ServerTimeout, ServiceUnavailable and 502 unavailable;
//   MethodNotAllowed, NotAcceptable, UnsupportedMediaType unimplemented; InternalError and the rest
//   unknown.
// subject() is the request ("GET /api/v1/namespaces/a/pods/b"), details() the whole JSON of the
// Status. Copying shares; thread safe.
class status_error : public error {
 public:
  // http_status: of the answer; 0 where there was none (a watch's ERROR event). retry_after: of the
  // Retry-After header, zero when there was none.
  status_error(std::string_view subject, int http_status, api_status status,
               std::chrono::milliseconds retry_after = {});

  // From the answer to a request. A body that is no Status (a proxy's page, nothing at all) gives a
  // Status made from the HTTP status, with an excerpt of the body in its message and
  // from_server() false.
  static status_error from_answer(std::string_view subject, int http_status, std::string_view body,
                                  std::chrono::milliseconds retry_after = {});

  // From a decoded Status, as in a watch's ERROR event.
  static status_error from_json(std::string_view subject, int http_status, const json& value);

  // True if a Status was received, false if it was made up from the HTTP status.
  bool from_server() const noexcept { return from_server_; }

  int http_status() const noexcept { return http_status_; }
  const api_status& status() const noexcept { return *status_; }
  const std::string& reason() const noexcept { return status_->reason; }
  const std::vector<status_cause>& causes() const noexcept { return status_->details.causes; }

  // How long the server asks to wait: the longer one of the Retry-After header and
  // details.retryAfterSeconds; zero when neither is there.
  std::chrono::milliseconds retry_after() const noexcept;

  // Managers that own fields which a server-side apply wanted to change: pairs of what the server
  // says and the field's path. Empty when it is no apply conflict.
  std::vector<status_cause> conflicts() const;

 private:
  status_error(std::string_view subject, int http_status, api_status status, json whole,
               std::chrono::milliseconds retry_after, bool from_server);

  std::shared_ptr<const api_status> status_;
  int http_status_ = 0;
  std::chrono::milliseconds retry_after_{};
  bool from_server_ = true;
};

// The code that a reason and an HTTP status stand for.
errc errc_of(std::string_view reason, int http_status) noexcept;

// What client-go's users know from apimachinery's errors package. Each is false for an exception
// that is no status_error.
bool is_not_found(const std::exception& e) noexcept;
bool is_already_exists(const std::exception& e) noexcept;
bool is_conflict(const std::exception& e) noexcept;
bool is_invalid(const std::exception& e) noexcept;
bool is_bad_request(const std::exception& e) noexcept;
bool is_unauthorized(const std::exception& e) noexcept;
bool is_forbidden(const std::exception& e) noexcept;
bool is_gone(const std::exception& e) noexcept;
bool is_resource_expired(const std::exception& e) noexcept;
bool is_too_many_requests(const std::exception& e) noexcept;
bool is_server_timeout(const std::exception& e) noexcept;
bool is_timeout(const std::exception& e) noexcept;
bool is_internal_error(const std::exception& e) noexcept;
bool is_service_unavailable(const std::exception& e) noexcept;
bool is_method_not_supported(const std::exception& e) noexcept;
bool is_not_acceptable(const std::exception& e) noexcept;
bool is_unsupported_media_type(const std::exception& e) noexcept;
bool is_request_entity_too_large(const std::exception& e) noexcept;

// True if a cause of this reason is among the details: has_cause(e, "NamespaceTerminating").
bool has_cause(const std::exception& e, std::string_view reason) noexcept;

}  // namespace mizzen::kubernetes
