// The error type of every module, and its machine-readable codes.
#pragma once

#include <mizzen/core/json_fwd.hpp>

#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>

namespace mizzen {

// What went wrong, in the words of the canonical status codes of gRPC (google.rpc.Code), which
// Kubernetes reasons, HTTP statuses and MLflow error codes map onto without loss of meaning.
enum class errc {
  cancelled,            // the caller asked for it to stop
  unknown,              // a foreign exception or an answer that names no reason
  invalid_argument,     // the input is wrong, whatever the state of the system
  deadline_exceeded,    // the deadline passed first
  not_found,            // the named thing does not exist
  already_exists,       // the named thing exists already
  permission_denied,    // known caller, not allowed
  resource_exhausted,   // a limit, quota, budget or disk is full
  failed_precondition,  // right input, wrong state of the system
  aborted,              // lost against a concurrent change; worth another try
  out_of_range,         // a number beyond what the type or the format allows
  unimplemented,        // valid, but not supported here
  internal,             // a bug in Mizzen
  unavailable,          // cannot be reached now; worth another try
  data_loss,            // stored or received data is damaged
  unauthenticated,      // who the caller is could not be shown
};

// Lower-case name of a code, as it is written in messages and logs: "invalid_argument".
std::string_view to_string(errc code) noexcept;

// Base of every exception that Mizzen throws on purpose.
//
// what() reads "<subject>: <message>". The message says what is wrong and, where there is one, what
// mends it. Copying shares the payload and does not throw. Thread safe once constructed.
class error : public std::runtime_error {
 public:
  // subject: the field or resource concerned, as the user would find it
  // ("model.graph.node[3].input[1]", "experiment 'digits'"); empty when there is none.
  error(errc code, std::string_view subject, std::string_view message);

  // As above, keeping what caused it.
  error(errc code, std::string_view subject, std::string_view message, std::exception_ptr cause);

  // As above, keeping a structured answer whole (a Kubernetes Status, an MLflow error body).
  error(errc code, std::string_view subject, std::string_view message, json details,
        std::exception_ptr cause = nullptr);

  errc code() const noexcept;
  const std::string& subject() const noexcept;
  const std::string& message() const noexcept;

  // The exception that led to this one, or null.
  std::exception_ptr cause() const noexcept;

  // The structured answer of a server, or JSON null.
  const json& details() const noexcept;

 private:
  struct payload;
  std::shared_ptr<const payload> payload_;
};

// One line for an exception and the chain of its causes: "a: b (caused by: c: d)". Never throws on
// an exception of an unknown type: that reads "unknown exception".
std::string describe(const std::exception_ptr& exception);

}  // namespace mizzen
