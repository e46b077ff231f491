#include <mizzen/core/error.hpp>
#include <mizzen/core/json.hpp>

namespace mizzen {

std::string_view to_string(errc code) noexcept {
  switch (code) {
    case errc::cancelled:
      return "cancelled";
    case errc::unknown:
      return "unknown";
    case errc::invalid_argument:
      return "invalid_argument";
    case errc::deadline_exceeded:
      return "deadline_exceeded";
    case errc::not_found:
      return "not_found";
    case errc::already_exists:
      return "already_exists";
    case errc::permission_denied:
      return "permission_denied";
    case errc::resource_exhausted:
      return "resource_exhausted";
    case errc::failed_precondition:
      return "failed_precondition";
    case errc::aborted:
      return "aborted";
    case errc::out_of_range:
      return "out_of_range";
    case errc::unimplemented:
      return "unimplemented";
    case errc::internal:
      return "internal";
    case errc::unavailable:
      return "unavailable";
    case errc::data_loss:
      return "data_loss";
    case errc::unauthenticated:
      return "unauthenticated";
  }
  return "unknown";
}

struct error::payload {
  errc code;
  std::string subject;
  std::string message;
  json details;
  std::exception_ptr cause;
};

namespace {

std::string join(std::string_view subject, std::string_view message) {
  std::string text(subject);
  if (!text.empty()) text += ": ";
  text += message;
  return text;
}

}  // namespace

error::error(errc code, std::string_view subject, std::string_view message)
    : error(code, subject, message, json(), nullptr) {}

error::error(errc code, std::string_view subject, std::string_view message,
             std::exception_ptr cause)
    : error(code, subject, message, json(), std::move(cause)) {}

error::error(errc code, std::string_view subject, std::string_view message, json details,
             std::exception_ptr cause)
    : std::runtime_error(join(subject, message)),
      payload_(
          std::make_shared<const payload>(payload{code, std::string(subject), std::string(message),
                                                  std::move(details), std::move(cause)})) {}

errc error::code() const noexcept { return payload_->code; }
const std::string& error::subject() const noexcept { return payload_->subject; }
const std::string& error::message() const noexcept { return payload_->message; }
std::exception_ptr error::cause() const noexcept { return payload_->cause; }
const json& error::details() const noexcept { return payload_->details; }

std::string describe(const std::exception_ptr& exception) {
  if (!exception) return "no exception";
  try {
    std::rethrow_exception(exception);
  } catch (const error& e) {
    std::string text = e.what();
    if (e.cause()) text += " (caused by: " + describe(e.cause()) + ")";
    return text;
  } catch (const std::exception& e) {
    return e.what();
  } catch (...) {
    return "unknown exception";
  }
}

}  // namespace mizzen
