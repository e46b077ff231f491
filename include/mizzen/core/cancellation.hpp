// How the caller of a long operation stops it: by a stop token, a deadline, or both.
#pragma once

#include <mizzen/core/deadline.hpp>
#include <mizzen/core/error.hpp>

#include <stop_token>
#include <string_view>

namespace mizzen {

// Handed down to an operation, which asks it at its own points of rest. A value; cheap to copy;
// safe to use from several threads. The default one never stops anything.
//
//   std::stop_source source;
//   session.run(inputs, {.cancel = {source.get_token(), deadline::after(50ms)}});
struct cancellation {
  std::stop_token token;
  mizzen::deadline deadline;

  // True once the token was triggered or the deadline has passed.
  bool requested() const noexcept { return token.stop_requested() || deadline.expired(); }

  // Throws error with errc::cancelled or errc::deadline_exceeded if requested; subject names the
  // operation that stops.
  void check(std::string_view subject) const {
    if (token.stop_requested()) throw error(errc::cancelled, subject, "cancelled by the caller");
    if (deadline.expired()) {
      throw error(errc::deadline_exceeded, subject, "the deadline passed before it was done");
    }
  }
};

}  // namespace mizzen
