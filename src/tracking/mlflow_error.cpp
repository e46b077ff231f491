#include <mizzen/core/json.hpp>
#include <mizzen/http/status.hpp>
#include <mizzen/tracking/mlflow_error.hpp>

#include <array>
#include <memory>
#include <utility>

namespace mizzen::tracking {
namespace {

constexpr std::array<std::pair<std::string_view, errc>, 31> codes = {{
    {"ABORTED", errc::aborted},
    {"ALREADY_EXISTS", errc::already_exists},
    {"BAD_REQUEST", errc::invalid_argument},
    {"CANCELLED", errc::cancelled},
    {"CUSTOMER_UNAUTHORIZED", errc::unauthenticated},
    {"DATA_LOSS", errc::data_loss},
    {"DEADLINE_EXCEEDED", errc::deadline_exceeded},
    {"DIRECTORY_NOT_EMPTY", errc::failed_precondition},
    {"ENDPOINT_NOT_FOUND", errc::unimplemented},
    {"FEATURE_DISABLED", errc::unimplemented},
    {"INVALID_PARAMETER_VALUE", errc::invalid_argument},
    {"INVALID_STATE", errc::failed_precondition},
    {"INVALID_STATE_TRANSITION", errc::failed_precondition},
    {"IO_ERROR", errc::unavailable},
    {"MALFORMED_REQUEST", errc::invalid_argument},
    {"MAX_LIST_SIZE_EXCEEDED", errc::resource_exhausted},
    {"MAX_READ_SIZE_EXCEEDED", errc::resource_exhausted},
    {"NOT_FOUND", errc::not_found},
    {"NOT_IMPLEMENTED", errc::unimplemented},
    {"PERMISSION_DENIED", errc::permission_denied},
    {"QUOTA_EXCEEDED", errc::resource_exhausted},
    {"REQUEST_LIMIT_EXCEEDED", errc::resource_exhausted},
    {"RESOURCE_ALREADY_EXISTS", errc::already_exists},
    {"RESOURCE_CONFLICT", errc::aborted},
    {"RESOURCE_DOES_NOT_EXIST", errc::not_found},
    {"RESOURCE_EXHAUSTED", errc::resource_exhausted},
    {"RESOURCE_LIMIT_EXCEEDED", errc::resource_exhausted},
    {"TEMPORARILY_UNAVAILABLE", errc::unavailable},
    {"UNAUTHENTICATED", errc::unauthenticated},
    {"UNPARSEABLE_HTTP_ERROR", errc::unknown},
    {"WORKSPACE_TEMPORARILY_UNAVAILABLE", errc::unavailable},
}};

std::string text_of(const json& answer, const char* key) {
  const auto found = answer.find(key);
  if (found == answer.end() || found->is_null()) return {};
  return found->is_string() ? found->get<std::string>()
                            : found->dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace

errc errc_of_mlflow(std::string_view error_code, int http_status) noexcept {
  for (const auto& [name, code] : codes) {
    if (name == error_code) return code;
  }
  return http::errc_of_status(http_status);
}

mlflow_error::mlflow_error(std::string_view request, int http_status, const json& answer)
    : error(errc_of_mlflow(text_of(answer, "error_code"), http_status), request,
            text_of(answer, "error_code") + ": " + text_of(answer, "message"), json(answer)),
      error_code_(std::make_shared<const std::string>(text_of(answer, "error_code"))),
      http_status_(http_status) {}

}  // namespace mizzen::tracking
